"""Feature recovery from the update of a first layer.

With ReLU after ``W1 x + b1``, a plain SGD step changes row i of W1 by ``sum_n c_in x_n`` and b1[i] by ``sum_n c_in``,
where c_in = 0 for every segment n that does not activate unit i or is dropped by dropout. The ratio is a weighted mean
of the segments; if one has all the weight, it is that segment (Phong et al. 2017, "Privacy-preserving deep learning:
revisited and enhanced", section 3; Zhu et al. 2019 for whole batches). Dropout and small batches reduce the segments
per unit and so help the attacker. The same holds for gradients, and for the mean gradient in a control variate.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.statistics.randomness import keyed_generator

__all__ = [
    "ERRORS",
    "FLOOR",
    "GRADIENTS",
    "Change",
    "Recovered",
    "candidates",
    "chance_rows",
    "distinct_rows",
    "first_layers",
    "group_means",
    "hits",
    "least_errors",
    "own_rows",
    "recovered",
    "rmsprop_gradient",
]

GRADIENTS = ("update.", "gradient.", "control.")
"""Prefixes of message entries that are sums or means of gradients with respect to weights."""

Change = tuple[np.ndarray, np.ndarray]
"""Change of one first layer: of its weight (H, D), one row per unit, and of its bias (H,)."""

ERRORS = (0.05, 0.10, 0.25)
"""Relative L2 errors within which a segment counts as recovered."""

FLOOR = 1e-6
"""Least absolute bias update: below it the float32 rounding of the weights, about 1e-9, dominates the ratio."""

_BLOCK = 512  # candidates compared at once
_RMSPROP_ROOT, _RMSPROP_EPS = 0.1, 1e-8  # sqrt(1 - alpha) and eps of torch.optim.RMSprop
_FLOAT32 = 2.0**-24  # relative rounding of float32


@dataclass(frozen=True)
class Recovered:
    """Number of distinct targets that are recovered by some candidate.

    Attributes:
        candidates, targets: number of each.
        within: relative error -> number of distinct recovered targets.
        best: smallest relative error; None without candidates or targets.
    """

    candidates: int
    targets: int
    within: dict[float, int]
    best: float | None


def first_layers(message: Mapping[str, Any]) -> list[str]:
    """Names of the input layers in a message, without ``.weight`` and ``.bias``.

    Every network numbers its layers from 1, so new networks and kinds of messages are found automatically.

    >>> names = ("update.layer1", "update.generator.layer1", "update.layer2", "weights.layer1")
    >>> first_layers({f"{name}.{part}": 0.0 for name in names for part in ("weight", "bias")} | {"count": 3})
    ['update.layer1', 'update.generator.layer1']
    """
    layers = [name.removesuffix(".weight") for name in message if name.endswith(".layer1.weight")]
    return [layer for layer in layers if layer.startswith(GRADIENTS) and f"{layer}.bias" in message]


def rmsprop_gradient(change: np.ndarray, lr: float) -> np.ndarray:
    """The gradient of RMSprop's first step, from the change of weights of any shape.

    In the first step the mean square is ``(1 - alpha) g^2`` and momentum has no effect, so the change is
    ``-lr g / (sqrt(1 - alpha) |g| + eps)`` with PyTorch's alpha = 0.99 and eps = 1e-8; it is solved for g. For large g
    the change is close to ``10 lr`` for any g: at a learning rate of 2e-5 the difference is below float32 rounding from
    ``|g|`` of about 1e-4 on, at larger rates later. After more steps only the signs remain.

    >>> g = np.array([3e-6, -2e-8, 0.0])
    >>> bool(np.allclose(rmsprop_gradient(-0.1 * g / (0.1 * np.abs(g) + 1e-8), 0.1), g))
    True
    """
    steps = -np.asarray(change, np.float64) / lr
    return _RMSPROP_EPS * steps / np.maximum(1 - _RMSPROP_ROOT * np.abs(steps), _FLOAT32)


def candidates(changes: Sequence[Change], floor: float = FLOOR) -> np.ndarray:
    """Candidate segments from one sender's changes of one first layer, in the order of rounds.

    Uses the ratios of every round, and of the differences between consecutive rounds, in which common parts cancel.

    Args:
        changes: changes in each round, without the effect of weight decay.
        floor: bias entries with a smaller or equal absolute value are left out.

    Returns:
        (n, D) float64, at most H (2 rounds - 1) rows.

    >>> candidates([(np.array([[-0.2, -0.4], [0.0, 0.0]]), np.array([-0.1, 0.0]))]).tolist()  # unit 2 was not activated
    [[2.0, 4.0]]
    """
    steps = [(np.asarray(weight, np.float64), np.asarray(bias, np.float64)) for weight, bias in changes]
    pairs = [*steps, *((b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(steps))]
    found = []
    for weight, bias in pairs:
        kept = np.abs(bias) > floor
        found.append(weight[kept] / bias[kept, None])
    return np.concatenate(found) if found else np.zeros((0, 0))


def distinct_rows(x: np.ndarray, share: np.ndarray | None = None) -> np.ndarray:
    """Targets as the network receives them: every region, and every segment's average over its regions.

    Equal rows count once; a row of zeros has no relative error and is left out.

    Args:
        x: (n, C, D).
        share: (n, C) weight of each region in the average, 0 if invalid; None if all are valid.

    Returns:
        (m, D) float64.
    """
    kept = np.ones(x.shape[:2], bool) if share is None else share > 0
    parts = [x[kept]]
    if x.shape[1] > 1:
        parts.append(x.mean(axis=1) if share is None else (x * share[:, :, None]).sum(axis=1)[kept.any(axis=1)])
    rows = np.unique(np.concatenate(parts).astype(np.float64), axis=0)
    nonzero: np.ndarray = rows[np.linalg.norm(rows, axis=1) > 0]
    return nonzero


def own_rows(targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each participant's rows that no other one has: common rows, such as an empty scene, reveal nothing about anybody.

    Args:
        targets: (m, D) distinct rows of each participant.

    >>> own_rows({"a": np.array([[1.0], [2.0]]), "b": np.array([[2.0]])})["a"].tolist()
    [[1.0]]
    """
    names = list(targets)
    rows = np.concatenate([targets[name] for name in names])
    _, where, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    kept = np.split(counts[where.reshape(-1)] == 1, np.cumsum([len(targets[name]) for name in names])[:-1])
    return {name: targets[name][own] for name, own in zip(names, kept, strict=True)}


