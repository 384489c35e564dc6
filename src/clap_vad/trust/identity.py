"""Keys, certificates and certificate requests (X.509): the identity of a site, and its validation.

A site creates its key, sends a request with the public key, and receives a certificate. The private key never leaves
the site. Keys are RSA because FLARE's login supports only RSA-PSS.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from ..errors import ClapError
from ..persistence import atomic_path, write_text

__all__ = [
    "certificate_pem",
    "check_authority",
    "check_certificate",
    "check_identity",
    "common_name",
    "fingerprint",
    "is_signed_by",
    "new_key",
    "parse_certificate",
    "parse_request",
    "read_certificate",
    "read_key",
    "request_pem",
    "site_request",
    "subject_name",
    "write_certificate",
    "write_key",
]

_KEY_BITS = 3072
_UNREADABLE = (
    *(ValueError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType, TypeError),
)
"""Exceptions when parsing and verifying received bytes; TypeError is raised for an encrypted key."""
_ASK_AGAIN = "run 'clap site request' again and have it approved"


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key of 3072 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    """Write a private key as unencrypted PEM (PKCS #8), atomically, readable only by its owner."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with atomic_path(path) as temporary:
        temporary.unlink(missing_ok=True)  # a file left by a killed process could have any mode
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)


def read_key(path: Path) -> rsa.RSAPrivateKey:
    """Read a key written by :func:`write_key`; raises :class:`ClapError` if it is missing or not a plain RSA key."""
    try:
        key = serialization.load_pem_private_key(_read(path, "private key"), password=None)
    except _UNREADABLE:
        raise ClapError(
            f"{path}: not a readable private key; restore the original, or remove it and {_ASK_AGAIN}"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ClapError(f"{path}: not an RSA key, which FLARE requires; remove it and {_ASK_AGAIN}")
    return key


def certificate_pem(certificate: x509.Certificate) -> str:
    """A certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def request_pem(request: x509.CertificateSigningRequest) -> str:
    """A certificate request as PEM text."""
    return request.public_bytes(serialization.Encoding.PEM).decode()


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate as PEM, atomically."""
    write_text(path, certificate_pem(certificate))


def read_certificate(path: Path) -> x509.Certificate:
    """Read one certificate from a PEM file; raises :class:`ClapError` if it is missing or damaged."""
    return _certificate(_read(path, "certificate"), str(path))


def parse_certificate(pem: str, where: str) -> x509.Certificate:
    """One certificate from PEM text; raises :class:`ClapError`, starting with ``where``, if it is damaged."""
    return _certificate(pem.encode(errors="replace"), where)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ClapError(f"{path}: no such {what}; restore it, or {_ASK_AGAIN}") from None


def _certificate(pem: bytes, where: str) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        # decoded lazily; access them here, so that later accesses cannot fail
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key())
    except _UNREADABLE:
        raise ClapError(f"{where}: not a readable certificate; restore the original, or {_ASK_AGAIN}") from None
    return certificate


def is_signed_by(authority: x509.Certificate, signature: str, data: bytes) -> bool:
    """Whether ``signature`` was made by :func:`.authority.sign` for ``data`` with this certificate's key."""
    key = authority.public_key()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(bytes.fromhex(signature), data, pss, hashes.SHA256())
            return True
    except _UNREADABLE:
        pass
    return False


def subject_name(common: str, organisation: str = "", role: str = "") -> x509.Name:
    """A subject of up to three parts, in FLARE's order; empty parts are left out."""
    kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.UNSTRUCTURED_NAME)
    values = (common, organisation, role)
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in zip(kinds, values, strict=True) if value])


def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The subject's common name; empty if it has none or several."""
    return _attribute(certificate, NameOID.COMMON_NAME)


def _attribute(certificate: x509.Certificate | x509.CertificateSigningRequest, kind: x509.ObjectIdentifier) -> str:
    values = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(kind)]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def fingerprint(of: rsa.RSAPublicKey | x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER): 16 groups of 4 hexadecimal digits, to compare by phone.

    A key, its requests and its certificates have the same fingerprint.
    """
    key = of if isinstance(of, rsa.RSAPublicKey) else of.public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(spki).hexdigest()
    return ":".join(digest[i : i + 4] for i in range(0, len(digest), 4))


def site_request(key: rsa.RSAPrivateKey, name: str, organisation: str) -> x509.CertificateSigningRequest:
    """A site's request for a certificate: common name and organisation, signed with its own key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_name(name, organisation))
    return builder.sign(key, hashes.SHA256())


