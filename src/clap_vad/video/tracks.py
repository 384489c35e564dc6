"""Choice of the video track in a file or stream with several tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ClapError
from .containers import open_file

__all__ = ["Chosen", "check_track", "choose_track"]

_COUNTED_PACKETS = 20_000
_COUNTED_BYTES = 64 << 20  # bytes at the start of a file in which the pictures of each track are counted
_SAME = 0.9  # tracks with this share of the most pictures count as equal: cameras start and stop at different times


@dataclass(frozen=True)
class Chosen:
    """A video stream, set to decode on one thread.

    Attributes:
        stream: a PyAV stream.
        note: sentence about the chosen track; None if there is only one.
    """

    stream: Any
    note: str | None = None


def check_track(track: int | None) -> None:
    """Raise :class:`ClapError` for a track number below 1 (None is allowed)."""
    if track is not None and track < 1:
        raise ClapError(f"track is {track}; tracks are counted from 1")


def choose_track(container: Any, name: Path | str, track: int | None = None) -> Chosen:
    """Choose a video track: by number, or the one with the most pictures.

    For a file the pictures are counted up to a limit; beyond it the declared numbers count too. For a live stream the
    declared rates are compared. If the numbers are about equal, the larger picture wins, then the first track. Album
    covers are ignored.

    Args:
        container: opened by PyAV, not yet read; closed on error.
        name: the path of a file, or the printable name of a live source.
        track: track number from 1; None for the one with the most pictures.

    Raises:
        ClapError: there is no video, or no such track.
    """
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    readable = [stream for stream in streams if stream.codec_context is not None]
    try:
        if not readable:
            if not container.streams:
                raise ClapError(f"{name}: contains no stream; the file is truncated or damaged, copy it again")
            raise ClapError(f"{name}: contains no video stream; give a file with a moving picture")
        if track is not None:
            chosen = _numbered(streams, name, track)
        elif len(readable) == 1:
            chosen = readable[0]
        else:
            chosen = _with_most(readable, _pictures(readable, name))
    except ClapError:
        container.close()
        raise
    chosen.codec_context.thread_count = 1
    if len(streams) == 1:
        return Chosen(chosen)
    others = len(streams) - 1
    left = "the other one is" if others == 1 else f"the {others} others are"
    return Chosen(
        chosen,
        f"track {streams.index(chosen) + 1} of {len(streams)} video tracks is read "
        f"({chosen.codec_context.width} x {chosen.codec_context.height}), {left} left out; --track N chooses",
    )


def _numbered(streams: Sequence[Any], name: Path | str, track: int) -> Any:
    if track > len(streams):
        count = "1 video track" if len(streams) == 1 else f"{len(streams)} video tracks"
        raise ClapError(f"{name}: has {count}, so there is no track {track}; give --track 1 to {len(streams)}")
    if streams[track - 1].codec_context is None:
        raise ClapError(f"{name}: the format of video track {track} cannot be decoded; choose another track")
    return streams[track - 1]


def _with_most(streams: Sequence[Any], pictures: Sequence[float]) -> Any:
    most = max(pictures)
    equal = [stream for stream, count in zip(streams, pictures, strict=True) if count >= _SAME * most]
    return max(equal, key=lambda stream: stream.codec_context.width * stream.codec_context.height)  # on ties, the first


def _pictures(streams: Sequence[Any], name: Path | str) -> list[float]:
    """Number of pictures of each track, or pictures per second for a live source; only the ratios matter."""
    if not isinstance(name, Path):
        # a track without a picture so far has no size
        return [_rate(stream) if stream.codec_context.width else 0.0 for stream in streams]
    counted, whole = _counted(name, [stream.index for stream in streams])
    stated = [_stated(stream) for stream in streams]
    if whole or not all(stated):
        return [float(count) for count in counted]
    return [float(max(pair)) for pair in zip(counted, stated, strict=True)]


def _rate(stream: Any) -> float:
    rate = stream.average_rate
    return float(rate) if rate and rate < 1000 else 1.0


def _stated(stream: Any) -> int:
    """Declared number of pictures of a track; 0 if the file declares none."""
    if stream.frames:
        return int(stream.frames)
    told = next((text for key, text in stream.metadata.items() if key.upper().startswith("NUMBER_OF_FRAMES")), "")
    return int(told) if told.isascii() and told.isdigit() else 0


def _counted(path: Path, indices: Sequence[int]) -> tuple[list[int], bool]:
    """Number of non-empty packets of each track, up to a limit, and whether the file ends before the limit."""
    import av

    counts, size = dict.fromkeys(indices, 0), 0
    try:
        with open_file(path) as container:
            for number, packet in enumerate(container.demux(container.streams.video)):
                size += packet.size
                if packet.size and packet.stream_index in counts:
                    counts[packet.stream_index] += 1
                if number >= _COUNTED_PACKETS or size >= _COUNTED_BYTES:
                    return list(counts.values()), False
    except (av.FFmpegError, ValueError):
        pass  # damaged: packets before the damage count
    return list(counts.values()), True
