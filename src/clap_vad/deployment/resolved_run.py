"""The resolved run specification, which the coordinator sends to the sites before a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass as record

from ..algorithms.method import Method, make_method
from ..algorithms.plan import Plan
from ..core.statistics.accounting import epsilon_of
from ..errors import unprintable
from ..federation.account import DELTA
from ..federation.policy import RefusalError
from ..records import record_from
from ..specification.choice import names_at_sites
from ..specification.run import STRICT, Names, RunOptions, RunSpecification

__all__ = ["ResolvedRun"]

_MOST_ROUNDS = 100_000
"""A site computes for each round whether it is drawn."""

_ROUNDING = 1e-6
"""Of epsilon: other releases of the accountant may differ in the last digits."""

_REMEDY = "use one release at coordinator and sites"
_WHERE = "the run specification sent by the coordinator"
_NAMES = names_at_sites(RunOptions)


@record(frozen=True, kw_only=True, config=STRICT)
class _Others:
    """What sites receive in addition to the specification."""

    participants: Names
    labelled: Names
    dim: int
    features: dict[str, Any]


@dataclass(frozen=True)
class ResolvedRun:
    """A completely resolved run, the same at every site.

    Attributes:
        spec: of the run; at a site, options that only the coordinator needs have their defaults.
        participants: in the order in which replies are summed.
        labelled: participants that use the labels of their training videos.
        features: required of every site, see :func:`~clap_vad.features.store.description.describe`.
    """

    spec: RunSpecification
    participants: tuple[str, ...]
    labelled: tuple[str, ...]
    features: dict[str, Any]

    def plan(self) -> Plan:
        """The run's plan."""
        return Plan.of(self.spec, self.participants, self.features)

    def with_options_of(self, spec: RunSpecification) -> ResolvedRun:
        """The same at the coordinator, with the options of its specification that sites do not receive."""
        return replace(self, spec=replace(spec, **{name: getattr(self.spec, name) for name in _NAMES}))

    def check_promise(self) -> float | None:
        """Epsilon of the run's differential privacy, at :data:`~clap_vad.federation.account.DELTA`; None for none.

        A run with a larger delta could state any small epsilon, and a site's policy bounds only epsilon.

        Raises:
            RefusalError: the noise of the terms is too small for their epsilon, or not drawn by the sites; or the
                method does not support the unit.
        """
        terms = self.spec.privacy
        if terms is None:
            return None
        name, method = self.spec.method, self.make_method()
        if not method.private_statistics() or terms.unit not in method.private_units:
            raise RefusalError(f"method '{name}' with these settings hides no {terms.unit}; refused")
        if terms.sampling < 1 and not method.trains_by_sgd:
            # All units are in each sum, so sampling must not reduce the noise.
            raise RefusalError(f"method '{name}' draws no sample of a site's {terms.unit}s; refused")
        if terms.seed is not None:
            raise RefusalError("noise from a seed that the coordinator knows; a site draws its own")
        if terms.epsilon is not None and epsilon_of(terms) > terms.epsilon * (1 + _ROUNDING):
            raise RefusalError(f"noise that is too small for its epsilon of {terms.epsilon:g}")
        if terms.epsilon is None or terms.delta <= DELTA:
            return terms.epsilon
        return max(terms.epsilon, epsilon_of(replace(terms, delta=DELTA)))

    def make_method(self) -> Method:
        """The method with its settings."""
        return make_method(self.spec.method, self.spec.options)

    def to_array(self) -> np.ndarray:
        """As an array for a question, uint8."""
        entries = self.spec.as_json()
        content = {name: entries[field] for field, name in _NAMES.items()}
        content |= {"participants": self.participants, "labelled": self.labelled, "features": self.features}
        content["dim"] = self.features["dim"]
        return np.frombuffer(json.dumps(content, sort_keys=True).encode(), np.uint8)

    @classmethod
    def from_array(cls, array: np.ndarray) -> ResolvedRun:
        """The resolved run in such an array; raises :class:`RefusalError` for an invalid one."""
        try:
            content = json.loads(np.asarray(array, np.uint8).tobytes())
        except (ValueError, RecursionError):
            raise _refused("is not readable") from None
        others = [*_Others.__dataclass_fields__]
        if not isinstance(content, dict) or content.keys() != {*_NAMES.values(), *others}:
            raise _refused("is not one of this release; install the coordinator's")
        entries = {field: content[name] for field, name in _NAMES.items()}
        spec = record_from(entries, RunSpecification, _WHERE, RefusalError, _REMEDY)
        rest = record_from({name: content[name] for name in others}, _Others, _WHERE, RefusalError, _REMEDY)
        _check(spec, rest)
        return cls(spec, rest.participants, rest.labelled, rest.features)


def _check(spec: RunSpecification, rest: _Others) -> None:
    if any(map(unprintable, (*rest.participants, *rest.labelled))):
        raise _refused("has names of participants that are not printable")
    if len(set(rest.participants)) < len(rest.participants):
        raise _refused("names a participant twice")
    if not 1 <= spec.rounds <= _MOST_ROUNDS:
        raise _refused(f"has {spec.rounds} rounds; a number from 1 to {_MOST_ROUNDS} is needed")
    if spec.threads < 1 or rest.dim < 1 or spec.normalise == "auto":
        raise _refused("leaves 'threads', 'dim' or 'normalise' open")
    if rest.dim != rest.features.get("dim"):
        raise _refused("has another 'dim' than its features")


def _refused(why: str) -> RefusalError:
    return RefusalError(f"{_WHERE} {why}")
