"""Runs without the parts that a test does not look at (baselines, the page about a run, a generator of full size), and
a small run with a film to watch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from moving_films import make_model, write_video
from shrunk import shrink_generator


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose model scores motion."""
    folder = tmp_path_factory.mktemp("run")
    make_model().save(folder)
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """A film of 250 pictures with one event for that model."""
    return write_video(tmp_path_factory.mktemp("films") / "gate.mp4", frames=250)


@pytest.fixture
def quick_train(monkeypatch) -> Callable[..., dict]:
    """``train`` of the workflows that writes no report and computes no baselines; CLAP where a test chooses none."""
    from clap_vad.workflows import finish
    from clap_vad.workflows import train as module

    monkeypatch.setattr(finish, "report", lambda run: None)
    return partial(module.train, baselines={}, method="clap")


@pytest.fixture
def small_generator(monkeypatch) -> None:
    """GCL is quick."""
    shrink_generator(monkeypatch)
