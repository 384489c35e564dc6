"""Stage: check of the run's budget of differential privacy."""

from __future__ import annotations

from dataclasses import replace

from ..privacy import SitePrivacy
from .passage import Passage

__all__ = ["CheckBudget"]


class CheckBudget:
    """Refuses replies beyond the budget; gives the step the key of its draws."""

    def __init__(self, privacy: SitePrivacy) -> None:
        self._privacy = privacy

    def __call__(self, passage: Passage) -> Passage:
        return replace(passage, payload=self._privacy.enter(passage.ask, passage.declared))
