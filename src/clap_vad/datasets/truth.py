"""Frame-level ground truth: labels per frame from annotated spans, with a record of their origin.

Spans are [start, stop), frames are counted from 0. This convention reproduces every published label of UCF-Crime and
XD-Violence; counting from 1 or including the last frame does not (docs/datasets.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events.intervals import intervals
from ..errors import ClapError, unprintable
from ..features.store.reader import MOST_FRAMES, FeatureStore
from ..persistence import UNREADABLE, NpzArrays, file_sha256, open_npz, save_npz

__all__ = [
    "RULE",
    "Span",
    "check_lengths",
    "compare_truth",
    "describe_file",
    "generate_truth",
    "label_frames",
    "length_differences",
    "parse_spans",
    "read_frame_labels",
    "stated_frames",
    "truth_sizes",
    "write_frame_labels",
]

_MOST_LABELS = 1_000_000_000  # per file, all videos together

Span = tuple[int, int]
RULE = "a frame is 1 when start <= frame < stop for an annotated span; frames counted from 0"


def label_frames(spans: Iterable[Span], frames: int) -> np.ndarray:
    """Labels of a video, (frames,) uint8: 1 where a span [start, stop) covers the frame, cut to the video.

    >>> label_frames([(1, 3), (4, 9)], 6).tolist()
    [0, 1, 1, 0, 1, 1]
    """
    if frames > MOST_FRAMES:
        raise ClapError(f"{frames} frames in one video, the limit is {MOST_FRAMES}; correct its length")
    labels = np.zeros(frames, dtype=np.uint8)
    for start, stop in spans:
        labels[start:stop] = 1
    return labels


def parse_spans(place: str, words: Sequence[str]) -> list[Span]:
    """Parse pairs ``start stop start stop ...``; a pair of -1 means "no span".

    Args:
        place: "file: line n", for error messages.
        words: the numbers as text.
    """
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        raise ClapError(f"{place}: {' '.join(words)!r} are not integer frame numbers; correct the line") from None
    if len(numbers) % 2:
        raise ClapError(f"{place}: {len(numbers)} frame numbers; every start needs a stop, correct the line")
    spans = [(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True) if (a, b) != (-1, -1)]
    for start, stop in spans:
        if not 0 <= start <= stop:
            raise ClapError(f"{place}: span {start} to {stop} is reversed or negative; correct the line")
    return spans


def generate_truth(
    spans: Mapping[str, Sequence[Span]], frames: Mapping[str, int]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Labels of every video in ``frames``, and the spans that extend beyond the end of their video.

    Args:
        spans: annotated spans by video; a video without spans is normal.
        frames: frame count by video, in the order of the result.
    """
    labels = {video: label_frames(spans.get(video, ()), count) for video, count in frames.items()}
    cut = [
        {"video": video, "span": [start, stop], "frames": count}
        for video, count in frames.items()
        for start, stop in spans.get(video, ())
        if stop > count
    ]
    return labels, cut


