"""Real video files, rendered by a real encoder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["runs"]  # of support/

# No example fails because the machine is busy, and the same ones are tried each time: a change is judged, not its luck.
# New ones are looked for with HYPOTHESIS_SEARCH=1.
settings.register_profile(
    "steady",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="HYPOTHESIS_SEARCH" not in os.environ,
)
settings.load_profile("steady")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a script's "pytest &" begins; the commands that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)  # would take over to ignore Ctrl-C

_KINDS = {"slow", "network", "federation"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests and doctests that carry no other marker are fast."""
    for item in items:
        if not _KINDS & {marker.name for marker in item.iter_markers()}:
            item.add_marker("fast")


Render = Callable[..., Path]


def _render(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    fps: float = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Iterable[int] | None = None,
    rotation: int = 0,
    muxer: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    stamps = iter(times) if times is not None else None
    with av.open(str(path), "w", options=muxer or {}) as container:
        container.metadata.update(metadata or {})
        stream = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream(codec, rate=int(fps))
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.options = options or ({"crf": "4"} if codec == "libx264" else {})
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = next(stamps), Fraction(1, int(fps))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), max(1.5, height / 60)), None, 20, 235, cv2.NORM_MINMAX)


def _moving(
    frames: int, height: int = 120, width: int = 160, velocity: tuple[float, float] = (1.0, 0.0), seed: int = 0
) -> list[np.ndarray]:
    big = _texture(3 * height, 3 * width, seed)
    pictures = []
    for t in range(frames):
        shift = np.float32([[1, 0, velocity[0] * t - width], [0, 1, velocity[1] * t - height]])
        pictures.append(
            cv2.warpAffine(big, shift, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        )
    return pictures


@pytest.fixture(scope="session")
def render() -> Render:
    """render(path, pictures, fps=, codec=, pix_fmt=, options=, times=, rotation=, muxer=, metadata=) -> path."""
    return _render


@pytest.fixture(scope="session")
def texture() -> Callable[..., np.ndarray]:
    """texture(height, width, seed) -> smooth random picture, uint8."""
    return _texture


@pytest.fixture(scope="session")
def moving() -> Callable[..., list[np.ndarray]]:
    """moving(frames, height, width, velocity=(right, down) in pixels per frame) -> pictures of a gliding texture."""
    return _moving


@pytest.fixture(scope="session")
def render_sound() -> Callable[[Path], Path]:
    """render_sound(path) -> a file with sound and no picture."""

    def render_sound(path: Path) -> Path:
        with av.open(str(path), "w") as container:
            codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
            stream = container.add_stream(codec, rate=16000, layout="mono")
            tone = (8000 * np.sin(np.arange(16000) / 8)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.sample_rate = 16000
            resampler = av.AudioResampler(format=stream.format, layout="mono", rate=16000, frame_size=1024)
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode())
        return path

    return render_sound
