"""A process owns as many sessions as it wants: each is started, stopped, waited for and asked how it is."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from dataclasses import replace

import pytest
import torch
from moving_films import make_model, write_video
from waiting import LIMIT, until

from clap_vad.core.events.policy import EventPolicy
from clap_vad.detector.threads import fixed_threads
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.monitoring.camera import Camera
from clap_vad.monitoring.session import MonitoringSession

THRESHOLD = 0.3


@pytest.fixture(autouse=True)
def one_thread():
    """As a process that owns sessions sets it."""
    with fixed_threads(1):
        yield


def ignored(sentence):
    """A report that a test does not look at."""


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two films with an event each, at different times, and a long one whose event does not end."""
    folder = tmp_path_factory.mktemp("films")
    return {
        "gate": write_video(folder / "gate.mp4", frames=160),
        "yard": write_video(folder / "yard.mp4", moves=(96, 140), frames=200),
        "long": write_video(folder / "long.mp4", moves=(40, 6000), frames=6000),
    }


@pytest.fixture
def session_of(films):
    """session_of(film, folder, name=None) -> a session; all share a model and an extractor."""
    model = make_model()
    extractor = make_extractor("motion", model.info["extractor"]["settings"])

    def make(film, folder, name=None, report=None, **sinks):
        return MonitoringSession(
            Camera.of(str(films[film]), name),
            run=folder / "run",
            model=model,
            extractor=extractor,
            policy=EventPolicy(threshold=THRESHOLD),
            folder=folder,
            sinks=sinks,
            report=pytest.fail if report is None else report,
        )

    return make


def rows(folder, query):
    with sqlite3.connect(folder / "watch.db") as db:
        return db.execute(query).fetchall()


EVENTS = (
    "SELECT camera, start_time, stop_time, peak_score FROM events JOIN watches ON watches.id = watch ORDER BY camera"
)


def test_two_sessions_at_once_find_what_each_finds_alone_shared_files_or_not(session_of, tmp_path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    threads: set[int] = set()  # of their arithmetic
    alone = []
    for name in ("gate", "yard"):
        session = session_of(name, tmp_path / name, report=ignored)
        session.start()
        assert session.wait(LIMIT) and session.error is None
        alone += rows(tmp_path / name, EVENTS)
    assert [row[0] for row in alone] == ["gate", "yard"]
    for folders in (("shared", "shared"), ("a", "b")):
        pair = [
            session_of(name, tmp_path / own, report=lambda _: threads.add(torch.get_num_threads()))
            for name, own in zip(("gate", "yard"), folders, strict=True)
        ]
        for session in pair:
            session.start()
        for session in pair:
            assert session.wait(LIMIT) and session.error is None
            assert session.summary()["events"] == 1 and session.summary()["ended"] == "the file ended"
        found = [row for own in dict.fromkeys(folders) for row in rows(tmp_path / own, EVENTS)]
        assert found == alone
        lines = [line for own in dict.fromkeys(folders) for line in (tmp_path / own / "events.jsonl").open()]
        assert sorted((json.loads(line)["camera"], json.loads(line)["event"]) for line in lines) == [
            *(("gate", "closed"), ("gate", "opened"), ("yard", "closed"), ("yard", "opened"))
        ]
    page = (tmp_path / "shared" / "report.html").read_text()
    assert "gate" in page and "yard" in page
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    assert threads == {1}


def test_one_is_stopped_while_the_other_goes_on_and_both_say_how_they_are(session_of, tmp_path):
    first, second = (session_of("long", tmp_path, name, report=ignored) for name in ("first", "second"))
    assert first.status().state == "new"
    first.start()
    second.start()
    for session in (first, second):
        until(lambda session=session: session.status().segments > 0)
    status = first.status()
    assert (status.camera, status.state, status.connected, status.ended) == ("first", "running", True, None)
    until(lambda: rows(tmp_path, "SELECT 1 FROM events WHERE watch = 1"))
    first.stop("the shift ended")
    assert first.wait(LIMIT)
    status = first.status()
    assert (status.state, status.connected, status.ended) == ("ended", False, "the shift ended")
    assert second.status().state == "running"
    second.stop()
    assert second.wait(LIMIT)
    ended = rows(tmp_path, "SELECT camera, reason FROM watches ORDER BY camera")
    assert ended == [("first", "the shift ended"), ("second", "stopped")]
    assert {state for (state,) in rows(tmp_path, "SELECT state FROM events")} == {"closed"}


def test_a_camera_is_monitored_once_at_a_time_also_within_a_process(session_of, tmp_path):
    first, second = session_of("long", tmp_path, report=ignored), session_of("long", tmp_path)
    first.start()
    with pytest.raises(ClapError, match="camera 'long' is being watched already"):
        second.start()
    first.stop()
    assert first.wait(LIMIT)
    third = session_of("gate", tmp_path, "long", report=ignored)
    third.start()
    assert third.wait(LIMIT) and third.error is None


def test_what_cannot_be_read_ends_the_session_with_its_error(session_of, films, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(2000))
    session = session_of("gate", tmp_path / "out")
    session.camera = replace(session.camera, address=Camera.of(str(broken)).address)
    before = threading.active_count()
    session.start()
    assert session.wait(LIMIT)
    assert isinstance(session.error, ClapError) and "broken.mp4: cannot be read" in str(session.error)
    assert session.status().ended == "error" and rows(tmp_path / "out", "SELECT reason FROM watches") == [("error",)]
    until(lambda: threading.active_count() <= before, "its threads to end")


@pytest.mark.parametrize(
    ("source", "more", "text"),
    [
        ("rtsp://cam/1", {"poll": 1.0}, "--poll is for cameras that give one picture per request"),
        ("http://cam/1", {"poll": 0.0}, "--poll: 0.0"),
        ("rtsp://cam/1", {"name": "gate\u202e"}, "cannot name a camera"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(source, more, text):
    with pytest.raises(ClapError, match=text):
        Camera.of(source, **more)


def test_no_login_of_a_camera_is_shown():
    camera = Camera.of("rtsp://me:s3cret@cam.lan/1", "rtsp://me:s3cret@cam.lan/1")
    assert camera.shown == camera.name == "rtsp://cam.lan/1" and "s3cret" not in repr(camera)
