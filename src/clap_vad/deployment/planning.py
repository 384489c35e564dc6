"""A run over real sites: its specification before the sites' features are known, and the resolved one afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..features.store.description import describe
from ..specification.run import RunOptions, RunSpecification
from ..workflows.opening import check_test_videos, labelled_part, left_over
from ..workflows.resolution import check_participants, resolve, threads_for
from .resolved_run import ResolvedRun

__all__ = ["deployed_specification", "resolved_run", "specification_without", "test_dataset"]


def deployed_specification(asked: RunOptions) -> RunSpecification:
    """The specification of a run over sites; raises :class:`ClapError` for impossible options.

    Args:
        asked: with ``sites`` in the order in which replies are summed, and in ``dataset`` the coordinator's test
            videos, or "" if the sites evaluate the model on their own.
    """
    sites = asked.sites
    if len(set(sites)) < len(sites) or not sites:
        raise ClapError(f"--sites: {','.join(sites) or 'nothing'} names one twice or none; name each site once")
    if not 0 <= asked.min_sites <= len(sites):
        raise ClapError(f"--min-sites is {asked.min_sites}; a number from 1 to the {len(sites)} sites is needed")
    if not asked.deadline > 0:
        raise ClapError(f"--deadline is {asked.deadline:g}; a number of seconds above 0 is needed")
    if asked.test_each_round and not asked.dataset:
        raise ClapError("--test-each-round: give a DATASET with test videos, or leave it out")
    if asked.privacy is not None and asked.privacy.seed is not None:
        raise ClapError("--dp-seed is only for experiments in one process; real sites draw secret noise")
    spec = resolve(replace(asked, min_sites=asked.min_sites or len(sites)), noise_seed=None, repeats=True)
    check_participants(spec, len(sites))
    if (dataset := test_dataset(spec)) is not None:
        check_test_videos(dataset)
    return replace(spec, dataset=str(Path(spec.dataset).resolve()) if spec.dataset else "", engine="flare")


def specification_without(spec: RunSpecification, without: Sequence[str]) -> RunSpecification:
    """The specification of the same run over sites without these sites.

    If all sites were needed before, all remaining ones are. Raises :class:`ClapError` for a site that is not in the
    run, and if too few are left.
    """
    sites = left_over(spec.sites, without)
    check_participants(spec, len(sites))
    return replace(spec, sites=tuple(sites), min_sites=min(spec.min_sites, len(sites)))


def resolved_run(spec: RunSpecification, features: Mapping[str, Any]) -> ResolvedRun:
    """The resolved run specification for the sites' features.

    Raises :class:`ClapError` if the coordinator's test videos have other features.
    """
    dataset = test_dataset(spec)
    if dataset is not None:
        own = describe(dataset.stores[0])
        if odd := [name for name in own if own[name] != features[name]]:
            raise ClapError(
                f"{dataset.path}: its features differ from those of the sites ({', '.join(odd)}); extract the test "
                "videos as the sites do, or train without a DATASET"
            )
    labelled = {
        "us": [],
        "ws": spec.sites,
        "mixed": labelled_part(spec.sites, spec.labelled_participants, spec.seed),
    }[spec.supervision]
    known = replace(
        spec,
        normalise=features["normalise"] if spec.normalise == "auto" else spec.normalise,
        threads=spec.threads or threads_for(features["crops"], features["dim"]),
    )
    return ResolvedRun(known, spec.sites, tuple(labelled), dict(features))


def test_dataset(spec: RunSpecification) -> Dataset | None:
    """The dataset of the coordinator's test videos; None without one."""
    return Dataset(Path(spec.dataset)) if spec.dataset else None
