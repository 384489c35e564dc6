"""Regions of objects that move, from the extractor through store and scores to events and pages."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from moving_films import EVENT, FRAMES, MOVES, make_model, write_video

from clap_vad.core.statistics.moments import Normaliser
from clap_vad.detector.models.network import NetworkModel
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extract import extract_features
from clap_vad.features.extraction.extractor import EXTRACTORS, make_extractor
from clap_vad.features.extraction.video_extractor import VideoExtractor
from clap_vad.features.segments import SegmentFeatures
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter
from clap_vad.workflows.score import score
from clap_vad.workflows.scoring import stored_regions
from clap_vad.workflows.watch import watch


def box_of(number: int) -> list[float]:
    """Where the object is in a segment."""
    return [number / 16, 0.25, number / 16 + 0.125, 0.5]


class Follower:
    """One object that wanders to the right, and another that is there in every second segment only."""

    def __init__(self) -> None:
        self.number, self.pictures = 0, []

    def add(self, picture: np.ndarray) -> None:
        self.pictures.append(picture.astype(np.float32))

    def finish(self) -> SegmentFeatures:
        moved = max((np.abs(b - a).mean() for a, b in zip(self.pictures, self.pictures[1:], strict=False)), default=0.0)
        features = np.array([[[moved], [1e4 if self.number % 2 else 0.5]]], np.float32)  # of an absent one: anything
        regions = np.array([[box_of(self.number), [0.75, 0.75, 1, 1]]], np.float32)
        valid = np.array([[True, self.number % 2 == 0]])
        self.number, self.pictures = self.number + 1, []
        return SegmentFeatures(features, valid, regions)


@dataclass(frozen=True)
class Following(VideoExtractor):
    crops, dim, with_valid, with_regions = 2, 1, True, True

    def maker(self, fps: float) -> Follower:
        return Follower()


@pytest.fixture
def following(monkeypatch) -> VideoExtractor:
    EXTRACTORS.names()
    monkeypatch.setitem(EXTRACTORS._entries, "following", Following)
    return make_extractor("following", {})


@pytest.fixture
def run(tmp_path, following) -> Path:
    """A model whose score grows with how much the first object's picture changes."""
    weights = {name: np.zeros_like(array) for name, array in make_model().weights.items()}
    weights["layer1.weight"] = np.zeros((len(weights["layer1.weight"]), 1), np.float32)
    weights["layer1.weight"][0] = weights["layer2.weight"][0, 0] = weights["layer3.weight"][0, 0] = 1.0
    weights["layer3.bias"][0] = -3.0
    info = {**make_model().info, "dim": 1, "extractor": {"name": "following", "settings": following.settings()}}
    NetworkModel(weights, Normaliser(np.zeros(1, np.float32), np.ones(1, np.float32)), info).save(tmp_path / "run")
    return tmp_path / "run"


def store_of(extractor: VideoExtractor, film: Path, folder: Path, **changes: object) -> FeatureStore:
    extraction = extractor.extract(film)
    shape = {"crops": extractor.crops, "dim": extractor.dim, "with_valid": True, "with_regions": True, **changes}
    with StoreWriter(folder, extractor="following", settings=extractor.settings(), **shape) as writer:
        writer.append("gate", extraction, lambda: extraction.ending.frames, 20.0)
        return writer.finish()


