"""The log of a coordinator, a site or a run: ``log.jsonl`` in its folder, one JSON object per line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..persistence import append_line, read_json_lines

__all__ = ["note", "noted_runs", "read_notes"]

_MOST = 5_000_000  # bytes of a log file before it is rotated; two files are kept


def note(home: Path, event: str, **facts: Any) -> None:
    """Add a line: time, event and facts."""
    file = home / "log.jsonl"
    if file.exists() and file.stat().st_size > _MOST:
        file.replace(home / "log.1.jsonl")
    append_line(
        file, json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts})
    )


def read_notes(home: Path, events: tuple[str, ...], last: int) -> list[dict[str, Any]]:
    """The last lines of these events, oldest first; a line cut by a kill is skipped."""
    return [content for content in read_json_lines(home / "log.jsonl") if content.get("event") in events][-last:]


def noted_runs(home: Path) -> list[str]:
    """Folders of the runs named in a coordinator's log, including its rotated file."""
    lines = [*read_json_lines(home / "log.1.jsonl"), *read_json_lines(home / "log.jsonl")]
    return list(dict.fromkeys(line["run"] for line in lines if isinstance(line.get("run"), str)))
