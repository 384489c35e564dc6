"""Runs without the parts that a test does not look at: baselines, the page about a run, a generator of full size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from shrunk import shrink_generator


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
