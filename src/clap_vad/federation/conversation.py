"""Which questions may be asked in a run, in which order and how often: those of an honest run, and no more.

One sum reveals little. Many slightly different versions of the same sum reveal every number in it. So the order and the
number of questions are part of what a site agreed to. The site records each question before it answers, in an
append-only file of the run that no coordinator can reset: not by a kill, a new job, another process, or by naming an
older state to answer from.

A question may be repeated, since a coordinator may be killed while it waits. It gets the same answer or none. A refused
question counts too: a refusal reveals something about the site's data.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..persistence import append_line, held_file, read_json_lines
from ..protection.noise import keyed_digest
from ..protection.packing import digest
from .ask import Ask, SecureSum
from .messages import Message
from .policy import RefusalError
from .question import question_digest
from .secret import site_secret

__all__ = ["NOTES", "Conversation", "Turn"]

NOTES = "questions.jsonl"
"""The file in the run's folder at the site."""


@dataclass(frozen=True)
class Turn:
    """One turn of an honest run's conversation; the turns follow one another.

    Attributes:
        steps: steps that may be asked in it.
        most: largest number of distinct questions, all steps together.
        counter: entry of the question that numbers it, such as ``round``: ``most`` rising numbers from ``first`` on.
            Empty for none.
        first: the first number; if it is 0, a question without a number has number 0.
        left_out: numbers that the site is not asked, as it is not drawn for those rounds.
        lasting: later turns need it, so none of them is answered before it; see
            :attr:`~clap_vad.federation.ask.Ask.lasting`.
    """

    steps: tuple[str, ...]
    most: int = 1
    counter: str = ""
    first: int = 1
    left_out: frozenset[int] = frozenset()
    lasting: bool = False

    @property
    def name(self) -> str:
        """For sentences."""
        return " or ".join(f"'{step}'" for step in self.steps)

    def number(self, ask: Ask) -> int:
        """The number of a question; raises :class:`RefusalError` for a number that no honest question has.

        >>> Turn(("train",), 20, "round").number(Ask("train", "model_update", {"round": 3}))
        3
        >>> Turn(("train",), 20, "round").number(Ask("train", "model_update", {"round": -5}))
        Traceback (most recent call last):
        clap_vad.federation.policy.RefusalError: step 'train': its 'round' must be a whole number from 1 to 20; refused
        """
        if not self.counter or (self.first == 0 and self.counter not in ask.payload):
            return 0
        last = self.first + self.most - 1
        number = np.asarray(ask.payload.get(self.counter))
        if number.shape != () or number.dtype.kind not in "iu" or not self.first <= int(number) <= last:
            raise RefusalError(
                f"step '{ask.step}': its '{self.counter}' must be a whole number from {self.first} to {last}; refused"
            )
        if int(number) in self.left_out:
            raise RefusalError(f"step '{ask.step}': this site is not drawn for {self.counter} {number}; refused")
        return int(number)


@dataclass(frozen=True)
class Noted:
    """A line of ``questions.jsonl``: a question or its answer.

    Attributes:
        question: digest of the question, see :func:`~clap_vad.federation.question.question_digest`.
        step: of the question.
        number: of the question within its turn, see :meth:`Turn.number`.
        answer: keyed digest of the answer, so that only the site can compare answers; empty if the line records only
            the question.
        cohort: digest of the sites of the secure sum; empty for none.
        opened: digest of the sites whose masked numbers were in it, once this site has helped to unmask it.
    """

    question: str
    step: str = ""
    number: int = 0
    answer: str = ""
    cohort: str = ""
    opened: str = ""


