"""Stage: the question comes in its turn, and is noted before it is answered."""

from __future__ import annotations

from ..conversation import Conversation
from .passage import Passage

__all__ = ["TakeTurn"]


class TakeTurn:
    """Refuses what an honest run would not ask now. A question that is noted counts, whatever becomes of it."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __call__(self, passage: Passage) -> Passage:
        self._conversation.ask(passage.ask, passage.declared)
        return passage
