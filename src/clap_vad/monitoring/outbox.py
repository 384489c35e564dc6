"""Undelivered items: one bounded queue with one back-off for everything that may be late."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ..backoff import Backoff

__all__ = ["Outbox", "UndeliveredError"]

T = TypeVar("T")


class UndeliveredError(Exception):
    """A delivery failed and should be tried again; the text gives the reason and contains no secret."""


class Outbox(Generic[T]):
    """Keeps items in their order until they are delivered, at most ``most`` of them; drops the oldest and counts them.

    Without a thread, items are delivered in :meth:`flush`. With ``thread``, a separate thread delivers them; nothing
    waits for it.

    Args:
        name: of the receiver, for reports and for the back-off.
        deliver: takes the first waiting items, and raises :class:`UndeliveredError` if they must be tried again. Any
            other exception is reported by its type, and the items are tried again.
        report: called with a message for the operator; from the thread if there is one.
        noun: name of the items, in the plural.
        most: largest number of waiting items.
        batch: items per delivery; None for all.
        every: least seconds between two deliveries.
        first: seconds of the first wait after a failure.
        thread: whether a thread delivers.

    Attributes:
        dropped: items lost so far because too many waited.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[list[T]], None],
        report: Callable[[str], None],
        *,
        noun: str = "events",
        most: int = 1000,
        batch: int | None = 1,
        every: float = 0.0,
        first: float = 1.0,
        thread: bool = False,
    ) -> None:
        self.dropped = 0
        self._name, self._deliver, self._report, self._noun = name, deliver, report, noun
        self._most, self._batch, self._every = most, batch, every
        self._backoff = Backoff(name, first)
        self._waiting: dict[Hashable, T] = {}
        self._numbers = itertools.count()
        self._next, self._deadline = -math.inf, math.inf
        self._failing = self._closing = False
        self._dropped_before = 0  # at the last successful delivery
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"outbox {name}", daemon=True) if thread else None
        if self._thread is not None:
            self._thread.start()

    def put(self, item: T, key: Hashable | None = None) -> None:
        """Add an item to be delivered; returns at once.

        Args:
            item: to be delivered.
            key: of a waiting item that this one replaces in its place; None adds the item at the end.
        """
        with self._changed:
            self._waiting[("number", next(self._numbers)) if key is None else ("key", key)] = item
            over = len(self._waiting) > self._most
            first_drop = over and self.dropped == self._dropped_before
            if over:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1
            self._changed.notify()
        if first_drop:
            self._report(f"{self._name}: more than {self._most} {self._noun} wait; the oldest are dropped")

    def flush(self, at_once: bool = False) -> bool:
        """Deliver waiting items, if the next try is due or ``at_once``; whether none waits any more."""
        while self._waiting and (at_once or time.monotonic() >= self._next):
            if not self._try():
                break
        return not self._waiting

    def close(self, patience: float = 5.0) -> int:
        """Stop, after at most ``patience`` seconds for waiting items; the number of items not delivered."""
        with self._changed:
            self._closing, self._deadline, self._next = True, time.monotonic() + patience, -math.inf
            self._changed.notify()
        if self._thread is None:
            self.flush(at_once=True)
        else:
            self._thread.join(patience)
        with self._changed:
            left = len(self._waiting)
        if left:
            self._report(f"{self._name}: {left} {self._noun} could not be delivered and are lost")
        return left

    def _work(self) -> None:
        while self._await_turn():
            self._try()

    def _await_turn(self) -> bool:
        """Wait until a delivery is due; False if the outbox has closed."""
        with self._changed:
            while True:
                now = time.monotonic()
                if now >= self._deadline or (self._closing and not self._waiting):
                    return False
                if self._waiting and now >= self._next:
                    return True
                until = min(self._next if self._waiting else math.inf, self._deadline)
                self._changed.wait(None if until == math.inf else until - now)

    def _try(self) -> bool:
        """Deliver one batch; whether it succeeded."""
        with self._changed:
            taken = dict(itertools.islice(self._waiting.items(), self._batch))
        try:
            self._deliver(list(taken.values()))
        except UndeliveredError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # its text may contain a secret
            self._failed(f"unexpected {type(error).__name__}")
            return False
        now = time.monotonic()
        with self._changed:
            for key, item in taken.items():
                if self._waiting.get(key) is item:  # else it was dropped or replaced meanwhile
                    del self._waiting[key]
            lost, self._dropped_before = self.dropped - self._dropped_before, self.dropped
            if not self._closing:
                self._next = now + self._every
        self._backoff.succeeded(now)
        if self._failing:
            self._failing = False
            self._report(f"{self._name}: works again" + (f"; {lost} {self._noun} were lost" if lost else ""))
        return True

    def _failed(self, why: str) -> None:
        now = time.monotonic()
        wait = self._backoff.wait(now)
        with self._changed:
            self._next = now + wait
        if not self._failing:
            self._failing = True
            self._report(f"{self._name}: {why}; {self._noun} wait and are tried again")
