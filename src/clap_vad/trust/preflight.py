"""Whether a site can talk to its coordinator, told in one sentence before FLARE tries for ever and says nothing."""

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
"""What an HTTP/2 client says first (RFC 9113, 3.4): the fixed preface, then a SETTINGS frame without any setting."""

_HANG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)
"""What a closed connection raises, on writing or reading."""

# verify_code of a failed verification, from OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64

_REFUSALS = {
    "UNKNOWN_CA": "it knows no such authority",
    "DECRYPT_ERROR": "it knows no such authority",
    "CERTIFICATE_EXPIRED": "it says the certificate has expired",
    "CERTIFICATE_REVOKED": "it says the certificate was revoked",
    "BAD_CERTIFICATE": "it gives no reason",
    "CERTIFICATE_UNKNOWN": "it gives no reason",
    "UNSUPPORTED_CERTIFICATE": "it takes no certificate of this kind",
    "CERTIFICATE_REQUIRED": "it saw no certificate",
    "ACCESS_DENIED": "it denies access",
}
"""TLS alerts (RFC 8446, 6.2) by which a server turns a client's certificate down."""


class Unreachable(ClapError):  # noqa: N818  # a state of the network, which may pass, not a mistake
    """The coordinator cannot be reached now; that may pass, so it is worth trying again."""


def preflight(
    host: str, port: int, authority: Path, certificate: Path, key: Path, name: str, timeout: float = 5.0
) -> float:
    """Connect to the coordinator as FLARE would, up to the server's first byte, and hang up.

    Args:
        host, port: of the coordinator's server.
        authority, certificate, key: PEM files of the site.
        name: of the site.
        timeout: seconds for each step: connection, handshake, first answer.

    Returns:
        Days until the site's certificate expires.

    Raises:
        Unreachable: no connection, or no answer; it may come up yet.
        ClapError: what no waiting mends: the site's own identity is not in order, somebody else answers, the
            certificates do not fit, or the coordinator refuses this site.
    """
    days_left = check_identity(certificate, key, authority, name)
    place = f"{check_host(host)}:{check_port(port)}"
    context = _context(authority, certificate, key)
    with _telling(place, name, authority, timeout):
        # a coordinator that stops just now hangs up too, but the second time it takes no connection any more
        if not any(_answers(context, host, port, place, timeout) for _ in range(2)):
            raise ClapError(f"{place}: {_refused(name, 'it hangs up without a word, as FLARE does then')}")
    return days_left


def _answers(context: ssl.SSLContext, host: str, port: int, place: str, timeout: float) -> bool:
    """Whether the server, once we have verified who it is, says anything to us."""
    with (
        _connect(host, port, place, timeout) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        # a server's refusal comes with the handshake in TLS 1.2, but in place of its first byte in TLS 1.3
        with contextlib.suppress(*_HANG_UP):  # where it has hung up already, its reason can still be read
            secured.sendall(_PREFACE)
        try:
            answer = secured.recv(1)
        except _HANG_UP:
            return False
        if answer and secured.selected_alpn_protocol() != "h2":
            raise ClapError(
                f"{place}: the coordinator's machine answers, but not FLARE's server; compare the port with the bundle"
            )
        return bool(answer)


def _context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # a site called like the host is not the host
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
            f"{place}: connection refused; the coordinator does not run, or a firewall keeps port {port} closed"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{place}: no connection within {timeout:g} s; the machine is off, or a firewall lets nothing through "
            f"to port {port}"
        ) from None
    except OSError as error:
        raise Unreachable(
            f"{place}: no connection ({error.strerror}); check the network and any firewall for port {port}"
        ) from None


@contextlib.contextmanager
def _telling(place: str, name: str, authority: Path, timeout: float) -> Iterator[None]:
    """Turn what goes wrong on an open connection into the sentence that tells it."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ClapError(f"{place}: {_server_fault(error, authority)}") from None
    except _HANG_UP:
        raise Unreachable(
            f"{place}: closed the connection before it said who it is; the coordinator is starting or stopping, a "
            "firewall or proxy in between cuts it, or something else listens on this port"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{place}: takes connections but gave no answer within {timeout:g} s; the coordinator is starting or busy, "
            "a firewall holds the data back, or something else listens on this port"
        ) from None
    except ssl.SSLError as error:
        raise ClapError(f"{place}: {_tls_fault(error, name)}") from None
    except OSError as error:
        raise Unreachable(
            f"{place}: the connection broke ({error.strerror}); check the network and any firewall"
        ) from None


def _server_fault(error: ssl.SSLCertVerificationError, authority: Path) -> str:
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return (
            f"the server there is of this federation, but its certificate is for another host name or address "
            f"({error.verify_message}); use the address in the coordinator's bundle"
        )
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired; check this machine's clock, then tell the coordinator"
    if error.verify_code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet; check this machine's clock, then tell the coordinator"
    return (
        f"the server there was not certified by this federation's authority ({error.verify_message}); it is the wrong "
        f"coordinator or somebody in between; compare the authority's fingerprint, {_shown(authority)}, with the "
        "coordinator by phone"
    )


def _shown(authority: Path) -> str:
    return fingerprint(read_certificate(authority))


def _tls_fault(error: ssl.SSLError, name: str) -> str:
    reason = (error.reason or str(error)).upper().replace(" ", "_")
    if "ALERT" not in reason:
        return f"what answers there does not speak TLS ({reason}); compare the port with the coordinator"
    for alert, meaning in _REFUSALS.items():
        if reason.endswith(alert):
            return _refused(name, meaning)
    return f"the coordinator ended the TLS handshake ({reason}); install the same release on both sides"


def _refused(name: str, meaning: str) -> str:
    return (
        f"the coordinator refuses the certificate of '{name}': {meaning}; check this machine's clock, ask the "
        f"coordinator whether '{name}' is still approved, and if need be, run 'clap site request' again"
    )
