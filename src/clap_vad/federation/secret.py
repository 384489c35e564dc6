"""A site's secret for a run; it never leaves the site."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ..errors import ClapError

__all__ = ["SECRET", "site_secret"]

SECRET = "privacy.key"
"""Its file in the run's folder at the site."""
_BYTES = 32


def site_secret(folder: Path) -> bytes:
    """The secret in this folder, made if there is none; only its owner can read it.

    Raises:
        ClapError: the file has the wrong length.
    """
    file = folder / SECRET
    if not file.exists():
        fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(secrets.token_bytes(_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, file)  # the whole file, or none
        fresh.unlink()
    secret = file.read_bytes()
    if len(secret) != _BYTES:
        raise ClapError(f"{file}: not the secret of a run; restore it, or begin another run")
    return secret
