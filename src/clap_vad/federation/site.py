"""A participant of a federation: answers questions from its own data; replies leave through one checked exit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .ask import Ask
from .checkpoint import SiteState
from .conversation import Conversation
from .encoding import SiteEncoding
from .exit.passage import Passage
from .exit.stages import phase_stages, step_stages
from .messages import Message
from .policy import Policy
from .privacy import SitePrivacy
from .program import SiteProgram
from .run_account import RunAccount
from .secure import SiteProtection

__all__ = ["Site"]


class Site:
    """Runs one participant's side of an algorithm.

    Args:
        participant: its id.
        program: the algorithm's side.
        states: where the state is kept between questions.
        folder: of the run at the site, for the records of questions and messages.
        policy: what the site permits; by default all declared messages.
        protection: its side of secure aggregation, if the run uses it.
        privacy: its side of differential privacy, if the run uses it.
        encoding: its side of updates in 8 bits, if the run uses them.
        account: the cost of all runs, for a site that adds it up.
        one_process: this process is all parties of the run. After a power loss no other party knows an answer without
            a record, so records need not wait for the disk.

    Attributes:
        program, privacy, folder: as given.
        stages: stages of a step's reply on its way out, in order; see :mod:`clap_vad.federation.exit.stages`.
    """

    def __init__(
        self,
        participant: str,
        program: SiteProgram,
        states: SiteState,
        folder: Path,
        policy: Policy | None = None,
        protection: SiteProtection | None = None,
        privacy: SitePrivacy | None = None,
        encoding: SiteEncoding | None = None,
        account: RunAccount | None = None,
        one_process: bool = False,
    ) -> None:
        self.participant = participant
        self.program, self.privacy, self.folder = program, privacy, folder
        self._states = states
        policy = policy or Policy()
        conversation = Conversation(participant, program.order, folder, durable=not one_process)
        self.stages = step_stages(
            participant, program, states, folder, policy, conversation, protection, privacy, encoding, account
        )
        self._phase_stages = phase_stages(program, folder, policy, conversation, protection, privacy)

    def handle(self, ask: Ask) -> Message:
        """Answer one question.

        Only the returned message leaves the site. The step must be known and in its turn, its schema the requested one
        and permitted by the site's policy, and the message within the schema. Messages that depend on videos leave
        only under masks in a run with secure aggregation, and only with noise in a run with differential privacy. A
        repeated question gets the same answer or none; with noise, it may get new noise, which is counted.
        """
        passage = Passage(ask)
        for stage in self._phase_stages if ask.secure is not None and ask.secure.phase != "mask" else self.stages:
            passage = stage(passage)
        return passage.message

    def state(self, sequence: int) -> Mapping[str, np.ndarray]:
        """The site's own state before a question. For the site itself and for simulations; it never leaves a site."""
        return self._states.before(sequence)
