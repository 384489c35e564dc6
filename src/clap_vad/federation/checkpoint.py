"""States on disk: the coordinator's after every step, a site's before each question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import ClapError
from ..persistence import append_line, load_arrays, save_arrays, write_json, write_text
from ..records import Record, read_record
from .ask import Ask, State

__all__ = ["Checkpoint", "Cohort", "RoundLog", "SiteState", "read_rounds"]

_CHECKSUM = "sha256"
_NAMES = "question"
"""Entry of a saved question that holds the names of its step and of its reply's schema."""
_COHORT = "cohort.json"


def _save(file: Path, state: State) -> None:
    save_arrays(file, {**state, _CHECKSUM: _checksum(state)})


def _load(file: Path) -> State:
    try:
        state = load_arrays(file)
        saved = state.pop(_CHECKSUM, np.zeros(0))
        if not np.array_equal(saved, _checksum(state)):
            raise ClapError(f"{file}: its content is not what was saved")
    except ClapError as error:
        raise ClapError(f"{error}; delete the run's folder 'checkpoints' and resume, to start again") from None
    return state


def _checksum(state: State) -> np.ndarray:
    """SHA-256 of names, types, shapes and values: detects a flipped bit, which would silently change the model."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.asarray(state[name], order="C")
        digest.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        digest.update(value.reshape(-1).view(np.uint8).data)
    return np.frombuffer(digest.digest(), np.uint8)


@dataclass(frozen=True)
class Cohort:
    """The participants of a secure sum, as far as it came: sites repeat their answers for this sum only.

    Attributes:
        participants: who was asked.
        members: whose masked numbers were to be unmasked; empty if it did not come to that.
    """

    participants: tuple[str, ...]
    members: tuple[str, ...] = ()


class _CohortFile(Record):
    """``cohort.json``."""

    what: ClassVar[str] = "the record of a secure sum"
    remedy: ClassVar[str] = "delete the run's folder 'checkpoints' and resume, to start again"

    sequence: int
    participants: tuple[str, ...]
    members: tuple[str, ...]


class Checkpoint:
    """The coordinator's state, replaced as a whole after every step (temporary file, fsync, rename).

    Lasting questions are saved beside it, for participants that missed them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "coordinator.safetensors"

    def load(self) -> State:
        """The last saved state; empty if there is none."""
        return _load(self._file) if self._file.exists() else {}

    def save(self, state: State) -> None:
        """Replace the saved state."""
        _save(self._file, state)

    def keep(self, ask: Ask) -> None:
        """Save a lasting question, once: a repeated question is the same."""
        file = self._folder / f"question-{ask.sequence:08d}.safetensors"
        if not file.exists():
            names = np.frombuffer(json.dumps([ask.step, ask.reply]).encode(), np.uint8)
            _save(file, {_NAMES: names, **{name: np.asarray(value) for name, value in ask.payload.items()}})

    def kept(self, after: int, before: int) -> Iterator[Ask]:
        """The lasting questions between these two numbers, oldest first; only these are read."""
        for file in sorted(self._folder.glob("question-*.safetensors")):
            number = int(file.stem.split("-")[1])
            if after < number < before:
                payload = _load(file)
                step, reply = json.loads(payload.pop(_NAMES).tobytes())
                yield Ask(step, reply, dict(payload), sequence=number)

    def keep_cohort(self, sequence: int, cohort: Cohort) -> None:
        """Save the participants of this question's secure sum, in place of the previous question's."""
        write_json(self._folder / _COHORT, {"sequence": sequence, **asdict(cohort)})

    def cohort(self, sequence: int) -> Cohort | None:
        """The participants of this question's secure sum; None if no site has masked an answer to it."""
        file = self._folder / _COHORT
        kept = read_record(file, _CohortFile) if file.exists() else None
        return Cohort(kept.participants, kept.members) if kept and kept.sequence == sequence else None


class SiteState:
    """A site's state, numbered by the question that it was about to answer.

    The coordinator may go on without an answer, or restart and ask a number again; the site must then start from its
    state before that answer. So the state before the last answer is kept until the next question shows that it counted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest: tuple[int, State] | None = None

    def before(self, sequence: int) -> State:
        """The state before this question."""
        known = [number for number in self._numbers() if number <= sequence]
        if not known:
            return {}
        if self._latest is None or self._latest[0] != known[-1]:
            self._latest = (known[-1], _load(self._file(known[-1])))
        return self._latest[1]

    def save(self, sequence: int, accepted: int, state: State) -> None:
        """Save the state after this question, if the question changed it.

        Args:
            sequence: of the question.
            accepted: the last question whose answer counted; this one was answered from its state.
            state: the new state.
        """
        previous = self.before(accepted + 1)
        for number in self._numbers():
            if number > accepted + 1:  # written by an answer that did not count
                self._file(number).unlink()
        if previous.keys() != state.keys() or any(previous[name] is not state[name] for name in state):
            _save(self._file(sequence + 1), state)
            for number in [n for n in self._numbers() if n <= accepted + 1][:-1]:
                self._file(number).unlink()
            self._latest = (sequence + 1, state)

    def _numbers(self) -> list[int]:
        return sorted(int(file.stem.split("-")[1]) for file in self._folder.glob(f"state-{'[0-9]' * 8}.safetensors"))

    def _file(self, number: int) -> Path:
        return self._folder / f"state-{number:08d}.safetensors"


class RoundLog:
    """``rounds.jsonl``, one line per finished round."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rewind(self, rounds: int) -> None:
        """Drop lines of rounds after the first ``rounds``, and a line torn by a kill: these rounds are run again."""
        kept = [line for line in read_rounds(self._file) if line["round"] <= rounds]
        write_text(self._file, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, record: dict[str, Any]) -> None:
        """Add a finished round."""
        append_line(self._file, json.dumps(record))


def read_rounds(file: Path) -> list[dict[str, Any]]:
    """Records of the finished rounds, up to a line torn by a kill; none without a file."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("round"), int):
            break
        lines.append(line)
    return lines
