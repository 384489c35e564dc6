"""The webhook: a POST of each event's JSON to a URL, in a separate thread; nothing waits for it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ...errors import ClapError
from ...video.failures import failure
from ...video.timed_socket import TimedSocket
from ..message import event_message
from ..outbox import Outbox, UndeliveredError
from ..sink import SINKS, EventNotice, SessionInfo, Sink, SinkContext, SinkSettings

__all__ = ["Webhook", "WebhookSettings", "WebhookSink"]

_AGAIN = (408, 425, 429)  # the 4xx statuses that allow another try


class Webhook:
    """Posts messages in order, each until it is accepted or refused; failed ones wait in an outbox.

    Redirects are not followed, not even on the same host. Only the URL's host is ever shown: for many webhooks the path
    is a secret. The environment's proxies are not used.

    Args:
        url: http or https, may contain ``user:password@``.
        report: called with a message for the operator, from the thread.
        most: largest number of waiting messages; beyond it the oldest are dropped.
        timeout: total seconds of one delivery, from the connection to the end of the answer's head, however slowly
            the other side sends; the body of the answer is not read.
        first: seconds of the first wait, see :class:`~clap_vad.backoff.Backoff`.

    Attributes:
        sent, refused: messages so far: answered with 2xx; answered with a status that allows no other try, such as 404.

    Raises:
        ClapError: not an http or https URL.
    """

    def __init__(
        self, url: str, report: Callable[[str], None], *, most: int = 100, timeout: float = 10.0, first: float = 1.0
    ) -> None:
        self._url = _checked(url)
        self._host = self._url.hostname or ""
        self._report, self._timeout = report, timeout
        self.sent = self.refused = 0
        self._outbox: Outbox[bytes] = Outbox(
            f"webhook {self._host}", self._post, report, most=most, first=first, thread=True
        )

    @property
    def dropped(self) -> int:
        """Messages lost so far because too many waited."""
        return self._outbox.dropped

    def send(self, message: dict[str, Any]) -> None:
        """Add a message to be posted; returns at once."""
        self._outbox.put(json.dumps(message, allow_nan=False).encode())

    def close(self, patience: float = 5.0) -> int:
        """Stop, after at most ``patience`` seconds for waiting messages; the number of messages not posted."""
        return self._outbox.close(patience)

    def _post(self, bodies: list[bytes]) -> None:
        (body,) = bodies
        try:
            status = self._status(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UndeliveredError(failure(error)) from None  # its own text may contain the path
        if 200 <= status < 300:
            self.sent += 1
        elif status >= 500 or status in _AGAIN:
            raise UndeliveredError(f"answered {status}")
        else:
            self.refused += 1
            self._report(f"webhook {self._host}: answered {status} to an event, which is not sent again")

    def _status(self, body: bytes) -> int:
        url, until = self._url, time.monotonic() + self._timeout
        context = ssl.create_default_context() if url.scheme == "https" else None
        kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
        connection = kind(self._host, url.port)
        headers = {"Content-Type": "application/json", "User-Agent": "clap-vad"}
        if url.username is not None:
            login = f"{unquote(url.username)}:{unquote(url.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        try:
            connection.sock = TimedSocket(self._host, connection.port, until, context)
            connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


class WebhookSink(Sink):
    """Posts each event that opens or closes."""

    def __init__(self, hook: Webhook, info: SessionInfo) -> None:
        self._hook, self._info = hook, info
        self._left = 0

    def event(self, notice: EventNotice) -> None:
        if notice.kind != "peak":
            self._hook.send(event_message(notice, self._info))

    def close(self, ended: str) -> None:
        self._left = self._hook.close()

    def summary(self) -> dict[str, Any]:
        hook = self._hook
        return {"webhook": {"sent": hook.sent, "refused": hook.refused, "dropped": hook.dropped + self._left}}


@SINKS.register("webhook")
@dataclass(frozen=True)
class WebhookSettings(SinkSettings):
    """The URL that events are posted to; without one, nothing is posted."""

    url: str = field(default="", repr=False, metadata={"help": "URL to post each event to, as JSON without pictures"})

    def __post_init__(self) -> None:
        if self.url:
            _checked(self.url)

    @property
    def wanted(self) -> bool:
        return bool(self.url)

    def open(self, context: SinkContext) -> WebhookSink:
        return WebhookSink(Webhook(self.url, context.report), context.info)


def _checked(url: str) -> SplitResult:
    try:
        found = urlsplit(url)
        sound = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
        sound = sound and "@" not in found.fragment  # else a part of the login may be taken for the host
        (found.path + found.query).encode("ascii")
    except ValueError:
        sound = False
    if not sound or any(sign.isspace() or ord(sign) < 32 for sign in url):
        raise ClapError("webhook: not a URL; give one as https://host/path, with other signs escaped as %xx")
    return found
