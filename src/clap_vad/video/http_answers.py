"""The answer of an HTTP address to one request: a picture, a stream, or neither."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urljoin

from ..core.text.addresses import AddressParts, split_address
from ..errors import ClapError
from .failures import failure
from .http_login import HttpLogin
from .timed_socket import TimedSocket

__all__ = ["Answer", "ask"]

_LARGEST = 32 << 20  # bytes of one picture
_MOST_REDIRECTS = 5
_SNIFFED = 1024
_QUIET = 1.0  # seconds without data after the end of a picture, after which the answer counts as finished
_UNRESERVED = "!$%&'()*+,;=:@/?~[]-._"
_NEXT_PICTURE = re.compile(rb"\xff\xd9\s*\xff\xd8\xff")
_PLAY_LISTS = b"#EXTM3U", b"<MPD", b"v=0", b"[playlist]"
_REDIRECTS = (301, 302, 303, 307, 308)
_KINDS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
)


@dataclass(frozen=True)
class Answer:
    """The kind of answer: ``picture`` (with its bytes and ``form``), or ``stream``, to be read by FFmpeg."""

    kind: Literal["picture", "stream"]
    data: bytes = b""
    form: str = ""


def ask(parts: AddressParts, login: HttpLogin, until: float) -> Answer:
    """Send one request, and read the answer if it is one picture.

    The kind is detected from the first bytes: cameras send wrong types, and missing or wrong lengths.

    Args:
        parts: parts of the address.
        login: login at the camera, reused for all requests.
        until: deadline, as a value of :func:`time.monotonic`.

    Raises:
        ClapError: no connection, no answer in time, an HTTP error, or a page instead of a picture. The message
            contains no part of the address.
    """
    for _ in range(_MOST_REDIRECTS):
        try:
            found = _one(parts, login, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
                return Answer("stream")  # not HTTP/1.x: FFmpeg may know it
            raise ClapError(failure(error)) from None
        if isinstance(found, Answer):
            return found
        parts = found
    raise ClapError("the camera redirects too often; give the final address")


def _one(parts: AddressParts, login: HttpLogin, until: float) -> Answer | AddressParts:
    while True:
        secure = parts.scheme == "https"
        context = ssl._create_unverified_context() if secure else None  # as FFmpeg: certificates are self-signed
        host = parts.host.strip("[]")
        target = quote((parts.path or "/") + ("" if parts.query is None else f"?{parts.query}"), safe=_UNRESERVED)
        port = parts.port or (443 if secure else 80)
        lines = [f"GET {target} HTTP/1.1", f"Host: {parts.host}" + (f":{parts.port}" if parts.port else "")]
        lines += ["Accept: */*", "User-Agent: clap-vad", "Connection: close"]
        if authorization := login.header("GET", target):
            lines.append(f"Authorization: {authorization}")
        connected = TimedSocket(host, port, until, context)
        try:
            connected.sendall("\r\n".join([*lines, "", ""]).encode())
            response = http.client.HTTPResponse(connected, method="GET")  # type: ignore[arg-type]  # has every method it uses
            response.begin()
            if response.status == 401 and login.asked(response.headers.get_all("WWW-Authenticate") or ()):
                continue
            if response.status in _REDIRECTS and (place := response.headers.get("Location")):
                return _followed(parts, place)
            if not 200 <= response.status < 300:
                raise ClapError(_refusal(response.status))
            return _content(response, connected)
        finally:
            connected.close()


def _followed(parts: AddressParts, place: str) -> AddressParts:
    """The target of a redirection; only the same host is allowed, as the login is sent along."""
    base = AddressParts(parts.scheme, None, parts.host, parts.port, parts.path or "/", parts.query, None).joined()
    found = split_address(urljoin(base, place))
    if found.host.lower() != parts.host.lower() or found.scheme not in ("http", "https"):
        raise ClapError("the camera redirects to another host; give the address of that host")
    if parts.scheme == "https" and found.scheme == "http":
        raise ClapError("the camera redirects from https to http; give the address with http")
    return found


def _refusal(status: int) -> str:
    words = http.client.responses.get(status, "an error")
    remedy = {
        401: "; give user and password: http://user:password@host/path",
        403: "; this user has no permission, or is locked after failed logins",
        404: "; look up the path in the camera's manual",
    }.get(status, "")
    return f"HTTP status {status} {words}{remedy}"


def _content(response: http.client.HTTPResponse, connected: TimedSocket) -> Answer:
    stated = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
    if stated.startswith("multipart/"):
        return Answer("stream")
    data = bytearray()
    form = ""
    try:
        while piece := response.read1(1 << 16):
            data += piece
            if len(data) > _LARGEST:
                raise ClapError("the answer is larger than 32 MB; give the address of a smaller picture")
            form = form or _form(bytes(data[:16]).lstrip(b"\r\n"))
            if not form and len(data) >= _SNIFFED:
                break
            if form == "jpeg" and response.length is None and data.rstrip(b"\r\n").endswith(b"\xff\xd9"):
                connected.shorten(time.monotonic() + _QUIET)
            if form == "jpeg" and _NEXT_PICTURE.search(data, max(0, len(data) - len(piece) - 16)):
                return Answer("stream")
    except TimeoutError:
        if not data.rstrip(b"\r\n").endswith(b"\xff\xd9"):
            raise
    if form:
        return Answer("picture", bytes(data).lstrip(b"\r\n"), form)
    return _no_picture(bytes(data), stated)


def _form(start: bytes) -> str:
    return next((form for sign, form in _KINDS if start.startswith(sign)), "")


def _no_picture(data: bytes, stated: str) -> Answer:
    if not data:
        raise ClapError("the answer is empty; give the address of a picture or a stream")
    text = data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    start = text.encode()
    if any(sign in start[:_SNIFFED] if sign == b"<MPD" else start.startswith(sign) for sign in _PLAY_LISTS):
        return Answer("stream")
    if text.startswith(("<", "{", "[")) or stated.startswith("text/") or stated in ("application/json",):
        raise ClapError(
            "the answer is a page or a text, not a picture (perhaps a login page); open the address in a browser and "
            "give the address of the picture or stream itself"
        )
    return Answer("stream")
