"""Packets of a stream, put together where one picture came in several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["copied", "whole_pictures"]


def whole_pictures(packets: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Packets of one time stamp as one: encoders send a picture in slices, and a decoder makes of each a picture.

    A packet is given out when the next one has come, for only then it is known to be whole.

    Args:
        packets: (when it arrived, packet); the first may lack its time, it is then part of the second.

    Yields:
        (when its first part arrived, packet).
    """
    held: list[tuple[float, Any]] = []
    first = True
    for when, packet in packets:
        before = held[-1][1].pts if held else None
        same = held and packet.pts is not None and (before == packet.pts or (first and before is None))
        if held and not same:
            yield held[0][0], _joined([part for _, part in held])
            held, first = [], False
        held.append((when, packet))
    if held:
        yield held[0][0], _joined([part for _, part in held])


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
