"""What a coordinator reads from noisy replies, and knows of their noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ClapError
from ..federation.ask import Reply, State
from ..federation.coordinator import ANSWERED
from ..federation.left_out import leave_out
from ..federation.messages import Message
from ..protection.session import least_members
from .plan import Plan

__all__ = ["NoisySums"]

_MEDIANS, _MEANS = 4.0, 3.0
"""How many units a site may count at most: so many times the sites' median; under masks, which hide it, their mean."""

_FEW = 3
"""Sites of which no majority can be formed."""

_SLACK = 6.0
"""Deviations of its noise that a message may be longer than its units allow."""


class NoisySums:
    """Of a run whose plan has terms of differential privacy.

    Args:
        plan: of the run.
        state: of the coordinator.
    """

    def __init__(self, plan: Plan, state: State) -> None:
        assert plan.privacy is not None
        self._plan, self._terms, self._state = plan, plan.privacy, state

    def total(self, replies: Sequence[Reply]) -> dict[str, np.ndarray]:
        """Sum of the replies in their order, by entry; raises :class:`ClapError` where there is none to believe."""
        if not replies:
            raise ClapError(
                "what the participants sent for a common statistic cannot be true: their sums are longer than their "
                "crops allow; leave out who lies (--without), and where masks hide who it is, run without "
                "--secure-aggregation once to have it named"
            )
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
        if self._plan.secure:
            return max(_MEANS * float(counts.sum()) / max(self.answered(), 1), 1.0)
        # Who says so later, or never, is bounded by what any site may count.
        self._state["units.each"] = np.full(len(self._plan.participants), math.inf)
        for reply, count in zip(replies, counts, strict=True):
            self._state["units.each"][self._plan.participants.index(reply.participant)] = count
        if len(counts) < _FEW:
            return max(float(counts.sum()), 1.0)
        return max(min(_MEDIANS * float(np.median(counts)), float(counts.sum() - counts.max())), 1.0)

    def believed(self, replies: Sequence[Reply], kind: str = "statistics") -> list[Reply]:
        """The replies that can be true; who sent another is left out of the rest of the run, with the reason.

        A site's sum is over its units, each of norm 1 at most: what is longer than the units that it first said it
        has, and the cap, with room for noise, is a lie. Under masks only the sum of all can be held against the sum of
        all units.
        """
        kept, lies = [], {}
        for reply in replies:
            entries = np.concatenate([np.ravel(value).astype(np.float64) for value in reply.message.values()])
            noise = self.deviation(kind, None if self._plan.secure else 1)
            # The count itself had noise, and what is at home was sampled by it.
            most = 1.05 * self._most_units(reply) + noise * (math.sqrt(len(entries)) + _SLACK * 4)
            length = float(np.linalg.norm(entries))
            if length <= most:
                kept.append(reply)
            else:
                lies[reply.participant] = f"sums of length {length:.4g}, where its crops allow {most:.4g} at most"
        if lies and not self._plan.secure:
            leave_out(self._state, lies)
        return kept

    def middle(self, replies: list[Reply], value: Callable[[Message, float], float]) -> list[Reply]:
        """The replies without the one of the largest and the one of the smallest value: so no one site sets it.

        All of them where they are fewer than three, or hidden in a sum.

        Args:
            replies: believed.
            value: of a reply and the standard deviation of its noise.
        """
        if self._plan.secure or len(replies) < _FEW:
            return replies
        noise = self.deviation(participants=1)
        order = sorted(range(len(replies)), key=lambda number: (value(replies[number].message, noise), number))
        return [replies[number] for number in sorted(order[1:-1])]

    def _most_units(self, reply: Reply) -> float:
        cap = float(self._state.get("units.cap", np.array(math.inf)))
        if self._plan.secure:
            return cap * self.answered()
        return min(cap, float(self._state["units.each"][self._plan.participants.index(reply.participant)]))

    def answered(self) -> int:
        """Participants that are in the last sum."""
        return int(self._state.get(ANSWERED, np.ones(len(self._plan.participants))).sum())

    def deviation(self, kind: str = "statistics", participants: int | None = None) -> float:
        """Standard deviation of the noise on each entry of a sum, as it is when nobody has dropped out.

        Args:
            kind: ``statistics`` or ``training``.
            participants: of the sum; those of the last one by default.
        """
        noise = self._terms.noise_training if kind == "training" else self._terms.noise_statistics
        sites = least_members(len(self._plan.participants)) if self._plan.secure else 1
        return noise * math.sqrt((self.answered() if participants is None else participants) / sites)
