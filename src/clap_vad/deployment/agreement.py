"""What coordinator and sites agree on before a run across organisations: all that decides its result, as data."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..federation.encoding import UPDATE_ENCODINGS
from ..federation.policy import RefusalError
from ..federation.strategy import make_strategy
from ..workflows.configuration import MOST_THREADS

__all__ = ["Agreement"]

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "tuple[str, ...]": (list,),
    "dict[str, Any]": (dict,),
}


@dataclass(frozen=True)
class Agreement:
    """The choices of a run, the same at every site.

    Attributes:
        method, options, strategy, strategy_options: by name, and every setting.
        participants: in the order in which replies are summed.
        labelled: those of them that use the labels of their training videos.
        rounds, seed, normalise, threads, dim, fraction, stragglers: see :class:`~clap_vad.algorithms.plan.Plan`.
        features: what every site's features must be, see :func:`~clap_vad.features.description.describe`.
        secure: whether replies leave sites under masks only.
        epsilon: of the differential privacy that the run promises; None for none.
        update_encoding: how updates leave sites, see :mod:`clap_vad.federation.encoding`.
    """

    method: str
    options: dict[str, Any]
    strategy: str
    strategy_options: dict[str, Any]
    participants: tuple[str, ...]
    labelled: tuple[str, ...]
    rounds: int
    seed: int
    normalise: str
    threads: int
    dim: int
    fraction: float
    stragglers: float
    features: dict[str, Any]
    epsilon: float | None = None
    secure: bool = False
    update_encoding: str = "float32"

    def plan(self) -> Plan:
        """The run's plan."""
        return Plan(
            participants=self.participants,
            strategy=make_strategy(self.strategy, self.strategy_options),
            rounds=self.rounds,
            seed=self.seed,
            normalise=self.normalise,
            threads=self.threads,
            dim=self.dim,
            fraction=self.fraction,
            stragglers=self.stragglers,
            secure=self.secure,
            update_encoding=self.update_encoding,
        )

    def make_method(self) -> Method:
        """The method with its settings."""
        return make_method(self.method, self.options)

    def to_array(self) -> np.ndarray:
        """As an array that a question can carry, uint8."""
        return np.frombuffer(json.dumps(dataclasses.asdict(self), sort_keys=True).encode(), np.uint8)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Agreement:
        """The agreement in such an array; raises :class:`RefusalError` for anything else."""
        try:
            content = json.loads(np.asarray(array, np.uint8).tobytes())
        except (ValueError, RecursionError):
            raise RefusalError("the agreement sent for this run is not readable") from None
        fields = {f.name: str(f.type) for f in dataclasses.fields(cls)}
        if not isinstance(content, dict) or content.keys() != fields.keys():
            raise RefusalError("the agreement sent for this run is not one of this release; install the coordinator's")
        for name, value in content.items():
            if type(value) not in _KINDS[fields[name]]:
                raise RefusalError(f"the agreement sent for this run: '{name}' is not {fields[name]}")
        for name in ("participants", "labelled"):
            if not all(isinstance(entry, str) for entry in content[name]):
                raise RefusalError(f"the agreement sent for this run: '{name}' must be names")
            content[name] = tuple(content[name])
        if min(content["rounds"], content["threads"], content["dim"]) < 1 or content["seed"] < 0:
            raise RefusalError("the agreement sent for this run: rounds, threads and dim must be at least 1, seed 0")
        if content["threads"] > MOST_THREADS:
            raise RefusalError(f"the agreement sent for this run: threads must be at most {MOST_THREADS}")
        if len(set(content["participants"])) < len(content["participants"]):
            raise RefusalError("the agreement sent for this run names a participant twice")
        if content["dim"] != content["features"].get("dim"):
            raise RefusalError("the agreement sent for this run: dim is not that of its features")
        if content["update_encoding"] not in UPDATE_ENCODINGS:
            raise RefusalError("the agreement sent for this run: update_encoding is none of this release")
        return cls(**content)
