"""What a coordinator reads from noisy replies, and knows of their noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.density.noisy_truth import near_others
from ..errors import ClapError
from ..federation.ask import Reply, State
from ..federation.coordinator import ANSWERED
from ..federation.left_out import leave_out
from ..federation.messages import Message
from ..protection.session import LEAST_COHORT, least_members
from .plan import Plan

__all__ = ["ImpossibleSumError", "NoisySums"]

Wrong = Callable[..., str | None]

_MEDIANS, _MEANS = 4.0, 3.0
"""How many units a site may count at most: so many times the sites' median; under masks, which hide it, their mean."""

_FEW = 3
"""Sites of which no majority can be formed."""

_SLACK = 6.0
"""Deviations of its noise that a message may be longer than its units allow."""


class ImpossibleSumError(ClapError):
    """No answer to a question can be true."""


def _arrays(message: Message) -> dict[str, Any]:
    return {name: np.asarray(value, np.float64) for name, value in message.items()}


class NoisySums:
    """Of a run whose plan has terms of differential privacy.

    Args:
        plan: of the run.
        state: of the coordinator.
    """

    def __init__(self, plan: Plan, state: State) -> None:
        assert plan.spec.privacy is not None
        self._plan, self._terms, self._state = plan, plan.spec.privacy, state

    def total(self, replies: Sequence[Reply]) -> dict[str, np.ndarray]:
        """Sum of the replies in their order, by entry."""
        names = replies[0].message
        return {name: np.sum([np.asarray(reply.message[name]) for reply in replies], axis=0) for name in names}

    def cap(self, replies: Sequence[Reply], units: Callable[[Message], float]) -> float:
        """How many units one site may count in this run, from the first release; keeps what each said it has.

        No site has more than four times the median, nor more than all others together. Under masks, which hide the
        parts, it is three times the mean; a site then shortens its own sums, and nobody can see whether it does.

        Args:
            replies: to the first question.
            units: reads the number of units from one.
        """
        counts = np.array([units(reply.message) for reply in replies])
        if self._plan.spec.secure_aggregation:
            return max(_MEANS * float(counts.sum()) / max(self.answered(), 1), 1.0)
        # Who says so later, or never, is bounded by what any site may count.
        self._state["units.each"] = np.full(len(self._plan.participants), math.inf)
        for reply, count in zip(replies, counts, strict=True):
            self._state["units.each"][self._at(reply)] = count
        return _most(counts)

    def evened(self, replies: Sequence[Reply], name: str) -> list[Reply]:
        """The replies, of whose histogram of this name none counts more than the cap on these counts would be."""
        if self._plan.spec.secure_aggregation:
            return list(replies)
        counts = np.array([float(np.asarray(reply.message[name]).sum()) for reply in replies])
        shares = np.minimum(1.0, _most(counts) / np.maximum(counts, 1.0))
        return [
            replace(reply, message={**reply.message, name: np.asarray(reply.message[name]) * share})
            for reply, share in zip(replies, shares, strict=True)
        ]

    def true(self, replies: Sequence[Reply], wrong: Wrong, kind: str = "statistics") -> list[Reply]:
        """The replies whose numbers can be true together; see :meth:`believed`.

        Args:
            replies: to one question.
            wrong: of the entries of a reply and the standard deviation of their noise, why they cannot be true.
            kind: of the noise.
        """
        noise = self.deviation(kind, None if self._plan.spec.secure_aggregation else 1)
        found = {reply.participant: wrong(noise=noise, **_arrays(reply.message)) for reply in replies}
        return self._without(replies, {name: why for name, why in found.items() if why})

    def believed(self, replies: Sequence[Reply], wrong: Wrong, kind: str = "statistics") -> list[Reply]:
        """The replies that can be true; who sent another is left out of the rest of the run, with the reason.

        A site's sum is over its units, each of norm 1 at most: what is longer than the units that it first said it
        has, and the cap, with room for noise, is a lie. So is what cannot be true together. Under masks only the sum
        of all can be held against the sum of all units.

        Args:
            replies, wrong, kind: as in :meth:`true`.

        Raises:
            ClapError: a sum under masks cannot be true, or no reply.
        """
        replies, lies = self.true(replies, wrong, kind), {}
        noise = self.deviation(kind, None if self._plan.spec.secure_aggregation else 1)
        for reply in replies:
            entries = np.concatenate([np.ravel(value).astype(np.float64) for value in reply.message.values()])
            # The count itself had noise, and what is at home was sampled by it.
            most = 1.05 * self._most_units(reply) + noise * (math.sqrt(len(entries)) + _SLACK * 4)
            length = float(np.linalg.norm(entries))
            if length > most:
                lies[reply.participant] = f"sums of length {length:.4g}, where its crops allow {most:.4g} at most"
        return self._without(replies, lies)

    def _without(self, replies: Sequence[Reply], lies: Mapping[str, str]) -> list[Reply]:
        kept = [reply for reply in replies if reply.participant not in lies]
        if lies and not self._plan.spec.secure_aggregation:
            leave_out(self._state, lies)
        if lies and not kept:
            whose = "; ".join(f"'{name}': {why}" for name, why in lies.items())
            raise ImpossibleSumError(
                f"what the participants sent for a common statistic cannot be true ({whose}); leave out who lies "
                "(--without), and where masks hide who it is, run without --secure-aggregation once to have it named"
            )
        return kept

    def shares(self, replies: Sequence[Reply]) -> np.ndarray:
        """By what each reply to the first question is multiplied, so that none counts more units than the cap."""
        if self._plan.spec.secure_aggregation:
            return np.ones(len(replies))
        each = np.array([self._state["units.each"][self._at(reply)] for reply in replies])
        return np.minimum(1.0, float(self._state["units.cap"]) / np.maximum(each, 1.0))

    def near(self, replies: Sequence[Reply], most: float) -> list[Reply]:
        """Moments, brought near those of most; as they are under masks.

        Args:
            replies: believed.
            most: of the question.
        """
        if self._plan.spec.secure_aggregation:
            return list(replies)
        units = np.array([max(self._most_units(reply), 1.0) for reply in replies])
        told = {name: np.array([np.asarray(reply.message[name]) for reply in replies]) for name in ("mean", "square")}
        mean, square = near_others(**told, units=units, noise=self.deviation(participants=1), most=most)
        return [
            replace(reply, message={**reply.message, "mean": mean[at], "square": square[at]})
            for at, reply in enumerate(replies)
        ]

    def middle(self, replies: list[Reply], value: Callable[[Message, float], float]) -> list[Reply]:
        """The replies without the one of the largest and the one of the smallest value: so no one site sets it.

        All of them where they are fewer than three, or hidden in a sum.

        Args:
            replies: believed.
            value: of a reply and the standard deviation of its noise.
        """
        if self._plan.spec.secure_aggregation or len(replies) < _FEW:
            return replies
        noise = self.deviation(participants=1)
        order = sorted(range(len(replies)), key=lambda number: (value(replies[number].message, noise), number))
        return [replies[number] for number in sorted(order[1:-1])]

    def _most_units(self, reply: Reply) -> float:
        cap = float(self._state.get("units.cap", np.array(math.inf)))
        if self._plan.spec.secure_aggregation:
            return cap * self.answered()
        return min(cap, float(self._state["units.each"][self._at(reply)]))

    def _at(self, reply: Reply) -> int:
        return self._plan.participants.index(reply.participant)

    def answered(self) -> int:
        """Participants that are in the last sum."""
        return int(self._state.get(ANSWERED, np.ones(len(self._plan.participants))).sum())

    def deviation(self, kind: str = "statistics", participants: int | None = None) -> float:
        """Standard deviation of the noise on each entry of a sum, as it is when nobody has dropped out.

        Args:
            kind: ``statistics`` or ``training``.
            participants: of the sum, and asked for it; by default those of the last one, and those whom a round asks.
        """
        noise = self._terms.noise_training if kind == "training" else self._terms.noise_statistics
        asked = len(self._plan.participants)
        if participants is not None:
            asked = participants
        elif kind == "training" and "round" in self._state:
            asked = self._plan.spec.per_round(asked)
        sites = least_members(max(asked, LEAST_COHORT)) if self._plan.spec.secure_aggregation else 1
        return noise * math.sqrt((self.answered() if participants is None else participants) / sites)


def _most(counts: np.ndarray) -> float:
    """How many one site may count: four times the median, and no more than all others together."""
    if len(counts) < _FEW:
        return max(float(counts.sum()), 1.0)
    return max(min(_MEDIANS * float(np.median(counts)), float(counts.sum() - counts.max())), 1.0)
