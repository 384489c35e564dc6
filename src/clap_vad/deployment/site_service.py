"""``clap site start``: keeps a site connected to its coordinator, and reports why if that fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ..errors import ClapError
from ..persistence import locked_folder, write_json
from ..trust.preflight import Unreachable, preflight
from ..trust.site_home import SiteHome
from .kit import HEARTBEAT, write_client_kit
from .log import note
from .supervisor import SupervisedProcess

__all__ = ["STATUS", "SiteService"]

STATUS = "status.json"
"""The service's state, for ``clap site status``."""

_NOT_ADMITTED = "unauthenticated"  # printed by FLARE's client when the server does not register it
_ASK = "the coordinator does not admit this site: it was revoked, or never approved; ask the coordinator's operator"
_CLIENT = "nvflare.private.fed.app.client.client_train"
_HEARTBEAT = 2  # seconds between signs of life
_POLL = 1.0  # seconds between checks of the client
_SILENT = 15.0  # seconds without an answer after which the client is restarted, once the coordinator can be reached
_PAUSES = (2.0, 5.0, 10.0, 30.0)  # seconds before a coordinator that cannot be reached is tried again


_ONE = "this site is already running; stop that service first"


class SiteService:
    """The site's resident process.

    Args:
        home: the site's folder.
        tell: called with each notice for the operator.
    """

    def __init__(self, home: SiteHome, tell: Callable[[str], None]) -> None:
        home = SiteHome.open(home.path.resolve())  # FLARE changes the working folder
        self._home, self._notify = home, tell
        self._kit = home.path / "client"
        arguments = ["-m", str(self._kit), "-s", "fed_client.json", "--set", "secure_train=true"]
        own = [f"uid={home.name}", f"org={home.name}", "config_folder=config", f"heart_beat_interval={_HEARTBEAT}"]
        self._client = SupervisedProcess(
            [sys.executable, "-m", _CLIENT, *arguments, *own], home.path / "client.out", self._kit
        )
        self._state = ""
        self._since = time.time()

    def serve(self, stopped: Callable[[], bool]) -> None:
        """Run until ``stopped`` returns True.

        Raises:
            ClapError: an error that waiting cannot repair, such as the coordinator of another federation or an
                expired certificate; or another service runs in this folder.
        """
        with locked_folder(self._home.path, _ONE):
            try:
                self._reach(stopped)
                while not stopped():
                    self._look(stopped)
                    time.sleep(_POLL)
            except ClapError as error:
                self._client.stop()
                self._report("refused", str(error))
                raise
            finally:
                self._client.stop()
            self._report("stopped")

    def _reach(self, stopped: Callable[[], bool]) -> None:
        """Wait until the coordinator can be reached."""
        home, tries = self._home, 0
        while not stopped():
            try:
                preflight(home.host, home.port, home.authority, home.certificate, home.key, home.name)
                return
            except Unreachable as error:
                self._report("unreachable", str(error))
                _sleep(_PAUSES[min(tries, len(_PAUSES) - 1)], stopped)
                tries += 1

    def _look(self, stopped: Callable[[], bool]) -> None:
        if self._client.pid is None:
            self._reach(stopped)
            (self._kit / HEARTBEAT).unlink(missing_ok=True)
            write_client_kit(self._home, self._kit)
        if (ended := self._client.ensure()) is not None:
            note(self._home.path, "client ended", why=ended)
            if _NOT_ADMITTED in self._last_output():
                self._report("refused", _ASK)
        silent = self._silent_seconds()
        if silent is not None and silent < _SILENT:
            self._report("connected")
        elif silent is not None:
            self._reach(stopped)
            if not stopped():
                note(self._home.path, "client restarted", why=f"no answer for {silent:.0f} s")
                (self._kit / HEARTBEAT).unlink(missing_ok=True)
                self._client.restart()
        elif self._client.pid is not None and not self._state.startswith("refused"):
            self._report("connecting")

    def _last_output(self) -> str:
        """The end of the client's output."""
        try:
            return (self._home.path / "client.out").read_text(errors="replace")[-2000:]
        except OSError:
            return ""

    def _silent_seconds(self) -> float | None:
        """Seconds since the coordinator last answered; None before its first answer."""
        try:
            return time.time() - (self._kit / HEARTBEAT).stat().st_mtime
        except FileNotFoundError:
            return None

    def _report(self, state: str, why: str = "") -> None:
        home = self._home
        if (text := f"{state}: {why}" if why else state) != self._state:
            self._state, self._since = text, time.time()
            note(home.path, state, why=why) if why else note(home.path, state)
            self._notify(f"site '{home.name}' {text}")
        write_json(
            home.path / STATUS,
            {"time": time.time(), "state": state, "why": why, "since": self._since, "client": self._client.pid},
        )


def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.2)
