"""Real servers on the loopback, one for each thing that an operator can meet."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from waiting import LIMIT

from clap_vad.errors import ClapError
from clap_vad.trust import preflight as module
from clap_vad.trust.authority import Authority, issue_server, issue_site, new_authority
from clap_vad.trust.identity import fingerprint, new_key, site_request, write_certificate, write_key
from clap_vad.trust.preflight import Unreachable, preflight

pytestmark = pytest.mark.network

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=20)
HOST = "127.0.0.1"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

Talk = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Papers:
    """Files of one federation: its authority, and certificates for one key, which everybody here shares."""

    path: Path
    authority: Authority

    def certificate(self, name: str) -> tuple[Path, Path]:
        return self.path / f"{name}.crt", self.path / "any.key"


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the test of a key's primes on every reading, which takes a tenth of a second."""
    load = partial(serialization.load_pem_private_key, unsafe_skip_rsa_key_validation=True)
    monkeypatch.setattr(serialization, "load_pem_private_key", load)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    key = new_key()
    path, authority = tmp_path_factory.mktemp("papers"), new_authority("cameras", now=LONG_AGO)
    stranger = new_authority("cameras", now=LONG_AGO)
    request, public = site_request(key, "north", "Town"), key.public_key()
    write_key(path / "any.key", key)
    certificates = {
        "authority": authority.certificate,
        "stranger": stranger.certificate,
        "site": issue_site(authority, request, "north", "Town"),
        "expired-site": issue_site(authority, request, "north", "Town", days=10, now=LONG_AGO),
        "impostor": issue_site(authority, request, "localhost", "Town"),
        "server": issue_server(authority, public, ["localhost", HOST], 10),
        "strange-server": issue_server(stranger, public, ["localhost", HOST], 10),
        "elsewhere": issue_server(authority, public, ["gate.example.org", "192.0.2.7"], 10),
        "expired-server": issue_server(authority, public, ["localhost", HOST], 10, LONG_AGO),
        "early-server": issue_server(authority, public, ["localhost", HOST], 10, NOW + timedelta(days=1)),
    }
    for name, certificate in certificates.items():
        write_certificate(path / f"{name}.crt", certificate)
    return Papers(path, authority)


def check(papers: Papers, port: int, host: str = HOST, site: str = "site", timeout: float = 60.0) -> float:
    certificate, key = papers.certificate(site)
    return preflight(host, port, papers.path / "authority.crt", certificate, key, "north", timeout)


