"""``clap train``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.core import ParameterSource

from ..algorithms.method import METHODS
from ..errors import ClapError
from ..federation.encoding import UPDATE_ENCODINGS
from ..federation.strategy import STRATEGIES
from ..workflows import train as workflow
from ..workflows.choices import NORMALISE, SETTINGS, SUPERVISIONS
from ..workflows.configuration import RunConfig
from .command import Output, command, say
from .privacy_options import privacy_options
from .setting_options import METHOD_HELP, labelled_option, setting_options
from .tables import metrics_table

__all__ = ["train", "train_options"]


ENGINES = ("inprocess", "flare")


def train_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The choices that every engine knows."""
    function = privacy_options(function)
    for option in reversed(
        [
            click.option(
                "--method",
                type=click.Choice(METHODS.names()),
                help=METHOD_HELP,
            ),
            click.option("--supervision", type=click.Choice(SUPERVISIONS), default="us", show_default=True),
            click.option("--strategy", type=click.Choice(STRATEGIES.names()), default="fedavg", show_default=True),
            click.option("--seed", type=int, default=0, show_default=True),
            click.option(
                "--threads",
                type=int,
                default=0,
                help="Threads of a step; they decide bits [1 or 2 by the features' width].",
            ),
            click.option("--normalise", type=click.Choice(NORMALISE), default="auto", show_default=True),
            click.option(
                "--fraction", type=float, default=1.0, show_default=True, help="Part of the participants in a round."
            ),
            click.option(
                "--stragglers",
                type=float,
                default=0.0,
                show_default=True,
                help="Probability of fewer local epochs (simulated).",
            ),
            labelled_option,
            click.option(
                "--secure-aggregation", is_flag=True, help="Nothing of one participant is seen, only sums over all."
            ),
            click.option(
                "--update-encoding",
                type=click.Choice(UPDATE_ENCODINGS),
                default="float32",
                show_default=True,
                help="int8: updates leave a participant in 8 bits, from the second round on.",
            ),
            click.option("--test-each-round", is_flag=True, help="Evaluate after every round too, into rounds.jsonl."),
            click.option(
                "--min-sites", type=int, default=0, help="flare: replies that a step needs at least  [default: all]."
            ),
            click.option(
                "--deadline",
                type=float,
                default=600.0,
                show_default=True,
                help="flare: seconds that a step waits for sites at most.",
            ),
        ]
    ):
        function = option(function)
    return function


@command("train", help="Train a model on DATASET and evaluate it; killed runs go on with --resume RUN.")
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make.")
@click.option("--resume", "run", type=click.Path(path_type=Path), help="Go on with this run; no other arguments.")
@click.option("--like", type=click.Path(path_type=Path), help="Train anew as this run, with --without and --out alone.")
@click.option("--without", default="", help="Participants or sites that have no part, comma-separated.")
@click.option("--setting", type=click.Choice(SETTINGS), default="collaborative", show_default=True)
@click.option("--protocol", help="Who holds what [scene where videos have scenes, else random].")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="inprocess",
    show_default=True,
    help="flare: over sites of other organisations, through this machine's coordinator.",
)
@click.option(
    "--coordinator",
    type=click.Path(path_type=Path),
    default="clap-coordinator",
    show_default=True,
    help="flare: the coordinator's folder.",
)
@click.option("--sites", default="", help="flare: names, comma-separated  [default: all approved sites].")
@train_options
@setting_options
def train(
    dataset: Path | None,
    out: Path | None,
    run: Path | None,
    like: Path | None,
    without: str,
    setting: str,
    protocol: str | None,
    engine: str,
    coordinator: Path,
    sites: str,
    min_sites: int,
    deadline: float,
    options: dict[str, Any],
    **choices: Any,
) -> Output:
    """Parse, call, print."""
    left_out = [name.strip() for name in without.split(",") if name.strip()]
    if run is not None:
        _refuse_choices_beside("resume", "run")
        metrics = _resume(run)
    elif like is not None:
        _refuse_choices_beside("like", "like", "without", "out")
        if out is None:
            raise ClapError("give --out RUN too, the run folder to make")
        again = workflow.train_like if RunConfig.read(like).engine == "inprocess" else _deployment().train_deployed_like
        metrics = again(like, out, without=left_out)
    elif engine == "flare":
        _refuse("flare", setting="collaborative", protocol=None)
        if out is None:
            raise ClapError("give --out RUN, or --resume RUN")
        train_deployed = _deployment().train_deployed
        names = [name.strip() for name in sites.split(",") if name.strip()]
        waiting: dict[str, Any] = {"min_sites": min_sites, "deadline": deadline}
        metrics = train_deployed(
            out,
            coordinator=coordinator,
            sites=names,
            without=left_out,
            dataset=dataset,
            **waiting,
            **choices,
            **options,
        )
    elif dataset is None or out is None:
        raise ClapError("give a DATASET and --out RUN, or --resume RUN")
    else:
        _refuse("inprocess", coordinator=None, sites=None, min_sites=None, deadline=None)
        metrics = workflow.train(
            dataset, out, setting=setting, protocol=protocol, without=left_out, **choices, **options
        )
    if out_of_run := metrics.get("left_out"):
        told = "; ".join(f"{name}: {why}" for name, why in out_of_run.items())
        say(f"left out of the run, for what they sent cannot be true: {told}")
    for remark in metrics.get("remarks", []):
        say(remark)
    return Output({**metrics, "run": str(run or out)}, metrics_table(metrics, run or out))


def _resume(run: Path) -> dict[str, Any]:
    if RunConfig.read(run).engine == "inprocess":
        return workflow.resume(run)
    resumed: dict[str, Any] = _deployment().resume_deployed(run)
    return resumed


def _deployment() -> ModuleType:
    """What only an install with the extra 'deploy' has."""
    try:
        return importlib.import_module("clap_vad.deployment.train")
    except ModuleNotFoundError as missing:
        raise ClapError(f"{missing.name} is not installed; pip install 'clap-vad[deploy]'") from None


def _refuse(engine: str, **useless: Any) -> None:
    """Refuse options that mean nothing to an engine, but at the value that they have there."""
    context = click.get_current_context()
    for name, value in useless.items():
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE and context.params[name] != value:
            raise ClapError(f"--{name.replace('_', '-')} is not for --engine {engine}; leave it out")


def _refuse_choices_beside(option: str, *known: str) -> None:
    """Refuse all that an option which takes a run's choices from its folder leaves no room for."""
    context = click.get_current_context()
    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        and name not in (*known, "as_json", "debug")
    ]
    if given:
        taken = "".join(f", --{name}" for name in known[1:])
        raise ClapError(
            f"--{option} takes the run folder{taken} and no other arguments ({', '.join(sorted(given))} given)"
        )
