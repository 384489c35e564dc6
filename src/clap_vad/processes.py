"""Run tasks in several worker processes; a crash in one does not affect the others.

Workers are new processes (no fork, no ``__main__`` guard needed in the caller's script) that exchange JSON lines;
nothing is pickled. If a worker dies, its task fails and a new worker starts. Workers end with the parent, even after
kill -9.
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
"""Key of a progress message, which does not end its task."""

DIED = "died"
"""Key of the message that ends the task of a dead worker; its value is a sentence."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment that limits each worker to one core."""

_ROOT = str(Path(__file__).resolve().parents[1])


def run_tasks(
    module: str, tasks: Sequence[Task], workers: int, environment: Mapping[str, str] | None = None
) -> Generator[tuple[Task, Message], None, None]:
    """Start the tasks in order and yield (task, message) in order of arrival.

    A message without :data:`PROGRESS` ends its task. Closing the iterator ends the workers.

    Args:
        module: the module that a worker runs (``python -m``); it must call :func:`serve`.
        tasks: JSON-serialisable.
        workers: number of processes.
        environment: variables added to the environment of this process.
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
    """Run inside a worker: read tasks from standard input until it closes, and send the messages of each task."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output printed by libraries must not mix with the messages
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        for message in work(tasks.get()):
            channel.write(json.dumps(message) + "\n")
            channel.flush()


def _listen(tasks: queue.SimpleQueue[Task]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # the parent has ended or needs no more: stop at once, even in the middle of a task


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
        """Kill the process. Its unfinished output is not used."""
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
        """Send a task, forward its progress messages, and return the message that ends it."""
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
        start_new_session=True,  # Ctrl-C reaches only the parent, which then ends its workers
    )


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its worker process was killed (out of memory?)"
    if status < 0:
        return f"its worker process crashed ({signal.Signals(-status).name})"
    return f"its worker process ended with status {status}"
