"""A connection with a total deadline.

The timeout of a plain socket restarts with every byte, so a server that sends one byte per second would block its
client for ever. Here every step gets the time that is left until the deadline, by the monotonic clock.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from typing import Any

__all__ = ["TimedSocket"]


class TimedSocket:
    """A TCP connection with a total deadline, over TLS if a context is given.

    It has the methods that :mod:`http.client` needs: ``sendall``, ``makefile`` and ``close``.

    Args:
        host, port: where to connect; each address of the host is tried in turn.
        until: deadline, as a value of :func:`time.monotonic`. Only the name look-up cannot be interrupted; the
            system's resolver limits it.
        context: for TLS; None for a plain connection.

    Raises:
        TimeoutError: the deadline has passed. Every method that waits raises it.
        OSError: no address of the host accepts the connection, or the connection breaks.
    """

    def __init__(self, host: str, port: int, until: float, context: ssl.SSLContext | None = None) -> None:
        self._until = until
        self._socket = self._connected(host, port)
        if context is not None:
            plain = self._socket
            try:
                plain.settimeout(self._left())  # for the whole handshake, not for each read
                self._socket = context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise

    def sendall(self, data: Any) -> None:
        """Send all data before the deadline."""
        view = memoryview(data).cast("B")
        while view:
            self._socket.settimeout(self._left())
            view = view[self._socket.send(view) :]

    def recv_into(self, buffer: Any) -> int:
        """Read available data before the deadline. Returns the number of bytes, 0 at the end of the stream."""
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """The received data as a binary file open for reading."""
        assert mode == "rb"
        return io.BufferedReader(_Incoming(self))

    def shorten(self, until: float) -> None:
        """Set an earlier deadline; a later one is ignored."""
        self._until = min(self._until, until)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _connected(self, host: str, port: int) -> socket.socket:
        failed: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            found = None
            try:
                found = socket.socket(family, kind, protocol)
                found.settimeout(self._left())
                found.connect(address)
                return found
            except OSError as error:
                failed = error
                if found is not None:
                    found.close()
        raise failed

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _Incoming(io.RawIOBase):
    """The reading side, to be wrapped in a buffer. Closing it keeps the connection open."""

    def __init__(self, source: TimedSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.recv_into(buffer)
