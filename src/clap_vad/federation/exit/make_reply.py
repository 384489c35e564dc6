"""Stage: the method's step makes the reply, which must match its schema exactly."""

from __future__ import annotations

from dataclasses import replace

from ...errors import ClapError
from ..checkpoint import SiteState
from ..messages import check_message
from ..program import SiteProgram
from .passage import Passage

__all__ = ["MakeReply"]


class MakeReply:
    """Runs the step from the site's state after its last answer that counted.

    Args:
        participant: its id.
        program: the algorithm's side.
        states: where the state is kept between questions.
    """

    def __init__(self, participant: str, program: SiteProgram, states: SiteState) -> None:
        self._participant, self._program, self._states = participant, program, states

    def __call__(self, passage: Passage) -> Passage:
        ask = passage.ask
        state = dict(self._states.before(ask.accepted.get(self._participant, -1) + 1))
        try:
            message = self._program.steps[ask.step][0](passage.payload, state)
        except KeyError as missing:
            raise ClapError(
                f"participant '{self._participant}', step '{ask.step}': {missing} is neither in the question nor in "
                "the site's own state; the run has lost files: delete its folder 'checkpoints' and resume, to start "
                "again"
            ) from missing
        if ask.silent:
            message = {}
        check_message(passage.plain, message, self._program.dim, self._participant)
        return replace(passage, state=state, message=message)
