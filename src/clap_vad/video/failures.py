"""Why a connection failed, in words of our own: what libraries say may repeat an address, and a server may echo one."""

from __future__ import annotations

import http.client
import os
import socket
import ssl

__all__ = ["failure"]


def failure(error: BaseException) -> str:
    """A few words for an error of a connection, made from its kind and number only.

    >>> failure(ConnectionRefusedError(111, "http://me:secret@cam"))
    'Connection refused'
    >>> failure(http.client.InvalidURL("/pwd=secret"))
    'no valid answer of HTTP'
    """
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {ssl_words(error)}"
    if isinstance(error, ssl.SSLError):
        return "no connection by TLS can be made; the other side may speak plain http"
    if isinstance(error, socket.gaierror):
        return "the host's name cannot be looked up"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else "no connection can be made"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    if isinstance(error, http.client.HTTPException):
        return "no valid answer of HTTP"
    return f"unexpected {type(error).__name__}"


def ssl_words(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, by OpenSSL's number."""
    return {10: "expired", 18: "self-signed", 19: "self-signed", 20: "of an unknown authority", 62: "of another host",
            64: "of another address"}.get(error.verify_code, f"OpenSSL's reason {error.verify_code}")  # fmt: skip
