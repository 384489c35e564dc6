"""Stage: masks of secure aggregation on the reply."""

from __future__ import annotations

from dataclasses import replace

from ..program import SiteProgram
from ..secure import SiteProtection
from .passage import Passage

__all__ = ["Mask"]


class Mask:
    """Turns the reply into fixed-point numbers under masks that cancel in the sum of all sites.

    Args:
        protection: the site's side of secure aggregation.
        program: the algorithm's side, for D.
    """

    def __init__(self, protection: SiteProtection, program: SiteProgram) -> None:
        self._protection, self._program = protection, program

    def __call__(self, passage: Passage) -> Passage:
        if not passage.masked:
            return passage
        return replace(passage, message=self._protection.mask(passage.ask, passage.message, self._program.dim))
