"""A dataset on disk: stores of features, a list of videos, frame truth, and who holds what.

DATASET/
  store/                     features of the videos (see features/store/reader.py)
  store-test/                optional second store, for layouts that keep the test features apart
  videos.csv                 video,split,scene,event,label
  frame_labels.npz           optional: video -> uint8 per frame
  participants/NAME.json     who holds which training videos
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
_LONGEST_NAME = 200  # bytes; file systems take 255, and suffixes are added


@dataclass(frozen=True)
class VideoRecord:
    """One line of ``videos.csv``.

    Attributes:
        video: unique name, equal to the store's.
        split: ``train`` or ``test``.
        scene, event: free text, may be empty; they feed the protocols of the same names.
        label: 0 normal, 1 anomalous, None unknown. Read for weak supervision only.
    """

    video: str
    split: str
    scene: str = ""
    event: str = ""
    label: int | None = None


@dataclass(frozen=True)
class Participants:
    """Who holds which training videos under one protocol; order of participants and videos is kept.

    Attributes:
        settings: of the protocol, where it has any.
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
    """Read access to a dataset folder. Features and truth are opened when first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise ClapError(f"{path}: no dataset there; make one with 'clap dataset prepare' or 'create'")
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
        """The feature stores present; at least one, all with the same D."""
        for link in (self.path / name for name in STORES):
            if link.is_symlink() and not link.exists():
                raise ClapError(f"{link}: the store it points to, {link.readlink()}, is gone; put it back or link anew")
        found = tuple(FeatureStore(self.path / name) for name in STORES if (self.path / name).is_dir())
        if not found:
            raise ClapError(
                f"{self.path / 'store'}: this dataset has no features yet; put them there with "
                f"'clap features import ... --out {self.path / 'store'}' or 'clap features extract'"
            )
        if len({store.dim for store in found}) > 1:
            raise ClapError(f"{self.path}: its stores differ in dimension ({[store.dim for store in found]})")
        return found

    def locate(self, video: str) -> tuple[FeatureStore, VideoIndex]:
        """The store that holds a video and its index entry there."""
        for store in self.stores:
            if video in store:
                return store, store.video(video)
        raise ClapError(
            f"{self.path}: video '{video}' stands in videos.csv but no store holds it; "
            "extract or import its features, or take the line out"
        )

    def by_store(self, videos: Sequence[str]) -> list[tuple[FeatureStore, list[VideoIndex]]]:
        """Where the videos lie: for each store that holds any, their entries in the order given."""
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
        """Truth per frame of a video, uint8 (0 or 1); None where it is not known."""
        return self._truth.get(video)

    def participants_file(self, protocol: str) -> Path:
        """Where the participants of a protocol are stored."""
        return self.path / "participants" / f"{protocol}.json"

    def read_participants(self, protocol: str) -> Participants:
        """Participants of a protocol; raises :class:`ClapError` when the file is broken or names unknown videos."""
        file = self.participants_file(protocol)
        return parse_participants(file, read_json(file), self.train_videos)


def names_a_file(text: str) -> bool:
    """Whether a participant or protocol may be called so: it names a folder or file, and no other place.

    >>> names_a_file("camera 1"), names_a_file("../camera")
    (True, False)
    """
    plain = bool(text.strip()) and text not in (".", "..") and not any(c in text for c in "/\\")
    return plain and not unprintable(text) and len(text.encode()) <= _LONGEST_NAME


def parse_participants(file: Path, content: object, train_videos: Sequence[str]) -> Participants:
    """Check the content of a participants file against the training list."""
    shape = '{"protocol": str, "seed": int, "participants": {id: [video, ...]}}'
    if not isinstance(content, dict) or not isinstance(content.get("participants"), dict):
        raise ClapError(f"{file}: not a participants file; {shape} is needed")
    known = set(train_videos)
    owner: dict[str, str] = {}
    videos: dict[str, tuple[str, ...]] = {}
    for participant, held in content["participants"].items():
        if not names_a_file(participant):
            raise ClapError(f"{file}: participant id {participant[:99]!r} cannot name a folder; choose another")
        if not isinstance(held, list) or not held or not all(isinstance(video, str) for video in held):
            raise ClapError(f"{file}: participant '{participant}' must hold a non-empty list of video names")
        for video in held:
            if video not in known:
                raise ClapError(f"{file}: participant '{participant}' holds '{video}', not a training video")
            if video in owner:
                raise ClapError(f"{file}: '{video}' is held by both '{owner[video]}' and '{participant}'")
            owner[video] = participant
        videos[participant] = tuple(held)
    if not videos:
        raise ClapError(f"{file}: no participants in it; {shape} is needed")
    protocol = str(content.get("protocol", file.stem))
    if unprintable(protocol):
        raise ClapError(f"{file}: protocol {protocol[:99]!r} cannot be printed; state a plain name there")
    try:
        settings = content.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        return Participants(protocol, int(content.get("seed") or 0), videos, settings)
    except (TypeError, ValueError, OverflowError):
        raise ClapError(f"{file}: 'seed' must be a whole number") from None


def write_videos_csv(file: Path, records: Sequence[VideoRecord]) -> None:
    """Write ``videos.csv`` atomically."""
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(VIDEOS_HEADER)
        for r in records:
            writer.writerow([r.video, r.split, r.scene, r.event, "" if r.label is None else r.label])


def read_videos_csv(file: Path) -> list[VideoRecord]:
    """Read ``videos.csv`` or a table of that kind as spreadsheets write it; columns after ``split`` may be left out.

    Raises:
        ClapError: the table cannot be read as :mod:`clap_vad.tables.delimited` says, a value cannot be, a video
            stands twice or none is listed; file and line are named.
    """
    if not file.exists() and (file.parent / "preparing.json").exists():
        raise ClapError(f"{file.parent}: this dataset was never finished; repeat the command that made it")
    if not file.exists():
        raise ClapError(f"{file}: missing; give a dataset's folder or a table {','.join(VIDEOS_HEADER)!r}")
    rows = read_table(file, VIDEOS_HEADER, ("video", "split"))
    records = [_parse_video(file, row) for row in rows]
    first: dict[str, int] = {}
    for row, record in zip(rows, records, strict=True):
        if first.setdefault(record.video, row.line) != row.line:
            raise ClapError(
                f"{file}: line {row.line}: video '{record.video}' stands twice (first in line {first[record.video]}); "
                "names must be unique"
            )
    if not records:
        raise ClapError(f"{file}: lists no videos")
    return records


def _parse_video(file: Path, row: Row) -> VideoRecord:
    place = f"{file}: line {row.line}"
    video, split, label = row.values["video"], row.values["split"], row.values["label"]
    if not video:
        raise ClapError(f"{place}: the video name is empty")
    if unprintable(video):
        raise ClapError(f"{place}: {video!r} cannot name a video; give the name it has in the store")
    if split.lower() not in ("train", "test"):
        raise ClapError(f"{place}: split is {split!r}; 'train' or 'test' is needed")
    scene, event = row.values["scene"], row.values["event"]
    for what, name in (("a scene", scene), ("an event", event)):
        if unprintable(name):
            raise ClapError(f"{place}: {name!r} cannot name {what}; take printable characters")
    return VideoRecord(video, split.lower(), scene, event, _parse_label(place, label))


def _parse_label(place: str, text: str) -> int | None:
    """0, 1 or None; ``0.0`` and ``1.0`` count, as programs write whole numbers of a column with gaps so."""
    try:
        value = parse_number(text) if text else None
    except ValueError:
        value = -1.0
    if value not in (None, 0.0, 1.0):
        raise ClapError(f"{place}: label is {text!r}; 0, 1 or empty is needed")
    return None if value is None else int(value)
