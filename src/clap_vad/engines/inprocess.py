"""The default engine: all sites in this process, one after the other, without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..federation.ask import Ask, Reply
from ..federation.engine import Check
from ..federation.messages import ImpossibleMessageError
from ..federation.site import Site

__all__ = ["InProcessEngine"]


class InProcessEngine:
    """Passes questions to site objects directly.

    Args:
        sites: in participant order.
        on_reply: called with (ask, participant) after each reply, to show progress.
    """

    def __init__(self, sites: Sequence[Site], on_reply: Callable[[Ask, str], None] = lambda ask, participant: None):
        self.participants = tuple(site.participant for site in sites)
        self._sites = {site.participant: site for site in sites}
        self._on_reply = on_reply

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Ask each target in participant order. A site's error ends the run; an implausible reply excludes the site."""
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
        except ImpossibleMessageError as error:  # raised by the site before sending, or by the same check here
            return Reply(participant, {}, str(error))
        return Reply(participant, message)
