"""A watch of what the field brings: logins everywhere, damaged databases, single pictures, logs that close."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pytest
from ports import held_port
from waiting import until

from clap_vad.errors import ClapError
from clap_vad.monitoring.store.opening import open_to_read
from clap_vad.workflows.report import report
from clap_vad.workflows.watch import watch

pytestmark = pytest.mark.network

SECRET = "S3cretXy"  # no password of anybody
PLACES = (
    "rtsp://admin:S3cretXy@{}/1",
    "rtsp://S3cretXy:x@{}/1",
    "rtsp://{}/user=admin_password=S3cretXy_channel=1_stream=0.sdp?real_stream",
    "rtsp://{}/user=admin&password=S3cretXy&channel=1",
    "rtsp://{}/live/S3cretXy",
    "rtsp://{}/S3cretXy?enableSrtp",
    "http://{}/snap.jpg?usr=admin&pw=S3cretXy",
    "http://admin:S3cretXy@{}/snap.jpg",
    "http://{}/S3cretXy/video.mjpg#S3cretXy",
    "rtmp://{}/live?key=S3cretXy",
    "rtsp://admin:S3cretXy#@{}/1",
    "rtsp://admin:p/S3cretXy@{}/1",
    "rtsp://admin:p S3cretXy@{}/1",
    "gopher://admin:S3cretXy@{}/1",
)


def written(folder: Path) -> bytes:
    """All bytes and names that lie in a folder."""
    found = list(folder.rglob("*")) if folder.exists() else []
    return b"".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in found)


@pytest.mark.parametrize("webhook", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_no_byte_that_is_written_or_said_holds_a_login(run, tmp_path, capfd, place, webhook):
    out = tmp_path / "w"
    said: list[str] = []
    with held_port() as port:  # nobody answers there
        hook = f"http://hook:{SECRET}@127.0.0.1:{port}/{SECRET}?token={SECRET}" if webhook else None
        try:
            result = watch(
                run, place.replace("{}", f"127.0.0.1:{port}"), out=out, seconds=0.3, webhook=hook, tell=said.append
            )
            said.append(str(result))
        except ClapError as error:
            said.append(str(error))
    streams = capfd.readouterr()
    everything = written(out) + "".join([*said, streams.out, streams.err]).encode()
    assert said and SECRET.encode() not in everything
    with contextlib.suppress(ClapError):
        report(out)
    assert SECRET.encode() not in written(out)


@pytest.mark.parametrize("words", [("watch", "{}", "run"), ("score", "run", "{}"), ("watch", "run", "a", "{}")])
def test_an_address_in_a_wrong_place_is_not_repeated(run, words):
    filled = [str(run) if word == "run" else word.replace("{}", f"rtsp://me:{SECRET}@cam/1") for word in words]
    process = clap(*filled)
    out, err = process.communicate()
    assert process.returncode == 2 and SECRET.encode() not in out + err


def spoilt(database: Path, how: str) -> None:
    """Damage a database as a torn write does."""
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = dict(db.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall())
    db.close()
    data = bytearray(database.read_bytes())
    if how in roots:
        data[(roots[how] - 1) * size : roots[how] * size] = b"\xa5" * size
    elif how == "head":
        data[100:size] = b"\xa5" * (size - 100)
    elif how == "cut":
        data = data[: len(data) * 2 // 3]
    elif how == "zeros":
        data = bytearray(len(data))
    else:
        data = bytearray(np.random.default_rng(0).bytes(5000))
    database.write_bytes(data)


@pytest.mark.parametrize("how", ["timeline", "events", "watches", "head", "cut", "zeros", "garbage"])
def test_a_damaged_database_is_set_aside_and_the_watch_goes_on(run, film, tmp_path, how):
    said: list[str] = []
    watch(run, str(film), out=tmp_path, threshold=0.3, clips=False)
    spoilt(tmp_path / "watch.db", how)
    damaged = (tmp_path / "watch.db").read_bytes()
    result = watch(run, str(film), out=tmp_path, threshold=0.3, clips=False, tell=said.append)
    assert result["ended"] == "the file ended" and result["events"] == 1
    (aside,) = tmp_path.glob("watch.damaged-*.db")
    assert aside.read_bytes() == damaged
    assert sum("the database is damaged; it was set aside as" in sentence for sentence in said) == 1
    with contextlib.closing(open_to_read(tmp_path / "watch.db")) as db:
        assert db.execute("SELECT count(*) FROM events WHERE state = 'closed'").fetchone()[0] >= 1
    assert aside.name in report(tmp_path).read_text()


def test_a_database_of_another_program_or_a_newer_release_is_refused_and_stays(run, film, tmp_path):
    for number, statement in enumerate(("CREATE TABLE notes (text)", "PRAGMA user_version = 99")):
        out = tmp_path / str(number)
        out.mkdir()
        with sqlite3.connect(out / "watch.db") as db:
            db.execute("CREATE TABLE one (number)")
            db.execute(statement)
        db.close()
        before = (out / "watch.db").read_bytes()
        with pytest.raises(ClapError, match="it was left as it is"):
            watch(run, str(film), out=out)
        assert (out / "watch.db").read_bytes() == before and not list(out.glob("*damaged*"))


class Pictures(BaseHTTPRequestHandler):
    """A camera that gives one picture per request; how, its server's ``habit`` says."""

    def do_GET(self):
        server = self.server
        server.asked += 1
        if server.habit == "login" and not self.headers.get("Authorization", "").startswith("Digest "):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="abc", qop="auth"')
            self.end_headers()
            return
        body = b"<html>Please log in</html>"
        if server.habit != "page":
            shift = server.asked * 7 % 40
            picture = np.full((48, 64, 3), 60, np.uint8)
            picture[:, shift : shift + 16] = 200
            _, coded = cv2.imencode(".png" if server.habit == "png" else ".jpg", picture)
            body = coded.tobytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if server.habit == "png" else "image/jpeg")
        if server.habit != "login":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def camera(habit: str) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    server.habit, server.asked = habit, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("habit", ["usual", "png", "login"])
