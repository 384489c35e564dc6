"""Validation of names of sites, federations, organisations and hosts, and of ports.

A name is used as a common name in a certificate, a file name, and a word in FLARE's configuration; a valid name is safe
in all three.
"""

from __future__ import annotations

import ipaddress
import re

from ..errors import ClapError, unprintable

__all__ = ["RESERVED", "check_host", "check_name", "check_organisation", "check_port", "check_site_name"]

RESERVED = frozenset({"server", "admin", "coordinator", "operator", "all"})
"""Names that a site may not have: they stand for parts of the coordinator, or for all sites."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_LONGEST_HOST = 253
_LONGEST_ORGANISATION = 64  # characters, X.520's upper bound


def check_name(name: str, where: str) -> str:
    """``name``, if it is a valid name of a site or a federation.

    Args:
        name: 1 to 63 of ``a-z``, ``0-9`` and ``-``, starting and ending with a letter or digit; not reserved.
        where: place of the name; start of the error message.

    Raises:
        ClapError: the name has other characters, is too long, or is reserved.

    >>> check_name("north-gate", "site name")
    'north-gate'
    """
    if not _NAME.fullmatch(name):
        raise ClapError(
            f"{where}: {name[:80]!r} cannot be used; use 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'"
        )
    if name in RESERVED:
        raise ClapError(f"{where}: '{name}' is reserved (as are {', '.join(sorted(RESERVED))}); choose another name")
    return name


def check_site_name(name: str, where: str = "site name") -> str:
    """``name``, if it is a valid name of a site; see :func:`check_name`."""
    return check_name(name, where)


def check_organisation(organisation: str, where: str = "organisation") -> str:
    """``organisation`` without outer spaces; raises :class:`ClapError` unless it has 1 to 64 printable characters."""
    stripped = organisation.strip()
    if not stripped or len(stripped) > _LONGEST_ORGANISATION or unprintable(stripped):
        raise ClapError(
            f"{where}: {organisation[:80]!r} is not a valid organisation name; "
            f"give 1 to {_LONGEST_ORGANISATION} printable characters"
        )
    return stripped


def check_host(host: str, where: str = "host") -> str:
    """The DNS name, in lower case, or IP address under which sites reach the coordinator.

    Raises:
        ClapError: neither of the two, or an address for listening only (``0.0.0.0``).

    >>> check_host("Coordinator.Example.ORG"), check_host("192.0.2.7")
    ('coordinator.example.org', '192.0.2.7')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        # a numeric last label is a mistyped address (192.0.2.777), not a name
        if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
            raise ClapError(
                f"{where}: {host[:80]!r} is neither a DNS name nor an IP address; "
                "give the coordinator's address as sites use it, without scheme and port"
            ) from None
        return host.lower()
    if address.is_unspecified or "%" in host:
        raise ClapError(
            f"{where}: sites cannot connect to {host}; give the address under which sites reach the coordinator"
        )
    if address.version == 6:
        raise ClapError(f"{where}: FLARE does not support the IPv6 address {host}; give a DNS name for it")
    return str(address)


def check_port(port: int, where: str = "port") -> int:
    """``port``; raises :class:`ClapError` unless it is within 1 to 65535."""
    if not 1 <= port <= 65535:
        raise ClapError(f"{where}: {port} is not a valid port; give a number from 1 to 65535")
    return port
