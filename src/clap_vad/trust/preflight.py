"""Connection check of a site: reports problems in one sentence, where FLARE would retry forever without a message."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from ..errors import ClapError
from .identity import check_identity, fingerprint, read_certificate
from .names import check_host, check_port

__all__ = ["Unreachable", "preflight"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""First bytes of an HTTP/2 client (RFC 9113, 3.4): the fixed preface, then an empty SETTINGS frame."""

_HANG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)
"""Exceptions of a closed connection, on writing or reading."""

# verify_code of a failed verification, from OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64

_REFUSALS = {
    "UNKNOWN_CA": "it does not know its authority",
    "DECRYPT_ERROR": "it does not know its authority",
    "CERTIFICATE_EXPIRED": "the certificate has expired",
    "CERTIFICATE_REVOKED": "the certificate was revoked",
    "BAD_CERTIFICATE": "it gives no reason",
    "CERTIFICATE_UNKNOWN": "it gives no reason",
    "UNSUPPORTED_CERTIFICATE": "it does not support this kind of certificate",
    "CERTIFICATE_REQUIRED": "it received no certificate",
    "ACCESS_DENIED": "it denies access",
}
"""TLS alerts (RFC 8446, 6.2) with which a server refuses a client's certificate."""


class Unreachable(ClapError):  # noqa: N818  # a state of the network, which may be temporary
    """The coordinator cannot be reached now; this may be temporary, so try again."""


def preflight(
    host: str, port: int, authority: Path, certificate: Path, key: Path, name: str, timeout: float = 5.0
) -> float:
    """Connect to the coordinator as FLARE would, up to the server's first byte, and disconnect.

    Args:
        host, port: address of the coordinator's server.
        authority, certificate, key: PEM files of the site.
        name: name of the site.
        timeout: seconds for each step: connection, handshake, first answer.

    Returns:
        Days until the site's certificate expires.

    Raises:
        Unreachable: no connection or no answer; this may be temporary.
        ClapError: a permanent problem: the site's identity is invalid, another server answers, the certificates do not
            match, or the coordinator refuses this site.
    """
    days_left = check_identity(certificate, key, authority, name)
    place = f"{check_host(host)}:{check_port(port)}"
    context = _context(authority, certificate, key)
    with _explained(place, name, authority, timeout):
        # a coordinator that is stopping also disconnects, but it accepts no second connection
        if not any(_answers(context, host, port, place, timeout) for _ in range(2)):
            raise ClapError(f"{place}: {_refused(name, 'it disconnects without an answer')}")
    return days_left


def _answers(context: ssl.SSLContext, host: str, port: int, place: str, timeout: float) -> bool:
    """Whether the server, after its identity is verified, sends any byte."""
    with (
        _connect(host, port, place, timeout) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        # a refusal arrives during the handshake in TLS 1.2, but instead of the first byte in TLS 1.3
        with contextlib.suppress(*_HANG_UP):  # if the server has disconnected, its reason can still be read
            secured.sendall(_PREFACE)
        try:
            answer = secured.recv(1)
        except _HANG_UP:
            return False
        if answer and secured.selected_alpn_protocol() != "h2":
            raise ClapError(
                f"{place}: the coordinator's machine answers, but not with FLARE's server; compare the port with the "
                "bundle"
            )
        return bool(answer)


def _context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # a site with the host's name is not the host
    context.load_verify_locations(cafile=authority)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


def _connect(host: str, port: int, place: str, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout)
    except socket.gaierror as error:
        raise Unreachable(
            f"{place}: the name {host} cannot be resolved ({error.strerror}); check its spelling and this machine's DNS"
        ) from None
    except ConnectionRefusedError:
        raise Unreachable(
            f"{place}: connection refused; the coordinator does not run, or a firewall blocks port {port}"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{place}: no connection within {timeout:g} s; the machine is off, or a firewall blocks port {port}"
        ) from None
    except OSError as error:
        raise Unreachable(
            f"{place}: no connection ({error.strerror}); check the network and any firewall for port {port}"
        ) from None


@contextlib.contextmanager
def _explained(place: str, name: str, authority: Path, timeout: float) -> Iterator[None]:
    """Turn exceptions of an open connection into a :class:`ClapError` that explains them."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ClapError(f"{place}: {_server_fault(error, authority)}") from None
    except _HANG_UP:
        raise Unreachable(
            f"{place}: closed the connection before it identified itself; the coordinator is starting or stopping, a "
            "firewall or proxy cuts the connection, or another program listens on this port"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{place}: accepts connections but gave no answer within {timeout:g} s; the coordinator is starting or "
            "busy, a firewall blocks the data, or another program listens on this port"
        ) from None
    except ssl.SSLError as error:
        raise ClapError(f"{place}: {_tls_fault(error, name)}") from None
    except OSError as error:
        raise Unreachable(
            f"{place}: the connection failed ({error.strerror}); check the network and any firewall"
        ) from None


def _server_fault(error: ssl.SSLCertVerificationError, authority: Path) -> str:
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return (
            f"the server belongs to this federation, but its certificate is for another host name or address "
            f"({error.verify_message}); use the address in the coordinator's bundle"
        )
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired; check this machine's clock, then inform the coordinator"
    if error.verify_code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet; check this machine's clock, then inform the coordinator"
    return (
        f"the server was not certified by this federation's authority ({error.verify_message}); it is the wrong "
        f"coordinator, or the connection is intercepted; compare the authority's fingerprint, {_shown(authority)}, "
        "with the coordinator by phone"
    )


def _shown(authority: Path) -> str:
    return fingerprint(read_certificate(authority))


def _tls_fault(error: ssl.SSLError, name: str) -> str:
    reason = (error.reason or str(error)).upper().replace(" ", "_")
    if "ALERT" not in reason:
        return f"the server does not use TLS ({reason}); compare the port with the coordinator"
    for alert, meaning in _REFUSALS.items():
        if reason.endswith(alert):
            return _refused(name, meaning)
    return f"the coordinator ended the TLS handshake ({reason}); install the same release on both sides"


def _refused(name: str, meaning: str) -> str:
    return (
        f"the coordinator refuses the certificate of '{name}': {meaning}; check this machine's clock, ask the "
        f"coordinator whether '{name}' is still approved, and if not, run 'clap site request' again"
    )