class Conversation:
    """Keeps the order of one run at one site.

    Args:
        participant: its id.
        order: the turns of an honest run.
        folder: of the run at the site.
        durable: whether a line must survive a power loss.
    """

    def __init__(self, participant: str, order: Sequence[Turn], folder: Path, durable: bool = True) -> None:
        self._participant, self._order, self._folder = participant, tuple(order), folder
        self._file, self._durable = folder / NOTES, durable
        self._known: tuple[int, list[Noted]] = (0, [])  # bytes of the file, and its lines

    def ask(self, ask: Ask, schema: str) -> None:
        """Record a question before it is answered.

        Args:
            ask: the question.
            schema: of the step's answer; asked silently, it is the same question.

        Raises:
            RefusalError: an honest run does not ask this now.
        """
        question = question_digest(replace(ask, reply=schema) if ask.silent else ask).hex()
        with held_file(self._file):
            noted = self._read()
            if any(each.question == question for each in noted):
                return
            if not noted and ask.accepted.get(self._participant, -1) >= 0:
                raise self._refused(
                    f"{NOTES} of this run is missing: another release began the run, or its files were lost; "
                    "begin another run"
                )
            number = self._checked(ask, [each for each in noted if each.step])
            self._note(Noted(question, ask.step, number))

    def answer(self, ask: Ask, message: Message) -> None:
        """Record the answer before it leaves, without masks.

        Raises:
            RefusalError: the question was answered before, and this answer differs or is for a sum over other sites.
                Either would reveal the difference.
        """
        question, names = question_digest(ask).hex(), sorted(message)
        content = [part for name in names for part in (name, *_value(message[name]))]
        answer = keyed_digest(site_secret(self._folder), "answer", question, *content).hex()
        cohort = "" if ask.secure is None else _cohort(ask.secure)
        with held_file(self._file):
            first = next((each for each in self._read() if each.question == question and each.answer), None)
            if first is None:
                self._note(Noted(question, answer=answer, cohort=cohort))
            elif first.answer != answer:
                raise self._refused(f"'{ask.step}' was asked before, and its answer would differ now; refused")
            elif first.cohort != cohort:
                raise self._refused(f"'{ask.step}' was asked before, for a sum over other sites; refused")

    def open(self, secure: SecureSum, present: np.ndarray) -> None:
        """Record whose masked numbers are to be added up, before this site helps to unmask the sum.

        Raises:
            RefusalError: it has helped to unmask another sum of the answers to this question.
        """
        opened = digest("clap-vad opened 1", _cohort(secure), present.tobytes()).hex()
        with held_file(self._file):
            first = next((e for e in self._read() if e.question == secure.question and e.opened), None)
            if first is None:
                self._note(Noted(secure.question, opened=opened))
            elif first.opened != opened:
                raise self._refused("the same question is to be summed again, over other sites; refused")

    def _checked(self, ask: Ask, asked: list[Noted]) -> int:
        """The number of a new question; raises :class:`RefusalError` if it is out of turn."""
        place = self._place(ask.step)
        if place is None:
            raise self._refused(f"asked for '{ask.step}', which is not a step of this run; refused")
        turn, places = self._order[place], [self._place(each.step) for each in asked]
        number = turn.number(ask)
        reached = max((other for other in places if other is not None), default=-1)
        if reached > place:
            raise self._refused(f"asked for '{ask.step}' after {self._order[reached].name}; refused")
        for before in self._order[:place]:
            if before.lasting and not any(each.step in before.steps for each in asked):
                raise self._refused(f"asked for '{ask.step}' before {before.name}; refused")
        same = [each for each in asked if each.step in turn.steps]
        if len(same) >= turn.most:
            raise self._refused(
                f"asked for {turn.name} more than {turn.most} time{'s' * (turn.most != 1)}, which is all that this run "
                "needs; refused"
            )
        if turn.counter and same and number <= same[-1].number:
            raise self._refused(
                f"asked for '{ask.step}' with {turn.counter} {number} after {same[-1].number}; they must rise; refused"
            )
        return number

    def _place(self, step: str) -> int | None:
        return next((number for number, turn in enumerate(self._order) if step in turn.steps), None)

    def _refused(self, what: str) -> RefusalError:
        return RefusalError(f"participant '{self._participant}': {what}")

    def _read(self) -> list[Noted]:
        """All lines of the file, to which another process may have appended."""
        size = self._file.stat().st_size
        if size != self._known[0]:
            noted = []
            for line in read_json_lines(self._file):  # a line torn by a kill: it was never answered
                with contextlib.suppress(TypeError):
                    noted.append(Noted(**line))
            self._known = (size, noted)
        return self._known[1]

    def _note(self, noted: Noted) -> None:
        known = self._read()
        append_line(self._file, json.dumps({k: v for k, v in asdict(noted).items() if v != ""}), self._durable)
        self._known = (self._file.stat().st_size, [*known, noted])


def _cohort(secure: SecureSum) -> str:
    """Digest of a secure sum's content, without its name and phase."""
    return digest("clap-vad cohort 1", secure.schema, secure.total, secure.cohort, *secure.participants).hex()


def _value(value: np.ndarray | int | float) -> tuple[str, str, bytes]:
    array = np.asarray(value, order="C")
    return array.dtype.str, str(array.shape), array.tobytes()
