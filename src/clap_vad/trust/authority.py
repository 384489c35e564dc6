"""A federation's certificate authority: it certifies the sites and the coordinator's server.

Only the coordinator has its key; whoever holds the key decides who takes part.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..errors import ClapError
from .identity import check_authority, common_name, new_key, subject_name

__all__ = [
    "OPERATOR_NAME",
    "SERVER_NAME",
    "Authority",
    "issue_operator",
    "issue_server",
    "issue_site",
    "new_authority",
    "sign",
]

SERVER_NAME = "coordinator"
"""Common name of FLARE's server, which sites expect; reserved, so no site can have it."""
OPERATOR_NAME = "operator@coordinator"
"""Common name of FLARE's administrator, the coordinator itself; no site can have it, because of its '@'."""

_OPERATOR_ROLE = "project_admin"
_SKEW = timedelta(minutes=5)  # a site's clock may be slow by this much
_MOST_DAYS = 36500
_BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def new_authority(federation: str, days: int = 3650, now: datetime | None = None) -> Authority:
    """A federation's authority, with a fresh key.

    Args:
        federation: the common name.
        days: validity; it also limits the validity of every certificate that the authority signs.
        now: the time of issue, with a time zone; by default the current time.

    Raises:
        ClapError: ``days`` is out of range.
    """
    now = now or datetime.now(UTC)
    end = now + _lifetime(days)
    key = new_key()
    name = subject_name(federation)
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def sign(authority: Authority, data: bytes) -> str:
    """The authority's signature (RSA-PSS, SHA-256) over ``data``, hexadecimal; see :func:`.identity.is_signed_by`.

    Certificates are signed with another padding (PKCS #1 v1.5), so that neither can replace the other.
    """
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return authority.key.sign(data, pss, hashes.SHA256()).hex()


def issue_site(
    authority: Authority,
    request: x509.CertificateSigningRequest,
    name: str,
    organisation: str,
    days: int = 365,
    now: datetime | None = None,
) -> x509.Certificate:
    """A site's certificate: the key comes from the request, the subject from the coordinator's approval.

    It is valid for clients only, so that a site with the name of the coordinator's host cannot impersonate the
    coordinator.

    Args:
        authority: the signer; no certificate is valid longer than the authority.
        request: checked by :func:`.identity.parse_request`.
        name, organisation: of the site, as approved.
        days: validity.
        now: the time of issue, with a time zone; by default the current time.

    Raises:
        ClapError: ``days`` is out of range, or the authority has expired.
    """
    key = request.public_key()
    assert isinstance(key, rsa.RSAPublicKey)  # checked by parse_request
    return _issue(authority, subject_name(name, organisation), key, days, now, _CLIENT)


def issue_server(
    authority: Authority, key: rsa.RSAPublicKey, hosts: Sequence[str], days: int, now: datetime | None = None
) -> x509.Certificate:
    """The certificate of FLARE's server, valid for the DNS names and IP addresses ``hosts``; otherwise as for a site.

    It is also valid for clients: FLARE's own job processes may connect to the server with it.
    """
    subject = subject_name(SERVER_NAME, common_name(authority.certificate))
    return _issue(authority, subject, key, days, now, _BOTH_ENDS, hosts)


def issue_operator(
    authority: Authority, key: rsa.RSAPublicKey, days: int, now: datetime | None = None
) -> x509.Certificate:
    """The certificate of FLARE's administrator, with the role that FLARE reads from it; otherwise as for a site."""
    subject = subject_name(OPERATOR_NAME, common_name(authority.certificate), _OPERATOR_ROLE)
    return _issue(authority, subject, key, days, now, _CLIENT)


def _issue(
    authority: Authority,
    subject: x509.Name,
    key: rsa.RSAPublicKey,
    days: int,
    now: datetime | None,
    usages: Sequence[x509.ObjectIdentifier],
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    now = now or datetime.now(UTC)
    check_authority(authority.certificate, now, "authority")
    end = min(now + _lifetime(days), authority.certificate.not_valid_after_utc)
    builder = (
        _builder(subject, authority.certificate.subject, key, authority.key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPublicKey,
    issuer_key: rsa.RSAPublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _lifetime(days: int) -> timedelta:
    if not 1 <= days <= _MOST_DAYS:
        raise ClapError(f"days: a certificate cannot be valid for {days} days; give a number from 1 to {_MOST_DAYS}")
    return timedelta(days=days)
