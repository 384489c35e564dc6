"""What a run is: every choice that decides its result, saved as ``config.json`` before anything is computed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..datasets.dataset import Dataset
from ..datasets.partition import ensure_participants
from ..errors import ClapError
from ..federation.strategy import STRATEGIES
from ..persistence import read_json
from .federate import site_data

__all__ = ["SETTINGS", "SUPERVISIONS", "RunConfig", "check_test_videos", "participants_of"]

SETTINGS = ("centralized", "local", "collaborative")
SUPERVISIONS = ("us", "ws")
NORMALISE = ("auto", "none", "federated")
_KINDS = {"str": (str,), "str | None": (str, type(None)), "int": (int,), "dict[str, Any]": (dict,)}
_MOST_THREADS = 256  # torch dies, not raises, when it is refused the threads it was told to start
_SEEDS = 1 << 63
_WIDE = 4096  # floats per segment from which two threads gain more than they wait for each other


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
        rounds: int,
        seed: int,
        threads: int,
        normalise: str,
        options: Mapping[str, Any],
    ) -> RunConfig:
        """Check the choices and fill in defaults; raises :class:`ClapError` for one that is not possible."""
        for flag, value, allowed in (
            ("setting", setting, SETTINGS),
            ("supervision", supervision, SUPERVISIONS),
            ("normalise", normalise, NORMALISE),
            ("strategy", strategy, STRATEGIES.names()),
        ):
            if value not in allowed:
                raise ClapError(f"--{flag} is {value!r}; one of {', '.join(allowed)} is needed")
        if rounds < 1 or threads < 0 or seed < 0:
            raise ClapError("--rounds must be at least 1, --threads and --seed at least 0")
        if threads > _MOST_THREADS or seed >= _SEEDS:
            raise ClapError(f"--threads must be at most {_MOST_THREADS}, --seed below {_SEEDS}")
        settings = dataclasses.asdict(make_method(method, dict(options)))
        if not dataset.train_videos:
            raise ClapError(f"{dataset.path / 'videos.csv'}: no training videos; mark some with split 'train'")
        if normalise == "auto":
            normalise = str(dataset.stores[0].info.get("normalise", "none"))
        if threads == 0:
            store = dataset.stores[0]
            threads = 2 if store.crops * store.dim >= _WIDE else 1
        if setting == "centralized":
            protocol = None
        elif protocol is None:
            scenes = {dataset.videos[video].scene for video in dataset.train_videos}
            protocol = "scene" if len(scenes) > 1 and "" not in scenes else "random"
        participants = participants_of(dataset, setting, protocol, seed)
        for participant, videos in participants.items():
            site_data(dataset, participant, videos, supervision)
        return cls(
            dataset=str(dataset.path.resolve()),
            method=method,
            setting=setting,
            supervision=supervision,
            strategy=strategy,
            protocol=protocol,
            rounds=rounds,
            seed=seed,
            threads=threads,
            normalise=normalise,
            options=settings,
            inputs=_fingerprint(dataset, participants),
        )

    @classmethod
    def read(cls, run: Path) -> RunConfig:
        """The configuration of a run folder; raises :class:`ClapError` when there is none or it is not ours."""
        if not (run / "config.json").exists():
            raise ClapError(f"{run}: no run there (config.json is missing)")
        content = read_json(run / "config.json")
        if not isinstance(content, dict) or content.keys() != {f.name for f in dataclasses.fields(cls)}:
            raise ClapError(f"{run / 'config.json'}: not the configuration of a run of this release")
        for field in dataclasses.fields(cls):
            kinds = _KINDS[str(field.type)]
            if type(content[field.name]) not in kinds:
                raise ClapError(f"{run / 'config.json'}: '{field.name}' is not {field.type}; restore the file")
        config = cls(**content)
        if config.rounds < 1 or config.threads < 1 or config.setting not in SETTINGS:
            raise ClapError(f"{run / 'config.json'}: not the configuration of a run of this release")
        return config

    def open(self) -> tuple[Dataset, dict[str, tuple[str, ...]], Plan, Method]:
        """The dataset and participants, checked to be those the run began with, its plan and its method."""
        if not Path(self.dataset).is_dir():
            raise ClapError(f"{self.dataset}: the dataset this run was begun on is not there; put it back to go on")
        dataset = Dataset(Path(self.dataset))
        participants = participants_of(dataset, self.setting, self.protocol, self.seed)
        if _fingerprint(dataset, participants) != self.inputs:
            raise ClapError(
                f"{self.dataset}: features, video list or participants have changed since this run began; "
                "train anew into another --out"
            )
        plan = Plan(self.rounds, self.seed, self.normalise, self.supervision, self.threads, dataset.stores[0].dim)
        return dataset, participants, plan, make_method(self.method, self.options)


def participants_of(dataset: Dataset, setting: str, protocol: str | None, seed: int) -> dict[str, tuple[str, ...]]:
    """Who holds which training videos: one participant with everything for centralized, else by protocol."""
    if setting == "centralized" or protocol is None:
        return {"all": tuple(dataset.train_videos)}
    return dict(ensure_participants(dataset, protocol, seed, None).videos)


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
