"""The coordinator's side of FLARE: runs a job's work and reports connected workers to the engine."""

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

_CHECKING = 0.05  # seconds between FLARE's checks of its tasks


class FlareController(Controller):
    """Subclass it with the work of a job; FLARE creates one per job, in a separate process."""

    def __init__(self) -> None:
        super().__init__(task_check_period=_CHECKING)
        self._saw: Callable[[str], None] = lambda participant: None

    @abstractmethod
    def work(self, fl_ctx: FLContext, abort_signal: Signal) -> None:
        """The work of the job."""

    def watch(self, engine: FlareEngine) -> FlareEngine:
        """Report every worker that asks for work to this engine from now on."""
        self._saw = engine.saw
        return engine

    def start_controller(self, fl_ctx: FLContext) -> None:
        """FLARE's hook; no preparation is needed."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """FLARE's hook; no cleanup is needed."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """FLARE's hook: run the job."""
        self.work(fl_ctx, abort_signal)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook."""
        if event_type == EventType.BEFORE_PROCESS_TASK_REQUEST and fl_ctx.get_peer_context() is not None:
            self._saw(fl_ctx.get_peer_context().get_identity_name())

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """FLARE's hook: a late reply. It is not used, but it shows that the site is connected."""
        self._saw(client.name)
