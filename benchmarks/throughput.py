"""Frames per second of every extractor of video, with decoding alone beside it, and where the time goes.

    python benchmarks/throughput.py [--extractors motion,i3d-r50:FILE] [--device cuda] [--json] [--picture FILE.svg]

A textured, moving, noisy colour video at 25 frames per second is rendered at each size with libx264 (CRF 23), and read
back by one process with one thread. On the CPU time is that of the processor, so that a busy machine does not count; on
a GPU it is wall time, and decoding runs ahead in its thread as it does for users. Extraction ends at the first segment
that begins after ``--budget`` seconds. Where an extractor needs weights and none are given, they are random, in the
layout of the public checkpoint: speed does not depend on them. Left out is the time to load the network.

Stages are timed from outside, by methods wrapped here: decode (with shrinking and conversion to grey or RGB), prepare
(resizing and crops; for motion the flow), network (copying a batch to its device included), statistics (all that is
left of the loop), scoring (by a COMET model of full size, random too; not part of the frames per second).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import av
import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from clap_vad.core.density.gaussian_mixture import COMPONENTS, Mixture
from clap_vad.core.density.memory import most_remembered
from clap_vad.core.density.projection import Projection
from clap_vad.core.density.surprise import value_histogram
from clap_vad.core.statistics.moments import Normaliser
from clap_vad.detector.models.mixture import Density, MixtureModel, Remembered, log_likelihood_ratio
from clap_vad.detector.threads import fixed_threads
from clap_vad.errors import ClapError
from clap_vad.features.extraction import video_extractor
from clap_vad.features.extraction.deep import DeepExtractor
from clap_vad.features.extraction.extractor import EXTRACTORS, make_extractor, named_extractor
from clap_vad.features.extraction.video_extractor import VideoExtractor
from clap_vad.features.networks.i3d_inception import I3DInception
from clap_vad.features.networks.i3d_r50 import I3DResNet50
from clap_vad.persistence import atomic_path
from clap_vad.reporting.canvas import STYLE, drawn
from clap_vad.reporting.palette import PALETTE
from clap_vad.video.reader import VideoReader
from shared import table

FPS = 25
SIZES = ((640, 360), (1280, 720))
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "motion": {"motion": {}, "motion, stride 2": {"stride": 2}},
    "i3d-r50": {"i3d-r50, one crop": {"crops": 1}, "i3d-r50, ten crops": {}},
    "i3d-inception": {"i3d-inception, one crop": {"crops": 1}, "i3d-inception, ten crops": {}},
    "hf": {"hf, CLIP ViT-B/16": {"weights": "clip"}, "hf, VideoMAE-B": {"weights": "videomae"}},
}
"""What is measured of an extractor where it is more than its defaults."""

LOOKS = {
    "decode": ("rule", ""),
    "prepare": ("event", "///"),
    "network": ("curve", ""),
    "statistics": ("truth", "xxx"),
    "scoring": ("limit", "..."),
}

Timed = Callable[[str], AbstractContextManager[None]]


def texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), dtype=np.uint8), (0, 0), 2)
    return cv2.normalize(noise, None, 20, 235, cv2.NORM_MINMAX)


def render(path: Path, width: int, height: int, frames: int) -> None:
    """A still, textured street with twelve things crossing it and sensor noise on top."""
    rng = np.random.default_rng(0)
    street, tall, wide = texture(height, width, rng), height // 6, height // 15
    things = [(texture(tall, wide, rng), 27 * k % 300 * height // 360, rng.uniform(0.5, 5)) for k in range(12)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(frames):
            picture = street.copy()
            for k, (thing, y, speed) in enumerate(things):
                x = int((50 * k + speed * t) * height / 360) % (width - wide)
                picture[y : y + tall, x : x + wide] = thing
            picture = cv2.add(picture, rng.integers(0, 6, picture.shape, dtype=np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def random_weights(extractor: str, name: str | None, folder: Path) -> str | None:
    """Weights in the layout of a public checkpoint, or None for an extractor that brings its own or has none."""
    torch.manual_seed(0)
    networks = {"i3d-r50": I3DResNet50, "i3d-inception": I3DInception}
    if extractor in networks:
        file = folder / f"{extractor}.pt"
        if not file.exists():
            torch.save(networks[extractor]().state_dict(), file)
        return str(file)
    if extractor == "hf":
        return str(random_model(folder / str(name)))
    return None


def random_model(folder: Path) -> Path:
    """A folder with a base-sized model of this name, as Hugging Face's hub has them."""
    if not folder.exists():
        try:
            import transformers as hf
        except ImportError:
            raise ClapError("hf: the package transformers is not installed; see docs/extractors/hf.md") from None
        if folder.name == "clip":
            model = hf.CLIPModel(hf.CLIPConfig(text_config={"num_hidden_layers": 1}, vision_config={"patch_size": 16}))
        else:
            model = hf.VideoMAEModel(hf.VideoMAEConfig())
        model.save_pretrained(folder)
        prepared = {"do_resize": True, "size": {"shortest_edge": 224}, "resample": 3}
        prepared |= {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "do_normalize": True}
        scaling = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
        (folder / "preprocessor_config.json").write_text(json.dumps(prepared | scaling))
    return folder


