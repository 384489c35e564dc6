"""Attacks of a malicious coordinator on COMET, run against the run's own sites and compared with chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.comet import Comet
from ..algorithms.comet_site import mixture_of
from ..core.density.bounded_density import SHARES
from ..core.statistics.moments import Normaliser
from ..federation.ask import State
from ..federation.checkpoint import Checkpoint
from ..protection.session import LEAST_COHORT, least_members
from ..workflows.opening import Opened
from .attacks.bisection import ExtremeSearch, exact_parts, extreme_rows, halves
from .attacks.cells import about, padded
from .attacks.recovery import chance_rows, group_means, hits
from .attacks.slabs import CellSearch, averaged_guesses
from .malicious_coordinator import TRUTH, Attacks, Known
from .replay import Observed
from .subtraction import subtraction

__all__ = ["lying"]

_SCALE = 2.0
"""Standard deviation of rows under attack: the narrowest component is half as wide, and few rows are clipped."""

_ERROR, _GROUP = 0.05, 20
_COUNTED, _THRESHOLD = 5, 1.0


def lying(opened: Opened, observed: Observed, run: Path, scratch: Path) -> dict[str, Any] | None:
    """Attack as a malicious coordinator; None for methods other than COMET.

    Args:
        opened: the run's configuration.
        observed: its replay.
        run: its folder.
        scratch: an empty folder.

    Returns:
        ``slabs``, ``extremes`` and ``counts`` per group of sites whose answers are summed, ``collusion`` (None
        without masks), ``differencing``, ``subtraction``, and ``meaning``: the results in sentences.
    """
    if not isinstance(opened.method, Comet):
        return None
    state = Checkpoint(run / "checkpoints").load()
    attacks = Attacks(opened, _known(state if "fit.mass" in state else observed.state), scratch)
    small = sorted(opened.participants, key=lambda name: len(opened.participants[name]))
    secure, everybody = opened.plan.spec.secure_aggregation, len(opened.participants)
    least = least_members(everybody) if secure else 1
    part = 1 / math.sqrt(least)
    alone = list(dict.fromkeys([*small[:2], small[len(small) // 2]]))
    groups = [small[:least]] if secure else [[name] for name in alone]
    result = {
        "scale": _SCALE,
        "slabs": [_slabs(attacks, names, part) for names in groups],
        "collusion": [_slabs(attacks, [name], part) for name in alone] if secure else None,
        "extremes": [_extremes(attacks, names, part) for names in groups],
        "counts": [_counts(attacks, names, part) for names in groups],
        "differencing": _differencing(attacks, small[0]),
        "subtraction": subtraction(opened, attacks.known, observed, scratch / "subtraction"),
    }
    return result | {"meaning": _meaning(result)}


def _known(state: State) -> Known:
    normaliser = Normaliser(state["normaliser.mean"], state["normaliser.scale"])
    return Known(normaliser, state["sizes"], float(state["sizes.most"]), mixture_of(state))


def _slabs(attacks: Attacks, names: Sequence[str], noise: float) -> dict[str, Any]:
    """Rows recovered from cells of the feature space, by two uses of the rounds; the better one counts."""
    truth, label = attacks.truth(names), ", ".join(names)
    liar = attacks.liar(names, noise)
    liar.begin(_SCALE)
    whole = attacks.opened.plan.spec.privacy is None or attacks.opened.plan.spec.privacy.unit == "crop"
    search = CellSearch(liar.dim, liar.radius, _SCALE, exact=liar.exact, whole=whole, rng=attacks.rng(f"cells {label}"))
    for _ in range(liar.questions):
        search.answered(liar.expect(search.question()))
    ways = {"adaptive": search.guesses / _SCALE}
    if not liar.exact:
        liar = attacks.liar(names, noise)
        liar.begin(_SCALE)
        mixture = about(attacks.drawn(64, f"centres {label}") * _SCALE, _SCALE)
        rng = attacks.rng(f"averages {label}")
        guesses = averaged_guesses(liar.expect, mixture, liar.questions, radius=liar.radius, scale=_SCALE, rng=rng)
        ways["averaged"] = guesses / _SCALE
    found = {way: int(hits(guesses, truth, _ERROR).sum()) for way, guesses in ways.items()}
    best = max(found, key=lambda way: found[way])
    count, seed = len(ways[best]), attacks.opened.plan.spec.seed
    return {
        "participants": list(names),
        "rows": len(truth),
        "questions": liar.questions,
        "guesses": {way: len(guesses) for way, guesses in ways.items()},
        "within_5": found[best],
        "way": best,
        "chance_gaussian": int(hits(chance_rows(truth, count, seed), truth, _ERROR).sum()),
        "chance_density": int(hits(attacks.drawn(count, f"chance {label}"), truth, _ERROR).sum()),
        "chance_groups": int(hits(group_means(truth, count, _GROUP, attacks.rng(label)), truth, _ERROR).sum()),
    }


def _extremes(attacks: Attacks, names: Sequence[str], noise: float) -> dict[str, Any]:
    """The smallest and largest rows along each dimension, as many as the questions of one run isolate."""
    truth, liar = attacks.truth(names), attacks.liar(names, noise)
    liar.begin()
    search = ExtremeSearch(liar.dim, liar.radius, liar.exact, liar.questions)
    for _ in range(liar.questions):
        search.answered(liar.expect(search.question()))
    wanted = extreme_rows(truth)
    chance = extreme_rows(attacks.drawn(len(truth), f"extremes {names}"))
    return {
        "participants": list(names),
        "extremes": len(wanted),
        "within_5": int(hits(search.guesses, wanted, _ERROR).sum()),
        "chance_density": int(hits(chance, wanted, _ERROR).sum()),
    }


def _counts(attacks: Attacks, names: Sequence[str], noise: float) -> dict[str, Any]:
    """Counts of rows beyond a threshold, asked in every round: error of single answers and of their average."""
    truth = attacks.truth(names)
    drawn = attacks.drawn(100_000, "counts")
    once, mean, exact, exact_mean, guess = [], [], [], [], []
    for column in range(min(_COUNTED, truth.shape[1])):
        liar = attacks.liar(names, noise)
        liar.begin()
        mixture = halves(np.eye(liar.dim)[column], _THRESHOLD)
        answers = np.array([liar.expect(mixture).mass[1] / SHARES[0] for _ in range(liar.questions)])
        true = int((truth[:, column] > _THRESHOLD).sum())
        rng = attacks.rng(f"guess {column}")
        guessed = rng.binomial(len(truth), float((drawn[:, column] > _THRESHOLD).mean()), 1000)
        once.append(float(np.abs(answers - true).mean()))
        mean.append(abs(float(answers.mean()) - true))
        exact.append(exact_parts(answers, true))
        exact_mean.append(exact_parts(answers.mean(keepdims=True), true))
        guess.append(exact_parts(guessed, true))
    return {
        "participants": list(names),
        "thresholds": len(once),
        "off": float(np.mean(once)),
        "off_averaged": float(np.mean(mean)),
        "exact": float(np.mean(exact)),
        "exact_averaged": float(np.mean(exact_mean)),
        "exact_guessed": float(np.mean(guess)),
    }


def _differencing(attacks: Attacks, name: str) -> dict[str, Any]:
    """Errors of one site's sums: with masks as the difference of sums with and without it, else as it sends them."""
    everybody, secure = list(attacks.opened.participants), attacks.opened.plan.spec.secure_aggregation
    others = [other for other in everybody if other != name]
    result: dict[str, Any] = {"participant": name, "sizes": None, "moments": None, "expect": None}
    if secure and len(others) < LEAST_COHORT:
        return result
    true = _releases(attacks, [name], TRUTH)
    if secure:
        more = _releases(attacks, everybody, 1 / math.sqrt(least_members(len(everybody))))
        fewer = _releases(attacks, others, 1 / math.sqrt(least_members(len(others))))
        found = {step: more[step] - fewer[step] for step in more}
    else:
        found = _releases(attacks, [name], 1.0)
    return result | {
        step: float(np.linalg.norm(found[step] - true[step]) / np.linalg.norm(true[step])) for step in true
    }


