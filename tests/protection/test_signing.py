from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from clap_vad.errors import ClapError
from clap_vad.protection.coordinator import SecureCoordinator
from clap_vad.protection.session import SIGNATURE_BYTES, open_session
from clap_vad.protection.signing import (
    CertificateSigner,
    CertificateVerifier,
    UnauthenticatedSigner,
    signature_array,
    signature_bytes,
)
from clap_vad.protection.site import SecureSite

NOW = datetime(2030, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("ada", "bob", "cyd")
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Party:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        plain = serialization.NoEncryption()
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)


def party(name: str, issuer: Party | None, key=None, authority: bool = False, days: int = 100) -> Party:
    key = key or rsa.generate_private_key(65537, 3072)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - 2 * DAY,
        not_valid_after=NOW + days * DAY,
    ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return Party(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


@pytest.fixture(scope="module")
def authority() -> Party:
    return party("federation", None, authority=True)


@pytest.fixture(scope="module")
def stranger() -> Party:
    return party("federation", None, authority=True)


@pytest.fixture(scope="module")
def parties(authority) -> dict[str, Party]:
    return {name: party(name, authority) for name in NAMES}


@pytest.fixture(scope="module")
def signers(parties, authority) -> dict[str, CertificateSigner]:
    return {name: signer(name, one, authority) for name, one in parties.items()}


def signer(name: str, one: Party, authority: Party) -> CertificateSigner:
    return CertificateSigner(name, one.key_pem, one.pem, authority.pem, NOW)


def test_a_sum_of_sites_with_certificates(signers, authority):
    session = open_session("signed", NAMES, (4, 1))
    sites = {name: SecureSite(session, name, signers[name]) for name in NAMES}
    coordinator = SecureCoordinator(session, CertificateVerifier(authority.pem, NOW))
    question = coordinator.advertised({name: site.advertise() for name, site in sites.items()})
    questions = coordinator.shared({name: site.share(question) for name, site in sites.items()})
    narrow, wide = np.arange(4, dtype=np.uint32), np.array([2**64 - 1], np.uint64)
    question = coordinator.masked({name: sites[name].mask(questions[name], narrow, wide) for name in NAMES})
    sums = coordinator.unmasked({name: site.unmask(question) for name, site in sites.items()})
    assert [s.tolist() for s in sums] == [[0, 3, 6, 9], [2**64 - 3]]


def test_keys_that_somebody_else_signed_or_altered_are_refused_by_all(signers, authority):
    session = open_session("signed", NAMES, (4, 1))
    other = open_session("signed", NAMES, (4, 2))  # one number is another one
    replies = {name: SecureSite(session, name, signers[name]).advertise() for name in NAMES}
    altered = replies["bob"]["keys"].copy()
    altered[1, 7] ^= 1
    broken = replies["bob"]["signature"].copy()
    broken[int.from_bytes(broken[:4].tobytes(), "big")] ^= 1
    forged = [
        {**replies["bob"], "keys": altered},
        {**replies["bob"], "signature": broken},
        {**replies["bob"], "signature": signature_array(b"")},
        {**replies["bob"], "signature": np.full(SIGNATURE_BYTES, 255, np.uint8)},
        SecureSite(other, "bob", signers["bob"]).advertise(),
        SecureSite(session, "bob", signers["cyd"]).advertise(),
        SecureSite(session, "bob", UnauthenticatedSigner()).advertise(),
    ]
    for reply in forged:
        site = SecureSite(session, "ada", signers["ada"])
        mixed = {**replies, "ada": site.advertise(), "bob": reply}
        with pytest.raises(ClapError, match="participant 'bob'"):
            SecureCoordinator(session, CertificateVerifier(authority.pem, NOW)).advertised(mixed)
        trusting = SecureCoordinator(session)
        try:
            question = trusting.advertised(mixed)
        except ClapError:
            assert reply["signature"][0] == 255  # what is no signature at all, every coordinator refuses
            continue
        with pytest.raises(ClapError, match="participant 'bob'"):
            site.share(question)


def test_a_simulation_does_not_mix_with_certificates(signers):
    with pytest.raises(ClapError, match="participant 'ada': it signs its keys"):
        UnauthenticatedSigner().verify("ada", b"data", signers["ada"].sign(b"data"))


def test_certificates_that_do_not_fit_are_refused(parties, authority, stranger):
    verifier, ada = CertificateVerifier(authority.pem, NOW), parties["ada"]
    late = party("ada", authority, ada.key, days=-1)
    small = party("ada", authority, rsa.generate_private_key(65537, 2048))
    curve = party("ada", authority, ec.generate_private_key(ec.SECP256R1()))
    foreign = party("ada", stranger, ada.key)
    below = party("ada", ada, ada.key)  # issued by a site
    for wrong, sentence in (
        (late, "valid from"),
        (small, "3072 bits"),
        (curve, "3072 bits"),
        (foreign, "not issued by this federation's authority"),
        (below, "not issued by this federation's authority"),
        (parties["bob"], "that of \\['bob'\\]"),
    ):
        with pytest.raises(ClapError, match=f"participant 'ada': .*{sentence}"):
            signer("ada", wrong, authority)
    with pytest.raises(ClapError, match="does not match its private key"):
        CertificateSigner("ada", parties["bob"].key_pem, ada.pem, authority.pem, NOW)
    with pytest.raises(ClapError, match="not a readable private key"):
        CertificateSigner("ada", b"no key", ada.pem, authority.pem, NOW)
    with pytest.raises(ClapError, match="does not allow signing"):
        CertificateVerifier(ada.pem, NOW)
    with pytest.raises(ClapError, match="not readable"):
        CertificateVerifier(b"nothing", NOW)
    with pytest.raises(ClapError, match="the authority's certificate is valid"):
        CertificateVerifier(authority.pem, NOW + 1000 * DAY)
    signed_elsewhere = signer("ada", foreign, stranger).sign(b"data")
    with pytest.raises(ClapError, match="not issued by this federation's authority"):
        verifier.verify("ada", b"data", signed_elsewhere)
    good = signer("ada", ada, authority).sign(b"data")
    verifier.verify("ada", b"data", good)
    for name, data, signature in (("ada", b"date", good), ("bob", b"data", good), ("ada", b"data", good[:-1])):
        with pytest.raises(ClapError, match=f"participant '{name}'"):
            verifier.verify(name, data, signature)


def test_a_signature_in_its_array_is_itself_again():
    for signature in (b"", b"\0", bytes(4092)):
        array = signature_array(signature)
        assert (array.shape, array.dtype) == ((SIGNATURE_BYTES,), np.uint8)
        assert signature_bytes(array) == signature
    with pytest.raises(ClapError, match="bytes; at most"):
        signature_array(bytes(4093))
    with pytest.raises(ClapError, match="longer than its array"):
        signature_bytes(np.full(SIGNATURE_BYTES, 1, np.uint8))
