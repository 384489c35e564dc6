"""Adding features to a dataset: by extraction, by import of published features, or by a link to a store."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..features.store.reader import FeatureStore
from .dataset import STORES
from .sources import find_files

__all__ = ["Published", "adopt_features", "extract_store", "link_store"]


def extract_store(
    videos: Mapping[str, Path], out: Path, *, extractor: str, settings: Mapping[str, Any], workers: int | None
) -> tuple[dict[str, str], list[str]]:
    """Extract the features of ``videos`` (name -> file) into the store ``out``, or resume an interrupted extraction.

    Returns:
        Videos that are not in the store, with the reason; and notes about videos with missing parts.
    """
    from ..features.extraction.extract import extract_features

    reasons: Mapping[str, str] = {}
    remarks: list[str] = []
    if not (out / "store.json").exists():
        report = extract_features(
            list(videos.values()), out, extractor=extractor, settings=dict(settings), workers=workers
        )
        reasons = report.skipped
        remarks = [f"{video}: only partly read: {lack}" for video, lack in report.truncated.items()]
    store = FeatureStore(out)
    absent = {video: reasons.get(str(file), reasons.get(video)) for video, file in videos.items() if video not in store}
    return {video: reason or f"{videos[video]}: could not be used" for video, reason in absent.items()}, remarks


def link_store(store: Path, out: Path) -> None:
    """Create ``out`` as a symbolic link to a finished store."""
    FeatureStore(store)
    out.unlink(missing_ok=True)
    out.symlink_to(store.resolve(), target_is_directory=True)


@dataclass(frozen=True)
class Published:
    """The published features of one split.

    Attributes:
        store: name of the store in the dataset, ``store`` or ``store-test``.
        list_file: the list of the split's videos.
        videos: their names.
        file: name of the file with all features (``concat_*.npy``).
        index, names: files that assign rows to videos; no index if none was published.
    """

    store: str
    list_file: Path
    videos: Collection[str]
    file: str
    index: Path | None
    names: Path | None = None


def adopt_features(features: Path | None, source: Path, out: Path, splits: Collection[Published]) -> list[str]:
    """Add published features to the dataset ``out``: linked if their layout allows it, otherwise copied.

    Args:
        features: a store, a dataset with stores, the folder of the ``concat_*.npy`` files, or a folder with one file
            per video or crop. None searches ``concat_*.npy`` below ``source``.
        source: folder of the published files.
        out: the dataset's folder.
        splits: the published features of each split.

    Returns:
        The commands that are still needed, one per split without features.

    Raises:
        ClapError: ``features`` contains no features, lacks a listed video, or does not fit its index.
    """
    if features is not None and _adopt_stores(features, out, splits):
        return []
    from ..features.importing.importer import import_features

    huge = {split.store: find_files(features or source, [split.file]) for split in splits}
    layout = None if any(huge.values()) or features is None else _layout(features)
    missing = []
    for split in splits:
        store = out / split.store
        if (store / "store.json").exists():
            continue
        if layout and features:
            import_features(layout, features, store, index=split.list_file)
        elif huge[split.store] and split.index:
            import_features("clap", huge[split.store][0], store, index=split.index, names=split.names)
        else:
            missing.append(_command(split, store))
    return missing


def _adopt_stores(features: Path, out: Path, splits: Collection[Published]) -> bool:
    found = [features] if (features / "store.json").exists() else [features / name for name in STORES]
    stores = [FeatureStore(path) for path in found if (path / "store.json").exists()]
    if not stores:
        return False
    for split in splits:
        absent = [video for video in split.videos if not any(video in store for store in stores)]
        if absent:
            raise ClapError(
                f"{features}: {len(absent)} of the {len(split.videos)} videos of {split.list_file.name} are not in "
                f"this store (first: '{absent[0]}'); import their features first"
            )
    for name, store in zip(STORES, stores, strict=False):
        link_store(store.path, out / name)
    return True


def _layout(features: Path) -> str:
    for name, pattern in (("vadclip", "*__0.npy"), ("rtfm", "*.npy"), ("c3d", "*.txt")):
        if find_files(features, [pattern]):
            return name
    raise ClapError(f"{features}: contains no features; give a store, concat_*.npy, or .npy or .txt files per video")


def _command(split: Published, store: Path) -> str:
    if split.index is None:
        words = ["vadclip", "FOLDER_OF_CROP_FILES", "--index", str(split.list_file)]
    else:
        words = ["clap", split.file, "--index", str(split.index)]
        words += ["--names", str(split.names)] if split.names else []
    return shlex.join(["clap", "features", "import", "--format", *words, "--out", str(store)])
