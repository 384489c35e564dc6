"""Base of the methods whose sites train the detector by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..detector.model import Model
from ..detector.models.network import NetworkModel
from ..detector.network import detector_weights
from ..detector.training import SgdSettings
from ..errors import ClapError
from ..federation.ask import State
from ..federation.messages import Message
from ..settings import check_settings
from .method import Method, option
from .plan import Plan
from .rounds import detector_question, global_weights, normaliser_of

__all__ = ["SgdMethod"]


@dataclass(frozen=True)
class SgdMethod(Method):
    """A method whose global model is the detector; these settings are common to all such methods."""

    follows_segments = True

    lr: float = option(0.01, "Learning rate of local SGD.")
    momentum: float = option(0.0, "Momentum of local SGD.")
    nesterov: str = option("off", "Use Nesterov momentum.", ("on", "off"))
    weight_decay: float = option(0.0, "L2 coefficient (weight decay) of local SGD.")
    batch_size: int = option(128, "Segments per step.")
    min_steps: int = option(16, "Least steps per epoch. A small site takes smaller batches to reach it. 0: no minimum.")
    local_epochs: int = option(1, "Passes over a site's segments per round.")
    crops: int = option(0, "Regions of a segment used in training, drawn anew each time. 0: all.")
    epoch_share: float = option(1.0, "Part of a site's segments used in an epoch, drawn anew each epoch.")
    lr_milestones: str = option("", "Epochs, comma-separated, at which the learning rate is divided by 10.")

    def __post_init__(self) -> None:
        """Raise :class:`ClapError` for a setting out of range."""
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
            raise ClapError(f"--lr-milestones is {self.lr_milestones!r}; give whole numbers like '15,25'")
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

    @property
    def epochs_per_round(self) -> int:
        return self.local_epochs

    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """The detector."""
        return NetworkModel(detector_weights(global_weights(state)), normaliser_of(state), info)

    def final_question(self, state: State) -> Message:
        """The detector's weights."""
        return detector_question(state)
