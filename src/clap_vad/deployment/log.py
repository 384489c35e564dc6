"""Our own log of a coordinator, a site or a run: ``log.jsonl`` in its folder, one JSON object a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..persistence import append_line

__all__ = ["note", "noted_runs", "read_notes"]

_MOST = 5_000_000  # bytes of the log before it is put aside, so that at most twice as much is kept


def note(home: Path, event: str, **facts: Any) -> None:
    """Add a line: time, event, and what there is to say of it."""
    file = home / "log.jsonl"
    if file.exists() and file.stat().st_size > _MOST:
        file.replace(home / "log.1.jsonl")
    append_line(
        file, json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts})
    )


def read_notes(home: Path, events: tuple[str, ...], last: int) -> list[dict[str, Any]]:
    """The last lines of these events, oldest first; a line torn by a kill is passed over."""
    file, found = home / "log.jsonl", []
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict) and content.get("event") in events:
                found.append(content)
    return found[-last:]


def noted_runs(home: Path) -> list[str]:
    """Folders of the runs that a coordinator's log names, the part that was put aside among it."""
    found: dict[str, None] = {}
    for file in (home / "log.1.jsonl", home / "log.jsonl"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict) and isinstance(content.get("run"), str):
                found[content["run"]] = None
    return list(found)
