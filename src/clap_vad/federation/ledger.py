"""The site's record of every message that left it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..persistence import append_line
from .ask import Ask
from .messages import Message, message_bytes
from .run_account import RunAccount

__all__ = ["Ledger"]


class Ledger:
    """Appends one JSON line per outgoing message to a file that stays at the site.

    A message sent again after a restart stands there again: it did leave again.

    Args:
        file: the ledger.
        account: of a site that adds up what all its runs cost; what it refuses is neither written nor sent.

    Attributes:
        folder: in which it lies; of the run at the site.
    """

    def __init__(self, file: Path, account: RunAccount | None = None) -> None:
        self._file, self.folder, self._account = file, file.parent, account
        file.parent.mkdir(parents=True, exist_ok=True)

    def record(
        self, ask: Ask, schema: str, message: Message, protection: str, peer: str = "coordinator", done: str = ""
    ) -> None:
        """Write the line; called before the message is handed to the engine.

        Args:
            ask: the question.
            schema: of the message, as it was before any masks.
            message: what leaves.
            protection: ``noised``, ``masked``, both, or ``none``.
            peer: who gets it.
            done: schema of what a step that was done in silence would have answered, where it counts all the same.

        Raises:
            RefusalError: it would exceed a bound of the site's policy over runs.
        """
        digest = hashlib.sha256()
        for key in sorted(message):
            digest.update(key.encode())
            digest.update(np.asarray(message[key]).tobytes())
        if self._account is not None:
            self._account.enter(ask, done or schema, digest.hexdigest())
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "sequence": ask.sequence,
            "step": ask.step,
            "round": int(ask.payload["round"]) if "round" in ask.payload else None,
            "peer": peer,
            "schema": schema,
            "shapes": {key: list(np.shape(value)) for key, value in sorted(message.items())},
            "bytes": message_bytes(message),
            "sha256": digest.hexdigest(),
            "protection": protection,
        }
        append_line(self._file, json.dumps(line))
