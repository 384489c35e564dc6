"""Several worker processes at once, told apart from their crashes.

Processes are started afresh (no fork, no need for a ``__main__`` guard in the caller's script) and speak JSON lines;
nothing is pickled. A worker that dies fails the video it was at and is replaced.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["run_tasks"]

Task = dict[str, Any]
Message = dict[str, Any]

_ROOT = str(Path(__file__).resolve().parents[2])
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_tasks(tasks: Sequence[Task], workers: int) -> Generator[tuple[Task, Message], None, None]:
    """Run the tasks, starting them in order, and yield every message with its task, in order of arrival.

    Each task ends with a message that is not {"segments": n}. Closing the iterator ends the processes.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    messages: queue.SimpleQueue[tuple[Task, Message]] = queue.SimpleQueue()
    crew = [_Worker(waiting, messages) for _ in range(min(workers, len(tasks)))]
    try:
        for worker in crew:
            worker.start()
        remaining = len(tasks)
        while remaining:
            task, message = messages.get()
            remaining -= "segments" not in message
            yield task, message
    finally:
        for worker in crew:
            worker.stop()
        for worker in crew:
            worker.join()


class _Worker(threading.Thread):
    """A thread that keeps one process busy."""

    def __init__(self, waiting: queue.SimpleQueue[Task], messages: queue.SimpleQueue[tuple[Task, Message]]) -> None:
        super().__init__(daemon=True)
        self._waiting, self._messages = waiting, messages
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def run(self) -> None:
        while (process := self._alive()) is not None:
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                break
            message = self._serve(process, task)
            if not self._stopped:
                self._messages.put((task, message))
        self.stop()

    def stop(self) -> None:
        """End the process at once; what it was writing has no ``.json`` yet and counts for nothing."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _alive(self) -> subprocess.Popen[str] | None:
        with self._lock:
            if not self._stopped and (self._process is None or self._process.poll() is not None):
                self._process = _start()
            return None if self._stopped else self._process

    def _serve(self, process: subprocess.Popen[str], task: Task) -> Message:
        """Hand a task over, pass on progress, and return the message that ends it."""
        assert process.stdin is not None and process.stdout is not None  # both are pipes, see _start
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message: Message = json.loads(line)
                if "segments" not in message:
                    return message
                self._messages.put((task, message))
        except (BrokenPipeError, ValueError):
            pass
        return {"skipped": f"{task['source']}: {_death(process.wait())}"}


def _start() -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "clap_vad.features.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its workers
    )


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the process reading it was killed (out of memory?)"
    if status < 0:
        return f"the decoder crashed on it ({signal.Signals(-status).name})"
    return f"the process reading it ended with status {status}"
