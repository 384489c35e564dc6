"""Small pictures of single moments of a video, if wanted so coarse that nobody can be recognised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..core.events.regions import Region
from ..errors import ClapError
from ..video.reader import VideoReader

__all__ = ["blurred", "has_pictures", "outlined", "thumbnail_at", "thumbnails"]

_SIDE = 480
_QUALITY = 82
_CELLS = 12
_OUTLINE = (255, 221, 51)  # RGB


def thumbnails(
    path: Path,
    frames: Iterable[int],
    *,
    rate: float | None = None,
    track: int | None = None,
    blur: bool = False,
    regions: Mapping[int, Region] | None = None,
) -> dict[int, bytes]:
    """JPEG pictures of some frames, longer side at most 480 pixels.

    The video is decoded once, up to the last frame wanted, by the reader that the extractors use, so that frame
    numbers agree; only the pictures wanted are kept.

    Args:
        path: a video file or a folder of frames; a text file (tracks) has no pictures.
        frames: numbers of the frames wanted.
        rate: frames a second that are counted, where an extractor took them evenly; None counts all.
        track: number of the video track that they were taken from; None for the one with most pictures.
        blur: make each picture so coarse that nobody can be recognised, see :func:`blurred`.
        regions: frame -> region to outline on its picture.

    Returns:
        Frame -> JPEG; frames that cannot be decoded are missing.
    """
    wanted = sorted(set(frames))
    if not wanted or not has_pictures(path):
        return {}
    found: dict[int, bytes] = {}
    reader = None
    try:
        reader = VideoReader(path, side=_SIDE, colour=True, rate=rate, track=track)
        for frame, picture in enumerate(reader):
            if frame in wanted:
                shown = blurred(picture) if blur else picture
                found[frame] = _jpeg(outlined(shown, regions[frame]) if regions and frame in regions else shown)
            if frame >= wanted[-1]:
                break
    except ClapError:
        # the video was scored, so it could be read a moment ago; a report with fewer pictures is better than none
        pass
    finally:
        if reader is not None:
            reader.close()
    return found


def thumbnail_at(clip: Path, seconds: float, start: str, region: Region | None = None) -> bytes | None:
    """The JPEG picture of a clip that is shown at a time of the clock that it was cut by; None where there is none.

    Args:
        clip: a video file.
        seconds: the time.
        start: entry of the clip's metadata that holds the time of its first picture.
        region: to outline.
    """
    try:
        reader = VideoReader(clip, side=_SIDE, colour=True)
        offset, shown = seconds - float(reader.metadata[start]), None
        for picture in reader:
            shown = picture
            if reader.seconds >= offset:
                break
        reader.close()
    except (ClapError, OSError, KeyError, ValueError):
        return None  # not written yet, or already deleted: the page has one picture less
    return None if shown is None else _jpeg(shown if region is None else outlined(shown, region))


def blurred(picture: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) averaged over 12 cells along its longer side, enlarged again.

    A face that fills the whole picture keeps 12 x 12 colours, a person at the usual distance one or two; the
    averages are all that remains, so no filter can bring a face back.

    >>> coarse = blurred(np.arange(48 * 96 * 3, dtype=np.uint8).reshape(48, 96, 3))
    >>> coarse.shape, len(np.unique(coarse.reshape(-1, 3), axis=0)) <= 12 * 6
    ((48, 96, 3), True)
    """
    import cv2

    height, width = picture.shape[:2]
    scale = _CELLS / max(height, width)
    cells = (max(1, round(width * scale)), max(1, round(height * scale)))
    coarse = cv2.resize(np.ascontiguousarray(picture), cells, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))


def outlined(picture: np.ndarray, region: Region) -> np.ndarray:
    """The picture (H, W, 3) with a region's outline: a yellow line on a black one, seen on light and on dark."""
    import cv2

    height, width = picture.shape[:2]
    scale = np.array([width, height, width, height])
    left, top, right, bottom = np.clip(np.rint(np.array(region) * scale), 0, scale - 1).astype(int).tolist()
    drawn = np.array(picture)
    for colour, thickness in (((0, 0, 0), 5), (_OUTLINE, 2)):
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, thickness)
    return drawn


def _jpeg(picture: np.ndarray) -> bytes:
    import cv2

    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def has_pictures(path: Path) -> bool:
    """Whether there may be pictures in a file or folder: in all but text files, which hold tracks."""
    if not path.is_file():
        return True
    with path.open("rb") as handle:
        return b"\0" in handle.read(4096)
