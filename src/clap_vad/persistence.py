"""Files that are either whole or absent: written beside, flushed to disk, then renamed into place."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from .errors import ClapError

__all__ = [
    "UNREADABLE",
    "append_line",
    "atomic_path",
    "file_sha256",
    "fsync_folder",
    "held_file",
    "load_arrays",
    "locked_folder",
    "open_npz",
    "read_json",
    "save_arrays",
    "save_npz",
    "write_bytes",
    "write_json",
    "write_text",
]


UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged ``.npz``, or an entry of one, can raise."""


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename just done) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; on success it is synced and renamed to ``path``, else removed.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            fsync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # where the folder itself is at fault, that has been said already
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name ``path``: the system reports a full disk without any name, and a failed rename with a temporary one."""
    try:
        yield
    except OSError as error:
        foreign = error.filename is not None and not str(error.filename).endswith(".tmp")
        if error.errno is None or foreign:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def append_line(path: Path, line: str, durable: bool = False) -> None:
    """Add a line to a text file; one that a kill or a full disk has torn before it stays a line of its own.

    ``durable`` returns only once it will survive a loss of power.
    """
    with _naming(path), path.open("ab+") as handle:
        torn = b""
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            torn = b"" if handle.read(1) == b"\n" else b"\n"
        handle.write(torn + line.encode() + b"\n")
        if durable:
            handle.flush()
            os.fsync(handle.fileno())


@contextlib.contextmanager
def held_file(path: Path) -> Iterator[None]:
    """Hold a file, made where there is none, for this process; waits while another one holds it.

    What is read and then appended to is so never appended to by two at once. A killed process lets go of it.
    """
    with _naming(path), path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_folder(folder: Path, remedy: str = "wait for it or choose another --out") -> Iterator[None]:
    """Hold a folder for this process; raises :class:`ClapError`, with the remedy, while another one holds it.

    The lock is on the folder itself, so nothing is left behind, and a killed process lets go of it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClapError(f"{folder}: another process is at work in it; {remedy}") from None
        yield
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON; refuses NaN and infinity, which are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises :class:`ClapError` naming the file (and the line) when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClapError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise ClapError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise ClapError(f"{path}: not a UTF-8 text file") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise ClapError(f"{path}: not JSON that can be read ({error})") from None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays atomically in the safetensors format (no code can hide in it)."""
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    write_bytes(path, save(ordered, metadata=dict(metadata) if metadata else None))


def save_npz(path: Path, arrays: Mapping[str, np.ndarray], compress: bool = False) -> None:
    """Write an ``.npz`` atomically; equal arrays give equal bytes, and every name is allowed.

    numpy's own ``savez`` takes names as keyword arguments, so a video called ``file`` would break it.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its fixed date keeps the bytes equal
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as handle:
                np.lib.format.write_array(handle, np.asanyarray(array), allow_pickle=False)


def open_npz(path: Path, content: str) -> np.lib.npyio.NpzFile:
    """Open an ``.npz`` of plain arrays; its entries are read, and may still raise :data:`UNREADABLE`, when asked for.

    Args:
        path: the file.
        content: what it should hold, for the error sentence.

    Raises:
        ClapError: missing, damaged, or no ``.npz``. Nothing is ever unpickled.
    """
    if not path.exists():
        raise ClapError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ClapError(f"{path}: not a readable .npz of {content}; it is damaged, or a file of another kind")
    try:
        opened: np.lib.npyio.NpzFile = np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise ClapError(f"{path}: not a readable .npz of {content} ({error})") from None
    return opened


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`save_arrays` wrote; raises :class:`ClapError` when the file is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ClapError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise ClapError(f"{path}: damaged safetensors file ({error})") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal, read in bounded blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
