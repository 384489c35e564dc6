"""What commands print and how they end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
from clap_vad.features.store.writer import StoreWriter


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("train", "{ds}", "--out", "{new}", "--rounds", "1", "--setting", "local"), "frame_auc"),
        (("train", "{ds}", "--out", "{new}", "--rounds", "1", "--batch-size", "9" * 12), "frame_auc"),
        (("evaluate", "{run}"), "frame_auc"),
        (("alarms", "{run}", "--out", "{new}"), "false_alarms_per_hour"),
        (("report", "{run}"), "report"),
        (("label", "{ds}", "--out", "{new}"), "segments"),
        (("features", "info", "{ds}/store"), "segments"),
        (("dataset", "partition", "{ds}", "--protocol", "random", "--participants", "2"), "participants"),
        (("dataset", "create", "--store", "{ds}/store", "--videos", "{ds}/videos.csv", "--out", "{new}"), "train"),
        (("compare", "{ds}", "--out", "{new}", "--seeds", "0", "--settings", "local", "--rounds", "1"), "rows"),
    ],
)
def test_json_is_one_object_and_nothing_else(
    made: Path, tmp_path: Path, clap: Any, words: tuple[str, ...], key: str
) -> None:
    places = {"ds": made / "ds", "run": made / "run", "new": tmp_path / "new out ü"}
    status, out, _ = clap(*(word.format(**places) for word in words), "--json")
    assert status == 0
    assert len(out.splitlines()) == 1
    assert key in json.loads(out)


@pytest.mark.parametrize("supervision", ["us", "ws"])
@pytest.mark.parametrize("normalise", ["none", "federated"])
def test_one_segment_videos_and_no_test_videos(tmp_path: Path, clap: Any, supervision: str, normalise: str) -> None:
    with StoreWriter(tmp_path / "ds/store", extractor="synthetic", settings={}, crops=1, dim=3) as writer:
        for name in ('one "a", b', "zwei 東"):
            writer.append(name, [np.ones((1, 1, 3), np.float32)], frames=5, fps=None)
        writer.finish()
    records = [VideoRecord(name, "train", name.replace('"', ""), "", 1) for name in ('one "a", b', "zwei 東")]
    write_videos_csv(tmp_path / "ds/videos.csv", records)
    options = ("--rounds", "1", "--supervision", supervision, "--normalise", normalise, "--json")
    status, out, _ = clap("train", tmp_path / "ds", "--out", tmp_path / "run", *options)
    assert status == 0
    assert json.loads(out)["undefined"] == "the dataset has no test videos"
    assert json.loads(out)["participants"] == 2


def test_an_unforeseen_error_is_one_sentence_and_a_traceback_only_on_request(
    made: Path, clap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("of two\nlines")

    monkeypatch.setattr("clap_vad.workflows.report.report", fail)
    status, out, err = clap("report", made / "run")
    assert (status, out) == (2, "")
    assert err.startswith("clap: unexpected ZeroDivisionError (of two lines)")
    with pytest.raises(ZeroDivisionError):
        clap("report", made / "run", "--debug")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to stand for a full disk")
def test_a_full_disk_names_the_file_and_loses_nothing(
    made: Path, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    page = (run / "report.html").read_bytes()

    def full(path: Path, data: bytes) -> int:
        with Path("/dev/full").open("wb") as device:
            return device.write(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    refused("report.html: No space left on device; free space and repeat", "report", run)
    assert (run / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    ("words", "shown"), [((), "Federation:"), (("features",), "Commands:"), (("dataset",), "Commands:")]
)
def test_a_missing_command_shows_which_there_are(clap: Any, words: tuple[str, ...], shown: str) -> None:
    status, out, err = clap(*words)
    assert (status, err) == (2, "clap: a command is missing\n")
    assert shown in out


@pytest.mark.parametrize(
    "words",
    [
        ("watch", "{run}", "rtsp://me:my", "s3cret@127.0.0.1:9/1"),  # a blank, and no quotes
        ("watch", "rtsp://me:s3cret@127.0.0.1:9/1", "{run}"),
        ("watch", "{run}", "rtsp://127.0.0.1:9/1", "--scene", "rtsp://me:s3cret@127.0.0.1:9/1"),
        ("watch", "{run}", "http://127.0.0.1:9/1", "--poll", "http://me:s3cret@127.0.0.1:9/1"),
        ("watch", "{run}", "rtsp:/me:s3cret@127.0.0.1:9/1"),
        ("score", "{run}", "rtsp://me:s3cret@127.0.0.1:9/1"),
        ("report", "http://me:s3cret@127.0.0.1:9/1"),
    ],
)
def test_an_address_at_the_wrong_place_is_refused_and_not_repeated(
    made: Path, tmp_path: Path, clap: Any, words: tuple[str, ...]
) -> None:
    status, out, err = clap(*(word.format(run=made / "run") for word in words))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "s3cret" not in err and "unexpected" not in err
