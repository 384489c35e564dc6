"""What an engine must do: carry questions to sites and bring their replies back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import ClapError
from .ask import Ask, Reply
from .messages import Message, check_message
from .wire import most_bytes

__all__ = ["Check", "Engine", "Quorum", "ReplyCheck", "TooFewRepliesError"]


class Check(Protocol):
    """What a reply must be to be used."""

    @property
    def most_bytes(self) -> int:
        """Bytes that it can have at most on the wire."""

    def __call__(self, participant: str, message: Message) -> None:
        """Raise :class:`~clap_vad.federation.messages.ImpossibleMessageError` for a reply that cannot be used."""


@dataclass(frozen=True)
class ReplyCheck:
    """What a reply must be to be used: as its schema says, at D dimensions."""

    schema: str
    dim: int

    @property
    def most_bytes(self) -> int:
        """Bytes that it can have at most on the wire."""
        return most_bytes(self.schema, self.dim)

    def __call__(self, participant: str, message: Message) -> None:
        """Raise :class:`~clap_vad.federation.messages.ImpossibleMessageError` for a reply that cannot be used."""
        check_message(self.schema, message, self.dim, participant)


class Engine(Protocol):
    """Carries questions to sites and brings their replies back.

    Attributes:
        participants: ids, in the order in which replies are summed.
    """

    participants: tuple[str, ...]

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Ask the targets and return what they replied, in participant order.

        A reply that ``check`` refuses, or that the site's own exit refused, comes back without its message as
        ``impossible``; nobody is waited for in its place. An engine whose sites may fail returns when all that are
        there have replied or the question's deadline has passed; with fewer than ``min_replies``, less those that are
        impossible, it waits for the deadline.
        """


@dataclass(frozen=True)
class Quorum:
    """How much of a federation a step needs.

    Attributes:
        sites: replies a step needs at least; 0 means all targets.
        deadline: seconds that a step waits for sites at most; 0 means without limit.
    """

    sites: int = 0
    deadline: float = 0.0


class TooFewRepliesError(ClapError):
    """A step did not get the replies it needs; it can be asked again when more sites are there."""
