"""The account of a site over all its runs, and its status for the site's operator."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..core.statistics.accounting import Terms
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..federation.account import DELTA, Account, Answer, Data, epsilon
from ..federation.bounds import SPANS, UNITS
from ..federation.checkpoint import SiteState
from ..federation.messages import schemas
from ..federation.policy import Policy
from ..federation.run_account import noised
from ..persistence import read_json_lines

__all__ = ["account_status", "data_of", "open_account", "past_answers"]

_LAST = 99_999_999  # the highest number that a question can have


def open_account(home: Path) -> Account:
    """The account in a site's folder; a new one begins with the answers of earlier runs."""
    return Account(home / "account.jsonl", lambda: past_answers(home / "runs"))


def data_of(dataset: Dataset) -> Data:
    """The training videos of a site's dataset, as its account identifies them."""
    return Data.of(dataset.train_videos, [(store.path / "store.json").read_bytes() for store in dataset.stores])


def account_status(home: Path, dataset: Path, policy: Policy) -> dict[str, Any]:
    """Answers and privacy loss so far, and their limits; writes nothing.

    Returns:
        A JSON-able dict. ``used`` under ``run`` is the largest of all runs. A privacy loss of null in ``used`` is
        unbounded, and ``unbounded`` names the runs that cause it; null in ``permitted`` means no limit is set.
    """
    account = open_account(home)
    try:
        data = data_of(Dataset(dataset))
    except (ClapError, OSError):
        data = None  # count the answers on all datasets
    answers = {span: account.counted(span, data) for span in ("year", "ever")}
    runs: dict[str, list[Answer]] = {}
    for answer in answers["ever"]:
        runs.setdefault(answer.run, []).append(answer)
    names = dict.fromkeys([*(answer.schema for answer in answers["ever"]), *policy.maximum_questions])
    return {
        "file": str(account.file),
        "data": None if data is None else data.id,
        "videos": None if data is None else len(data.videos),
        "delta": DELTA,
        "questions": [
            {
                "schema": name,
                "used": {
                    "run": max((_number(own, name) for own in runs.values()), default=0),
                    **{span: _number(found, name) for span, found in answers.items()},
                },
                "permitted": {span: policy.maximum_questions.get(name, {}).get(span) for span in SPANS},
            }
            for name in names
        ],
        "spent": [
            {
                "unit": unit,
                "used": {
                    "run": _finite(max((epsilon(own, unit) for own in runs.values()), default=0.0)),
                    **{span: _finite(epsilon(found, unit)) for span, found in answers.items()},
                },
                "permitted": {span: policy.maximum_spent.get(unit, {}).get(span) for span in SPANS},
                "unbounded": [run for run, own in runs.items() if any(one.release(unit) is None for one in own)],
            }
            for unit in UNITS
        ],
    }


def _number(answers: list[Answer], schema: str) -> int:
    return sum(answer.schema == schema for answer in answers)


def _finite(loss: float) -> float | None:
    return round(loss, 4) if loss < math.inf else None


def past_answers(runs: Path) -> list[Answer]:
    """The answers that depend on videos in all ledgers ``runs/ID/ledger.jsonl``, oldest first.

    A noisy answer whose amount of noise is no longer known counts as one without noise.
    """
    declared, found = {schema.name: schema for schema in schemas()}, []
    for ledger in sorted(runs.glob("*/ledger.jsonl")):
        terms = _terms(ledger.parent / "state")
        for line in read_json_lines(ledger):
            try:
                names = [str(line[name]) for name in ("time", "step", "schema", "sha256", "protection")]
            except KeyError:
                continue  # not a ledger's line
            time, step, name, answer, protection = names
            schema = declared.get(name)
            if schema is not None and schema.bare:
                continue
            made = Answer(time, ledger.parent.name, step, name, "", "", answer)
            known = schema is not None and terms is not None and "noised" in protection
            found.append(noised(made, terms, schema.noised) if known and terms and schema else made)
    return sorted(found, key=lambda answer: answer.time)


def _terms(state: Path) -> Terms | None:
    """The run's terms; None without differential privacy, and if they are no longer known."""
    try:
        agreement = SiteState(state).before(_LAST).get("agreement")
        privacy = json.loads(agreement.tobytes())["privacy"] if agreement is not None else {}
        return Terms(**privacy) if privacy else None
    except (ClapError, ValueError, KeyError, TypeError):
        return None
