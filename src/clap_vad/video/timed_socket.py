"""A connection that ends at one moment, however slowly the other side answers.

A socket's own timeout begins anew with every byte, so that a server which sends one byte a second would hold its client
for ever. Here every step gets what is left until the moment by the monotonic clock.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from typing import Any

__all__ = ["TimedSocket"]


class TimedSocket:
    """A TCP connection, over TLS where a context is given, with a total deadline for all that is done with it.

    It has what :mod:`http.client` asks of a socket: ``sendall``, ``makefile`` and ``close``.

    Args:
        host, port: where to connect; each of the host's addresses is tried in turn.
        until: reading of :func:`time.monotonic` at which everything ends. The look-up of the host's name is the one
            step that cannot be cut short; the system's resolver bounds it.
        context: for TLS.

    Raises:
        TimeoutError: the moment has come. It is raised by every method that waits.
        OSError: no address of the host takes the connection, or it breaks.
    """

    def __init__(self, host: str, port: int, until: float, context: ssl.SSLContext | None = None) -> None:
        self._until = until
        self._socket = self._connected(host, port)
        if context is not None:
            plain = self._socket
            try:
                plain.settimeout(self._left())  # of the whole handshake, not of each of its reads
                self._socket = context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise

    def sendall(self, data: Any) -> None:
        """Send all of it, in time."""
        view = memoryview(data).cast("B")
        while view:
            self._socket.settimeout(self._left())
            view = view[self._socket.send(view) :]

    def recv_into(self, buffer: Any) -> int:
        """Read what is there, in time; 0 at the end of the stream."""
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the other side sends, as a file open for reading ``rb``."""
        assert mode == "rb"
        return io.BufferedReader(_Incoming(self))

    def shorten(self, until: float) -> None:
        """Let everything end at this moment, where it is earlier."""
        self._until = min(self._until, until)

    def close(self) -> None:
        """End the connection."""
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
    """The reading side, for a buffer around it; the connection outlives it."""

    def __init__(self, source: TimedSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.recv_into(buffer)
