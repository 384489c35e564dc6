"""Operations on ``.npy`` files that numpy does not offer: reading only the header, and growing files."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np

from ...errors import ClapError
from ...persistence import ArrayHeader, read_array_header

__all__ = ["HEADER_BYTES", "GrowingFile", "map_npy", "npy_header", "read_npy_header"]

HEADER_BYTES = 128


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Header of a row-major ``.npy`` (version 1.0), always :data:`HEADER_BYTES` bytes, so that it can be rewritten.

    >>> import io
    >>> file = io.BytesIO(npy_header(np.dtype("<f4"), (1, 2)) + np.array([[1, 2]], "<f4").tobytes())
    >>> np.load(file)
    array([[1., 2.]], dtype=float32)
    """
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}).encode()
    prefix = np.lib.format.magic(1, 0) + (HEADER_BYTES - 10).to_bytes(2, "little")
    return prefix + text.ljust(HEADER_BYTES - 11) + b"\n"


def read_npy_header(file: Path, kinds: str = "fiu") -> ArrayHeader:
    """Read the header of a ``.npy`` file of numbers, without its data.

    Args:
        file: the file.
        kinds: numpy's letters of the allowed types of numbers.

    Raises:
        ClapError: the file is missing, not a ``.npy``, shorter than its shape needs, or contains anything but numbers.
    """
    try:
        with file.open("rb") as handle:
            header = read_array_header(handle)
            size = os.fstat(handle.fileno()).st_size
    except FileNotFoundError:
        raise ClapError(f"{file}: no such file") from None
    except ValueError as error:
        raise ClapError(f"{file}: not a readable .npy array ({' '.join(str(error).split())})") from None
    if header.dtype.kind not in kinds:
        raise ClapError(f"{file}: contains {header.dtype} values; give plain numbers (objects are never unpickled)")
    if size < header.size:
        shape = header.shape
        raise ClapError(
            f"{file}: not a readable .npy array: truncated, {size} bytes but its shape {shape} needs {header.size}; "
            "copy it again"
        )
    return header


def map_npy(file: Path, kinds: str = "fiu") -> np.ndarray:
    """Read-only memory map of a ``.npy`` file of numbers; arguments and errors as in :func:`read_npy_header`."""
    header = read_npy_header(file, kinds)
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype)
    order = "F" if header.fortran_order else "C"
    return np.memmap(file, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload]  # order is a plain str here


class GrowingFile:
    """A file for appending, locked against a second writer; it can be truncated to a known length.

    A full disk raises :class:`ClapError` that names the file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise ClapError(f"{file}: another process writes this file; wait for it or choose another --out") from None
        self.size = os.fstat(self._handle).st_size

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``."""
        self._write_at(data, self.size)
        self.size += len(data)

    def overwrite(self, data: bytes) -> None:
        """Replace the first ``len(data)`` bytes."""
        self._write_at(data, 0)
        self.size = max(self.size, len(data))

    def truncate(self, size: int) -> None:
        """Truncate the file to ``size`` bytes."""
        os.ftruncate(self._handle, size)
        self.size = size

    def sync(self) -> None:
        """Flush everything written so far to disk, so that it survives a power cut."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """Close the file and release its lock; data that was not synced may be lost."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _write_at(self, data: bytes | memoryview, position: int) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._handle, view, position)
                view, position = view[written:], position + written
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return ClapError(
                f"{self.file}: {os.strerror(error.errno)}; free space and repeat the command, finished videos are kept"
            )
        return error
