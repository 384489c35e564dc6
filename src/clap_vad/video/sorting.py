"""What a search found in one folder: what is to be read, and what is left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LeftOut", "Sorted"]


@dataclass(frozen=True)
class LeftOut:
    """Something in a folder that is not read.

    Attributes:
        path: where it stands.
        reason: what it is, or why it cannot be read.
        doubtful: whether it may be what is looked for, so that somebody has to look.
    """

    path: Path
    reason: str
    doubtful: bool = False


@dataclass(frozen=True)
class Sorted:
    """The inputs in a folder, which may be the folder itself, and all the rest."""

    inputs: Sequence[Path]
    left_out: Sequence[LeftOut] = field(default=())
