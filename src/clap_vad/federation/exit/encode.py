"""Stage: an update in whole steps of 8 bits."""

from __future__ import annotations

from dataclasses import replace

from ..encoding import SiteEncoding
from ..messages import check_message
from ..program import SiteProgram
from .passage import Passage

__all__ = ["Encode"]


class Encode:
    """Rounds a reply that is requested in 8 bits; the remainder stays in the site's state.

    Args:
        encoding: the site's side of it.
        program: the algorithm's side, for D.
    """

    def __init__(self, encoding: SiteEncoding, program: SiteProgram) -> None:
        self._encoding, self._program = encoding, program

    def __call__(self, passage: Passage) -> Passage:
        if passage.schema == passage.plain:
            return passage
        message = self._encoding.encode(passage.ask, passage.plain, passage.message, passage.state)
        check_message(passage.schema, message, self._program.dim, self._encoding.participant)
        return replace(passage, message=message)
