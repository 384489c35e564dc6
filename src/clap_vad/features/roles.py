"""Roles of feature columns, for methods that model the density of features."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SAME_WITHIN", "Roles"]

SAME_WITHIN = 3
"""Number of segments for which a tracked object may be absent and still keep its track slot."""


@dataclass(frozen=True)
class Roles:
    """Roles of an extractor's feature columns. The defaults suit unknown features.

    Attributes:
        activity: columns that describe what happens, not how the scene looks; None for all columns.
        position: those of them that are specific to a camera, such as a position in its picture.
        followed: True if a region is one tracked object until it is absent for more than 3 segments.
    """

    activity: tuple[int, ...] | None = None
    position: tuple[int, ...] = ()
    followed: bool = False
