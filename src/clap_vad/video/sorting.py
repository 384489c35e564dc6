"""Result of a search in one folder: inputs to read, and files left out with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LeftOut", "Sorted"]


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not read.

    Attributes:
        path: its path.
        reason: what it is, or why it cannot be read.
        doubtful: True if it may be an input, so that a person has to check it.
    """

    path: Path
    reason: str
    doubtful: bool = False


@dataclass(frozen=True)
class Sorted:
    """The inputs in a folder (possibly the folder itself) and the entries left out."""

    inputs: Sequence[Path]
    left_out: Sequence[LeftOut] = field(default=())
