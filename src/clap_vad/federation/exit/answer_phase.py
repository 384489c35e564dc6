"""Stage: the answer to a phase of secure aggregation, such as keys or shares of masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..conversation import Conversation
from ..policy import Policy, RefusalError
from ..program import SiteProgram
from ..secure import PHASE_SCHEMAS, SiteProtection
from .passage import Passage

__all__ = ["AnswerPhase"]


class AnswerPhase:
    """Replaces all stages of a step except the ledger.

    Args:
        protection: the site's side of secure aggregation; None in a run without it.
        policy: what the site permits.
        conversation: of the run; a sum is unmasked for one cohort only. None under differential privacy, where each
            answer has its own noise.
        program: the algorithm's side, for D.
    """

    def __init__(
        self, protection: SiteProtection | None, policy: Policy, conversation: Conversation | None, program: SiteProgram
    ) -> None:
        self._protection, self._policy, self._conversation = protection, policy, conversation
        self._program = program

    def __call__(self, passage: Passage) -> Passage:
        ask, secure = passage.ask, passage.ask.secure
        if self._protection is None or secure is None:
            raise RefusalError("this run does not use secure aggregation; refused")
        self._policy.check_question(replace(ask, reply=secure.schema))
        message = self._protection.answer(ask, self._program.dim)
        if secure.phase == "unmask" and self._conversation is not None:
            self._conversation.open(secure, np.asarray(ask.payload["present"]))
        return replace(passage, schema=PHASE_SCHEMAS[secure.phase], message=message)
