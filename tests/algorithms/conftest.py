"""What the methods' tests share."""

from __future__ import annotations

import pytest
from shrunk import shrink_generator


@pytest.fixture
def small_generator(monkeypatch) -> None:
    """GCL is quick."""
    shrink_generator(monkeypatch)
