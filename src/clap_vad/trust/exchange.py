"""The two files that a site and the coordinator exchange, and the reader of small JSON records.

Neither file contains a secret, so they may be sent by mail. A request is signed with the site's key, a bundle with the
authority's key. Both sides verify these keys by comparing fingerprints by phone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..persistence import read_json, write_json
from .authority import Authority, sign
from .identity import is_signed_by, parse_certificate
from .names import check_host, check_name, check_organisation, check_port, check_site_name

__all__ = [
    "SiteBundle",
    "SiteRequest",
    "check_bundle_signature",
    "read_bundle",
    "read_record",
    "read_request",
    "sign_bundle",
    "write_bundle",
    "write_request",
]

_REQUEST = "clap-site-request-1"
_BUNDLE = "clap-site-bundle-1"
_KINDS = {
    _REQUEST: "a site's request, made by 'clap site request'",
    _BUNDLE: "a site's bundle, made by 'clap coordinator approve'",
}
_LARGEST = 1_000_000  # bytes; real ones have a few thousand


@dataclass(frozen=True)
class SiteRequest:
    """A site's request to the coordinator.

    Attributes:
        site: the requested name.
        organisation: organisation of the site.
        certificate_request: PEM, signed with the site's key.
    """

    site: str
    organisation: str
    certificate_request: str


@dataclass(frozen=True)
class SiteBundle:
    """The coordinator's reply to a request.

    Attributes:
        federation, site: names of both.
        host, port: address of the coordinator's server.
        certificate, authority: certificates of the site and of the authority, PEM.
        signature: the authority's signature over all other entries, hexadecimal; empty before :func:`sign_bundle`.
    """

    federation: str
    site: str
    host: str
    port: int
    certificate: str
    authority: str
    signature: str = ""


def write_request(file: Path, request: SiteRequest) -> None:
    """Write a request, atomically."""
    write_json(file, {"format": _REQUEST, **asdict(request)})


def read_request(file: Path) -> SiteRequest:
    """Read a request; raises :class:`ClapError` for another kind of file, another version, or a damaged file."""
    shape = {"site": str, "organisation": str, "certificate_request": str}
    request = SiteRequest(**read_record(file, _REQUEST, shape, _KINDS[_REQUEST]))
    check_site_name(request.site, f"{file}: site")
    check_organisation(request.organisation, f"{file}: organisation")
    return request


def write_bundle(file: Path, bundle: SiteBundle) -> None:
    """Write a bundle, atomically."""
    write_json(file, {"format": _BUNDLE, **asdict(bundle)})


def read_bundle(file: Path) -> SiteBundle:
    """Read a bundle; raises :class:`ClapError` for another kind of file, another version, or a damaged file.

    The signature is not checked here, see :func:`check_bundle_signature`; it is empty if an earlier release created the
    bundle.
    """
    shape = {"federation": str, "site": str, "host": str, "port": int, "certificate": str, "authority": str}
    entries = read_record(file, _BUNDLE, shape, _KINDS[_BUNDLE])
    if "signature" in read_json(file):
        entries |= read_record(file, _BUNDLE, {"signature": str}, _KINDS[_BUNDLE])
    bundle = SiteBundle(**entries)
    check_name(bundle.federation, f"{file}: federation")
    check_site_name(bundle.site, f"{file}: site")
    check_host(bundle.host, f"{file}: host")
    check_port(bundle.port, f"{file}: port")
    return bundle


def sign_bundle(bundle: SiteBundle, authority: Authority) -> SiteBundle:
    """The bundle with the authority's signature, so that changes in transit are detected."""
    return replace(bundle, signature=sign(authority, _signed_part(bundle)))


def check_bundle_signature(file: Path, bundle: SiteBundle) -> None:
    """Raise :class:`ClapError`, starting with the file, unless the bundle's authority signed all its entries.

    A bundle without a signature is refused, because the coordinator's address could have been changed in transit.
    """
    if not bundle.signature:
        raise ClapError(
            f"{file}: it has no signature, so the coordinator's address may have been changed; an earlier release "
            "created it: ask the coordinator to approve the request again with this release and to send the new bundle"
        )
    authority = parse_certificate(bundle.authority, f"{file}: authority")
    if not is_signed_by(authority, bundle.signature, _signed_part(bundle)):
        raise ClapError(
            f"{file}: an entry (host {bundle.host[:80]!r}, port {bundle.port}, or another) was changed after the "
            "coordinator signed it; do not use it, and ask the coordinator to send the bundle again"
        )


def _signed_part(bundle: SiteBundle) -> bytes:
    """All entries except the signature, in a fixed order, after the name of the format."""
    entries = {key: value for key, value in asdict(bundle).items() if key != "signature"}
    return f"{_BUNDLE}\n{json.dumps(entries, sort_keys=True)}".encode()


def read_record(file: Path, version: str | int, shape: Mapping[str, type], what: str) -> dict[str, Any]:
    """The entries of a JSON object with a given format.

    Args:
        file: the JSON file.
        version: required value of its entry ``format``.
        shape: the other required entries and their types; further entries are ignored.
        what: description of the expected file, for error messages.

    Raises:
        ClapError: missing, too large, not JSON, another format, or an entry is missing or of another type.
    """
    if file.is_file() and file.stat().st_size > _LARGEST:
        raise ClapError(f"{file}: larger than {_LARGEST} bytes, so it is not {what}")
    content = read_json(file)
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is not type(version) or found != version:
        raise ClapError(f"{file}: {_mismatch(found, version, what)}")
    for key, kind in shape.items():
        if type(content.get(key)) is not kind:  # bool is a subclass of int
            raise ClapError(f"{file}: '{key}' is missing or damaged; restore the original or have it sent again")
    return {key: content[key] for key in shape}


def _mismatch(found: object, version: str | int, what: str) -> str:
    if isinstance(found, str) and found in _KINDS:
        return f"this is {_KINDS[found]}; give {what}"
    same_kind = isinstance(found, str) and isinstance(version, str) and _stem(found) == _stem(version)
    if same_kind or (type(found) is int and type(version) is int):
        return f"its format is {found!r}, but this release reads {version!r}; install the same release on both sides"
    return f"not {what}"


def _stem(version: str) -> str:
    return version.rpartition("-")[0]
