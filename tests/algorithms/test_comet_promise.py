"""COMET's guarantee against a malicious coordinator: allowed questions, and what no answer may reveal."""

from __future__ import annotations

import numpy as np
import pytest

from clap_vad.algorithms.comet_site import CometSite
from clap_vad.algorithms.noisy_sums import NoisySums
from clap_vad.algorithms.site_data import site_data
from clap_vad.core.density.gaussian_mixture import COMPONENTS
from clap_vad.core.density.surprise import SURPRISE_BINS
from clap_vad.core.statistics.accounting import Terms
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.coordinator import ANSWERED
from clap_vad.federation.policy import RefusalError
from clap_vad.federation.privacy import KEY
from clap_vad.protection.session import least_members
from synthetic import make_dataset, make_plan

DIM = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("promise") / "data", videos=3, dim=DIM, test=False))


def site(dataset: Dataset, unit: str = "crop", noise: float = 1.0) -> CometSite:
    terms = Terms(None, 1e-6, 1.0, 1.0, 0.1, 4, 3, 0, noise, noise, None, unit)
    plan = make_plan(dim=DIM, rounds=2, privacy=terms, participants=("p",))
    return CometSite(plan, site_data(dataset, "p", dataset.train_videos))


def begun(dataset: Dataset, unit: str = "crop") -> tuple[CometSite, dict]:
    here, state = site(dataset, unit), {}
    here.steps["sizes"][0]({KEY: np.zeros(32, np.uint8)}, state)
    return here, state


BOUNDS = {
    # A number of about 2 overflows beside them, one of about 1 does not: the refusal of a NaN tells which there is.
    "a size beside which large numbers overflow": (np.full(DIM, 1.5 / np.finfo(float).max), 3.0),
    "a size of nothing": (np.full(DIM, 5e-324), 3.0),
    "a size too large": (np.full(DIM, 1e9), 3.0),
    "NaN": (np.full(DIM, np.nan), 3.0),
    # The norm of squares vanishes, and nothing shortens them.
    "lengths that vanish when squared": (np.ones(DIM), 1e-90),
    "lengths beyond those of this release": (np.ones(DIM), 1e5),
}


@pytest.mark.parametrize("sizes, most", BOUNDS.values(), ids=BOUNDS.keys())
def test_bounds_with_which_moments_would_reveal_one_region_are_refused(dataset, sizes, most):
    here, state = begun(dataset)
    with pytest.raises(RefusalError, match="refused the received sizes: out of the range"):
        here.steps["moments"][0]({"sizes": sizes, "most": np.array(most), "cap": np.array(1e9)}, state)
    usual = {"sizes": np.ones(DIM), "most": np.array(3.0), "cap": np.array(1e9)}
    assert np.isfinite(here.steps["moments"][0](usual, state)["mean"]).all()


COUNTS = {
    "whose sum wraps round": np.full(SURPRISE_BINS, 2**62),
    "negative": np.full(SURPRISE_BINS, -1),
}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_a_scale_of_surprise_that_no_sum_gives_is_refused(dataset, counts):
    here, state = settled(dataset)
    scale = np.eye(SURPRISE_BINS, dtype=np.int64)[600] * 1000
    for name in ("counts.common", "counts.whole"):
        payload = {"counts.common": scale, "counts.whole": scale, "usual_rows": np.array(10.0), name: counts}
        with pytest.raises(RefusalError, match="refused the received scale of surprise: not a valid histogram"):
            here.steps["calibrate"][0](payload, dict(state))


@pytest.mark.parametrize("at", [0, SURPRISE_BINS - 1])
@pytest.mark.parametrize("usual", [1.0, 9e14])
def test_whatever_the_scale_of_surprise_it_is_answered(dataset, at, usual):
    """A refusal where a home's distances overflow would tell where the median of its crops lies."""
    here, state = settled(dataset)
    counts = np.eye(SURPRISE_BINS, dtype=np.int64)[at] * 1000
    payload = {"counts.common": counts, "counts.whole": counts, "usual_rows": np.array(usual)}
    assert np.isfinite(here.steps["calibrate"][0](payload, state)["bins"]).all()


def settled(dataset: Dataset) -> tuple[CometSite, dict]:
    here, state = begun(dataset)
    constants = {"mean": np.ones(DIM, np.float32), "scale": np.ones(DIM, np.float32), "cap": np.array(1e9)}
    here.steps["normalise"][0](constants, state)
    weights, covariances = np.full(COMPONENTS, 1 / COMPONENTS), np.tile(np.eye(DIM), (COMPONENTS, 1, 1))
    asked = {"weights": weights, "means": np.zeros((COMPONENTS, DIM)), "covariances": covariances}
    here.steps["settle"][0](asked, state)
    return here, state


def test_a_masked_round_of_some_sites_has_the_noise_that_these_add():
    """Each adds its part of the noise of the smallest sum among those who are asked: fewer asked, more from each."""
    terms = Terms(None, 1e-6, 1.0, 1.0, 0.1, 4, 3, 0, 2.0, 3.0, None, "crop")
    names = tuple(f"s{number:02d}" for number in range(13))
    plan = make_plan(dim=DIM, participants=names, privacy=terms, secure=True, fraction=0.5)
    state = {ANSWERED: np.ones(13)}
    sums = NoisySums(plan, state)
    assert sums.deviation() == pytest.approx(2 * np.sqrt(13 / least_members(13)))
    assert sums.deviation("training") == pytest.approx(3 * np.sqrt(13 / least_members(13)))  # before the rounds
    state |= {"round": np.array(0), ANSWERED: np.arange(13) < 6}
    assert sums.deviation("training") == pytest.approx(3 * np.sqrt(6 / least_members(6)))
    assert sums.deviation() == pytest.approx(2 * np.sqrt(6 / least_members(13)))