def comet_model(tool: VideoExtractor) -> MixtureModel:
    """A home's model of full size: the common density, one of its own with and without places, and a full memory."""
    rng = np.random.default_rng(0)
    projection = Projection.of(tool.dim, tool.roles.activity, 0)
    d = projection.dim
    rows = rng.normal(size=(most_remembered(d), d)).astype(np.float32)
    weights, means = np.full(COMPONENTS, 1 / COMPONENTS), rng.normal(size=(COMPONENTS, d))
    mixture = Mixture(weights, means, np.broadcast_to(np.eye(d), (COMPONENTS, d, d)))
    density = Density(mixture, np.arange(d), value_histogram(log_likelihood_ratio(mixture, rows)), 1.0)
    memory = Remembered(rows, value_histogram(rng.exponential(size=500)), 1.0)
    constants = Normaliser(np.zeros(d, np.float32), np.ones(d, np.float32))
    info, experts = {"dim": tool.dim, "segment_frames": tool.segment_frames}, (density, density, memory)
    model = MixtureModel(projection.standardised_by(constants), experts, tool.roles.followed, info)
    model.score(np.zeros((1, tool.crops, tool.dim), np.float32))  # what is computed once and kept
    return model


class Stopwatch:
    """Seconds by stage; a stage inside another takes its own time out of the other's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = dict.fromkeys(LOOKS, 0.0)
        self._clock, self._since = clock, 0.0
        self._open: list[str] = []

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._mark()
        self._open.append(stage)
        try:
            yield
        finally:
            self._mark()
            self._open.pop()

    def _mark(self) -> None:
        now = self._clock()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


def in_stages(tool: VideoExtractor, timed: Timed) -> VideoExtractor:
    """The same extractor, without a thread that reads ahead, and with its stages timed."""

    def within(stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with timed(stage):
                return method(*arguments)

        return run

    def maker(self: VideoExtractor, fps: float) -> Any:
        made = own.maker(self, fps)
        add, finish = within("prepare", made.add), within("statistics", made.finish)
        return SimpleNamespace(add=add, finish=finish)

    own = type(tool)
    members: dict[str, Any] = {"lead": 0, "maker": maker}
    if issubclass(own, DeepExtractor):
        members |= {"views": within("prepare", own.views), "features": within("network", own.features)}
    return type(own.__name__, (own,), members)(**tool.settings(), **tool.machine_settings())


def reader_of(budget: float, clock: Callable[[], float], timed: Timed, read: list[int]) -> type[VideoReader]:
    """A reader that ends at the first whole segment behind the budget, and adds to ``read`` how many it gave out."""

    class Reader(VideoReader):
        def __iter__(self) -> Iterator[np.ndarray]:
            started, frames, pictures = clock(), 0, super().__iter__()
            while frames % 16 or clock() - started < budget:
                with timed("decode"):
                    picture = next(pictures, None)
                if picture is None:
                    break
                frames += 1
                yield picture
            self.close()
            read.append(frames)

    return Reader


def extracted(
    tool: VideoExtractor, model: MixtureModel, path: Path, budget: float, clock: Callable[[], float], timed: Timed
) -> tuple[int, float]:
    """Extract and score; the frames, and the seconds without scoring."""
    read, scoring = list[int](), 0.0
    with mock.patch.object(video_extractor, "VideoReader", reader_of(budget, clock, timed, read)):
        started = clock()
        for block in tool.extract(path):
            begun = clock()
            with timed("scoring"):
                model.score(block.features, block.valid, FPS)
            scoring += clock() - begun
        return read[0], clock() - started - scoring


def decoded(tool: VideoExtractor, path: Path, budget: float, clock: Callable[[], float]) -> float:
    """Frames per second of decoding alone, as the extractor asks for it."""
    read, started = list[int](), clock()
    reader = reader_of(budget, clock, lambda stage: nullcontext(), read)
    for _ in reader(path, side=tool.picture_side, colour=tool.colour):
        pass
    return read[0] / (clock() - started)


def warm_up(tool: VideoExtractor) -> None:
    """Load the network and let it see one batch."""
    if isinstance(tool, DeepExtractor):
        picture = tool.prepare(np.zeros((360, 640, 3), np.uint8))
        tool.features(tool.views([picture] * 16)[: tool.batch])


def measured(case: str, tool: VideoExtractor, path: Path, budget: float) -> dict[str, Any]:
    """All figures of one extractor on one video."""
    gpu = isinstance(tool, DeepExtractor) and tool.device != "cpu"
    clock = time.perf_counter if gpu else time.process_time
    watch = Stopwatch(clock)
    staged = in_stages(tool, watch)
    model = comet_model(staged)
    warm_up(staged)
    alone = decoded(tool, path, budget, clock)
    watch.seconds = dict.fromkeys(LOOKS, 0.0)  # without what loading took
    staged_frames, seconds = extracted(staged, model, path, budget, clock, watch)
    watch.seconds["statistics"] += seconds + watch.seconds["scoring"] - sum(watch.seconds.values())
    frames = staged_frames
    if gpu:  # as users have it: decoding in its thread
        warm_up(tool)
        torch.cuda.reset_peak_memory_stats(tool.device)
        frames, seconds = extracted(tool, model, path, budget, clock, lambda stage: nullcontext())
    return {
        "extractor": case,
        "precision": tool.precision if isinstance(tool, DeepExtractor) else "float32",
        "frames": frames,
        "frames_per_second": frames / seconds,
        "real_time_factor": frames / seconds / FPS,
        "decode_frames_per_second": alone,
        "share_of_decode": frames / seconds / alone,
        "seconds_per_segment": 16 * seconds / frames,
        "stage_seconds_per_frame": {stage: spent / staged_frames for stage, spent in watch.seconds.items()},
        "peak_gpu_mib": torch.cuda.max_memory_allocated(tool.device) / 2**20 if gpu else None,
    }


def tools(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, VideoExtractor]]:
    """Each extractor of video in each of its cases; one that cannot be had is told of and passed over."""
    for asked in options.extractors or EXTRACTORS.names():
        name, given = named_extractor(asked)
        kind = EXTRACTORS[name]
        if not issubclass(kind, VideoExtractor):
            continue
        deep = issubclass(kind, DeepExtractor)
        cases = {asked: {}} if name == "hf" and given else CASES.get(name, {name: {}})
        for case, settings in cases.items():
            for precision in options.precisions if deep else ("float32",):
                chosen = settings | ({"device": options.device, "precision": precision} if deep else {})
                try:
                    weights = given.get("weights") or random_weights(name, settings.get("weights"), folder)
                    tool = make_extractor(name, chosen | ({"weights": weights} if weights else {}))
                    if deep:
                        tool.weights_sha256  # noqa: B018  # says what is missing
                except ClapError as error:
                    print(f"{case} is left out: {error}", file=sys.stderr)
                    continue
                yield case, tool


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each row; precision and memory where a GPU was used."""
    gpu = any(row["peak_gpu_mib"] is not None for row in rows)
    heads = ["extractor", "picture", "decode alone, frames/s", "frames/s", "x real time", "of decode alone"]
    heads += ["seconds per segment", *(["precision", "GPU memory, MiB"] if gpu else [])]
    cells = []
    for row in rows:
        memory = "" if row["peak_gpu_mib"] is None else f"{row['peak_gpu_mib']:.0f}"
        figures = [f"{row['decode_frames_per_second']:.0f}", f"{row['frames_per_second']:.3g}"]
        figures += [f"{row[name]:.2g}" for name in ("real_time_factor", "share_of_decode", "seconds_per_segment")]
        cells.append([row["extractor"], row["picture"], *figures, *([row["precision"], memory] if gpu else [])])
    return table(heads, cells) + "\n"


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """A bar for each row, in a panel of those that keep up with a camera and one of the others."""

    def total(row: dict[str, Any]) -> float:
        return 1000 * sum(row["stage_seconds_per_frame"].values())

    rows = sorted(rows, key=total)
    groups = [[row for row in rows if (total(row) <= 1000 / FPS) is fast] for fast in (True, False)]
    groups = [group for group in groups if group]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.3 * len(rows) + 0.7 * len(groups) + 0.6), layout="constrained")
        panels = figure.subplots(len(groups), squeeze=False, height_ratios=[len(group) + 1 for group in groups])[:, 0]
        for panel, group in zip(panels, groups, strict=True):
            _bars(panel, group, [total(row) for row in group])
        panels[-1].set_xlabel("milliseconds per frame, each panel in its own scale")
        legend = {"loc": "outside upper center", "ncols": len(LOOKS), "handlelength": 2.5}
        figure.legend(*panels[0].get_legend_handles_labels(), **legend)
        with atomic_path(file) as temporary:
            temporary.write_bytes(drawn(figure, file.suffix[1:]))


