"""What a federated strategy adds to a participant's local steps, so that it does not drift from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Correction"]


@dataclass(frozen=True)
class Correction:
    """A change of the local steps that any optimiser can apply.

    Attributes:
        proximal: mu of ``(mu / 2) |w - w_global|^2`` added to the loss (FedProx), 0 for none.
        offset: added to the gradient of every step, an array per weight (SCAFFOLD: ``c - c_p``); None for none.
    """

    proximal: float = 0.0
    offset: Mapping[str, np.ndarray] | None = None

    def offsets(self) -> dict[str, torch.Tensor]:
        """The offset as tensors; empty where there is none."""
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in (self.offset or {}).items()}

    def pull(self, lr: float) -> float:
        """How far a step of SGD moves the weights back to the global ones: ``lr mu / (1 + lr mu)`` of the way.

        This takes the gradient ``mu (w - w_global)`` where the step ends, not where it begins. To first order in
        ``lr mu`` that is the same, and unlike the explicit form it is stable for every mu: with mu -> infinity the
        weights stay where they are, where the explicit step diverges from ``lr mu > 2`` on.

        Args:
            lr: learning rate of the step; with momentum m, ``lr / (1 - m)``.

        >>> Correction(proximal=1.0).pull(1.0), Correction(proximal=float("inf")).pull(0.01)
        (0.5, 1.0)
        """
        return 1.0 - 1.0 / (1.0 + lr * self.proximal)
