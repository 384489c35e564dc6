"""The coordinator's session with its own FLARE server: connected sites, submitted jobs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..trust.authority import OPERATOR_NAME

__all__ = ["FlareServer"]


class FlareServer:
    """A session that is opened when needed, and reopened after an error.

    Args:
        kit: the operator's startup kit.
    """

    def __init__(self, kit: Path) -> None:
        self._kit = kit
        self._session: Any = None
        self.problem = ""
        """Why the last request failed; empty if it did not."""

    def contacts(self) -> dict[str, float] | None:
        """Site -> time of its last contact, seconds since the epoch; None while the server does not answer."""
        try:
            info = self._open().get_system_info()
        except Exception as error:  # of any kind: the server does not answer now
            self.problem = f"{type(error).__name__}: {error}"
            self.close()
            return None
        self.problem = ""
        return {client.name: float(client.last_connect_time) for client in info.client_info}

    def submit(self, job: Path) -> str:
        """Submit a job; returns its id at FLARE, raises :class:`ClapError` if the server refuses it."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return str(self._open().submit_job(str(job)))
        except Exception as error:
            self.close()
            raise ClapError(f"FLARE's server refused the job ({type(error).__name__}: {error})") from error

    def abort(self, job: str) -> None:
        """End a job, if it has not ended yet."""
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            self._open().abort_job(job)

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            with contextlib.suppress(Exception):
                self._session.close()
            self._session = None

    def _open(self) -> Any:
        if self._session is None:
            from nvflare.fuel.flare_api.flare_api import new_secure_session

            with contextlib.redirect_stdout(io.StringIO()):  # it prints a greeting
                self._session = new_secure_session(
                    OPERATOR_NAME, str(self._kit), timeout=5.0, command_timeout=5.0, auto_login_max_tries=1
                )
        return self._session
