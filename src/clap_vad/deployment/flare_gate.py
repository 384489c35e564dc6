"""The class that FLARE's server asks who may register."""

from __future__ import annotations

from pathlib import Path

from ..engines.flare.gate import FlareGate
from ..trust.coordinator_home import CoordinatorHome

__all__ = ["Gate"]


class Gate(FlareGate):
    """Approved sites that were not revoked.

    Args:
        home: the coordinator's folder; read anew each time.
    """

    def __init__(self, home: str) -> None:
        super().__init__()
        self._home = Path(home)

    def welcome(self, name: str) -> bool:
        """Whether the coordinator's operator let this site in."""
        return any(site.name == name and not site.revoked for site in CoordinatorHome.open(self._home).sites())
