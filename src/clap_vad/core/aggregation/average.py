"""Aggregation of the participants' updates: the weighted mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["moved", "weighted_mean"]


def weighted_mean(updates: Sequence[Mapping[str, np.ndarray]], weights: Sequence[float]) -> dict[str, np.ndarray]:
    """``sum_p n_p u_p / sum_p n_p`` per array (McMahan et al. 2017, algorithm 1).

    Summed in the given order, in float64, so the result is deterministic.

    Args:
        updates: one mapping of arrays per participant, equal names and shapes.
        weights: n_p >= 0, at least one positive.

    Returns:
        The mean per name, float32.

    Raises:
        ValueError: all weights are zero.

    >>> weighted_mean([{"w": np.array([0.0])}, {"w": np.array([4.0])}], [3, 1])["w"].tolist()
    [1.0]
    """
    total = float(sum(weights))
    if total <= 0:
        raise ValueError("the weights add up to zero: no participant has a segment to train on")
    result = {}
    for name in updates[0]:
        summed = np.zeros(updates[0][name].shape)
        for update, weight in zip(updates, weights, strict=True):
            summed += update[name].astype(np.float64) * weight
        result[name] = (summed / total).astype(np.float32)
    return result


def moved(
    weights: Mapping[str, np.ndarray], direction: Mapping[str, np.ndarray], step: float = 1.0
) -> dict[str, np.ndarray]:
    """``w + step * direction`` per array, float32.

    >>> moved({"w": np.array([1.0])}, {"w": np.array([2.0])}, 0.5)["w"].tolist()
    [2.0]
    """
    return {name: (value + step * direction[name]).astype(np.float32) for name, value in weights.items()}
