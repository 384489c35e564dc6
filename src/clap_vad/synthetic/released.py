"""A synthetic feature set in the released UCF-Crime layout, of any size, with planted anomalies.

Its lists, annotation and partitions follow the official ones, so that every official protocol runs on it. Its features
are random: they show that the product works at a given size and how fast, not how well a method detects.

Feature of segment t and dimension d: ``base[t, d]`` is the mean activation of the dimension (0.9 u², u uniform, thus
0.3 on average and skewed like rectified activations), multiplied by a random factor of the video (+-10 %), of the
dimension in the video (+-20 %), and by slow changes over time (autoregressive, 25 % by dimension, 5 % by segment). An
anomaly adds 0.3, times 0.5 to 1.5 by video, to 2 % of the dimensions (the same in every video) and to another 2 % that
belong to its class. A crop is its segment times 0.8 to 1.2 by dimension. The constants were chosen by eye, not by
detection results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events.intervals import intervals
from ..core.statistics.randomness import keyed_generator
from ..datasets.benchmarks.ucf_crime import read_annotation, video_record
from ..datasets.sources import find_file, find_files
from ..datasets.truth import Span, label_frames
from ..errors import ClapError
from ..features.importing.importer import SEGMENT_FRAMES
from ..features.importing.lists import read_list, unique_names
from ..features.store.npyfile import npy_header
from ..persistence import atomic_path, file_sha256, locked_folder, read_json, write_bytes, write_json, write_text
from ..progress import progress_bar

__all__ = ["anomaly_pattern", "render_ucf_crime", "scale_spans", "training_window", "video_features"]

_SPLITS = {
    "train": ("UCF_Train_ten_crop_i3d_complete_V1.txt", "concat_UCF_V2.npy"),
    "test": ("UCF_Test_ten_crop_i3d_complete_V1.txt", "Concat_test_10.npy"),
}
_ANNOTATION = "Temporal_Anomaly_Annotation.txt"
_RECORD, _MARK = "synthetic.json", "rendering.json"
_BLOCK_BYTES = 1 << 20  # fits the cache during the three passes over a block
_MEAN, _RAISE = 0.3, 0.3
_PLANTED_SHARE = 0.02
_JITTER, _ACTIVITY, _MEMORY = 0.25, 0.05, 0.8
_CROP_NOISE = 0.4


@dataclass(frozen=True)
class _Video:
    """A video of the set: ``path`` as in the official list, class ("" for normal), scaled length and spans."""

    name: str
    path: str
    event: str
    segments: int
    spans: Sequence[Span]
    split: str


def render_ucf_crime(
    lists: Path, out: Path, *, factor: float = 0.02, crops: int = 10, dim: int = 2048, seed: int = 0
) -> dict[str, Any]:
    """Write the set into ``out``. A finished set is kept; an interrupted one is written again from the start.

    Args:
        lists: folder of the official lists, the annotation and the video partitions, searched recursively.
        out: folder of the set: ``concat_UCF_V2.npy`` and ``Concat_test_10.npy``, (segments, crops, dim) float32, list
            files, annotation and partitions with their released names, and ``synthetic.json``, written last.
        factor: share of each video's segments, in (0, 1]; every video keeps at least one.
        crops, dim: crops per segment, floats per crop.
        seed: random seed; the features of a video depend only on it, the video's name and its length.

    Returns:
        ``path``, ``parameters``, and ``videos``, ``segments`` and ``bytes`` of each split (``train``, ``test``).

    Raises:
        ClapError: a setting is out of range, a list is missing or broken, or the folder contains anything else.
    """
    _check_settings(factor, crops, dim, seed)
    sources = {name: find_file(lists, "file", [name]) for name in (*(s[0] for s in _SPLITS.values()), _ANNOTATION)}
    partitions = {file.name: file for file in find_files(lists, ["*video_num_partition*.pkl"])}
    given = {name: file_sha256(file) for name, file in sorted((sources | partitions).items())}
    parameters = {"factor": factor, "crops": crops, "dim": dim, "seed": seed, "lists": given}
    if (out / _RECORD).exists():
        return {"path": str(out)} | _finished(out, parameters)
    videos = _plan(sources, factor)
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: is a file; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        _claim(out, parameters)
        record: dict[str, Any] = {"parameters": parameters}
        for split, (list_name, features_name) in _SPLITS.items():
            chosen = [video for video in videos if video.split == split]
            record[split] = _write_features(out / features_name, chosen, crops, dim, seed)
            write_text(out / list_name, _list_text(chosen))
        write_text(out / _ANNOTATION, _annotation_text(videos))
        for name, file in partitions.items():
            write_bytes(out / name, file.read_bytes())
        write_json(out / _RECORD, record)
        (out / _MARK).unlink()
    return {"path": str(out)} | record


def scale_spans(spans: Sequence[Span], official: int, segments: int) -> list[Span]:
    """Scale the annotated spans of a video from ``official`` to ``segments`` segments.

    Each span keeps at least the frames of one segment and stays inside the video; overlapping or touching spans are
    joined.

    >>> scale_spans([(160, 320), (1590, 1600)], official=100, segments=10)
    [(16, 32), (144, 160)]
    """
    frames = SEGMENT_FRAMES * segments
    labels = np.zeros(frames, np.uint8)
    for first, last in spans:
        start, stop = first * segments // official, min(frames, -(-last * segments // official))
        length = max(SEGMENT_FRAMES, stop - start)
        start = min(max(0, (start + stop - length) // 2), frames - length)
        labels |= label_frames([(start, start + length)], frames)
    return [(start, stop) for start, stop in intervals(labels).tolist()]


def training_window(seed: int, video: str, segments: int) -> Span:
    """Segments [start, stop) of the planted anomaly in a training video: 5 to 30 % of the video, at least one."""
    generator = keyed_generator(seed, 0, video, "window")
    length = min(segments, max(1, round(generator.uniform(0.05, 0.3) * segments)))
    start = int(generator.integers(segments - length + 1))
    return start, start + length


def anomaly_pattern(seed: int, event: str, dim: int) -> np.ndarray:
    """The values that an anomaly of class ``event`` adds to a segment, (dim,) float32; "": the common part."""
    raised = keyed_generator(seed, 0, event, "pattern").permutation(dim)[: max(1, round(_PLANTED_SHARE * dim))]
    pattern = np.zeros(dim, np.float32)
    pattern[raised] = _RAISE
    return pattern if event == "" else np.maximum(pattern, anomaly_pattern(seed, "", dim))


def video_features(
    seed: int, video: str, event: str, planted: np.ndarray, crops: int, dim: int
) -> Iterator[np.ndarray]:
    """Yield a video's features in blocks (n, crops, dim) float32 of about 1 MB; each block overwrites the last.

    Args:
        seed, video: seed of the random values.
        event: class of its anomaly.
        planted: share of each segment that the anomaly covers, (T,) in [0, 1].
        crops, dim: shape of a segment.
    """
    profile = keyed_generator(seed, 0, "", "profile").random(dim, np.float32) ** 2 * np.float32(3 * _MEAN)
    own = keyed_generator(seed, 0, video, "video")
    profile *= (own.random(dim, np.float32) * np.float32(0.4) + np.float32(0.8)) * np.float32(own.uniform(0.9, 1.1))
    pattern = anomaly_pattern(seed, event, dim) * np.float32(own.uniform(0.5, 1.5))
    # two random streams, so that the values do not depend on the block size
    over_time, over_regions = (keyed_generator(seed, 0, video, purpose) for purpose in ("time", "crops"))
    step = min(len(planted), max(1, _BLOCK_BYTES // (4 * crops * dim)))
    buffer = np.empty((step, crops, dim), np.float32)
    state = over_time.standard_normal(dim + 1, np.float32)
    fresh, kept = np.float32(math.sqrt(1 - _MEMORY**2)), np.float32(_MEMORY)
    for start in range(0, len(planted), step):
        covered = planted[start : start + step].astype(np.float32)
        drift = over_time.standard_normal((len(covered), dim + 1), np.float32) * fresh
        for row in drift:
            row += kept * state
            state = row
        base = profile * np.maximum(0, 1 + np.float32(_JITTER) * drift[:, :dim])
        base *= np.maximum(0, 1 + np.float32(_ACTIVITY) * drift[:, dim:])
        base += covered[:, None] * pattern
        block = buffer[: len(covered)]
        over_regions.random(out=block, dtype=np.float32)
        block *= (np.float32(_CROP_NOISE) * base)[:, None]
        block += (np.float32(1 - _CROP_NOISE / 2) * base)[:, None]
        yield block


def _check_settings(factor: float, crops: int, dim: int, seed: int) -> None:
    if not 0 < factor <= 1:
        raise ClapError(f"factor {factor}: give a share of the official length, above 0 and at most 1")
    for name, value, least in (("crops", crops, 1), ("dim", dim, 1), ("seed", seed, 0)):
        if value < least:
            raise ClapError(f"{name} {value}: give an integer of at least {least}")


def _plan(sources: Mapping[str, Path], factor: float) -> list[_Video]:
    spans = read_annotation(sources[_ANNOTATION])
    videos = []
    for split, (list_name, _) in _SPLITS.items():
        file = sources[list_name]
        for entry in unique_names(file, read_list(file)):
            start, stop = entry.rows or (0, 0)
            if stop <= start:
                raise ClapError(f"{file}: line {entry.line}: no rows; write 'path,start,stop' with start < stop")
            event = video_record(entry.video, split).event
            segments = max(1, round(factor * (stop - start)))
            scaled = scale_spans(spans.get(entry.video, ()), stop - start, segments) if split == "test" else []
            if split == "test" and bool(event) != bool(scaled):
                needed = "one is" if event else "no span is"
                raise ClapError(
                    f"{sources[_ANNOTATION]}: test video '{entry.video}' has {len(scaled)} spans, but by its name "
                    f"{needed} expected; give the annotation that belongs to the list"
                )
            videos.append(_Video(entry.video, entry.path, event, segments, scaled, split))
    return videos


def _claim(out: Path, parameters: Mapping[str, Any]) -> None:
    """Mark ``out`` as an unfinished set and remove the rest of a killed rendering; refuse a folder of anything else."""
    if (out / _MARK).exists():
        if read_json(out / _MARK) != parameters:
            raise ClapError(f"{out}: unfinished set with other parameters; delete it or choose another folder")
        for leftover in out.glob(".*.tmp"):
            leftover.unlink()
    elif any(out.iterdir()):
        raise ClapError(f"{out}: not empty and not a synthetic set; choose another folder")
    else:
        write_json(out / _MARK, parameters)


def _finished(out: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = read_json(out / _RECORD)
    if record.get("parameters") != parameters:
        raise ClapError(f"{out}: synthetic set with other parameters or lists; choose another folder")
    for split, (_, name) in _SPLITS.items():
        if not (out / name).is_file() or (out / name).stat().st_size != record[split]["bytes"]:
            raise ClapError(f"{out / name}: differs from {_RECORD}; delete the folder and render it again")
    return record


def _write_features(file: Path, videos: Sequence[_Video], crops: int, dim: int, seed: int) -> dict[str, int]:
    segments = sum(video.segments for video in videos)
    header = npy_header(np.dtype(np.float32), (segments, crops, dim))
    with progress_bar(file.name, segments) as advance, atomic_path(file) as temporary, temporary.open("wb") as handle:
        handle.write(header)
        for video in videos:
            for block in video_features(seed, video.name, video.event, _planted(seed, video), crops, dim):
                handle.write(block.data)
                advance(len(block), note=video.name)
    return {"videos": len(videos), "segments": segments, "bytes": file.stat().st_size}


def _planted(seed: int, video: _Video) -> np.ndarray:
    """Share of each segment that an anomaly covers, (T,) in [0, 1]; from the annotated frames if there are any."""
    if video.split == "test":
        return label_frames(video.spans, SEGMENT_FRAMES * video.segments).reshape(-1, SEGMENT_FRAMES).mean(axis=1)
    return label_frames([training_window(seed, video.name, video.segments)] if video.event else [], video.segments)


def _list_text(videos: Sequence[_Video]) -> str:
    lines, stop = [], 0
    for video in videos:
        lines.append(f"{video.path},{stop},{stop + video.segments}\n")
        stop += video.segments
    return "".join(lines)


def _annotation_text(videos: Sequence[_Video]) -> str:
    """Lines ``name  class  start  stop  start  stop`` with -1 for no span, as in the official file."""
    lines = []
    for video in videos:
        if video.split == "test":
            numbers = [number for span in video.spans for number in span]
            numbers += [-1] * (4 - len(numbers))
            lines.append("  ".join([video.name, video.event or "Normal", *map(str, numbers)]) + "  \n")
    return "".join(lines)