def least_errors(found: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Relative L2 error ``|c - x| / |x|`` of the best candidate for each target: (n, D), (m, D) -> (m,).

    >>> least_errors(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.1], [0.0, 1.0]])).round(3).tolist()
    [0.1, 1.0]
    """
    sizes = np.square(targets).sum(axis=1)
    least = np.full(len(targets), np.inf)
    for start in range(0, len(found), _BLOCK):
        block = found[start : start + _BLOCK]
        squares = np.square(block).sum(axis=1)[:, None] + sizes - 2.0 * block @ targets.T
        least = np.minimum(least, squares.min(axis=0))
    return np.sqrt(np.maximum(least, 0.0) / sizes)


def hits(guesses: np.ndarray, targets: np.ndarray, error: float) -> np.ndarray:
    """(m,) bool: the (m, D) targets that are nearest to one of (n, D) guesses, within a relative L2 error.

    A guess counts for one target only, so that a guess in a dense area does not count for all targets around it.

    >>> hits(np.array([[1.0, 0.0]]), np.array([[1.0, 0.01], [1.0, 0.02], [3.0, 0.0]]), 0.05).tolist()
    [True, False, False]
    """
    got = np.zeros(len(targets), bool)
    norms = np.maximum(np.linalg.norm(targets, axis=1), 1e-12)
    for guess in guesses if len(targets) else guesses[:0]:
        errors = np.linalg.norm(targets - guess, axis=1) / norms
        nearest = int(errors.argmin())
        got[nearest] |= errors[nearest] <= error
    return got


def group_means(rows: np.ndarray, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(count, D) means of neighbouring rows: guesses that know groups of ``size`` rows, but no single row.

    >>> group_means(np.array([[0.0], [1.0], [9.0]]), 2, 3, np.random.default_rng(0)).round(1).tolist()
    [[3.3], [3.3]]
    """
    found = np.zeros((count, rows.shape[1]))
    for number, middle in enumerate(rng.integers(len(rows), size=count)):
        apart = np.square(rows - rows[middle]).sum(axis=1)
        found[number] = rows[np.argsort(apart, kind="stable")[:size]].mean(axis=0)
    return found


def recovered(found: np.ndarray, targets: np.ndarray) -> Recovered:
    """Count the distinct targets that candidates recover."""
    if not len(found) or not len(targets):
        return Recovered(len(found), len(targets), dict.fromkeys(ERRORS, 0), None)
    errors = least_errors(found, targets)
    return Recovered(
        len(found), len(targets), {e: int((errors <= e).sum()) for e in ERRORS}, float(errors.min(initial=np.inf))
    )


def chance_rows(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, D) Gaussian rows with mean and covariance of the targets: chance level without knowing any target."""
    rng = keyed_generator(seed, 0, "", "audit chance")
    centred = targets - targets.mean(axis=0)
    # The rows are random combinations of the targets' deviations, so no D x D covariance matrix is needed.
    kept = centred[rng.permutation(len(centred))[: 4 * _BLOCK]]
    mixed: np.ndarray = rng.standard_normal((count, len(kept))) @ kept / np.sqrt(max(len(kept), 1))
    return mixed + targets.mean(axis=0)
