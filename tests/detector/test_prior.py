"""The output layer that no data has taught."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clap_vad.detector.network import initial_weights
from clap_vad.detector.prior import far_is_suspicious
from clap_vad.detector.scoring import score_regions


@pytest.mark.parametrize("dim", [4, 34, 300])
def test_far_vectors_score_higher_and_others_rarely_do(dim):
    weights = initial_weights(dim, seed=1)
    made = far_is_suspicious(weights, seed=1, rare=0.05)
    assert {name: value.shape for name, value in made.items()} == {"layer3.weight": (1, 32), "layer3.bias": (1,)}
    assert all(value.dtype == np.float32 for value in made.values())
    z = np.random.default_rng(7).standard_normal((4000, 1, dim)).astype(np.float32)
    z[2000:] *= 2
    scores = score_regions({**weights, **made}, z).ravel().astype(np.float64)
    assert roc_auc_score(np.repeat([0, 1], 2000), scores) > 0.85
    logits = np.log(scores[:2000] / (1 - scores[:2000]))
    assert logits.mean() == pytest.approx(np.log(0.05 / 0.95), abs=0.15)
    assert logits.std() == pytest.approx(1.0, abs=0.15)


def test_it_is_the_runs_own_and_the_same_each_time():
    weights = initial_weights(8, seed=1)
    one, again = (far_is_suspicious(weights, seed=1, rare=0.1) for _ in range(2))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["layer3.weight"], far_is_suspicious(weights, seed=2, rare=0.1)["layer3.weight"])
