"""Network addresses, parsed by a strict grammar, so that the login is identified with certainty.

A character that should have been escaped can make part of a password look like the host. An address where this is
possible is refused. Messages repeat no part of an address except the one character to escape.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from ...errors import ClapError

__all__ = ["SCHEMES", "AddressParts", "looks_like_address", "split_address"]

SCHEMES = "rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp"
_LISTENING = "udp", "rtp", "srt", "tcp"  # schemes that may listen on a port of this machine: no host is needed
_LIKE_ADDRESS = re.compile(rf"\s*[\"'<]?\s*(?:{'|'.join(SCHEMES)}):?/|.*://", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%(?:25)?([A-Za-z0-9._-]+))?\]")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NEVER = re.compile(r"[\s\x00-\x20\x7f]")
_NOT_IN_LOGIN = re.compile(r"[\[\]\\\"<>^`{}|]")
_MOST = 4096  # characters of an address


@dataclass(frozen=True)
class AddressParts:
    """The parts of an address.

    Attributes:
        scheme: in lower case.
        login: the text before the last ``@``, escaped as it was written; None if there is no ``@``.
        host: IPv6 in brackets, its zone after a plain ``%``; empty if this machine listens.
        port: or None.
        path: from ``/`` on; may be empty.
        query, fragment: without ``?`` and ``#``; None if absent.
    """

    scheme: str
    login: str | None
    host: str
    port: int | None
    path: str
    query: str | None
    fragment: str | None

    def joined(self) -> str:
        """The whole address for FFmpeg, including the login."""
        login = "" if self.login is None else f"{self.login}@"
        port = "" if self.port is None else f":{self.port}"
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.scheme}://{login}{self.host}{port}{self.path}{query}{fragment}"


def looks_like_address(text: str) -> bool:
    """Whether a text is meant as a network address, even if it is misspelt.

    >>> [looks_like_address(text) for text in ("rtsp:/cam/1", "HTTP//cam", "ftp://cam", "videos/rtsp/gate.mp4")]
    [True, True, True, False]
    """
    return _LIKE_ADDRESS.match(text) is not None


def split_address(text: str) -> AddressParts:
    """The parts of an address such as ``rtsp://user:password@10.0.0.5:554/live?channel=1``.

    Surrounding spaces are removed.

    Raises:
        ClapError: the text is no address, or its parts are ambiguous. The message tells what to write instead and
            repeats nothing of the address except the character to escape.

    >>> split_address("rtsp://me:p%23ss@cam.lan/1")
    AddressParts(scheme='rtsp', login='me:p%23ss', host='cam.lan', port=None, path='/1', query=None, fragment=None)
    >>> split_address("rtsp://me:p#ss@cam.lan/1")
    Traceback (most recent call last):
    clap_vad.errors.ClapError: the address has # before an @, so ... write # in a login as %23, and ...
    """
    text = text.strip()
    found = _SCHEME.fullmatch(text)
    if found is None or len(text) > _MOST:
        raise ClapError("the address is not complete; write it as scheme://host/path, for example rtsp://10.0.0.5/live")
    scheme, rest = found[1].lower(), found[2]
    if sign := _NEVER.search(rest):
        raise ClapError(f"the address has a space or a control character; write it as {quote(sign[0])}")
    end = re.search(r"[/?#]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if end and "@" in tail:
        remedy = f"write {end[0]} in a login as {quote(end[0], safe='')}, and @ after the host as %40"
        raise ClapError(f"the address has {end[0]} before an @, so it is not clear where its login ends; {remedy}")
    login, at, place = authority.rpartition("@")
    if _PERCENT.search(login) or _PERCENT.search(tail):
        raise ClapError("the address has % without two hexadecimal digits after it; write % as %25")
    if sign := _NOT_IN_LOGIN.search(login):
        raise ClapError(f"the login in the address has {sign[0]}; write it as {quote(sign[0])}")
    host, port = _host_and_port(place, scheme)
    before, mark, fragment = tail.partition("#")
    path, asked, query = before.partition("?")
    return AddressParts(
        scheme, login if at else None, host, port, path, query if asked else None, fragment if mark else None
    )


def _host_and_port(place: str, scheme: str) -> tuple[str, int | None]:
    split = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([^:]*))?", place)
    if split is None:
        raise ClapError(
            "the host in the address is not clear: it has more than one colon; write IPv6 in brackets, as [fe80::1], "
            "and end a login with @"
        )
    host, port = split[1], split[2]
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ClapError(
            "the port in the address is not a number from 1 to 65535; if it is part of a login, end the login with @ "
            "and write / ? # in it as %2F %3F %23"
        )
    if not host and scheme not in _LISTENING:
        raise ClapError("the address has no host; write it as scheme://host/path")
    if host and not (host := _sound_host(host)):
        raise ClapError(
            "the host in the address is not valid; write a host with letters, digits, dots and hyphens only (xn--... "
            "for others) or four numbers, and write other characters of a login as %xx"
        )
    return host, int(port) if port else None


def _sound_host(host: str) -> str:
    """The host, or an empty text if it is not valid."""
    if found := _BRACKETS.fullmatch(host):
        zone = f"%{found[2]}" if found[2] else ""
        return f"[{found[1]}{zone}]" if _is_ip(found[1], ipaddress.IPv6Address) else ""
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return ""
    numbers = len(labels) == 4 and all(label.isdigit() for label in labels)
    return host if not numbers or _is_ip(host, ipaddress.IPv4Address) else ""


def _is_ip(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
