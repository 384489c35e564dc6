"""Packets of a stream, put together where one picture came in several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["copied", "whole_pictures"]


def whole_pictures(packets: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Packets of one time stamp as one: encoders send a picture in slices, and a decoder makes of each a picture.

    A packet is given out when the next one has come, for only then it is known to be whole.

    Args:
        packets: (when it arrived, packet); the first may lack its time. Where both it and the second hold a key frame,
            it is part of the second; else it gets the time before that of the second.

    Yields:
        (when its first part arrived, packet).
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
    """The packet, at the time before the following one if it has none: a clip could not hold it without."""
    if packet.pts is not None or following.pts is None:
        return packet
    timed = copied(packet)
    timed.pts = timed.dts = following.pts - (following.duration or 1)
    timed.stream = packet.stream
    return timed


def copied(packet: Any, data: bytes | None = None) -> Any:
    """A packet of its own with the times of another, and its data or other ones."""
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
