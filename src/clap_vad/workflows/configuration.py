"""What a run is: every choice that decides its result, saved as ``config.json`` before anything is computed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..algorithms.site_data import site_data
from ..core.statistics.accounting import Terms
from ..core.statistics.randomness import keyed_generator
from ..datasets.dataset import Dataset
from ..datasets.partition import ensure_participants
from ..errors import ClapError
from ..features.extraction.extractor import roles_of
from ..federation.encoding import UPDATE_ENCODINGS, check_update_encoding
from ..federation.strategy import make_strategy
from ..persistence import read_json
from .choices import SETTINGS, check_choices, check_secure, check_share, threads_for
from .federate import Federation
from .privacy_terms import Privacy, default_privacy

__all__ = ["RunConfig", "check_test_videos", "labelled_part", "left_over", "participants_of"]

_KINDS = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "dict[str, Any]": (dict,),
    "list[str]": (list,),
}


@dataclass(frozen=True)
class RunConfig:
    """Contents of ``config.json``.

    Attributes:
        dataset: absolute path.
        method, setting, supervision, strategy: as in ``clap train``.
        protocol: None for centralized.
        rounds, seed, threads: numbers.
        normalise: ``none`` or ``federated``; ``auto`` has been resolved by what the store asks for.
        options: every setting of the method, defaults included.
        inputs: SHA-256 over the store's description, the video list and the participants; a resumed run refuses others.
        strategy_options: every setting of the strategy, defaults included.
        fraction, stragglers: of the participants, see :class:`~clap_vad.algorithms.plan.Plan`.
        labelled_participants: part of them that has video labels under supervision ``mixed``.
        test_each_round: whether the global model is evaluated after every round.
        engine: ``inprocess``, or ``flare`` for sites of other organisations.
        sites: who takes part under ``flare``; there ``dataset`` holds the coordinator's test videos or is empty,
            ``inputs`` is empty, and ``threads`` and ``normalise`` may be left to what the sites' features ask for.
        min_sites: replies that a step needs at least under ``flare``.
        deadline: seconds that a step waits for sites at most under ``flare``.
        secure_aggregation: whether replies leave participants under masks only.
        privacy: every entry of :class:`~clap_vad.core.statistics.accounting.Terms`; empty without differential privacy.
        update_encoding: ``float32`` or ``int8``, see :mod:`clap_vad.federation.encoding`.
        without: participants of the protocol that have no part in the run; ``flare`` names ``sites`` instead.
    """

    dataset: str
    method: str
    setting: str
    supervision: str
    strategy: str
    protocol: str | None
    rounds: int
    seed: int
    threads: int
    normalise: str
    options: dict[str, Any]
    inputs: str
    strategy_options: dict[str, Any] = field(default_factory=dict)
    fraction: float = 1.0
    stragglers: float = 0.0
    labelled_participants: float = 0.3
    test_each_round: bool = False
    engine: str = "inprocess"
    sites: list[str] = field(default_factory=list)
    min_sites: int = 0
    deadline: float = 0.0
    secure_aggregation: bool = False
    privacy: dict[str, Any] = field(default_factory=dict)
    update_encoding: str = "float32"
    without: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        dataset: Dataset,
        *,
        method: str,
        setting: str,
        supervision: str,
        strategy: str,
        protocol: str | None,
        rounds: int | None,
        seed: int,
        threads: int,
        normalise: str,
        options: Mapping[str, Any],
        fraction: float = 1.0,
        stragglers: float = 0.0,
        labelled_participants: float = 0.3,
        test_each_round: bool = False,
        secure_aggregation: bool = False,
        privacy: Privacy | None = None,
        update_encoding: str = "float32",
        without: Sequence[str] = (),
    ) -> RunConfig:
        """Check the choices and fill in defaults; raises :class:`ClapError` for one that is not possible."""
        made, aggregation = check_choices(
            method,
            setting,
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
        check_share("labelled-participants", labelled_participants)
        if secure_aggregation and setting != "collaborative":
            raise ClapError("--secure-aggregation hides participants in their sum; it is for --setting collaborative")
        if not dataset.train_videos:
            raise ClapError(f"{dataset.path / 'videos.csv'}: no training videos; mark some with split 'train'")
        if rounds is None:
            rounds = made.usual_rounds(None if privacy is None else privacy.unit)
        privacy = privacy or default_privacy(made, setting, seed)
        terms = None
        if privacy is not None:
            terms = privacy.terms(
                made,
                aggregation,
                rounds=rounds,
                normalise=normalise,
                update_encoding=update_encoding,
                stragglers=stragglers,
            )
            normalise = "federated"
        elif normalise == "auto":
            normalise = str(dataset.stores[0].info.get("normalise", "none"))
        if threads == 0:
            threads = threads_for(dataset.stores[0].crops, dataset.stores[0].dim)
        if setting == "centralized" and supervision != "mixed":
            protocol = None
        elif protocol is None:
            scenes = {dataset.videos[video].scene for video in dataset.train_videos}
            protocol = "scene" if len(scenes) > 1 and "" not in scenes else "random"
        participants = participants_of(dataset, setting, protocol, seed, without)
        labelled = _labelled_videos(dataset, supervision, protocol, seed, labelled_participants, without)
        if secure_aggregation:
            check_secure(made, aggregation, len(participants), fraction)
        check_update_encoding(update_encoding, setting, len(participants), secure_aggregation, made.aggregates_updates)
        for participant, videos in participants.items():
            site_data(dataset, participant, videos, labelled)
        return cls(
            dataset=str(dataset.path.resolve()),
            method=method,
            setting=setting,
            supervision=supervision,
            strategy=strategy if setting == "collaborative" else "fedavg",
            protocol=protocol,
            rounds=rounds,
            seed=seed,
            threads=threads,
            normalise=normalise,
            options=dataclasses.asdict(made),
            inputs=_fingerprint(dataset, participants),
            strategy_options=dataclasses.asdict(aggregation),
            fraction=float(fraction),
            stragglers=float(stragglers),
            labelled_participants=float(labelled_participants),
            test_each_round=test_each_round,
            secure_aggregation=secure_aggregation,
            privacy={} if terms is None else dataclasses.asdict(terms),
            update_encoding=update_encoding,
            without=list(without),
        )

    def leaving_out(self, names: Sequence[str]) -> RunConfig:
        """The same choices for a run of its own in which these participants have no part.

        Raises:
            ClapError: one is no participant of the run, or the others are too few.
        """
        without = [*self.without, *names]
        dataset = Dataset(Path(self.dataset))
        participants = participants_of(dataset, self.setting, self.protocol, self.seed, without)
        if self.secure_aggregation:
            made, aggregation = (
                make_method(self.method, self.options),
                make_strategy(self.strategy, self.strategy_options),
            )
            check_secure(made, aggregation, len(participants), self.fraction)
        return replace(self, without=without, inputs=_fingerprint(dataset, participants))

    @classmethod
    def read(cls, run: Path) -> RunConfig:
        """The configuration of a run folder; raises :class:`ClapError` when there is none or it is not ours."""
        if not (run / "config.json").exists():
            raise ClapError(f"{run}: no run there (config.json is missing)")
        content = read_json(run / "config.json")
        entries = {f.name: f for f in dataclasses.fields(cls)}
        # Runs begun before strategies had settings lack the entries with defaults, and are what the defaults say.
        needed = {name for name, f in entries.items() if f.default is f.default_factory is dataclasses.MISSING}
        if not isinstance(content, dict) or not needed <= content.keys() <= entries.keys():
            raise ClapError(f"{run / 'config.json'}: not the configuration of a run of this release")
        for name, value in content.items():
            if type(value) not in _KINDS[str(entries[name].type)]:
                raise ClapError(f"{run / 'config.json'}: '{name}' is not {entries[name].type}; restore the file")
        config = cls(**content)
        try:
            _ = config.privacy and Terms(**config.privacy)
        except TypeError:
            raise ClapError(f"{run / 'config.json'}: 'privacy' holds no terms of this release; restore it") from None
        least_threads = 0 if config.engine == "flare" else 1
        known = config.setting in SETTINGS and config.update_encoding in UPDATE_ENCODINGS
        if config.rounds < 1 or config.threads < least_threads or not known:
            raise ClapError(f"{run / 'config.json'}: not the configuration of a run of this release")
        return config

    def open(self) -> Opened:
        """What the run needs to go on, checked to be that which it began with."""
        if not Path(self.dataset).is_dir():
            raise ClapError(f"{self.dataset}: the dataset this run was begun on is not there; put it back to go on")
        dataset = Dataset(Path(self.dataset))
        participants = participants_of(dataset, self.setting, self.protocol, self.seed, self.without)
        if _fingerprint(dataset, participants) != self.inputs:
            raise ClapError(
                f"{self.dataset}: features, video list or participants have changed since this run began; "
                "train anew into another --out"
            )
        plan = Plan(
            participants=tuple(participants),
            strategy=make_strategy(self.strategy, self.strategy_options),
            rounds=self.rounds,
            seed=self.seed,
            normalise=self.normalise,
            threads=self.threads,
            dim=dataset.stores[0].dim,
            roles=roles_of(dataset.stores[0].extractor, dataset.stores[0].info.get("settings", {})),
            fraction=self.fraction,
            stragglers=self.stragglers,
            secure=self.secure_aggregation,
            privacy=Terms(**self.privacy) if self.privacy else None,
            update_encoding=self.update_encoding,
        )
        labelled = _labelled_videos(
            dataset, self.supervision, self.protocol, self.seed, self.labelled_participants, self.without
        )
        return Opened(dataset, participants, plan, make_method(self.method, self.options), labelled)


@dataclass(frozen=True)
class Opened:
    """A run's configuration brought to life.

    Attributes:
        participants: id -> training videos.
        labelled: training videos whose labels the method may know.
    """

    dataset: Dataset
    participants: dict[str, tuple[str, ...]]
    plan: Plan
    method: Method
    labelled: frozenset[str]

    def federation(self, folder: Path, held: Mapping[str, Sequence[str]]) -> Federation:
        """Some or all of the participants as a federation that keeps its files in ``folder``."""
        return Federation(folder, self.dataset, held, self.plan, self.method, self.labelled)


def participants_of(
    dataset: Dataset, setting: str, protocol: str | None, seed: int, without: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Who holds which training videos: one participant with everything for centralized, else by protocol.

    Args:
        without: participants of the protocol that are left out; the others hold what they would hold anyway.

    Raises:
        ClapError: one is not there or named twice, or nobody is left.
    """
    if setting == "centralized" or protocol is None:
        if without:
            raise ClapError("--without leaves participants out; it is for --setting collaborative or local")
        return {"all": tuple(dataset.train_videos)}
    held = dict(ensure_participants(dataset, protocol, seed, None).videos)
    return {name: held[name] for name in left_over(list(held), without)}


