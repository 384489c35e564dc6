"""What a page reads of a database, and the queries that the docs show."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_event_store import BOX, GATE, NOW, ROW, event

from clap_vad.errors import ClapError
from clap_vad.monitoring.sink import Outage
from clap_vad.monitoring.store.event_store import EventStore
from clap_vad.monitoring.store.opening import open_database, open_to_read
from clap_vad.monitoring.store.summary import OutageRow, StoredEvent, read_summary

DOCS = Path(__file__).parents[2] / "docs" / "watch.md"


def watched(path, watch, begun, rows=30):
    """A watch of ``rows`` rows of the timeline with two events and an outage."""
    store = EventStore(path, watch, NOW, pytest.fail)
    for n in range(rows):
        row = replace(ROW, start=begun + 10.0 * n, max_score=(n + 1) / 100, mean_score=n / 100, segments=1 + n % 3)
        store.timeline(replace(row, latency_mean=None if n % 2 else 0.1 * n, latency_max=None if n % 2 else 0.2 * n))
    for number, at in enumerate((5.0, 200.0)):
        one = replace(event(number), start=begun + at, stop=begun + at + 3, peak=begun + at + 1)
        store.event(one, "closed")
    store.clip(1, "clips/1.mp4")
    store.outage(Outage(0, begun + 100, begun + 130, "no frames"))
    return store


def test_a_summary_has_every_camera_with_what_happened(tmp_path):
    path = tmp_path / "watch.db"
    watched(path, GATE, NOW).close(NOW + 300, "end")
    yard = replace(GATE, camera="yard", clock="file")
    watched(path, yard, 0.0, rows=3).close(NOW + 300, "end")
    store = watched(path, yard, 0.0)  # the same file again: the first time does not count twice
    found = read_summary(path, bins=10)
    assert [(one.camera, one.clock, one.reason) for one in found] == [("gate", "wall", "end"), ("yard", "file", None)]
    for one, begun, watch in zip(found, (NOW, 0.0), (1, 3), strict=True):
        assert (one.start, one.stop, one.seconds, one.frames, one.dropped_frames) == (begun, begun + 300, 300, 7200, 90)
        assert one.events == 2 and one.source == "rtsp://10.0.0.5/cam"
        assert one.newest[0] == StoredEvent(
            watch, 1, begun + 200, begun + 203, begun + 201, 0.8, BOX, "clips/1.mp4", "closed"
        )
        assert [one.number for one in one.newest] == [1, 0]
        assert one.outages == (OutageRow(watch, begun + 100, begun + 130, "no frames"),)
        weights = [1 + n % 3 for n in range(30)]
        np.testing.assert_allclose(one.max_score, np.arange(1, 31).reshape(10, 3)[:, -1] / 100)
        means = np.average(np.arange(30).reshape(10, 3) / 100, axis=1, weights=[1, 2, 3])
        np.testing.assert_allclose(one.mean_score, means)
        assert one.latency_mean == pytest.approx(np.average(0.1 * np.arange(0, 30, 2), weights=weights[::2]))
        assert one.latency_max == pytest.approx(5.6)
    store.close(NOW, "end")


def test_a_summary_of_a_part_and_of_nothing(tmp_path):
    path = tmp_path / "watch.db"
    watched(path, GATE, NOW).close(NOW + 300, "end")
    (one,) = read_summary(path, since=NOW + 105, until=NOW + 905, bins=8, most_events=0)
    assert (one.events, one.newest, len(one.outages)) == (1, (), 1)
    assert np.isfinite(one.max_score).tolist() == [True, True] + [False] * 6
    (one,) = read_summary(path, since=NOW + 5000, bins=4)
    assert (one.events, one.outages, one.seconds, one.latency_max) == (0, (), 0, None)
    assert np.isnan(one.mean_score).all()
    EventStore(tmp_path / "new.db", GATE, NOW, pytest.fail).close(NOW, "end")
    (one,) = read_summary(tmp_path / "new.db")
    assert (one.events, one.seconds, len(one.bins)) == (0, 0, 2)
    with pytest.raises(ClapError, match="no such file"):
        read_summary(tmp_path / "none.db")


def test_the_docs_queries_answer(tmp_path):
    path, now = tmp_path / "watch.db", time.time()
    watched(path, GATE, now - 300).close(now, "end")
    watched(path, replace(GATE, camera="yard"), now - 301, rows=15).close(now, "end")
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(queries) == 3
    with open_to_read(path) as db:
        newest, often, away = (db.execute(query).fetchall() for query in queries)
    expected = [(camera, 3.0, 0.8, clip) for clip in ("clips/1.mp4", None) for camera in ("gate", "yard")]
    assert [(row[0], *row[2:]) for row in newest] == expected
    assert often == [("gate", 2, 24.0), ("yard", 2, 48.0)]
    assert sorted(away) == [("gate", 30.0, 90, pytest.approx(5.6)), ("yard", 30.0, 45, pytest.approx(2.8))]


def test_the_docs_name_every_column(tmp_path):
    text = DOCS.read_text()
    db = open_database(tmp_path / "watch.db", 0.1)
    for table in ("watches", "events", "outages", "timeline"):
        part = text[text.index(f"### {table}") :].split("\n###")[0]
        for _, column, *_ in db.execute(f"PRAGMA table_info({table})"):
            assert f"`{column}`" in part, (table, column)
    db.close()
