"""Preparing a benchmark: its lists, labels, frame labels and features become a dataset folder.

A killed preparation resumes when the command is repeated: ``preparing.json`` records the command, stores resume by
themselves, and ``videos.csv``, which makes the folder a dataset, is written last.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.text.naming import storable
from ..errors import ClapError
from ..features.importing.folders import unreadable_folders
from ..features.store.reader import FeatureStore
from ..persistence import read_json, write_json
from ..registry import Registry
from ..settings import make_with_settings
from .dataset import STORES, Participants, VideoRecord, write_videos_csv
from .truth import write_frame_labels

__all__ = ["DATASETS", "Benchmark", "Contents", "claim_dataset", "prepare", "release_dataset", "store_summary"]

_MARK = "preparing.json"


@dataclass(frozen=True)
class Contents:
    """The content of a benchmark's published files, after its stores were created.

    Attributes:
        records: videos in list order, training videos first.
        labels: frame labels by video; empty if unknown.
        truth: origin of the frame labels, for ``truth.json``.
        participants: official partitions.
        skipped: videos left out of the dataset, with the reason.
        notes: sentences for the user.
        next_steps: commands that are still needed, for example to import features.
    """

    records: Sequence[VideoRecord]
    labels: Mapping[str, np.ndarray]
    truth: dict[str, Any]
    participants: Sequence[Participants] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    next_steps: Sequence[str] = ()


class Benchmark(ABC):
    """A benchmark: a frozen dataclass whose fields are the options of ``clap dataset prepare``."""

    wanted: ClassVar[str]
    """The files that a user needs for its features, and their layout; part of a sentence."""

    for_papers: ClassVar[Mapping[str, Any]] = {}
    """Options for reproducing papers, whose methods need one feature vector per segment."""

    @abstractmethod
    def build(self, source: Path, out: Path, workers: int | None) -> Contents:
        """Read the published files below ``source`` and create the feature stores in ``out``.

        Raises:
            ClapError: a file is missing or broken. Finished work is kept.
        """


DATASETS: Registry[type[Benchmark]] = Registry("dataset", "clap_vad.datasets.benchmarks")


def prepare(name: str, source: Path, out: Path, *, workers: int | None = None, **options: Any) -> dict[str, Any]:
    """Prepare the benchmark ``name`` from its published files (``clap dataset prepare``).

    Args:
        name: a name in :data:`DATASETS`.
        source: folder of the published files, searched recursively.
        out: the new dataset's folder; a killed preparation is resumed.
        workers: number of processes that extract features; does not change the result.
        options: fields of the benchmark, for example ``fold="b"``.

    Returns:
        A JSON-serialisable summary: counts, ``features`` (None if there are none), ``truth`` with every disagreement,
        ``protocols``, ``skipped``, ``unreadable`` (``path`` and ``reason`` of folders below ``source`` that the user
        may not read), ``notes``, ``next``.

    Raises:
        ClapError: unknown name or option, a missing or broken file, or an already finished folder.
    """
    chosen = make_with_settings("dataset", name, DATASETS[name], options)
    stated = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(chosen).items()}  # type: ignore[call-overload]  # every benchmark is a dataclass
    claim_dataset(out, {"prepare": name, "source": str(source.resolve()), "options": stated})
    try:
        contents = chosen.build(source, out, workers)
        _write(out, name, contents)
    finally:
        release_dataset(out)
    faults = [{"path": storable(str(path)), "reason": why} for path, why in unreadable_folders(source).items()]
    return {"dataset": name, "path": str(out), "options": stated} | _summary(out, contents) | {"unreadable": faults}


def claim_dataset(out: Path, purpose: Mapping[str, Any]) -> None:
    """Mark ``out`` as an unfinished dataset; raises :class:`ClapError` if it contains anything else."""
    if (out / "videos.csv").exists():
        raise ClapError(f"{out}: this dataset exists already; choose another --out")
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: is a file; choose another --out")
    if (out / _MARK).exists():
        if read_json(out / _MARK) != dict(purpose):
            raise ClapError(
                f"{out}: unfinished dataset of another command or other options ({out / _MARK}); repeat that command "
                "or choose another --out"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise ClapError(f"{out}: not empty; choose another --out")
    write_json(out / _MARK, dict(purpose))


def release_dataset(out: Path) -> None:
    """Remove the mark of a finished dataset. Without features to resume (no sub-folder), remove everything."""
    if (out / "videos.csv").exists():
        (out / _MARK).unlink(missing_ok=True)
    elif not any(entry.is_dir() and entry.name != "participants" for entry in out.iterdir()):
        shutil.rmtree(out)


def store_summary(out: Path) -> dict[str, Any] | None:
    """Size and kind of the stores in a dataset folder; None if there are none."""
    stores = {name: FeatureStore(out / name) for name in STORES if (out / name).is_dir()}
    return {
        name: {
            "extractor": store.extractor,
            "videos": len(store.index),
            "segments": store.segments,
            "crops": store.crops,
            "dim": store.dim,
        }
        for name, store in stores.items()
    } or None


def _write(out: Path, name: str, contents: Contents) -> None:
    if contents.labels:
        write_frame_labels(out / "frame_labels.npz", contents.labels)
    write_json(out / "truth.json", {"dataset": name, **contents.truth})
    for assigned in contents.participants:
        assigned.write(out / "participants" / f"{assigned.protocol}.json")
    write_videos_csv(out / "videos.csv", contents.records)


def _summary(out: Path, contents: Contents) -> dict[str, Any]:
    train = [record for record in contents.records if record.split == "train"]
    test = [record for record in contents.records if record.split == "test"]
    return {
        "train": len(train),
        "train_anomalous": _anomalous(train),
        "test": len(test),
        "test_anomalous": _anomalous(test),
        "scenes": len({record.scene for record in contents.records if record.scene}),
        "events": len({record.event for record in contents.records if record.event}),
        "features": store_summary(out),
        "truth": contents.truth,
        "protocols": {
            assigned.protocol: {participant: len(videos) for participant, videos in assigned.videos.items()}
            for assigned in contents.participants
        },
        "skipped": dict(contents.skipped),
        "notes": list(contents.notes),
        "next": list(contents.next_steps),
    }


def _anomalous(records: Iterable[VideoRecord]) -> int:
    return sum(record.label == 1 for record in records)
