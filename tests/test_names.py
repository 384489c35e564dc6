"""One check of names wherever one enters, and one way to print what others have named: nothing of it is obeyed."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from clap_vad.cli.command import say
from clap_vad.datasets.dataset import Dataset, parse_participants, read_videos_csv
from clap_vad.datasets.truth import read_frame_labels
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.errors import ClapError, harmless, unprintable
from clap_vad.features.importing.lists import read_list
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter
from clap_vad.persistence import save_npz
from clap_vad.progress import progress_bar
from clap_vad.reporting.page import Text, render_page
from clap_vad.trust.names import check_organisation, check_site_name
from clap_vad.workflows.watch import watch

BAD = {
    "an escape sequence": "gate\x1b[2J",
    "a one-byte escape": "gate\x9b2J",
    "a line end": "gate\nclap: all is well",
    "a carriage return": "gate\rall is well",
    "a line separator": "gate\u2028yard",
    "a bell": "gate\x07",
    "a deletion": "gate\x7f\x7f",
    "a turn of direction": "gate\u202e4pm.exe",
    "an isolated turn": "gate\u2066yard\u2069",
    "nothing to see": "ga\u200bte",
    "a tag": "gate\U000e0041",
    "half a character": "gate\udcff",
}
GOOD = [
    "Großer Platz 3",
    "東門",
    "ворота",
    "باب ۲",
    "می\u200cخواهم",
    "👨\u200d👩\u200d👧",
    "Capture\u202f10.00",
    "a&b [red]",
]


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_such_a_name_is_unprintable_and_is_shown_by_its_escapes(name):
    assert unprintable(name)
    shown = harmless(name)
    assert not unprintable(shown) and shown.isprintable()
    assert shown.startswith("ga") and shown.encode("utf-8")
    assert str(ClapError(f"{name}: no such file")) == f"{shown}: no such file"
    assert harmless(shown) == shown


@pytest.mark.parametrize("name", GOOD)
def test_names_of_all_languages_stay_as_they_are(name):
    assert not unprintable(name) and harmless(name) == name


# Where names enter.


def in_a_table(folder: Path, name: str, column: str) -> None:
    row = {"video": "a", "split": "train", "scene": "", "event": "", column: name}
    with (folder / "videos.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.DictWriter(handle, row)
        writer.writeheader()
        writer.writerow(row)
    read_videos_csv(folder / "videos.csv")


def in_participants(folder: Path, name: str, where: str) -> None:
    content = {"protocol": "p", "seed": 0, "participants": {"a": ["v"]}}
    content |= {"protocol": name} if where == "protocol" else {"participants": {name: ["v"]}}
    parse_participants(folder / "p.json", content, ["v"])


def in_a_store(folder: Path, name: str) -> None:
    with StoreWriter(folder / "s", extractor="motion", settings={}, crops=1, dim=2) as writer:
        writer.append("a", [np.zeros((3, 1, 2), np.float32)], 48, 25.0)
        writer.finish()
    text = (folder / "s" / "index.csv").read_text()
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow([name, 0, 3, 48, 25.0])
    (folder / "s" / "index.csv").write_bytes(
        (text.splitlines()[0] + "\n" + row.getvalue()).encode("utf-8", "surrogateescape")
    )
    FeatureStore(folder / "s")


def in_a_new_store(folder: Path, name: str) -> None:
    with StoreWriter(folder / "s", extractor="motion", settings={}, crops=1, dim=2) as writer:
        writer.append(name, [np.zeros((3, 1, 2), np.float32)], 48, 25.0)


def in_a_list(folder: Path, name: str) -> None:
    (folder / "list.txt").write_bytes(f"{name}.npy,0,3\n".encode("utf-8", "surrogateescape"))
    read_list(folder / "list.txt")


def in_labels(folder: Path, name: str) -> None:
    save_npz(folder / "l.npz", {name: np.zeros(3, np.uint8)})
    read_frame_labels(folder / "l.npz")


def in_an_agreement(name: str, where: str) -> None:
    content = {
        **{"method": "comet", "options": {}, "strategy": "fedavg", "strategy_options": {}, "participants": ["a"]},
        **{"labelled": [], "rounds": 1, "seed": 0, "normalise": "none", "threads": 1, "dim": 2, "fraction": 1.0},
        **{"stragglers": 0.0, "features": {"dim": 2}, "privacy": {}, "secure": False, "update_encoding": "float32"},
        where: [name],
    }
    ResolvedRun.from_array(np.frombuffer(json.dumps(content).encode(), np.uint8))


ENTRIES: dict[str, Callable[[Path, str], object]] = {
    **{column: lambda folder, name, c=column: in_a_table(folder, name, c) for column in ("video", "scene", "event")},
    "participant": lambda folder, name: in_participants(folder, name, "participants"),
    "protocol": lambda folder, name: in_participants(folder, name, "protocol"),
    "index of a store": in_a_store,
    "new store": in_a_new_store,
    "list": in_a_list,
    "frame labels": in_labels,
    "site": lambda folder, name: check_site_name(name),
    "organisation": lambda folder, name: check_organisation(f"{name} & Co."),
    **{
        f"agreement's {key}": lambda folder, name, k=key: in_an_agreement(name, k)
        for key in ("participants", "labelled")
    },
}
LINEWISE = {"list": ("a line end", "a carriage return"), "index of a store": ()}
"""A line end within a list ends the line, so that no name holds it."""


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", BAD)
def test_no_such_name_enters(tmp_path, entry, kind):
    if kind in LINEWISE.get(entry, ()):
        ENTRIES[entry](tmp_path, "gate")
        return
    with pytest.raises((ClapError, UnicodeEncodeError)) as caught:
        ENTRIES[entry](tmp_path, BAD[kind])
    assert not unprintable(str(caught.value))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry != "site"])
def test_other_names_enter(tmp_path, entry):
    ENTRIES[entry](tmp_path, "東門 3")


@pytest.mark.parametrize("how", ["camera", "file"])
def test_no_camera_is_called_so(tmp_path, how, monkeypatch):
    monkeypatch.setattr("clap_vad.workflows.watch.scoring_parts", lambda *_: (None, None))
    monkeypatch.setattr("clap_vad.workflows.watch.VideoExtractor", object)
    monkeypatch.setattr("clap_vad.workflows.watch.choose_threshold", lambda *_: (0.5, None))
    file = tmp_path / ("a\x1b[2J.mp4" if how == "file" else "a.mp4")
    file.write_bytes(b"")
    with pytest.raises(ClapError, match=r"--camera: .* cannot name a camera; give it a name of printable characters"):
        watch(tmp_path, str(file), out=tmp_path / "out", camera="gate\u202e" if how == "camera" else None)
    assert not (tmp_path / "out").exists()


# What is printed.

NAME = "\x1b]0;owned\x07 gate\u202e\nclap: all is well"
ODD = set("\x1b\x07\x9b\u202e\u2028")


@pytest.fixture
def odd_videos(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("0 1 2 10 10 20 40\n")
    (folder / "good.txt").write_text("0 1 2 10 10 20 40\n17 1 2 12 10 22 40\n")
    (folder / f"{NAME}.txt").write_text("0 1 2 10 10 20 40\n")
    (folder / f"{NAME}-damaged.txt").write_text("0 1 2 10 x 20 40\n")
    (folder / f"{NAME}-link.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "\udcff.txt").write_text("0 1 2 10 x 20 40\n")
    return folder


def test_files_of_such_names_are_reported_line_by_line(odd_videos, tmp_path):
    command = [sys.executable, "-m", "clap_vad.cli", "features", "extract", str(odd_videos), "--extractor=tracks"]
    done = subprocess.run([*command, f"--out={tmp_path / 's'}"], capture_output=True, text=True)
    assert done.returncode == 2
    assert not ODD & set(done.stdout + done.stderr)
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("clap: ")
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == 4 and len(done.stdout.splitlines()) == 5
    assert sum(r"\x1b]0;owned\x07 gate\u202e\nclap: all is well" in line for line in skipped) == 3
    assert [entry.video for entry in FeatureStore(tmp_path / "s").index] == ["good"]


def test_a_terminal_is_sent_no_escape_of_a_name(odd_videos, tmp_path):
    """With a terminal, on which progress is drawn and our own colours are sent."""
    main, side = pty.openpty()
    command = [sys.executable, "-m", "clap_vad.cli", "features", "extract", str(odd_videos), "--extractor=tracks"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "400"}
    with subprocess.Popen([*command, f"--out={tmp_path / 's'}"], stdout=side, stderr=side, env=environment):
        os.close(side)
        seen = b""
        while True:
            try:
                part = os.read(main, 1 << 16)
            except OSError:  # how Linux tells that the other side is closed
                break
            seen += part
            if not part:
                break
    os.close(main)
    assert rb"\x1b]0;owned" in seen
    assert b"\x1b]0;" not in seen and b"\x07" not in seen and "\u202e".encode() not in seen


def test_progress_shows_a_name_as_it_is(monkeypatch):
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=300)
    monkeypatch.setattr("clap_vad.progress.Console", lambda **_: console)
    monkeypatch.delenv("CLAP_PROGRESS", raising=False)
    with progress_bar(f"watch {NAME} [red]", 2) as advance:
        advance(1, note="[bold]\x1b[2Jgate")
        advance(1)
    assert "[bold]\\x1b[2Jgate" in drawn.getvalue() and "[red]" in drawn.getvalue()
    assert "\x1b]0;" not in drawn.getvalue() and "\x1b[2Jgate" not in drawn.getvalue()


def test_a_sentence_is_one_line_whatever_it_repeats(capsys):
    say(f"webhook example.org: {NAME}")
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and not ODD & set(err)


def test_usage_errors_repeat_no_escape(tmp_path):
    words = ["score", f"--{NAME}", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "clap_vad.cli", *words], capture_output=True, text=True)
    assert done.returncode == 2 and not ODD & set(done.stderr) and done.stderr.count("\n") == 1


def test_a_page_turns_no_direction_and_keeps_its_lines():
    page = render_page("Gate", "", [Text(f"about {NAME}", ("first\nsecond", NAME))], "")
    assert not ODD & set(page) and "first\nsecond" in page and r"\u202e" in page


def test_a_name_that_entered_with_an_earlier_release_is_reported(tmp_path):
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "videos.csv").write_text("video,split,scene\na,train,gate\u202e\n")
    with pytest.raises(ClapError, match=r"videos\.csv: line 2: 'gate\\u202e' cannot name a scene; use only printable"):
        Dataset(tmp_path / "ds")
