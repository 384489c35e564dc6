"""A site's account, used by one run: refuses what would exceed a bound of the site's policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..core.statistics.accounting import Release, Terms
from .account import Account, Answer, Data, epsilon
from .ask import Ask
from .messages import schema as schema_of
from .policy import Policy, RefusalError
from .question import question_digest

__all__ = ["RunAccount", "noised"]

_ROUNDING = 1e-6
"""Tolerance of epsilon: a run that costs exactly the limit is permitted."""
_OVER = {"run": "in a run", "year": "within 365 days", "ever": "over all runs"}


class RunAccount:
    """One run of a site.

    Args:
        account: of the site.
        policy: its bounds.
        run: the run's id.
        data: the training videos that it answers from.
        terms: of its differential privacy, once agreed; None without it.
        spent: gives the number of releases of each kind under these terms, including those that never left.
    """

    def __init__(
        self,
        account: Account,
        policy: Policy,
        run: str,
        data: Data,
        terms: Terms | None = None,
        spent: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._account, self._policy, self._run, self._data = account, policy, run, data
        self._terms, self._spent = terms, spent

    def check_run(self, terms: Terms | None) -> None:
        """Raise :class:`RefusalError` if a complete run on these terms would exceed a bound on epsilon."""
        self._account.look()
        self._check_spent(terms, {})

    def check_question(self, ask: Ask, schema: str) -> None:
        """Raise :class:`RefusalError` if the answer to a question would exceed a bound, before it is computed.

        A repeated question passes: the same answer again costs nothing, and :meth:`enter` checks that it is the same.
        With noise this holds within one run only.
        """
        if (declared := schema_of(schema)).bare:
            return
        self._account.look()
        bounded = schema in self._policy.maximum_questions
        if bounded and not self._account.has_asked(self._data, _digest(ask), self._run if declared.noised else ""):
            self._check_number(schema)
        self._check_spent(self._terms, self._spent())

    def enter(self, ask: Ask, schema: str, answer: str) -> None:
        """Record an answer that is about to leave.

        Args:
            ask: the question.
            schema: of the answer, before masks.
            answer: SHA-256 of what leaves.

        Raises:
            RefusalError: it would exceed a bound, and differs from the earlier answer to the same question.
        """
        if (declared := schema_of(schema)).bare:
            return
        if ask.silent:
            answer = f"in silence, {self._run}"  # nothing left, and what was done belongs to this run
        made = Answer("", self._run, ask.step, schema, self._data.id, _digest(ask), answer)
        if self._terms is not None and declared.noised:
            made = noised(made, self._terms, declared.noised)
        with self._account.held():
            if self._account.has(made):
                return
            self._check_number(schema)
            self._check_spent(self._terms, self._spent(), [made])
            self._account.add(made, self._data)

    def _check_number(self, schema: str) -> None:
        for span, bound in self._policy.maximum_questions.get(schema, {}).items():
            answers = self._account.counted(span, self._data, self._run)
            if sum(answer.schema == schema for answer in answers) >= bound:
                raise RefusalError(
                    f"schema '{schema}' was answered {bound:g} times {_OVER[span]}; this site's policy permits no more"
                )

    def _check_spent(self, terms: Terms | None, spent: Mapping[str, int], made: Sequence[Answer] = ()) -> None:
        """Refuse if past answers, ``made`` and all further releases of the run together exceed a bound."""
        for unit, bounds in self._policy.maximum_spent.items():
            for span, bound in bounds.items():
                answers = [*self._account.counted(span, self._data, self._run), *made]
                if epsilon(answers, unit, _left(terms, spent, unit)) > bound * (1 + _ROUNDING):
                    raise RefusalError(
                        f"with this run the privacy loss of a {unit} could exceed epsilon {bound:g}; this site's "
                        f"policy permits no more {_OVER[span]}"
                    )


def _left(terms: Terms | None, spent: Mapping[str, int], unit: str) -> Counter[Release | None]:
    """The releases that a run may still make."""
    if terms is None:
        return Counter({None: 1})
    left: Counter[Release | None] = Counter()
    for kind, times in (("statistics", terms.statistics), ("training", terms.rounds)):
        one = noised(Answer("", "", "", "", "", "", ""), terms, kind).release(unit)
        left[one] += max(0, times + terms.spare - spent.get(kind, 0))
    return left


def noised(answer: Answer, terms: Terms, kind: str) -> Answer:
    """The answer with the noise that the terms have for this kind of release."""
    if kind == "training":
        return replace(answer, noise=terms.noise_training, sampling=terms.sampling, unit=terms.unit)
    return replace(answer, noise=terms.noise_statistics, unit=terms.unit)


def _digest(ask: Ask) -> str:
    """Digest of the question without its number in the run."""
    return question_digest(replace(ask, sequence=0)).hex()
