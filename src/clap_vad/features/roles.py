"""What the numbers of a crop mean to a method that asks how likely they are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Roles"]


@dataclass(frozen=True)
class Roles:
    """What an extractor says of its features; the defaults are what is true of features nobody knows.

    Attributes:
        behaviour: columns that say what happens, rather than how the scene looks; None for all.
        position: those of them that mean something to one camera only, such as a place in its picture.
        followed: whether a crop that is present in neighbouring segments is the same object in them.
    """

    behaviour: tuple[int, ...] | None = None
    position: tuple[int, ...] = ()
    followed: bool = False
