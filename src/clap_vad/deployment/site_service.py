"""``clap site start``: keeps a site in touch with its coordinator, and says what is wrong where it cannot be."""

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
"""What the service knows, for ``clap site status``."""

_NOT_LET_IN = "unauthenticated"  # in what FLARE's client prints when the server does not register it
_ASK = "the coordinator does not let this site in: it was revoked, or never approved there; ask the coordinator"
_CLIENT = "nvflare.private.fed.app.client.client_train"
_HEARTBEAT = 2  # seconds between signs of life
_LOOKING = 1.0  # seconds between looks at the client
_SILENT = 15.0  # seconds without an answer after which the client is started anew, once the coordinator can be reached
_PAUSES = (2.0, 5.0, 10.0, 30.0)  # seconds before a coordinator that cannot be reached is tried again


_ONE = "this site runs already, stop that service first"


class SiteService:
    """The site's resident process.

    Args:
        home: the site's folder.
        tell: shown to whoever started it.
    """

    def __init__(self, home: SiteHome, tell: Callable[[str], None]) -> None:
        home = SiteHome.open(home.path.resolve())  # FLARE changes the working folder
        self._home, self._tell = home, tell
        self._kit = home.path / "client"
        arguments = ["-m", str(self._kit), "-s", "fed_client.json", "--set", "secure_train=true"]
        own = [f"uid={home.name}", f"org={home.name}", "config_folder=config", f"heart_beat_interval={_HEARTBEAT}"]
        self._client = SupervisedProcess(
            [sys.executable, "-m", _CLIENT, *arguments, *own], home.path / "client.out", self._kit
        )
        self._said = ""
        self._since = time.time()

    def serve(self, stopped: Callable[[], bool]) -> None:
        """Run until it is told to stop.

        Raises:
            ClapError: what no waiting can mend, such as a coordinator that is not this federation's, or a certificate
                that has expired; or another service in this home.
        """
        with locked_folder(self._home.path, _ONE):
            try:
                self._reach(stopped)
                while not stopped():
                    self._look(stopped)
                    time.sleep(_LOOKING)
            except ClapError as error:
                self._client.stop()
                self._say("refused", str(error))
                raise
            finally:
                self._client.stop()
            self._say("stopped")

    def _reach(self, stopped: Callable[[], bool]) -> None:
        """Return when the coordinator can be reached."""
        home, tries = self._home, 0
        while not stopped():
            try:
                preflight(home.host, home.port, home.authority, home.certificate, home.key, home.name)
                return
            except Unreachable as error:
                self._say("unreachable", str(error))
                _sleep(_PAUSES[min(tries, len(_PAUSES) - 1)], stopped)
                tries += 1

    def _look(self, stopped: Callable[[], bool]) -> None:
        if self._client.pid is None:
            self._reach(stopped)
            (self._kit / HEARTBEAT).unlink(missing_ok=True)
            write_client_kit(self._home, self._kit)
        if (ended := self._client.ensure()) is not None:
            note(self._home.path, "client ended", why=ended)
            if _NOT_LET_IN in self._last_output():
                self._say("refused", _ASK)
        heard = self._heard()
        if heard is not None and heard < _SILENT:
            self._say("connected")
        elif heard is not None:
            self._reach(stopped)
            if not stopped():
                note(self._home.path, "client restarted", why=f"no answer for {heard:.0f} s")
                (self._kit / HEARTBEAT).unlink(missing_ok=True)
                self._client.restart()
        elif self._client.pid is not None and not self._said.startswith("refused"):
            self._say("connecting")

    def _last_output(self) -> str:
        """What the client has said last, on its way out."""
        try:
            return (self._home.path / "client.out").read_text(errors="replace")[-2000:]
        except OSError:
            return ""

    def _heard(self) -> float | None:
        """Seconds since the coordinator last answered; None where it has not yet."""
        try:
            return time.time() - (self._kit / HEARTBEAT).stat().st_mtime
        except FileNotFoundError:
            return None

    def _say(self, state: str, why: str = "") -> None:
        home = self._home
        if (said := f"{state}: {why}" if why else state) != self._said:
            self._said, self._since = said, time.time()
            note(home.path, state, why=why) if why else note(home.path, state)
            self._tell(f"site '{home.name}' {said}")
        write_json(
            home.path / STATUS,
            {"time": time.time(), "state": state, "why": why, "since": self._since, "client": self._client.pid},
        )


def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.2)
