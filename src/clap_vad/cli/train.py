"""``clap train``."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ClapError
from ..specification.choice import ENGINES, choices_of
from ..specification.reading import read_specification
from ..specification.run import RunOptions
from ..workflows import train as workflow
from .command import Output, command, say
from .run_options import RunOption, refuse_useless, run_options
from .setting_options import setting_options
from .tables import metrics_table

__all__ = ["train"]

_COORDINATOR = "clap-coordinator"


@command("train", help="Train a model on DATASET and evaluate it. --resume RUN continues a run that was stopped.")
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make.")
@click.option("--resume", "run", type=click.Path(path_type=Path), help="Continue this run. Takes no other arguments.")
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="Train again with the choices of this run. Takes only --without and --out.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    cls=RunOption,
    group="Federation",
    help=f"inprocess: simulate all participants here. flare: train over real sites, through the "
    f"coordinator on this machine. [default: {ENGINES[0]}]",
)
@click.option(
    "--coordinator",
    type=click.Path(path_type=Path),
    default=_COORDINATOR,
    cls=RunOption,
    group="Federation",
    engines=("flare",),
    help=f"flare: folder of the coordinator. [default: {_COORDINATOR}]",
)
@run_options("train")
@setting_options
def train(
    dataset: Path | None,
    out: Path | None,
    run: Path | None,
    like: Path | None,
    engine: str,
    coordinator: Path,
    options: dict[str, Any],
    **choices: Any,
) -> Output:
    """Parse, call, print."""
    if run is not None:
        _refuse_choices_beside("resume", "run")
        metrics = _resume(run)
    elif like is not None:
        _refuse_choices_beside("like", "like", "without", "out")
        if out is None:
            raise ClapError("give --out RUN too, the run folder to make")
        again = (
            workflow.train_like if read_specification(like).engine == "inprocess" else _deployment().train_deployed_like
        )
        metrics = again(like, out, without=choices["without"])
    else:
        refuse_useless(engine)
        useful = {setting.name for setting in choices_of(RunOptions, "train", engine)}
        given = {**{name: value for name, value in choices.items() if name in useful}, **options}
        if out is not None and engine == "flare":
            metrics = _deployment().train_deployed(out, coordinator=coordinator, dataset=dataset, **given)
        elif out is None or dataset is None:
            raise ClapError("give a DATASET and --out RUN, or --resume RUN")
        else:
            metrics = workflow.train(dataset, out, **given)
    if out_of_run := metrics.get("left_out"):
        reasons = "; ".join(f"{name}: {why}" for name, why in out_of_run.items())
        say(f"left out of the run, because they sent impossible values: {reasons}")
    for remark in metrics.get("remarks", []):
        say(remark)
    return Output({**metrics, "run": str(run or out)}, metrics_table(metrics, run or out))


def _resume(run: Path) -> dict[str, Any]:
    if read_specification(run).engine == "inprocess":
        return workflow.resume(run)
    resumed: dict[str, Any] = _deployment().resume_deployed(run)
    return resumed


def _deployment() -> ModuleType:
    """The module that needs the extra 'deploy'."""
    try:
        return importlib.import_module("clap_vad.deployment.train")
    except ModuleNotFoundError as missing:
        raise ClapError(f"{missing.name} is not installed; pip install 'clap-vad[deploy]'") from None


def _refuse_choices_beside(option: str, *known: str) -> None:
    """Refuse options that conflict with an option that takes all choices from a run's folder."""
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
