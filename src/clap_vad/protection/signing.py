"""Signatures of advertised keys, which the coordinator cannot forge unless it also issues the certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from ..errors import ClapError
from .session import SIGNATURE_BYTES

__all__ = ["CertificateSigner", "CertificateVerifier", "Signer", "UnauthenticatedSigner", "Verifier"]
__all__ += ["signature_array", "signature_bytes"]

_KEY_BITS = 3072
_UNREADABLE = (
    *(ValueError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType, TypeError),
)
"""Exceptions when parsing and verifying received bytes."""
_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
_LENGTH = 4


class Verifier(Protocol):
    """Verifies signatures of participants."""

    def verify(self, name: str, data: bytes, signature: bytes) -> None:
        """Raise :class:`ClapError`, naming the participant, unless ``signature`` is that of ``name`` for ``data``."""


class Signer(Verifier, Protocol):
    """Signs as one participant, and verifies the others."""

    def sign(self, data: bytes) -> bytes:
        """A signature of these bytes, at most 4092 bytes."""


class UnauthenticatedSigner:
    """No signatures, for simulations only: whoever forwards the messages can replace a site's keys by its own."""

    def sign(self, data: bytes) -> bytes:
        """An empty signature."""
        return b""

    def verify(self, name: str, data: bytes, signature: bytes) -> None:
        """Refuse signatures: the sites are then configured differently."""
        if signature:
            raise ClapError(
                f"participant '{name}': it signs its keys, but this site does not verify signatures; configure all "
                "sites in the same way"
            )


class CertificateVerifier:
    """Verifies RSA-PSS signatures that include a certificate of one authority.

    Args:
        authority: certificate of the authority, PEM.
        now: time at which certificates must be valid, with a time zone; by default the time of each check.

    Raises:
        ClapError: not a certificate of an authority.
    """

    def __init__(self, authority: bytes, now: datetime | None = None) -> None:
        self._authority, self._now = _certificate(authority, "the authority's certificate"), now
        try:
            is_authority = self._authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = False
        if not is_authority:
            raise ClapError("the authority's certificate does not allow signing")
        self._check_dates(self._authority, "the authority's certificate")

    def verify(self, name: str, data: bytes, signature: bytes) -> None:
        """See :class:`Verifier`. The certificate is issued by the authority, valid, and its common name is ``name``."""
        where = f"participant '{name}'"
        size = int.from_bytes(signature[:_LENGTH], "big")
        key = self._key(name, _certificate(signature[_LENGTH : _LENGTH + size], f"{where}: the certificate it sent"))
        try:
            key.verify(signature[_LENGTH + size :], data, _PADDING, hashes.SHA256())
        except InvalidSignature:
            raise ClapError(f"{where}: its keys are not signed by it, or were altered in transit") from None

    def _key(self, name: str, certificate: x509.Certificate) -> rsa.RSAPublicKey:
        """The public key of a certificate, after a check that it belongs to ``name``."""
        where = f"participant '{name}'"
        self._check_dates(self._authority, "the authority's certificate")
        try:
            certificate.verify_directly_issued_by(self._authority)
        except _UNREADABLE:
            raise ClapError(f"{where}: its certificate was not issued by this federation's authority") from None
        names = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [name]:
            raise ClapError(f"{where}: the certificate it sent is that of {names}")
        self._check_dates(certificate, f"{where}: its certificate")
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _KEY_BITS:
            raise ClapError(f"{where}: its certificate is not for an RSA key of {_KEY_BITS} bits or more")
        return key

    def _check_dates(self, certificate: x509.Certificate, what: str) -> None:
        now = self._now or datetime.now(UTC)
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= now < end:
            raise ClapError(f"{what} is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d}, but today is {now:%Y-%m-%d}")


class CertificateSigner(CertificateVerifier):
    """Signs with the RSA key of one participant's certificate, which is included in every signature.

    Args:
        name: the participant.
        key: its private key, PEM.
        certificate: its certificate, PEM.
        authority: certificate of the authority, PEM.
        now: see :class:`CertificateVerifier`.

    Raises:
        ClapError: the other participants would not accept these.
    """

    def __init__(
        self, name: str, key: bytes, certificate: bytes, authority: bytes, now: datetime | None = None
    ) -> None:
        super().__init__(authority, now)
        parsed = _certificate(certificate, f"the certificate of '{name}'")
        public = self._key(name, parsed)
        try:
            private = serialization.load_pem_private_key(key, password=None)
        except _UNREADABLE:
            raise ClapError(f"participant '{name}': not a readable private key") from None
        if not isinstance(private, rsa.RSAPrivateKey) or private.public_key() != public:
            raise ClapError(f"participant '{name}': its certificate does not match its private key")
        self._private, self._certificate = private, parsed.public_bytes(serialization.Encoding.DER)

    def sign(self, data: bytes) -> bytes:
        """See :class:`Signer`: length of the certificate, the certificate (DER), RSA-PSS with SHA-256."""
        signature = self._private.sign(data, _PADDING, hashes.SHA256())
        return len(self._certificate).to_bytes(_LENGTH, "big") + self._certificate + signature


def _certificate(data: bytes, what: str) -> x509.Certificate:
    """A certificate from PEM or DER."""
    try:
        pem = data.lstrip().startswith(b"-----")
        certificate = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        # decoded lazily; access them here, so that later accesses cannot fail
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key())
    except _UNREADABLE:
        raise ClapError(f"{what} is not readable") from None
    return certificate


def signature_array(signature: bytes) -> np.ndarray:
    """A signature as (4096,) uint8: its length, itself, zeros.

    >>> signature_bytes(signature_array(b"signed"))
    b'signed'
    """
    room = SIGNATURE_BYTES - _LENGTH
    if len(signature) > room:
        raise ClapError(f"a signature with certificate has {len(signature)} bytes; at most {room} are allowed")
    filled = len(signature).to_bytes(_LENGTH, "big") + signature
    return np.frombuffer(filled.ljust(SIGNATURE_BYTES, b"\0"), np.uint8)


def signature_bytes(array: np.ndarray) -> bytes:
    """The signature in such an array; raises :class:`ClapError` if its length is invalid."""
    data = array.tobytes()
    size = int.from_bytes(data[:_LENGTH], "big")
    if size > len(data) - _LENGTH:
        raise ClapError("the signature is longer than its array")
    return data[_LENGTH : _LENGTH + size]
