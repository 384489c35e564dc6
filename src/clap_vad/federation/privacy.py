"""A site's side of differential privacy: noise on what leaves, and a budget that only the site keeps.

The site draws the noise, so the promise also holds against the coordinator. Without masks each site's message has all
the noise of the terms. Under secure aggregation only sums can be seen: each site adds a part of the noise, such that
the smallest sum that the coordinator can make, however it lies, has all of it.

The noise comes from a secret of the site, drawn for the run and never sent; the run's seed, which all know, is not
used. A file beside the ledger holds every question of the run in order. It is append-only and no coordinator can reset
it: what a question may still cost, and the noise of its answer, depend on all questions before it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..core.statistics.accounting import Terms
from ..persistence import append_line, held_file
from ..protection.noise import gaussian_noise, keyed_digest
from ..protection.packing import digest
from ..protection.session import least_members
from .ask import Ask
from .messages import Message
from .messages import schema as schema_of
from .policy import RefusalError
from .question import BESIDE, question_digest
from .secret import site_secret

__all__ = ["KEY", "Noted", "SitePrivacy"]

KEY = "privacy.key"
"""Entry of a step's question under differential privacy: the key of its draws, (32,) uint8."""


@dataclass(frozen=True)
class Noted:
    """A line of ``privacy.jsonl``.

    Attributes:
        question: digest of the question; ``terms`` in the first line.
        chain: digest of it and all questions before it; that of the terms in the first line.
        kind: of the release; empty for an answer that depends on no video.
        answer: keyed digest of the answer before noise, so that only the site can compare answers.
        sum: digest of its secure sum, see :func:`_sum_of`; empty for none.
    """

    question: str
    chain: str
    kind: str
    answer: str
    sum: str


