"""Attack by subtraction on an honest run: sums over few crops, as sent, as a total minus the other parts, or as the
difference of two rounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..core.density.bounded_density import SHARES
from ..core.density.gaussian_mixture import Mixture
from ..protection.session import least_members
from ..workflows.opening import Opened
from .malicious_coordinator import TRUTH, Known, MaliciousCoordinator
from .replay import Observed

__all__ = ["subtraction"]

_FEW = 5
_KNOWN = 0.5
"""Crops: a sum known with a smaller error reveals a count."""


def subtraction(opened: Opened, known: Known, observed: Observed, scratch: Path) -> dict[str, Any]:
    """Sums over fewer than five crops in the replayed rounds, and how many of them are revealed.

    A part has the noise it was sent with. The total minus all other parts has at least as much noise again, so both
    together reveal hardly more than the part; the difference of two rounds has the noise of both.

    Returns:
        ``sums``: number of parts and differences over 0.5 to 5 crops; ``deviation``: smallest standard deviation of the
        noise on one of them, in crops; ``opened``: how many are known to within half a crop.
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
        liar = MaliciousCoordinator(opened, known, names, scratch / str(number), noise=TRUTH, number=number)
        liar.begin()
        masses = np.array([liar.expect(_mixture(seen.ask.payload)).mass / SHARES[0] for seen in asked])
        both = np.concatenate([masses, np.abs(np.diff(masses, axis=0))])
        few += int(((both > _KNOWN) & (both < _FEW)).sum())
    parts = max((int((np.asarray(seen.ask.payload["weights"]) > 0).sum()) for seen in asked), default=1)
    least = noise * math.sqrt(1 - 1 / (parts + 1))  # a part, and the total minus the others, weighted by their noise
    return {"sums": few, "deviation": least, "opened": few if least < _KNOWN else 0}


def _mixture(payload: Any) -> Mixture:
    return Mixture(*(np.asarray(payload[name]) for name in ("weights", "means", "covariances")))
