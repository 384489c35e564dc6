"""What subtraction opens in an honest run: sums over few crops, as they came, as a total less the other parts, or as
the difference of two rounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..core.density.bounded_density import SHARES
from ..core.density.gaussian_mixture import Mixture
from ..protection.session import least_members
from ..workflows.opening import Opened
from .malicious_coordinator import TRUTH, Known, Liar
from .replay import Observed

__all__ = ["subtraction"]

_FEW = 5
_TOLD = 0.5
"""Crops: a sum that is known to better than this tells a count."""


def subtraction(opened: Opened, known: Known, observed: Observed, scratch: Path) -> dict[str, Any]:
    """Sums over fewer than five crops in the rounds that were replayed, and whether they are told.

    The noise of a part is what it came with. The total less all other parts has at least as much again, so together
    they tell hardly more than the part; the difference of two rounds has the noise of both.

    Returns:
        ``sums``: parts and differences over more than none and fewer than five crops; ``deviation``: of the least
        noise, in crops, that one is known to, whichever way; ``opened``: how many are known to within half a crop.
    """
    terms = opened.plan.spec.privacy
    assert terms is not None
    asked = [seen for seen in observed.of("expect") if seen.replies]
    secure = opened.plan.spec.secure_aggregation
    everybody = tuple(opened.participants)
    groups = [everybody] if secure else [(name,) for name in everybody]
    sites = len(everybody) / least_members(len(everybody)) if secure else 1.0
    noise = terms.noise_training * math.sqrt(sites) / SHARES[0]
    few = 0
    for number, names in enumerate(groups):
        liar = Liar(opened, known, names, scratch / str(number), noise=TRUTH, number=number)
        liar.begin()
        masses = np.array([liar.expect(_mixture(seen.ask.payload)).mass / SHARES[0] for seen in asked])
        both = np.concatenate([masses, np.abs(np.diff(masses, axis=0))])
        few += int(((both > _TOLD) & (both < _FEW)).sum())
    parts = max((int((np.asarray(seen.ask.payload["weights"]) > 0).sum()) for seen in asked), default=1)
    least = noise * math.sqrt(1 - 1 / (parts + 1))  # a part, and the total of all less the others, weighed by noise
    return {"sums": few, "deviation": least, "opened": few if least < _TOLD else 0}


def _mixture(payload: Any) -> Mixture:
    return Mixture(*(np.asarray(payload[name]) for name in ("weights", "means", "covariances")))