def parse_request(pem: str, name: str, organisation: str, where: str) -> x509.CertificateSigningRequest:
    """A certificate request from PEM text, its signature verified.

    Args:
        pem: the text.
        name, organisation: required subject of the request.
        where: start of error messages.

    Raises:
        ClapError: damaged, altered after it was signed, with another subject, or not for an RSA key of at least 3072
            bits.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, genuine = request.public_key(), request.is_signature_valid
        stated = common_name(request), _attribute(request, NameOID.ORGANIZATION_NAME)
    except _UNREADABLE:
        raise ClapError(f"{where}: the certificate request in it is damaged; have the site send it again") from None
    if not genuine:
        raise ClapError(f"{where}: the certificate request in it was altered; have the site send it again")
    if stated != (name, organisation):
        raise ClapError(
            f"{where}: it is for '{name}' of {organisation!r}, but the certificate request in it is for '{stated[0]}' "
            f"of {stated[1]!r}; have the site send it again"
        )
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _KEY_BITS:
        raise ClapError(
            f"{where}: its key is not RSA with at least {_KEY_BITS} bits; have the site create one with 'clap site "
            "request'"
        )
    return request


def check_identity(certificate: Path, key: Path, authority: Path, name: str, now: datetime | None = None) -> float:
    """Check that three PEM files are the identity of ``name``; see :func:`check_certificate`.

    Raises:
        ClapError: also if a file is missing or unreadable.
    """
    return check_certificate(
        read_certificate(certificate), read_key(key), read_certificate(authority), name, str(certificate), now
    )


def check_certificate(
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey,
    authority: x509.Certificate,
    name: str,
    where: str,
    now: datetime | None = None,
) -> float:
    """Check that a certificate is valid, for ``name`` and this key, and issued by this authority.

    Args:
        certificate, key, authority: the files to check.
        name: the common name that the certificate must have.
        where: start of error messages.
        now: time at which it must be valid, with a time zone; by default the current time.

    Returns:
        Days until it expires.

    Raises:
        ClapError: a check failed; the message gives the reason and the remedy.
    """
    now = now or datetime.now(UTC)
    check_authority(authority, now, where)
    try:
        certificate.verify_directly_issued_by(authority)
    except _UNREADABLE:
        raise ClapError(
            f"{where}: not signed by the authority of federation '{common_name(authority)}'; "
            "run 'clap site join' again, so that all files come from one bundle"
        ) from None
    if common_name(certificate) != name:
        raise ClapError(
            f"{where}: this is the certificate of '{common_name(certificate)}', not of '{name}'; join with the bundle "
            f"for '{name}'"
        )
    if fingerprint(certificate) != fingerprint(key.public_key()):
        raise ClapError(f"{where}: issued for another key than that of '{name}'; {_ASK_AGAIN}")
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        raise ClapError(
            f"{where}: not valid before {_moment(start)}, but this machine's clock shows {_moment(now)}; set the clock"
        )
    if now >= end:
        raise ClapError(f"{where}: the certificate expired on {_moment(end)}; {_ASK_AGAIN}")
    return (end - now) / timedelta(days=1)


def check_authority(authority: x509.Certificate, now: datetime, where: str) -> None:
    """Raise :class:`ClapError`, starting with ``where``, unless a certificate is an authority's and valid ``now``."""
    try:
        is_authority = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise ClapError(
            f"{where}: the authority's certificate is that of '{common_name(authority)}', which does not allow "
            "signing; have the coordinator send the bundle again"
        )
    if now >= authority.not_valid_after_utc:
        raise ClapError(
            f"{where}: the authority of federation '{common_name(authority)}' expired on "
            f"{_moment(authority.not_valid_after_utc)}; the coordinator must create a new one with 'clap coordinator "
            "init' and approve every site again"
        )
    if now < authority.not_valid_before_utc:
        raise ClapError(
            f"{where}: the authority is not valid before {_moment(authority.not_valid_before_utc)}, but this machine's "
            f"clock shows {_moment(now)}; set the clock"
        )


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
