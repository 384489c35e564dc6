"""What an extractor is: settings, and a stream of segment features for one file.

An extractor is a frozen dataclass in a file of its own under ``features/extractors``. Its fields are its settings: they
become options of ``clap features extract``, they go to ``store.json``, and ``make_extractor(name, settings)`` builds
the same extractor again when a new video is to be scored.
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
    """What is known of a file once all of it was read.

    Attributes:
        frames: number of frames.
        fps: frames per second.
        truncated: what is missing, as a sentence, where the file breaks off or parts of it cannot be decoded.
        notes: further things worth telling the user.
        times: when its frames are shown, by the file's own time stamps; None where ``frame / fps`` tells.
        started: when the first frame was taken, in seconds since 1970, where the file says so.
    """

    frames: int
    fps: float
    truncated: str | None = None
    notes: tuple[str, ...] = ()
    times: FrameTimes | None = None
    started: float | None = None


class Extraction:
    """Blocks of one file, to be iterated once; :attr:`ending` is known afterwards.

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
        """Frames, fps and remarks; a RuntimeError before the blocks are consumed."""
        if self._ending is None:
            raise RuntimeError("the ending of an extraction is known once its blocks are consumed")
        return self._ending


class Extractor(ABC):
    """Base of all extractors; subclasses are frozen dataclasses that yield their features block by block."""

    segment_frames: ClassVar[int] = 16
    normalise: ClassVar[str] = "federated"
    whole_segments: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    """Settings by which it describes a segment as a whole, where by others it describes single persons or objects."""

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of its weights; None where it has none. Features of other weights are other features."""
        return None

    @property
    @abstractmethod
    def crops(self) -> int:
        """C."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D."""

    @property
    def with_valid(self) -> bool:
        """Whether crops may be absent, so that blocks come with a mask."""
        return False

    @property
    def rate(self) -> float | None:
        """Pictures a second that it takes; None where it takes all, or looks at none."""
        return None

    @property
    def track(self) -> int | None:
        """Number of the video track that it takes, from 1; None where it takes the one with most pictures."""
        return None

    @property
    def places(self) -> np.ndarray | None:
        """(C, 4) left, top, right, bottom of each region, 0..1 of the picture, where these are the same in all videos.

        None where they are not: then its blocks say where each region is, or nobody knows.
        """
        return None

    @property
    def with_regions(self) -> bool:
        """Whether its blocks say where each region is, segment by segment, as for objects that move."""
        return False

    @property
    def roles(self) -> Roles:
        """What its numbers mean."""
        return Roles()

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether ``path``, met while a folder is searched, is an input: a file, or a folder that is one video."""

    def sort_folder(self, folder: Path, names: Sequence[str], outward: Collection[str], subfolders: bool) -> Sorted:
        """Which files of a folder are inputs, or that the folder itself is one, and what the others are.

        Args:
            folder: where they lie.
            names: the files in it, hidden ones left out.
            outward: those of them that are links out of what is searched: they are not opened.
            subfolders: whether there are folders in it as well.
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
                left.append(LeftOut(path, "nothing that this extractor reads"))
        return Sorted(inputs, left)

    def video_name(self, path: Path) -> str:
        """Name of the video at ``path``."""
        return video_name(path.name)

    @abstractmethod
    def blocks(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        """Yield the features of the file in blocks of bounded size and return its :class:`Ending`.

        Raises:
            ClapError: nothing of the file can be used; the sentence names it and says why.
        """

    def extract(self, path: Path) -> Extraction:
        """The features of one file as a stream; where its regions are fixed places, every block says so."""
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
        """A block with its regions, where these are fixed places; no memory is taken for them."""
        if self.places is None or block.regions is not None:
            return block
        return block._replace(regions=np.broadcast_to(self.places, (len(block.features), *self.places.shape)))

    def settings(self) -> dict[str, Any]:
        """The fields by name, fit for JSON, but for those that are about this machine: what the features are."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass, this base is not
            if not entry.metadata.get("machine")
        }

    def machine_settings(self) -> dict[str, Any]:
        """The other fields: where and how this machine makes the features."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)  # type: ignore[arg-type]  # see above
            if entry.metadata.get("machine")
        }


EXTRACTORS: Registry[type[Extractor]] = Registry("extractor", "clap_vad.features.extractors")


def make_extractor(name: str, settings: Mapping[str, Any]) -> Extractor:
    """The extractor called ``name`` with these settings; what is not given keeps its default.

    Raises:
        ClapError: the extractor or a setting is unknown, or a value is of the wrong kind or out of range.

    >>> make_extractor("motion", {"rows": 4}).settings()["rows"]
    4
    """
    return make_with_settings("extractor", name, EXTRACTORS[name], settings)


def named_extractor(text: str) -> tuple[str, dict[str, Any]]:
    """The extractor and the setting that ``NAME`` or ``NAME:WEIGHTS`` stands for.

    >>> named_extractor("hf:models/videomae")
    ('hf', {'weights': 'models/videomae'})
    """
    name, colon, weights = text.partition(":")
    return name, {"weights": weights} if colon else {}


def roles_of(extractor: str, settings: dict[str, Any]) -> Roles:
    """What the features of a store mean, which names an extractor or the layout it was imported from.

    >>> roles_of("tracks", {}).position
    (8, 9)
    """
    return make_extractor(extractor, settings).roles if extractor in EXTRACTORS.names() else Roles()
