"""UCSD Ped2 (Mahadevan et al., CVPR 2010), two folds: half of the test clips join the unlabelled training set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import ClapError
from ...features.naming import video_name
from ...features.store.reader import FeatureStore
from ...settings import option
from ..dataset import VideoRecord
from ..preparation import DATASETS, Benchmark, Contents
from ..published import given_labels, given_truth
from ..stores import extract_store, link_store
from ..truth import length_differences

__all__ = ["UcsdPed2"]

_CLIPS = [f"Train{number:03d}" for number in range(1, 17)] + [f"Test{number:03d}" for number in range(1, 13)]


@DATASETS.register("ucsd-ped2")
@dataclass(frozen=True)
class UcsdPed2(Benchmark):
    """16 normal clips and 12 with anomalies from one camera; every Test clip is a test video in exactly one fold."""

    wanted = "the folders Train/ and Test/ of video files, with frame_labels.npz"

    fold: Literal["a", "b"] = option("a", "a trains on Train and odd Test clips, b on Train and even ones.")
    extractor: str = option("motion", "Extractor of the features.")
    features: Path | None = option(None, "Use this feature store of the clips.")

    def build(self, source: Path, out: Path, workers: int | None) -> Contents:
        clips = _find_clips(source)
        file, given = given_labels(source)
        if file is None:
            raise ClapError(f"{source}: frame_labels.npz not found; add it, as it has the labels of the Test clips")
        if unknown := [clip for clip in _CLIPS if clip.startswith("Test") and clip not in given]:
            raise ClapError(f"{file}: no labels for '{unknown[0]}'; give the labels of all twelve Test clips")
        skipped, remarks = self._store(clips, out / "store", workers)
        records = [
            VideoRecord(clip, split, label=int(clip.startswith("Test")))
            for split in ("train", "test")
            for clip in clips
            if clip not in skipped and self._split(clip) == split
        ]
        labels = {record.video: given[record.video] for record in records if record.split == "test"}
        truth = given_truth(
            file,
            "labels of the Test clips as given there",
            labels,
            labelled_minus_decoded_frames=length_differences(labels, FeatureStore(out / "store")),
        )
        return Contents(records, labels, truth, skipped=skipped, notes=remarks)

    def _store(self, clips: dict[str, Path], out: Path, workers: int | None) -> tuple[dict[str, str], list[str]]:
        """Extract the features or link a finished store. Returns the missing clips with reasons, and notes."""
        if self.features is None:
            return extract_store(clips, out, extractor=self.extractor, settings={}, workers=workers)
        link_store(self.features, out)
        store = FeatureStore(out)
        return {clip: f"{self.features}: does not contain this video" for clip in clips if clip not in store}, []

    def _split(self, clip: str) -> str:
        odd = int(clip[-3:]) % 2 == 1
        return "train" if clip.startswith("Train") or odd == (self.fold == "a") else "test"


def _find_clips(source: Path) -> dict[str, Path]:
    """The video file or folder of frames of each clip."""
    if not source.is_dir():
        raise ClapError(f"{source}: no such folder; give the folder that contains Train and Test")
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("T*")):
        name = video_name(path.name)
        if re.fullmatch(r"(Train|Test)\d{3}", name) and (first := found.setdefault(name, path)) != path:
            raise ClapError(f"{path}: same clip as {first}; remove one of them")
    if absent := [clip for clip in _CLIPS if clip not in found]:
        raise ClapError(f"{source}: {len(absent)} of 28 clips are missing (first: '{absent[0]}'); add them")
    return {clip: found[clip] for clip in _CLIPS}
