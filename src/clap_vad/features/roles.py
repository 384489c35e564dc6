"""What the numbers of a crop mean to a method that asks how likely they are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SAME_WITHIN", "Roles"]

SAME_WITHIN = 3
"""Segments in which a followed crop may be absent and still be the same object when it is back."""


@dataclass(frozen=True)
class Roles:
    """What an extractor says of its features; the defaults are what is true of features nobody knows.

    Attributes:
        behaviour: columns that say what happens, rather than how the scene looks; None for all.
        position: those of them that mean something to one camera only, such as a place in its picture.
        followed: whether a crop is one object for as long as it is never absent for more than 3 segments.
    """

    behaviour: tuple[int, ...] | None = None
    position: tuple[int, ...] = ()
    followed: bool = False
