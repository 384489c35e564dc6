"""Stage: the state that the step has left is kept for the next question."""

from __future__ import annotations

from ..checkpoint import SiteState
from .passage import Passage

__all__ = ["KeepState"]


class KeepState:
    """Keeps the state, last of all: what is refused leaves nothing to go on from.

    Args:
        participant: its id.
        states: where the state is kept between questions.
    """

    def __init__(self, participant: str, states: SiteState) -> None:
        self._participant, self._states = participant, states

    def __call__(self, passage: Passage) -> Passage:
        for array in passage.state.values():
            array.flags.writeable = False  # states are compared by identity, so nobody may write into one
        ask = passage.ask
        self._states.save(ask.sequence, ask.accepted.get(self._participant, -1), passage.state)
        return passage
