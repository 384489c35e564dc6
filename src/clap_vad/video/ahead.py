"""Reading ahead in a thread: the next frames are decoded while the features of the current ones are computed."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_PATIENCE = 0.2  # seconds between checks whether the consumer has stopped


def ahead(items: Iterator[T], lead: int) -> Generator[T, None, None]:
    """Yield the same items, with up to ``lead`` of them fetched in advance. An error is raised at its position.

    Args:
        items: iterated in its own thread; closed there when this generator is closed.
        lead: number of items to fetch in advance; 0 uses no thread.

    >>> list(ahead(iter(range(5)), 2))
    [0, 1, 2, 3, 4]
    """
    if lead == 0:
        yield from items
        return
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(lead)
    unwanted = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not unwanted.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, value), timeout=_PATIENCE)
                return True
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not put("item", item):
                    break
        except BaseException as error:
            put("error", error)
        else:
            put("end", None)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        unwanted.set()
        thread.join()
