"""A site's own rules: which messages it may send, in which runs. Only the site can change them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from ..errors import ClapError
from ..persistence import write_json
from ..records import Expected, Record, read_record
from .ask import Ask
from .bounds import UNITS, Bounds, Span, Unit, without_nulls, write_bounds
from .messages import RETIRED, schemas

__all__ = ["Policy", "RefusalError"]

_FORMAT = 2

_MOST_EPSILON = 10.0
"""Largest epsilon of a run whose exact sums could reveal single crops; above it noise hides too little."""


class RefusalError(ClapError):
    """A question that a site refuses. Its message holds no data of the site and may be shown to others."""


class _PolicyFile(Record):
    """``policy.json``. Format 1 did not have the entries that have a default."""

    what: ClassVar[str] = "a site's policy"

    format: Annotated[int, Field(ge=1, le=_FORMAT), Expected("1 or 2")]
    schemas: Annotated[tuple[str, ...], Expected("a list of names")]
    minimum_cohort: Annotated[int, Field(ge=1), Expected("a whole number from 1")]
    maximum_rounds: Annotated[int | None, Field(ge=1), Expected("a whole number from 1, or null for no limit")]
    maximum_epsilon: Annotated[float | None, Field(gt=0), Expected("a number above 0, or null for no bound")]
    require_secure_aggregation: Annotated[bool, Expected("true or false")]
    allow_exact_sums: Annotated[bool, Expected("true or false")] = False
    maximum_questions: Annotated[
        dict[str, dict[Span, Annotated[int | None, Field(ge=0)]]],
        Expected("{schema: {run, year, ever: a whole number from 0, or null for no bound}}"),
    ] = Field(default={})
    maximum_spent: Annotated[
        dict[Unit, dict[Span, Annotated[float | None, Field(gt=0)]]],
        Expected("{video, crop: {run, year, ever: a number above 0, or null for no bound}}"),
    ] = Field(default={})

    @field_validator("schemas", "maximum_questions")
    @classmethod
    def _known(cls, names: Collection[str]) -> Collection[str]:
        known = {schema.name for schema in schemas()} | set(RETIRED)
        if odd := sorted(set(names) - known):
            raise ValueError(f"names {', '.join(odd)}; known are {', '.join(sorted(known))}")
        return names

    @model_validator(mode="after")
    def _of_its_format(self) -> Self:
        later = [name for name, field in type(self).model_fields.items() if not field.is_required()]
        if self.format == 1 and (odd := [name for name in later if name in self.model_fields_set]):
            raise ValueError(f"format 1 has no entry '{odd[0]}'; make it format {_FORMAT}")
        return self


@dataclass(frozen=True)
class Policy:
    """A site's policy.

    Attributes:
        schemas: messages that may leave; None for all declared schemas.
        minimum_cohort: least number of participants in a run.
        maximum_rounds: largest number of training rounds in a run; None for no limit.
        maximum_epsilon: largest epsilon of a run; None for no limit. If a limit is set, runs without differential
            privacy are refused, and so are runs with differential privacy for crops only.
        require_secure_aggregation: whether data that depends on videos may leave only under masks.
        allow_exact_sums: whether a method whose exact sums could reveal single crops (COMET) may run without noise, or
            with little (epsilon above 10). For trials on your own data.
        maximum_questions: largest number of answers of a schema: in a run, within a year, ever.
        maximum_spent: largest epsilon of a unit, video or crop: by one run, by all runs of a year, by all runs ever.
    """

    schemas: tuple[str, ...] | None = None
    minimum_cohort: int = 1
    maximum_rounds: int | None = None
    maximum_epsilon: float | None = None
    require_secure_aggregation: bool = False
    allow_exact_sums: bool = False
    maximum_questions: Bounds = field(default_factory=dict)
    maximum_spent: Bounds = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Policy:
        """Read ``policy.json``; raises :class:`ClapError` unless it is a complete and valid policy."""
        found = read_record(file, _PolicyFile)
        bounds = (found.maximum_questions, found.maximum_spent)
        return cls(
            found.schemas,
            found.minimum_cohort,
            found.maximum_rounds,
            found.maximum_epsilon,
            found.require_secure_aggregation,
            found.allow_exact_sums,
            *(without_nulls(each) for each in bounds),
        )

    def write(self, file: Path) -> None:
        """Write ``policy.json``, with every schema by name, so that the operator can remove some."""
        allowed = [schema.name for schema in schemas()] if self.schemas is None else list(self.schemas)
        bounds = {
            "maximum_questions": write_bounds(self.maximum_questions),
            "maximum_spent": write_bounds(self.maximum_spent, UNITS),
        }
        write_json(file, {"format": _FORMAT, **asdict(self), "schemas": allowed, **bounds})

    def check_run(
        self,
        participants: int,
        rounds: int,
        epsilon: float | None,
        secure: bool = False,
        unit: str = "video",
        needs_noise: bool = False,
    ) -> None:
        """Raise :class:`RefusalError` unless a run with these properties is permitted.

        Args:
            participants, rounds: how many.
            epsilon: of the run's differential privacy; None without it.
            secure: whether it uses secure aggregation.
            unit: of that differential privacy.
            needs_noise: whether exact sums of its method could reveal single crops.
        """
        if needs_noise and epsilon is None and not self.allow_exact_sums:
            raise RefusalError(
                "a run whose exact sums could reveal single crops; this site's policy requires noise (--dp crop or "
                "--dp video, with a finite --epsilon)"
            )
        if needs_noise and epsilon is not None and epsilon > _MOST_EPSILON and not self.allow_exact_sums:
            raise RefusalError(
                f"a run with epsilon {epsilon:g}, whose noise hides too little; this site's policy permits "
                f"{_MOST_EPSILON:g} at most"
            )
        if self.require_secure_aggregation and not secure:
            raise RefusalError("a run without secure aggregation; this site's policy requires it")
        if participants < self.minimum_cohort:
            raise RefusalError(
                f"a run of {participants} participants; this site's policy asks for {self.minimum_cohort}"
            )
        self._check_rounds(rounds)
        other = unit != "video"
        if self.maximum_epsilon is not None and (epsilon is None or other or epsilon > self.maximum_epsilon):
            whose = f" for a {unit}, none for a video" if other else ""
            promised = "no differential privacy" if epsilon is None else f"epsilon {epsilon:g}{whose}"
            most = f"epsilon {self.maximum_epsilon:g} at most"
            raise RefusalError(f"a run with {promised}; this site's policy asks for {most}")

    def check_question(self, ask: Ask) -> None:
        """Raise :class:`RefusalError` unless its reply may leave.

        >>> Policy(("model_update",)).check_question(Ask("calibrate", reply="score_histogram"))
        Traceback (most recent call last):
        clap_vad.federation.policy.RefusalError: schema 'score_histogram' is outside this site's policy
        """
        if self.schemas is not None and ask.reply not in self.schemas:
            raise RefusalError(f"schema '{ask.reply}' is outside this site's policy")
        if "round" in ask.payload:
            number = np.asarray(ask.payload["round"])
            if number.shape != () or number.dtype.kind not in "iu":
                raise RefusalError("a round that is not a whole number")
            self._check_rounds(int(number))

    def _check_rounds(self, rounds: int) -> None:
        if self.maximum_rounds is not None and rounds > self.maximum_rounds:
            raise RefusalError(f"{rounds} rounds; this site's policy permits {self.maximum_rounds}")
