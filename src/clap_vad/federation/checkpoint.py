"""States on disk: the coordinator's after every step, a site's as it was before each question."""

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
"""Entry of a kept question that holds the names of its step and of its reply's schema."""
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
        raise ClapError(f"{error}; delete the run's folder 'checkpoints' and resume, to begin anew") from None
    return state


def _checksum(state: State) -> np.ndarray:
    """SHA-256 of names, types, shapes and values: a flipped bit would otherwise silently give another model."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.asarray(state[name], order="C")
        digest.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        digest.update(value.reshape(-1).view(np.uint8).data)
    return np.frombuffer(digest.digest(), np.uint8)


@dataclass(frozen=True)
class Cohort:
    """What a secure sum was over, as far as it came: sites answer the same question again for that sum alone.

    Attributes:
        participants: who was asked.
        members: whose masked numbers were to be opened; empty where it did not come to that.
    """

    participants: tuple[str, ...]
    members: tuple[str, ...] = ()


class _CohortFile(Record):
    """``cohort.json``."""

    what: ClassVar[str] = "the record of a secure sum"
    remedy: ClassVar[str] = "delete the run's folder 'checkpoints' and resume, to begin anew"

    sequence: int
    participants: tuple[str, ...]
    members: tuple[str, ...]


class Checkpoint:
    """The coordinator's state, replaced as a whole after every step (temporary file, fsync, rename).

    Lasting questions are kept beside it, for participants that missed them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "coordinator.safetensors"

    def load(self) -> State:
        """The state saved last; empty when there is none."""
        return _load(self._file) if self._file.exists() else {}

    def save(self, state: State) -> None:
        """Replace the saved state."""
        _save(self._file, state)

    def keep(self, ask: Ask) -> None:
        """Keep a lasting question; once, for a question asked again is the same."""
        file = self._folder / f"question-{ask.sequence:08d}.safetensors"
        if not file.exists():
            names = np.frombuffer(json.dumps([ask.step, ask.reply]).encode(), np.uint8)
            _save(file, {_NAMES: names, **{name: np.asarray(value) for name, value in ask.payload.items()}})

    def kept(self, after: int, before: int) -> Iterator[Ask]:
        """The lasting questions between these two numbers, oldest first; no other is read."""
        for file in sorted(self._folder.glob("question-*.safetensors")):
            number = int(file.stem.split("-")[1])
            if after < number < before:
                payload = _load(file)
                step, reply = json.loads(payload.pop(_NAMES).tobytes())
                yield Ask(step, reply, dict(payload), sequence=number)

    def keep_cohort(self, sequence: int, cohort: Cohort) -> None:
        """Keep what the secure sum of this question is over, in place of that of the question before."""
        write_json(self._folder / _COHORT, {"sequence": sequence, **asdict(cohort)})

    def cohort(self, sequence: int) -> Cohort | None:
        """What the secure sum of this question was over; None where nobody has masked an answer to it."""
        file = self._folder / _COHORT
        kept = read_record(file, _CohortFile) if file.exists() else None
        return Cohort(kept.participants, kept.members) if kept and kept.sequence == sequence else None


class SiteState:
    """A site's state, numbered by the question it was about to answer.

    The coordinator may go on without an answer, or be restarted and ask a number again; the site must then start from
    where it was before that answer. So the state before the last answer is kept until the next is known to count.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest: tuple[int, State] | None = None

    def before(self, sequence: int) -> State:
        """The state as it was before this question."""
        known = [number for number in self._numbers() if number <= sequence]
        if not known:
            return {}
        if self._latest is None or self._latest[0] != known[-1]:
            self._latest = (known[-1], _load(self._file(known[-1])))
        return self._latest[1]

    def save(self, sequence: int, accepted: int, state: State) -> None:
        """Keep the state that follows this question, if the question changed it.

        Args:
            sequence: of the question.
            accepted: the last question whose answer counted, from whose state this one was answered.
            state: what follows.
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
    """``rounds.jsonl``, one line a finished round."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rewind(self, rounds: int) -> None:
        """Drop lines of rounds after the first ``rounds``, and a line torn by a kill: they will be run again."""
        kept = [line for line in read_rounds(self._file) if line["round"] <= rounds]
        write_text(self._file, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, record: dict[str, Any]) -> None:
        """Add a finished round."""
        append_line(self._file, json.dumps(record))


def read_rounds(file: Path) -> list[dict[str, Any]]:
    """Records of the finished rounds, up to a line torn by a kill; none where there is no file."""
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
