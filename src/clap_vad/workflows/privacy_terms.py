"""Differential privacy of a run: its terms, and its entries in ``metrics.json``."""

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
"""Repeated sums that the terms of a run over real sites include: a site may drop out of a masked sum."""


def terms_of(
    privacy: Privacy, asked: RunOptions, method: Method, strategy: Strategy, *, rounds: int, repeats: bool = False
) -> Terms:
    """The terms of a run; raises :class:`ClapError` for options that exclude differential privacy.

    Args:
        privacy: the requested privacy, or the method's default.
        asked: the run's other options.
        method, strategy: of the run, with their settings.
        rounds: of the run.
        repeats: True if sums may have to be repeated with new noise.
    """
    statistics = method.private_statistics()
    if not statistics:
        raise ClapError(
            "--dp: with this method and these settings the effect of one video is not bounded; train with "
            "--method comet, or --method clap --segregation federated (and --refine-model, --refine-mode at their "
            "defaults)"
        )
    if privacy.unit not in method.private_units:
        raise ClapError(f"--dp {privacy.unit}: this method supports the unit {' or '.join(method.private_units)}")
    local = type(strategy).correction is not Strategy.correction
    if strategy.needs_each or local:
        raise ClapError(
            "--dp: this strategy needs single updates, or several local steps; choose fedavg, fedavgm, fedadam or "
            "fedyogi"
        )
    if asked.normalise == "none" and method.trains_by_sgd:
        raise ClapError("--dp: bounds apply to standardised features; leave --normalise at auto or federated")
    if asked.update_encoding != "float32":
        raise ClapError("--dp: noisy sums are sent unencoded; leave out --update-encoding")
    if asked.stragglers:
        raise ClapError("--dp: a round is one step, so no site can do fewer epochs; leave out --stragglers")
    for field in dataclasses.fields(method):
        if field.name in _OF_LOCAL_STEPS and getattr(method, field.name) != field.default:
            flag = field.name.replace("_", "-")
            raise ClapError(f"--dp: a round is one step over all sites, so --{flag} has no effect; leave it out")
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
    """The privacy of a run without the option ``--dp``; None for no differential privacy.

    A method whose exact sums could expose single crops (COMET) adds noise that hides each of them. In a setting in
    which nothing leaves a participant it bounds its sums, without noise.

    Args:
        method, setting: of the run.
        seed: of the noise, for repeatable results in one process; None for secret noise.
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
        return {}  # nothing left a participant, so there is nothing to report
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
