"""Frames per second of the extractor ``motion`` on one core, with decoding alone beside it: the ceiling.

    python benchmarks/extract.py [--seconds 20] [--side 320] [--stride 1]

A textured, moving, noisy 640 x 360 video at 25 frames per second is rendered with libx264 (CRF 23) and read back.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from clap_vad.features.extraction import extract_one
from clap_vad.video.reader import VideoReader

WIDTH, HEIGHT, FPS = 640, 360, 25


def texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.integers(0, 255, (height, width), dtype=np.uint8), (0, 0), 2)
    return cv2.normalize(noise, None, 20, 235, cv2.NORM_MINMAX)


def render(path: Path, frames: int) -> None:
    """A still, textured street with twelve things crossing it and sensor noise on top."""
    rng = np.random.default_rng(0)
    street = texture(HEIGHT, WIDTH, rng)
    things = [(texture(60, 24, rng), 27 * k % (HEIGHT - 60), rng.uniform(0.5, 5)) for k in range(12)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for t in range(frames):
            picture = street.copy()
            for k, (thing, y, speed) in enumerate(things):
                x = int(50 * k + speed * t) % (WIDTH - 24)
                picture[y : y + 60, x : x + 24] = thing
            picture = cv2.add(picture, rng.integers(0, 6, picture.shape, dtype=np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())


def seconds(work: Iterable[object]) -> float:
    """Processor time, so that a busy machine does not count; both kinds of work run on one thread."""
    started = time.process_time()
    for _ in work:
        pass
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="length of the video")
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    frames = options.seconds * FPS
    settings = {"side": options.side, "stride": options.stride}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "street.mp4"
        render(path, frames)
        for _ in extract_one("motion", settings, path):  # loads the libraries
            break
        decode = frames / seconds(VideoReader(path))
        motion = frames / seconds(extract_one("motion", settings, path))
    print(f"decode alone   {decode:7.1f} frames/s")
    print(
        f"motion         {motion:7.1f} frames/s   {motion / FPS:.1f} x real time, {motion / decode:.2f} of decode alone"
    )


if __name__ == "__main__":
    main()
