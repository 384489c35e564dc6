"""``clap federation local``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ..datasets.dataset import Dataset
from ..deployment.local import local_federation
from ..deployment.signals import until_stopped
from ..deployment.train import train_deployed
from .command import Output, command
from .run_options import run_options
from .setting_options import setting_options
from .tables import metrics_table
from .terminals import log

__all__ = ["local"]


@command(
    "local", help="Run a coordinator and sites as real processes on this machine, from the participants of DATASET."
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--sites", type=int, default=3, help="Number of sites. [default: 3]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything.")
@click.option(
    "--train",
    "wanted",
    is_flag=True,
    help="Train over the sites into OUT/run and end. Without it, the federation stays up.",
)
@run_options("federation local", words={"protocol": "grouped-N where videos have scenes, else random-N"})
@setting_options
def local(
    dataset: Path,
    sites: int,
    out: Path,
    protocol: str | None,
    wanted: bool,
    options: dict[str, Any],
    **choices: Any,
) -> Output:
    """Parse, call, print."""
    if protocol is None:
        opened = Dataset(dataset)
        scenes = all(opened.videos[video].scene for video in opened.train_videos)
        protocol = f"{'grouped' if scenes else 'random'}-{sites}"
    with local_federation(dataset, out, protocol, choices["seed"], log) as federation:
        if wanted:
            run = out / "run"
            metrics = train_deployed(
                run, coordinator=federation.coordinator, sites=list(federation.sites), dataset=dataset,
                **choices, **options,
            )  # fmt: skip
            return Output({**metrics, "run": str(run)}, metrics_table(metrics, run))
        log(f"clap train {dataset} --engine flare --coordinator {federation.coordinator} --out RUN\nCtrl-C ends it")
        with until_stopped() as stopped:
            while not stopped():
                time.sleep(0.2)
    return Output({"out": str(out), "sites": list(federation.sites), "protocol": protocol}, "ended")
