"""Addresses of cameras and hooks without the secrets in them, fit to be kept and shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["hide_login", "without_login"]

_LOGIN = re.compile(r"^([a-z][a-z0-9+.-]*://)([^\s]*)@", re.IGNORECASE)
_SECRET = re.compile(r"([?&;][^=&;]*(?:user|login|pass|pwd|token|key|secret|auth|sig)[^=&;]*=)[^&;#]*", re.IGNORECASE)


def without_login(source: str) -> str:
    """A camera's address without user and password, and with ``...`` for what its query calls secret.

    Everything before the last ``@`` goes: a password may hold signs that should have been escaped.

    >>> without_login("rtsp://admin:p@ss/word@10.0.0.5:554/cam?channel=1&token=abc")
    'rtsp://10.0.0.5:554/cam?channel=1&token=...'
    >>> without_login("videos/gate@night.mp4")
    'videos/gate@night.mp4'
    """
    if "://" not in source:
        return source
    return _SECRET.sub(r"\1...", _LOGIN.sub(r"\1", source))


def hide_login(text: str, source: str) -> str:
    """A message that may repeat ``source`` or its login, as FFmpeg's do, without them.

    >>> hide_login("Connection refused: 'rtsp://a:b1%21@cam/x'", "rtsp://a:b1%21@cam/x")
    "Connection refused: 'rtsp://cam/x'"
    """
    text = text.replace(source, without_login(source))
    found = _LOGIN.match(source)
    if found is None:
        return text
    login = found.group(2)
    for secret in (login, login.partition(":")[2]):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "...") if form else text
    return text
