"""A site's own rules: what it is willing to send, in what company, for how long. Only the site can change them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ClapError
from ..persistence import read_json, write_json
from .ask import Ask
from .bounds import UNITS, Bounds, read_bounds, write_bounds
from .messages import RETIRED, schemas

__all__ = ["Policy", "RefusalError"]

_FORMAT = 2
_SINCE_2 = ("allow_exact_sums", "maximum_questions", "maximum_spent")
"""Entries that a policy may do without: format 1 did not have them."""

_MOST_EPSILON = 10.0
"""Of a run whose exact sums open single crops: its noise must be worth the name."""


class RefusalError(ClapError):
    """A question that a site does not answer. Its sentence holds nothing of the site's and may be told to others."""


@dataclass(frozen=True)
class Policy:
    """What a site permits.

    Attributes:
        schemas: messages that may leave; None for all that are declared.
        minimum_cohort: participants that a run must have at least.
        maximum_rounds: rounds of training that a run may have.
        maximum_epsilon: differential privacy that a run must promise at least; None where none is asked for. A run
            that promises none has no bound, so any number refuses it; so does one that promises for crops alone.
        require_secure_aggregation: whether what depends on videos may leave only under masks that cancel in a sum.
        allow_exact_sums: whether a method whose sums open single crops to whoever chooses the questions (COMET) may
            run without noise, or with hardly any (epsilon above 10). For trials on data of one's own.
        maximum_questions: answers of a schema that may leave: in a run, within a year, ever.
        maximum_spent: epsilon that a unit, a video or a crop, may cost: by a run, by all of a year, by all ever.
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
        """Read ``policy.json``; raises :class:`ClapError` for anything but a whole and valid policy."""
        content = read_json(file)
        entries = ["format", *cls.__dataclass_fields__]
        if not isinstance(content, dict) or not set(entries) - set(_SINCE_2) <= content.keys() <= set(entries):
            raise ClapError(f"{file}: not a site's policy; it must have exactly the entries {', '.join(entries)}")
        version = content.pop("format")
        if type(version) is not int or not 1 <= version <= _FORMAT:
            raise ClapError(f"{file}: a policy of another release; {_FORMAT} is the format of this one")
        if version == 1 and (odd := [name for name in _SINCE_2 if name in content]):
            raise ClapError(f"{file}: format 1 has no entry '{odd[0]}'; make it format {_FORMAT}")
        known = {schema.name for schema in schemas()} | set(RETIRED)
        allowed, cohort, rounds = content["schemas"], content["minimum_cohort"], content["maximum_rounds"]
        if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
            raise ClapError(f"{file}: 'schemas' must be a list of names")
        if odd := sorted(set(allowed) - known):
            raise ClapError(f"{file}: 'schemas' names {', '.join(odd)}; known are {', '.join(sorted(known))}")
        if type(cohort) is not int or cohort < 1:
            raise ClapError(f"{file}: 'minimum_cohort' must be a whole number from 1")
        if rounds is not None and (type(rounds) is not int or rounds < 1):
            raise ClapError(f"{file}: 'maximum_rounds' must be a whole number from 1, or null for no limit")
        epsilon = content["maximum_epsilon"]
        if epsilon is not None and (type(epsilon) not in (int, float) or not 0 < epsilon < math.inf):
            raise ClapError(f"{file}: 'maximum_epsilon' must be a number above 0, or null for no bound")
        if type(content["require_secure_aggregation"]) is not bool:
            raise ClapError(f"{file}: 'require_secure_aggregation' must be true or false")
        if type(content.get("allow_exact_sums", False)) is not bool:
            raise ClapError(f"{file}: 'allow_exact_sums' must be true or false")
        asked, spent = (f"{file}: '{name}'" for name in _SINCE_2[1:])
        return cls(
            tuple(allowed),
            cohort,
            rounds,
            epsilon,
            content["require_secure_aggregation"],
            content.get("allow_exact_sums", False),
            read_bounds(content.get("maximum_questions", {}), known, True, asked),
            read_bounds(content.get("maximum_spent", {}), UNITS, False, spent),
        )

    def write(self, file: Path) -> None:
        """Write ``policy.json``, with every schema by name so that its reader can strike some out."""
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
        """Raise :class:`RefusalError` unless a run of so many participants and rounds is permitted.

        Args:
            epsilon: of the differential privacy that the run promises; None for none.
            secure: whether it promises secure aggregation.
            unit: of that differential privacy.
            needs_noise: whether exact sums of its method open single crops.
        """
        if needs_noise and epsilon is None and not self.allow_exact_sums:
            raise RefusalError(
                "a run whose exact sums open single crops to whoever chooses the questions; this policy asks for "
                "noise (--dp crop or --dp video, with a finite --epsilon)"
            )
        if needs_noise and epsilon is not None and epsilon > _MOST_EPSILON and not self.allow_exact_sums:
            raise RefusalError(
                f"a run with epsilon {epsilon:g}, whose noise hides little from whoever chooses the questions; this "
                f"policy asks for {_MOST_EPSILON:g} at most"
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
            asked = f"epsilon {self.maximum_epsilon:g} at most"
            raise RefusalError(f"a run with {promised}; this site's policy asks for {asked}")

    def check_question(self, ask: Ask) -> None:
        """Raise :class:`RefusalError` unless the reply that is asked for may leave.

        >>> Policy(("model_update",)).check_question(Ask("calibrate", reply="score_histogram"))
        Traceback (most recent call last):
        clap_vad.federation.policy.RefusalError: schema 'score_histogram' is outside this site's policy
        """
        if self.schemas is not None and ask.reply not in self.schemas:
            raise RefusalError(f"schema '{ask.reply}' is outside this site's policy")
        if "round" in ask.payload:
            number = np.asarray(ask.payload["round"])
            if number.shape != () or number.dtype.kind not in "iu":
                raise RefusalError("a round that is no number")
            self._check_rounds(int(number))

    def _check_rounds(self, rounds: int) -> None:
        if self.maximum_rounds is not None and rounds > self.maximum_rounds:
            raise RefusalError(f"{rounds} rounds; this site's policy permits {self.maximum_rounds}")
