"""Small pictures of single frames of a video, optionally too coarse to recognise people."""

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

    The video is decoded once up to the last requested frame, with the reader of the extractors, so that frame numbers
    agree. Only the requested pictures are kept in memory.

    Args:
        path: a video file or a folder of frames; a text file (tracks) has no pictures.
        frames: requested frame numbers.
        rate: sampling rate of the extractor in frames per second; None if it used all frames.
        track: number of the video track; None for the one with the most pictures.
        blur: make people unrecognisable, see :func:`blurred`.
        regions: frame -> region to outline.

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
        # a report with fewer pictures is better than none
        pass
    finally:
        if reader is not None:
            reader.close()
    return found


def thumbnail_at(clip: Path, seconds: float, start: str, region: Region | None = None) -> bytes | None:
    """The JPEG picture of a clip at a time; None if there is none.

    Args:
        clip: a video file.
        seconds: the time on the clock of the stream.
        start: key of the clip's metadata with the time of its first picture.
        region: region to outline.
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
        return None  # not written yet or already deleted: the page omits the picture
    return None if shown is None else _jpeg(shown if region is None else outlined(shown, region))


def blurred(picture: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) averaged over 12 cells along its longer side and enlarged again.

    A face that fills the picture keeps 12 x 12 colours, a person at the usual distance one or two. Only the averages
    remain, so no filter can restore a face.

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
    """The picture (H, W, 3) with the outline of a region: yellow on black, visible on light and dark pictures."""
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
    """Whether a file or folder may contain pictures: true unless it is a text file (tracks)."""
    if not path.is_file():
        return True
    with path.open("rb") as handle:
        return b"\0" in handle.read(4096)
