"""UCF-Crime (Sultani et al., CVPR 2018) with the lists, features and partitions of the CLAP release."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ClapError
from ...features.naming import video_name
from ...settings import option
from ..dataset import VideoRecord
from ..preparation import DATASETS, Benchmark, Contents
from ..published import given_labels, read_partitions, truth_from_spans
from ..sources import find_file, read_lines, read_names, read_segment_counts
from ..stores import Published, adopt_features
from ..truth import Span, parse_spans

__all__ = ["UcfCrime", "read_annotation", "video_record"]

_TRAIN = ["UCF_Train_ten_crop_i3d_complete_V1.txt", "UCF_Train*.txt", "ucf-i3d.list"]
_TEST = ["UCF_Test_ten_crop_i3d_complete_V1.txt", "UCF_Test*.txt", "ucf-i3d-test.list"]


@DATASETS.register("ucf-crime")
@dataclass(frozen=True)
class UcfCrime(Benchmark):
    """1608 training and 290 test videos of 13 kinds of crime; scenes are those of the official scene partition."""

    wanted = (
        "concat_UCF_V2.npy (float32, 779,780 x 10 x 2048, 64 GB) and Concat_test_10.npy (69,634 x 10 x 2048) of the "
        "CLAP or C2FPL release, and beside them the lists UCF_Train_ten_crop_i3d_complete_V1.txt and "
        "UCF_Test_ten_crop_i3d_complete_V1.txt (path,start,stop), Temporal_Anomaly_Annotation.txt and the files "
        "*video_num_partition*.pkl"
    )

    features: Path | None = option(None, "A feature store, or a folder of published features.")

    def build(self, source: Path, out: Path, workers: int | None) -> Contents:
        train = find_file(source, "training list", _TRAIN)
        test = find_file(source, "test list", _TEST)
        annotation = find_file(source, "annotation", ["Temporal_Anomaly_Annotation*.txt"])
        records = [video_record(video, "train") for video in read_names(train)]
        records += [video_record(video, "test") for video in read_names(test)]
        partitions, notes = read_partitions(source, records)
        scenes = {
            video: scene
            for assigned in partitions
            if assigned.protocol.startswith("official-scene")
            for scene, videos in assigned.videos.items()
            for video in videos
        }
        records = [replace(record, scene=scenes.get(record.video, "")) for record in records]
        labels, truth = truth_from_spans(
            annotation, read_annotation(annotation), records, given_labels(source), read_segment_counts(test)
        )
        splits = [
            Published("store", train, read_names(train), "concat_UCF_V2.npy", train),
            Published("store-test", test, read_names(test), "Concat_test_10.npy", test),
        ]
        missing = adopt_features(self.features, source, out, splits)
        if missing:
            notes.append(
                "some splits have no features: get concat_UCF_V2.npy and Concat_test_10.npy of the CLAP or C2FPL "
                "release (64 GB), then run the commands under 'next', or prepare again with --features"
            )
        return Contents(records, labels, truth, partitions, notes=notes, next_steps=missing)


def read_annotation(file: Path) -> dict[str, list[Span]]:
    """Spans by video from ``Temporal_Anomaly_Annotation.txt``: ``name class start stop start stop``, -1 for no span."""
    spans: dict[str, list[Span]] = {}
    for number, line in read_lines(file):
        words = line.split()
        if len(words) < 4:
            raise ClapError(f"{file}: line {number}: {line!r} is not 'name class start stop ...'; correct the line")
        if (video := video_name(words[0])) in spans:
            raise ClapError(f"{file}: line {number}: video '{video}' is annotated twice; join the two lines")
        spans[video] = parse_spans(f"{file}: line {number}", words[2:])
    return spans


def video_record(video: str, split: str) -> VideoRecord:
    """The record of a video; its name starts with the class, which gives the label."""
    kind = re.match(r"[A-Za-z]+", video)
    if kind is None:
        raise ClapError(
            f"video '{video}': a UCF-Crime name starts with its class, e.g. 'Abuse001_x264'; correct the list"
        )
    normal = kind[0].lower() in ("normal", "testing", "training")
    return VideoRecord(video, split, event="" if normal else kind[0], label=0 if normal else 1)
