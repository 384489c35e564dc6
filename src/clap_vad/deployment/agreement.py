"""What coordinator and sites agree on before a run across organisations: all that decides its result, as data."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..core.statistics.accounting import Terms, epsilon_of
from ..errors import ClapError, unprintable
from ..features.extraction.extractor import roles_of
from ..federation.account import DELTA
from ..federation.encoding import UPDATE_ENCODINGS
from ..federation.policy import RefusalError
from ..federation.strategy import make_strategy
from ..workflows.choices import MOST_THREADS

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


_MOST_ROUNDS = 100_000
"""A site works out for each whether it is drawn."""

_ROUNDING = 1e-6
"""Of epsilon: other releases of the accountant may differ in the last digits."""


@dataclass(frozen=True)
class Agreement:
    """The choices of a run, the same at every site.

    Attributes:
        method, options, strategy, strategy_options: by name, and every setting.
        participants: in the order in which replies are summed.
        labelled: those of them that use the labels of their training videos.
        rounds, seed, normalise, threads, dim, fraction, stragglers: see :class:`~clap_vad.algorithms.plan.Plan`.
        features: what every site's features must be, see :func:`~clap_vad.features.store.description.describe`.
        secure: whether replies leave sites under masks only.
        privacy: entries of :class:`~clap_vad.core.statistics.accounting.Terms`; empty without differential privacy.
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
    privacy: dict[str, Any]
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
            roles=roles_of(self.features["extractor"], self.features["settings"]),
            fraction=self.fraction,
            stragglers=self.stragglers,
            secure=self.secure,
            privacy=Terms(**self.privacy) if self.privacy else None,
            update_encoding=self.update_encoding,
        )

    def check_promise(self) -> float | None:
        """Epsilon of the run's differential privacy, at :data:`~clap_vad.federation.account.DELTA`; None for none.

        A larger delta of its own would make any epsilon small, and a site's policy bounds epsilon alone.

        Raises:
            RefusalError: the noise that the terms have does not keep their promise, or is not drawn by the sites; or
                the method can promise no such thing.
        """
        if not self.privacy:
            return None
        terms = Terms(**self.privacy)
        method = self.make_method()
        if not method.private_statistics() or terms.unit not in method.private_units:
            raise RefusalError(f"method '{self.method}' with these settings hides no {terms.unit}; refused")
        if terms.sampling < 1 and not method.trains_by_sgd:
            # It has all of its units in each sum, so drawing some saves no noise.
            raise RefusalError(f"method '{self.method}' draws no sample of a site's {terms.unit}s; refused")
        if terms.seed is not None:
            raise RefusalError("noise from a number that the coordinator knows; a site draws its own")
        if terms.epsilon is not None and epsilon_of(terms) > terms.epsilon * (1 + _ROUNDING):
            raise RefusalError(f"noise that does not keep its promise of epsilon {terms.epsilon:g}")
        if terms.epsilon is None or terms.delta <= DELTA:
            return terms.epsilon
        return max(terms.epsilon, epsilon_of(replace(terms, delta=DELTA)))

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
            if not all(isinstance(entry, str) and not unprintable(entry) for entry in content[name]):
                raise RefusalError(f"the agreement sent for this run: '{name}' must be names of printable characters")
            content[name] = tuple(content[name])
        if min(content["rounds"], content["threads"], content["dim"]) < 1 or content["seed"] < 0:
            raise RefusalError("the agreement sent for this run: rounds, threads and dim must be at least 1, seed 0")
        if content["rounds"] > _MOST_ROUNDS:
            raise RefusalError(f"the agreement sent for this run: rounds must be at most {_MOST_ROUNDS}")
        if content["threads"] > MOST_THREADS:
            raise RefusalError(f"the agreement sent for this run: threads must be at most {MOST_THREADS}")
        if len(set(content["participants"])) < len(content["participants"]):
            raise RefusalError("the agreement sent for this run names a participant twice")
        try:
            _ = content["privacy"] and Terms(**content["privacy"])
        except (ClapError, TypeError):
            raise RefusalError("the agreement sent for this run: impossible terms of differential privacy") from None
        if content["dim"] != content["features"].get("dim"):
            raise RefusalError("the agreement sent for this run: dim is not that of its features")
        if content["update_encoding"] not in UPDATE_ENCODINGS:
            raise RefusalError("the agreement sent for this run: update_encoding is none of this release")
        return cls(**content)
