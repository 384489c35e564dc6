"""Import of published features into a store: linked if their layout is that of a store, otherwise copied."""

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
    """One video of an imported layout.

    Attributes:
        name: from :func:`~clap_vad.features.naming.video_name`.
        blocks: yields its segments in order, in blocks (n, C, D); raises :class:`ClapError` that names the file.
        rows: [start, stop) in the file of all videos; None for layouts with one file per video.
    """

    name: str
    blocks: Callable[[], Iterable[np.ndarray]]
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class ForeignFeatures:
    """The features found by an importer, before anything is written.

    Attributes:
        videos: the videos in the order of the new store.
        crops, dim: C and D.
        dtype: the smallest lossless type, ``float16`` or ``float32``.
        in_place: a ``.npy`` with the layout of a store's ``features.npy``; every video then has ``rows``.
        layout: order of axes, one of :data:`~clap_vad.features.importing.axes.LAYOUTS`.
        left_out: path -> reason and remedy, for unusable files and folders.
    """

    videos: Sequence[ForeignVideo]
    crops: int
    dim: int
    dtype: str
    in_place: Path | None = None
    layout: str = "segments-crops-dim"
    left_out: Mapping[Path, str] = field(default_factory=dict)


Importer = Callable[[Path, Path | None, Path | None, str | None], ForeignFeatures]
"""``importer(source, index, names, layout)`` examines the source; raises :class:`ClapError` if it is broken."""

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
    """Import features into a new store at ``out``. All videos are imported, or none; a killed import can be resumed.

    Published layouts have neither frame counts nor rates: 16 frames per segment are assumed, the rate is unknown.

    Args:
        format: a name in :data:`IMPORTERS`: ``clap``, ``rtfm``, ``vadclip`` or ``c3d``.
        source: the file or folder of features.
        out: folder of the new store.
        index: list file. For ``clap`` it gives the rows of each video (a list or a ``nalist.npy``); for other formats
            it selects the videos and their order.
        names: names of the videos of a ``nalist.npy``.
        dtype: ``float16`` or ``float32``; by default that of the source.
        layout: order of axes, one of :data:`~clap_vad.features.importing.axes.LAYOUTS`; by default found from the
            shapes of all files.

    Returns:
        ``format, store, videos, segments, crops, dim, dtype, layout, zero_copy, passed_over, skipped``. ``passed_over``
        are links out of ``source``, which are not followed; ``skipped`` is a list of ``path`` and ``reason`` for
        unreadable files and folders.

    Raises:
        ClapError: a part of the source is missing, broken or inconsistent; the message names it.
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
                f"{out}: the unfinished store contains video '{min(strangers)}', which is no longer in the source; "
                "delete the folder and import again"
            )
        for video in foreign.videos:
            if video.name not in writer.completed:
                rows = _Counted(video.blocks())
                writer.append(video.name, rows, rows.frames, None)
            advance(1, note=video.name)
        return writer.finish()


class _Counted:
    """Iterates over blocks and counts their segments."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = blocks
        self._count = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._count += len(block)
            yield block

    def frames(self) -> int:
        """Number of frames of the segments so far."""
        return SEGMENT_FRAMES * self._count


def _link(foreign: ForeignFeatures, out: Path, description: dict[str, Any]) -> FeatureStore:
    """Create a store whose ``features.npy`` is a symbolic link to the source file."""
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
    except BaseException:  # nothing was copied: remove everything, so that the command can be repeated
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
    """SHA-256 of a features file, in one pass; raises :class:`ClapError` at the first unusable value."""
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
                    raise ClapError(f"{file}: was truncated during the import; copy it again")
                filled += got
            digest.update(view)
            broken = unusable_segment(np.frombuffer(view, header.dtype).reshape(rows, *header.shape[1:]))
            if broken is not None:
                row = start + broken
                raise ClapError(
                    f"{file}: row {row} ({place_of_row(entries, row)}): NaN, infinite or far too large value (beyond "
                    f"{LARGEST:g}); download or extract it again"
                )
            advance(len(view))
        while tail := handle.read(1 << 20):
            digest.update(tail)
    return digest.hexdigest()
