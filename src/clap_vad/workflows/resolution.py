"""From the options of a run to its specification: defaults are filled in, impossible combinations are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..algorithms.method import DEFAULT_METHOD, METHODS, Method, make_method
from ..algorithms.site_data import site_data
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..federation.encoding import check_update_encoding
from ..federation.strategy import STRATEGIES, Strategy, make_strategy
from ..protection.session import LEAST_COHORT
from ..settings import make_with_settings, setting_names, settings_of
from ..specification.run import Privacy, RunOptions, RunSpecification
from .opening import fingerprint, labelled_videos, participants_of
from .privacy_terms import default_privacy, terms_of

__all__ = ["check_participants", "chosen_method", "leaving_out", "resolve", "specify", "split_options", "threads_for"]

_TRAINING = "clap"
_WIDE = 4096  # floats per segment from which two threads are faster than one


def specify(dataset: Dataset, asked: RunOptions) -> RunSpecification:
    """The specification of a run in one process; raises :class:`ClapError` for options that are not possible."""
    spec = resolve(asked, noise_seed=asked.seed)
    if not dataset.train_videos:
        raise ClapError(f"{dataset.path / 'videos.csv'}: no training videos; mark some with split 'train'")
    store, protocol = dataset.stores[0], spec.protocol
    if spec.setting == "centralized" and spec.supervision != "mixed":
        protocol = None
    elif protocol is None:
        scenes = {dataset.videos[video].scene for video in dataset.train_videos}
        protocol = "scene" if len(scenes) > 1 and "" not in scenes else "random"
    participants = participants_of(dataset, spec.setting, protocol, spec.seed, spec.without)
    spec = replace(
        spec,
        dataset=str(dataset.path.resolve()),
        protocol=protocol,
        threads=spec.threads or threads_for(store.crops, store.dim),
        normalise=store.info.get("normalise", "none") if spec.normalise == "auto" else spec.normalise,
        inputs=fingerprint(dataset, participants),
        sites=(),
        min_sites=0,
        deadline=0.0,
    )
    check_participants(spec, len(participants))
    labelled = labelled_videos(dataset, spec)
    for participant, videos in participants.items():
        site_data(dataset, participant, videos, labelled)
    return spec


def leaving_out(spec: RunSpecification, names: Sequence[str]) -> RunSpecification:
    """The specification of the same run without these participants.

    Raises:
        ClapError: one of them is not a participant of the run, or too few are left.
    """
    without = (*spec.without, *names)
    dataset = Dataset(Path(spec.dataset))
    participants = participants_of(dataset, spec.setting, spec.protocol, spec.seed, without)
    check_participants(spec, len(participants))
    return replace(spec, without=without, inputs=fingerprint(dataset, participants))


def resolve(asked: RunOptions, *, noise_seed: int | None, repeats: bool = False) -> RunSpecification:
    """The part of a specification that does not depend on data.

    Args:
        asked: the given options.
        noise_seed: of the method's default noise, used without ``--dp``; None for secret noise.
        repeats: True if sums may have to be repeated with new noise.

    Raises:
        ClapError: incompatible options, or a setting that neither method nor strategy has.
    """
    _check_setting(asked)
    name = chosen_method(asked)
    of_method, of_strategy = split_options(name, asked.strategy, asked.options)
    options = [setting.name for setting in settings_of(RunOptions)]
    method = make_with_settings("method", name, METHODS[name], of_method, options)
    strategy = make_strategy(asked.strategy, of_strategy)
    collaborative = asked.setting == "collaborative"
    if not collaborative:  # a single participant: there is nothing to aggregate
        strategy = make_strategy("fedavg", {})
    _check_method(asked, name, method, strategy)
    privacy, unit = asked.privacy, None if asked.privacy is None else asked.privacy.unit
    rounds = method.usual_rounds(unit) if asked.rounds is None else asked.rounds
    privacy, terms = privacy or default_privacy(method, asked.setting, noise_seed), None
    if isinstance(privacy, Privacy):
        terms = terms_of(privacy, asked, method, strategy, rounds=rounds, repeats=repeats)
    known = {field.name: getattr(asked, field.name) for field in dataclasses.fields(RunOptions)}
    found = {
        "method": name,
        "strategy": asked.strategy if collaborative else "fedavg",
        "rounds": rounds,
        "normalise": asked.normalise if terms is None else "federated",
        "options": dataclasses.asdict(method),
        "strategy_options": dataclasses.asdict(strategy),
        "privacy": terms,
    }
    return RunSpecification(**{**known, **found})


def chosen_method(asked: RunOptions) -> str:
    """The method of a run: the given one, else the default, or ``clap`` if another option needs sites that train.

    >>> [chosen_method(RunOptions(options=options)) for options in ({}, {"lr": 0.1})]
    ['comet', 'clap']
    """
    if asked.method is not None:
        return asked.method
    lacks = set(asked.options) - set(setting_names(METHODS[DEFAULT_METHOD]))
    trains = asked.strategy != "fedavg" or asked.update_encoding != "float32"
    return _TRAINING if lacks or trains or asked.stragglers or asked.test_each_round else DEFAULT_METHOD


def check_participants(spec: RunSpecification, participants: int) -> None:
    """Raise :class:`ClapError` for a run that is impossible with this number of participants."""
    method = make_method(spec.method, spec.options)
    if spec.secure_aggregation:
        _check_secure(method, make_strategy(spec.strategy, spec.strategy_options), spec.per_round(participants))
    secure = spec.secure_aggregation
    check_update_encoding(spec.update_encoding, participants, secure, method.aggregates_updates)


def threads_for(crops: int, dim: int) -> int:
    """CPU threads per step, from the features' size only: they decide the last bits of results on any machine."""
    return 2 if crops * dim >= _WIDE else 1


