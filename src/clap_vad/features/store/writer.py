"""Writing a feature store video by video; a kill loses at most the current video.

An unfinished folder contains ``writing.json`` (description), ``features.npy.partial`` (and ``valid.npy.partial``,
``regions.npy.partial``), whose header has space for any number of rows, and the journal ``index.csv.partial``. A video
is committed by its line in the journal, written after its rows are on disk. When the folder is opened again, everything
after the last complete line is removed. ``store.json`` is written last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...core.pseudo_labels.magnitude import LARGEST, unusable_segment
from ...errors import ClapError, unprintable
from ...persistence import fsync_folder
from ..segments import SegmentFeatures
from .folder import check_dtype, claim_folder, describe_store, seal_folder
from .journal import JOURNAL_HEADER, journal_line, parse_journal
from .npyfile import HEADER_BYTES, GrowingFile, npy_header
from .reader import REGIONS, FeatureStore, VideoIndex

__all__ = ["StoreWriter"]

_CHUNK_BYTES = 8 << 20  # blocks are checked and converted in chunks of this size


class StoreWriter:
    """Appends videos to a store. It is a context manager; an unfinished store can be resumed.

    Args:
        path: folder to write; created if missing, resumed if it is an unfinished store of the same writer.
        extractor: name of the extractor or import format.
        settings: settings of the extractor.
        crops: C.
        dim: D.
        dtype: ``float32`` or ``float16``.
        segment_frames: frames per segment.
        with_valid: whether blocks have a mask of valid regions.
        with_regions: whether to store the region of each row.
        normalise: ``federated`` if features must be standardised before use, otherwise ``none``.
        weights_sha256: checksum of the extractor's weights; None if it has none.
        origin: origin of the input, for the record.

    Raises:
        ClapError: ``path`` is a finished store, a store with other settings, or anything else.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "store"
    >>> with StoreWriter(folder, extractor="example", settings={}, crops=1, dim=2) as writer:
    ...     writer.append("gate", [np.ones((3, 1, 2))], frames=45, fps=25.0)
    ...     store = writer.finish()
    >>> store.features.shape, store.index[0]
    ((3, 1, 2), VideoIndex(video='gate', start=0, stop=3, frames=45, fps=25.0))
    """

    def __init__(
        self,
        path: Path,
        *,
        extractor: str,
        settings: dict[str, Any],
        crops: int,
        dim: int,
        dtype: str = "float32",
        segment_frames: int = 16,
        with_valid: bool = False,
        with_regions: bool = False,
        normalise: str = "federated",
        weights_sha256: str | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._dtype = check_dtype(dtype)
        self._shape = (crops, dim)
        self._description = describe_store(
            extractor=extractor,
            settings=settings,
            normalise=normalise,
            weights_sha256=weights_sha256,
            segment_frames=segment_frames,
            crops=crops,
            dim=dim,
            dtype=dtype,
            origin=origin,
        ) | {"with_valid": with_valid}
        if with_regions:  # otherwise left out, so that unfinished stores of earlier releases can be resumed
            self._description["with_regions"] = True
        claim_folder(path, self._description)
        self._rows = 0
        self._videos: set[str] = set()
        self._files: dict[str, GrowingFile] = {}
        try:
            for name in ["index.csv", "features.npy"] + ["valid.npy"] * with_valid + ["regions.npy"] * with_regions:
                self._files[name] = GrowingFile(self._partial(name))
            self._recover()
        except BaseException:
            self._close()
            raise
        self.completed = frozenset(self._videos)
        """Names of the videos that an interrupted writer has committed."""

    def append(
        self,
        video: str,
        blocks: Iterable[Any],
        frames: int | Callable[[], int],
        fps: float | Callable[[], float | None] | None,
    ) -> None:
        """Write one video. It is committed on return and rolled back on error.

        Args:
            video: unique name.
            blocks: consecutive segments: :class:`~clap_vad.features.segments.SegmentFeatures`, features (n, C, D), or a
                pair (features, valid) with the mask (n, C) of valid regions.
            frames: number of frames, or a function that is called after the blocks are consumed.
            fps: frames per second, None if unknown, or a function as above.

        Raises:
            ClapError: the name is taken, a block has another shape, a value is NaN, infinite, far too large or does not
                fit ``float16``, there is no segment, frames or fps are impossible, or the disk is full. Other videos
                can still be written.
        """
        self._check_name(video)
        sizes = {name: file.size for name, file in self._files.items()}
        try:
            rows = 0
            for block in blocks:
                rows += self._write_block(video, rows, SegmentFeatures.of(block))
            if rows == 0:
                raise ClapError(f"{self.path}: video '{video}' has no segments; leave it out")
            entry = self._entry(video, rows, frames() if callable(frames) else frames, fps() if callable(fps) else fps)
            for name in self._files.keys() - {"index.csv"}:
                self._files[name].sync()
            self._files["index.csv"].write(journal_line(entry))
            self._files["index.csv"].sync()
        except BaseException:
            for name, size in sizes.items():
                self._files[name].truncate(size)
            raise
        self._rows += rows
        self._videos.add(video)

    def finish(self) -> FeatureStore:
        """Rename the files to their final names and write ``store.json`` last, which completes the store."""
        if not self._videos:
            raise ClapError(f"{self.path}: no video was written; give at least one")
        for name, file in self._files.items():
            if name != "index.csv":
                file.overwrite(self._header(name, self._rows))
            file.sync()
            self._partial(name).replace(self.path / name)
        fsync_folder(self.path)
        seal_folder(self.path, self._description, self._rows, len(self._videos))
        self._close()
        return FeatureStore(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._videos:  # nothing to resume: remove the folder, so that a corrected command can use it
            for name in self._files:
                self._partial(name).unlink(missing_ok=True)
            (self.path / "writing.json").unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()
        self._close()

    def _partial(self, name: str) -> Path:
        return self.path / f"{name}.partial"

    def _header(self, name: str, rows: int) -> bytes:
        return npy_header(self._kind(name)[0], (rows, *self._kind(name)[1]))

    def _row_bytes(self, name: str) -> int:
        dtype, shape = self._kind(name)
        return dtype.itemsize * math.prod(shape)

    def _kind(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Type and shape of a row of a file."""
        crops, _ = self._shape
        kinds = {"valid.npy": (np.dtype(bool), (crops,)), "regions.npy": (REGIONS, (crops, 4))}
        return kinds.get(name, (self._dtype, self._shape))

    def _recover(self) -> None:
        """Truncate the files of a killed writer to the last committed video."""
        for name, file in list(self._files.items()):
            if (self.path / name).exists():  # killed between the renames in finish()
                file.close()
                (self.path / name).replace(self._partial(name))
                self._files[name] = GrowingFile(self._partial(name))
        rows_on_disk = min(
            max(0, file.size - HEADER_BYTES) // self._row_bytes(name)
            for name, file in self._files.items()
            if name != "index.csv"
        )
        entries, size = parse_journal(self._partial("index.csv").read_bytes(), rows_on_disk)
        self._videos.update(entry.video for entry in entries)
        self._rows = entries[-1].stop if entries else 0
        journal = self._files["index.csv"]
        journal.truncate(size)
        if size == 0:
            journal.write(JOURNAL_HEADER)
        for name, file in self._files.items():
            if name != "index.csv":
                file.overwrite(self._header(name, 0))
                file.truncate(HEADER_BYTES + self._rows * self._row_bytes(name))

    def _write_block(self, video: str, done: int, block: SegmentFeatures) -> int:
        features, valid, regions = block
        where = f"{self.path}: video '{video}'"
        features = np.asarray(features)
        if features.ndim != 3 or features.shape[1:] != self._shape or features.dtype.kind not in "fiu":
            needed = "(n, {}, {})".format(*self._shape)
            raise ClapError(f"{where}: features are {features.dtype} {features.shape}; give numbers {needed}")
        mask = self._files.get("valid.npy")
        if (valid is None) != (mask is None):
            raise ClapError(f"{where}: give each block {'a' if mask else 'no'} mask of valid regions")
        step = max(1, _CHUNK_BYTES // self._row_bytes("features.npy"))
        for start in range(0, len(features), step):
            chunk = features[start : start + step]
            with np.errstate(over="ignore", invalid="ignore"):
                stored = np.ascontiguousarray(chunk, dtype=self._dtype)
            if unusable_segment(stored) is not None:
                t, c, d = (int(i) for i in np.argwhere(~(np.abs(stored).astype(np.float64) <= LARGEST))[0])
                value = float(chunk[t, c, d])
                fault, remedy = f"value is {value:g}", "correct its features or leave it out"
                if abs(value) <= LARGEST:
                    fault, remedy = f"{value} does not fit {self._dtype.name}", "use float32"
                elif np.isfinite(value):
                    fault += f", far too large (beyond {LARGEST:g})"
                raise ClapError(f"{where}: segment {done + start + t}, crop {c}: {fault}; {remedy}")
            self._files["features.npy"].write(stored.data.cast("B"))
        if valid is not None and mask is not None:
            valid = np.asarray(valid)
            if valid.shape != features.shape[:2] or valid.dtype != np.bool_:
                raise ClapError(f"{where}: mask is {valid.dtype} {valid.shape}; give bool {features.shape[:2]}")
            mask.write(valid.tobytes())
        if "regions.npy" in self._files:
            self._files["regions.npy"].write(_stored_regions(where, done, features.shape[:2], valid, regions).tobytes())
        return len(features)

    def _check_name(self, video: str) -> None:
        if video in self._videos:
            raise ClapError(f"{self.path}: video '{video}' is already in the store; names must be unique")
        if not video or video != video.strip() or unprintable(video):
            raise ClapError(f"{self.path}: {video!r} cannot name a video; rename the file")

    def _entry(self, video: str, rows: int, frames: int, fps: float | None) -> VideoIndex:
        if frames < 1 or (fps is not None and not (math.isfinite(fps) and fps > 0)):
            raise ClapError(f"{self.path}: video '{video}': {frames} frames at {fps} per second are impossible")
        return VideoIndex(video, self._rows, self._rows + rows, int(frames), None if fps is None else float(fps))

    def _close(self) -> None:
        for file in self._files.values():
            file.close()


def _stored_regions(
    where: str, done: int, shape: tuple[int, ...], valid: np.ndarray | None, regions: np.ndarray | None
) -> np.ndarray:
    """Regions (n, C, 4) in the stored form, invalid ones 0; raises :class:`ClapError` for impossible boxes."""
    if regions is None or np.shape(regions) != (*shape, 4):
        found = "no regions" if regions is None else f"regions {np.shape(regions)}"
        raise ClapError(f"{where}: {found}; give each block regions {(*shape, 4)}")
    here = np.ones(shape, bool) if valid is None else valid
    stored = np.where(here[..., None], regions, 0).astype(REGIONS)
    right = (stored >= 0).all(axis=-1) & (stored <= 1).all(axis=-1) & (stored[..., :2] <= stored[..., 2:]).all(axis=-1)
    if not right.all():
        t, c = (int(i) for i in np.argwhere(~right)[0])
        raise ClapError(
            f"{where}: segment {done + t}, region {c}: {stored[t, c].tolist()} is not a box (left, top, right, bottom) "
            "within 0..1; correct its extractor"
        )
    return stored
