"""Stage: a repeated question gets the same answer."""

from __future__ import annotations

from ..conversation import Conversation
from .passage import Passage

__all__ = ["CheckRepeat"]


class CheckRepeat:
    """Refuses a different second answer to the same question: the difference would reveal something.

    For runs without noise. With noise, :class:`~clap_vad.federation.exit.add_noise.AddNoise` compares the answers
    before noise.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __call__(self, passage: Passage) -> Passage:
        if not passage.ask.silent:
            self._conversation.answer(passage.ask, passage.message)
        return passage
