"""Stage: the site's record of every message that left it, one JSON line each, in a file that stays at the site."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ...persistence import append_line
from ..messages import message_bytes
from .passage import Passage

__all__ = ["LEDGER", "WriteLedger"]

LEDGER = "ledger.jsonl"
"""The file in the run's folder at the site."""


class WriteLedger:
    """Writes the line before the message is handed to the engine.

    A message sent again after a restart is recorded again.

    Args:
        folder: of the run at the site.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / LEDGER
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, passage: Passage) -> Passage:
        ask = passage.ask
        protection = [word for word, there in (("noised", passage.noised), ("masked", passage.masked)) if there]
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "sequence": ask.sequence,
            "step": ask.step,
            "round": int(ask.payload["round"]) if "round" in ask.payload else None,
            "peer": "coordinator",
            "schema": passage.schema,
            "shapes": {key: list(np.shape(value)) for key, value in sorted(passage.message.items())},
            "bytes": message_bytes(passage.message),
            "sha256": passage.sha256,
            "protection": ", ".join(protection) or "none",
        }
        append_line(self._file, json.dumps(line))
        return passage
