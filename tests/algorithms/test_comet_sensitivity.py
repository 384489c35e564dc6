"""Adding or removing one region, or one video, changes no message of COMET by more than 1, for any question."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from comet_tools import (
    PLACED,
    QUESTION,
    noise,
    private_plan,
    question,
    site_of,
    store_of,
    usual,
)

from clap_vad.algorithms.comet_site import CometSite
from clap_vad.core.density.gaussian_mixture import COMPONENTS, LEAST_VARIANCE, Mixture
from clap_vad.core.density.surprise import value_histogram
from clap_vad.core.pseudo_labels.magnitude import LARGEST
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.ask import State


def slabs() -> Mixture:
    """As thin and as close as a site takes them: what tells most of single crops."""
    means = np.zeros((COMPONENTS, 6))
    means[:, 0] = np.linspace(-15, 15, COMPONENTS)
    thin = np.diag([LEAST_VARIANCE] + [225.0] * 5)
    return Mixture(np.full(COMPONENTS, 1 / COMPONENTS), means, np.tile(thin, (COMPONENTS, 1, 1)))


LIES = {
    "usual": usual(),
    "slabs": slabs(),
    "ten in one place": Mixture(
        (np.arange(COMPONENTS) < 10) / 10, np.zeros((COMPONENTS, 6)), np.tile(np.eye(6), (COMPONENTS, 1, 1))
    ),
    "one in a far corner": Mixture(
        np.eye(COMPONENTS)[9], np.full((COMPONENTS, 6), 15.0), np.tile(np.eye(6) * LEAST_VARIANCE, (COMPONENTS, 1, 1))
    ),
}
CONTENTS = {
    "usual": np.random.default_rng(5).normal(size=6),
    "nothing": np.zeros(6),
    "constant": np.full(6, 7.0),
    "large": np.full(6, 1e4),
    "the largest": np.array([1, -1, 0, 1, 1e-38, -1e-45]) * LARGEST,
    "one number": np.array([1e6, 0, 0, 0, 0, 0]),
}


CONSTANTS = {
    "sizes": np.array([0.5, 1.0, 2.0, 1.0, 1e-3, 1.0]),
    "most": 3.0,
    "mean": np.linspace(-1, 1, 6).astype(np.float32),
    "scale": np.array([1, 1, 0.5, 2, 100, 0], np.float32),
}


def told(site: CometSite, asked: Mixture, state: State, cap: float = 1e12) -> dict[str, np.ndarray]:
    """All that leaves it before noise, one vector a step; the state holds what it counted, as far as it was."""
    said, own = {}, dict(state)
    found = site.steps["sizes"][0](QUESTION, own)
    counts = [own["units"]] if site.plan.spec.privacy.unit == "crop" else [own["units"], own["crops"] / 2048]
    said["sizes"] = np.concatenate([np.array(counts) * 0.4 / math.sqrt(len(counts)), np.ravel(found["bins"])])
    # What it counted has noise, and is a part of the first release: from then on it is known.
    own |= {name: state.setdefault(name, own[name]) for name in ("units", "crops")}
    moments = {name: CONSTANTS[name] for name in ("sizes", "most")}
    payloads = {
        "moments": {**moments, "cap": cap},
        "normalise": {"mean": CONSTANTS["mean"], "scale": CONSTANTS["scale"], "cap": cap},
        "expect": question(asked),
        "settle": question(asked),
        "calibrate": {f"counts.{name}": value_histogram(np.arange(50.0)) for name in ("common", "whole")},
    }
    payloads["calibrate"]["usual_rows"] = np.array(100.0)
    for step, payload in payloads.items():
        reply = site.steps[step][0]({**payload, **QUESTION}, own)
        said[step] = np.concatenate([np.zeros(0), *(np.ravel(value) for value in reply.values())])
    return said


def moved(few: CometSite, more: CometSite, asked: Mixture, cap: float) -> dict[str, float]:
    counted: State = {}
    one = told(few, asked, counted, cap)
    other = told(more, asked, counted, cap)
    return {step: float(np.linalg.norm(other[step] - one[step])) for step in one}


def assert_at_most_1(found: Mapping[str, float]) -> None:
    assert found.keys() == {"sizes", "moments", "normalise", "expect", "settle", "calibrate"}
    assert found["normalise"] == 0
    # Noise on the count is on a grid of a thousandth of its deviation.
    assert found["sizes"] <= 1 + 0.02
    assert max(value for step, value in found.items() if step != "sizes") <= 1 + 1e-4, found
    assert max(found.values()) > 0.3  # something was added indeed


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Dataset:
    """Three videos; the last segment of the first has a place for one crop more of each content."""
    rng, kinds = np.random.default_rng(3), list(CONTENTS.values())
    x = rng.normal(size=(12, len(kinds), 6)).astype(np.float32)
    x[-1] = kinds
    present = rng.random((12, len(kinds))) < 0.7
    present[-1] = False
    videos = {"v0": (x, present)}
    for k in (1, 2):
        videos[f"v{k}"] = (noise(25, len(kinds), seed=k), np.random.default_rng(k).random((25, len(kinds))) < 0.5)
    return store_of(tmp_path_factory.mktemp("crowded"), videos, ["gate", "gate", "yard"])


def with_crop(made: Dataset, folder: Path, crop: int) -> Dataset:
    """The same dataset, with this crop of the last segment of the first video present, beside another one if odd."""
    shutil.copytree(made.path, folder)
    valid = np.load(folder / "store" / "valid.npy")
    valid[11, crop] = True
    np.save(folder / "store" / "valid.npy", valid)
    return Dataset(folder)


@pytest.fixture
def without_scores(monkeypatch) -> None:
    """What stays at the site, and takes most of the time."""
    monkeypatch.setattr(CometSite, "_scores", lambda self, state: [np.zeros(1, np.float32)])


@pytest.mark.usefixtures("without_scores")
@pytest.mark.parametrize("crop", range(len(CONTENTS)), ids=CONTENTS)
@pytest.mark.parametrize("asked", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize(("epsilon", "cap"), [(8.0, 1e12), (math.inf, 40.0)])
def test_one_more_region_changes_no_message_by_more_than_1(tmp_path, crowded, crop, asked, epsilon, cap):
    videos, plan = ["v0", "v1", "v2"], private_plan("crop", epsilon, PLACED)
    more = with_crop(crowded, tmp_path / "more", crop)
    found = moved(site_of(crowded, videos, plan), site_of(more, videos, plan), asked, cap)
    if cap > 100:
        assert_at_most_1(found)
    else:
        assert max(found.values()) <= 1 + 1e-4


def test_one_more_region_changes_no_message_by_more_than_1_with_sampling(tmp_path, crowded, monkeypatch):
    monkeypatch.setattr("clap_vad.algorithms.comet_site._MOST_ROWS", 64)
    videos, plan = ["v0", "v1", "v2"], private_plan("crop", math.inf)
    for crop in range(len(CONTENTS)):
        more = with_crop(crowded, tmp_path / str(crop), crop)
        assert max(moved(site_of(crowded, videos, plan), site_of(more, videos, plan), usual(), 1e12).values()) <= 1.0001


def video(content: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    if content == "a single crop":
        return noise(1, 2), np.array([[True, False]])
    if content == "no crop":
        return noise(9, 2), np.zeros((9, 2), bool)
    if content == "more crops than count":
        return rng.normal(size=(1500, 2, 6)).astype(np.float32) * 5, np.ones((1500, 2), bool)
    kind = CONTENTS[content.removeprefix("all ")]
    return np.tile(kind, (40, 2, 1)).astype(np.float32), np.ones((40, 2), bool)


VIDEOS = ["a single crop", "no crop", "more crops than count", *(f"all {name}" for name in CONTENTS)]


@pytest.fixture(scope="module")
def lengthy(tmp_path_factory) -> tuple[Dataset, list[str]]:
    """Videos of all lengths, and one more of each content; the names of the former."""
    lengths = (1030, *range(500, 800, 30), 7)
    others = {f"v{k}": (noise(n, 2, seed=k), np.ones((n, 2), bool)) for k, n in enumerate(lengths)}
    more = {content: video(content) for content in VIDEOS}
    scenes = [*["gate"] * len(others), *["yard"] * len(more)]
    return store_of(tmp_path_factory.mktemp("lengthy") / "d", {**others, **more}, scenes), list(others)


@pytest.mark.usefixtures("without_scores")
@pytest.mark.parametrize("asked", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("cap", [1e12, 2.0])
@pytest.mark.parametrize("epsilon", [8.0, math.inf])
def test_one_whole_video_more_moves_no_message_by_more_than_1(lengthy, asked, cap, epsilon):
    """Beside videos of all lengths: what one of its crops counts follows from the video alone."""
    (made, others), plan = lengthy, private_plan("video", epsilon, PLACED)
    counted: State = {}
    few = told(site_of(made, others, plan), asked, counted, cap)
    for content in VIDEOS:
        more = told(site_of(made, [*others, content], plan), asked, counted, cap)
        found = {step: float(np.linalg.norm(more[step] - few[step])) for step in few}
        assert max(value for step, value in found.items() if step != "sizes") <= 1 + 1e-4, (content, found)
        assert found["sizes"] <= 1.02 and found["normalise"] == 0
        assert content == "no crop" or found["sizes"] > 0.3
