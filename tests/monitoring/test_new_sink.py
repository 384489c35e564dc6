"""A new sink is one new file: it is found because it lies there, and is opened by every session."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
from click.testing import CliRunner
from moving_films import make_model, write_video
from test_event_store import GATE

from clap_vad.cli import watch as cli_watch
from clap_vad.core.events.ongoing import Change, OngoingEvent
from clap_vad.errors import ClapError
from clap_vad.monitoring import sinks as package
from clap_vad.monitoring.clock import WallClock
from clap_vad.monitoring.notifier import EventNotifier
from clap_vad.monitoring.sink import SINKS, SinkContext, Sinks, choose_sinks

MODULE = """
from dataclasses import dataclass
from clap_vad.monitoring.sink import SINKS, EventNotice, Sink, SinkContext, SinkSettings
from clap_vad.settings import option


class Siren(Sink):
    def __init__(self, context, loud):
        self.context, self.loud, self.heard = context, loud, []

    def event(self, notice: EventNotice) -> None:
        if self.loud < 0:
            raise RuntimeError("rtsp://me:s3cret@cam")
        self.heard.append([notice.kind, notice.session, notice.event.start, self.loud])

    def close(self, ended):
        (self.context.folder / "siren.txt").write_text(ended)

    def summary(self):
        return {"siren": self.heard}


@SINKS.register("siren")
@dataclass(frozen=True)
class SirenSettings(SinkSettings):
    loud: float = option(1.0, "how loud")

    def open(self, context: SinkContext) -> Siren:
        return Siren(context, self.loud)
"""


@pytest.fixture
def siren(tmp_path, monkeypatch):
    """The file of a new sink, in the package for as long as a test."""
    folder = tmp_path / "sinks"
    folder.mkdir()
    (folder / "siren.py").write_text(MODULE)
    SINKS.names()
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setattr(SINKS, "_entries", dict(SINKS._entries))
    monkeypatch.setattr(SINKS, "_loaded", False)
    yield
    sys.modules.pop("clap_vad.monitoring.sinks.siren", None)


def changes():
    event = OngoingEvent(0, 5.0, 7.0, 6.0, 0.9)
    return [Change("opened", event), Change("peak", event), Change("closed", event)]


def passed_through(folder, chosen, reports):
    sinks = Sinks(choose_sinks(chosen), SinkContext(folder, GATE, reports.append))
    notifier = EventNotifier(sinks, WallClock(reports.append, lambda: 1.8e9, lambda: 0.0))
    for change in changes():
        notifier.notify(change)
    sinks.each(lambda sink: sink.close("end"))
    return sinks.summary()


def test_a_new_sink_is_found_gets_its_settings_and_what_others_fill_in(siren, tmp_path):
    assert SINKS.names() == ["clips", "database", "lines", "page", "siren", "webhook"]
    reports = []
    found = passed_through(tmp_path, {"clips": None, "page": None, "siren": {"loud": 3.0}}, reports)
    assert found["siren"] == [[kind, 1, 1.8e9 + 5.0, 3.0] for kind in ("opened", "peak", "closed")]
    assert set(found) == {"siren", "database", "lines"} and reports == []
    assert (tmp_path / "siren.txt").read_text() == "end"
    found = passed_through(tmp_path, {"clips": None, "page": None}, reports)
    assert found["siren"][0] == ["opened", 2, 1.8e9 + 5.0, 1.0]


def test_a_sink_that_raises_stops_neither_the_session_nor_the_others_and_shows_no_secret(siren, tmp_path):
    reports = []
    passed_through(tmp_path, {"clips": None, "page": None, "siren": {"loud": -1.0}}, reports)
    assert reports == ["event sink Siren: unexpected RuntimeError; the session goes on"] * 3
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


def test_unknown_sinks_and_settings_are_refused_and_sinks_can_be_left_out():
    orders = [type(sink).__name__ for sink in choose_sinks({})]
    assert orders[:3] == ["ClipSettings", "DatabaseSettings", "LinesSettings"] and "WebhookSettings" not in orders
    assert [type(sink).__name__ for sink in choose_sinks({"clips": None, "page": None})] == orders[1:3]
    with pytest.raises(ClapError, match="unknown event sink 'siren'"):
        choose_sinks({"siren": {}})
    with pytest.raises(ClapError, match="event sink 'clips' has no setting 'loud'; it has after, before"):
        choose_sinks({"clips": {"loud": 1}})


def test_a_sink_that_cannot_be_opened_closes_those_before_it(tmp_path):
    (tmp_path / "events.jsonl").mkdir()  # in the way of the lines
    for _ in range(2):  # the camera is free again
        with pytest.raises(IsADirectoryError):
            Sinks(choose_sinks({"page": None}), SinkContext(tmp_path, GATE, pytest.fail))


def test_its_settings_are_options_of_the_command(siren, tmp_path):
    spec = importlib.util.spec_from_file_location("clap_vad.cli.watch_again", cli_watch.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)  # as a process that starts with the new file
    make_model().save(tmp_path / "run")
    words = [tmp_path / "run", write_video(tmp_path / "gate.mp4"), "--out", tmp_path / "w", "--threshold", 0.3]
    done = CliRunner().invoke(again.watch, [*map(str, words), "--loud", "3", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["events"] == 1 and {loud for *_, loud in result["siren"]} == {3.0}


def test_a_setting_of_no_sink_is_refused():
    with pytest.raises(ClapError, match="no active event sink has a setting 'loud'"):
        choose_sinks({}, {"loud": 3.0})
    (clips, *_) = choose_sinks({}, {"before": 3.0})
    assert clips.before == 3.0
