"""``clap privacy ledger``: every message that left a site, from the site's own ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..federation.messages import schemas

__all__ = ["privacy_ledger", "read_ledger"]

_ENTRIES = ("time", "step", "round", "schema", "shapes", "bytes", "sha256", "protection")


def privacy_ledger(run: Path, site: str | None = None, run_id: str | None = None) -> dict[str, Any]:
    """Read the ledger of a site.

    Args:
        run: a run folder with ledgers ``sites/ID/ledger.jsonl``, or a site's own folder with ``runs/ID/``.
        site: id of the site; needed for a run folder.
        run_id: id of the run; for a site's folder with several runs.

    Returns:
        A JSON-able dict: ``file``, ``messages`` (each with its ``purpose`` added), ``totals`` per schema, ``bytes``,
        and ``torn``: True if a kill has cut the last line.

    Raises:
        ClapError: no such ledger (the message names the known ones), or a broken line.
    """
    file = _ledger_file(run, site, run_id)
    lines, torn = read_ledger(file)
    purposes = {declared.name: declared.purpose for declared in schemas()}
    messages = [
        {**line, "purpose": purposes.get(line["schema"], "a schema that this release does not know")} for line in lines
    ]
    totals: dict[str, dict[str, Any]] = {}
    for line in messages:
        row = totals.setdefault(
            line["schema"],
            {"schema": line["schema"], "messages": 0, "bytes": 0, "masked": 0, "noised": 0, "purpose": line["purpose"]},
        )
        row["messages"] += 1
        row["bytes"] += line["bytes"]
        for protection in ("masked", "noised"):
            row[protection] += protection in line["protection"]
    return {
        "file": str(file),
        "messages": messages,
        "totals": list(totals.values()),
        "bytes": sum(line["bytes"] for line in messages),
        "torn": torn,
    }


def read_ledger(file: Path) -> tuple[list[dict[str, Any]], bool]:
    """Lines of a ledger, and whether its last line is cut; raises :class:`ClapError` for any other broken line."""
    texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = []
    for number, text in enumerate(texts, start=1):
        line = _parsed(text)
        if line is not None:
            lines.append(line)
        elif number < len(texts):
            raise ClapError(
                f"{file}: line {number} is not a valid ledger line; if a kill has cut it, delete it, else find out who "
                "wrote it"
            )
    return lines, bool(texts) and _parsed(texts[-1]) is None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or any(name not in line for name in _ENTRIES):
        return None
    if type(line["bytes"]) is not int or not isinstance(line["shapes"], dict) or type(line["round"]) not in _ROUNDS:
        return None
    texts = (line[name] for name in ("time", "step", "schema", "sha256", "protection"))
    return line if all(isinstance(entry, str) for entry in texts) else None


_ROUNDS = (int, type(None))


def _ledger_file(run: Path, site: str | None, run_id: str | None) -> Path:
    if not run.is_dir():
        raise ClapError(f"{run}: no such folder; give a run or a site's folder")
    if (run / "sites").is_dir():
        if run_id is not None:
            raise ClapError(f"{run}: a run folder contains one run; leave --run out")
        if site is None:
            raise ClapError(f"{run}: --site is needed; {_there(_names(run / 'sites'), 'sites')}")
        return _chosen(run / "sites", site, "site", "sites")
    if (run / "runs").is_dir():
        names = _names(run / "runs")
        if run_id is None and len(names) != 1:
            raise ClapError(f"{run / 'runs'}: --run is needed; {_there(names, 'runs')}")
        return _chosen(run / "runs", run_id or names[0], "run", "runs")
    raise ClapError(f"{run}: contains no ledgers; give a run of 'clap train', or the folder of a site that took part")


def _chosen(folder: Path, name: str, kind: str, kinds: str) -> Path:
    names = _names(folder)
    if name not in names:
        raise ClapError(f"{folder}: no {kind} '{name}' with a ledger; {_there(names, kinds)}")
    return folder / name / "ledger.jsonl"


def _names(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("*/ledger.jsonl"))


def _there(names: Sequence[str], kinds: str) -> str:
    return f"known {kinds}: {', '.join(names) or 'none'}"