def test_an_event_carries_the_region_of_the_object_at_its_peak(run, tmp_path):
    film = write_video(tmp_path / "gate.mp4")
    (scored,) = score(run, [film], threshold=0.4, report=tmp_path / "page.html")["videos"]
    (event,) = scored["events"]
    assert (event["start_frame"], event["stop_frame"]) == EVENT
    np.testing.assert_allclose(event["region"], box_of(event["peak_frame"] // 16))
    assert "the most anomalous region is outlined" in (tmp_path / "page.html").read_text()


def test_a_monitoring_session_has_it_too(run, tmp_path):
    film = write_video(tmp_path / "gate.mp4")
    watch(run, str(film), out=tmp_path / "watch", threshold=0.4)
    with sqlite3.connect(tmp_path / "watch" / "watch.db") as db:
        ((peak, *region),) = db.execute(
            "SELECT peak_time, region_left, region_top, region_right, region_bottom FROM events"
        ).fetchall()
    np.testing.assert_allclose(region, box_of(int(peak * 20) // 16))
    assert MOVES[0] <= peak * 20 < FRAMES


def test_a_store_keeps_them_and_absent_ones_are_zero(following, tmp_path):
    store = store_of(following, write_video(tmp_path / "gate.mp4"), tmp_path / "store")
    assert store.regions.shape == (8, 2, 4) and store.regions.dtype == np.float16
    for number, (first, second) in enumerate(store.regions.tolist()):
        assert first == box_of(number)
        assert second == ([0.75, 0.75, 1, 1] if number % 2 == 0 else [0] * 4)
    assert set(store.info["files"]) == {"features.npy", "index.csv", "regions.npy", "valid.npy"}


def test_stores_made_before_regions_are_read(following, tmp_path):
    film = write_video(tmp_path / "gate.mp4")
    old = store_of(following, film, tmp_path / "old", with_regions=False)
    assert old.regions is None and stored_regions(old, old.index[0]) == []
    extract_features([film], tmp_path / "motion", extractor="motion", settings={"rows": 1, "cols": 2, "side": 32})
    store = FeatureStore(tmp_path / "motion")
    assert store.regions is None and not (store.path / "regions.npy").exists()
    for places in stored_regions(store, store.index[0]):
        assert places.tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]


def test_tracks_have_the_region_of_each_person(tmp_path):
    rows = [f"{frame} 1 2 {frame} 100 {frame + 20} 180\n" for frame in range(48)]
    rows += [f"{frame} 7 2 400 200 440 300\n" for frame in range(10, 30)]
    (tmp_path / "gate.txt").write_text(
        "frame id state x1 y1 x2 y2\n" + "".join(sorted(rows, key=lambda r: int(r.split()[0])))
    )
    extract_features(
        [tmp_path / "gate.txt"], tmp_path / "store", extractor="tracks", settings={"width": 800, "height": 400}
    )
    store = FeatureStore(tmp_path / "store")
    assert store.valid[:, :2].tolist() == [[True, True], [True, True], [True, False]]
    # the mean of its boxes, but for the very first one, of which no velocity is known
    for segment, frames in enumerate((range(1, 16), range(16, 32), range(32, 48))):
        left = np.mean(frames)
        np.testing.assert_allclose(store.regions[segment, 0], [left / 800, 0.25, (left + 20) / 800, 0.45], atol=5e-4)
    np.testing.assert_allclose(store.regions[:2, 1], [[0.5, 0.5, 0.55, 0.75]] * 2, atol=5e-4)
    assert not store.regions[~store.valid].any()


@pytest.mark.parametrize(
    ("regions", "text"),
    [
        (None, "no regions"),
        (np.zeros((1, 2, 3)), "regions \\(1, 2, 3\\)"),
        (np.full((1, 2, 4), 1.5), "segment 0, region 0: .* is not a box"),
        (np.array([[[0, 0, 1, 1], [0.5, 0, 0.2, 1]]]), "segment 0, region 1: .* is not a box"),
        (np.full((1, 2, 4), np.nan), "is not a box"),
    ],
)
def test_regions_that_are_none_are_refused(regions, text, tmp_path):
    with (
        StoreWriter(tmp_path / "s", extractor="x", settings={}, crops=2, dim=1, with_regions=True) as writer,
        pytest.raises(ClapError, match=text),
    ):
        writer.append("gate", [SegmentFeatures(np.zeros((1, 2, 1), np.float32), None, regions)], 16, 25.0)
