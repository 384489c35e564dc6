"""Stage: noise of differential privacy on the reply."""

from __future__ import annotations

from dataclasses import replace

from ..privacy import SitePrivacy
from .passage import Passage

__all__ = ["AddNoise"]


class AddNoise:
    """Adds the noise of the run's terms to replies that depend on videos."""

    def __init__(self, privacy: SitePrivacy) -> None:
        self._privacy = privacy

    def __call__(self, passage: Passage) -> Passage:
        if not passage.noised:
            return passage
        return replace(passage, message=self._privacy.noised(passage.ask, passage.schema, passage.message))