def _bars(panel: Any, group: Sequence[dict[str, Any]], totals: Sequence[float]) -> None:
    places, left, most = np.arange(len(group)), np.zeros(len(group)), max(totals)
    for stage, (colour, hatch) in LOOKS.items():
        widths = np.array([1000 * row["stage_seconds_per_frame"][stage] for row in group])
        bars = {"color": PALETTE[colour], "hatch": hatch, "edgecolor": "white", "linewidth": 0.8}
        panel.barh(places, widths, 0.72, left, label=stage, **bars)
        for place, width, start in zip(places, widths, left, strict=True):
            if width > 0.06 * most:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
                middle = {"ha": "center", "va": "center_baseline", "fontsize": 7, "bbox": box}
                panel.text(start + width / 2, place, _shown(width), **middle)
        left = left + widths
    for place, whole in zip(places, totals, strict=True):
        panel.text(whole + 0.01 * most, place, f"{_shown(whole)} ms", va="center", fontsize=8)
    if most > 1000 / FPS:
        panel.axvline(1000 / FPS, color=PALETTE["ink"], linestyle="--", linewidth=1)
        panel.text(1000 / FPS, -0.75, " 40 ms: real time at 25 fps", fontsize=8, va="center")
    mixed = any(row["precision"] != "float32" for row in group)
    names = [f"{r['extractor']} · {r['picture']}" + (f" · {r['precision']}" if mixed else "") for r in group]
    panel.set_yticks(places, names)
    panel.set(ylim=(len(group) - 0.5, -1.1 if most > 1000 / FPS else -0.6), xlim=(0, 1.1 * most))
    panel.grid(visible=False, axis="y")


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 20 else f"{milliseconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractors", type=lambda text: text.split(","), help="NAME or NAME:WEIGHTS, with commas")
    parser.add_argument("--device", default="cpu", help="of the networks: cpu, cuda, cuda:1")
    parser.add_argument("--precisions", type=lambda text: text.split(","), help="default: float32, on a GPU also mixed")
    parser.add_argument("--seconds", type=int, default=10, help="length of the videos")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds after which no segment is begun")
    parser.add_argument("--json", action="store_true", help="one object as the last line instead of a table")
    parser.add_argument("--picture", type=Path, help="an .svg or .png of the stages")
    options = parser.parse_args()
    options.precisions = options.precisions or (["float32"] if options.device == "cpu" else ["float32", "mixed"])
    cv2.setNumThreads(1)
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder, fixed_threads(1):
            paths = {f"{width} x {height}": Path(folder) / f"{height}.mp4" for width, height in SIZES}
            for path, (width, height) in zip(paths.values(), SIZES, strict=True):
                render(path, width, height, FPS * options.seconds)
            for case, tool in tools(options, Path(folder)):
                for picture, path in paths.items():
                    print(f"{case}, {picture} ...", file=sys.stderr)
                    rows.append({"picture": picture, **measured(case, tool, path, options.budget)})
        if options.picture and rows:
            draw(rows, options.picture)
    except (ClapError, OSError) as error:
        sys.exit(f"throughput: {error}")
    device = (
        torch.cuda.get_device_name(options.device) if options.device != "cpu" else "cpu, one thread, processor time"
    )
    print(json.dumps({"device": device, "rows": rows}) if options.json else markdown(rows), end="\n" * options.json)


if __name__ == "__main__":
    main()