def split_options(method: str, strategy: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the settings of a run into those of its method and its strategy; unknown ones stay with the method.

    >>> split_options("clap", "fedprox", {"mu": 1.0, "lr": 0.1})
    ({'lr': 0.1}, {'mu': 1.0})
    """
    own = set(setting_names(STRATEGIES[strategy])) - set(setting_names(METHODS[method]))
    of_method = {name: value for name, value in options.items() if name not in own}
    return of_method, {name: value for name, value in options.items() if name in own}


def _check_setting(asked: RunOptions) -> None:
    for setting in settings_of(RunOptions):
        settings = setting.where.settings if setting.where else ()
        if settings and asked.setting not in settings and getattr(asked, setting.name) != setting.default:
            raise ClapError(
                f"{setting.flag} is only for --setting {' or '.join(settings)}, where messages leave the participants; "
                "leave it out"
            )


def _check_method(asked: RunOptions, name: str, method: Method, strategy: Strategy) -> None:
    if strategy.needs_sgd and not method.trains_by_sgd:
        raise ClapError(
            f"--strategy {asked.strategy} needs sites that train by SGD, but method '{name}' does not; choose another "
            "strategy"
        )
    if not method.aggregates_updates and asked.strategy != "fedavg":
        raise ClapError(
            f"--strategy {asked.strategy} aggregates model updates, but method '{name}' aggregates sums; leave it out, "
            "or choose a --method that trains, such as clap"
        )
    if asked.stragglers and method.epochs_per_round < 2:
        raise ClapError("--stragglers: needs rounds of 2 or more epochs; give --local-epochs")
    if asked.test_each_round and not method.scores_each_round:
        raise ClapError(f"--test-each-round: method '{name}' has no scores before its last round; leave it out")


def _check_secure(method: Method, strategy: Strategy, drawn: int) -> None:
    if strategy.needs_each:
        raise ClapError("--secure-aggregation: this strategy needs single updates; choose one of sums, such as fedavg")
    if not method.sums_only():
        raise ClapError(
            "--secure-aggregation: with these settings the method needs each participant's own message; for clap "
            "choose --segregation federated or --density pooled"
        )
    if drawn < LEAST_COHORT:
        raise ClapError(
            f"--secure-aggregation: a sum over {drawn} participants hides none of them; at least {LEAST_COHORT} must "
            "take part in each round"
        )
