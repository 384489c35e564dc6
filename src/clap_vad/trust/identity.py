"""Keys, certificates and requests for them (X.509): who a site is, and whether its papers are in order.

A site makes its key itself, sends a request that holds the public half, and gets a certificate back. The private key
never leaves the site.

Keys are RSA because FLARE's log-in signs and verifies with RSA-PSS and knows nothing else.
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
"""What parsing and verifying foreign bytes can raise; TypeError is an encrypted key's."""
_ASK_AGAIN = "run 'clap site request' again and have it approved"


def new_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key of 3072 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    """Write a private key as unencrypted PEM (PKCS #8), atomically, never readable by anyone but its owner."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with atomic_path(path) as temporary:
        temporary.unlink(missing_ok=True)  # one that a killed process left could have any mode
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)


def read_key(path: Path) -> rsa.RSAPrivateKey:
    """Read what :func:`write_key` wrote; raises :class:`ClapError` when it is missing or no plain RSA key."""
    try:
        key = serialization.load_pem_private_key(_read(path, "private key"), password=None)
    except _UNREADABLE:
        raise ClapError(
            f"{path}: not a readable private key; put the original back, or remove it and {_ASK_AGAIN}"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ClapError(f"{path}: not an RSA key, and FLARE takes no other; remove it and {_ASK_AGAIN}")
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
    """Read one certificate from a PEM file; raises :class:`ClapError` when it is missing or damaged."""
    return _certificate(_read(path, "certificate"), str(path))


def parse_certificate(pem: str, where: str) -> x509.Certificate:
    """One certificate from PEM text; a :class:`ClapError` about damage begins with ``where`` the text stands."""
    return _certificate(pem.encode(errors="replace"), where)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ClapError(f"{path}: no such {what}; put it back, or {_ASK_AGAIN}") from None


def _certificate(pem: bytes, where: str) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        # these are decoded only when asked for; asked here, no later look at them can fail
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key())
    except _UNREADABLE:
        raise ClapError(f"{where}: not a readable certificate; put the original back, or {_ASK_AGAIN}") from None
    return certificate


def is_signed_by(authority: x509.Certificate, signature: str, data: bytes) -> bool:
    """Whether ``signature`` is the one that :func:`.authority.sign` makes of ``data`` with this certificate's key."""
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
    """A subject of up to three parts, in the order in which FLARE writes them; empty ones are left out."""
    kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.UNSTRUCTURED_NAME)
    values = (common, organisation, role)
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in zip(kinds, values, strict=True) if value])


def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The subject's one common name; empty where it has none or several."""
    return _attribute(certificate, NameOID.COMMON_NAME)


def _attribute(certificate: x509.Certificate | x509.CertificateSigningRequest, kind: x509.ObjectIdentifier) -> str:
    values = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(kind)]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def fingerprint(of: rsa.RSAPublicKey | x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER): 16 groups of 4 hexadecimal digits, to compare by phone.

    A key, its requests and its certificates all have the same one.
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
        name, organisation: what the request has to say.
        where: what the error begins with.

    Raises:
        ClapError: damaged, altered after it was signed, about somebody else, or not for an RSA key of 3072 bits or
            more.
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
            f"{where}: it names '{name}' of {organisation!r}, but the certificate request in it '{stated[0]}' of "
            f"{stated[1]!r}; have the site send it again"
        )
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _KEY_BITS:
        raise ClapError(
            f"{where}: its key is no RSA key of {_KEY_BITS} bits or more; have the site make one by 'clap site request'"
        )
    return request


def check_identity(certificate: Path, key: Path, authority: Path, name: str, now: datetime | None = None) -> float:
    """Check that three PEM files are the identity of ``name``; see :func:`check_certificate`.

    Raises:
        ClapError: also where a file is missing or unreadable.
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
    """Check that a certificate is that of ``name``, of this authority, for this key, and valid.

    Args:
        certificate, key, authority: what belongs together.
        name: the common name that the certificate must have.
        where: what the error begins with.
        now: when it must be valid, with a time zone; the present by default.

    Returns:
        Days until it expires.

    Raises:
        ClapError: it is not; the sentence says what does not fit, and the remedy.
    """
    now = now or datetime.now(UTC)
    check_authority(authority, now, where)
    try:
        certificate.verify_directly_issued_by(authority)
    except _UNREADABLE:
        raise ClapError(
            f"{where}: not signed by the authority of federation '{common_name(authority)}'; "
            "use the files of one bundle together, by 'clap site join' again"
        ) from None
    if common_name(certificate) != name:
        raise ClapError(
            f"{where}: this is the certificate of '{common_name(certificate)}', not of '{name}'; join with the bundle "
            f"that was made for '{name}'"
        )
    if fingerprint(certificate) != fingerprint(key.public_key()):
        raise ClapError(f"{where}: made for another key than the one of '{name}' here; {_ASK_AGAIN}")
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        raise ClapError(
            f"{where}: not valid before {_moment(start)}, and this machine's clock says {_moment(now)}; set the clock"
        )
    if now >= end:
        raise ClapError(f"{where}: the certificate expired on {_moment(end)}; {_ASK_AGAIN}")
    return (end - now) / timedelta(days=1)


def check_authority(authority: x509.Certificate, now: datetime, where: str) -> None:
    """Raise :class:`ClapError`, beginning with ``where``, unless a certificate is an authority's and valid ``now``."""
    try:
        is_authority = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise ClapError(
            f"{where}: what stands for the authority is the certificate of '{common_name(authority)}', which may sign "
            "nothing; have the coordinator send the bundle again"
        )
    if now >= authority.not_valid_after_utc:
        raise ClapError(
            f"{where}: the authority of federation '{common_name(authority)}' expired on "
            f"{_moment(authority.not_valid_after_utc)}; the coordinator has to start a new one with "
            "'clap coordinator init' and approve every site anew"
        )
    if now < authority.not_valid_before_utc:
        raise ClapError(
            f"{where}: the authority is not valid before {_moment(authority.not_valid_before_utc)}, and this machine's "
            f"clock says {_moment(now)}; set the clock"
        )


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
