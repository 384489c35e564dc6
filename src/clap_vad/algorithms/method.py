"""What every method is made of: its settings, its coordinator's steps, its site's steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..detector.training import SgdSettings
from ..errors import ClapError
from ..federation.ask import State, Steps
from ..registry import Registry
from ..settings import check_settings, make_with_settings, option
from .plan import Plan, SiteData
from .site import DetectorSite

__all__ = ["METHODS", "Method", "make_method", "option"]


@dataclass(frozen=True)
class Method(ABC):
    """A method: subclass it as a frozen dataclass in one file of this package and register it.

    The fields are its settings, with its own defaults; those below are common to all methods.
    """

    trains_by_sgd: ClassVar[bool] = True
    """Whether its sites train by SGD; some strategies can work with nothing else."""

    lr: float = option(0.01, "learning rate of local SGD")
    momentum: float = option(0.0, "momentum of local SGD")
    nesterov: str = option("off", "Nesterov's form of momentum", ("on", "off"))
    weight_decay: float = option(0.0, "L2 coefficient of local SGD")
    batch_size: int = option(128, "segments per step")
    min_steps: int = option(16, "steps per epoch at least: a small site takes smaller batches; 0 turns it off")
    local_epochs: int = option(1, "passes over a site's segments per round")
    crops: int = option(0, "crops of a segment that a site looks at as it trains, drawn anew each time; 0 for all")
    epoch_share: float = option(1.0, "part of a site's segments that an epoch visits, drawn anew each epoch")
    lr_milestones: str = option("", "epochs, comma-separated, at which the learning rate falls to a tenth")

    def __post_init__(self) -> None:
        """Raise :class:`ClapError` for a setting outside its range."""
        check_settings(self)
        if not self.lr > 0 or not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ClapError("--lr must be above 0, --momentum in [0, 1), --weight-decay at least 0")
        if self.batch_size < 1 or self.local_epochs < 1 or self.min_steps < 0:
            raise ClapError("--batch-size and --local-epochs must be at least 1, --min-steps at least 0")
        if self.crops < 0 or not 0 < self.epoch_share <= 1:
            raise ClapError("--crops must be at least 0, --epoch-share above 0 and at most 1")
        self.milestones()

    def milestones(self) -> tuple[int, ...]:
        """``lr_milestones`` as numbers."""
        texts = [text.strip() for text in self.lr_milestones.split(",") if text.strip()]
        if not all(text.isascii() and text.isdigit() for text in texts):
            raise ClapError(f"--lr-milestones is {self.lr_milestones!r}; whole numbers like '15,25' are needed")
        return tuple(map(int, texts))

    def sgd(self) -> SgdSettings:
        """Optimiser settings of a round."""
        return SgdSettings(
            lr=(self.lr,) * self.local_epochs,
            momentum=self.momentum,
            nesterov=self.nesterov == "on",
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            min_steps=self.min_steps,
            crops=self.crops,
            epoch_share=self.epoch_share,
        )

    def sums_only(self) -> bool:
        """Whether its coordinator needs nothing of a site but sums over all, as secure aggregation demands."""
        return True

    def private_statistics(self) -> int:
        """How many noisy statistics its sites release under differential privacy, beside training; 0 for no such form.

        Under ``plan.privacy`` its sites' steps then reply with schemas that are noised or bare, and nothing else.
        """
        return 0

    @abstractmethod
    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """The coordinator's side. Must go on from whatever ``state`` it is given; ``log`` takes one record a round."""

    @abstractmethod
    def site(self, plan: Plan, data: SiteData) -> DetectorSite:
        """The site's side."""


METHODS: Registry[type[Method]] = Registry("method", "clap_vad.algorithms")


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """The method ``name`` with these settings; raises :class:`ClapError` for one it does not have.

    >>> make_method("clap", {"lr": 0.1}).lr
    0.1
    """
    return make_with_settings("method", name, METHODS[name], options)
