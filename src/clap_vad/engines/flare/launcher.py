"""Starts the workers of a site and restarts them if they die: FLARE alone would abandon the whole job."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable
from typing import Any

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.process_launcher import ProcessHandle
from nvflare.utils.job_launcher_utils import get_credential_env
from nvflare.utils.process_utils import ProcessAdapter, spawn_process

__all__ = ["RespawningLauncher"]

_PAUSE = 1.0  # seconds before a dead worker is restarted


class _RespawningHandle(ProcessHandle):
    """A worker that is restarted a limited number of times if it is killed or crashes."""

    def __init__(self, spawn: Callable[[], ProcessAdapter], restarts: int, log: Callable[[str], None]) -> None:
        self.adapter: ProcessAdapter
        super().__init__(process_adapter=spawn())
        self._spawn, self._left, self._log = spawn, restarts, log
        self._stopped = threading.Event()

    def terminate(self) -> None:
        """FLARE ends the job."""
        self._stopped.set()
        super().terminate()

    def wait(self) -> None:
        """Return when the worker has ended for good."""
        while True:
            self.adapter.wait()
            status = self.adapter.poll()
            if status == 0 or self._left < 1 or self._stopped.wait(_PAUSE):
                return
            self._left -= 1
            self._log(f"a worker ended with status {status}; restarting it, {self._left} restarts left")
            self.adapter = self._spawn()


class RespawningLauncher(ClientProcessJobLauncher):
    """FLARE's launcher of worker processes, named in a site's ``resources.json``.

    Args:
        restarts: largest number of restarts of a job's worker.
    """

    def __init__(self, restarts: int = 5) -> None:
        super().__init__()
        self._restarts = restarts

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """FLARE's hook. Unlike the original, it adds no code folder of the job to the worker's path."""
        environment = os.environ.copy()
        environment.update(get_credential_env(fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS) or {}))
        command = shlex.split(self.get_command(job_meta, fl_ctx))
        return _RespawningHandle(lambda: spawn_process(command, environment), self._restarts, self.logger.warning)