def left_over(participants: Sequence[str], without: Sequence[str]) -> list[str]:
    """These participants without some, in order; raises :class:`ClapError` for strangers, and where none is left."""
    left = [name for name in participants if name not in without]
    if not left or len(left) + len(without) != len(participants):
        raise ClapError(
            f"--without is {','.join(without)}; it names some participants, each once, and not all: the run has "
            f"{', '.join(participants)}"
        )
    return left


def _labelled_videos(
    dataset: Dataset, supervision: str, protocol: str | None, seed: int, share: float, without: Sequence[str]
) -> frozenset[str]:
    """Training videos whose labels may be read: none, all, or those of a drawn part of the protocol's participants.

    Under ``mixed`` the draw depends on the run's seed. Setting centralized knows the same videos' labels as the other
    settings do, though it is one participant.
    """
    if supervision == "us":
        return frozenset()
    if supervision == "ws":
        return frozenset(dataset.train_videos)
    held = participants_of(dataset, "collaborative", protocol, seed, without)
    return frozenset(video for participant in labelled_part(list(held), share, seed) for video in held[participant])


def labelled_part(participants: Sequence[str], share: float, seed: int) -> list[str]:
    """The participants that have labels under ``mixed``, drawn by the run's seed, in their order."""
    rng = keyed_generator(seed, 0, "", "labelled participants")
    chosen = rng.choice(len(participants), max(1, round(share * len(participants))), replace=False)
    return [participants[i] for i in sorted(chosen)]


def check_test_videos(dataset: Dataset) -> None:
    """Find now what would stop a run at its end; raises :class:`ClapError` for missing features or unreadable truth."""
    for video in dataset.test_videos:
        dataset.locate(video)
        dataset.frame_labels(video)


def _fingerprint(dataset: Dataset, participants: Mapping[str, Sequence[str]]) -> str:
    digest = hashlib.sha256()
    for store in dataset.stores:
        digest.update((store.path / "store.json").read_bytes())
    digest.update((dataset.path / "videos.csv").read_bytes())
    digest.update(repr([(participant, list(videos)) for participant, videos in participants.items()]).encode())
    return digest.hexdigest()
