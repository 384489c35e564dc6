"""Names of the files in the folder of a monitoring session."""

from __future__ import annotations

__all__ = ["CLIPS", "DATABASE", "LINES", "PAGE"]

DATABASE, LINES, CLIPS, PAGE = "watch.db", "events.jsonl", "clips", "report.html"
