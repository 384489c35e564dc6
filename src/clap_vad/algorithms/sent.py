"""Validation of received questions: the coordinator may be malicious.

A site refuses what no honest coordinator sends. The message contains nothing of the site's own data.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.pseudo_labels.federated_mixture import Mixtures
from ..core.statistics.moments import Moments, Normaliser, near
from ..federation.messages import Message
from ..federation.policy import RefusalError

__all__ = ["sent_array", "sent_flag", "sent_gaussians", "sent_mixtures", "sent_normaliser"]

_MOST = 1e6
"""Limit for a mixture of standardised pairs: far above any honest value, far below an overflow."""


def sent_array(
    payload: Message, name: str, shape: tuple[int, ...], dtype: str = "float32", most: float = math.inf
) -> np.ndarray:
    """An entry of a question; raises :class:`RefusalError` unless it has this type, shape and limit.

    >>> sent_array({"centre": np.array([1.0, np.nan])}, "centre", (2,), "float64")
    Traceback (most recent call last):
    clap_vad.federation.policy.RefusalError: refused a question: its 'centre' is not finite
    """
    value = np.asarray(payload.get(name))
    if value.dtype != dtype or value.shape != shape:
        raise RefusalError(f"refused a question: its '{name}' is not {dtype} of shape {tuple(shape)}")
    if not (np.isfinite(value) & (np.abs(value) <= most)).all():
        above = f", or above {most:g}" if most < math.inf else ""
        raise RefusalError(f"refused a question: its '{name}' is not finite{above}")
    return value


def sent_flag(payload: Message, name: str) -> int:
    """An entry of a question that is 0 or 1; raises :class:`RefusalError` for anything else."""
    value = np.asarray(payload.get(name))
    if value.shape != () or value.dtype.kind not in "biu" or value not in (0, 1):
        raise RefusalError(f"refused a question: its '{name}' is neither 0 nor 1")
    return int(value)


def sent_gaussians(payload: Message) -> np.ndarray:
    """The rows (n, mean, variance) of a common density in a question, ``gaussians`` (P, 3) float64.

    Raises:
        RefusalError: they are invalid.
    """
    rows = max(np.asarray(payload.get("gaussians")).size // 3, 1)
    gaussians = sent_array(payload, "gaussians", (rows, 3), "float64")
    if (gaussians[:, [0, 2]] < 0).any():
        raise RefusalError("refused a question: its 'gaussians' have a count or a variance below 0")
    return gaussians


def sent_mixtures(payload: Message, restarts: int, most: float = _MOST) -> Mixtures:
    """``restarts`` mixtures of two Gaussians of pairs in a question, entries ``weights``, ``means``, ``covariances``.

    Raises:
        RefusalError: they are invalid, or have means or covariances above ``most``.
    """
    shapes = {"weights": (restarts, 2), "means": (restarts, 2, 2), "covariances": (restarts, 2, 2, 2)}
    arrays = {name: np.asarray(payload.get(name)) for name in shapes}
    fit = all(arrays[name].dtype == np.float64 and arrays[name].shape == shape for name, shape in shapes.items())
    mixtures = Mixtures(**arrays)
    large = fit and max(np.abs(mixtures.means).max(), np.abs(mixtures.covariances).max()) > most
    if not fit or large or not mixtures.possible(restarts):
        raise RefusalError("refused the received mixture: invalid shapes or values")
    return mixtures


def sent_normaliser(payload: Message, own: Moments) -> Normaliser:
    """The common normalisation in a question, entries ``mean`` and ``scale``.

    Not for runs under differential privacy, where a refusal must not depend on the site's data.

    Args:
        payload: the question.
        own: moments of the site's own rows.

    Raises:
        RefusalError: it is invalid, or far from these rows.
    """
    mean, scale = (sent_array(payload, name, own.sum.shape) for name in ("mean", "scale"))
    if (scale < 0).any():
        raise RefusalError("refused a question: its 'scale' has numbers below 0")
    sent = Normaliser(mean, scale)
    if not near(own, sent):
        raise RefusalError(
            "refused the received normalisation: it is far from this site's own features; check that all sites extract "
            "features in the same way, or do not trust this coordinator"
        )
    return sent
