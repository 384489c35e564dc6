"""The default engine: every site in this process, one after the other, no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..federation.ask import Ask, Reply
from ..federation.engine import Check
from ..federation.messages import ImpossibleMessageError
from ..federation.site import Site

__all__ = ["InProcessEngine"]


class InProcessEngine:
    """Hands questions to site objects directly.

    Args:
        sites: in participant order.
        on_reply: called with (ask, participant) after each reply, for progress.
    """

    def __init__(self, sites: Sequence[Site], on_reply: Callable[[Ask, str], None] = lambda ask, participant: None):
        self.participants = tuple(site.participant for site in sites)
        self._sites = {site.participant: site for site in sites}
        self._on_reply = on_reply

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Ask each target in participant order; what one cannot do ends the run, what cannot be true leaves it out."""
        replies = []
        for participant in self.participants:
            if ask.targets is None or participant in ask.targets:
                replies.append(self._reply(participant, ask, check))
                self._on_reply(ask, participant)
        return replies

    def _reply(self, participant: str, ask: Ask, check: Check) -> Reply:
        try:
            message = self._sites[participant].handle(ask)
            check(participant, message)
        except ImpossibleMessageError as error:  # of the site's own exit, or here: the same check
            return Reply(participant, {}, str(error))
        return Reply(participant, message)
