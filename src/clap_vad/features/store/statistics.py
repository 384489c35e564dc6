"""Statistics of a store, computed in one streaming pass over its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.pseudo_labels.magnitude import LARGEST, magnitudes, unusable_segment
from ...persistence import file_sha256
from ...progress import progress_bar
from .reader import FeatureStore, place_of_row

__all__ = ["QUANTILES", "describe", "feature_statistics"]

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_CHUNK_BYTES = 8 << 20


def describe(store: FeatureStore, *, verify: bool = False) -> dict[str, Any]:
    """Shape, size, origin, checks and statistics of a store, as plain JSON values.

    Args:
        store: the store.
        verify: also compare the SHA-256 of every file with the recorded one.

    Returns:
        A dict; ``checks`` maps each check to None if it passes, else to a sentence about the fault.
    """
    lengths = [entry.segments for entry in store.index]
    statistics = feature_statistics(store)
    return {
        "store": str(store.path),
        "extractor": store.extractor,
        "settings": store.info.get("settings", {}),
        "normalise": store.info.get("normalise"),
        "origin": store.info.get("origin", {}),
        "videos": len(store.index),
        "segments": store.segments,
        "crops": store.crops,
        "dim": store.dim,
        "dtype": store.features.dtype.name,
        "segment_frames": store.segment_frames,
        "frames": sum(entry.frames for entry in store.index),
        "bytes": sum((store.path / name).stat().st_size for name in _files(store)),
        "in_place": str((store.path / "features.npy").resolve())
        if (store.path / "features.npy").is_symlink()
        else None,
        "segments_per_video": {
            "min": min(lengths, default=0),
            "median": float(np.median(lengths)) if lengths else 0.0,
            "max": max(lengths, default=0),
        },
        **statistics,
        "checks": {"every value can be used": statistics["unusable"], **_checks(store, verify)},
    }


def feature_statistics(store: FeatureStore) -> dict[str, Any]:
    """Range, mean and deviation of valid regions, quantiles of segment magnitudes, share of valid regions.

    Values that are not finite are counted and ignored. Memory is bounded except for 8 bytes per segment.

    Returns:
        ``features`` (min, max, mean, std; None without values), ``not_finite``, ``magnitude`` (quantile -> value),
        ``unusable`` (position of the first value that no method can use, or None) and ``valid_share``.
    """
    m = np.empty(store.segments)
    low, high, count, present, broken = np.inf, -np.inf, 0, 0, 0
    unusable: int | None = None
    mean = squares = 0.0
    step = max(1, _CHUNK_BYTES // (4 * store.crops * store.dim))
    with progress_bar("segments", store.segments) as advance:
        for start in range(0, store.segments, step):
            stop = min(start + step, store.segments)
            x = store.read(start, stop)
            valid = None if store.valid is None else np.array(store.valid[start:stop])
            if unusable is None and (found := unusable_segment(x, valid)) is not None:
                unusable = start + found
            with np.errstate(over="ignore", invalid="ignore"):
                m[start:stop] = magnitudes(x, valid)
            values = x.ravel() if valid is None else x[valid].ravel()
            present += values.size
            finite = np.isfinite(values)
            if not finite.all():
                values = values[finite]
            broken += finite.size - values.size
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
                part = float(values.mean(dtype=np.float64))
                delta, total = part - mean, count + values.size
                # Chan, Golub and LeVeque 1983: combine the sums of squares around the mean of each block.
                squares += float(values.var(dtype=np.float64)) * values.size + delta**2 * count * values.size / total
                mean += delta * values.size / total
                count = total
            advance(stop - start)
    m = m[np.isfinite(m)]
    return {
        "features": {"min": low, "max": high, "mean": mean, "std": (squares / count) ** 0.5} if count else None,
        "not_finite": broken,
        "magnitude": dict(zip(map(str, QUANTILES), np.quantile(m, QUANTILES).tolist(), strict=True))
        if len(m)
        else None,
        "unusable": None if unusable is None else _unusable(store, unusable),
        "valid_share": present / (store.segments * store.crops * store.dim) if store.segments else 0.0,
    }


def _unusable(store: FeatureStore, row: int) -> str:
    place = place_of_row(store.index, row)
    return f"{place}: a feature is NaN, infinite or far too large (beyond {LARGEST:g})"


def _files(store: FeatureStore) -> list[str]:
    return [name for name in ("features.npy", "valid.npy", "regions.npy", "index.csv") if (store.path / name).exists()]


def _checks(store: FeatureStore, verify: bool) -> dict[str, str | None]:
    found = {"crops": store.crops, "dim": store.dim, "dtype": store.features.dtype.name, "segments": store.segments}
    found["videos"] = len(store.index)
    wrong = [
        f"{key} is {value}, recorded {store.info[key]}" for key, value in found.items() if _differs(store, key, value)
    ]
    owned = sorted((entry.start, entry.stop) for entry in store.index)
    ends = [0, *(stop for _, stop in owned)]
    tiled = [start for start, _ in owned] == ends[:-1] and ends[-1] == store.segments
    checks = {
        "as recorded": "; ".join(wrong) or None,
        "every segment belongs to one video": None if tiled else "rows of index.csv overlap or have gaps",
    }
    if verify:
        recorded = store.info.get("files", {})
        for name in _files(store):
            if name not in recorded:
                checks[f"SHA-256 of {name}"] = "none was recorded"
            else:
                changed = file_sha256(store.path / name) != recorded[name]
                checks[f"SHA-256 of {name}"] = "the file has changed since it was written" if changed else None
    return checks


def _differs(store: FeatureStore, key: str, value: object) -> bool:
    return key in store.info and store.info[key] != value
