"""State of a store folder: ``writing.json`` marks an unfinished store, ``store.json`` a finished one.

An unfinished store is resumed by the same command and refused to any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ClapError
from ...persistence import file_sha256, read_json, write_json
from .reader import NORMALISE, SCHEMA_VERSION

__all__ = ["DTYPES", "check_dtype", "claim_folder", "describe_store", "seal_folder"]

DTYPES = ("float16", "float32")


def check_dtype(dtype: str) -> np.dtype:
    """The little-endian numpy type of a store; raises :class:`ClapError` unless it is float16 or float32."""
    if dtype not in DTYPES:
        raise ClapError(f"dtype '{dtype}' cannot be stored; choose {' or '.join(DTYPES)}")
    return np.dtype(dtype).newbyteorder("<")


def describe_store(
    *,
    extractor: str,
    settings: dict[str, Any],
    normalise: str,
    weights_sha256: str | None,
    segment_frames: int,
    crops: int,
    dim: int,
    dtype: str,
    origin: dict[str, Any] | None,
) -> dict[str, Any]:
    """The part of ``store.json`` that is known before the first row, as plain JSON values."""
    check_dtype(dtype)
    if normalise not in NORMALISE:
        raise ClapError(f"normalise '{normalise}' is unknown; choose {' or '.join(NORMALISE)}")
    if min(crops, dim, segment_frames) < 1:
        raise ClapError(f"{crops} crops, dimension {dim} and {segment_frames} frames per segment: give at least 1 each")
    description = {
        "schema_version": SCHEMA_VERSION,
        "extractor": extractor,
        "settings": settings,
        "normalise": normalise,
        "weights_sha256": weights_sha256,
        "segment_frames": segment_frames,
        "crops": crops,
        "dim": dim,
        "dtype": dtype,
        "origin": origin or {},
    }
    plain: dict[str, Any] = json.loads(json.dumps(description, allow_nan=False))
    return plain


def claim_folder(path: Path, description: dict[str, Any]) -> None:
    """Create an unfinished store at ``path``, or accept an existing one with the same description.

    Raises:
        ClapError: ``path`` is a finished store, an unfinished one with other settings, or anything else.
    """
    writing = path / "writing.json"
    if (path / "store.json").exists():
        writing.unlink(missing_ok=True)  # a writer may have been killed just before this step
        raise ClapError(f"{path}: this feature store exists already; choose another --out or delete it")
    if path.exists() and not path.is_dir():
        raise ClapError(f"{path}: is a file; choose another --out")
    if writing.exists():
        found = read_json(writing)
        differing = [key for key in description if not isinstance(found, dict) or found.get(key) != description[key]]
        if differing:
            raise ClapError(
                f"{path}: unfinished store with other settings ({', '.join(differing)} differ); "
                "repeat the command that started it, choose another --out, or delete the folder"
            )
        for stale in path.glob(".*.tmp"):  # left by a writer killed during an atomic write
            stale.unlink(missing_ok=True)
        return
    if path.is_dir() and any(not entry.name.endswith(".tmp") for entry in path.iterdir()):
        raise ClapError(f"{path}: not empty and not a feature store; choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    write_json(writing, description)


def seal_folder(
    path: Path, description: dict[str, Any], segments: int, videos: int, sha256: dict[str, str] | None = None
) -> None:
    """Write ``store.json``, which makes the folder a finished store, and remove ``writing.json``.

    Args:
        path: folder with the final features.npy, index.csv and optional valid.npy and regions.npy.
        description: as given to :func:`claim_folder`.
        segments, videos: N and the number of videos.
        sha256: known checksums, file name -> hexadecimal; the others are computed.
    """
    known = sha256 or {}
    names = [name for name in ("features.npy", "index.csv", "valid.npy", "regions.npy") if (path / name).exists()]
    files = {name: known.get(name) or file_sha256(path / name) for name in names}
    content = {key: value for key, value in description.items() if key not in ("with_valid", "with_regions")}
    write_json(path / "store.json", {**content, "segments": segments, "videos": videos, "files": files})
    (path / "writing.json").unlink(missing_ok=True)
