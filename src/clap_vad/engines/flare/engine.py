"""FLARE as an engine: a question is a task for the sites' resident workers, and no site can block the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from ...errors import ClapError
from ...federation.ask import Ask, Reply
from ...federation.engine import Check
from ...federation.messages import ImpossibleMessageError, Message
from ...federation.wire import ask_to_wire, decode
from .envelope import FAILED, IMPOSSIBLE, OUTCOME, PAYLOAD, QUESTION, REFUSED, RUN, TASK, WHY

__all__ = ["FlareEngine", "Patience", "Progress", "RecalledError"]

_POLL = 0.02  # seconds between checks for replies


class RecalledError(ClapError):
    """The current job must end; the run is not at fault and continues in the next job."""


@dataclass(frozen=True)
class Patience:
    """Seconds of silence after which a site counts as absent.

    Attributes:
        start: since the start of the job; a worker must import its libraries first.
        gap: since its worker last asked for work; workers ask several times per second.
        contact: since the last contact with the site's main process, which starts the workers.
    """

    start: float = 60.0
    gap: float = 5.0
    contact: float = 15.0


@dataclass(frozen=True)
class Progress:
    """State of the current step.

    Attributes:
        ask: the question.
        replied: participants with a usable reply.
        waiting: participants that work on it or are about to.
        absent: participants that are not waited for.
        refused: participant -> why it does not answer, or why its reply is implausible.
    """

    ask: Ask
    replied: tuple[str, ...]
    waiting: tuple[str, ...]
    absent: tuple[str, ...]
    refused: Mapping[str, str]


@dataclass
class _Step:
    """Replies to one question; written by FLARE's threads."""

    replies: dict[str, Message] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)
    at_work: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


