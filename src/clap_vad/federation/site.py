"""A participant of a federation: answers questions from its own data, through one guarded exit."""

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
        folder: of the run at the site: what was asked is noted there, and what left.
        policy: what the site permits; by default all that is declared.
        protection: its side of secure aggregation, in a run that promises it.
        privacy: its side of differential privacy, in a run that promises it.
        encoding: its side of updates in 8 bits, in a run that asks for them.
        account: of a site that adds up what all its runs cost.
        one_process: this process is all parties of the run: a loss of power then leaves none that knows an answer
            which the site has no note of, and notes need not wait for the disk.

    Attributes:
        program, privacy, folder: as given.
        stages: what a step's reply passes on its way out, in order; see :mod:`clap_vad.federation.exit.stages`.
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

        Nothing leaves the site but what this returns, and that only if the step is one the site knows and in its turn,
        its schema is the one asked for and permitted by the site's policy, and the message is within the schema. In a
        run that promises secure aggregation, only under masks, in one that promises differential privacy, only with
        noise, but for what depends on no video. Asked the same again, it answers the same or not at all; with noise,
        with noise of its own, which counts.
        """
        passage = Passage(ask)
        for stage in self._phase_stages if ask.secure is not None and ask.secure.phase != "mask" else self.stages:
            passage = stage(passage)
        return passage.message

    def state(self, sequence: int) -> Mapping[str, np.ndarray]:
        """The site's own state before a question. For the site itself and for simulations: it never leaves a site."""
        return self._states.before(sequence)
