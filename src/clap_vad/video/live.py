"""Live pictures: a thread reads a camera, a stream or a file and reconnects when the connection is lost.

Pictures of a live source that the reader cannot pass on in time are dropped: latency and memory are bounded on any
machine. A file waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

from ..backoff import Backoff
from ..errors import ClapError
from .address import Address
from .containers import reason_of
from .handover import Handover
from .live_items import Connected, Item, Lost, Shot
from .recorder import Recorder
from .snapshots import SnapshotCamera
from .stream_items import Look, file_items, polled_items, stream_items

__all__ = ["LiveReader"]

_FAREWELL = 3.0  # seconds for the thread to end; one that hangs in a driver ends with the process


class LiveReader:
    """Reads in a thread; a context manager that starts and stops it.

    Args:
        address: of the source.
        look: form of the pictures.
        backoff: how long to wait after each loss.
        recorder: takes all packets, for clips.
        poll: seconds between two requests to a camera that gives one picture per request; None: chosen automatically.
    """

    def __init__(
        self,
        address: Address,
        look: Look | None = None,
        *,
        backoff: Backoff | None = None,
        recorder: Recorder | None = None,
        poll: float | None = None,
    ) -> None:
        self._address, self._look, self._recorder = address, look or Look(), recorder
        self._backoff = backoff or Backoff(address.shown)
        self._stop = threading.Event()
        self._handover = Handover(self._stop)
        asked = address.parts if address.may_serve_snapshots else None
        self._snapshots = None if asked is None else SnapshotCamera(asked, poll, self._stop)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="clap live reader")

    def __enter__(self) -> LiveReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._handover.clear()
        self._thread.join(_FAREWELL)

    def next(self, timeout: float) -> Item | None:
        """The next item; None if there is none within ``timeout`` seconds.

        Raises:
            ClapError: a file that cannot be read.
        """
        item = self._handover.next(timeout)
        if item is None and self._error is not None:
            raise self._error from None
        return item

    def _run(self) -> None:
        try:
            if self._address.live:
                while not self._stop.is_set():
                    self._connection()
            elif self._address.path is not None:
                self._pass_on(file_items(self._address.path, self._look, self._recorder))
        except BaseException as error:
            self._error = error

    def _connection(self) -> None:
        """One connection, from the attempt to its loss."""
        import av

        reason = "the stream ended"
        try:
            if self._snapshots is not None and self._snapshots.connect():
                self._pass_on(polled_items(self._snapshots, self._look, self._recorder))
            else:
                self._pass_on(stream_items(self._address, self._look, self._recorder, self._stop))
        except (av.FFmpegError, ClapError) as error:
            reason = str(error) if isinstance(error, ClapError) else reason_of(error)
        except Exception as error:  # a library may raise anything on bad data; monitoring goes on
            reason = f"unexpected {type(error).__name__}"  # its text may repeat the address
        finally:
            if self._recorder is not None:
                self._recorder.lost()
        if self._stop.is_set():
            return
        now = time.monotonic()
        again = self._backoff.wait(now)
        self._handover.put(Lost(now, reason, again), sure=True)
        self._stop.wait(again)

    def _pass_on(self, items: Generator[Item, None, None]) -> None:
        """Pass items on, until they end or the reader is stopped."""
        with closing(items):
            for item in items:
                if self._stop.is_set():
                    return
                if isinstance(item, Connected):
                    self._backoff.succeeded(time.monotonic())
                self._handover.put(item, sure=not (self._address.live and isinstance(item, Shot)))
