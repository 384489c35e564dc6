"""What a site of COMET is sent and does not take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from comet_tools import (
    COMET,
    QUESTION,
    by_scene,
    private_plan,
    question,
    site_of,
    usual,
)

from clap_vad.algorithms.comet_site import CometSite
from clap_vad.core.density.gaussian_mixture import COMPONENTS, LEAST_VARIANCE
from clap_vad.core.density.surprise import SURPRISE_BINS, value_histogram
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.ask import Ask
from clap_vad.federation.policy import RefusalError
from clap_vad.workflows.federate import Federation
from synthetic import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


def ready(made: Dataset, videos: Sequence[str], until: str) -> tuple[CometSite, dict, dict[str, dict]]:
    """A site that has answered all honest questions before ``until``, its state, and an honest payload of each."""
    site, state = site_of(made, videos, private_plan(epsilon=math.inf)), {}
    mixture = usual()
    honest: dict[str, dict] = {
        "sizes": {},
        "moments": {"sizes": np.ones(6), "most": 3.0, "cap": 1e9},
        "normalise": {"mean": np.ones(6, np.float32), "scale": np.full(6, 2, np.float32), "cap": 1e9},
        "expect": {"round": 0, **question(mixture)},
        "settle": question(mixture),
        "calibrate": {f"counts.{name}": value_histogram(np.arange(50.0)) for name in ("common", "whole")},
    }
    honest["calibrate"]["usual_rows"] = np.array(100.0)
    for step, payload in honest.items():
        if step == until:
            break
        site.steps[step][0]({**payload, **QUESTION}, state)
    return site, state, honest


DENSITIES: dict[str, dict[str, np.ndarray]] = {
    "very narrow": {"covariances": np.tile(np.eye(6) * 1e-4, (COMPONENTS, 1, 1))},
    "narrow in one direction": {"covariances": np.tile(np.diag([1.0] * 5 + [1e-3]), (COMPONENTS, 1, 1))},
    "a hair too narrow": {"covariances": np.tile(np.eye(6) * LEAST_VARIANCE * 0.999, (COMPONENTS, 1, 1))},
    "one of 64 too narrow": {
        "covariances": np.concatenate([np.tile(np.eye(6), (COMPONENTS - 1, 1, 1)), 1e-3 * np.eye(6)[None]])
    },
    "wider than the cut": {"covariances": np.tile(np.eye(6) * 226.0, (COMPONENTS, 1, 1))},
    "negative": {"covariances": np.tile(-np.eye(6), (COMPONENTS, 1, 1))},
    "not symmetric": {"covariances": np.tile(np.eye(6) + np.triu(np.ones((6, 6)), 1), (COMPONENTS, 1, 1))},
    "NaN": {"means": np.full((COMPONENTS, 6), np.nan)},
    "NaN covariances": {"covariances": np.full((COMPONENTS, 6, 6), np.nan)},
    "NaN weights": {"weights": np.full(COMPONENTS, np.nan)},
    "beyond the cut": {"means": np.full((COMPONENTS, 6), 15.1)},
    "one mean beyond the cut": {"means": np.concatenate([np.zeros((COMPONENTS - 1, 6)), np.full((1, 6), -99.0)])},
    "absurdly far": {"means": np.full((COMPONENTS, 6), 1e200)},
    "3e38": {"means": np.full((COMPONENTS, 6), 3e38)},
    "3e38 wide": {"covariances": np.tile(np.eye(6) * 3e38, (COMPONENTS, 1, 1))},
    "infinite": {"means": np.full((COMPONENTS, 6), np.inf)},
    "weights of 2": {"weights": np.full(COMPONENTS, 2 / COMPONENTS)},
    "a weight below 0": {"weights": np.concatenate([[-0.5, 1.5], np.zeros(COMPONENTS - 2)])},
    "other features": vars(usual(5)),
    "half as many components": {
        "weights": np.full(32, 1 / 32), "means": np.zeros((32, 6)), "covariances": np.tile(np.eye(6), (32, 1, 1))
    },
    "one dimension": {"means": np.zeros(6)},
    "text": {"means": np.full((COMPONENTS, 6), "a")},
    "text weights": {"weights": np.full(COMPONENTS, "a")},
    "bytes": {"covariances": np.full((COMPONENTS, 6, 6), b"a")},
    "float32": {"means": np.zeros((COMPONENTS, 6), np.float32)},
    "whole numbers": {"means": np.zeros((COMPONENTS, 6), np.int64)},
    "truth values": {"weights": np.ones(COMPONENTS, bool)},
    "complex": {"means": np.zeros((COMPONENTS, 6), complex)},
}  # fmt: skip

_SIZES, _CAP = (
    "refused the received sizes: ",
    "refused the received limit of what a site may count: not a number above 0",
)
_SCALE, _USUAL = "refused the received scale of surprise: ", "refused the received usual number of regions: "
_CONSTANTS = "refused the received normalisation: "
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "sizes of other features": ("moments", {"sizes": np.ones(5)}, _SIZES),
    "sizes of two dimensions": ("moments", {"sizes": np.ones((6, 1))}, _SIZES),
    "sizes text": ("moments", {"sizes": np.full(6, "a")}, _SIZES),
    "sizes float32": ("moments", {"sizes": np.ones(6, np.float32)}, _SIZES),
    "sizes 0": ("moments", {"sizes": np.zeros(6)}, _SIZES),
    "sizes negative": ("moments", {"sizes": -np.ones(6)}, _SIZES),
    "sizes NaN": ("moments", {"sizes": np.full(6, np.nan)}, _SIZES),
    "sizes infinite": ("moments", {"sizes": np.full(6, np.inf)}, _SIZES),
    "most 0": ("moments", {"most": 0.0}, _SIZES),
    "most NaN": ("moments", {"most": math.nan}, _SIZES),
    "most 3e38": ("moments", {"most": 3e38}, _SIZES),
    "most text": ("moments", {"most": np.array("a")}, _SIZES),
    "most an array": ("moments", {"most": np.ones(1)}, _SIZES),
    **{
        f"{step}: cap {name}": (step, {"cap": value}, _CAP)
        for step in ("moments", "normalise")
        for name, value in {
            "0": 0.0, "negative": -1.0, "NaN": math.nan, "infinite": math.inf, "text": np.array("a"),
            "an array": np.ones(1), "a whole number": 5,
        }.items()
    },
    "constants of other features": ("normalise", {"mean": np.zeros(5, np.float32)}, _CONSTANTS),
    "constants of none": ("normalise", {"scale": np.zeros(0, np.float32)}, _CONSTANTS),
    "constants of two dimensions": ("normalise", {"mean": np.zeros((1, 6), np.float32)}, _CONSTANTS),
    "constants float64": ("normalise", {"mean": np.zeros(6)}, _CONSTANTS),
    "constants text": ("normalise", {"mean": np.full(6, "a")}, _CONSTANTS),
    "mean NaN": ("normalise", {"mean": np.full(6, np.nan, np.float32)}, _CONSTANTS),
    "mean infinite": ("normalise", {"mean": np.full(6, np.inf, np.float32)}, _CONSTANTS),
    "scale NaN": ("normalise", {"scale": np.full(6, np.nan, np.float32)}, _CONSTANTS),
    "scale infinite": ("normalise", {"scale": np.full(6, np.inf, np.float32)}, _CONSTANTS),
    "scale negative": ("normalise", {"scale": np.array([1, 1, 1, 1, 1, -1], np.float32)}, _CONSTANTS),
    **{
        f"{step}: a density {name}": (step, changes, "refused the received density: ")
        for step in ("expect", "settle")
        for name, changes in DENSITIES.items()
    },
    "a scale of other bins": ("calibrate", {"counts.whole": np.zeros(9, np.int64)}, _SCALE),
    "a scale below 0": ("calibrate", {"counts.common": -np.ones(SURPRISE_BINS, np.int64)}, _SCALE),
    "a scale of halves": ("calibrate", {"counts.whole": np.full(SURPRISE_BINS, 0.5)}, _SCALE),
    "a scale text": ("calibrate", {"counts.whole": np.full(SURPRISE_BINS, "a")}, _SCALE),
    **{
        f"usual crops {name}": ("calibrate", {"usual_rows": value}, _USUAL)
        for name, value in {
            "0": np.array(0.0), "NaN": np.array(np.nan), "3e38": np.array(3e38), "text": np.array("a"),
            "an array": np.full(1, 9.0), "float32": np.array(9, np.float32),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize(("step", "changes", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_honest_run_sends_is_refused_in_one_sentence(dataset, step, changes, says):
    site, state, honest = ready(dataset, by_scene(dataset)["north"], step)
    with pytest.raises(RefusalError, match=says) as refusal:
        site.steps[step][0]({**honest[step], **changes, **QUESTION}, dict(state))
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("refused the received ")
    site.steps[step][0]({**honest[step], **QUESTION}, state)


@pytest.mark.parametrize("value", [1e9, 1e10])
def test_constants_that_would_separate_regions_separate_none(dataset, value):
    """A huge scale is taken: cut at 15 and shortened, no crop counts for more than 1, which noise covers."""
    site, state, honest = ready(dataset, by_scene(dataset)["north"], "normalise")
    site.steps["normalise"][0]({**honest["normalise"], "scale": np.full(6, value, np.float32)}, state)
    assert np.abs(state["rows"]).max() <= 15
    reply = site.steps["expect"][0]({**honest["expect"], **QUESTION}, state)
    assert np.linalg.norm(np.concatenate([np.ravel(v) for v in reply.values()])) <= len(state["rows"]) * (1 + 1e-6)


def test_a_site_answers_in_the_order_of_a_run_alone(tmp_path, dataset):
    """As every method's (``test_order``); here the order itself, by name."""
    held = by_scene(dataset)
    plan = private_plan(participants=tuple(held))
    site = Federation(tmp_path, dataset, held, plan, COMET).sites()[0]
    mixture = question(usual())
    for step, schema in (("moments", "row_moments"), ("expect", "row_density"), ("settle", "row_scales")):
        with pytest.raises(RefusalError, match=f"asked for '{step}' before 'sizes'; refused"):
            site.handle(Ask(step, schema, {**mixture}))
    site.handle(Ask("sizes", "row_sizes", {}))
    with pytest.raises(RefusalError, match="asked for 'sizes' more than 1 time"):
        site.handle(Ask("sizes", "row_sizes", {}, sequence=1, accepted={site.participant: 0}))
    with pytest.raises(RefusalError, match="asked for 'calibrate' before 'normalise'; refused"):
        site.handle(Ask("calibrate", "segment_peaks", {}, sequence=1, accepted={site.participant: 0}))
