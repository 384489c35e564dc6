"""Lines, webhook, waits and addresses: what is told arrives, whatever fails, and no secret is in it."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import signal
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import held_port
from waiting import LIMIT, until

from clap_vad.backoff import Backoff
from clap_vad.errors import ClapError
from clap_vad.monitoring.sinks.lines import JsonLines
from clap_vad.monitoring.sinks.webhook import Webhook
from clap_vad.trust.authority import issue_server, new_authority
from clap_vad.trust.identity import new_key, write_certificate, write_key

pytestmark = pytest.mark.network

# Waits.


@settings(max_examples=30)
@given(key=st.text(), other=st.text())
def test_waits_double_up_to_half_a_minute_and_are_the_same_for_a_key(key, other):
    one, same, another = Backoff(key), Backoff(key), Backoff(other)
    found = [one.wait(0.0) for _ in range(70)]
    assert found == [same.wait(0.0) for _ in range(70)]
    assert (found == [another.wait(0.0) for _ in range(70)]) == (key == other)
    for number, seconds in enumerate(found):
        assert 0.8 * min(30, 2**number) <= seconds <= min(30, 2**number)


def test_waits_begin_anew_after_a_good_minute_only():
    backoff = Backoff("gate")
    first, second = backoff.wait(0.0), backoff.wait(1.0)
    backoff.succeeded(10.0)
    assert backoff.wait(69.0) > second > first
    backoff.succeeded(100.0)
    assert backoff.wait(160.0) == first
    assert backoff.wait(500.0) == second  # no success in between
    for now in (510.0, 540.0, 569.0):  # each delivery succeeds
        backoff.succeeded(now)
    assert backoff.wait(570.0) == first


# Lines.


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("torn", [b"", b'{"n": 9', b'{"n": "' + b"x" * 200_000])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_torn_last_line_is_cut_off_when_the_file_is_opened_again(tmp_path, before, torn):
    path = tmp_path / "deep" / "events.jsonl"
    first = JsonLines(path, pytest.fail)
    assert all(first.append({"n": n}) for n in range(before))
    first.close()
    path.write_bytes(path.read_bytes() + torn)
    again = JsonLines(path, pytest.fail)
    again.append({"n": before})
    again.close()
    assert lines(path) == [{"n": n} for n in range(before + 1)]


def test_a_full_disk_makes_lines_wait_and_leaves_no_part_of_one(tmp_path):
    """The system's limit on the size of a file stands for the disk: the write ends in the midst of a line alike."""
    told, path = [], tmp_path / "events.jsonl"
    found = JsonLines(path, told.append, most=3)
    found.append({"n": 0})
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12, before[1]))
    try:
        assert [found.append({"n": n}) for n in range(1, 6)] == [False] * 5
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert lines(path) == [{"n": 0}]
    assert not found.append({"n": 6}) and found.flush(at_once=True)  # it waits for its turn
    assert lines(path) == [{"n": n} for n in (0, 4, 5, 6)]
    assert found.dropped == 3 and all(text.startswith(f"{path}: ") for text in told)
    assert [text.partition(": ")[2].partition(" (")[0] for text in told] == [
        "cannot be written",
        "more than 3 lines wait; the oldest are dropped",
        "works again; 3 lines were lost",
    ]
    found.close()


# The webhook, before a real server that does what it is told to.


class Receiver:
    """A web server on loopback; ``answers`` are the next statuses, 200 afterwards."""

    def __init__(self, port=0):
        self.answers, self.received, self.headers = [], [], []
        self.hang, self.hanging, self.stopped = threading.Event(), threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # the library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.hang.is_set():
                    outer.hanging.set()
                    outer.stopped.wait(LIMIT)
                    return
                status = outer.answers.pop(0) if outer.answers else 200
                outer.received.append((status, json.loads(body)["n"]))
                outer.headers.append((self.path, self.headers["Authorization"]))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    with held_port() as port:
        found = Receiver(port)
        yield found
        with contextlib.suppress(OSError):
            found.stop()


def hook(receiver, told, **options):
    options = {"timeout": LIMIT, "first": 0.02, **options}
    return Webhook(f"http://viewer:s3%21cret@127.0.0.1:{receiver.port}/hooks/T0P?x=1", told.append, **options)


def test_messages_are_posted_in_order_and_tried_again_where_that_may_help(receiver):
    told = []
    receiver.answers = [500, 429, 200, 302, 404, 200]
    webhook = hook(receiver, told)
    for n in range(4):
        webhook.send({"n": n})
    assert webhook.close(LIMIT) == 0
    assert receiver.received == [(500, 0), (429, 0), (200, 0), (302, 1), (404, 2), (200, 3)]
    assert (webhook.sent, webhook.refused, webhook.dropped) == (2, 2, 0)
    login = "Basic " + base64.b64encode(b"viewer:s3!cret").decode()
    assert set(receiver.headers) == {("/hooks/T0P?x=1", login)}
    assert len(told) == 4  # failing, works again, two refused
    assert not any("cret" in text or "T0P" in text or "viewer" in text for text in told)


