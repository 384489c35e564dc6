"""Stage: the state after the step is kept for the next question."""

from __future__ import annotations

from ..checkpoint import SiteState
from .passage import Passage

__all__ = ["KeepState"]


class KeepState:
    """Keeps the state, as the last stage: a refused reply leaves no state.

    Args:
        participant: its id.
        states: where the state is kept between questions.
    """

    def __init__(self, participant: str, states: SiteState) -> None:
        self._participant, self._states = participant, states

    def __call__(self, passage: Passage) -> Passage:
        for array in passage.state.values():
            array.flags.writeable = False  # states are compared by identity, so they must not be changed in place
        ask = passage.ask
        self._states.save(ask.sequence, ask.accepted.get(self._participant, -1), passage.state)
        return passage
