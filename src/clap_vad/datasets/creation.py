"""Creating a dataset from a feature store, a table of videos and optional frame labels."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..features.naming import video_name
from ..features.store.reader import FeatureStore
from ..persistence import atomic_path
from .dataset import VideoRecord, read_videos_csv, write_videos_csv
from .preparation import claim_dataset, release_dataset, store_summary
from .stores import link_store
from .truth import check_lengths, length_differences, read_frame_labels, stated_frames, write_frame_labels

__all__ = ["create_dataset"]


def create_dataset(
    store: Path, videos: Path, out: Path, frame_labels: Path | None = None, *, copy: bool = False
) -> dict[str, Any]:
    """Create a dataset from a finished store (``clap dataset create``).

    Args:
        store: the feature store; linked or copied.
        videos: table ``video,split,scene,event,label``; columns after ``split`` are optional.
        out: the new dataset's folder.
        frame_labels: .npz, video -> 0 or 1 per frame; videos may be missing. Small differences to the frame counts of
            the store are accepted, see :func:`~clap_vad.datasets.truth.check_lengths`.
        copy: copy the store into the dataset instead of linking it.

    Returns:
        A JSON-serialisable summary: counts, ``features``, ``unlisted`` (videos of the store missing in the table),
        ``unlabelled_test`` (test videos without frame labels), ``labels_not_listed``, ``frame_differences``.

    Raises:
        ClapError: a listed video is not in the store, no training video is listed, frame labels are unreadable or do
            not fit, or ``out`` exists.
    """
    features = FeatureStore(store)
    records = read_videos_csv(videos)
    _check_records(videos, records, features)
    stated = stated_frames(frame_labels) if frame_labels else {}
    listed = {record.video for record in records}
    known = {record.video: stated[record.video] for record in records if record.video in stated}
    if frame_labels:
        check_lengths(frame_labels, known, features)  # from the headers, before reading the labels
    labels = read_frame_labels(frame_labels, known) if frame_labels else {}
    kept = {video: labels[video] for video in known}
    purpose = {"create": str(videos.resolve()), "store": str(store.resolve()), "copy": copy}
    purpose["frame_labels"] = str(frame_labels.resolve()) if frame_labels else None
    claim_dataset(out, purpose)
    try:
        if copy:
            _copy_store(store, out / "store")
        else:
            link_store(store, out / "store")
        if kept:
            write_frame_labels(out / "frame_labels.npz", kept)
        write_videos_csv(out / "videos.csv", records)
    finally:
        release_dataset(out)
    test = [record.video for record in records if record.split == "test"]
    return {
        "path": str(out),
        "train": len(records) - len(test),
        "test": len(test),
        "features": store_summary(out),
        "copied": copy,
        "unlisted": [entry.video for entry in features.index if entry.video not in listed],
        "unlabelled_test": [video for video in test if video not in kept] if frame_labels else [],
        "labels_not_listed": sorted(stated.keys() - listed),
        "frame_differences": length_differences(known, features),
    }


def _check_records(file: Path, records: Sequence[VideoRecord], store: FeatureStore) -> None:
    absent = [record.video for record in records if record.video not in store]
    if absent:
        meant = _likely(absent[0], [entry.video for entry in store.index])
        raise ClapError(
            f"{file}: {len(absent)} of {len(records)} videos are not in {store.path} (first: '{absent[0]}'"
            f"{f', did you mean {meant!r}?' if meant else ''}); use file names without extension, "
            "'clap features info' lists them"
        )
    if not any(record.split == "train" for record in records):
        raise ClapError(f"{file}: no training video; set the split of at least one video to 'train'")


def _likely(name: str, stored: Sequence[str]) -> str | None:
    """The stored video that a name most likely means; None if there is no unique candidate.

    >>> _likely("a/Gate.MP4", ["gate", "yard"]), _likely("7", ["0007", "0070"])
    ('gate', '0007')
    """
    wanted = _plain(name)
    found = [video for video in stored if _plain(video) == wanted]
    if not found and wanted.isdecimal():  # spreadsheets remove leading zeros
        found = [video for video in stored if video.isdecimal() and int(video) == int(wanted)]
    found = found or get_close_matches(name, stored, n=1)
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", video_name(name)).casefold()


def _copy_store(store: Path, out: Path) -> None:
    """Copy all files, following links. ``store.json`` comes last, so an incomplete copy is not taken for a store."""
    names = sorted(path.name for path in store.iterdir() if path.is_file() and not path.name.startswith("."))
    for name in sorted(names, key=lambda name: name == "store.json"):
        with atomic_path(out / name) as temporary:
            shutil.copyfile(store / name, temporary)
