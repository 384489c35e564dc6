"""The interface of an engine: it carries questions to sites and brings their replies back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import ClapError
from .ask import Ask, Reply
from .messages import Message, check_message
from .wire import most_bytes

__all__ = ["Check", "Engine", "Quorum", "ReplyCheck", "TooFewRepliesError"]


class Check(Protocol):
    """Checks whether a reply can be used."""

    @property
    def most_bytes(self) -> int:
        """Largest size of a reply on the wire, in bytes."""

    def __call__(self, participant: str, message: Message) -> None:
        """Raise :class:`~clap_vad.federation.messages.ImpossibleMessageError` for a reply that cannot be used."""


@dataclass(frozen=True)
class ReplyCheck:
    """Checks a reply against its schema, at D dimensions."""

    schema: str
    dim: int

    @property
    def most_bytes(self) -> int:
        """Largest size of a reply on the wire, in bytes."""
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
        """Ask the targets and return their replies, in participant order.

        A reply that ``check`` or the site's own exit refuses is returned as ``impossible``, without its message, and
        is not replaced by another. An engine whose sites may fail returns when all connected sites have replied or the
        question's deadline has passed; with fewer than ``min_replies``, minus the impossible ones, it waits for the
        deadline.
        """


@dataclass(frozen=True)
class Quorum:
    """How many sites a step needs.

    Attributes:
        sites: least number of replies; 0 means all targets.
        deadline: largest number of seconds that a step waits for sites; 0 means no limit.
    """

    sites: int = 0
    deadline: float = 0.0


class TooFewRepliesError(ClapError):
    """A step got too few replies; it can be asked again when more sites are connected."""
