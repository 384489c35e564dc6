"""XD-Violence (Wu et al., ECCV 2020) with the partitions of the CLAP release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...errors import ClapError
from ...features.naming import video_name
from ...persistence import write_text
from ...settings import option
from ..dataset import VideoRecord
from ..preparation import DATASETS, Benchmark, Contents
from ..published import given_labels, read_partitions, truth_from_spans
from ..sources import find_file, find_files, read_lines, read_names
from ..stores import Published, adopt_features
from ..truth import Span, parse_spans

__all__ = ["XdViolence", "read_annotation"]

EVENTS = {
    "B1": "Fighting",
    "B2": "Shooting",
    "B4": "Riot",
    "B5": "Abuse",
    "B6": "CarAccident",
    "G": "Explosion",
}


@DATASETS.register("xd-violence")
@dataclass(frozen=True)
class XdViolence(Benchmark):
    """3954 training and 800 test videos; the event of a video is the first class in its name.

    Training videos have the order of the CLAP release, normal ones first: its ``nalist_XD.npy`` and partitions use
    this order, not that of ``rgb_train.list``. Only in this order do the lengths in ``nalist_XD.npy`` agree with the
    durations in the names, to 1 % (docs/datasets.md).
    """

    wanted = (
        "concat_XD.npy with nalist_XD.npy, or one file per video and crop (segments x 1024) of the XD-Violence "
        "release, and beside them the lists rgb_train.list and rgb_test.list, annotations.txt, frame_labels.npz and "
        "the files *video_num_partition*.pkl"
    )

    features: Path | None = option(None, "A feature store, or a folder of published features.")

    def build(self, source: Path, out: Path, workers: int | None) -> Contents:
        train = find_file(source, "training list", ["rgb_train.list", "*train*.list", "rgb.list"])
        test = find_file(source, "test list", ["rgb_test.list", "rgbtest.list", "*test*.list"])
        annotation = find_file(source, "annotation", ["annotations.txt", "annotations*.txt"])
        listed = [_record(video, "train") for video in read_names(train)]
        records = sorted(listed, key=lambda record: record.label == 1)
        train_names = [record.video for record in records]
        records += [_record(video, "test") for video in read_names(test)]
        partitions, notes = read_partitions(source, records)
        labels, truth = truth_from_spans(annotation, read_annotation(annotation), records, given_labels(source), {})
        if truth["frame_counts"]["unknown"]:
            notes.append(
                "test videos of unknown length have no frame labels; put frame_labels.npz into the folder of the lists"
            )
        names = out / "train-order.txt"
        write_text(names, "".join(f"{video}\n" for video in train_names))
        nalist = find_files(source, ["nalist_XD.npy"])
        splits = [
            Published("store", train, train_names, "concat_XD.npy", nalist[0] if nalist else None, names),
            Published("store-test", test, read_names(test), "concat_XD_test.npy", None),
        ]
        missing = adopt_features(self.features, source, out, splits)
        if missing:
            notes.append(
                "some splits have no features: get the I3D features of the XD-Violence release (five files per video) "
                "and prepare again with --features FOLDER, or run the commands under 'next'"
            )
        return Contents(records, labels, truth, partitions, notes=notes, next_steps=missing)


def read_annotation(file: Path) -> dict[str, list[Span]]:
    """Spans by video from ``annotations.txt``: ``name start stop start stop ...``; names may end in ``.mp4``."""
    spans: dict[str, list[Span]] = {}
    for number, line in read_lines(file):
        name, *words = line.split()
        if (video := video_name(name)) in spans:
            raise ClapError(f"{file}: line {number}: video '{video}' is annotated twice; join the two lines")
        spans[video] = parse_spans(f"{file}: line {number}", words)
    return spans


def _record(video: str, split: str) -> VideoRecord:
    classes = re.search(r"_label_([A-Z0-9-]+)$", video)
    if classes is None:
        raise ClapError(
            f"video '{video}': an XD-Violence name ends with its classes, e.g. '_label_B1-0-0'; correct the list"
        )
    first = classes[1].split("-")[0]
    if first == "A":
        return VideoRecord(video, split, label=0)
    if first not in EVENTS:
        raise ClapError(f"video '{video}': unknown class '{first}', known: A, {', '.join(EVENTS)}; correct the list")
    return VideoRecord(video, split, event=EVENTS[first], label=1)
