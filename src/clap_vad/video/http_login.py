"""HTTP basic and digest authentication (RFC 7617, RFC 7616) for cameras that require a login."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from urllib.parse import unquote

__all__ = ["HttpLogin"]

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"md5": hashlib.md5, "sha-256": hashlib.sha256}


class HttpLogin:
    """Creates the header ``Authorization`` that the server requires.

    Args:
        login: ``user:password``, escaped as in an address; None for no login.
    """

    def __init__(self, login: str | None) -> None:
        user, _, password = (login or "").partition(":")
        self._user, self._password = unquote(user), unquote(password)
        self._given = bool(login)
        self._kind = ""
        self._fields: dict[str, str] = {}
        self._count = 0

    def asked(self, challenges: Iterable[str]) -> bool:
        """Read the headers ``WWW-Authenticate`` of a refusal. Returns True if the request should be repeated."""
        found = {challenge.split(None, 1)[0].lower(): challenge for challenge in challenges if challenge.strip()}
        digest = dict(_fields(found["digest"])) if "digest" in found else {}
        hashed = digest.get("algorithm", "md5").lower().removesuffix("-sess") in _HASHES
        kind = "digest" if digest.get("nonce") and hashed else "basic" if "basic" in found else ""
        again = kind == "digest" and digest["nonce"] != self._fields.get("nonce")
        sensible = self._given and bool(kind) and (kind != self._kind or again)
        self._kind, self._fields, self._count = kind, digest, 0
        return sensible

    def header(self, method: str, target: str) -> str | None:
        """The header for a request; None before the server has required a login."""
        if not self._given or not self._kind:
            return None
        if self._kind == "basic":
            return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        return self._digest(method, target)

    def _digest(self, method: str, target: str) -> str:
        fields, nonce = self._fields, self._fields["nonce"]
        realm, algorithm = fields.get("realm", ""), fields.get("algorithm", "MD5")
        make = _HASHES[algorithm.lower().removesuffix("-sess")]

        def hashed(*parts: str) -> str:
            return make(":".join(parts).encode()).hexdigest()

        self._count += 1
        number, own = f"{self._count:08x}", os.urandom(8).hex()
        first = hashed(self._user, realm, self._password)
        if algorithm.lower().endswith("-sess"):
            first = hashed(first, nonce, own)
        second = hashed(method, target)
        user = self._user.replace("\\", "\\\\").replace('"', '\\"')
        parts = [f'username="{user}"', f'realm="{realm}"', f'nonce="{nonce}"', f'uri="{target}"']
        if "auth" in re.split(r"[\s,]+", fields.get("qop", "")):
            parts += ["qop=auth", f"nc={number}", f'cnonce="{own}"']
            parts.append(f'response="{hashed(first, nonce, number, own, "auth", second)}"')
        else:
            parts.append(f'response="{hashed(first, nonce, second)}"')
        if "algorithm" in fields:
            parts.append(f"algorithm={algorithm}")
        if "opaque" in fields:
            parts.append(f'opaque="{fields["opaque"]}"')
        return "Digest " + ", ".join(parts)


def _fields(challenge: str) -> Iterable[tuple[str, str]]:
    for name, quoted, plain in _FIELD.findall(challenge):
        yield name.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain
