"""Work in several processes at once, each apart from the crashes of the others.

Processes are started afresh (no fork, no need for a ``__main__`` guard in the caller's script) and speak JSON lines;
nothing is pickled. One that dies fails the task it was at and is replaced. When the parent goes away, by kill -9 too,
so do they.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["DIED", "ONE_THREAD", "PROGRESS", "Message", "Task", "run_tasks", "serve"]

Task = dict[str, Any]
Message = dict[str, Any]

PROGRESS = "progress"
"""Key of a message that does not end its task."""

DIED = "died"
"""Key of the message, and in it a sentence, that ends the task of a process that is gone."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of processes that are to leave the other cores to one another."""

_ROOT = str(Path(__file__).resolve().parents[1])


def run_tasks(
    module: str, tasks: Sequence[Task], workers: int, environment: Mapping[str, str] | None = None
) -> Generator[tuple[Task, Message], None, None]:
    """Run the tasks, starting them in order, and yield every message with its task, in order of arrival.

    Each task ends with a message without :data:`PROGRESS`. Closing the iterator ends the processes.

    Args:
        module: what a process runs (``python -m``); it must call :func:`serve`.
        tasks: fit for JSON.
        workers: processes at once.
        environment: added to this process's own.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    messages: queue.SimpleQueue[tuple[Task, Message]] = queue.SimpleQueue()
    start = partial(_start, module, environment or {})
    crew = [_Worker(start, waiting, messages) for _ in range(min(workers, len(tasks)))]
    try:
        for worker in crew:
            worker.start()
        remaining = len(tasks)
        while remaining:
            task, message = messages.get()
            remaining -= PROGRESS not in message
            yield task, message
    finally:
        for worker in crew:
            worker.stop()
        for worker in crew:
            worker.join()


def serve(work: Callable[[Task], Iterable[Message]]) -> None:
    """The other side: take tasks from standard input until it closes, and send each one's messages."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the messages
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        for message in work(tasks.get()):
            channel.write(json.dumps(message) + "\n")
            channel.flush()


def _listen(tasks: queue.SimpleQueue[Task]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # the parent is gone or done: stop at once, even in the middle of a task


class _Worker(threading.Thread):
    """A thread that keeps one process busy."""

    def __init__(
        self,
        start: Callable[[], subprocess.Popen[str]],
        waiting: queue.SimpleQueue[Task],
        messages: queue.SimpleQueue[tuple[Task, Message]],
    ) -> None:
        super().__init__(daemon=True)
        self._start, self._waiting, self._messages = start, waiting, messages
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def run(self) -> None:
        while (process := self._alive()) is not None:
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                break
            message = self._hand_over(process, task)
            if not self._stopped:
                self._messages.put((task, message))
        self.stop()

    def stop(self) -> None:
        """End the process at once; what it was writing is not finished and counts for nothing."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _alive(self) -> subprocess.Popen[str] | None:
        with self._lock:
            if not self._stopped and (self._process is None or self._process.poll() is not None):
                self._process = self._start()
            return None if self._stopped else self._process

    def _hand_over(self, process: subprocess.Popen[str], task: Task) -> Message:
        """Hand a task over, pass on progress, and return the message that ends it."""
        assert process.stdin is not None and process.stdout is not None  # both are pipes, see _start
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message: Message = json.loads(line)
                if PROGRESS not in message:
                    return message
                self._messages.put((task, message))
        except (BrokenPipeError, ValueError):
            pass
        return {DIED: _death(process.wait())}


def _start(module: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its workers
    )


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the process at work on it was killed (out of memory?)"
    if status < 0:
        return f"the process at work on it crashed ({signal.Signals(-status).name})"
    return f"the process at work on it ended with status {status}"
