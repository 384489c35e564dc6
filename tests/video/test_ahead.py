"""Reading ahead changes neither what comes nor where an error comes, and leaves nothing running."""

from __future__ import annotations

import threading

import pytest
from waiting import LIMIT

from clap_vad.video.ahead import ahead


@pytest.mark.parametrize("lead", [0, 1, 3, 100])
def test_the_same_items_in_order(lead):
    assert list(ahead(iter(range(50)), lead)) == list(range(50))


@pytest.mark.parametrize("lead", [0, 2])
def test_an_error_comes_after_the_items_before_it(lead):
    def broken():
        yield 1
        yield 2
        raise ValueError("here")

    seen = []
    with pytest.raises(ValueError, match="here"):
        for item in ahead(broken(), lead):
            seen.append(item)
    assert seen == [1, 2]


def test_it_reads_no_further_than_its_lead_and_stops_when_closed():
    taken, closed = [], threading.Event()

    def source():
        try:
            for number in range(1000):
                taken.append(number)
                yield number
        finally:
            closed.set()

    items = ahead(source(), 2)
    assert next(items) == 0
    before = threading.active_count()
    items.close()
    assert closed.wait(LIMIT)
    assert len(taken) <= 5
    assert threading.active_count() < before
