"""The two files that a site and the coordinator send each other, and how small JSON records are read.

Neither file holds a secret: they may travel by mail. The site's key signs a request, the federation's authority signs a
bundle; whose keys those are is checked by comparing fingerprints by phone.
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
    """What a site sends to the coordinator.

    Attributes:
        site: the name it asks for.
        organisation: whose site it is.
        certificate_request: PEM, signed with the site's key.
    """

    site: str
    organisation: str
    certificate_request: str


@dataclass(frozen=True)
class SiteBundle:
    """What the coordinator sends back.

    Attributes:
        federation, site: their names.
        host, port: where the coordinator's server listens.
        certificate, authority: of the site, and of who signed it; PEM.
        signature: the authority's, over all other entries; hexadecimal, empty before :func:`sign_bundle`.
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
    """Read a request; raises :class:`ClapError` for another kind of file, another version, or damage."""
    shape = {"site": str, "organisation": str, "certificate_request": str}
    request = SiteRequest(**read_record(file, _REQUEST, shape, _KINDS[_REQUEST]))
    check_site_name(request.site, f"{file}: site")
    check_organisation(request.organisation, f"{file}: organisation")
    return request


def write_bundle(file: Path, bundle: SiteBundle) -> None:
    """Write a bundle, atomically."""
    write_json(file, {"format": _BUNDLE, **asdict(bundle)})


def read_bundle(file: Path) -> SiteBundle:
    """Read a bundle; raises :class:`ClapError` for another kind of file, another version, or damage.

    The signature is not checked here, see :func:`check_bundle_signature`; it is empty where an earlier release made the
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
    """The bundle with the authority's signature, so that no entry can be changed on the way to the site."""
    return replace(bundle, signature=sign(authority, _signed_part(bundle)))


def check_bundle_signature(file: Path, bundle: SiteBundle) -> None:
    """Raise :class:`ClapError`, beginning with the file, unless the bundle's authority signed all its entries.

    A bundle without a signature is refused: whoever carried it could have changed the coordinator's address in it.
    """
    if not bundle.signature:
        raise ClapError(
            f"{file}: it has no signature, so the coordinator's address in it may have been changed; it was made by an "
            "earlier release: ask the coordinator to approve the request again with this release and to send the new "
            "bundle"
        )
    authority = parse_certificate(bundle.authority, f"{file}: authority")
    if not is_signed_by(authority, bundle.signature, _signed_part(bundle)):
        raise ClapError(
            f"{file}: an entry of it (host {bundle.host[:80]!r}, port {bundle.port}, or another) was changed after the "
            "coordinator signed it; do not use it, and ask the coordinator to send the bundle again"
        )


def _signed_part(bundle: SiteBundle) -> bytes:
    """All entries but the signature, in one order, after the name of the format: no other kind of text looks so."""
    entries = {key: value for key, value in asdict(bundle).items() if key != "signature"}
    return f"{_BUNDLE}\n{json.dumps(entries, sort_keys=True)}".encode()


def read_record(file: Path, version: str | int, shape: Mapping[str, type], what: str) -> dict[str, Any]:
    """The entries of a JSON object that is of one format.

    Args:
        file: where it stands.
        version: what its entry ``format`` must be.
        shape: the other entries it must have, and their types; further ones are left out.
        what: what the file should be, for the error sentence.

    Raises:
        ClapError: missing, too large, no JSON, another format, or an entry is missing or of another type.
    """
    if file.is_file() and file.stat().st_size > _LARGEST:
        raise ClapError(f"{file}: larger than {_LARGEST} bytes, so not {what}")
    content = read_json(file)
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is not type(version) or found != version:
        raise ClapError(f"{file}: {_mismatch(found, version, what)}")
    for key, kind in shape.items():
        if type(content.get(key)) is not kind:  # bool is an int, but no port
            raise ClapError(f"{file}: '{key}' is missing in it or damaged; put the original back or have it sent again")
    return {key: content[key] for key in shape}


def _mismatch(found: object, version: str | int, what: str) -> str:
    if isinstance(found, str) and found in _KINDS:
        return f"this is {_KINDS[found]}; give {what}"
    same_kind = isinstance(found, str) and isinstance(version, str) and _stem(found) == _stem(version)
    if same_kind or (type(found) is int and type(version) is int):
        return f"its format is {found!r}, and this release reads {version!r}; install the same release on both sides"
    return f"not {what}"


def _stem(version: str) -> str:
    return version.rpartition("-")[0]
