"""Links among files and folders that others may have filled."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["leads_out"]


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path below ``folder`` is a link to something that does not lie in it, be it there or not.

    A link to itself leads nowhere, and so not out.

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
