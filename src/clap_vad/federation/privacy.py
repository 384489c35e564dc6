"""A site's side of differential privacy: noise on what leaves, and a budget that only the site keeps.

The noise is drawn by the site, so the promise holds against the coordinator too. Without masks each site's message has
all the noise that the terms ask for; under secure aggregation nobody sees less than a sum, and each site adds the part
with which the smallest sum that can be made, however the coordinator lies, has all of it.

The noise comes from a secret of the site, drawn for the run and never sent; the run's seed, which all know, has no
part in it. A file beside the ledger holds every question of the run in the order in which it came. It is only ever
appended to and no coordinator can reset it: what a question may still cost, and the noise of its answer, depend on all
before it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..core.accounting import Terms
from ..persistence import append_line
from ..protection.noise import gaussian_noise, keyed_digest
from ..protection.packing import digest
from ..protection.session import least_members
from .ask import Ask
from .messages import Message
from .messages import schema as schema_of
from .policy import RefusalError

__all__ = ["KEY", "SitePrivacy"]

KEY = "privacy.key"
"""Entry that a step finds in its question under differential privacy: what its draws are keyed by, (32,) uint8."""

_BESIDE = ("secure.",)
"""Entries of a question that belong to the masks, drawn anew for each sum."""


class SitePrivacy:
    """Keeps the terms of one run at one site.

    Args:
        participant: its id.
        terms: what the run promises.
        folder: where questions are noted, ``privacy.jsonl``, and the secret is kept, ``privacy.key``.
        one_process: this process is all parties of the run, so that a masked question that is asked again cannot be
            for a sum over others; it then gets the same answer, and a resumed run the same model.
    """

    def __init__(self, participant: str, terms: Terms, folder: Path, one_process: bool) -> None:
        self._participant, self._terms, self._one_process = participant, terms, one_process
        self._file = folder / "privacy.jsonl"
        if terms.seed is None:
            self._secret = _secret(folder / "privacy.key")
        else:
            self._secret = digest("clap-vad seeded noise", terms.seed, participant)
        self._noted: list[tuple[str, str, str]] | None = None  # question, chain, kind
        self._key = b""

    def enter(self, ask: Ask, schema: str) -> Message:
        """Note a question before it is answered.

        Returns:
            Its payload, with :data:`KEY`.

        Raises:
            RefusalError: the budget of the run is spent.
        """
        noted, kind = self._read(), schema_of(schema).noised
        question = _digest(ask)
        again = bool(noted) and noted[-1][0] == question.hex()
        if again and (ask.secure is None or self._one_process):
            chain = bytes.fromhex(noted[-1][1])
        else:
            self._check_budget(kind)
            before = bytes.fromhex(noted[-1][1]) if noted else b""
            chain = digest("clap-vad privacy 1", self._participant, before, question)
            self._note(question.hex(), chain.hex(), kind)
        self._key = keyed_digest(self._secret, "answer", chain)
        return {**ask.payload, KEY: np.frombuffer(keyed_digest(self._key, "step"), np.uint8)}

    def noised(self, ask: Ask, schema: str, message: Message) -> Message:
        """The message with its noise, as it may leave; its entries have the types of the schema."""
        declared = schema_of(schema)
        training = declared.noised == "training"
        multiplier = self._terms.noise_training if training else self._terms.noise_statistics
        # However the coordinator lies, no sum is over fewer sites than this.
        sites = 1 if ask.secure is None else least_members(len(ask.secure.participants), ask.secure.cohort)
        return {
            name: gaussian_noise(
                keyed_digest(self._key, "noise", name), np.asarray(value, np.float64), multiplier / math.sqrt(sites)
            ).astype(declared.fields[name].dtype)
            for name, value in message.items()
        }

    def spent(self) -> Mapping[str, int]:
        """How many releases of each kind this site has made in the run."""
        kinds = [kind for _, _, kind in self._read()]
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

    def _read(self) -> list[tuple[str, str, str]]:
        if self._noted is None:
            lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
            self._noted = []
            for line in lines:
                # A line that a kill has torn is of an answer that was never made.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    content = json.loads(line)
                    self._noted.append((content["question"], content["chain"], content["kind"]))
        return self._noted

    def _note(self, question: str, chain: str, kind: str) -> None:
        line = json.dumps({"question": question, "chain": chain, "kind": kind})
        append_line(self._file, line, durable=not self._one_process)
        self._read().append((question, chain, kind))


def _secret(file: Path) -> bytes:
    """The secret in this file, made where there is none; readable by its owner alone."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()
    with os.fdopen(handle, "wb") as opened:
        secret = secrets.token_bytes(32)
        opened.write(secret)
        opened.flush()
        os.fsync(opened.fileno())
    return secret


def _digest(ask: Ask) -> bytes:
    """32 bytes that stand for a question: its number, its step and everything in it, but for the masks' part."""
    parts: list[str | bytes | int] = [ask.sequence, ask.step, ask.reply if ask.secure is None else ask.secure.schema]
    for name in sorted(ask.payload):
        if not name.startswith(_BESIDE):
            value = np.asarray(ask.payload[name], order="C")
            parts += [name, value.dtype.str, str(value.shape), value.tobytes()]
    return digest(*parts)
