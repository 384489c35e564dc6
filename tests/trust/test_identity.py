from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from clap_vad.errors import ClapError
from clap_vad.trust.authority import Authority, issue_operator, issue_server, issue_site, new_authority
from clap_vad.trust.identity import (
    certificate_pem,
    check_certificate,
    check_identity,
    common_name,
    fingerprint,
    new_key,
    parse_certificate,
    parse_request,
    read_certificate,
    read_key,
    request_pem,
    site_request,
    write_certificate,
    write_key,
)
from clap_vad.trust.names import RESERVED, check_host, check_name, check_organisation, check_port, check_site_name

NOW = datetime(2030, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("cameras", days=1000, now=NOW)


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return new_authority("cameras", days=1000, now=NOW)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return new_key()


@pytest.fixture(scope="module")
def other_key() -> rsa.RSAPrivateKey:
    return new_key()


@pytest.fixture(scope="module")
def request_(key: rsa.RSAPrivateKey) -> x509.CertificateSigningRequest:
    return site_request(key, "north", "Town of Ely")


@pytest.fixture(scope="module")
def certificate(authority: Authority, request_: x509.CertificateSigningRequest) -> x509.Certificate:
    return issue_site(authority, request_, "north", "Town of Ely", now=NOW)


def subject(certificate: x509.Certificate) -> list[tuple[str, object]]:
    return [(attribute.oid.dotted_string, attribute.value) for attribute in certificate.subject]


def openssl(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=False)


def test_the_subject_is_what_was_approved_not_what_was_asked_for(
    authority: Authority, request_: x509.CertificateSigningRequest
) -> None:
    certificate = issue_site(authority, request_, "south", "Somebody Else", now=NOW)
    assert subject(certificate) == [("2.5.4.3", "south"), ("2.5.4.10", "Somebody Else")]


def test_flare_reads_name_organisation_and_role_of_its_administrator_in_this_order(
    authority: Authority, key: rsa.RSAPrivateKey
) -> None:
    certificate = issue_operator(authority, key.public_key(), 10, NOW)
    named = [("2.5.4.3", "operator@coordinator"), ("2.5.4.10", "cameras"), ("1.2.840.113549.1.9.2", "project_admin")]
    assert subject(certificate) == named


def test_a_certificate_is_valid_from_five_minutes_ago_and_never_outlives_its_authority(
    authority: Authority, request_: x509.CertificateSigningRequest
) -> None:
    short = issue_site(authority, request_, "north", "Town", days=365, now=NOW)
    assert short.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert short.not_valid_after_utc == NOW + 365 * DAY
    long = issue_site(authority, request_, "north", "Town", days=36500, now=NOW)
    assert long.not_valid_after_utc == authority.certificate.not_valid_after_utc == NOW + 1000 * DAY
    with pytest.raises(ClapError, match=r"expired on 2032-11-25 .* 'clap coordinator init'"):
        issue_site(authority, request_, "north", "Town", now=NOW + 1000 * DAY)


@pytest.mark.parametrize("days", [0, -1, 36501, 10**12])
def test_impossible_lifetimes_are_refused(
    authority: Authority, request_: x509.CertificateSigningRequest, days: int
) -> None:
    with pytest.raises(ClapError, match="days: "):
        issue_site(authority, request_, "north", "Town", days=days, now=NOW)
    with pytest.raises(ClapError, match="days: "):
        new_authority("cameras", days)


def test_the_chain_holds_by_the_verifier_of_cryptography(authority: Authority, key: rsa.RSAPrivateKey) -> None:
    server = issue_server(authority, key.public_key(), ["gate.example.org", "192.0.2.7", "2001:db8::7"], 90, NOW)
    builder = PolicyBuilder().store(Store([authority.certificate])).time(NOW + DAY)
    for name in (x509.DNSName("gate.example.org"), x509.IPAddress(ipaddress.ip_address("2001:db8::7"))):
        assert builder.build_server_verifier(name).verify(server, []) == [server, authority.certificate]
    with pytest.raises(x509.verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("other.example.org")).verify(server, [])


def test_the_signature_is_the_one_that_flare_verifies(authority: Authority, certificate: x509.Certificate) -> None:
    authority.certificate.public_key().verify(
        certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA256()
    )


@needs_openssl
def test_the_chain_holds_by_openssl_and_a_site_cannot_pose_as_a_server(
    authority: Authority, certificate: x509.Certificate, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    trusted, site, server = tmp_path / "authority.crt", tmp_path / "site.crt", tmp_path / "server.crt"
    write_certificate(trusted, authority.certificate)
    write_certificate(site, certificate)
    write_certificate(server, issue_server(authority, key.public_key(), ["gate.example.org", "192.0.2.7"], 90, NOW))

    def verify(*arguments: str | Path) -> bool:
        at = str(int((NOW + DAY).timestamp()))
        return not openssl("verify", "-x509_strict", "-attime", at, "-CAfile", trusted, *arguments).returncode

    assert verify("-purpose", "sslclient", site)
    assert not verify("-purpose", "sslserver", site)
    assert verify("-purpose", "sslserver", "-verify_hostname", "gate.example.org", server)
    assert verify("-purpose", "sslserver", "-verify_ip", "192.0.2.7", server)
    assert not verify("-purpose", "sslserver", "-verify_hostname", "other.example.org", server)
    assert not verify("-purpose", "sslserver", "-verify_ip", "192.0.2.8", server)


@needs_openssl
def test_openssl_sees_an_authority_that_may_sign_leaves_only(authority: Authority) -> None:
    text = openssl("x509", "-noout", "-text", given=certificate_pem(authority.certificate).encode()).stdout.decode()
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", text)
    assert re.search(r"Key Usage: critical\s+Certificate Sign, CRL Sign\n", text)
    assert re.search(r"Subject: CN ?= ?cameras\n", text)
    assert "Subject Key Identifier" in text
    assert "Public-Key: (3072 bit)" in text


@needs_openssl
def test_fingerprint_is_sha256_of_the_public_key_as_openssl_writes_it(
    key: rsa.RSAPrivateKey, request_: x509.CertificateSigningRequest, certificate: x509.Certificate, tmp_path: Path
) -> None:
    write_key(tmp_path / "a.key", key)
    der = openssl("pkey", "-in", tmp_path / "a.key", "-pubout", "-outform", "DER").stdout
    told = fingerprint(certificate)
    assert told.replace(":", "") == hashlib.sha256(der).hexdigest()
    assert re.fullmatch(r"([0-9a-f]{4}:){15}[0-9a-f]{4}", told)
    assert told == fingerprint(request_) == fingerprint(key.public_key())


def test_a_key_is_never_readable_by_others(
    key: rsa.RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = []
    system_open = os.open

    def watched(path: str, flags: int, mode: int = 0o777) -> int:
        handle = system_open(path, flags, mode)
        if flags & os.O_CREAT:
            created.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return handle

    file = tmp_path / "a.key"
    for old in (file, tmp_path / f".a.key.{os.getpid()}.tmp"):  # one that was too open, one that a kill has left
        old.write_text("old")
        old.chmod(0o666)
    before = os.umask(0)
    try:
        monkeypatch.setattr(os, "open", watched)
        write_key(file, key)
    finally:
        os.umask(before)
    assert created == [0o600]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.key"]
    assert fingerprint(read_key(file).public_key()) == fingerprint(key.public_key())


def altered(pem: str, position: int, mask: int) -> str:
    """The PEM text with one byte of its DER changed."""
    header, *lines, footer = pem.strip().splitlines()
    der = bytearray(base64.b64decode("".join(lines)))
    der[position] ^= mask
    return "\n".join([header, base64.encodebytes(der).decode().strip(), footer]) + "\n"


def unused_bits(der: bytes, signature: bytes) -> int:
    """Position of the one byte that may change: how many bits of the signature's last byte do not count."""
    return der.index(signature) - 1


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_no_byte_of_a_request_can_be_altered(request_: x509.CertificateSigningRequest, mask: int) -> None:
    pem, der = request_pem(request_), request_.public_bytes(serialization.Encoding.DER)
    assert fingerprint(parse_request(pem, "north", "Town of Ely", "r.json")) == fingerprint(request_)
    for position in set(range(len(der))) - {unused_bits(der, request_.signature)}:
        with pytest.raises(ClapError, match=r"^r\.json: the certificate request in it (is damaged|was altered); "):
            parse_request(altered(pem, position, mask), "north", "Town of Ely", "r.json")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_no_byte_of_a_certificate_can_be_altered(
    certificate: x509.Certificate, authority: Authority, key: rsa.RSAPrivateKey, mask: int
) -> None:
    pem, der = certificate_pem(certificate), certificate.public_bytes(serialization.Encoding.DER)
    for position in set(range(len(der))) - {unused_bits(der, certificate.signature)}:
        with pytest.raises(ClapError, match=r"^c\.crt: not "):
            changed = parse_certificate(altered(pem, position, mask), "c.crt")
            check_certificate(changed, key, authority.certificate, "north", "c.crt", NOW)


def test_a_request_must_be_about_who_sent_it_and_for_a_strong_rsa_key(
    request_: x509.CertificateSigningRequest,
) -> None:
    for name, organisation in (("south", "Town of Ely"), ("north", "Town")):
        with pytest.raises(
            ClapError, match=r"it is for .* of .*, but the certificate request in it is for 'north' of 'Town of"
        ):
            parse_request(request_pem(request_), name, organisation, "r.json")
    asked = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]
    )
    for weak in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        pem = request_pem(x509.CertificateSigningRequestBuilder().subject_name(asked).sign(weak, hashes.SHA256()))
        with pytest.raises(ClapError, match="not RSA with at least 3072 bits"):
            parse_request(pem, "a", "b", "r.json")


def test_a_name_given_twice_is_no_name(key: rsa.RSAPrivateKey) -> None:
    twice = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("north", "south")])
    assert common_name(x509.CertificateSigningRequestBuilder().subject_name(twice).sign(key, hashes.SHA256())) == ""