def compare_truth(generated: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Compare labels frame by frame.

    Returns:
        One entry per video with differences: ``video``, ``frames`` (number of differing frames), ``spans`` (where they
        differ, [start, stop)) or ``reason`` (if only one side has the video). Missing frames count as differing.
    """
    found: list[dict[str, Any]] = []
    for video in sorted(generated.keys() | given.keys()):
        if video not in given or video not in generated:
            known = generated if video in generated else given
            side = "generated, not given" if video in generated else "given, not generated"
            found.append({"video": video, "frames": len(known[video]), "reason": side})
            continue
        ours, theirs = generated[video], given[video]
        differs = np.ones(max(len(ours), len(theirs)), dtype=np.bool_)
        common = min(len(ours), len(theirs))
        differs[:common] = ours[:common] != theirs[:common]
        if differs.any():
            found.append({"video": video, "frames": int(differs.sum()), "spans": intervals(differs).tolist()})
    return found


def truth_sizes(labels: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Number of labelled ``videos``, ``frames`` and ``abnormal_frames``."""
    return {
        "videos": len(labels),
        "frames": sum(len(values) for values in labels.values()),
        "abnormal_frames": sum(int(values.sum()) for values in labels.values()),
    }


def length_differences(labels: Mapping[str, Sized], store: FeatureStore) -> dict[str, int]:
    """Number of labels minus number of frames in the store, for the videos where they differ."""
    found = {video: len(values) - store.video(video).frames for video, values in labels.items()}
    return {video: difference for video, difference in found.items() if difference}


def check_lengths(file: Path, labels: Mapping[str, Sized], store: FeatureStore) -> None:
    """Refuse labels whose number differs too much from the frame count in the store.

    A difference of one segment or a tenth of the video's frames is accepted: decoders differ at the end of a file, and
    tracks end with the last person. Evaluation gives extra labels the score of the last segment and skips frames
    without a label; both are reported.

    Args:
        file: the file of the labels, for error messages.
        labels: labels by video.
        store: the store of the videos.

    Raises:
        ClapError: the difference is too large.
    """
    for video, difference in length_differences(labels, store).items():
        frames = store.video(video).frames
        allowed = max(store.segment_frames, frames // 10)
        if abs(difference) > allowed:
            raise ClapError(
                f"{file}: '{video}' has {len(labels[video])} labels but {frames} frames in the store, "
                f"{abs(difference)} too {'many' if difference > 0 else 'few'} (allowed difference: {allowed}); "
                "give one label per frame"
            )


def describe_file(file: Path) -> dict[str, str]:
    """Name and SHA-256 of a source file, for ``truth.json``."""
    return {"file": file.name, "sha256": file_sha256(file)}


def stated_frames(file: Path) -> dict[str, range]:
    """The frame range of each video in a ``frame_labels.npz``. Only headers are read.

    Raises:
        ClapError: the file is not an .npz, contains pickled objects, has an entry that is not a flat integer array, or
            has too many labels.
    """
    try:
        with open_npz(file, "frame labels") as archive:
            return _stated(file, archive)
    except (*UNREADABLE, KeyError) as error:
        raise ClapError(f"{file}: not a readable .npz of frame labels ({error})") from None


def read_frame_labels(file: Path, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the labels of each video, (frames,) uint8 of 0 and 1.

    Args:
        file: the file; all headers are checked before any label is read.
        only: videos to read if present; None reads all.

    Raises:
        ClapError: see :func:`stated_frames`, or a label is neither 0 nor 1.
    """
    try:
        with open_npz(file, "frame labels") as archive:
            wanted = [name for name in _stated(file, archive) if only is None or name in only]
            return {name: _check_labels(file, name, archive[name]) for name in wanted}
    except (*UNREADABLE, KeyError) as error:
        raise ClapError(f"{file}: not a readable .npz of frame labels ({error})") from None


def _stated(file: Path, archive: NpzArrays) -> dict[str, range]:
    found: dict[str, range] = {}
    for name in archive.files:
        if unprintable(name):
            raise ClapError(f"{file}: {name!r} cannot name a video; name each entry after its video")
        header = archive.header(name)
        if len(header.shape) != 1 or header.dtype.kind not in "biu":
            shape = f"{header.dtype} {header.shape}"
            raise ClapError(f"{file}: '{name}' is {shape}; give a flat integer array with one 0 or 1 per frame")
        if header.shape[0] > MOST_FRAMES:
            raise ClapError(
                f"{file}: '{name}' has {header.shape[0]} labels, the limit is {MOST_FRAMES}; split the video"
            )
        found[name] = range(header.shape[0])
    if (total := sum(map(len, found.values()))) > _MOST_LABELS:
        raise ClapError(f"{file}: {total} labels, the limit is {_MOST_LABELS}; split it into two datasets")
    return found


def write_frame_labels(file: Path, labels: Mapping[str, np.ndarray]) -> None:
    """Write labels atomically as a compressed .npz. Equal labels give equal bytes."""
    save_npz(file, {video: np.asarray(values, dtype=np.uint8) for video, values in labels.items()}, compress=True)


def _check_labels(file: Path, name: str, values: np.ndarray) -> np.ndarray:
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise ClapError(f"{file}: '{name}' has values other than 0 and 1; use 1 for abnormal frames, 0 for others")
    return values.astype(np.uint8)
