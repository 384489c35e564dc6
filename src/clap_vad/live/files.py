"""What lies in the folder of a watch."""

from __future__ import annotations

__all__ = ["CLIPS", "DATABASE", "LINES", "PAGE"]

DATABASE, LINES, CLIPS, PAGE = "watch.db", "events.jsonl", "clips", "report.html"
