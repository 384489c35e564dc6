"""``clap train``: train a model on a dataset, score the test videos, compute metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..features.store.description import describe
from ..federation.ask import Ask
from ..persistence import locked_folder, write_json
from ..progress import progress_bar
from ..specification.reading import read_specification
from ..specification.run import RunOptions, RunSpecification, Train
from ..specification.signature import takes_options
from .finish import finish, finished, test_round
from .opening import check_test_videos, open_run
from .resolution import leaving_out, specify

__all__ = ["check_free", "resume", "train", "train_like"]


@takes_options("train")
def _train(
    dataset: Path, out: Path, *, asked: RunOptions, baselines: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train and evaluate; the run can be killed at any moment and continued by :func:`resume`.

    Args:
        dataset: dataset folder.
        out: run folder to make.
        {options}
        baselines: the result of :func:`~clap_vad.evaluation.baseline.baseline_table` for this dataset, if already
            known.
        options: settings of the method and of the strategy.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input, and if ``out`` contains a run.
    """
    check_free(out)
    opened = Dataset(dataset)
    check_test_videos(opened)
    return _begin(out, specify(opened, asked), baselines)


train: Train = _train


def train_like(run: Path, out: Path, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Repeat a run with the same seed, without some of its participants.

    The model equals, bit for bit, that of a run which never had them, except for secret noise (differential privacy
    without a seed), which cannot be repeated.

    Args:
        run: folder of the other run; its options are used.
        out: run folder to make.
        without: participants to leave out.

    Returns:
        As :func:`train`.
    """
    check_free(out)
    spec = leaving_out(read_specification(run), without)
    check_test_videos(Dataset(Path(spec.dataset)))
    return _begin(out, spec, None)


def resume(run: Path, *, baselines: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Continue a run from its last checkpoint; a finished one returns its metrics.

    The model equals, bit for bit, that of an uninterrupted run; ``baselines`` as for :func:`train`. Raises
    :class:`ClapError` if there is no run, another process works on it, or its dataset has changed.
    """
    read_specification(run)
    with locked_folder(run):
        return _go_on(run, baselines)


def check_free(out: Path) -> None:
    """Refuse an ``out`` that is not empty; hidden files may remain from a run killed before it began."""
    if (out / "config.json").exists():
        raise ClapError(f"{out}: contains a run; continue it with 'clap train --resume {out}' or choose another --out")
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise ClapError(f"{out}: is not empty; choose another --out")


def _begin(out: Path, spec: RunSpecification, baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        check_free(out)
        write_json(out / "config.json", spec.as_json())
        return _go_on(out, baselines)


def _go_on(run: Path, baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    started = time.perf_counter()
    spec = read_specification(run)
    if (metrics := finished(run)) is not None:
        return metrics
    resumed = (run / "checkpoints").exists() or (run / "participants").exists()
    opened = open_run(spec)
    dataset, participants = opened.dataset, opened.participants
    if spec.setting == "local":
        shares = {run / "participants" / name: {name: videos} for name, videos in participants.items()}
    else:
        shares = {run: participants}
    states, personalised = {}, {}
    with progress_bar("training", spec.rounds * sum(spec.per_round(len(p)) for p in shares.values())) as advance:

        def on_reply(ask: Ask, participant: str) -> None:
            if "round" in ask.payload:
                advance(1, note=f"round {ask.payload['round']}, {participant}")

        on_round = partial(test_round, spec, opened.method, opened.plan, dataset)
        for folder, held in shares.items():
            federation = opened.federation(folder, held)
            states[folder] = federation.run(on_reply, on_round)
            personalised[folder] = federation.personalised(states[folder])
    return finish(
        run,
        spec,
        states,
        method=opened.method,
        plan=opened.plan,
        personalised=personalised,
        features=describe(dataset.stores[0]),
        dataset=dataset,
        participants=len(participants),
        baselines=baselines,
        resumed=resumed,
        started=started,
    )