def test_a_receiver_that_hangs_dies_and_comes_back_loses_only_the_oldest_and_never_blocks(receiver):
    told = []
    webhook = hook(receiver, told, most=5, timeout=2.0)
    receiver.hang.set()
    webhook.send({"n": 0})
    assert receiver.hanging.wait(LIMIT)
    sending = threading.Thread(target=lambda: [webhook.send({"n": n}) for n in range(1, 20)], daemon=True)
    sending.start()
    sending.join(LIMIT)
    assert not sending.is_alive() and webhook.sent == 0  # it waited for nothing
    until(lambda: told)  # the timeout
    receiver.stop()
    back = Receiver(receiver.port)
    until(lambda: webhook.sent == 5)
    back.stop()
    assert back.received == [(200, n) for n in range(15, 20)]
    assert webhook.dropped == 15 and webhook.close() == 0


def test_closing_waits_no_longer_than_asked(receiver):
    with socket.socket() as deaf:  # takes connections and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        told = []
        webhook = Webhook(f"http://127.0.0.1:{deaf.getsockname()[1]}/", told.append, timeout=10 * LIMIT)
        webhook.send({"n": 0})
        left = []
        closing = threading.Thread(target=lambda: left.append(webhook.close(0.5)), daemon=True)
        closing.start()
        closing.join(LIMIT)
        assert left == [1]


class Dripping:
    """A server that sends its answer piece by piece and never ends it."""

    def __init__(self, start: bytes, pieces: bytes, every: float = 0.05):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.gone = threading.Event()  # a client hung up while it was still being answered
        self._start, self._pieces, self._every = start, pieces, every
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, client):
        with client:
            try:
                client.sendall(self._start)
                while True:
                    client.sendall(self._pieces)
                    time.sleep(self._every)
            except OSError:
                self.gone.set()


@pytest.mark.parametrize(
    ("scheme", "start", "pieces"),
    [
        ("http", b"", b"H"),  # the status line
        ("http", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"y"),  # a header
        ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),  # answers before the answer
        ("https", b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03", b"\x00"),  # the handshake of TLS
    ],
)
def test_an_answer_that_drips_is_given_up_at_a_total_deadline(scheme, start, pieces):
    server, told = Dripping(start, pieces), []
    webhook = Webhook(f"{scheme}://127.0.0.1:{server.port}/", told.append, timeout=0.4)
    webhook.send({"n": 0})
    until(lambda: told)
    assert server.gone.wait(LIMIT)
    assert "events wait and are tried again" in told[0]
    assert webhook.close(0) == 1 and webhook.sent == 0
    server.listener.close()


def test_over_tls_messages_arrive_at_who_has_the_hosts_certificate_only(receiver, tmp_path, monkeypatch):
    authority, key = new_authority("hooks"), new_key()
    write_key(tmp_path / "key.pem", key)
    for name, host in (("own", "127.0.0.1"), ("other", "127.0.0.2")):
        write_certificate(tmp_path / f"{name}.pem", issue_server(authority, key.public_key(), [host], 1))
    write_certificate(tmp_path / "authority.pem", authority.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "other.pem", tmp_path / "key.pem")
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    told = []
    webhook = Webhook(f"https://127.0.0.1:{receiver.port}/", told.append, first=0.02)
    webhook.send({"n": 0})
    until(lambda: told)
    assert "certificate" in told[0] and receiver.received == []
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    webhook.send({"n": 1})
    until(lambda: webhook.sent == 2)
    assert webhook.close() == 0 and receiver.received == [(200, 0), (200, 1)]


def test_an_answer_counts_when_its_head_is_there_though_its_body_drips():
    server, told = Dripping(b"HTTP/1.1 204 Done\r\nContent-Length: 1000000\r\n\r\n", b"y"), []
    webhook = Webhook(f"http://127.0.0.1:{server.port}/", told.append, timeout=LIMIT)
    for n in range(3):
        webhook.send({"n": n})
    until(lambda: webhook.sent == 3)
    assert webhook.close() == 0 and told == []
    server.listener.close()


def test_a_server_that_echoes_the_request_makes_no_secret_known():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo():
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.sendall(client.recv(4096).split(b"\r\n")[0] + b"\r\n\r\n")

        threading.Thread(target=echo, daemon=True).start()
        told = []
        webhook = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/hooks/s3cret", told.append)
        webhook.send({"n": 0})
        until(lambda: told)
        webhook.close(0)
    assert "invalid HTTP answer" in told[0] and "s3cret" not in told[0]


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://host/s3cret", "https:///s3cret", "http://h:99999/s3cret", "http://h/s3 cret", "http://h/s3crét"),
        *("http://h/s3cret\x01", "http://s3cret:12#34@h/x", "http://a:s3/cret@h/x"),
    ],
)
def test_what_is_no_url_is_told_without_repeating_it(url):
    with pytest.raises(ClapError, match="webhook: not a URL") as error:
        Webhook(url, pytest.fail)
    assert "s3" not in str(error.value)
