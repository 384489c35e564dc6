"""Shows other processes of a site that FLARE's client is connected to the coordinator."""

from __future__ import annotations

from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext

__all__ = ["Heartbeat"]


class Heartbeat(FLComponent):
    """Named in a client's ``resources.json``.

    Args:
        file: touched whenever the coordinator answers.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = Path(file)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook."""
        if event_type == EventType.AFTER_CLIENT_HEARTBEAT:
            self._file.touch()
