"""Packets of files and streams: look-ahead, and joining of packets that belong to one picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["FilePackets", "copied", "sent_at", "whole_pictures"]

_SEEN_FIRST = 600  # most packets, and
_MOST_SEEN = 32 << 20  # most bytes at the start of a file from which the frame rate is estimated


def whole_pictures(packets: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Join packets with the same time stamp: encoders send a picture in slices, which decoders take for pictures.

    A packet is yielded after the next one has arrived, as only then it is complete.

    Args:
        packets: (arrival time, packet). The first packet may lack its time stamp: if it and the second both contain a
            key frame, it is part of the second; otherwise it gets a time before the second.

    Yields:
        (arrival time of the first part, packet).
    """
    held: list[tuple[float, Any]] = []
    first = True
    for when, packet in packets:
        if held and not _one_picture(held[-1][1], packet, first):
            whole = _joined([part for _, part in held])
            yield held[0][0], _timed(whole, packet) if first else whole
            held, first = [], False
        held.append((when, packet))
    if held:
        yield held[0][0], _joined([part for _, part in held])


def _one_picture(before: Any, packet: Any, first: bool) -> bool:
    if packet.pts is None or not packet.size:
        return False
    return before.pts == packet.pts or (
        first and before.pts is None and bool(before.is_keyframe and packet.is_keyframe)
    )


def _timed(packet: Any, following: Any) -> Any:
    """The packet; if it has no time stamp, it gets one before the following packet, as clips need one."""
    if packet.pts is not None or following.pts is None:
        return packet
    timed = copied(packet)
    timed.pts = timed.dts = following.pts - (following.duration or 1)
    timed.stream = packet.stream
    return timed


def copied(packet: Any, data: bytes | None = None) -> Any:
    """A copy of a packet with the same times, and the same data or ``data``."""
    import av

    made = av.Packet(bytes(packet) if data is None else data)
    made.time_base, made.duration, made.is_keyframe = packet.time_base, packet.duration, packet.is_keyframe
    made.pts, made.dts = packet.pts, packet.dts
    return made


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    joined = copied(parts[-1], b"".join(bytes(part) for part in parts))
    joined.is_keyframe = any(part.is_keyframe for part in parts)
    joined.stream = parts[-1].stream
    return joined


class FilePackets:
    """The packets of a file, with look-ahead at its start.

    Attributes:
        count: number of non-empty packets taken so far.
    """

    def __init__(self, demuxer: Iterator[Any]) -> None:
        self.count = 0
        self._demuxer, self._seen = demuxer, deque[Any]()
        self._error: Exception | None = None

    def look_ahead(self) -> list[Any]:
        """Some packets from the start. An error among them is raised when iteration reaches it."""
        size = 0
        while len(self._seen) < _SEEN_FIRST and size < _MOST_SEEN:
            try:
                self._seen.append(next(self._demuxer))
            except StopIteration:
                break
            except Exception as error:
                self._error = error
                break
            size += self._seen[-1].size
        return list(self._seen)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._seen and self._error is not None:
            error, self._error = self._error, None
            raise error
        packet = self._seen.popleft() if self._seen else next(self._demuxer)
        self.count += packet.size > 0
        return packet


def sent_at(packet: Any) -> float | None:
    """Decoding time of a packet in seconds; None if it is empty or has none."""
    own = packet.dts if packet.dts is not None else packet.pts
    return float(own * packet.time_base) if own is not None and packet.size else None
