"""A dataset on disk: feature stores, a list of videos, frame labels, and partitions.

DATASET/
  store/                     features of the videos (see features/store/reader.py)
  store-test/                optional: a separate store of the test features
  videos.csv                 video,split,scene,event,label
  frame_labels.npz           optional: video -> uint8 per frame
  participants/NAME.json     partition: the training videos of each participant
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ClapError, unprintable
from ..features.store.reader import FeatureStore, VideoIndex
from ..persistence import atomic_path, read_json, write_json
from ..tables.delimited import Row, parse_number, read_table
from .truth import read_frame_labels

__all__ = [
    "VIDEOS_HEADER",
    "Dataset",
    "Participants",
    "VideoRecord",
    "names_a_file",
    "parse_participants",
    "read_videos_csv",
    "write_videos_csv",
]

VIDEOS_HEADER = ["video", "split", "scene", "event", "label"]
STORES = ("store", "store-test")
_LONGEST_NAME = 200  # bytes; file systems allow 255, and suffixes are added


@dataclass(frozen=True)
class VideoRecord:
    """One line of ``videos.csv``.

    Attributes:
        video: unique name, as in the store.
        split: ``train`` or ``test``.
        scene, event: free text or empty; used by the protocols of the same names.
        label: 0 normal, 1 anomalous, None unknown. Used only for weak supervision.
    """

    video: str
    split: str
    scene: str = ""
    event: str = ""
    label: int | None = None


@dataclass(frozen=True)
class Participants:
    """A partition: the training videos of each participant, in a fixed order.

    Attributes:
        settings: settings of the protocol.
    """

    protocol: str
    seed: int
    videos: dict[str, tuple[str, ...]]
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Write as ``participants/<protocol>.json``."""
        held = {participant: list(videos) for participant, videos in self.videos.items()}
        settings = {"settings": self.settings} if self.settings else {}
        write_json(file, {"protocol": self.protocol, "seed": self.seed, **settings, "participants": held})


class Dataset:
    """Read access to a dataset folder. Features and frame labels are opened on first access."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise ClapError(f"{path}: not a dataset; make one with 'clap dataset prepare' or 'clap dataset create'")
        self.videos = {record.video: record for record in read_videos_csv(path / "videos.csv")}

    @property
    def train_videos(self) -> list[str]:
        """Names of the training videos, in file order."""
        return [name for name, record in self.videos.items() if record.split == "train"]

    @property
    def test_videos(self) -> list[str]:
        """Names of the test videos, in file order."""
        return [name for name, record in self.videos.items() if record.split == "test"]

    @cached_property
    def stores(self) -> tuple[FeatureStore, ...]:
        """The feature stores; at least one, all with the same dimension D."""
        for link in (self.path / name for name in STORES):
            if link.is_symlink() and not link.exists():
                raise ClapError(f"{link}: its target {link.readlink()} is missing; restore it or correct the link")
        found = tuple(FeatureStore(self.path / name) for name in STORES if (self.path / name).is_dir())
        if not found:
            raise ClapError(
                f"{self.path / 'store'}: this dataset has no features yet; add them with "
                f"'clap features import ... --out {self.path / 'store'}' or 'clap features extract'"
            )
        if len({store.dim for store in found}) > 1:
            dims = [store.dim for store in found]
            raise ClapError(f"{self.path}: its stores have different dimensions {dims}; use one extractor")
        return found

    def locate(self, video: str) -> tuple[FeatureStore, VideoIndex]:
        """The store that contains a video, and the video's index entry."""
        for store in self.stores:
            if video in store:
                return store, store.video(video)
        raise ClapError(
            f"{self.path}: video '{video}' is in videos.csv but in no store; "
            "extract or import its features, or remove the line"
        )

    def by_store(self, videos: Sequence[str]) -> list[tuple[FeatureStore, list[VideoIndex]]]:
        """The videos grouped by store: (store, index entries in the given order)."""
        located = [self.locate(video) for video in videos]
        grouped = [(store, [entry for found, entry in located if found is store]) for store in self.stores]
        return [(store, entries) for store, entries in grouped if entries]

    @cached_property
    def _truth(self) -> dict[str, np.ndarray]:
        file = self.path / "frame_labels.npz"
        if not file.exists():
            return {}
        return read_frame_labels(file, self.videos)

    def frame_labels(self, video: str) -> np.ndarray | None:
        """Labels of a video, (frames,) uint8 of 0 and 1; None if unknown."""
        return self._truth.get(video)

    def participants_file(self, protocol: str) -> Path:
        """The file with the participants of a protocol."""
        return self.path / "participants" / f"{protocol}.json"

    def read_participants(self, protocol: str) -> Participants:
        """Read the participants of a protocol; raises :class:`ClapError` for a broken file or unknown videos."""
        file = self.participants_file(protocol)
        return parse_participants(file, read_json(file), self.train_videos)


