"""The site's side of an algorithm, as the site's exit sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .ask import State
from .conversation import Turn
from .messages import Message

__all__ = ["Handler", "SiteProgram"]

Handler = Callable[[Message, State], Message]
"""One step at the site: takes the payload and the site's state, changes entries of the state by replacing them, and
returns the reply."""


class SiteProgram(Protocol):
    """The site's side of an algorithm."""

    @property
    def steps(self) -> Mapping[str, tuple[Handler, str]]:
        """The steps that the site runs: name -> (handler, schema of its reply)."""

    @property
    def order(self) -> Sequence[Turn]:
        """The order of the steps in an honest run, and how often each is asked."""

    @property
    def dim(self) -> int:
        """D of its features."""
