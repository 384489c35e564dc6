"""``clap train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..algorithms.method import METHODS
from ..errors import ClapError
from ..federation.strategy import STRATEGIES
from ..workflows import train as workflow
from ..workflows.configuration import NORMALISE, SETTINGS, SUPERVISIONS
from .command import Output, command
from .setting_options import labelled_option, setting_options
from .tables import metrics_table

__all__ = ["train"]


@command("train", help="Train a model on DATASET and evaluate it; killed runs go on with --resume RUN.")
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make.")
@click.option("--resume", "run", type=click.Path(path_type=Path), help="Go on with this run; no other arguments.")
@click.option("--method", type=click.Choice(METHODS.names()), default="clap", show_default=True)
@click.option("--setting", type=click.Choice(SETTINGS), default="collaborative", show_default=True)
@click.option("--supervision", type=click.Choice(SUPERVISIONS), default="us", show_default=True)
@click.option("--strategy", type=click.Choice(STRATEGIES.names()), default="fedavg", show_default=True)
@click.option("--protocol", help="Who holds what [scene where videos have scenes, else random].")
@click.option("--rounds", type=int, default=20, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--threads", type=int, default=0, help="Threads of a step; they decide bits [1 or 2 by the features' width]."
)
@click.option("--normalise", type=click.Choice(NORMALISE), default="auto", show_default=True)
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Part of the participants in a round.")
@click.option(
    "--stragglers", type=float, default=0.0, show_default=True, help="Probability of fewer local epochs (simulated)."
)
@labelled_option
@click.option("--test-each-round", is_flag=True, help="Evaluate after every round too, into rounds.jsonl.")
@setting_options
def train(dataset: Path | None, out: Path | None, run: Path | None, options: dict[str, Any], **choices: Any) -> Output:
    """Parse, call, print."""
    if run is not None:
        _refuse_choices_beside_resume()
        metrics = workflow.resume(run)
    elif dataset is None or out is None:
        raise ClapError("give a DATASET and --out RUN, or --resume RUN")
    else:
        metrics = workflow.train(dataset, out, **choices, **options)
    return Output({**metrics, "run": str(run or out)}, metrics_table(metrics, run or out))


def _refuse_choices_beside_resume() -> None:
    context = click.get_current_context()
    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE and name not in ("run", "as_json", "debug")
    ]
    if given:
        raise ClapError(f"--resume takes the run folder and no other arguments ({', '.join(sorted(given))} given)")
