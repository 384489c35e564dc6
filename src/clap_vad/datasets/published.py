"""Code shared by benchmarks: published frame labels, labels from annotated spans, official CLAP partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ClapError
from ..features.importing.importer import SEGMENT_FRAMES
from .dataset import Participants, VideoRecord
from .official import official_participants
from .sources import find_files
from .truth import RULE, Span, compare_truth, describe_file, generate_truth, read_frame_labels, truth_sizes

__all__ = ["given_labels", "given_truth", "read_partitions", "truth_from_spans"]


def given_labels(source: Path) -> tuple[Path | None, dict[str, np.ndarray]]:
    """Path and labels of the published ``frame_labels.npz``; (None, {}) if there is none."""
    found = find_files(source, ["frame_labels.npz"])
    return (found[0], read_frame_labels(found[0])) if found else (None, {})


def given_truth(file: Path, rule: str, labels: Mapping[str, np.ndarray], **remarks: Any) -> dict[str, Any]:
    """The record for ``truth.json`` of labels copied from ``file``."""
    return {
        "origin": "given",
        "annotation": describe_file(file),
        "rule": rule,
        **truth_sizes(labels),
        **remarks,
        "compared_with": None,
        "disagreements": [],
    }


def truth_from_spans(
    annotation: Path,
    spans: Mapping[str, Sequence[Span]],
    records: Sequence[VideoRecord],
    given: tuple[Path | None, dict[str, np.ndarray]],
    segments: Mapping[str, int],
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Generate the labels of the test videos from annotated spans.

    The given labels provide the frame counts; their values are only compared with the generated ones. A video without
    given labels has 16 frames per segment. A video with neither gets no labels.

    Returns:
        Labels by video, and the record for ``truth.json`` with every disagreement.

    Raises:
        ClapError: a test video with an anomalous name has no annotation.
    """
    test = [record for record in records if record.split == "test"]
    if missing := [record.video for record in test if record.label == 1 and not spans.get(record.video)]:
        raise ClapError(
            f"{annotation}: {len(missing)} anomalous test videos have no span (first: '{missing[0]}'); "
            "give the complete annotation file"
        )
    file, labels = given
    counted = {record.video: len(labels[record.video]) for record in test if record.video in labels}
    derived = [record.video for record in test if record.video not in counted and record.video in segments]
    counted |= {video: SEGMENT_FRAMES * segments[video] for video in derived}
    frames = {record.video: counted[record.video] for record in test if record.video in counted}
    truth, cut = generate_truth(spans, frames)
    names = {record.video for record in test}
    record: dict[str, Any] = {
        "origin": "generated",
        "annotation": describe_file(annotation),
        "rule": RULE,
        "frame_counts": {
            "source": describe_file(file) if file else None,
            "from_lengths_of_given_labels": len(frames) - len(derived),
            "from_segments_times_16": derived if file else len(derived),
            "unknown": [record.video for record in test if record.video not in frames],
        },
        **truth_sizes(truth),
        "spans_cut_at_end": cut,
        "annotated_but_not_listed": sorted(spans.keys() - names),
        "compared_with": describe_file(file) if file else None,
        "disagreements": compare_truth(truth, labels) if file else [],
    }
    return truth, record


def read_partitions(source: Path, records: Sequence[VideoRecord]) -> tuple[list[Participants], list[str]]:
    """Read the official CLAP partitions below ``source``. Returns the partitions and notes about them.

    Files that partition segments (``random_partition_5_V2.pkl``) are ignored and noted.
    """
    videos = {record.video: record for record in records}
    files = {file.name: file for file in find_files(source, ["*partition*.pkl"])}
    assigned, notes = [], []
    for name in sorted(files):
        if "video_num_partition" not in name:
            notes.append(f"{name} partitions segments, not videos; ignored")
            continue
        found = official_participants(files[name], videos)
        assigned.append(found)
        notes += _remarks(name, found, videos)
    return assigned, notes


def _remarks(name: str, found: Participants, videos: Mapping[str, VideoRecord]) -> list[str]:
    notes = []
    train = sum(record.split == "train" for record in videos.values())
    if unassigned := train - sum(map(len, found.videos.values())):
        notes.append(f"{name} assigns {unassigned} of the {train} training videos to no participant")
    if found.protocol.startswith("official-event"):
        classes = [{videos[video].event for video in held} - {""} for held in found.videos.values()]
        if mixed := sum(len(present) > 1 for present in classes):
            notes.append(f"{name}: {mixed} participants have videos of more than one event class; kept as released")
    return notes
