"""Descriptions of connection errors in our own words: messages of libraries and servers may repeat an address."""

from __future__ import annotations

import http.client
import os
import socket
import ssl

__all__ = ["failure"]


def failure(error: BaseException) -> str:
    """A short description of a connection error, made only from its type and number.

    >>> failure(ConnectionRefusedError(111, "http://me:secret@cam"))
    'Connection refused'
    >>> failure(http.client.InvalidURL("/pwd=secret"))
    'invalid HTTP answer'
    """
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {ssl_words(error)}"
    if isinstance(error, ssl.SSLError):
        return "TLS connection failed; the server may use plain http"
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else "cannot connect"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer is incomplete"
    if isinstance(error, http.client.HTTPException):
        return "invalid HTTP answer"
    return f"unexpected {type(error).__name__}"


def ssl_words(error: ssl.SSLCertVerificationError) -> str:
    """The fault of a certificate, from OpenSSL's error number."""
    return {10: "expired", 18: "self-signed", 19: "self-signed", 20: "unknown authority", 62: "wrong host name",
            64: "wrong address"}.get(error.verify_code, f"OpenSSL error {error.verify_code}")  # fmt: skip
