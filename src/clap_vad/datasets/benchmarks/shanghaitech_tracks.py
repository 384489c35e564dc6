"""ShanghaiTech Campus as pedestrian tracks (Luo et al., ICCV 2017), in the usual weakly supervised split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...errors import ClapError
from ...features.store.reader import FeatureStore
from ...settings import option
from ..dataset import VideoRecord
from ..preparation import DATASETS, Benchmark, Contents
from ..published import given_labels, given_truth
from ..sources import find_file, find_files, read_names
from ..stores import extract_store
from ..truth import length_differences

__all__ = ["ShanghaiTechTracks"]


@DATASETS.register("shanghaitech-tracks")
@dataclass(frozen=True)
class ShanghaiTechTracks(Benchmark):
    """238 training and 199 test videos of 13 cameras (the scenes); features of the extractor ``tracks``."""

    wanted = (
        "the folders train/ and test/ of pedestrian tracks (text, Frame_Number Person_ID State x1 y1 x2 y2), with "
        "weak_train.txt, weak_test.txt and frame_labels.npz"
    )

    for_papers: ClassVar[Mapping[str, Any]] = {"form": "segment"}

    form: Literal["segment", "person"] = option("person", "Features of single persons or of whole segments.")

    def build(self, source: Path, out: Path, workers: int | None) -> Contents:
        lists = {split: find_file(source, f"{split} list", [f"weak_{split}.txt"]) for split in ("train", "test")}
        names = {split: read_names(file) for split, file in lists.items()}
        tracks = _track_files(source)
        for split, videos in names.items():
            if absent := [video for video in videos if video not in tracks]:
                raise ClapError(
                    f"{lists[split]}: {len(absent)} videos have no track file in {source} (first: '{absent[0]}.txt'); "
                    "add the files"
                )
        if both := set(names["train"]) & set(names["test"]):
            raise ClapError(f"{lists['test']}: '{min(both)}' is also a training video; give the published lists")
        file, given = given_labels(source)
        if file is None:
            raise ClapError(f"{source}: frame_labels.npz not found; add it, as it marks the videos with anomalies")
        wanted = {video: tracks[video] for video in names["train"] + names["test"]}
        skipped, remarks = extract_store(
            wanted, out / "store", extractor="tracks", settings={"form": self.form}, workers=workers
        )
        records = [
            VideoRecord(video, split, f"camera-{video[:2]}", label=int(video in given and bool(given[video].any())))
            for split, videos in names.items()
            for video in videos
            if video not in skipped
        ]
        store = FeatureStore(out / "store")
        frames = {record.video: store.video(record.video).frames for record in records if record.split == "test"}
        labels = {
            video: given[video] if video in given else np.zeros(count, dtype=np.uint8)
            for video, count in frames.items()
        }
        truth = given_truth(
            file,
            "videos named there have those labels, all others are normal up to their last tracked frame",
            labels,
            videos_with_given_labels=sum(video in given for video in labels),
            labelled_minus_tracked_frames=length_differences(labels, store),
        )
        return Contents(records, labels, truth, skipped=skipped, notes=remarks)


def _track_files(source: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in find_files(source, ["*.txt"]):
        if re.fullmatch(r"\d\d_\d{3,4}", file.stem) and (first := found.setdefault(file.stem, file)) != file:
            raise ClapError(f"{file}: same video as {first}; remove one of them")
    return found
