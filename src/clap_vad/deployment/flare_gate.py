"""The class by which FLARE's server decides which sites may register."""

from __future__ import annotations

from pathlib import Path

from ..engines.flare.gate import FlareGate
from ..trust.coordinator_home import CoordinatorHome

__all__ = ["Gate"]


class Gate(FlareGate):
    """Admits approved sites that are not revoked.

    Args:
        home: the coordinator's folder; read again at each registration.
    """

    def __init__(self, home: str) -> None:
        super().__init__()
        self._home = Path(home)

    def welcome(self, name: str) -> bool:
        """True for an approved site that is not revoked."""
        return any(site.name == name and not site.revoked for site in CoordinatorHome.open(self._home).sites())
