"""Features made by others, brought into a store: referenced in place where their layout is ours, else copied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.pseudo_labels.magnitude import LARGEST, unusable_segment
from ...core.text.naming import storable
from ...errors import ClapError
from ...persistence import file_sha256, fsync_folder, write_bytes
from ...progress import Advance, progress_bar
from ...registry import Registry
from ..store.folder import check_dtype, claim_folder, describe_store, seal_folder
from ..store.journal import JOURNAL_HEADER, journal_line
from ..store.npyfile import read_npy_header
from ..store.reader import FeatureStore, VideoIndex, place_of_row
from ..store.writer import StoreWriter
from .axes import DOCUMENTED, check_layout
from .folders import outward_links

__all__ = ["IMPORTERS", "SEGMENT_FRAMES", "ForeignFeatures", "ForeignVideo", "Importer", "import_features"]

SEGMENT_FRAMES = 16
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class ForeignVideo:
    """One video in a foreign layout.

    Attributes:
        name: as :func:`~clap_vad.features.naming.video_name` gives it.
        blocks: yields its segments in order, (n, C, D) blocks; raises :class:`ClapError` naming the file.
        rows: [start, stop) in the one big file, for layouts that have one.
    """

    name: str
    blocks: Callable[[], Iterable[np.ndarray]]
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class ForeignFeatures:
    """What an importer found, before anything is written.

    Attributes:
        videos: in the order they are to be stored.
        crops, dim: C and D.
        dtype: the narrowest storable type that loses nothing, ``float16`` or ``float32``.
        in_place: a ``.npy`` that is laid out as a store's ``features.npy`` already; every video then has ``rows``.
        layout: the order of axes found in the files, one of :data:`~clap_vad.features.importing.axes.LAYOUTS`.
        left_out: why a file or folder of the source could not be used, and the remedy, by path.
    """

    videos: Sequence[ForeignVideo]
    crops: int
    dim: int
    dtype: str
    in_place: Path | None = None
    layout: str = "segments-crops-dim"
    left_out: Mapping[Path, str] = field(default_factory=dict)


Importer = Callable[[Path, Path | None, Path | None, str | None], ForeignFeatures]
"""``importer(source, index, names, layout)``: looks at a foreign layout; :class:`ClapError` where it is broken."""

IMPORTERS = Registry[Importer]("import format", "clap_vad.features.importing.formats")


def import_features(
    format: str,
    source: Path,
    out: Path,
    *,
    index: Path | None = None,
    names: Path | None = None,
    dtype: str | None = None,
    layout: str | None = None,
) -> dict[str, Any]:
    """Import features into a new store at ``out``; all videos or none, and a killed import resumes when repeated.

    Frames are taken as 16 per segment and the frame rate as unknown, since foreign layouts record neither.

    Args:
        format: a name in :data:`IMPORTERS`: ``clap``, ``rtfm``, ``vadclip`` or ``c3d``.
        source: the file or folder of features.
        out: folder of the new store.
        index: list file; for ``clap`` it says which rows are whose (a list or a ``nalist.npy``), for the others it
            chooses the videos and their order.
        names: names of the videos of a bare ``nalist.npy``.
        dtype: ``float16`` or ``float32``; by default what the source has.
        layout: order of the axes of the arrays, one of :data:`~clap_vad.features.importing.axes.LAYOUTS`; by default
            it is found by the shapes of all files.

    Returns:
        ``format, store, videos, segments, crops, dim, dtype, layout, zero_copy, passed_over, skipped``; ``passed_over``
        are links below ``source`` that lead out of it and were not followed, ``skipped`` is a list of ``path`` and
        ``reason`` for folders and files that cannot be read.

    Raises:
        ClapError: anything in the source that is missing, broken or inconsistent, named.
    """
    importer = IMPORTERS[format]
    if dtype is not None:
        check_dtype(dtype)
    check_layout(layout)
    foreign = importer(source, index, names, layout)
    kept = dtype or foreign.dtype
    origin = {"source": str(source.resolve())}
    for key, file in (("index", index), ("names", names)):
        if file is not None:
            origin |= {key: str(file.resolve()), f"{key}_sha256": file_sha256(file)}
    if foreign.layout not in DOCUMENTED:
        origin["layout"] = foreign.layout
    description = {"extractor": format, "settings": {}, "crops": foreign.crops, "dim": foreign.dim, "dtype": kept}
    description |= {"normalise": "none", "segment_frames": SEGMENT_FRAMES, "origin": origin}
    zero_copy = foreign.in_place is not None and kept == foreign.dtype
    store = _link(foreign, out, description) if zero_copy else _copy(foreign, out, description)
    return {
        "format": format,
        "store": str(out),
        "videos": len(store.index),
        "segments": store.segments,
        "crops": store.crops,
        "dim": store.dim,
        "dtype": store.features.dtype.name,
        "layout": foreign.layout,
        "zero_copy": zero_copy,
        "passed_over": [storable(str(link)) for link in outward_links(source)],
        "skipped": [{"path": storable(str(path)), "reason": why} for path, why in foreign.left_out.items()],
    }


def _copy(foreign: ForeignFeatures, out: Path, description: dict[str, Any]) -> FeatureStore:
    with StoreWriter(out, **description) as writer, progress_bar("videos", len(foreign.videos)) as advance:
        strangers = writer.completed - {video.name for video in foreign.videos}
        if strangers:
            raise ClapError(
                f"{out}: the unfinished store holds video '{min(strangers)}', which the source no longer has; "
                "delete the folder and import again"
            )
        for video in foreign.videos:
            if video.name not in writer.completed:
                rows = _Counted(video.blocks())
                writer.append(video.name, rows, rows.frames, None)
            advance(1, note=video.name)
        return writer.finish()


class _Counted:
    """Blocks that are counted while they pass."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = blocks
        self._count = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._count += len(block)
            yield block

    def frames(self) -> int:
        """Frames of the segments that have passed."""
        return SEGMENT_FRAMES * self._count


