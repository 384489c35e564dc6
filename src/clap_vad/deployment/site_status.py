"""A site's status for its operator: whether it is connected, what it refused and why, what has left it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from ..errors import ClapError
from ..federation.policy import Policy
from ..persistence import read_json_lines
from ..records import Record, read_record
from ..trust.identity import check_identity
from ..trust.site_home import SiteHome
from .log import read_notes
from .site_account import account_status
from .site_service import STATUS

__all__ = ["site_status"]

_PROBLEMS = ("question refused", "question failed", "refused", "client ended", "unreachable")
_SILENT = 60.0  # seconds without a status after which a service counts as not running


class _Service(Record):
    """The entries of ``status.json`` that are needed here."""

    model_config = ConfigDict(extra="ignore")

    time: float
    state: str
    why: str


def site_status(home: SiteHome) -> dict[str, Any]:
    """The site's status for its operator.

    Returns:
        A JSON-able dict: ``state`` and ``why``, certificate, policy, ``account`` of the answers and the privacy loss of
        all runs, messages that left by schema, last problems.
    """
    try:
        service = read_record(home.path / STATUS, _Service)
        silent = time.time() - service.time > _SILENT
        state, why = ("not running", "") if silent else (service.state, service.why)
    except ClapError:
        state, why = "not running", ""
    problem, days = None, None
    try:
        days = round(check_identity(home.certificate, home.key, home.authority, home.name), 1)
    except ClapError as error:
        problem = str(error)
    policy = Policy.read(home.path / "policy.json")
    return {
        "home": str(home.path),
        "site": home.name,
        "federation": home.federation,
        "coordinator": f"{home.host}:{home.port}",
        "dataset": str(home.dataset),
        "state": state,
        "why": why,
        "certificate_days_left": days,
        "certificate_problem": problem,
        "policy": {"file": str(home.path / "policy.json"), **vars(policy), "schemas": list(policy.schemas or ())},
        "account": account_status(home.path, home.dataset, policy),
        "sent": _sent(home.path / "runs"),
        "problems": read_notes(home.path, _PROBLEMS, 5),
    }


def _sent(runs: Path) -> list[dict[str, Any]]:
    """Messages and bytes that have left, by run and schema, from the site's own ledgers."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for ledger in sorted(runs.glob("*/ledger.jsonl")):
        for line in read_json_lines(ledger):
            try:
                key = (ledger.parent.name, str(line["schema"]))
                row = found.setdefault(key, {"run": key[0], "schema": key[1], "messages": 0, "bytes": 0})
                row["messages"] += 1
                row["bytes"] += int(line["bytes"])
                row["last"] = line["time"]
            except (ValueError, KeyError, TypeError):
                continue  # not a ledger's line
    return list(found.values())
