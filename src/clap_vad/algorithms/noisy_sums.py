"""Checks and limits of noisy replies at the coordinator, and the noise of their sums."""

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

Problem = Callable[..., str | None]

_MEDIANS, _MEANS = 4.0, 3.0
"""Largest number of units of one site, as a multiple of the sites' median; with masks, which hide it, of their mean."""

_FEW = 3
"""Least number of sites that can form a majority."""

_SLACK = 6.0
"""Tolerance of a message's norm, in standard deviations of its noise."""


class ImpossibleSumError(ClapError):
    """All replies to a question are implausible."""


def _arrays(message: Message) -> dict[str, Any]:
    return {name: np.asarray(value, np.float64) for name, value in message.items()}


class NoisySums:
    """Sums of a run with differential privacy.

    Args:
        plan: plan of the run.
        state: state of the coordinator.
    """

    def __init__(self, plan: Plan, state: State) -> None:
        assert plan.spec.privacy is not None
        self._plan, self._terms, self._state = plan, plan.spec.privacy, state

    def total(self, replies: Sequence[Reply]) -> dict[str, np.ndarray]:
        """Sum of the replies, in their order, per entry."""
        names = replies[0].message
        return {name: np.sum([np.asarray(reply.message[name]) for reply in replies], axis=0) for name in names}

    def cap(self, replies: Sequence[Reply], units: Callable[[Message], float]) -> float:
        """Largest number of units of one site in this run, from the first release; stores each site's number.

        The limit is four times the median, but at most the total of all other sites. With masks, which hide the parts,
        it is three times the mean; each site then limits its own sums, which nobody can verify.

        Args:
            replies: replies to the first question.
            units: reads the number of units from a reply.
        """
        counts = np.array([units(reply.message) for reply in replies])
        if self._plan.spec.secure_aggregation:
            return max(_MEANS * float(counts.sum()) / max(self.answered(), 1), 1.0)
        # Sites that reply later or never have the general limit.
        self._state["units.each"] = np.full(len(self._plan.participants), math.inf)
        for reply, count in zip(replies, counts, strict=True):
            self._state["units.each"][self._at(reply)] = count
        return _most(counts)

    def capped(self, replies: Sequence[Reply], name: str) -> list[Reply]:
        """The replies, with each histogram of this name scaled down to the limit for one site."""
        if self._plan.spec.secure_aggregation:
            return list(replies)
        counts = np.array([float(np.asarray(reply.message[name]).sum()) for reply in replies])
        shares = np.minimum(1.0, _most(counts) / np.maximum(counts, 1.0))
        return [
            replace(reply, message={**reply.message, name: np.asarray(reply.message[name]) * share})
            for reply, share in zip(replies, shares, strict=True)
        ]

    def consistent(self, replies: Sequence[Reply], problem: Problem, kind: str = "statistics") -> list[Reply]:
        """The replies whose numbers are consistent; see :meth:`plausible`.

        Args:
            replies: replies to one question.
            problem: takes the entries of a reply and the standard deviation of their noise, and returns why they are
                implausible, or None.
            kind: kind of the noise.
        """
        noise = self.deviation(kind, None if self._plan.spec.secure_aggregation else 1)
        found = {reply.participant: problem(noise=noise, **_arrays(reply.message)) for reply in replies}
        return self._without(replies, {name: why for name, why in found.items() if why})

    def plausible(self, replies: Sequence[Reply], problem: Problem, kind: str = "statistics") -> list[Reply]:
        """The plausible replies; the senders of others are excluded from the rest of the run, with the reason.

        Each unit adds a norm of at most 1 to a site's sum. A sum is implausible if its norm exceeds the number of units
        that the site first reported, or the limit for one site, beyond the tolerance for noise, or if its numbers are
        inconsistent. With masks only the total can be compared with the total number of units.

        Args:
            replies, problem, kind: as in :meth:`consistent`.

        Raises:
            ImpossibleSumError: a masked sum or all replies are implausible.
        """
        replies, malicious = self.consistent(replies, problem, kind), {}
        noise = self.deviation(kind, None if self._plan.spec.secure_aggregation else 1)
        for reply in replies:
            entries = np.concatenate([np.ravel(value).astype(np.float64) for value in reply.message.values()])
            # 5 % more: the count was noisy, and the site sampled its regions by it.
            most = 1.05 * self._most_units(reply) + noise * (math.sqrt(len(entries)) + _SLACK * 4)
            length = float(np.linalg.norm(entries))
            if length > most:
                malicious[reply.participant] = f"sums of norm {length:.4g}; its number of regions allows {most:.4g}"
        return self._without(replies, malicious)

    def _without(self, replies: Sequence[Reply], malicious: Mapping[str, str]) -> list[Reply]:
        kept = [reply for reply in replies if reply.participant not in malicious]
        if malicious and not self._plan.spec.secure_aggregation:
            leave_out(self._state, malicious)
        if malicious and not kept:
            reasons = "; ".join(f"'{name}': {why}" for name, why in malicious.items())
            raise ImpossibleSumError(
                f"the participants' replies for a common statistic are implausible ({reasons}); exclude the malicious "
                "site (--without); if masks hide it, run once without --secure-aggregation to find it"
            )
        return kept

    def shares(self, replies: Sequence[Reply]) -> np.ndarray:
        """Factor of each reply to the first question, so that no site counts more units than the limit."""
        if self._plan.spec.secure_aggregation:
            return np.ones(len(replies))
        each = np.array([self._state["units.each"][self._at(reply)] for reply in replies])
        return np.minimum(1.0, float(self._state["units.cap"]) / np.maximum(each, 1.0))

    def near(self, replies: Sequence[Reply], most: float) -> list[Reply]:
        """Moments, clipped near the sites' median; unchanged with masks.

        Args:
            replies: plausible replies.
            most: ``most`` of the question.
        """
        if self._plan.spec.secure_aggregation:
            return list(replies)
        units = np.array([max(self._most_units(reply), 1.0) for reply in replies])
        sums = {name: np.array([np.asarray(reply.message[name]) for reply in replies]) for name in ("mean", "square")}
        mean, square = near_others(**sums, units=units, noise=self.deviation(participants=1), most=most)
        return [
            replace(reply, message={**reply.message, "mean": mean[at], "square": square[at]})
            for at, reply in enumerate(replies)
        ]

    def without_extremes(self, replies: list[Reply], value: Callable[[Message, float], float]) -> list[Reply]:
        """The replies without the largest and the smallest value, so that no single site determines the result.

        All replies if there are fewer than three, or if masks hide them.

        Args:
            replies: plausible replies.
            value: takes a reply and the standard deviation of its noise.
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
        """Number of participants in the last sum."""
        return int(self._state.get(ANSWERED, np.ones(len(self._plan.participants))).sum())

    def deviation(self, kind: str = "statistics", participants: int | None = None) -> float:
        """Standard deviation of the noise on each entry of a sum, if no participant dropped out.

        Args:
            kind: ``statistics`` or ``training``.
            participants: number of participants in the sum; by default those in the last sum, out of those asked.
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
    """Limit for one site's count: four times the median, but at most the total of all others."""
    if len(counts) < _FEW:
        return max(float(counts.sum()), 1.0)
    return max(min(_MEDIANS * float(np.median(counts)), float(counts.sum() - counts.max())), 1.0)
