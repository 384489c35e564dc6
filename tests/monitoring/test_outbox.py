"""What may be late waits in one place: bounded, in order, the newest of each key, tried again ever more slowly."""

from __future__ import annotations

import itertools
import threading

import pytest
from waiting import LIMIT, until

from clap_vad.monitoring import outbox as outbox_module
from clap_vad.monitoring.outbox import Outbox, UndeliveredError


class Receiver:
    """Takes batches, unless it is told why not."""

    def __init__(self):
        self.batches, self.refusal, self.reports = [], None, []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def take(self, batch):
        self.entered.set()
        assert self.go.wait(LIMIT)
        if self.refusal is not None:
            raise self.refusal
        self.batches.append(batch)


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def clock(monkeypatch):
    """Seconds of the outbox's clock, which stands still."""
    now = [1000.0]
    monkeypatch.setattr(outbox_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("batch", "batches"), [(1, [[0], [1], [2]]), (2, [[0, 1], [2]]), (None, [[0, 1, 2]])])
def test_items_are_delivered_in_their_order_in_batches(receiver, batch, batches):
    outbox = Outbox("r", receiver.take, pytest.fail, batch=batch)
    for n in range(3):
        outbox.put(n)
    assert outbox.flush() and receiver.batches == batches


def test_of_a_key_the_newest_item_waits_in_the_place_of_the_first(receiver):
    outbox = Outbox("r", receiver.take, pytest.fail, batch=None)
    for item, key in (("a1", "a"), ("b1", "b"), ("c", None), ("a2", "a")):
        outbox.put(item, key)
    assert outbox.flush() and receiver.batches == [["a2", "b1", "c"]]


def test_a_failure_is_tried_again_ever_more_slowly_and_reported_once(receiver, clock):
    outbox = Outbox("r", receiver.take, receiver.reports.append, noun="lines")
    receiver.refusal = UndeliveredError("full")
    outbox.put(0)
    tried = []
    for tenth in range(400):
        clock[0] = 1000.0 + tenth / 10
        receiver.entered.clear()
        assert not outbox.flush()
        tried += [tenth / 10] if receiver.entered.is_set() else []
    steps = [b - a for a, b in itertools.pairwise(tried)]
    assert len(steps) >= 5
    for number, step in enumerate(steps):
        assert 0.8 * min(30, 2**number) <= step <= min(30, 2**number) + 0.1
    receiver.refusal = None
    assert not outbox.flush() and outbox.flush(at_once=True)
    assert receiver.reports == ["r: full; lines wait and are tried again", "r: works again"]


def test_too_many_drop_the_oldest_and_are_counted_and_reported(receiver, clock):
    outbox = Outbox("r", receiver.take, receiver.reports.append, most=3)
    receiver.refusal = UndeliveredError("full")
    for n in range(7):
        outbox.put(n)
        outbox.flush()
    assert outbox.dropped == 4
    receiver.refusal = None
    assert outbox.flush(at_once=True) and receiver.batches == [[4], [5], [6]]
    assert receiver.reports[1:] == [
        "r: more than 3 events wait; the oldest are dropped",
        "r: works again; 4 events were lost",
    ]
    receiver.refusal = UndeliveredError("full")
    for n in range(4):
        outbox.put(n)
    assert outbox.dropped == 5 and len(receiver.reports) == 4  # each time anew
    assert outbox.close() == 3 and receiver.reports[-1] == "r: 3 events could not be delivered and are lost"


def test_an_unexpected_error_is_reported_by_its_kind_only(receiver):
    outbox = Outbox("r", receiver.take, receiver.reports.append)
    receiver.refusal = RuntimeError("http://me:s3cret@host")
    outbox.put(0)
    assert not outbox.flush()
    assert receiver.reports == ["r: unexpected RuntimeError; events wait and are tried again"]


def test_a_thread_delivers_and_what_is_replaced_meanwhile_is_delivered_too(receiver):
    outbox = Outbox("r", receiver.take, receiver.reports.append, thread=True)
    receiver.go.clear()
    outbox.put("first", "page")
    assert receiver.entered.wait(LIMIT)
    outbox.put("second", "page")
    receiver.go.set()
    until(lambda: len(receiver.batches) == 2)
    assert receiver.batches == [["first"], ["second"]]
    assert outbox.close() == 0 and receiver.reports == []


def test_deliveries_keep_their_distance_until_the_outbox_closes(receiver):
    outbox = Outbox("r", receiver.take, pytest.fail, every=10 * LIMIT, thread=True)
    outbox.put(0)
    until(lambda: receiver.batches)
    outbox.put(1)
    assert not outbox.flush() and receiver.batches == [[0]]
    assert outbox.close(LIMIT) == 0 and receiver.batches == [[0], [1]]


def test_closing_waits_no_longer_than_asked_for_a_delivery_that_hangs(receiver):
    outbox = Outbox("r", receiver.take, receiver.reports.append, thread=True)
    receiver.go.clear()
    outbox.put(0)
    assert receiver.entered.wait(LIMIT)
    left = []
    closing = threading.Thread(target=lambda: left.append(outbox.close(0.2)), daemon=True)
    closing.start()
    closing.join(LIMIT)
    assert left == [1] and receiver.reports == ["r: 1 events could not be delivered and are lost"]
    receiver.go.set()


def test_closing_tries_at_once_what_waits_for_its_next_try(receiver):
    outbox = Outbox("r", receiver.take, receiver.reports.append, first=10 * LIMIT, thread=True)
    receiver.refusal = UndeliveredError("away")
    outbox.put(0)
    until(lambda: receiver.reports)
    receiver.refusal = None
    assert outbox.close(LIMIT) == 0 and receiver.batches == [[0]]
