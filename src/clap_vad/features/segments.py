"""The record that extractors produce for consecutive segments: features, validity and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ClapError

__all__ = ["SegmentFeatures"]


class SegmentFeatures(NamedTuple):
    """Features of n consecutive segments of one video, with C regions each.

    Attributes:
        features: (n, C, D) float32.
        valid: (n, C) bool, True for valid regions; None if all are valid.
        regions: (n, C, 4) left, top, right, bottom of each region, 0..1 of the picture; None if unknown. Values of
            invalid regions are ignored.

    >>> cell = SegmentFeatures.of(np.zeros((1, 2, 3), np.float32))
    >>> SegmentFeatures.joined([cell, cell]).features.shape
    (2, 2, 3)
    """

    features: np.ndarray
    valid: np.ndarray | None = None
    regions: np.ndarray | None = None

    @classmethod
    def of(cls, block: Any) -> SegmentFeatures:
        """Make a record from features, from (features, valid), or from (features, valid, regions)."""
        return cls(*block) if isinstance(block, tuple) else cls(block)

    @classmethod
    def joined(cls, parts: Sequence[SegmentFeatures]) -> SegmentFeatures:
        """Concatenate parts; raises :class:`ClapError` if only some of them have ``valid`` or ``regions``."""
        columns: dict[str, Any] = {}
        for name in cls._fields:
            there = [entry for part in parts if (entry := getattr(part, name)) is not None]
            if there and len(there) < len(parts):
                raise ClapError(f"{name} are given for {len(there)} of {len(parts)} parts of a video; give all or none")
            columns[name] = np.concatenate(there) if there else None
        return cls(**columns)
