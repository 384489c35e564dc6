"""What every method is made of: its settings, its coordinator's steps, its site's steps."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..detector.training import SgdSettings
from ..errors import ClapError
from ..federation.ask import State, Steps
from ..federation.strategy import Strategy
from ..registry import Registry
from .plan import Plan, SiteData
from .site import DetectorSite

__all__ = ["METHODS", "Method", "make_method", "option"]


def option(default: Any, help: str, choices: Sequence[str] = ()) -> Any:
    """A setting of a method; it becomes an option of ``clap train`` of the same name."""
    return field(default=default, metadata={"help": help, "choices": tuple(choices)})


@dataclass(frozen=True)
class Method(ABC):
    """A method: subclass it as a frozen dataclass in one file of this package and register it.

    The fields are its settings, with its own defaults; those below are common to all methods.
    """

    lr: float = option(0.01, "learning rate of local SGD")
    momentum: float = option(0.0, "momentum of local SGD")
    weight_decay: float = option(0.0, "L2 coefficient of local SGD")
    batch_size: int = option(128, "segments per step")
    min_steps: int = option(16, "steps per epoch at least: a small site takes smaller batches; 0 turns it off")
    local_epochs: int = option(1, "passes over a site's segments per round")
    lr_milestones: str = option("", "epochs, comma-separated, at which the learning rate falls to a tenth")

    def __post_init__(self) -> None:
        """Raise :class:`ClapError` for a setting outside its range."""
        for f in dataclasses.fields(self):
            flag, value, choices = f.name.replace("_", "-"), getattr(self, f.name), f.metadata.get("choices")
            if choices and value not in choices:
                raise ClapError(f"--{flag} is {value!r}; one of {', '.join(choices)} is needed")
            if isinstance(value, float) and not math.isfinite(value):
                raise ClapError(f"--{flag} is {value}; a finite number is needed")
        if not self.lr > 0 or not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ClapError("--lr must be above 0, --momentum in [0, 1), --weight-decay at least 0")
        if self.batch_size < 1 or self.local_epochs < 1 or self.min_steps < 0:
            raise ClapError("--batch-size and --local-epochs must be at least 1, --min-steps at least 0")
        self.milestones()

    def milestones(self) -> tuple[int, ...]:
        """``lr_milestones`` as numbers."""
        texts = [text.strip() for text in self.lr_milestones.split(",") if text.strip()]
        if not all(text.isascii() and text.isdigit() for text in texts):
            raise ClapError(f"--lr-milestones is {self.lr_milestones!r}; whole numbers like '15,25' are needed")
        return tuple(map(int, texts))

    def sgd(self) -> SgdSettings:
        """Optimiser settings of a round."""
        rates = (self.lr,) * self.local_epochs
        return SgdSettings(rates, self.momentum, self.weight_decay, self.batch_size, self.min_steps)

    @abstractmethod
    def coordinate(self, plan: Plan, strategy: Strategy, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """The coordinator's side. Must go on from whatever ``state`` it is given; ``log`` takes one record a round."""

    @abstractmethod
    def site(self, plan: Plan, data: SiteData) -> DetectorSite:
        """The site's side."""


METHODS: Registry[type[Method]] = Registry("method", "clap_vad.algorithms")


def make_method(name: str, options: dict[str, Any]) -> Method:
    """The method ``name`` with these settings; raises :class:`ClapError` for one it does not have.

    >>> make_method("clap", {"lr": 0.1}).lr
    0.1
    """
    cls = METHODS[name]
    known = {f.name for f in dataclasses.fields(cls)}
    for key in options:
        if key not in known:
            raise ClapError(f"method '{name}' has no setting '{key}'; it has {', '.join(sorted(known))}")
    return cls(**options)
