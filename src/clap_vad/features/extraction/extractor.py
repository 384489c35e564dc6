"""Base class of extractors: settings, and a stream of segment features of one file.

An extractor is a frozen dataclass in its own file under ``features/extractors``. Its fields are its settings: they
become options of ``clap features extract`` and are stored in ``store.json``; ``make_extractor(name, settings)`` builds
the same extractor again to score a new video.
"""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.events.timing import FrameTimes
from ...registry import Registry
from ...settings import make_with_settings
from ...video.access import unreadable
from ...video.sorting import LeftOut, Sorted
from ..naming import video_name
from ..roles import Roles
from ..segments import SegmentFeatures

__all__ = [
    "EXTRACTORS",
    "Ending",
    "Extraction",
    "Extractor",
    "make_extractor",
    "named_extractor",
    "roles_of",
]


@dataclass(frozen=True)
class Ending:
    """Facts about a file that are known after it was read.

    Attributes:
        frames: number of frames.
        fps: frames per second.
        truncated: sentence about missing or undecodable parts; None if the file is complete.
        notes: other notes for the user.
        times: times of the frames, from the file's time stamps; None if they are ``frame / fps``.
        started: time of the first frame in seconds since 1970; None if the file declares none.
    """

    frames: int
    fps: float
    truncated: str | None = None
    notes: tuple[str, ...] = ()
    times: FrameTimes | None = None
    started: float | None = None


class Extraction:
    """The blocks of one file, to be iterated once; then :attr:`ending` is available.

    >>> def blocks():
    ...     yield SegmentFeatures(np.zeros((2, 1, 3), np.float32))
    ...     return Ending(frames=20, fps=25.0)
    >>> extraction = Extraction(blocks())
    >>> [block.features.shape for block in extraction], extraction.ending.frames
    ([(2, 1, 3)], 20)
    """

    def __init__(self, blocks: Generator[SegmentFeatures, None, Ending]) -> None:
        self._blocks = blocks
        self._ending: Ending | None = None

    def __iter__(self) -> Iterator[SegmentFeatures]:
        self._ending = yield from self._blocks

    @property
    def ending(self) -> Ending:
        """Frames, fps and notes; raises RuntimeError before the blocks are consumed."""
        if self._ending is None:
            raise RuntimeError("consume the blocks of an extraction before reading its ending")
        return self._ending


class Extractor(ABC):
    """Base of all extractors. Subclasses are frozen dataclasses that yield features block by block."""

    segment_frames: ClassVar[int] = 16
    normalise: ClassVar[str] = "federated"
    whole_segments: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    """Settings with which it describes whole segments, if its default describes single persons or objects."""

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of its weights; None if it has none. Features of different weights are not compatible."""
        return None

    @property
    @abstractmethod
    def crops(self) -> int:
        """C, regions per segment."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, values per region."""

    @property
    def with_valid(self) -> bool:
        """Whether regions may be invalid, so that blocks have a mask."""
        return False

    @property
    def rate(self) -> float | None:
        """Sampling rate in pictures per second; None if it uses all pictures or none."""
        return None

    @property
    def track(self) -> int | None:
        """Number of the video track, from 1; None for the one with the most pictures."""
        return None

    @property
    def places(self) -> np.ndarray | None:
        """Fixed regions (C, 4) left, top, right, bottom, 0..1 of the picture, the same in all videos.

        None if regions are not fixed: then its blocks have regions (see :attr:`with_regions`), or they are unknown.
        """
        return None

    @property
    def with_regions(self) -> bool:
        """Whether its blocks have a region per segment, as for moving objects."""
        return False

    @property
    def roles(self) -> Roles:
        """Roles of its feature columns."""
        return Roles()

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether ``path``, found in a folder, is an input: a file, or a folder that is one video."""

    def sort_folder(self, folder: Path, names: Sequence[str], outward: Collection[str], subfolders: bool) -> Sorted:
        """Sort the files of a folder into inputs (possibly the folder itself) and files left out.

        Args:
            folder: the folder.
            names: its files, without hidden ones.
            outward: files that are links out of the searched folder; they are not opened.
            subfolders: whether it has subfolders.
        """
        if self.accepts(folder):
            return Sorted([folder])
        inputs: list[Path] = []
        left: list[LeftOut] = []
        for name in names:
            path = folder / name
            try:
                taken = name in outward or self.accepts(path)
            except OSError as error:
                left.append(LeftOut(path, unreadable(error), doubtful=True))
                continue
            if taken:
                inputs.append(path)
            else:
                left.append(LeftOut(path, "not an input of this extractor"))
        return Sorted(inputs, left)

    def video_name(self, path: Path) -> str:
        """Name of the video at ``path``."""
        return video_name(path.name)

    @abstractmethod
    def blocks(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        """Yield the features of the file in blocks of bounded size and return its :class:`Ending`.

        Raises:
            ClapError: the file cannot be used; the message names it and the reason.
        """

    def extract(self, path: Path) -> Extraction:
        """Extract the features of one file as a stream. Fixed regions are added to every block."""
        return Extraction(self._placed(path))

    def _placed(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        blocks = self.blocks(path)
        while True:
            try:
                block = next(blocks)
            except StopIteration as stopped:
                return stopped.value
            yield self.placed(SegmentFeatures.of(block))

    def placed(self, block: SegmentFeatures) -> SegmentFeatures:
        """The block with the fixed regions, if the extractor has any; they use no extra memory."""
        if self.places is None or block.regions is not None:
            return block
        return block._replace(regions=np.broadcast_to(self.places, (len(block.features), *self.places.shape)))

    def settings(self) -> dict[str, Any]:
        """The settings that determine the features, by name and JSON-serialisable; without machine settings."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass, this base is not
            if not entry.metadata.get("machine")
        }

    def machine_settings(self) -> dict[str, Any]:
        """The machine settings: they determine how this machine computes the features, not their values."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)  # type: ignore[arg-type]  # see above
            if entry.metadata.get("machine")
        }


EXTRACTORS: Registry[type[Extractor]] = Registry("extractor", "clap_vad.features.extractors")


def make_extractor(name: str, settings: Mapping[str, Any]) -> Extractor:
    """Make the extractor ``name`` with these settings; other settings have their defaults.

    Raises:
        ClapError: the extractor or a setting is unknown, or a value has the wrong type or range.

    >>> make_extractor("motion", {"rows": 4}).settings()["rows"]
    4
    """
    return make_with_settings("extractor", name, EXTRACTORS[name], settings)


def named_extractor(text: str) -> tuple[str, dict[str, Any]]:
    """Parse ``NAME`` or ``NAME:WEIGHTS`` into extractor and settings.

    >>> named_extractor("hf:models/videomae")
    ('hf', {'weights': 'models/videomae'})
    """
    name, colon, weights = text.partition(":")
    return name, {"weights": weights} if colon else {}


def roles_of(extractor: str, settings: dict[str, Any]) -> Roles:
    """Roles of the feature columns of a store; ``extractor`` is an extractor or an import format.

    >>> roles_of("tracks", {}).position
    (8, 9)
    """
    return make_extractor(extractor, settings).roles if extractor in EXTRACTORS.names() else Roles()
