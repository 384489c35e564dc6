"""Corrections that a federated strategy adds to local steps, against client drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Correction"]


@dataclass(frozen=True)
class Correction:
    """A correction of local steps that any optimiser can apply.

    Attributes:
        proximal: mu of ``(mu / 2) |w - w_global|^2``, which is added to the loss (FedProx); 0 for none.
        offset: one array per weight, added to the gradient of every step (SCAFFOLD: ``c - c_p``); None for none.
    """

    proximal: float = 0.0
    offset: Mapping[str, np.ndarray] | None = None

    def offsets(self) -> dict[str, torch.Tensor]:
        """The offset as tensors; empty if there is none."""
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in (self.offset or {}).items()}

    def pull(self, lr: float) -> float:
        """Fraction by which an SGD step moves the weights back to the global ones: ``lr mu / (1 + lr mu)``.

        This implicit form takes the gradient ``mu (w - w_global)`` at the end of the step. It equals the explicit form
        to first order in ``lr mu`` and is stable for every mu: for mu -> infinity the weights stay at the global ones,
        while the explicit step diverges for ``lr mu > 2``.

        Args:
            lr: learning rate of the step; ``lr / (1 - m)`` with momentum m.

        >>> Correction(proximal=1.0).pull(1.0), Correction(proximal=float("inf")).pull(0.01)
        (0.5, 1.0)
        """
        return 1.0 - 1.0 / (1.0 + lr * self.proximal)
