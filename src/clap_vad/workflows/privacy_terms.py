"""Differential privacy of a run: the terms that follow from what is asked for, what ``metrics.json`` says of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..algorithms.method import Method
from ..core.statistics.accounting import Terms, calibrated, epsilon_of
from ..errors import ClapError
from ..federation.strategy import Strategy
from ..specification.run import Privacy, RunOptions

__all__ = ["default_privacy", "privacy_figures", "terms_of"]

_OF_LOCAL_STEPS = ("lr", "nesterov", "weight_decay", "min_steps", "epoch_share", "lr_milestones", "density")
_SPARE = 2
"""Repeats that the terms of a run over real sites leave room for: a site may vanish within a masked sum."""


def terms_of(
    privacy: Privacy, asked: RunOptions, method: Method, strategy: Strategy, *, rounds: int, repeats: bool = False
) -> Terms:
    """The terms of a run; raises :class:`ClapError` for one that cannot keep a promise.

    Args:
        privacy: what is asked for, or what the method has by default.
        asked: the run's other options.
        method, strategy: of the run, with their settings.
        rounds: of the run.
        repeats: whether sums may have to be asked again with new noise.
    """
    statistics = method.private_statistics()
    if not statistics:
        raise ClapError(
            "--dp: with this method and these settings one video can move more than its noise covers; train with "
            "--method comet, or --method clap --segregation federated (and --refine-model, --refine-mode at their "
            "defaults)"
        )
    if privacy.unit not in method.private_units:
        raise ClapError(f"--dp {privacy.unit}: this method can promise it for a {' or '.join(method.private_units)}")
    local = type(strategy).correction is not Strategy.correction
    if strategy.needs_each or local:
        raise ClapError(
            "--dp: this strategy needs updates one by one, or several local steps; choose fedavg, fedavgm, fedadam "
            "or fedyogi"
        )
    if asked.normalise == "none" and method.trains_by_sgd:
        raise ClapError("--dp: bounds are in standardised units; leave --normalise at auto or federated")
    if asked.update_encoding != "float32":
        raise ClapError("--dp: noisy sums leave as they are, leave out --update-encoding")
    if asked.stragglers:
        raise ClapError("--dp: a round is one step, so nobody does fewer epochs; leave out --stragglers")
    for field in dataclasses.fields(method):
        if field.name in _OF_LOCAL_STEPS and getattr(method, field.name) != field.default:
            flag = field.name.replace("_", "-")
            raise ClapError(f"--dp: a round is one step over all sites, for which --{flag} means nothing; leave it out")
    spare = _SPARE if repeats else 0
    return calibrated(
        privacy.epsilon,
        privacy.delta,
        clip=privacy.clip,
        sampling=privacy.sampling if method.trains_by_sgd else 1.0,
        lr=privacy.lr,
        statistics=statistics,
        rounds=method.private_rounds(rounds),
        spare=spare,
        seed=privacy.seed,
        unit=privacy.unit,
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


def privacy_figures(terms: Terms | None, setting: str) -> dict[str, Any]:
    """Entries of ``metrics.json`` for the terms of a run; nothing without differential privacy."""
    if terms is None:
        return {}
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
