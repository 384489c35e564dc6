"""``clap coordinator start``: keeps FLARE's server running, and continues runs when their sites are connected."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ClapError
from ..persistence import locked_folder
from ..trust.coordinator_home import CoordinatorHome
from .flare_server import FlareServer
from .kit import write_operator_kit, write_server_kit
from .log import note
from .queue import queued
from .run_supervisor import RunSupervisor, give_up
from .service_files import write_contacts, write_status
from .supervisor import SupervisedProcess, end_leftovers

__all__ = ["CoordinatorService"]

_RUN_POLL = 0.5  # seconds between checks of the runs
_CONTACT_POLL = 1.0  # seconds between requests to FLARE's server for the connected sites


class CoordinatorService:
    """The coordinator's resident process.

    Args:
        home: the coordinator's folder.
        tell: called with each notice for the operator.
    """

    def __init__(self, home: CoordinatorHome, tell: Callable[[str], None]) -> None:
        home = CoordinatorHome.open(home.path.resolve())  # FLARE changes the working folder
        self._home, self._notify = home, tell
        self._kit = home.path / "server"
        arguments = ["-m", str(self._kit), "-s", "fed_server.json", "--set", "secure_train=true"]
        self._process = SupervisedProcess(
            [sys.executable, "-m", _SERVER, *arguments, "org=coordinator", "config_folder=config"],
            home.path / "server.out",
            self._kit,
        )
        self._server = FlareServer(home.path / "operator")
        self._runs: dict[Path, RunSupervisor] = {}
        self._contacts: dict[str, float] = {}
        self._asked = 0.0
        self._problem = ""

    def serve(self, stopped: Callable[[], bool]) -> None:
        """Run until ``stopped`` returns True; raises :class:`ClapError` if another service runs in this folder."""
        with locked_folder(self._home.path, _ONE):
            end_leftovers(self._kit)  # of a killed service; they may still use the ports
            for port in (self._home.port, self._home.admin_port):
                _check_port_free(port)
            write_server_kit(self._home, self._kit)
            write_operator_kit(self._home, self._home.path / "operator")
            note(self._home.path, "started")
            self._notify(f"coordinator of '{self._home.name}' on {self._home.host}:{self._home.port}")
            try:
                while not stopped():
                    self._look()
                    time.sleep(_RUN_POLL)
            finally:
                self._server.close()
                self._process.stop()
                write_status(self._home.path, False, self._contacts)
                note(self._home.path, "stopped")

    def _look(self) -> None:
        write_status(self._home.path, True, self._contacts)  # first: FLARE's server may take seconds to answer
        if (ended := self._process.ensure()) is not None:
            note(self._home.path, "server ended", why=ended)
            self._server.close()
            self._contacts.clear()  # sites have to register again
        if time.monotonic() - self._asked >= _CONTACT_POLL:
            self._asked = time.monotonic()
            self._note_contacts(self._server.contacts())
        for run in queued(self._home.path)[:1]:  # one at a time, in the order of the queue
            try:
                if run not in self._runs:
                    self._runs = {run: RunSupervisor(run, self._home, self._server)}
                self._runs[run].advance(self._contacts)
            except (ClapError, OSError) as error:
                give_up(run, self._home, str(error))
                self._runs.pop(run, None)

    def _note_contacts(self, found: dict[str, float] | None) -> None:
        if self._server.problem != self._problem:
            self._problem = self._server.problem
            note(self._home.path, "server", answers=not self._problem, why=self._problem)
        if found is None:
            return
        now = time.time()
        for name in found:
            if now - self._contacts.get(name, 0.0) > _LOST:
                note(self._home.path, "site connected", site=name)
                self._notify(f"{name} connected")
        self._contacts |= found
        write_contacts(self._home.path, self._contacts)


def _check_port_free(port: int) -> None:
    """Refuse a used port: FLARE would share it with the other program and lose half of the messages."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            raise ClapError(f"port {port} cannot be used ({error.strerror}); end the program that uses it") from None


_ONE = "this coordinator is already running; stop that service first"
_SERVER = "nvflare.private.fed.app.server.server_train"
_LOST = 15.0  # seconds without contact after which a site counts as newly connected