class FlareEngine:
    """Drives the workers of one FLARE job.

    Args:
        participants: ids, in the order in which replies are summed; equal to the names in the sites' certificates.
        run: id of the run.
        controller: FLARE's controller, which owns the tasks.
        fl_ctx, abort_signal: as FLARE passes them to the controller's ``control_flow``.
        contact: seconds since the last contact with a site's main process; None if unknown.
        recalled: whether the job must end as soon as no site is at work.
        on_progress: called when the state of the current step changes.
        patience: seconds of silence after which a site counts as absent.
    """

    def __init__(
        self,
        participants: Collection[str],
        run: str,
        controller: Controller,
        fl_ctx: FLContext,
        abort_signal: Signal,
        contact: Callable[[str], float | None],
        recalled: Callable[[], bool],
        on_progress: Callable[[Progress], None],
        patience: Patience | None = None,
    ) -> None:
        self.participants = tuple(participants)
        self._run = run
        self._controller, self._fl_ctx, self._abort = controller, fl_ctx, abort_signal
        self._contact, self._recalled, self._on_progress = contact, recalled, on_progress
        self._patience = patience or Patience()
        self._started = time.monotonic()
        # FLARE admits no site to a running job, so sites that were not connected at its start are not waited for.
        self._invited = {client.name for client in fl_ctx.get_engine().get_clients()}
        self._seen: dict[str, float] = {}

    def saw(self, participant: str) -> None:
        """Note that a worker asked for work."""
        self._seen[participant] = time.monotonic()

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Ask the targets; return when all connected targets have replied, or at the deadline.

        Raises:
            RecalledError: the job must end, and there are not enough replies.
            ClapError: all targets are connected, but too few of them answer.
        """
        if self._recalled():
            raise RecalledError("the job was recalled between two steps")
        step, targets = _Step(), ask.targets if ask.targets is not None else self.participants
        ask = replace(ask, targets=tuple(targets))
        task = self._task(ask, check, step)
        self._controller.broadcast(task, self._fl_ctx, targets=list(targets), min_responses=0)
        try:
            self._wait(ask, step, task)
        finally:
            self._controller.cancel_task(task)
        with step.lock:
            replies = [
                Reply(name, step.replies.get(name, {}), step.impossible.get(name, ""))
                for name in self.participants
                if name in step.replies or name in step.impossible
            ]
            self._check_willing(ask, step)
        return replies

    def _task(self, ask: Ask, check: Check, step: _Step) -> Task:
        data = Shareable()
        data[RUN] = self._run
        data[QUESTION], data[PAYLOAD] = ask_to_wire(ask)

        def sent(client_task: ClientTask, fl_ctx: FLContext) -> None:
            with step.lock:
                step.at_work.add(client_task.client.name)

        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:
            name, result = client_task.client.name, client_task.result
            client_task.result = None  # FLARE would keep it as long as the task
            self.saw(name)
            try:
                message = _open(result, check)
                check(name, message)
            except ImpossibleMessageError as error:
                with step.lock:
                    step.impossible[name] = str(error)
            except ClapError as error:
                with step.lock:
                    step.refused[name] = str(error)
            else:
                with step.lock:
                    step.replies[name] = message

        return Task(name=TASK, data=data, before_task_sent_cb=sent, result_received_cb=received)

    def _wait(self, ask: Ask, step: _Step, task: Task) -> None:
        """Wait for replies until no further reply is expected."""
        began, shown = time.monotonic(), None
        while True:
            ended = task.completion_status  # read first, so that the following check sees all replies until then
            progress = self._look(ask, step)
            if progress != shown:
                self._on_progress(progress)
                shown = progress
            enough = len(progress.replied) >= _wanted(ask, step)
            if not progress.waiting and (enough or not progress.absent):
                return
            if self._abort.triggered or (self._recalled() and not progress.waiting):
                raise RecalledError(f"the job ended during step '{ask.step}'")
            if self._starting(progress.waiting):
                began = time.monotonic()  # the deadline excludes the start of the workers
            if ask.deadline and time.monotonic() - began >= ask.deadline:
                return
            if ended is not None and not enough:
                raise RecalledError(f"FLARE ended step '{ask.step}' ({ended})")
            time.sleep(_POLL)

    def _starting(self, waiting: Collection[str]) -> bool:
        early = time.monotonic() - self._started < self._patience.start
        return early and any(name not in self._seen for name in waiting)

    def _look(self, ask: Ask, step: _Step) -> Progress:
        with step.lock:
            replied, refused = tuple(sorted(step.replies)), {**step.refused, **step.impossible}
            at_work = set(step.at_work)
        left = [name for name in ask.targets or () if name not in replied and name not in refused]
        absent = tuple(name for name in left if self._absent(name, name in at_work))
        waiting = tuple(name for name in left if name not in absent)
        return Progress(ask, replied, waiting, absent, refused)

    def _absent(self, name: str, at_work: bool) -> bool:
        if name not in self._invited:
            return True
        contact = self._contact(name)
        if contact is not None and contact > self._patience.contact:
            return True
        if at_work:
            return False  # a worker does not ask for work while it has some
        now = time.monotonic()
        if name not in self._seen:
            return now - self._started > self._patience.start
        return now - self._seen[name] > self._patience.gap

    def _check_willing(self, ask: Ask, step: _Step) -> None:
        able, wanted = len(ask.targets or ()) - len(step.refused) - len(step.impossible), _wanted(ask, step)
        if len(step.replies) < wanted and able < wanted:
            reasons = "; ".join(f"{name}: {why}" for name, why in sorted({**step.refused, **step.impossible}.items()))
            raise ClapError(f"step '{ask.step}' needs {wanted} sites, but too few can answer it ({reasons})")


def _wanted(ask: Ask, step: _Step) -> int:
    """Number of replies to wait for; sites with implausible replies are not replaced by others."""
    return min(ask.min_replies, len(ask.targets or ()) - len(step.impossible))


def _open(result: Any, check: Check) -> Message:
    """The message in a worker's result.

    Raises:
        ImpossibleMessageError: it is not a valid reply, or the site itself withheld its reply as implausible.
        ClapError: the worker did not answer.
    """
    if not isinstance(result, Shareable) or result.get_return_code() != ReturnCode.OK:
        raise ClapError("FLARE reports that its worker could not do the step")
    outcome = result.get(OUTCOME)
    if outcome == REFUSED:
        raise ClapError(f"refused there: {str(result.get(WHY))[:300]}")
    if outcome == FAILED:
        raise ClapError("failed there; its operator can see the reason with 'clap site status'")
    if outcome == IMPOSSIBLE:
        raise ImpossibleMessageError(f"withheld by the site: {str(result.get(WHY))[:300]}")
    payload = result.get(PAYLOAD)
    if not isinstance(payload, bytes):
        raise ImpossibleMessageError("sent an invalid reply")
    try:
        return decode(payload, check.most_bytes)
    except ClapError as error:
        raise ImpossibleMessageError(str(error)) from None
