"""FLARE processes supervised by a service: started and ended with it, and restarted when they die."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

__all__ = ["SupervisedProcess", "end_leftovers"]

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_GRACE = 5.0  # seconds between asking a process to end and killing it
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before each restart; the last value is repeated
_STEADY = 60.0  # seconds after which a process counts as stable


class SupervisedProcess:
    """One child process.

    Args:
        command: to run.
        output: file to which its output is appended.
        kit: folder named in its command line and in those of its child processes.
    """

    def __init__(self, command: Sequence[str], output: Path, kit: Path) -> None:
        self._command, self._output, self._kit = list(command), output, kit
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def ensure(self) -> str | None:
        """Start it if it is not running and its pause is over; returns how it ended if it was just found dead."""
        if self.pid is not None:
            if time.monotonic() - self._started > _STEADY:
                self._failures = 0
            return None
        ended = None
        if self._process is not None:
            ended = f"ended with status {self._process.returncode}"
            self._process = None
            self._failures += 1
        pause = _PAUSES[min(self._failures, len(_PAUSES)) - 1] if self._failures else 0.0
        if time.monotonic() - self._started >= pause:
            self._start()
        return ended

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """End it and its child processes."""
        if self._process is not None and self.pid is not None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        end_leftovers(self._kit)

    def _start(self) -> None:
        end_leftovers(self._kit)  # workers of a killed process would block the new one
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the service alone, which then ends its processes
                preexec_fn=_die_with_parent,
            )
        self._started = time.monotonic()


def end_leftovers(kit: Path) -> None:
    """End the processes that run from this kit, left by a killed service or FLARE process."""
    left = [process for process in psutil.process_iter(["cmdline", "pid"]) if _runs_from(process, kit)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_GRACE)


def _runs_from(process: psutil.Process, kit: Path) -> bool:
    words = process.info["cmdline"] or []
    return process.info["pid"] != os.getpid() and str(kit) in words and any("nvflare" in word for word in words)


def _die_with_parent() -> None:
    """Between fork and exec: let the kernel end the process when this service is killed."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