@contextlib.contextmanager
def listening(talk: Talk) -> Iterator[int]:
    """A port on the loopback; every connection is handed to ``talk``, one after the other."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(LIMIT)
            with connection, contextlib.suppress(OSError):
                talk(connection)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(secured: socket.socket) -> None:
    """As an HTTP/2 server begins."""
    secured.sendall(SETTINGS)
    drain(secured)


def drain(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def speaks_tls(
    papers: Papers,
    certificate: str = "server",
    trusted: str = "authority",
    talk: Talk = answer,
    alpn: tuple[str, ...] = ("h2",),
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    revoked: Path | None = None,
) -> Talk:
    """A server that asks for a client's certificate, as the coordinator's does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*papers.certificate(certificate))
    context.load_verify_locations(papers.path / f"{trusted}.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if revoked:
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            talk(secured)

    return serve


def lasting(caught: pytest.ExceptionInfo[ClapError]) -> bool:
    return not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_a_coordinator_that_answers(papers: Papers, host: str, version: ssl.TLSVersion) -> None:
    with listening(speaks_tls(papers, version=version)) as port:
        assert check(papers, port, host) == pytest.approx(365, abs=0.1)


def test_it_sends_the_first_bytes_of_an_http2_client(papers: Papers) -> None:
    heard = []

    def listen(secured: socket.socket) -> None:
        heard.append(secured.recv(33))
        answer(secured)

    with listening(speaks_tls(papers, talk=listen)) as port:
        check(papers, port)
    assert heard == [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"]


@pytest.mark.parametrize(
    ("certificate", "host", "sentence"),
    [
        (
            "strange-server",
            HOST,
            r"not certified by this federation's authority .*wrong coordinator, or the connection is inter",
        ),
        ("impostor", "localhost", r"not certified by this federation's authority .*purpose"),
        (
            "elsewhere",
            HOST,
            r"its certificate is for another host name or address \(.*127\.0\.0\.1.*\); use the address",
        ),
        ("elsewhere", "localhost", r"its certificate is for another host name or address \(.*localhost.*\); use the"),
        ("expired-server", HOST, r"the server's certificate has expired; check this machine's clock"),
        ("early-server", HOST, r"the server's certificate is not valid yet; check this machine's clock"),
    ],
)
def test_a_server_that_is_not_the_coordinators(papers: Papers, certificate: str, host: str, sentence: str) -> None:
    with listening(speaks_tls(papers, certificate)) as port, pytest.raises(ClapError, match=sentence) as caught:
        check(papers, port, host)
    assert lasting(caught)
    assert str(caught.value).startswith(f"{host}:{port}: ")


def test_the_sentence_about_a_stranger_shows_the_fingerprint_to_compare(papers: Papers) -> None:
    shown = fingerprint(papers.authority.certificate)
    with listening(speaks_tls(papers, "strange-server")) as port, pytest.raises(ClapError, match=shown):
        check(papers, port)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_coordinator_that_does_not_know_our_authority(papers: Papers, version: ssl.TLSVersion) -> None:
    serve = speaks_tls(papers, trusted="stranger", version=version)
    with listening(serve) as port, pytest.raises(ClapError, match="refuses the certificate of 'north'") as caught:
        check(papers, port)
    assert lasting(caught)
    assert "it does not know its authority" in str(caught.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_coordinator_that_finds_our_certificate_expired(
    papers: Papers, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "check_identity", lambda *_: 1.0)  # as where this machine's clock is behind
    with (
        listening(speaks_tls(papers, version=version)) as port,
        pytest.raises(ClapError, match="has expired") as caught,
    ):
        check(papers, port, site="expired-site")
    assert lasting(caught)
    assert "refuses the certificate of 'north'" in str(caught.value)


def test_a_coordinator_that_has_revoked_our_certificate(papers: Papers, tmp_path: Path) -> None:
    site = x509.load_pem_x509_certificate((papers.path / "site.crt").read_bytes())
    entry = x509.RevokedCertificateBuilder().serial_number(site.serial_number).revocation_date(NOW).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(papers.authority.certificate.subject)
    builder = builder.last_update(NOW - timedelta(hours=1)).next_update(NOW + timedelta(days=1))
    signed = builder.add_revoked_certificate(entry).sign(papers.authority.key, hashes.SHA256())
    (tmp_path / "revoked.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    serve = speaks_tls(papers, revoked=tmp_path / "revoked.pem")
    with listening(serve) as port, pytest.raises(ClapError, match="the certificate was revoked") as caught:
        check(papers, port)
    assert lasting(caught)


def test_a_refusal_is_heard_where_the_connection_is_closed_before_we_speak(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, serve, closed = ssl.SSLSocket.sendall, speaks_tls(papers, trusted="stranger"), threading.Event()

    def late(secured: ssl.SSLSocket, data: bytes) -> None:
        assert closed.wait(LIMIT)
        send(secured, data)

    def refuse(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(connection)
        connection.close()
        closed.set()

    monkeypatch.setattr(ssl.SSLSocket, "sendall", late)
    with listening(refuse) as port, pytest.raises(ClapError, match="it does not know its authority") as caught:
        check(papers, port)
    assert lasting(caught)


def test_our_own_expired_certificate_is_reported_without_a_connection(papers: Papers) -> None:
    connected = []
    with listening(connected.append) as port, pytest.raises(ClapError, match=r"expired-site\.crt: .* expired on"):
        check(papers, port, site="expired-site")
    assert connected == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_coordinator_that_hangs_up_twice_refuses_us(papers: Papers, version: ssl.TLSVersion) -> None:
    """FLARE's server sends no alert when it turns a certificate down: it closes the connection."""
    talks = []
    serve = speaks_tls(papers, talk=talks.append, version=version)
    with (
        listening(serve) as port,
        pytest.raises(ClapError, match=r"refuses .* it disconnects without an answer") as caught,
    ):
        check(papers, port)
    assert lasting(caught)
    assert len(talks) == 2


def test_a_coordinator_that_stops_just_now_is_unreachable(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, calls = socket.create_connection, []

    def stopped_then(address: tuple[str, int], timeout: float) -> socket.socket:
        calls.append(address)
        return connect(address if len(calls) == 1 else closed, timeout)

    with socket.create_server((HOST, 0)) as once:
        closed = once.getsockname()
    monkeypatch.setattr(socket, "create_connection", stopped_then)
    with (
        listening(speaks_tls(papers, talk=lambda _: None)) as port,
        pytest.raises(Unreachable, match="connection refused; the coordinator does not run, or a firewall"),
    ):
        check(papers, port)
    assert len(calls) == 2


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
def test_another_service_of_the_coordinators_machine(papers: Papers, alpn: tuple[str, ...]) -> None:
    serve = speaks_tls(papers, alpn=alpn)
    with (
        listening(serve) as port,
        pytest.raises(ClapError, match="but not with FLARE's server; compare the port") as caught,
    ):
        check(papers, port)
    assert lasting(caught)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def web(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    drain(connection)


@pytest.mark.parametrize("talk", [echo, web])
def test_what_speaks_no_tls(papers: Papers, talk: Talk) -> None:
    with listening(talk) as port, pytest.raises(ClapError, match=r"does not use TLS .*; compare the port") as caught:
        check(papers, port)
    assert lasting(caught)


def test_a_port_that_hangs_up_before_tls(papers: Papers) -> None:
    with (
        listening(lambda _: None) as port,
        pytest.raises(Unreachable, match="closed the connection before it identified itself"),
    ):
        check(papers, port)


def test_a_port_that_is_silent(papers: Papers) -> None:
    with (
        listening(drain) as port,
        pytest.raises(Unreachable, match=rf"{HOST}:{port}: .*no answer within 0\.2 s; .*firew"),
    ):
        check(papers, port, timeout=0.2)


def test_a_coordinator_that_is_silent_after_the_handshake(papers: Papers) -> None:
    serve = speaks_tls(papers, talk=drain)
    with listening(serve) as port, pytest.raises(Unreachable, match=r"gave no answer within 2 s"):
        check(papers, port, timeout=2.0)


def test_a_closed_port(papers: Papers) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"{HOST}:{port}: connection refused; .*firewall blocks port {port}"):
        check(papers, port)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name nas cannot be resolved .*DNS"),
        (TimeoutError("timed out"), "no connection within 60 s; .*firewall"),
        (OSError(113, "No route to host"), r"no connection \(No route to host\); check the network and any firewall"),
    ],
)
def test_a_network_that_does_not_carry(
    papers: Papers, error: OSError, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(Unreachable, match=f"^nas:8002: {sentence}"):
        check(papers, 8002, "nas")


@pytest.mark.parametrize(("host", "port"), [("https://gate", 8002), ("gate", 0), ("0.0.0.0", 8002)])
def test_an_invalid_address_is_reported_before_any_connection(papers: Papers, host: str, port: int) -> None:
    with pytest.raises(ClapError) as caught:
        check(papers, port, host)
    assert lasting(caught)