def _link(foreign: ForeignFeatures, out: Path, description: dict[str, Any]) -> FeatureStore:
    """A store whose ``features.npy`` is a symbolic link to the file in place."""
    assert foreign.in_place is not None
    full = describe_store(**description, weights_sha256=None)
    claim_folder(out, full)
    source = foreign.in_place.resolve()
    entries = [
        VideoIndex(video.name, *video.rows, SEGMENT_FRAMES * (video.rows[1] - video.rows[0]), None)
        for video in foreign.videos
        if video.rows is not None
    ]
    try:
        with progress_bar("bytes", source.stat().st_size) as advance:
            checksum = _check_in_place(source, entries, advance)
    except BaseException:  # nothing is copied, so nothing is lost: leave no trace in the way of the next try
        for name in ("index.csv", "features.npy", "writing.json"):
            (out / name).unlink(missing_ok=True)
        out.rmdir()
        raise
    link = out / "features.npy"
    link.unlink(missing_ok=True)
    link.symlink_to(source)
    write_bytes(out / "index.csv", JOURNAL_HEADER + b"".join(map(journal_line, entries)))
    fsync_folder(out)
    segments = max(entry.stop for entry in entries)
    seal_folder(out, full, segments, len(entries), {"features.npy": checksum})
    return FeatureStore(out)


def _check_in_place(file: Path, entries: Sequence[VideoIndex], advance: Advance) -> str:
    """SHA-256 of a features file; raises :class:`ClapError` at the first unusable value. One bounded pass."""
    header = read_npy_header(file)
    row_bytes = int(np.prod(header.shape[1:])) * header.dtype.itemsize
    step = max(1, _CHUNK_BYTES // row_bytes)
    buffer = bytearray(step * row_bytes)
    with file.open("rb", buffering=0) as handle:
        digest = hashlib.sha256(handle.read(header.offset))
        for start in range(0, header.shape[0], step):
            rows = min(step, header.shape[0] - start)
            view = memoryview(buffer)[: rows * row_bytes]
            filled = 0
            while filled < len(view):
                got = handle.readinto(view[filled:])
                if not got:
                    raise ClapError(f"{file}: cut short while it was read; fetch it again")
                filled += got
            digest.update(view)
            broken = unusable_segment(np.frombuffer(view, header.dtype).reshape(rows, *header.shape[1:]))
            if broken is not None:
                row = start + broken
                raise ClapError(
                    f"{file}: row {row} ({place_of_row(entries, row)}): NaN, infinite or far too large value (beyond "
                    f"{LARGEST:g}); fetch or make it again"
                )
            advance(len(view))
        while tail := handle.read(1 << 20):
            digest.update(tail)
    return digest.hexdigest()