def _releases(attacks: Attacks, names: Sequence[str], noise: float) -> dict[str, np.ndarray]:
    """The answers of these sites to the same three questions, each as one vector."""
    liar = attacks.liar(names, noise)
    sizes, moments = liar.begin()
    density = liar.expect(padded(attacks.known.mixture))
    parts = {"sizes": sizes.values(), "moments": moments.values()}
    found = {step: np.concatenate([np.ravel(value) for value in values]) for step, values in parts.items()}
    return found | {"expect": np.concatenate([density.mass, density.first.ravel(), density.second.ravel()])}


def _meaning(result: dict[str, Any]) -> str:
    def found(rows: list[dict[str, Any]]) -> str:
        return "; ".join(f"{row['within_5']} of {row['rows']} rows of {_names(row)} ({_chance(row)})" for row in rows)

    parts = [f"A malicious coordinator recovers within 5 %: {found(result['slabs'])}."]
    if result["collusion"] is not None:
        parts.append(f"With the help of all other sites: {found(result['collusion'])}.")
    isolated = sum(row["within_5"] for row in result["extremes"])
    asked = sum(row["extremes"] for row in result["extremes"])
    parts.append(f"It isolates {isolated} of {asked} extreme rows.")
    counts = result["counts"]
    parts.append(
        f"Its counts beyond a threshold are off by {np.mean([row['off'] for row in counts]):.2g} crops, or "
        f"{np.mean([row['off_averaged'] for row in counts]):.2g} if it asks the same in all rounds."
    )
    return " ".join(parts)


def _names(row: dict[str, Any]) -> str:
    names = row["participants"]
    return f"'{names[0]}'" if len(names) == 1 else f"the sum over {len(names)} sites"


def _chance(row: dict[str, Any]) -> str:
    chance = max(row["chance_gaussian"], row["chance_density"])
    return f"chance {chance}, means of {_GROUP} rows {row['chance_groups']}"