def names_a_file(text: str) -> bool:
    """Whether a text is a valid name of a participant or protocol: a single file name, not a path.

    >>> names_a_file("camera 1"), names_a_file("../camera")
    (True, False)
    """
    plain = bool(text.strip()) and text not in (".", "..") and not any(c in text for c in "/\\")
    return plain and not unprintable(text) and len(text.encode()) <= _LONGEST_NAME


def parse_participants(file: Path, content: object, train_videos: Sequence[str]) -> Participants:
    """Check the content of a participants file against the training list."""
    shape = '{"protocol": str, "seed": int, "participants": {id: [video, ...]}}'
    if not isinstance(content, dict) or not isinstance(content.get("participants"), dict):
        raise ClapError(f"{file}: not a participants file; the format is {shape}")
    known = set(train_videos)
    owner: dict[str, str] = {}
    videos: dict[str, tuple[str, ...]] = {}
    for participant, held in content["participants"].items():
        if not names_a_file(participant):
            raise ClapError(f"{file}: participant id {participant[:99]!r} cannot be a folder name; choose another")
        if not isinstance(held, list) or not held or not all(isinstance(video, str) for video in held):
            raise ClapError(f"{file}: participant '{participant}' needs a non-empty list of video names")
        for video in held:
            if video not in known:
                raise ClapError(f"{file}: participant '{participant}': '{video}' is not a training video; remove it")
            if video in owner:
                raise ClapError(
                    f"{file}: '{video}' is assigned twice, to '{owner[video]}' and '{participant}'; remove one"
                )
            owner[video] = participant
        videos[participant] = tuple(held)
    if not videos:
        raise ClapError(f"{file}: no participants; the format is {shape}")
    protocol = str(content.get("protocol", file.stem))
    if unprintable(protocol):
        raise ClapError(f"{file}: protocol {protocol[:99]!r} contains unprintable characters; choose another name")
    try:
        settings = content.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        return Participants(protocol, int(content.get("seed") or 0), videos, settings)
    except (TypeError, ValueError, OverflowError):
        raise ClapError(f"{file}: 'seed' must be an integer") from None


def write_videos_csv(file: Path, records: Sequence[VideoRecord]) -> None:
    """Write ``videos.csv`` atomically."""
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(VIDEOS_HEADER)
        for r in records:
            writer.writerow([r.video, r.split, r.scene, r.event, "" if r.label is None else r.label])


def read_videos_csv(file: Path) -> list[VideoRecord]:
    """Read ``videos.csv`` or a similar table from a spreadsheet; columns after ``split`` are optional.

    Raises:
        ClapError: the table is invalid (see :mod:`clap_vad.tables.delimited`), a value is invalid, a video is listed
            twice, or no video is listed. Names file and line.
    """
    if not file.exists() and (file.parent / "preparing.json").exists():
        raise ClapError(f"{file.parent}: this dataset is unfinished; repeat the command that made it")
    if not file.exists():
        raise ClapError(f"{file}: no such file; give a dataset folder or a table {','.join(VIDEOS_HEADER)!r}")
    rows = read_table(file, VIDEOS_HEADER, ("video", "split"))
    records = [_parse_video(file, row) for row in rows]
    first: dict[str, int] = {}
    for row, record in zip(rows, records, strict=True):
        if first.setdefault(record.video, row.line) != row.line:
            raise ClapError(
                f"{file}: line {row.line}: video '{record.video}' is listed twice (first in line "
                f"{first[record.video]}); remove one of the lines"
            )
    if not records:
        raise ClapError(f"{file}: lists no videos; add at least one")
    return records


def _parse_video(file: Path, row: Row) -> VideoRecord:
    place = f"{file}: line {row.line}"
    video, split, label = row.values["video"], row.values["split"], row.values["label"]
    if not video:
        raise ClapError(f"{place}: the video name is empty")
    if unprintable(video):
        raise ClapError(f"{place}: {video!r} cannot name a video; use the name in the store")
    if split.lower() not in ("train", "test"):
        raise ClapError(f"{place}: split is {split!r}; use 'train' or 'test'")
    scene, event = row.values["scene"], row.values["event"]
    for what, name in (("a scene", scene), ("an event", event)):
        if unprintable(name):
            raise ClapError(f"{place}: {name!r} cannot name {what}; use only printable characters")
    return VideoRecord(video, split.lower(), scene, event, _parse_label(place, label))


def _parse_label(place: str, text: str) -> int | None:
    """0, 1 or None. ``0.0`` and ``1.0`` are accepted, as some programs write integers like this."""
    try:
        value = parse_number(text) if text else None
    except ValueError:
        value = -1.0
    if value not in (None, 0.0, 1.0):
        raise ClapError(f"{place}: label is {text!r}; use 0, 1 or leave it empty")
    return None if value is None else int(value)
