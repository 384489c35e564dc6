"""The interface of a method: settings, steps of coordinator and site, model."""

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

    The fields are its settings, with defaults.
    """

    trains_by_sgd: ClassVar[bool] = True
    """True if sites train by SGD; some strategies require it."""

    aggregates_updates: ClassVar[bool] = True
    """True if a strategy aggregates the sites' updates; methods based on sums use no strategy."""

    scores_each_round: ClassVar[bool] = True
    """True if every round gives a model that can score videos."""

    labels_by_training: ClassVar[bool] = False
    """True if pseudo-labels are produced during training, not before it."""

    personalises: ClassVar[bool] = False
    """True if sites personalise the model with their own data."""

    follows_segments: ClassVar[bool] = False
    """True if it scores changes between a video's segments; it then learns little from single persons or objects."""

    private_units: ClassVar[tuple[str, ...]] = ("video",)
    """Privacy units that it supports under differential privacy, if any."""

    @property
    def epochs_per_round(self) -> int:
        """Local epochs per round."""
        return 1

    def sums_only(self) -> bool:
        """True if the coordinator needs only sums over sites, as secure aggregation requires."""
        return True

    def private_statistics(self) -> int:
        """Number of noisy statistics that sites release besides training; 0 if differential privacy is unsupported.

        With ``plan.spec.privacy`` all replies of its sites then have schemas with noise or without data.
        """
        return 0

    def private_rounds(self, rounds: int) -> int:
        """Number of noisy releases of its training in so many rounds."""
        return rounds

    def usual_rounds(self, unit: str | None) -> int:
        """Default number of rounds, with this privacy unit or (None) without differential privacy."""
        return 20 if unit is None else 100

    @abstractmethod
    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """The coordinator's side. It must resume from any ``state``; ``log`` takes one record per round."""

    @abstractmethod
    def site(self, plan: Plan, data: SiteData) -> MethodSite:
        """The site's side."""

    @abstractmethod
    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """The common model in the coordinator's state, with this description."""

    @abstractmethod
    def final_question(self, state: State) -> Message:
        """What a site needs, in addition to its own state, to score videos with the final model."""


DEFAULT_METHOD = "comet"
"""Default: the best of the measured methods without labels, see ``docs/methods/comet.md``."""

METHODS: Registry[type[Method]] = Registry("method", "clap_vad.algorithms")


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """The method ``name`` with these settings; raises :class:`ClapError` for an unknown setting.

    >>> make_method("clap", {"lr": 0.1}).lr
    0.1
    """
    return make_with_settings("method", name, METHODS[name], options)
