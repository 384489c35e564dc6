"""Stage: the question must come in its turn, and is recorded before it is answered."""

from __future__ import annotations

from ..conversation import Conversation
from .passage import Passage

__all__ = ["TakeTurn"]


class TakeTurn:
    """Refuses what an honest run would not ask now. A recorded question counts, answered or not."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __call__(self, passage: Passage) -> Passage:
        self._conversation.ask(passage.ask, passage.declared)
        return passage
