"""Server optimisers, one array at a time: the mean update takes the place of the gradient.

Reddi et al. 2021, "Adaptive federated optimization", algorithm 2; momentum as in Hsu, Qi and Brown 2019. Computed in
float64, stored in float32. There is no bias correction, as in that algorithm.
"""

from __future__ import annotations

import numpy as np

__all__ = ["adam_second_moment", "adaptive_direction", "first_moment", "velocity", "yogi_second_moment"]


def velocity(previous: np.ndarray, update: np.ndarray, momentum: float) -> np.ndarray:
    """``momentum v + update`` (Hsu, Qi and Brown 2019), float32.

    >>> velocity(np.array([1.0]), np.array([2.0]), 0.5).tolist()
    [2.5]
    """
    return (momentum * _wide(previous) + update).astype(np.float32)


def first_moment(previous: np.ndarray, update: np.ndarray, beta1: float) -> np.ndarray:
    """``beta1 m + (1 - beta1) update``, float32.

    >>> first_moment(np.array([1.0]), np.array([3.0]), 0.5).tolist()
    [2.0]
    """
    return (beta1 * _wide(previous) + (1 - beta1) * _wide(update)).astype(np.float32)


def adam_second_moment(previous: np.ndarray, update: np.ndarray, beta2: float) -> np.ndarray:
    """``beta2 v + (1 - beta2) update^2``, float32: FedAdam's.

    >>> adam_second_moment(np.array([1.0]), np.array([3.0]), 0.5).tolist()
    [5.0]
    """
    return (beta2 * _wide(previous) + (1 - beta2) * np.square(_wide(update))).astype(np.float32)


def yogi_second_moment(previous: np.ndarray, update: np.ndarray, beta2: float) -> np.ndarray:
    """``v - (1 - beta2) update^2 sign(v - update^2)``, float32: FedYogi's, which forgets large updates slowly.

    >>> yogi_second_moment(np.array([1.0, 16.0]), np.array([2.0, 2.0]), 0.5).tolist()
    [3.0, 14.0]
    """
    v, squared = _wide(previous), np.square(_wide(update))
    return (v - (1 - beta2) * squared * np.sign(v - squared)).astype(np.float32)


def adaptive_direction(m: np.ndarray, v: np.ndarray, tau: float) -> np.ndarray:
    """``m / (sqrt(v) + tau)``, float32.

    >>> adaptive_direction(np.array([3.0]), np.array([4.0]), 1.0).tolist()
    [1.0]
    """
    return (_wide(m) / (np.sqrt(_wide(v)) + tau)).astype(np.float32)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)
