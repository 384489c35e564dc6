"""A small dataset on disk, made with the real writer: two scenes, some truth missing, invalid regions on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.features.store.writer import StoreWriter

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """``make(records, features, frames, truth, valid, normalise)`` -> the dataset."""

    def make(
        records: Sequence[VideoRecord],
        features: Mapping[str, np.ndarray],
        *,
        frames: Mapping[str, int] | None = None,
        truth: Mapping[str, np.ndarray] | None = None,
        valid: Mapping[str, np.ndarray] | None = None,
        normalise: str = "federated",
        folder: str = "a dataset – été",
    ) -> Dataset:
        path = tmp_path / folder
        _, crops, dim = next(iter(features.values())).shape
        with StoreWriter(
            path / "store",
            extractor="test",
            settings={},
            crops=crops,
            dim=dim,
            with_valid=valid is not None,
            normalise=normalise,
        ) as writer:
            for video, x in features.items():
                block = x if valid is None else (x, valid[video])
                writer.append(video, [block], frames=(frames or {}).get(video, 16 * len(x)), fps=None)
            writer.finish()
        write_videos_csv(path / "videos.csv", records)
        if truth is not None:
            np.savez(path / "frame_labels.npz", **truth)
        return Dataset(path)

    return make
