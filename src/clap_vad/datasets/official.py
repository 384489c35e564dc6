"""The official CLAP partitions: pickles of plain dicts and lists, read without loading any class.

``{"video_num": None, "data_indices": [{"train": [indices into the training list]}, ...]}``. The older
``random_partition_5_V2`` partitions segments instead of videos and is refused.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ClapError
from .dataset import Participants, VideoRecord, parse_participants

__all__ = ["official_participants", "read_official", "read_plain_pickle"]

_LARGEST = 64 * 1024 * 1024


class _PlainUnpickler(pickle.Unpickler):
    """Loads only numbers, text, lists and dicts; classes and functions are refused."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}")


def read_plain_pickle(file: Path) -> Any:
    """Read a pickle that contains only plain dicts, lists, numbers and text; never runs code.

    Raises:
        ClapError: the pickle refers to a class or a function, is damaged or too large.
    """
    if not file.is_file():
        raise ClapError(f"{file}: no such file")
    if (size := file.stat().st_size) > _LARGEST:
        raise ClapError(f"{file}: {size} bytes is too large for a partition; give the released file")
    try:
        with file.open("rb") as handle:
            return _PlainUnpickler(handle).load()
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise almost any error; no code of the file has run
        reason = str(error) or type(error).__name__
        raise ClapError(f"{file}: not a pickle of plain dicts and lists ({reason}); give the released file") from None


def read_official(file: Path, train_videos: list[str]) -> list[list[int]]:
    """Read the video indices of each participant, in the order of the file.

    Raises:
        ClapError: another layout, segment indices instead of video indices, or an index outside the training list.
    """
    content = read_plain_pickle(file)
    entries = content.get("data_indices") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ClapError(f"{file}: not an official CLAP partition; it needs a dict with a list 'data_indices'")
    if "separation" in content:
        raise ClapError(f"{file}: partitions segments, not videos; use a file named '*video_num_partition*'")
    held = [entry.get("train") for entry in entries]
    for number, indices in enumerate(held):
        if not isinstance(indices, list) or not indices or not all(type(index) is int for index in indices):
            raise ClapError(f"{file}: participant {number}: 'train' must be a non-empty list of video indices")
        if (worst := max(indices)) >= len(train_videos) or min(indices) < 0:
            raise ClapError(
                f"{file}: participant {number}: index {worst if worst >= len(train_videos) else min(indices)} is "
                f"outside the training list of {len(train_videos)} videos; give the file that belongs to this list"
            )
    return [list(indices) for indices in held if indices is not None]


def official_participants(file: Path, videos: Mapping[str, VideoRecord]) -> Participants:
    """Read an official partition, named ``official-random-10``, ``official-event-13`` or ``official-scene-11``.

    The assignment is kept as released. Participants of the event file are named after the most frequent class of their
    anomalous videos (twelve of the thirteen released ones also have one video of the next class); others are numbered.
    A video with two participants is an error: the released files have none.

    Args:
        file: the released pickle.
        videos: the dataset's videos in list order, as in :attr:`Dataset.videos`.
    """
    train_videos = [name for name, record in videos.items() if record.split == "train"]
    held = [[train_videos[index] for index in indices] for indices in read_official(file, train_videos)]
    kind = next((word for word in ("event", "scene") if file.name.lower().startswith(f"{word}_")), "random")
    stem = "scene" if kind == "scene" else "participant"
    names = [f"{stem}-{number:02d}" for number in range(1, len(held) + 1)]
    if kind == "event":
        majority = [_majority_event(videos[name].event for name in names_held) for names_held in held]
        if all(majority) and len(set(majority)) == len(majority):
            names = majority
    content = {
        "protocol": f"official-{kind}-{len(held)}",
        "seed": 0,
        "participants": dict(zip(names, held, strict=True)),
    }
    return parse_participants(file, content, train_videos)


def _majority_event(events: Iterable[str]) -> str:
    counts = Counter(event for event in events if event)
    return counts.most_common(1)[0][0] if counts else ""
