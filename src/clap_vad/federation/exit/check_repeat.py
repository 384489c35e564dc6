"""Stage: a question that was answered before gets the same answer."""

from __future__ import annotations

from ..conversation import Conversation
from .passage import Passage

__all__ = ["CheckRepeat"]


class CheckRepeat:
    """Refuses a second, other answer to the same question: the difference would tell something.

    Of runs without noise. With noise, :class:`~clap_vad.federation.exit.add_noise.AddNoise` looks at the answer under
    the noise.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __call__(self, passage: Passage) -> Passage:
        if not passage.ask.silent:
            self._conversation.answer(passage.ask, passage.message)
        return passage
