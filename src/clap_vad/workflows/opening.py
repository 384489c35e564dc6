"""From a run's specification to its dataset, participants, readable labels and plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..core.statistics.randomness import keyed_generator
from ..datasets.dataset import Dataset
from ..datasets.partition import ensure_participants
from ..errors import ClapError
from ..features.store.description import describe
from ..specification.run import RunSpecification
from .federate import Federation

__all__ = [
    "Opened",
    "check_test_videos",
    "fingerprint",
    "labelled_part",
    "labelled_videos",
    "left_over",
    "open_run",
    "participants_of",
]


@dataclass(frozen=True)
class Opened:
    """Everything that a run in one process needs.

    Attributes:
        participants: id -> training videos.
        labelled: training videos whose labels the method may read.
    """

    dataset: Dataset
    participants: dict[str, tuple[str, ...]]
    plan: Plan
    method: Method
    labelled: frozenset[str]

    def federation(self, folder: Path, held: Mapping[str, Sequence[str]]) -> Federation:
        """A federation of the participants in ``held``, with its files in ``folder``."""
        return Federation(folder, self.dataset, held, self.plan, self.method, self.labelled)


def open_run(spec: RunSpecification) -> Opened:
    """Open the inputs of a run; raises :class:`ClapError` if they are missing or have changed since it began."""
    if not Path(spec.dataset).is_dir():
        raise ClapError(f"{spec.dataset}: the dataset of this run is missing; put it back to continue")
    dataset = Dataset(Path(spec.dataset))
    participants = participants_of(dataset, spec.setting, spec.protocol, spec.seed, spec.without)
    if fingerprint(dataset, participants) != spec.inputs:
        raise ClapError(
            f"{spec.dataset}: features, video list or participants have changed since this run began; "
            "train again with another --out"
        )
    plan = Plan.of(spec, tuple(participants), describe(dataset.stores[0]))
    return Opened(dataset, participants, plan, make_method(spec.method, spec.options), labelled_videos(dataset, spec))


def participants_of(
    dataset: Dataset, setting: str, protocol: str | None, seed: int, without: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Participant -> training videos: one participant with all videos for centralized, else by protocol.

    Args:
        without: participants of the protocol to leave out; the others keep their videos.

    Raises:
        ClapError: one of them is unknown or named twice, or none is left.
    """
    if setting == "centralized" or protocol is None:
        if without:
            raise ClapError("--without leaves participants out; use it with --setting collaborative or local")
        return {"all": tuple(dataset.train_videos)}
    held = dict(ensure_participants(dataset, protocol, seed, None).videos)
    return {name: held[name] for name in left_over(list(held), without)}


def left_over(participants: Sequence[str], without: Sequence[str]) -> list[str]:
    """The other participants, in order; raises :class:`ClapError` for an unknown one, and if none is left."""
    left = [name for name in participants if name not in without]
    if not left or len(left) + len(without) != len(participants):
        raise ClapError(
            f"--without {','.join(without)}: name each participant once, and not all of them; the run has "
            f"{', '.join(participants)}"
        )
    return left


def labelled_videos(dataset: Dataset, spec: RunSpecification) -> frozenset[str]:
    """Training videos whose labels may be read: none, all, or those of randomly drawn participants (``mixed``).

    The draw depends on the run's seed. Setting centralized reads labels of the same videos as the other settings.
    """
    if spec.supervision == "us":
        return frozenset()
    if spec.supervision == "ws":
        return frozenset(dataset.train_videos)
    held = participants_of(dataset, "collaborative", spec.protocol, spec.seed, spec.without)
    labelled = labelled_part(list(held), spec.labelled_participants, spec.seed)
    return frozenset(video for participant in labelled for video in held[participant])


def labelled_part(participants: Sequence[str], share: float, seed: int) -> list[str]:
    """The participants with labels under ``mixed``, drawn by the run's seed, in their order."""
    rng = keyed_generator(seed, 0, "", "labelled participants")
    chosen = rng.choice(len(participants), max(1, round(share * len(participants))), replace=False)
    return [participants[i] for i in sorted(chosen)]


def check_test_videos(dataset: Dataset) -> None:
    """Check the test videos before training; raises :class:`ClapError` for missing features or unreadable truth."""
    for video in dataset.test_videos:
        dataset.locate(video)
        dataset.frame_labels(video)


def fingerprint(dataset: Dataset, participants: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 of the stores' descriptions, the video list and the participants' videos."""
    digest = hashlib.sha256()
    for store in dataset.stores:
        digest.update((store.path / "store.json").read_bytes())
    digest.update((dataset.path / "videos.csv").read_bytes())
    digest.update(repr([(participant, list(videos)) for participant, videos in participants.items()]).encode())
    return digest.hexdigest()
