"""Checks of symbolic links in folders that others may have filled."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["leads_out"]


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path below ``folder`` is a link to a target outside it; the target need not exist.

    A link to itself does not lead out.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "everything").symlink_to("/"), (folder / "round").symlink_to(folder)
    (None, None)
    >>> leads_out(folder / "everything", folder), leads_out(folder / "round", folder)
    (True, False)
    """
    if not path.is_symlink():
        return False
    inside = os.path.realpath(folder)
    return os.path.commonpath((inside, os.path.realpath(path))) != inside
