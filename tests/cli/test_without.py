"""Runs without some of their participants, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clap_vad.persistence import read_json

Clap = Callable[..., tuple[int, str, str]]


def test_a_run_like_another_without_a_participant(made: Path, tmp_path: Path, clap: Clap) -> None:
    """With the choices of the first run it is the run in which the participant was left out from the beginning."""
    status, out, _ = clap("train", "--like", made / "run", "--without", "north", "--out", tmp_path / "like", "--json")
    assert status == 0
    like = json.loads(out.splitlines()[-1])
    given = ("--rounds", 2, "--method", "clap", "--without", "north", "--json")
    status, out, _ = clap("train", made / "ds", "--out", tmp_path / "anew", *given)
    assert status == 0
    anew = json.loads(out.splitlines()[-1])
    before = read_json(made / "run" / "metrics.json")
    assert like["model_sha256"] == anew["model_sha256"] != before["model_sha256"]
    assert (like["participants"], anew["participants"], before["participants"]) == (1, 1, 2)
    first, second, third = (
        read_json(run / "config.json") for run in (made / "run", tmp_path / "like", tmp_path / "anew")
    )
    assert second == third
    assert {key: value for key, value in second.items() if key not in ("without", "inputs")} == {
        key: value for key, value in first.items() if key not in ("without", "inputs")
    }
    assert (first["without"], second["without"]) == ([], ["north"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rounds", "3"], "--like takes the run folder, --without, --out and no other arguments (rounds given)"),
        (["--seed", "0", "--method", "clap"], "no other arguments (method, seed given)"),
        (["--without", "elsewhere"], "--without elsewhere: name each participant once, and not all of them"),
        (["--without", "north,south"], "the run has north, south"),
        (["--without", "north, north"], "name each participant once"),
    ],
)
def test_what_a_run_like_another_has_no_room_for_is_told(made, tmp_path, refused, words, says) -> None:
    refused(says, "train", "--like", made / "run", "--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_a_run_like_one_that_is_not_there_is_told(made, tmp_path, refused) -> None:
    refused("no run there", "train", "--like", tmp_path / "nowhere", "--out", tmp_path / "run")
    refused("give --out RUN too", "train", "--like", made / "run", "--without", "north")
    refused("contains a run; continue it", "train", "--like", made / "run", "--out", made / "run")
