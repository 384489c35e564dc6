"""A run across organisations: its configuration before the sites are known, what is agreed once they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..algorithms.method import make_method
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..features.store.description import describe
from ..federation.encoding import check_update_encoding
from ..federation.strategy import make_strategy
from ..workflows.choices import check_choices, check_secure, threads_for
from ..workflows.configuration import RunConfig, check_test_videos, labelled_part, left_over
from ..workflows.privacy_terms import Privacy, default_privacy
from .agreement import Agreement

__all__ = ["agree", "config_without", "deployed_config", "test_dataset"]


def deployed_config(
    sites: Sequence[str],
    *,
    dataset: Path | None,
    method: str,
    supervision: str,
    strategy: str,
    rounds: int | None,
    seed: int,
    threads: int,
    normalise: str,
    options: Mapping[str, Any],
    fraction: float,
    stragglers: float,
    labelled_participants: float,
    test_each_round: bool,
    min_sites: int,
    deadline: float,
    secure_aggregation: bool,
    privacy: Privacy | None,
    update_encoding: str,
) -> RunConfig:
    """Check the choices of a run; raises :class:`ClapError` for one that is not possible.

    Args:
        sites: who takes part, in the order in which replies are summed.
        dataset: whose test videos judge the model; None where sites do so at home.
        min_sites: replies that a step needs at least; 0 for all sites.
        deadline: seconds that a step waits at most.
        method, supervision, strategy, rounds, seed, threads, normalise, options, fraction, stragglers,
        labelled_participants, test_each_round, secure_aggregation, privacy, update_encoding: as for
            :func:`~clap_vad.workflows.train.train`.
    """
    if len(set(sites)) < len(sites) or not sites:
        raise ClapError(f"--sites: {','.join(sites) or 'nothing'} names one twice or none; name each site once")
    if not 0 <= min_sites <= len(sites):
        raise ClapError(f"--min-sites is {min_sites}; a number from 1 to the {len(sites)} sites is needed")
    if not deadline > 0:
        raise ClapError(f"--deadline is {deadline:g}; a number of seconds above 0 is needed")
    if test_each_round and dataset is None:
        raise ClapError("--test-each-round: give a DATASET with test videos, or leave it out")
    made, aggregation = check_choices(
        method,
        "collaborative",
        supervision,
        strategy,
        rounds,
        seed,
        threads,
        normalise,
        options,
        fraction,
        stragglers,
        test_each_round,
    )
    if secure_aggregation:
        check_secure(made, aggregation, len(sites), fraction)
    if rounds is None:
        rounds = made.usual_rounds(None if privacy is None else privacy.unit)
    if privacy is not None and privacy.seed is not None:
        raise ClapError("--dp-seed is for experiments in one process; sites draw their noise themselves")
    privacy, terms = privacy or default_privacy(made, "collaborative", None), None
    if privacy is not None:
        terms = replace(privacy, repeats=True).terms(
            made,
            aggregation,
            rounds=rounds,
            normalise=normalise,
            update_encoding=update_encoding,
            stragglers=stragglers,
        )
    check_update_encoding(update_encoding, "collaborative", len(sites), secure_aggregation, made.aggregates_updates)
    if dataset is not None:
        check_test_videos(Dataset(dataset))
    return RunConfig(
        dataset="" if dataset is None else str(dataset.resolve()),
        method=method,
        setting="collaborative",
        supervision=supervision,
        strategy=strategy,
        protocol=None,
        rounds=rounds,
        seed=seed,
        threads=threads,
        normalise=normalise if terms is None else "federated",
        options=dataclasses.asdict(made),
        inputs="",
        strategy_options=dataclasses.asdict(aggregation),
        fraction=float(fraction),
        stragglers=float(stragglers),
        labelled_participants=float(labelled_participants),
        test_each_round=test_each_round,
        engine="flare",
        sites=list(sites),
        min_sites=min_sites or len(sites),
        deadline=float(deadline),
        secure_aggregation=secure_aggregation,
        privacy={} if terms is None else dataclasses.asdict(terms),
        update_encoding=update_encoding,
    )


def config_without(config: RunConfig, without: Sequence[str]) -> RunConfig:
    """The choices of a run over sites for another in which these sites have no part.

    All sites of it are needed where all were before; raises :class:`ClapError` for a site that is not in the run, and
    where the others are too few.
    """
    sites = left_over(config.sites, without)
    if config.secure_aggregation:
        made, aggregation = (
            make_method(config.method, config.options),
            make_strategy(config.strategy, config.strategy_options),
        )
        check_secure(made, aggregation, len(sites), config.fraction)
    return replace(config, sites=sites, min_sites=min(config.min_sites, len(sites)))


def agree(config: RunConfig, features: Mapping[str, Any]) -> Agreement:
    """What the sites are told, now that their features are known.

    Raises :class:`ClapError` where the coordinator's test videos have other features.
    """
    dataset = test_dataset(config)
    if dataset is not None:
        own = describe(dataset.stores[0])
        if odd := [name for name in own if own[name] != features[name]]:
            raise ClapError(
                f"{dataset.path}: its features are not those of the sites ({', '.join(odd)} differ); extract the test "
                "videos as the sites do, or train without a DATASET"
            )
    labelled = {
        "us": [],
        "ws": config.sites,
        "mixed": labelled_part(config.sites, config.labelled_participants, config.seed),
    }[config.supervision]
    return Agreement(
        method=config.method,
        options=config.options,
        strategy=config.strategy,
        strategy_options=config.strategy_options,
        participants=tuple(config.sites),
        labelled=tuple(labelled),
        rounds=config.rounds,
        seed=config.seed,
        normalise=features["normalise"] if config.normalise == "auto" else config.normalise,
        threads=config.threads or threads_for(features["crops"], features["dim"]),
        dim=features["dim"],
        fraction=config.fraction,
        stragglers=config.stragglers,
        features=dict(features),
        secure=config.secure_aggregation,
        privacy=config.privacy,
        update_encoding=config.update_encoding,
    )


def test_dataset(config: RunConfig) -> Dataset | None:
    """The coordinator's test videos; None where it holds none."""
    return Dataset(Path(config.dataset)) if config.dataset else None
