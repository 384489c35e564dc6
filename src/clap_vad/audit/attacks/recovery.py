"""Features read off the change of a first layer.

With ReLU behind ``W1 x + b1``, a step of plain SGD moves row i of W1 by ``sum_n c_in x_n`` and b1[i] by ``sum_n c_in``,
c_in = 0 for every segment n that does not activate unit i or that dropout hides from it. Their ratio is a weighted mean
of those segments; where one has all the weight, it is that segment (Phong et al. 2017, "Privacy-preserving deep
learning: revisited and enhanced", section 3; Zhu et al. 2019 for whole batches). Dropout and small batches leave a unit
few segments, and so help the attacker. The same holds for gradients, and for the mean gradient in a control variate.
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
"""How entries of a message begin that are sums or means of gradients with respect to weights."""

Change = tuple[np.ndarray, np.ndarray]
"""Of one first layer: of its weight (H, D), a row a unit, and of its bias (H,)."""

ERRORS = (0.05, 0.10, 0.25)
"""Relative L2 errors within which a segment counts as recovered."""

FLOOR = 1e-6
"""Of a bias' update in size: below it the float32 differences of the weights, off by some 1e-9, blur the ratio."""

_BLOCK = 512  # candidates compared at once
_RMSPROP_ROOT, _RMSPROP_EPS = 0.1, 1e-8  # sqrt(1 - alpha) and eps of torch.optim.RMSprop
_FLOAT32 = 2.0**-24  # relative rounding of float32


@dataclass(frozen=True)
class Recovered:
    """How many distinct targets some candidate comes close to.

    Attributes:
        candidates, targets: how many there were.
        within: relative error -> distinct targets recovered.
        best: least relative error of all; None without candidates or targets.
    """

    candidates: int
    targets: int
    within: dict[float, int]
    best: float | None


def first_layers(message: Mapping[str, Any]) -> list[str]:
    """The layers of a message that inputs enter, by what their entries are called before ``.weight`` and ``.bias``.

    Every network numbers its layers from 1, so a new network or a new kind of message needs no entry here.

    >>> names = ("update.layer1", "update.generator.layer1", "update.layer2", "weights.layer1")
    >>> first_layers({f"{name}.{part}": 0.0 for name in names for part in ("weight", "bias")} | {"count": 3})
    ['update.layer1', 'update.generator.layer1']
    """
    layers = [name.removesuffix(".weight") for name in message if name.endswith(".layer1.weight")]
    return [layer for layer in layers if layer.startswith(GRADIENTS) and f"{layer}.bias" in message]


def rmsprop_gradient(change: np.ndarray, lr: float) -> np.ndarray:
    """The gradient of RMSprop's first step, from what the step has done to weights of any shape.

    The mean square is then ``(1 - alpha) g^2`` and momentum has nothing to repeat, so the change is
    ``-lr g / (sqrt(1 - alpha) |g| + eps)``, PyTorch's alpha = 0.99 and eps = 1e-8: solved for g. For large g the change
    is next to ``10 lr`` whatever g is; how far below it lies within float32's rounding from ``|g|`` = 1e-4 or so at the
    learning rate 2e-5, later at greater ones. Of more steps only signs are left.

    >>> g = np.array([3e-6, -2e-8, 0.0])
    >>> bool(np.allclose(rmsprop_gradient(-0.1 * g / (0.1 * np.abs(g) + 1e-8), 0.1), g))
    True
    """
    steps = -np.asarray(change, np.float64) / lr
    return _RMSPROP_EPS * steps / np.maximum(1 - _RMSPROP_ROOT * np.abs(steps), _FLOAT32)


def candidates(changes: Sequence[Change], floor: float = FLOOR) -> np.ndarray:
    """Rows that may be segments, from what one sender told of one first layer, in the order of rounds.

    Ratios of every round, and of the differences between consecutive rounds: the part of a row that both rounds have
    in common falls out of those.

    Args:
        changes: in each round, with what weight decay has done taken off.
        floor: bias entries that are not above it in size are left out.

    Returns:
        (n, D) float64, at most H (2 rounds - 1) rows.

    >>> candidates([(np.array([[-0.2, -0.4], [0.0, 0.0]]), np.array([-0.1, 0.0]))]).tolist()  # unit 2 has seen nothing
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
    """Targets from segments as the network sees them: every crop and every segment's average over its crops.

    Rows that are equal count once; a row of zeros has no relative error and is left out.

    Args:
        x: (n, C, D).
        share: (n, C) weight of each crop in the average, 0 for one that is absent; None where all are present.

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
    """Each participant's rows that no other one holds too: the features of an empty scene tell nothing about anybody.

    Args:
        targets: per participant (m, D), distinct rows.

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
    """Which of (m, D) targets some of (n, D) guesses is nearest to and within a relative L2 error of, (m,) bool.

    A guess stands for one target only, so that one in a dense place does not count for all about it.

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
    """(count, D) means of rows that lie next to each other: what knows groups of so many, and no single row.

    >>> group_means(np.array([[0.0], [1.0], [9.0]]), 2, 3, np.random.default_rng(0)).round(1).tolist()
    [[3.3], [3.3]]
    """
    found = np.zeros((count, rows.shape[1]))
    for number, middle in enumerate(rng.integers(len(rows), size=count)):
        apart = np.square(rows - rows[middle]).sum(axis=1)
        found[number] = rows[np.argsort(apart, kind="stable")[:size]].mean(axis=0)
    return found


def recovered(found: np.ndarray, targets: np.ndarray) -> Recovered:
    """Count the distinct targets that candidates come close to."""
    if not len(found) or not len(targets):
        return Recovered(len(found), len(targets), dict.fromkeys(ERRORS, 0), None)
    errors = least_errors(found, targets)
    return Recovered(
        len(found), len(targets), {e: int((errors <= e).sum()) for e in ERRORS}, float(errors.min(initial=np.inf))
    )


def chance_rows(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, D) Gaussian rows with the mean and covariance of the targets: what knows their shape but none of them."""
    rng = keyed_generator(seed, 0, "", "audit chance")
    centred = targets - targets.mean(axis=0)
    # The rows are mixtures of the targets' own deviations, so no covariance matrix of size D is ever formed.
    kept = centred[rng.permutation(len(centred))[: 4 * _BLOCK]]
    mixed: np.ndarray = rng.standard_normal((count, len(kept))) @ kept / np.sqrt(max(len(kept), 1))
    return mixed + targets.mean(axis=0)
