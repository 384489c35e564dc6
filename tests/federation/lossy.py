"""An engine whose sites can be out of reach, or answer to nobody, as a test decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from clap_vad.federation.ask import Ask, Reply
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.engine import Check
from clap_vad.federation.messages import Message
from clap_vad.federation.site import Site


class Fate(Enum):
    """What becomes of one participant in one delivery."""

    ANSWERS = "its reply counts"
    IS_LOST = "it does the step, the coordinator never hears of it"
    IS_AWAY = "it never hears of the question"


@dataclass(frozen=True)
class Moment:
    """When a question is delivered; the same again after the coordinator was stopped and taken up anew.

    Attributes:
        question: number of the algorithm's question; what is caught up on before it has a lower number of its own.
        attempt: how often too few replies have ended the run before.
        sequence: number of the question delivered.
    """

    question: int
    attempt: int
    sequence: int


Fates = Callable[[Moment, Ask, str], Fate]


def everybody_answers(moment: Moment, ask: Ask, participant: str) -> Fate:
    return Fate.ANSWERS


def seeded(seed: int, answers: float = 0.55, lost: float = 0.25) -> Fates:
    """Fates drawn independently; the same for the same seed, moment and participant."""

    def fate(moment: Moment, ask: Ask, participant: str) -> Fate:
        key = [seed, moment.question, moment.attempt, moment.sequence, *participant.encode()]
        drawn = np.random.default_rng(key).random()
        return Fate.ANSWERS if drawn < answers else Fate.IS_LOST if drawn < answers + lost else Fate.IS_AWAY

    return fate


def as_counted(counted: Mapping[Moment, Sequence[str]]) -> Fates:
    """Only those whose reply counted are reached; a delivery that never was is an error."""
    return lambda moment, ask, participant: Fate.ANSWERS if participant in counted[moment] else Fate.IS_AWAY


class LossyEngine:
    """Asks site objects in this process, as far as the fates let it.

    Args:
        sites: in participant order.
        fates: what becomes of whom.
        checkpoint: the coordinator's, which is read to know the present question.
        attempt: how often too few replies have ended the run before.
        enough: let at least ``min_replies`` through whatever the fates say; those that are lost first.
        on_answer: called with (moment, participant) after a site has done a step, whether that counts or not.

    Attributes:
        asked: every delivery in order, with the question as it was delivered.
        counted: whose reply was given to the coordinator.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        fates: Fates,
        checkpoint: Checkpoint,
        attempt: int = 0,
        enough: bool = True,
        on_answer: Callable[[Moment, str], None] = lambda moment, participant: None,
    ) -> None:
        self.participants = tuple(site.participant for site in sites)
        self.asked: list[tuple[Moment, Ask]] = []
        self.counted: dict[Moment, tuple[str, ...]] = {}
        self._sites = {site.participant: site for site in sites}
        self._fates, self._checkpoint, self._attempt, self._enough = fates, checkpoint, attempt, enough
        self._on_answer = on_answer

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """As :class:`~clap_vad.federation.coordinator.Engine` says; whatever a site refuses is raised."""
        moment = Moment(int(self._checkpoint.load()["sequence"]), self._attempt, ask.sequence)
        self.asked.append((moment, ask))
        targets = [name for name in self.participants if ask.targets is None or name in ask.targets]
        fates = {name: self._fates(moment, ask, name) for name in targets}
        if self._enough:
            worse = sorted(targets, key=lambda name: [Fate.ANSWERS, Fate.IS_LOST, Fate.IS_AWAY].index(fates[name]))
            fates |= dict.fromkeys(worse[: ask.min_replies], Fate.ANSWERS)
        replies = [
            Reply(name, self._answer(moment, ask, check, name)) for name in targets if fates[name] != Fate.IS_AWAY
        ]
        replies = [reply for reply in replies if fates[reply.participant] == Fate.ANSWERS]
        self.counted[moment] = tuple(reply.participant for reply in replies)
        return replies

    def _answer(self, moment: Moment, ask: Ask, check: Check, name: str) -> Message:
        message = self._sites[name].handle(ask)
        check(name, message)
        self._on_answer(moment, name)
        return message
