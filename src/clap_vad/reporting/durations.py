"""Formatting of times and sizes."""

from __future__ import annotations

import math

__all__ = ["byte_size", "clock", "duration", "moment"]


def clock(seconds: float, *, tenths: bool = True) -> str:
    """Format a time in a video: ``mm:ss.s``, or ``h:mm:ss.s`` from one hour.

    >>> clock(75.26), clock(3661, tenths=False), clock(59.96)
    ('01:15.3', '1:01:01', '01:00.0')
    """
    units = 10 if tenths else 1
    ticks = math.floor(max(seconds, 0.0) * units + 0.5)
    whole, tenth = divmod(ticks, units)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"
    return f"{text}.{tenth}" if tenths else text


def moment(frame: int, fps: float | None, seconds: float | None = None) -> str:
    """Format a frame's time as ``mm:ss.s``: from ``seconds``, else from the rate; without both, the frame number.

    >>> moment(750, 25.0), moment(750, 25.0, 31.5), moment(750, None)
    ('00:30.0', '00:31.5', 'frame 750')
    """
    if seconds is not None:
        return clock(seconds)
    return clock(frame / fps) if fps else f"frame {frame}"


def duration(seconds: float) -> str:
    """Format a duration.

    >>> duration(0.42), duration(75), duration(7260)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def byte_size(count: float) -> str:
    """Format a number of bytes with powers of 1000.

    >>> byte_size(812), byte_size(4_260_000), byte_size(999_999)
    ('812 B', '4.3 MB', '1.0 MB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    power = min(int(math.log10(count) / 3), 4)
    if round(count / 1000**power, 1) >= 1000 and power < 4:
        power += 1
    return f"{count / 1000**power:.1f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
