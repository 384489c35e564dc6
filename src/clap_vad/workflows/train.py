"""``clap train``: from a dataset to a model, its scores and its metrics."""

from __future__ import annotations

import dataclasses
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
from .choices import chosen_method
from .configuration import RunConfig, check_test_videos
from .finish import finish, finished, test_round
from .privacy_terms import Privacy

__all__ = ["check_free", "resume", "train", "train_like"]


def train(
    dataset: Path,
    out: Path,
    *,
    method: str | None = None,
    setting: str = "collaborative",
    supervision: str = "us",
    strategy: str = "fedavg",
    protocol: str | None = None,
    rounds: int | None = None,
    seed: int = 0,
    threads: int = 0,
    normalise: str = "auto",
    fraction: float = 1.0,
    stragglers: float = 0.0,
    labelled_participants: float = 0.3,
    test_each_round: bool = False,
    secure_aggregation: bool = False,
    privacy: Privacy | None = None,
    update_encoding: str = "float32",
    without: Sequence[str] = (),
    baselines: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train and evaluate; the run can be killed at any moment and taken up by :func:`resume`.

    Args:
        dataset: dataset folder.
        out: run folder to make.
        method: a registered method; None for the default, or ``clap`` where another choice asks for sites that train.
        setting: ``centralized``, ``local`` or ``collaborative``.
        supervision: ``us`` (no labels are read), ``ws`` (a label per training video) or ``mixed`` (some participants
            have labels, the others none).
        strategy: a registered aggregation strategy; ignored but for setting collaborative, which alone aggregates.
        protocol: name of a file in ``participants/``, made where it can be derived; by default ``scene`` where the
            videos have scenes, else ``random``. Ignored for centralized, but for whose videos ``mixed`` labels.
        rounds: rounds of training; None for what is usual for the method.
        seed: of initial weights, shuffling and dropout.
        threads: processor threads of a site's step; part of the result's identity, so 0 takes 1 or 2 by the width of
            the features and never by the machine.
        normalise: ``none``, ``federated``, or ``auto`` for what the features' extractor asks for.
        fraction: part of the participants, drawn anew, that takes part in each round.
        stragglers: probability that a participant does fewer local epochs in a round, at least one (simulated).
        labelled_participants: part of the participants that has labels under ``mixed``.
        test_each_round: evaluate the global model after every round too, into ``rounds.jsonl``; ``metrics.json`` then
            also names the round that is best on the test labels, as releases select it: never the result.
        secure_aggregation: let nothing that depends on videos leave a participant but under masks that cancel in the
            sum over all.
        privacy: the differential privacy that is asked for; None for what the method has by default (COMET hides any
            one crop, others nothing).
        update_encoding: ``int8`` lets updates leave participants in 8 bits instead of 32, from the second round on.
        without: participants of the protocol that have no part in the run.
        baselines: what :func:`~clap_vad.evaluation.baseline.baseline_table` gives for this dataset, where it is known
            already; they depend on nothing else.
        options: settings of the method and of the strategy.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input and an ``out`` that holds a run.
    """
    check_free(out)
    opened = Dataset(dataset)
    check_test_videos(opened)
    config = RunConfig.make(
        opened,
        method=chosen_method(
            method,
            strategy,
            options,
            update_encoding=update_encoding,
            stragglers=stragglers,
            test_each_round=test_each_round,
        ),
        setting=setting,
        supervision=supervision,
        strategy=strategy,
        protocol=protocol,
        rounds=rounds,
        seed=seed,
        threads=threads,
        normalise=normalise,
        options=options,
        fraction=fraction,
        stragglers=stragglers,
        labelled_participants=labelled_participants,
        test_each_round=test_each_round,
        secure_aggregation=secure_aggregation,
        privacy=privacy,
        update_encoding=update_encoding,
        without=without,
    )
    return _begin(out, config, baselines)


def train_like(run: Path, out: Path, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Train anew as another run was, with the same seed and without some of its participants.

    The model is that of a run which never had them, bit for bit, but for noise that nobody can draw again: that of
    differential privacy without a seed.

    Args:
        run: folder of the other run; its choices are taken over.
        out: run folder to make.
        without: participants that have no part.

    Returns:
        As :func:`train`.
    """
    check_free(out)
    config = RunConfig.read(run).leaving_out(without)
    check_test_videos(Dataset(Path(config.dataset)))
    return _begin(out, config, None)


def resume(run: Path, *, baselines: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Take up a run where its last checkpoint left it; a finished one returns its metrics.

    The model is the same, bit for bit, as that of an undisturbed run; ``baselines`` as for :func:`train`. Raises
    :class:`ClapError` where there is no run, another process is at work on it, or what it was trained on has changed.
    """
    RunConfig.read(run)
    with locked_folder(run):
        return _go_on(run, baselines)


def check_free(out: Path) -> None:
    """Refuse a place that holds anything; hidden files are what a kill left of a run that had not begun."""
    if (out / "config.json").exists():
        raise ClapError(f"{out}: holds a run already; go on with 'clap train --resume {out}' or choose another --out")
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise ClapError(f"{out}: is not empty; choose another --out")


def _begin(out: Path, config: RunConfig, baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        check_free(out)
        write_json(out / "config.json", dataclasses.asdict(config))
        return _go_on(out, baselines)


def _go_on(run: Path, baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    started = time.perf_counter()
    config = RunConfig.read(run)
    if (metrics := finished(run)) is not None:
        return metrics
    resumed = (run / "checkpoints").exists() or (run / "participants").exists()
    opened = config.open()
    dataset, participants = opened.dataset, opened.participants
    if config.setting == "local":
        shares = {run / "participants" / name: {name: videos} for name, videos in participants.items()}
    else:
        shares = {run: participants}
    states, personalised = {}, {}
    with progress_bar(
        "training", config.rounds * sum(opened.plan.spec.per_round(len(p)) for p in shares.values())
    ) as advance:

        def on_reply(ask: Ask, participant: str) -> None:
            if "round" in ask.payload:
                advance(1, note=f"round {ask.payload['round']}, {participant}")

        on_round = partial(test_round, config, opened.method, opened.plan, dataset)
        for folder, held in shares.items():
            federation = opened.federation(folder, held)
            states[folder] = federation.run(on_reply, on_round)
            personalised[folder] = federation.personalised(states[folder])
    return finish(
        run,
        config,
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