class SitePrivacy:
    """Enforces the terms of one run at one site.

    Args:
        participant: its id.
        terms: what the run promises.
        folder: for the questions, ``privacy.jsonl``, and the secret, ``privacy.key``.
        one_process: this process is all parties of the run. A repeated masked question is then for the same sum; it
            gets the same answer, and a resumed run the same model.

    Raises:
        RefusalError: the run began with other terms.
    """

    def __init__(self, participant: str, terms: Terms, folder: Path, one_process: bool) -> None:
        self._participant, self._terms, self._one_process = participant, terms, one_process
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "privacy.jsonl"
        if terms.seed is None:
            self._secret = site_secret(folder)
        else:
            self._secret = digest("clap-vad seeded noise", terms.seed, participant)
        self._noted: list[Noted] = []
        self._size = 0  # of the file, when last read
        self._last: Noted | None = None
        self._present = Noted("", "", "", "", "")
        agreed = digest("clap-vad terms", json.dumps(asdict(terms), sort_keys=True)).hex()
        if not self._read():
            self._note(Noted("terms", agreed, "", "", ""))
        elif self._read()[0].chain != agreed:
            raise RefusalError("this run began with other terms of differential privacy; refused")

    def enter(self, ask: Ask, schema: str) -> Message:
        """Record a question before it is answered.

        A silent step costs as much as its answer would: later answers depend on its draws. It is done once, so that
        nothing is drawn repeatedly.

        Args:
            ask: the question.
            schema: of the step's answer, also if it is not sent.

        Returns:
            Its payload, with :data:`KEY`.

        Raises:
            RefusalError: the run's budget is spent, or a silent step was done before.
        """
        noted, kind = self._read(), schema_of(schema).noised
        question = question_digest(replace(ask, reply=schema) if ask.silent else ask).hex()
        # The same sum, or no sum: the same noise cannot be subtracted from itself then.
        summed = _sum_of(ask)
        same = ask.secure is None or self._one_process or (bool(noted) and noted[-1].sum == summed)
        last = noted[-1] if noted and noted[-1].question == question and same else None
        if last is None:
            if kind and ask.silent and any(each.question == question for each in noted):
                raise RefusalError(f"participant '{self._participant}': '{ask.step}' was done before; refused")
            self._check_budget(kind)
        before = noted[-1].chain if noted else ""
        chain = last.chain if last else digest("clap-vad privacy 1", self._participant, before, question).hex()
        self._present = Noted(question, chain, kind, "", summed)
        self._last = last
        if last is None and (ask.silent or not kind):
            self._note(self._present)
        return {**ask.payload, KEY: np.frombuffer(self._derived(chain, "step"), np.uint8)}

    def noised(self, ask: Ask, schema: str, message: Message) -> Message:
        """The message with its noise, ready to leave; its entries have the types of the schema.

        Raises:
            RefusalError: the question was answered before, and the answer differs now. With the same noise it would
                reveal the difference.
        """
        declared, present = schema_of(schema), self._present
        values = {name: np.asarray(value, np.float64) for name, value in message.items()}
        content = [part for name in sorted(values) for part in (name, values[name].tobytes())]
        answer = keyed_digest(self._secret, "content", present.chain, *content)
        if self._last is None:
            self._note(replace(present, answer=answer.hex()))
        elif self._last.answer != answer.hex():
            raise RefusalError(
                f"participant '{self._participant}': asked before, and its answer would differ now; refused"
            )
        multiplier = self._terms.noise_training if declared.noised == "training" else self._terms.noise_statistics
        # However the coordinator lies, no sum is over fewer sites than this.
        sites = 1 if ask.secure is None else least_members(len(ask.secure.participants), ask.secure.cohort)
        return {
            name: gaussian_noise(
                self._derived(present.chain, "noise", answer, name), value, multiplier / math.sqrt(sites)
            ).astype(declared.fields[name].dtype)
            for name, value in values.items()
        }

    def _derived(self, *purpose: str | bytes) -> bytes:
        return keyed_digest(self._secret, *purpose)

    def spent(self) -> Mapping[str, int]:
        """How many releases of each kind this site has made in the run."""
        kinds = [noted.kind for noted in self._read()]
        return {kind: kinds.count(kind) for kind in ("statistics", "training")}

    def _check_budget(self, kind: str) -> None:
        if not kind:
            return
        allowed = (self._terms.rounds if kind == "training" else self._terms.statistics) + self._terms.spare
        if self.spent()[kind] >= allowed:
            raise RefusalError(
                f"participant '{self._participant}': the privacy budget of this run is spent ({allowed} releases of "
                f"{kind}); begin another run, whose epsilon adds to this one's"
            )

    def _read(self) -> list[Noted]:
        """All lines of the file, to which another process may have appended."""
        if self._size_now() != self._size:
            text = self._file.read_bytes()
            self._noted, self._size = [], len(text)
            for line in text.decode(errors="replace").splitlines():
                # A line torn by a kill belongs to an answer that was never made.
                with contextlib.suppress(ValueError, TypeError):
                    self._noted.append(Noted(**json.loads(line)))
        return self._noted

    def _size_now(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    def _note(self, noted: Noted) -> None:
        """Append a line, unless another process did since the budget was checked: both could spend its last part."""
        with held_file(self._file):
            if self._size_now() != self._size:
                raise RefusalError(
                    f"participant '{self._participant}': another process answers in this run at the same time; refused"
                )
            append_line(self._file, json.dumps(asdict(noted)), durable=not self._one_process)
            self._size = self._size_now()
        self._noted.append(noted)


def _sum_of(ask: Ask) -> str:
    """Digest of the secure sum that an answer is for; empty for none.

    The coordinator chooses its name, so after a restart of the site a sum over other sites could have the same name.
    Ciphertexts of other sites for this one can be decrypted in that one session only.
    """
    if ask.secure is None:
        return ""
    secure = ask.secure
    sealed = [np.asarray(ask.payload[name]).tobytes() for name in sorted(ask.payload) if name.startswith(BESIDE)]
    whole = digest("clap-vad sum 1", secure.identity, secure.schema, secure.total, secure.cohort, *secure.participants)
    return digest("clap-vad sealed 1", whole, *sealed).hex()