def test_an_address_that_gives_one_picture_per_request_is_polled(run, tmp_path, habit):
    log = tmp_path / "log"
    with camera(habit) as server, log.open("wb") as errors:
        address = f"http://me:{SECRET}@127.0.0.1:{server.server_port}/snap.jpg"
        words = ("watch", run, address, "--out", tmp_path / "w", "--poll", "0.05", "--threshold", "0.9", "--json")
        process = clap(*words, errors=errors)
        until(lambda: b"connected, " in log.read_bytes())
        asked = server.asked
        until(lambda: server.asked > asked + 10)
        process.terminate()
        told, _ = process.communicate()
    assert process.returncode == 0
    result = json.loads(told.splitlines()[-1])
    assert result["frames"] > 5 and result["outages"] == 0 and server.asked > 10
    assert log.read_text().startswith("clap: connected, ")
    assert SECRET.encode() not in told + written(tmp_path)


def test_a_page_in_place_of_a_picture_is_told(run, tmp_path):
    said: list[str] = []
    with camera("page") as server:
        address = f"http://127.0.0.1:{server.server_port}/snap.jpg"
        watch(run, address, out=tmp_path, seconds=1.0, tell=said.append)
    assert said[0].startswith("the answer is a page or a text, not a picture")


def clap(*words: object, errors: IO[bytes] | int = subprocess.PIPE, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "clap_vad.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **environment},
    )


def test_a_watch_goes_on_when_its_log_closes(run, film, tmp_path):
    process = clap("watch", run, film, "--out", tmp_path / "w", "--threshold", "0.3")
    process.stdout.close()
    process.stderr.close()
    process.wait()
    with contextlib.closing(open_to_read(tmp_path / "w" / "watch.db")) as db:
        assert db.execute("SELECT reason FROM watches").fetchall() == [("the file ended",)]
    assert len((tmp_path / "w" / "events.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_name_that_the_terminal_cannot_encode_loses_no_result(run, film, tmp_path, encoding, words):
    named = tmp_path / "摄像头.mp4"
    named.write_bytes(film.read_bytes())
    process = clap("score", run, named, "--threshold", "0.3", *words, PYTHONIOENCODING=encoding)
    out, err = process.communicate()
    assert process.returncode == 0 and b"Traceback" not in err
    assert rb"\u6444\u50cf\u5934" in out and b"250" in out


@pytest.mark.parametrize("columns", ["1", "10"])
def test_a_narrow_terminal_breaks_nothing(run, film, columns):
    process = clap("score", run, film, "--threshold", "0.3", COLUMNS=columns, FORCE_COLOR="1")
    _, err = process.communicate()
    assert process.returncode == 0 and b"Traceback" not in err


def test_output_to_a_full_device_is_one_sentence(run, film):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "clap_vad.cli", "score", run, film, "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode != 0 and b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 and b"No space left on device" in done.stderr
