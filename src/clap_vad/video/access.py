"""Files and folders that this user or this disk does not let us read, and what is no file at all."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

__all__ = ["UNREADABLE", "no_file", "unreadable"]

UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV})
"""Faults of the disk, of the network to it, or of permissions: not of what the file holds."""


def unreadable(error: OSError) -> str:
    """Why a file or folder cannot be read, and what to do about it.

    >>> unreadable(PermissionError(13, "Permission denied"))
    'this user may not read it (Permission denied); change its permissions, or leave it out'
    >>> unreadable(OSError(5, "Input/output error"))
    'cannot be read (Input/output error); check the disk or the connection to it'
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return "a link that leads to no file; mend or remove it"
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not read it ({reason}); change its permissions, or leave it out"
    return f"cannot be read ({reason}); check the disk or the connection to it"


def no_file(mode: int) -> str | None:
    """What something is that is neither file nor folder, and is not to be opened; None for a file and a folder."""
    kinds: tuple[tuple[Callable[[int], bool], str], ...] = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((what for test, what in kinds if test(mode)), None)
