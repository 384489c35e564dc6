"""Messages for paths that cannot be read, and for paths that are neither file nor folder."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

__all__ = ["UNREADABLE", "no_file", "unreadable"]

UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV})
"""Error numbers of disk, network and permission faults, as opposed to damaged content."""


def unreadable(error: OSError) -> str:
    """The reason why a file or folder cannot be read, and the remedy.

    >>> unreadable(PermissionError(13, "Permission denied"))
    'you may not read it (Permission denied); change its permissions or leave it out'
    >>> unreadable(OSError(5, "Input/output error"))
    'cannot be read (Input/output error); check the disk or the connection to it'
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return "broken link; repair or remove it"
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"you may not read it ({reason}); change its permissions or leave it out"
    return f"cannot be read ({reason}); check the disk or the connection to it"


def no_file(mode: int) -> str | None:
    """The kind of a path that must not be opened (pipe, socket, device); None for a file or folder."""
    kinds: tuple[tuple[Callable[[int], bool], str], ...] = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((what for test, what in kinds if test(mode)), None)