@pytest.fixture
def folder(authority: Authority, certificate: x509.Certificate, key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    write_certificate(tmp_path / "authority.crt", authority.certificate)
    write_certificate(tmp_path / "client.crt", certificate)
    write_key(tmp_path / "client.key", key)
    return tmp_path


def check(folder: Path, name: str = "north", now: datetime = NOW) -> float:
    return check_identity(folder / "client.crt", folder / "client.key", folder / "authority.crt", name, now)


def test_a_valid_identity_returns_the_days_left(folder: Path) -> None:
    assert check(folder) == pytest.approx(365)
    assert check(folder, now=NOW + 340.5 * DAY) == pytest.approx(24.5)


@pytest.mark.parametrize("file", ["client.crt", "client.key", "authority.crt"])
def test_missing_and_unreadable_files_are_named(folder: Path, file: str) -> None:
    for damage in (b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (folder / file).write_bytes(damage)
        with pytest.raises(ClapError, match=rf"{file}: not a readable .*'clap site request' again"):
            check(folder)
    (folder / file).unlink()
    with pytest.raises(ClapError, match=rf"{file}: no such .*'clap site request' again"):
        check(folder)


def test_a_key_that_flare_cannot_use_is_refused(folder: Path, key: rsa.RSAPrivateKey) -> None:
    def write(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, cipher: serialization.KeySerializationEncryption):
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (folder / "client.key").write_bytes(key.private_bytes(*pem, cipher))

    write(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption())
    with pytest.raises(ClapError, match="not an RSA key"):
        check(folder)
    write(key, serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(ClapError, match="not a readable private key"):
        check(folder)


def test_a_certificate_of_another_authority_of_the_same_name_is_refused(folder: Path, stranger: Authority) -> None:
    write_certificate(folder / "authority.crt", stranger.certificate)
    with pytest.raises(ClapError, match=r"client\.crt: not signed by the authority of federation 'cameras'"):
        check(folder)


def test_a_site_cannot_stand_for_the_authority(folder: Path, certificate: x509.Certificate) -> None:
    write_certificate(folder / "authority.crt", certificate)
    with pytest.raises(ClapError, match="that of 'north', which does not allow signing"):
        check(folder)


def test_the_certificate_or_key_of_another_site_is_refused(folder: Path, other_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ClapError, match="certificate of 'north', not of 'south'"):
        check(folder, "south")
    write_key(folder / "client.key", other_key)
    with pytest.raises(ClapError, match=r"client\.crt: issued for another key .*'clap site request' again"):
        check(folder)


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (NOW + 365 * DAY, r"expired on 2031-03-01 12:00 UTC; run 'clap site request' again and have it approved"),
        (NOW - timedelta(minutes=6), r"not valid before 2030-03-01 11:55 UTC.* clock shows 2030-03-01 11:54 UTC"),
        (NOW + 1000 * DAY, r"authority of federation 'cameras' expired on 2032-11-25 12:00 UTC; .*coordinator init"),
    ],
)
def test_time_is_up_or_has_not_come(folder: Path, now: datetime, sentence: str) -> None:
    with pytest.raises(ClapError, match=sentence):
        check(folder, now=now)


def test_a_certificate_that_starts_after_its_authority_is_reported_with_its_own_date(
    folder: Path, authority: Authority, request_: x509.CertificateSigningRequest
) -> None:
    later = issue_site(authority, request_, "north", "Town", now=NOW + 10 * DAY)
    write_certificate(folder / "client.crt", later)
    with pytest.raises(ClapError, match=r"client\.crt: not valid before 2030-03-11 11:55 UTC"):
        check(folder)


def test_reading_gives_what_was_written(folder: Path, certificate: x509.Certificate) -> None:
    assert read_certificate(folder / "client.crt") == certificate


@pytest.mark.parametrize("name", ["a", "7", "north-gate", "a" * 63, "x--y"])
def test_good_names(name: str) -> None:
    assert check_site_name(name) == check_name(name, "federation name") == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a\n", "a/b", "..", "é", "a" * 64, *sorted(RESERVED)]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(ClapError, match=r"^site name: .*('-'|choose another name)$"):
        check_site_name(name)


@pytest.mark.parametrize(
    ("check", "good", "kept"),
    [
        (check_host, "Gate.Example.org", "gate.example.org"),
        (check_host, "nas", "nas"),
        (check_host, "192.0.2.7", "192.0.2.7"),
        (check_organisation, " Ville d’Évry ", "Ville d’Évry"),
        (check_port, 65535, 65535),
    ],
)
def test_good_values(check: Callable, good: object, kept: object) -> None:
    assert check(good) == kept


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        *((check_host, bad) for bad in ("", "https://a.org", "a.org:80", "a..b", "-a.org", "192.0.2.777", "a.org\n")),
        *(
            (check_host, bad)
            for bad in ("0.0.0.0", "::", "2001:db8::7", "fe80::1%eth0", "a_b.org", "a." * 127 + "ab", "é.org", "a.org.")
        ),
        *((check_organisation, bad) for bad in ("", "  ", "a\nb", "a" * 65)),
        *((check_port, bad) for bad in (0, -1, 65536)),
    ],
)
def test_bad_values(check: Callable, bad: object) -> None:
    with pytest.raises(ClapError):
        check(bad)
