"""Options of differential privacy; they arrive together as ``privacy``, and decide how many rounds are usual."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import click

from ..core.statistics.accounting import UNITS
from ..errors import ClapError
from ..workflows.privacy_terms import Privacy

__all__ = ["privacy_options"]

_DEFAULTS = Privacy(math.inf)
_NAMES = ("epsilon", "delta", "dp_clip", "dp_sampling", "dp_lr", "dp_seed")


def privacy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options and ``--rounds``; the function is given ``privacy`` and ``rounds``."""

    @functools.wraps(function)
    def run(dp: str | None, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in _NAMES}
        return function(privacy=_privacy(dp, given), **arguments)

    for option in (
        click.option(
            "--rounds",
            type=int,
            help="Rounds of training. [default: 20; under --dp video 8 for comet and 100 for clap]",
        ),
        click.option(
            "--dp",
            type=click.Choice(UNITS),
            help="Differential privacy: hide any one crop or any one video. Needs --epsilon. [default: crop for comet, "
            "with epsilon 8 and delta 1e-6; none for other methods]",
        ),
        click.option("--epsilon", type=float, help="--dp: of the whole run; inf clips but adds no noise."),
        click.option("--delta", type=float, help=f"--dp: of the whole run [{_DEFAULTS.delta:g}]."),
        click.option("--dp-clip", type=float, help=f"--dp: L2 norm of a video's gradient [{_DEFAULTS.clip:g}]."),
        click.option(
            "--dp-sampling", type=float, help=f"--dp: probability of a video in a round [{_DEFAULTS.sampling:g}]."
        ),
        click.option("--dp-lr", type=float, help=f"--dp: learning rate of a round's step [{_DEFAULTS.lr:g}]."),
        click.option(
            "--dp-seed",
            type=int,
            help="--dp: repeatable noise, for experiments; whoever knows the number can take it off.",
        ),
    )[::-1]:
        run = option(run)
    return run


def _privacy(unit: str | None, given: dict[str, Any]) -> Privacy | None:
    if unit is None:
        if odd := [name for name, value in given.items() if value is not None]:
            raise ClapError(
                f"--{odd[0].replace('_', '-')} is an option of differential privacy; give --dp crop or --dp video too"
            )
        return None
    if given["epsilon"] is None:
        raise ClapError("--dp needs --epsilon, the privacy that the whole run may cost")
    chosen = {name.removeprefix("dp_"): value for name, value in given.items() if value is not None}
    return Privacy(unit=unit, **chosen)
