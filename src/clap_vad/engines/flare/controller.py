"""The coordinator's side of FLARE: runs whatever asks questions, and tells the engine who is there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from .engine import FlareEngine

__all__ = ["FlareController"]

_CHECKING = 0.05  # seconds between FLARE's own looks at its tasks


class FlareController(Controller):
    """Subclass it with what a job does; FLARE makes one when a job begins, in a process of its own."""

    def __init__(self) -> None:
        super().__init__(task_check_period=_CHECKING)
        self._saw: Callable[[str], None] = lambda participant: None

    @abstractmethod
    def work(self, fl_ctx: FLContext, abort_signal: Signal) -> None:
        """What the job does, from its beginning to its end."""

    def watch(self, engine: FlareEngine) -> FlareEngine:
        """From now on tell this engine of every worker that asks for work."""
        self._saw = engine.saw
        return engine

    def start_controller(self, fl_ctx: FLContext) -> None:
        """FLARE's hook; nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """FLARE's hook; nothing to put away."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """FLARE's hook: the job."""
        self.work(fl_ctx, abort_signal)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook."""
        if event_type == EventType.BEFORE_PROCESS_TASK_REQUEST and fl_ctx.get_peer_context() is not None:
            self._saw(fl_ctx.get_peer_context().get_identity_name())

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """FLARE's hook: a reply that came too late. It is not used, but the site is there."""
        self._saw(client.name)
