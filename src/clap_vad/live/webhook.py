"""Tells another program of events: a POST of their JSON to a URL, by a thread of its own that nothing waits for."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import ClapError
from ..video.failures import failure
from ..video.timed_socket import TimedSocket
from .backoff import Backoff

__all__ = ["Webhook"]

_AGAIN = (408, 425, 429)  # of answers 4xx, those that ask to come again


class Webhook:
    """Posts messages in their order, each until it is taken or refused; what fails is tried again, ever more slowly.

    Redirects are not followed, neither to another host nor on the same. Nothing but the host is ever told of the URL:
    its path is the secret of many hooks. The environment's proxies are not used.

    Args:
        url: http or https, perhaps with ``user:password@``.
        tell: takes a sentence for the operator; called from the thread.
        most: messages that wait; of more, the oldest are dropped.
        timeout: seconds that one delivery may take in all, from the connection to the end of the answer's head,
            however slowly the other side sends; the body of the answer is not read.
        first: seconds of the first wait, see :class:`~clap_vad.live.backoff.Backoff`.

    Attributes:
        sent, dropped, refused: messages so far: answered 2xx; dropped because too many waited; answered by a status
            that asks for no other try, such as 404.

    Raises:
        ClapError: not a URL of http or https.
    """

    def __init__(
        self, url: str, tell: Callable[[str], None], *, most: int = 100, timeout: float = 10.0, first: float = 1.0
    ) -> None:
        self._url = _checked(url)
        self.host = self._url.hostname or ""
        self.sent = self.dropped = self.refused = 0
        self._tell, self._most, self._timeout = tell, most, timeout
        self._first = first
        self._backoff = Backoff(self.host, first)
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._deadline = float("inf")
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Let it be posted; returns at once."""
        body = json.dumps(message, allow_nan=False).encode()
        with self._changed:
            self._waiting.append(body)
            if len(self._waiting) > self._most:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify()

    def close(self, patience: float = 5.0) -> int:
        """Stop, after at most so many seconds for what waits; how many messages were left."""
        with self._changed:
            self._closing, self._deadline = True, time.monotonic() + patience
            self._changed.notify()
        self._thread.join(patience)
        with self._changed:
            return len(self._waiting)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting or time.monotonic() >= self._deadline:
                    return
                body = self._waiting[0]
            why = self._post(body)
            with self._changed:
                if why is None:
                    if self._waiting and self._waiting[0] is body:  # else it was dropped meanwhile
                        self._waiting.popleft()
                    continue
                left = self._deadline - time.monotonic()
                until = time.monotonic() + min(self._backoff.wait(time.monotonic()), max(left, 0.0))
                while (rest := until - time.monotonic()) > 0 and not (self._closing and left == float("inf")):
                    self._changed.wait(rest)  # woken by new messages too

    def _post(self, body: bytes) -> str | None:
        """None where the message is done with, else why it must be tried again."""
        try:
            status = self._status(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = failure(error)  # its own text may repeat the path, also where the server echoes it
        else:
            if 200 <= status < 300:
                self.sent += 1
                if self._failing:
                    self._tell(f"webhook {self.host}: works again")
                self._failing = False
                self._backoff = Backoff(self.host, self._first)
                return None
            if status < 500 and status not in _AGAIN:
                self.refused += 1
                self._tell(f"webhook {self.host}: answered {status} to an event, which is not sent again")
                return None
            why = f"answered {status}"
        if not self._failing:
            self._tell(f"webhook {self.host}: {why}; events wait and are sent again")
        self._failing = True
        return why

    def _status(self, body: bytes) -> int:
        url, until = self._url, time.monotonic() + self._timeout
        context = ssl.create_default_context() if url.scheme == "https" else None
        kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
        connection = kind(self.host, url.port)
        headers = {"Content-Type": "application/json", "User-Agent": "clap-vad"}
        if url.username is not None:
            login = f"{unquote(url.username)}:{unquote(url.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        try:
            connection.sock = TimedSocket(self.host, connection.port, until, context)
            connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


def _checked(url: str) -> SplitResult:
    try:
        found = urlsplit(url)
        sound = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
        sound = sound and "@" not in found.fragment  # else what is taken for the host may be a part of the login
        (found.path + found.query).encode("ascii")
    except ValueError:
        sound = False
    if not sound or any(sign.isspace() or ord(sign) < 32 for sign in url):
        raise ClapError("webhook: not a URL; give one as https://host/path, with other signs escaped as %xx")
    return found
