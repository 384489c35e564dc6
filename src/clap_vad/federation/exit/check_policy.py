"""Stage: check that the site knows the step, and that its reply may leave in the requested form."""

from __future__ import annotations

from dataclasses import replace

from ..messages import ACKNOWLEDGEMENT, encoded
from ..messages import schema as schema_of
from ..policy import Policy, RefusalError
from ..program import SiteProgram
from .passage import Passage

__all__ = ["CheckPolicy"]


class CheckPolicy:
    """Refuses unknown steps, what the site's policy does not permit, and forms of replies that the run excludes.

    Args:
        participant: its id.
        program: the algorithm's side, with the steps that the site runs.
        policy: what the site permits.
        secure: whether the run uses secure aggregation.
        private: whether it uses differential privacy.
        encodes: whether it has updates in 8 bits.
    """

    def __init__(
        self,
        participant: str,
        program: SiteProgram,
        policy: Policy,
        *,
        secure: bool,
        private: bool,
        encodes: bool,
    ) -> None:
        self._participant, self._program, self._policy = participant, program, policy
        self._secure, self._private, self._encodes = secure, private, encodes

    def __call__(self, passage: Passage) -> Passage:
        ask = passage.ask
        if ask.step not in self._program.steps:
            raise RefusalError(f"participant '{self._participant}': asked for the unknown step '{ask.step}'; refused")
        declared = self._program.steps[ask.step][1]
        plain = schema = ACKNOWLEDGEMENT if ask.silent else declared
        asked = ask.secure.schema if ask.secure is not None else ask.reply
        if self._encodes and asked == encoded(plain):
            schema = asked
        if schema != asked:
            raise RefusalError(
                f"participant '{self._participant}': step '{ask.step}' replies with '{schema}', "
                f"not with '{ask.reply}'; refused"
            )
        passage = replace(passage, declared=declared, plain=plain, schema=schema, payload=ask.payload)
        bare = schema_of(schema).bare
        if passage.masked != (self._secure and not bare):
            how = "under masks" if passage.masked else "without masks"
            raise RefusalError(f"schema '{schema}' {how}; refused in this run")
        self._policy.check_question(replace(ask, reply=schema))
        if passage.noised != (self._private and not bare):
            raise RefusalError(
                f"schema '{schema}' {'with' if passage.noised else 'without'} noise; refused in this run"
            )
        return passage
