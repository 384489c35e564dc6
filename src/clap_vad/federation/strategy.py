"""Aggregation strategies: how updates become the next global model, and what is added to local training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..detector.drift import Correction
from ..detector.network import Weights
from ..registry import Registry
from ..settings import check_settings, make_with_settings
from .ask import State
from .messages import Message

__all__ = ["STRATEGIES", "Contribution", "Strategy", "make_strategy"]


@dataclass(frozen=True)
class Contribution:
    """One participant's contribution to a round.

    Attributes:
        count: n_p, segments it trained on.
        update: local weights minus global ones.
        message: the whole reply, for a strategy whose sites send more than that.
    """

    count: int
    update: Mapping[str, np.ndarray]
    message: Message


@dataclass(frozen=True)
class Strategy(ABC):
    """One strategy: subclass it as a frozen dataclass in one file of ``strategies/`` and register it.

    Fields are its settings. An instance keeps nothing between rounds: the coordinator's values are entries
    ``strategy.*`` of ``state``, a site's are in its own state, so that both survive a kill.
    """

    reply: ClassVar[str | None] = None
    """Schema of the replies if sites send more than the method's update; None for the method's own."""

    needs_each: ClassVar[bool] = False
    """Whether it needs the participants' single updates, which secure aggregation hides."""

    needs_sgd: ClassVar[bool] = False
    """Whether it computes gradients from the distance covered by plain or momentum SGD."""

    def __post_init__(self) -> None:
        """Raise :class:`ClapError` for a setting outside its range."""
        check_settings(self)

    def question(self, weights: Mapping[str, np.ndarray], state: State) -> Message:
        """Further entries of the question, beside the global model; may create entries of ``state``."""
        return {}

    def correction(self, payload: Message, state: State) -> Correction | None:
        """At the site: the term added to its local steps, from the question and the site's own state."""
        return None

    def report(self, payload: Message, state: State, update: Mapping[str, np.ndarray], travel: float) -> Message:
        """At the site, after its steps: further entries of its reply; may replace entries of its own state.

        Args:
            travel: sum of the steps' learning rates, including momentum: the distance covered by a constant gradient
                of one.
        """
        return {}

    @abstractmethod
    def aggregate(
        self, weights: Mapping[str, np.ndarray], contributions: Sequence[Contribution], state: State, total: int
    ) -> Weights:
        """The next global model.

        Args:
            weights: the present one, float32.
            contributions: of the round's participants, in participant order.
            state: the coordinator's; entries ``strategy.*`` may be replaced.
            total: segments of all participants, in this round or not.
        """


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "clap_vad.federation.strategies")


def make_strategy(name: str, options: Mapping[str, Any]) -> Strategy:
    """The strategy ``name`` with these settings; raises :class:`ClapError` for an unknown setting."""
    return make_with_settings("strategy", name, STRATEGIES[name], options)
