"""What every method is made of: its settings, its coordinator's steps, its site's steps, its model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..detector.model import Model
from ..federation.ask import State, Steps
from ..federation.messages import Message
from ..registry import Registry
from ..settings import make_with_settings, option
from .method_site import MethodSite
from .plan import Plan, SiteData

__all__ = ["DEFAULT_METHOD", "METHODS", "Method", "make_method", "option"]


@dataclass(frozen=True)
class Method(ABC):
    """A method: subclass it as a frozen dataclass in one file of this package and register it.

    The fields are its settings, with its own defaults.
    """

    trains_by_sgd: ClassVar[bool] = True
    """Whether its sites train by SGD; some strategies can work with nothing else."""

    aggregates_updates: ClassVar[bool] = True
    """Whether a strategy aggregates what its sites train; others add up sums and have no use for one."""

    judges_each_round: ClassVar[bool] = True
    """Whether there is a model to judge videos by after every round."""

    labels_by_training: ClassVar[bool] = False
    """Whether what it takes its segments for comes of its rounds, and not before them."""

    personalises: ClassVar[bool] = False
    """Whether a site adapts the model to what it holds itself."""

    follows_segments: ClassVar[bool] = False
    """Whether it judges by how a video's segments change. It learns little from single persons or objects."""

    private_units: ClassVar[tuple[str, ...]] = ("video",)
    """What its form under differential privacy, if it has one, can hide one of."""

    @property
    def epochs_per_round(self) -> int:
        """Passes over a site's segments in a round."""
        return 1

    def sums_only(self) -> bool:
        """Whether its coordinator needs nothing of a site but sums over all, as secure aggregation demands."""
        return True

    def private_statistics(self) -> int:
        """How many noisy statistics its sites release under differential privacy, beside training; 0 for no such form.

        Under ``plan.spec.privacy`` its sites' steps then reply with schemas that are noised or bare, and nothing else.
        """
        return 0

    def private_rounds(self, rounds: int) -> int:
        """How many noisy releases its training makes in so many rounds."""
        return rounds

    def usual_rounds(self, unit: str | None) -> int:
        """Rounds where nobody says how many, under differential privacy of this unit, or without."""
        return 20 if unit is None else 100

    @abstractmethod
    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """The coordinator's side. Must go on from whatever ``state`` it is given; ``log`` takes one record a round."""

    @abstractmethod
    def site(self, plan: Plan, data: SiteData) -> MethodSite:
        """The site's side."""

    @abstractmethod
    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """The model of all sites that the coordinator's state holds, with this description."""

    @abstractmethod
    def final_question(self, state: State) -> Message:
        """What a site must be told, beside what it knows, to judge videos by the final model."""


DEFAULT_METHOD = "comet"
"""What is taken where nobody chooses: the best without labels of those measured, see ``docs/methods/comet.md``."""

METHODS: Registry[type[Method]] = Registry("method", "clap_vad.algorithms")


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """The method ``name`` with these settings; raises :class:`ClapError` for one it does not have.

    >>> make_method("clap", {"lr": 0.1}).lr
    0.1
    """
    return make_with_settings("method", name, METHODS[name], options)
