"""A watch, of a file against what is found in it afterwards, and of a real RTSP server that dies and comes back."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from moving_films import FPS, make_model, write_video
from rtsp_server import RtspServer
from waiting import LIMIT as PATIENCE
from waiting import until

from clap_vad.core.events.detection import find_events
from clap_vad.core.events.policy import EventPolicy
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.workflows.report import report
from clap_vad.workflows.watch import watch

pytestmark = pytest.mark.network

LIMIT = 0.3


def rows(database: Path, query: str) -> list[tuple]:
    with sqlite3.connect(database) as db:
        return db.execute(query).fetchall()


def test_a_file_gives_the_events_that_are_found_in_its_causal_scores(run, film, tmp_path):
    result = watch(run, str(film), out=tmp_path, threshold=LIMIT)
    model = make_model()
    extractor = make_extractor("motion", model.info["extractor"]["settings"])
    blocks = list(extractor.extract(film))
    scores = model.score(np.concatenate([block.features for block in blocks]), None, FPS, causal=True)
    expected = find_events(scores, EventPolicy(threshold=LIMIT), frames=250, fps=FPS)
    found = rows(tmp_path / "watch.db", "SELECT start_time, stop_time, peak_time, peak_score, state FROM events")
    assert len(found) == len(expected) == result["events"] == 1
    for row, event in zip(found, expected, strict=True):
        seconds = (event.start_seconds, event.stop_seconds, event.peak_seconds, event.peak_score)
        assert row[:4] == pytest.approx(seconds, abs=1e-6)
        assert row[4] == "closed"
    assert (result["frames"], result["segments"], result["dropped_frames"]) == (250, 16, 0)
    assert result["ended"] == "the file ended"
    (seen,) = rows(tmp_path / "watch.db", "SELECT sum(frames) FROM timeline")
    assert seen == (250,)
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in told] == ["opened", "closed"]


def test_the_clip_holds_the_event_and_what_was_before_and_behind(run, film, tmp_path):
    watch(run, str(film), out=tmp_path, threshold=LIMIT, before=1.0, after=2.0)
    ((start, stop, clip),) = rows(tmp_path / "watch.db", "SELECT start_time, stop_time, clip FROM events")
    with av.open(str(tmp_path / clip)) as container:
        first = float(container.metadata["comment"])
        times = [frame.time for frame in container.decode(video=0)]
    assert first <= start - 1.0
    assert first + times[-1] >= min(stop + 2.0, 250 / FPS) - 2 / FPS
    assert np.diff(times) == pytest.approx(np.full(len(times) - 1, 1 / FPS), abs=1e-3)


def test_the_page_shows_the_camera_and_its_event(run, film, tmp_path):
    watch(run, str(film), out=tmp_path, threshold=LIMIT, camera="gate & yard")
    for page in (tmp_path / "report.html", report(tmp_path)):
        text = page.read_text()
        assert "gate &amp; yard" in text and "1 event" in text
        assert text.count("data:image/jpeg;base64,") == 1
        assert "<script" not in text and "https://" not in text
    watch(run, str(film), out=tmp_path, threshold=LIMIT, camera="second")
    assert "2 cameras" in (tmp_path / "report.html").read_text()


def test_a_webhook_hears_of_every_event(run, film, tmp_path):
    heard = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    result = watch(run, str(film), out=tmp_path, threshold=LIMIT, webhook=url, clips=False)
    server.shutdown()
    assert result["webhook"] == {"sent": 2, "refused": 0, "dropped": 0}
    assert heard == [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert not (tmp_path / "clips").exists()


def test_what_cannot_be_watched_is_refused(run, tmp_path):
    tracks = tmp_path / "tracks"
    described = {**make_model().info, "extractor": {"name": "tracks", "settings": {"form": "segment"}}, "dim": 34}
    NetworkModel(initial_weights(34, 0), None, described).save(tracks)
    (tmp_path / "broken.mp4").write_bytes(bytes(2000))
    (tmp_path / "film.mp4").touch()
    for source, model, text in (
        ("nowhere.mp4", run, "nowhere.mp4: no such file and not a stream address"),
        ("gopher://me:secret@cam/1", run, "^no such file and not a stream address"),
        (str(tmp_path / "broken.mp4"), run, "broken.mp4: cannot be read as a video"),
        (str(tmp_path / "film.mp4"), run, "film.mp4: the file is empty"),
        (str(tmp_path), run, "no numbered pictures in this folder"),
        (
            str(tmp_path / "film.mp4"),
            tracks,
            "its features are not made of pictures; train on features of one of .*motion",
        ),
    ):
        with pytest.raises(ClapError, match=text):
            watch(model, source, out=tmp_path / "out")
    with pytest.raises(ClapError, match="--before: -1"):
        watch(run, str(tmp_path / "film.mp4"), out=tmp_path / "out", before=-1)


def camera_film(path: Path) -> Path:
    """As a camera sends it: key frames often, no pictures that look ahead."""
    film = write_video(path.with_name("plain.mp4"), frames=160)
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        options = {"bf": "0", "g": "10", "x264-params": "sliced-threads=1:slices=3"}
        stream = out.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for frame in source.decode(video=0):
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode())
    return path


def watching(run: Path, source: object, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "clap_vad.cli", "watch", run, source, "--threshold", LIMIT, "--json", *options]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answered(process: subprocess.Popen[str], database: Path, query: str) -> list[tuple]:
    """What is found by the query, as soon as anything is."""

    def asked() -> list[tuple]:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(sqlite3.OperationalError):  # it is there before its tables are
            return rows(database, query) if database.exists() else []
        return []

    return until(asked, query)


def test_a_stream_is_watched_through_the_death_of_its_server(run, tmp_path):
    out, database = tmp_path / "out", tmp_path / "out" / "watch.db"
    closed = "SELECT start_time FROM events WHERE state = 'closed'"
    begun = time.time()
    with RtspServer(camera_film(tmp_path / "camera.mp4")) as server:
        process = watching(run, server.url, "--out", out, "--before", 0.5, "--after", 0.5)
        try:
            answered(process, database, closed)
            server.kill()
            answered(process, database, "SELECT 1 FROM outages")
            server.start()
            ((stop,),) = answered(process, database, "SELECT stop_time FROM outages WHERE stop_time IS NOT NULL")
            answered(process, database, f"{closed} AND start_time >= {stop!r}")
            process.send_signal(signal.SIGTERM)
            told, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    result = json.loads(told.splitlines()[-1])
    assert result["outages"] == 1 and result["ended"] == "stopped"
    assert result["events"] >= 2 and result["unscored_segments"] == 0
    assert 0 < result["latency"]["p50"] <= result["latency"]["p95"] <= result["latency"]["max"]
    ((start, stop),) = rows(database, "SELECT start_time, stop_time FROM outages")
    assert begun < start < stop < time.time()
    assert {state for (state,) in rows(database, "SELECT state FROM events")} == {"closed"}
    for begin, end, clip in rows(database, "SELECT start_time, stop_time, clip FROM events"):
        assert begun < begin < end < time.time()
        assert not (begin < start < end), "no event reaches over an outage"
        with av.open(str(out / clip)) as container:
            assert sum(1 for _ in container.decode(video=0)) >= 16
    assert "next try" in said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_closes_what_is_open(run, tmp_path, how):
    film = write_video(tmp_path / "long.mp4", frames=4000, moves=(40, 4000))
    process = watching(run, film, "--out", tmp_path / "out")
    database = tmp_path / "out" / "watch.db"
    answered(process, database, "SELECT 1 FROM events")
    process.send_signal(how)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert json.loads(told.splitlines()[-1])["ended"] == "stopped"
    assert rows(database, "SELECT state FROM events") == [("closed",)]
    assert rows(database, "SELECT reason FROM watches") == [("stopped",)]
