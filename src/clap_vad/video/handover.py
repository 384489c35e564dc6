"""From the thread that reads pictures to the one that looks at them: what waits is bounded, and drops are counted."""

from __future__ import annotations

import contextlib
import queue
import threading

from .live_items import Dropped, Item

__all__ = ["Handover"]

_HELD = 64  # items that may wait for their turn
_POLL = 0.2


class Handover:
    """A bounded queue of items; of a live source, pictures that find no room are dropped.

    Args:
        stop: ends all waiting for room.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._items: queue.Queue[Item] = queue.Queue(_HELD)
        self._stop = stop
        self._dropped = 0

    def put(self, item: Item, *, sure: bool) -> bool:
        """Hand over, waiting for room where it has to be ``sure``; else what finds no room is dropped, and counted.

        Once something was dropped, all is until half of what waits is gone: one long hole does less harm than many.
        """
        if not sure and (self._items.full() or (self._dropped and self._items.qsize() > _HELD // 2)):
            self._dropped += 1
            return False
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self.put(Dropped(count), sure=True)
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_POLL)
                return True
        return False

    def next(self, timeout: float) -> Item | None:
        """What comes next; None where nothing does for so many seconds."""
        try:
            return self._items.get(timeout=timeout)
        except queue.Empty:
            return None

    def clear(self) -> None:
        """Forget what waits, so that a reader that waits for room goes on."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.get_nowait()
