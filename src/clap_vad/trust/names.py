"""What sites, federations, organisations, hosts and ports may be called.

A name becomes a common name in a certificate, a file name, and a word in FLARE's configuration; what passes here is
safe in all three.
"""

from __future__ import annotations

import ipaddress
import re

from ..errors import ClapError, unprintable

__all__ = ["RESERVED", "check_host", "check_name", "check_organisation", "check_port", "check_site_name"]

RESERVED = frozenset({"server", "admin", "coordinator", "operator", "all"})
"""Names that a site may not have, because the coordinator's own parts, or all sites together, are called so."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_LONGEST_HOST = 253
_LONGEST_ORGANISATION = 64  # characters, X.520's upper bound


def check_name(name: str, where: str) -> str:
    """``name`` itself, where a site or a federation may be called so.

    Args:
        name: 1 to 63 of ``a-z``, ``0-9`` and ``-``, beginning and ending with a letter or digit; not reserved.
        where: what the name stands in or for; the error begins with it.

    Raises:
        ClapError: the name has other characters, is too long, or is reserved.

    >>> check_name("north-gate", "site name")
    'north-gate'
    """
    if not _NAME.fullmatch(name):
        raise ClapError(
            f"{where}: {name[:80]!r} cannot be used; take 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'"
        )
    if name in RESERVED:
        raise ClapError(f"{where}: '{name}' is reserved ({', '.join(sorted(RESERVED))} are); choose another name")
    return name


def check_site_name(name: str, where: str = "site name") -> str:
    """``name`` itself, where a site may be called so; see :func:`check_name`."""
    return check_name(name, where)


def check_organisation(organisation: str, where: str = "organisation") -> str:
    """``organisation`` without outer blanks; raises :class:`ClapError` unless it has 1 to 64 printable characters."""
    stripped = organisation.strip()
    if not stripped or len(stripped) > _LONGEST_ORGANISATION or unprintable(stripped):
        raise ClapError(
            f"{where}: {organisation[:80]!r} cannot name an organisation; "
            f"give 1 to {_LONGEST_ORGANISATION} printable characters"
        )
    return stripped


def check_host(host: str, where: str = "host") -> str:
    """The DNS name, in lower case, or IP address under which sites reach the coordinator.

    Raises:
        ClapError: neither of the two, or an address that only a listener can have (``0.0.0.0``).

    >>> check_host("Coordinator.Example.ORG"), check_host("192.0.2.7")
    ('coordinator.example.org', '192.0.2.7')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        # an all-numeric last label is no name but a mistyped address, 192.0.2.777
        if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
            raise ClapError(
                f"{where}: {host[:80]!r} is neither a DNS name nor an IP address; "
                "give the coordinator's as the sites see it, without scheme and port"
            ) from None
        return host.lower()
    if address.is_unspecified or "%" in host:
        raise ClapError(
            f"{where}: no site can connect to {host}; give the address under which sites see the coordinator"
        )
    if address.version == 6:
        raise ClapError(f"{where}: FLARE takes no bare IPv6 address such as {host}; give a DNS name that leads to it")
    return str(address)


def check_port(port: int, where: str = "port") -> int:
    """``port`` itself; raises :class:`ClapError` unless it is within 1 to 65535."""
    if not 1 <= port <= 65535:
        raise ClapError(f"{where}: {port} is no port; give a number from 1 to 65535")
    return port
