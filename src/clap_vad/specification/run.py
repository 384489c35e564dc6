"""The run specification. An option of a run is stated here, once.

From a field of :class:`RunOptions` follow the option of the command line, the parameter of ``clap.train`` and its
check, the entry of ``config.json``, the entry of the resolved run specification for sites, and what a comparison can
vary. A further option is one field (and one line in :class:`Train`, for type checkers). Results that follow from an
option's value alone are here too: the draws, the rates and the quorum of :class:`RunSpecification`. Other code reads
an option as ``plan.spec.NAME``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from ..core.statistics.accounting import Terms
from ..core.statistics.randomness import keyed_generator
from ..federation.engine import Quorum
from .choice import ENGINES, TRAINING, choice, fact

__all__ = ["STRICT", "Names", "Privacy", "RunOptions", "RunSpecification", "Train"]

_MOST_THREADS = 256
"""A limit, since torch aborts the process, without an exception, if it cannot start its threads."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
OptionalTerms = Annotated[Terms | None, BeforeValidator(lambda value: None if value == {} else value)]

_LABEL = (*TRAINING, "label")
_SCENE = "scene where videos have scenes, else random"
_DP = "Differential privacy"


@dataclasses.dataclass(frozen=True)
class Privacy:
    """The requested differential privacy.

    Attributes:
        epsilon: of the whole run; infinity for clipping and sampling without noise, for comparison.
        delta, clip, sampling, lr, seed: as in :class:`~clap_vad.core.statistics.accounting.Terms`.
        unit: ``video`` or ``crop``.
    """

    epsilon: float = choice(dataclasses.MISSING, "Epsilon of the whole run; inf clips but adds no noise.", _DP)
    delta: float = choice(1e-5, "Delta of the whole run.", _DP)
    clip: float = choice(1.0, "Largest L2 norm of a video's gradient.", _DP, flag="dp-clip")
    sampling: float = choice(0.5, "Probability that a video takes part in a round.", _DP, flag="dp-sampling")
    lr: float = choice(0.1, "Learning rate of a round's step.", _DP, flag="dp-lr")
    seed: int | None = choice(
        None,
        "Repeatable noise, for experiments only: whoever knows the number can remove the noise.",
        _DP,
        flag="dp-seed",
        engines=("inprocess",),
    )
    unit: Literal["crop", "video"] = choice(
        "video",
        "Differential privacy: hide any one crop or any one video. Needs --epsilon.",
        _DP,
        flag="dp",
        words="crop for comet, with epsilon 8 and delta 1e-6; none for other methods",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunOptions:
    """The requested options of a run, in the order of ``config.json``. Open values are set when the run begins."""

    what: ClassVar[str] = "the options of a run"
    remedy: ClassVar[str] = ""

    dataset: str = fact("")
    """Absolute path. Under ``flare`` it holds the coordinator's test videos, or is empty."""

    method: str | None = choice(
        None,
        "What is trained.",
        "Training",
        commands=_LABEL,
        site="method",
        kind="method",
        listed="methods",
        words="comet; clap where another option needs sites that train",
    )
    setting: Literal["centralized", "local", "collaborative"] = choice(
        "collaborative",
        "Who trains: one participant with all videos, each participant alone, or all together.",
        "Training",
        commands=("train", "label"),
        engines=("inprocess",),
        listed="settings",
    )
    supervision: Literal["us", "ws", "mixed"] = choice(
        "us",
        "us: no labels. ws: one label per training video. mixed: some participants have labels.",
        "Training",
        commands=_LABEL,
        listed="supervisions",
    )
    strategy: str = choice(
        "fedavg",
        "How the coordinator aggregates updates, in setting collaborative.",
        "Training",
        site="strategy",
        kind="strategy",
        listed="strategies",
    )
    protocol: str | None = choice(
        None,
        "Which participant holds which training videos.",
        "Data",
        commands=("train", "label", "compare", "reproduce", "federation local"),
        engines=("inprocess",),
        words=_SCENE,
    )
    rounds: Count | None = choice(
        None,
        "Rounds of training.",
        "Training",
        commands=(*TRAINING, "compare", "reproduce"),
        site="rounds",
        words="20; under --dp video 8 for comet and 100 for clap",
    )
    seed: Seed = choice(
        0,
        "Seed of initial weights, draws and shuffling.",
        "Training",
        commands=_LABEL,
        site="seed",
        listed="seeds",
    )
    threads: Annotated[int, Field(ge=0, le=_MOST_THREADS)] = choice(
        0,
        "CPU threads per step. Changing it may change the last bits of results.",
        "Training",
        site="threads",
        words="1 or 2, by feature size",
    )
    normalise: Literal["auto", "none", "federated"] = choice(
        "auto",
        "federated: standardise features by the mean and scale of all sites. auto: what the features ask for.",
        "Data",
        commands=_LABEL,
        site="normalise",
    )
    options: dict[str, Any] = fact(dict, site="options")
    """Settings of the method (and of the strategy, until they are separated)."""

    inputs: str = fact("")
    """SHA-256 over the store's description, the video list and the participants; a resumed run refuses other inputs."""

    strategy_options: dict[str, Any] = fact(dict, site="strategy_options")
    """Settings of the strategy."""

    fraction: Share = choice(1.0, "Part of the participants that takes part in a round.", "Federation", site="fraction")
    stragglers: Annotated[float, Field(ge=0, le=1)] = choice(
        0.0,
        "Probability that a participant trains fewer local epochs in a round (simulated).",
        "Federation",
        site="stragglers",
    )
    labelled_participants: Share = choice(
        0.3, "Part of the participants that has video labels, under --supervision mixed.", "Data", commands=_LABEL
    )
    test_each_round: bool = choice(
        False,
        "Evaluate after every round too, into rounds.jsonl. The best round is reported, never taken as the result.",
        "Training",
        commands=(*TRAINING, "compare"),
    )
    engine: Literal["inprocess", "flare"] = fact(ENGINES[0])
    """``inprocess``, or ``flare`` for sites of other organisations."""

    sites: Names = choice(
        (),
        "Sites that take part, comma-separated.",
        "Federation",
        commands=("train",),
        engines=("flare",),
        words="all approved sites",
        kind="names",
    )
    min_sites: Number = choice(
        0, "Least replies that a step needs.", "Federation", engines=("flare",), words="all sites"
    )
    deadline: Annotated[float, Field(ge=0)] = choice(
        600.0, "Seconds that a step waits for sites.", "Federation", engines=("flare",)
    )
    secure_aggregation: bool = choice(
        False,
        "Mask every reply, so that the coordinator sees only sums over all participants.",
        "Federation",
        site="secure",
        settings=("collaborative",),
    )
    privacy: Privacy | Terms | None = choice(None, "The differential privacy that is asked for.", _DP, site="privacy")
    update_encoding: Literal["float32", "int8"] = choice(
        "float32",
        "int8: updates leave a participant in 8 bits, from the second round on.",
        "Federation",
        site="update_encoding",
        settings=("collaborative",),
    )
    without: Names = choice(
        (),
        "Participants or sites that have no part, comma-separated.",
        "Data",
        commands=("train",),
        words="none",
        kind="names",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSpecification(RunOptions):
    """The complete specification of a run: ``config.json``, and ``plan.spec`` in the code.

    Under ``flare``, the sites' features determine ``threads`` 0 and ``normalise`` auto.
    """

    what: ClassVar[str] = "the configuration of a run of this release"
    remedy: ClassVar[str] = "restore the file"

    method: str = field()
    rounds: Number = field()  # 0 if only labels are made
    deadline: Annotated[float, Field(ge=0)] = 0.0
    privacy: OptionalTerms = None

    def as_json(self) -> dict[str, Any]:
        """The entries of ``config.json``, in order."""
        lists = {name: list(getattr(self, name)) for name in ("sites", "without")}
        return {**asdict(self), **lists, "privacy": asdict(self.privacy) if self.privacy else {}}

    def quorum(self) -> Quorum:
        """The replies that a step over sites needs, and how long it waits for them."""
        return Quorum(self.min_sites, self.deadline)

    def per_round(self, participants: int) -> int:
        """How many of the participants take part in a round."""
        return max(1, round(self.fraction * participants))

    def drawn(self, participants: Sequence[str], number: int) -> tuple[str, ...] | None:
        """The participants of a round under partial participation, in their order; None for all."""
        if self.fraction >= 1:
            return None
        rng = keyed_generator(self.seed, number, "", "participation")
        chosen = rng.choice(len(participants), self.per_round(len(participants)), replace=False)
        return tuple(participants[i] for i in sorted(chosen))

    def rates(self, lr: tuple[float, ...], participant: str, number: int) -> tuple[float, ...]:
        """Learning rates of the epochs that a participant trains in a round; a straggler omits some.

        Args:
            lr: of the method's epochs.
            participant: its id.
            number: of the round, from 1.
        """
        if not self.stragglers or len(lr) < 2:
            return lr
        rng = keyed_generator(self.seed, number, participant, "straggler")
        return lr[: int(rng.integers(1, len(lr)))] if rng.random() < self.stragglers else lr


class Train(Protocol):
    """The signature of ``clap.train``, for readers and type checkers; a test compares it with :class:`RunOptions`."""

    def __call__(
        self,
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
        **options: Any,
    ) -> dict[str, Any]: ...
