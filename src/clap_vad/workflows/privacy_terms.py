"""Differential privacy of a run: what is asked for, the terms that follow, what ``metrics.json`` says of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..algorithms.method import Method
from ..core.statistics.accounting import Terms, calibrated, epsilon_of
from ..errors import ClapError
from ..federation.strategy import Strategy

__all__ = ["Privacy", "default_privacy", "privacy_figures"]

_OF_LOCAL_STEPS = ("lr", "nesterov", "weight_decay", "min_steps", "epoch_share", "lr_milestones", "density")
_SPARE = 2
"""Repeats that the terms of a run over real sites leave room for: a site may vanish within a masked sum."""


@dataclass(frozen=True)
class Privacy:
    """What is asked for.

    Attributes:
        epsilon: infinity for clipping and sampling without noise, to compare with.
        delta, clip, sampling, lr, seed: as in :class:`~clap_vad.core.statistics.accounting.Terms`.
        repeats: whether sums may have to be asked again with new noise.
        unit: ``video`` or ``crop``.
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 1.0
    sampling: float = 0.5
    lr: float = 0.1
    seed: int | None = None
    repeats: bool = False
    unit: str = "video"

    def terms(
        self,
        method: Method,
        strategy: Strategy,
        *,
        rounds: int,
        normalise: str,
        update_encoding: str,
        stragglers: float,
    ) -> Terms:
        """The terms of a run; raises :class:`ClapError` for one that cannot keep a promise."""
        statistics = method.private_statistics()
        if not statistics:
            raise ClapError(
                "--dp: with this method and these settings one video can move more than its noise covers; train with "
                "--method comet, or --method clap --segregation federated (and --refine-model, --refine-mode at their "
                "defaults)"
            )
        if self.unit not in method.private_units:
            raise ClapError(f"--dp {self.unit}: this method can promise it for a {' or '.join(method.private_units)}")
        local = type(strategy).correction is not Strategy.correction
        if strategy.needs_each or local:
            raise ClapError(
                "--dp: this strategy needs updates one by one, or several local steps; choose fedavg, fedavgm, fedadam "
                "or fedyogi"
            )
        if normalise == "none" and method.trains_by_sgd:
            raise ClapError("--dp: bounds are in standardised units; leave --normalise at auto or federated")
        if update_encoding != "float32":
            raise ClapError("--dp: noisy sums leave as they are, leave out --update-encoding")
        if stragglers:
            raise ClapError("--dp: a round is one step, so nobody does fewer epochs; leave out --stragglers")
        for field in dataclasses.fields(method):
            if field.name in _OF_LOCAL_STEPS and getattr(method, field.name) != field.default:
                flag = field.name.replace("_", "-")
                raise ClapError(
                    f"--dp: a round is one step over all sites, for which --{flag} means nothing; leave it out"
                )
        spare = _SPARE if self.repeats else 0
        return calibrated(
            self.epsilon,
            self.delta,
            clip=self.clip,
            sampling=self.sampling if method.trains_by_sgd else 1.0,
            lr=self.lr,
            statistics=statistics,
            rounds=method.private_rounds(rounds),
            spare=spare,
            seed=self.seed,
            unit=self.unit,
        )


_CROP_EPSILON, _CROP_DELTA = 8.0, 1e-6


def default_privacy(method: Method, setting: str, seed: int | None) -> Privacy | None:
    """What a run promises where nobody asks for anything; None for nothing.

    A method whose exact sums would open single crops (COMET) has noise that hides any one. In a setting in which
    nothing leaves a participant it bounds what it adds up, without noise.

    Args:
        method, setting: of the run.
        seed: of the noise, in a simulation, where one process holds all data and results are to be repeatable.
    """
    if "crop" not in method.private_units:
        return None
    epsilon = _CROP_EPSILON if setting == "collaborative" else math.inf
    return Privacy(epsilon, _CROP_DELTA, seed=seed, unit="crop")


def privacy_figures(privacy: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Entries of ``metrics.json`` for terms as ``config.json`` has them; nothing without differential privacy."""
    if not privacy:
        return {}
    terms = Terms(**privacy)
    if setting != "collaborative" and terms.epsilon is None:
        return {}  # nothing left a participant, and nothing was promised
    spent = None if terms.epsilon is None else round(epsilon_of(terms), 6)
    return {
        "privacy": {
            "unit": terms.unit,
            "epsilon": spent,
            "delta": terms.delta,
            "promised": terms.epsilon,
            "noise_statistics": terms.noise_statistics,
            "noise_training": terms.noise_training,
            "clip": terms.clip,
            "sampling": terms.sampling,
            "lr": terms.lr,
            "seeded": terms.seed is not None,
        }
    }
