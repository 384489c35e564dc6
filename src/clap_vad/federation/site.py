"""A participant of a federation: answers questions from its own data, through one guarded exit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..errors import ClapError
from .ask import Ask, State
from .checkpoint import SiteState
from .conversation import Conversation, Turn
from .encoding import SiteEncoding
from .ledger import Ledger
from .messages import ACKNOWLEDGEMENT, Message, check_message, encoded
from .messages import schema as schema_of
from .policy import Policy, RefusalError
from .privacy import SitePrivacy
from .secure import PHASE_SCHEMAS, SiteProtection

__all__ = ["Handler", "Site", "SiteProgram"]

Handler = Callable[[Message, State], Message]
"""One step at the site: takes the payload and the site's state, changes entries of the state by replacing them, and
returns the reply."""


class SiteProgram(Protocol):
    """The site's side of an algorithm."""

    @property
    def steps(self) -> Mapping[str, tuple[Handler, str]]:
        """What the site is willing to do: step name -> (handler, schema of its reply)."""

    @property
    def order(self) -> Sequence[Turn]:
        """In which order and how often an honest run asks for them."""

    @property
    def dim(self) -> int:
        """D of its features."""


class Site:
    """Runs one participant's side of an algorithm.

    Args:
        participant: its id.
        program: the algorithm's side.
        states: where the state is kept between questions.
        ledger: where outgoing messages are recorded; what was asked is noted beside it.
        policy: what the site permits; by default all that is declared.
        protection: its side of secure aggregation, in a run that promises it.
        privacy: its side of differential privacy, in a run that promises it.
        encoding: its side of updates in 8 bits, in a run that asks for them.
        one_process: this process is all parties of the run: a loss of power then leaves none that knows an answer
            which the site has no note of, and notes need not wait for the disk.
    """

    def __init__(
        self,
        participant: str,
        program: SiteProgram,
        states: SiteState,
        ledger: Ledger,
        policy: Policy | None = None,
        protection: SiteProtection | None = None,
        privacy: SitePrivacy | None = None,
        encoding: SiteEncoding | None = None,
        one_process: bool = False,
    ) -> None:
        self.participant = participant
        self._program = program
        self._states = states
        self._ledger = ledger
        self._policy = policy or Policy()
        self._protection = protection
        self._privacy = privacy
        self._encoding = encoding
        self._conversation = Conversation(participant, program.order, ledger.folder, durable=not one_process)

    def handle(self, ask: Ask) -> Message:
        """Answer one question.

        Nothing leaves the site but what this returns, and that only if the step is one the site knows and in its turn,
        its schema is the one asked for and permitted by the site's policy, and the message is within the schema. In a
        run that promises secure aggregation, only under masks, in one that promises differential privacy, only with
        noise, but for what depends on no video. Asked the same again, it answers the same or not at all; with noise,
        with noise of its own, which counts.
        """
        if ask.secure is not None and ask.secure.phase != "mask":
            return self._answer_phase(ask)
        if ask.step not in self._program.steps:
            raise RefusalError(f"participant '{self.participant}': asked for the unknown step '{ask.step}'; refused")
        handler, declared = self._program.steps[ask.step]
        schema = ACKNOWLEDGEMENT if ask.silent else declared
        masked = ask.secure is not None
        plain, asked = schema, (ask.secure.schema if ask.secure is not None else ask.reply)
        if self._encoding is not None and asked == encoded(plain):
            schema = asked
        if schema != asked:
            raise RefusalError(
                f"participant '{self.participant}': step '{ask.step}' replies with '{schema}', "
                f"not with '{ask.reply}'; refused"
            )
        if masked != (self._protection is not None and not schema_of(schema).bare):
            raise RefusalError(f"schema '{schema}' {'under masks' if masked else 'without masks'}; refused in this run")
        self._policy.check_question(replace(ask, reply=schema))
        noised = schema_of(schema).noised
        if bool(noised) != (self._privacy is not None and not schema_of(schema).bare):
            raise RefusalError(f"schema '{schema}' {'with' if noised else 'without'} noise; refused in this run")
        self._conversation.ask(ask, declared)
        payload = ask.payload if self._privacy is None else self._privacy.enter(ask, declared)
        accepted = ask.accepted.get(self.participant, -1)
        state = dict(self._states.before(accepted + 1))
        try:
            message = handler(payload, state)
        except KeyError as missing:
            raise ClapError(
                f"participant '{self.participant}', step '{ask.step}': {missing} is neither in the question nor in the "
                "site's own state; the run has lost files: delete its folder 'checkpoints' and resume, to begin anew"
            ) from missing
        if ask.silent:
            message = {}
        check_message(plain, message, self._program.dim, self.participant)
        if self._privacy is not None and noised:
            message = self._privacy.noised(ask, schema, message)
        if self._encoding is not None and schema != plain:
            message = self._encoding.encode(ask, plain, message, state)
            check_message(schema, message, self._program.dim, self.participant)
        for array in state.values():
            array.flags.writeable = False  # states are compared by identity, so nobody may write into one
        if self._privacy is None and not ask.silent:
            self._conversation.answer(ask, message)
        if self._protection is not None and masked:
            message = self._protection.mask(ask, message, self._program.dim)
        protection = [word for word, there in (("noised", noised), ("masked", masked)) if there]
        done = declared if ask.silent and self._privacy is not None else ""
        self._ledger.record(ask, schema, message, ", ".join(protection) or "none", done=done)
        self._states.save(ask.sequence, accepted, state)  # not before: what is refused leaves nothing to go on from
        return message

    def _answer_phase(self, ask: Ask) -> Message:
        """A question of secure aggregation itself."""
        if self._protection is None:
            raise RefusalError("this run does not promise secure aggregation; refused")
        assert ask.secure is not None  # see handle
        self._policy.check_question(replace(ask, reply=ask.secure.schema))
        message = self._protection.answer(ask, self._program.dim)
        if ask.secure.phase == "unmask" and self._privacy is None:
            self._conversation.open(ask.secure, np.asarray(ask.payload["present"]))
        self._ledger.record(ask, PHASE_SCHEMAS[ask.secure.phase], message, "none")
        return message

    def state(self, sequence: int) -> Mapping[str, np.ndarray]:
        """The site's own state before a question. For the site itself and for simulations: it never leaves a site."""
        return self._states.before(sequence)
