"""Stage: the run's budget of differential privacy has room for the reply."""

from __future__ import annotations

from dataclasses import replace

from ..privacy import SitePrivacy
from .passage import Passage

__all__ = ["CheckBudget"]


class CheckBudget:
    """Refuses what the budget has no room for; gives the step what its draws are keyed by."""

    def __init__(self, privacy: SitePrivacy) -> None:
        self._privacy = privacy

    def __call__(self, passage: Passage) -> Passage:
        return replace(passage, payload=self._privacy.enter(passage.ask, passage.declared))
