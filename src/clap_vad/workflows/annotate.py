"""Annotated videos of ``clap score --annotate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import ClapError
from ..features.extraction.extractor import Extractor
from ..reporting.overlay import ScoredFrames
from .scoring import ScoredVideo

__all__ = ["annotate_scored", "annotated_file", "check_annotating"]

_SMALLEST = 64


def annotated_file(folder: Path, video: str) -> Path:
    """Path of the annotated video of this name."""
    return folder / f"{video}.mp4"


def check_annotating(folder: Path, side: int, extractor: Extractor, paths: Sequence[Path]) -> None:
    """Raise :class:`ClapError` if annotated videos could not be written or would overwrite an input."""
    if side < _SMALLEST:
        raise ClapError(f"--annotate-side: {side}; at least {_SMALLEST} pixels are needed")
    if folder.exists() and not folder.is_dir():
        raise ClapError(f"{folder}: is a file; name a folder for the annotated videos")
    sources = {path.resolve() for path in paths}
    for path in paths:
        file = annotated_file(folder, extractor.video_name(path))
        if file.resolve() in sources:
            raise ClapError(f"{file}: is one of the videos and would be overwritten; name another folder")


def annotate_scored(
    one: ScoredVideo,
    extractor: Extractor,
    threshold: float,
    folder: Path,
    *,
    side: int,
    blur: bool,
    on_progress: Callable[[str], None],
) -> Path:
    """Write ``FOLDER/NAME.mp4``; ``on_progress`` receives a progress note.

    Raises:
        ClapError: the input has no pictures.
        OSError: the file cannot be written.
    """
    from ..reporting.annotate import annotate_video

    file = annotated_file(folder, one.video)
    known = one.scores, one.frames, one.fps, extractor.segment_frames, threshold, one.events, one.regions, one.times
    annotate_video(
        one.path,
        file,
        ScoredFrames(*known),
        rate=extractor.rate,
        track=extractor.track,
        side=side,
        blur=blur,
        shown=lambda count: on_progress(f"{one.path.name}, annotating {count} of {one.frames}"),
    )
    return file
