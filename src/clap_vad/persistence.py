"""Atomic writes: a file is written under a temporary name, flushed to disk, then renamed. Safe reads of arrays."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from .errors import ClapError

__all__ = [
    "UNREADABLE",
    "ArrayHeader",
    "NpzArrays",
    "append_line",
    "atomic_path",
    "file_sha256",
    "fsync_folder",
    "held_file",
    "load_arrays",
    "locked_folder",
    "open_npz",
    "read_array_header",
    "read_json",
    "read_json_lines",
    "save_arrays",
    "save_npz",
    "write_bytes",
    "write_json",
    "write_text",
]


UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""Exceptions raised when a damaged ``.npz`` or one of its entries is read."""

_LONGEST_HEADER = 1 << 16  # bytes; the header of a plain array has about 100
_LARGEST_ENTRY = 1 << 30  # bytes of one array in an .npz; we store one number per frame or segment of a video
_ENCRYPTED = 0x61  # flag bits of a zip entry: encrypted, patched, strongly encrypted
_STRONGEST_DEFLATE = 1032  # highest compression ratio that the deflate format allows


def fsync_folder(folder: Path) -> None:
    """Flush the folder's entries to disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder. On success it is flushed and renamed to ``path``, otherwise removed.

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
        with contextlib.suppress(OSError):  # an unusable folder has raised its own error already
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put ``path`` into an OSError: a full disk is reported without a name, a failed rename with the temporary one."""
    try:
        yield
    except OSError as error:
        foreign = error.filename is not None and not str(error.filename).endswith(".tmp")
        if error.errno is None or foreign:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def append_line(path: Path, line: str, durable: bool = False) -> None:
    """Append a line to a text file. An incomplete last line (after a kill or a full disk) is ended first.

    With ``durable`` the line is flushed to disk before the function returns.
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
    """Lock a file for this process, creating it if needed. Waits while another process holds the lock.

    Use it to read and then append, so that two processes never append at once. The lock ends with the process.
    """
    with _naming(path), path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_folder(folder: Path, remedy: str = "wait for it or choose another --out") -> Iterator[None]:
    """Lock a folder for this process. Raises :class:`ClapError` with the remedy if another process holds the lock.

    The lock is on the folder itself: it leaves no file and ends with the process.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClapError(f"{folder}: another process is using this folder; {remedy}") from None
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
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ClapError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise ClapError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise ClapError(f"{path}: not a UTF-8 text file") from None
    except (ValueError, RecursionError) as error:  # numbers with thousands of digits, thousands of nested brackets
        raise ClapError(f"{path}: this JSON cannot be read ({error})") from None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file that has one a line; none where there is no file.

    A line that is no object is left out: a kill has torn it while it was written.
    """
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [content for content in found if isinstance(content, dict)]


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays atomically in the safetensors format, which cannot contain code."""
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    write_bytes(path, save(ordered, metadata=dict(metadata) if metadata else None))


def save_npz(path: Path, arrays: Mapping[str, np.ndarray], compress: bool = False) -> None:
    """Write an ``.npz`` atomically. Equal arrays give equal bytes; every name is allowed.

    numpy's ``savez`` takes names as keyword arguments, so a video named ``file`` would break it.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its fixed date keeps the bytes equal
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as handle:
                np.lib.format.write_array(handle, np.asanyarray(array), allow_pickle=False)


@dataclass(frozen=True)
class ArrayHeader:
    """The header of an array in the ``.npy`` format.

    Attributes:
        shape, dtype, fortran_order: of the array.
        offset: bytes before the data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int

    @property
    def size(self) -> int:
        """Bytes of header and data together."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_array_header(handle: IO[bytes]) -> ArrayHeader:
    """Read the header at the start of ``handle``. Reads no data and allocates no memory for the declared size.

    Raises:
        ValueError: not an ``.npy`` of version 1.0 or 2.0, an impossible shape, or an array of Python objects (never
            unpickled).
    """
    start = handle.read(8)
    if start[:6] != np.lib.format.MAGIC_PREFIX or tuple(start[6:]) not in ((1, 0), (2, 0)):
        raise ValueError("it is not a .npy of version 1.0 or 2.0")
    counted = handle.read(2 if start[6] == 1 else 4)
    length = int.from_bytes(counted, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header declares {length} bytes, the limit is {_LONGEST_HEADER}")
    header = io.BytesIO(start + counted + handle.read(length))
    version = np.lib.format.read_magic(header)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(header)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:  # raised when the header text is parsed
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("it contains Python objects, which are never unpickled")
    largest = np.iinfo(np.intp).max
    if min(shape, default=0) < 0 or math.prod(n for n in shape if n) * max(1, dtype.itemsize) > largest:
        raise ValueError(f"the shape {shape} is impossible")
    return ArrayHeader(shape, dtype, fortran_order, header.tell())


class NpzArrays(Mapping[str, np.ndarray]):
    """The plain arrays of an open ``.npz``. Each is read on access, after its header was checked.

    Access may raise :data:`UNREADABLE`, or :class:`ClapError` if the header declares more bytes than the file contains
    or more than 1 GiB. Nothing is unpickled.

    Attributes:
        files: names of the arrays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        self.files = [name.removesuffix(".npy") for name in self._archive.namelist()]

    def header(self, name: str) -> ArrayHeader:
        """The checked header of an array; its data is not read."""
        member = self._member(name)
        if member.flag_bits & _ENCRYPTED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"'{name}' is encrypted or uses a compression that numpy does not use")
        with self._opened(member) as handle:
            header = read_array_header(handle)
        packed = min(member.compress_size, self._path.stat().st_size)
        holds = packed if member.compress_type == zipfile.ZIP_STORED else (packed + 1) * _STRONGEST_DEFLATE
        if header.size > min(member.file_size, holds):
            raise ClapError(
                f"{self._path}: '{name}' declares {header.size} bytes but the file contains at most "
                f"{min(member.file_size, holds)} of them; the file is damaged or malicious, download it again"
            )
        if header.size > _LARGEST_ENTRY:
            raise ClapError(
                f"{self._path}: '{name}' has {header.size} bytes, the limit is {_LARGEST_ENTRY}; give one number per "
                "frame or segment"
            )
        return header

    def __getitem__(self, name: str) -> np.ndarray:
        self.header(name)
        with self._opened(self._member(name)) as handle:
            array: np.ndarray = np.lib.format.read_array(handle, allow_pickle=False)
        return array

    def _opened(self, member: zipfile.ZipInfo) -> IO[bytes]:
        try:
            return self._archive.open(member)
        except zipfile.BadZipFile as error:
            if "Overlapped" not in str(error):
                raise
            # Some releases of Python check the table of contents themselves.
            raise ClapError(f"{self._path}: not a readable archive ({error}); download it again") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _member(self, name: str) -> zipfile.ZipInfo:
        for stored in (f"{name}.npy", name):
            if stored in self._archive.NameToInfo:
                return self._archive.getinfo(stored)
        raise KeyError(name)


def open_npz(path: Path, content: str) -> NpzArrays:
    """Open an ``.npz`` of plain arrays. Its entries are checked and read on access.

    Args:
        path: the file.
        content: the expected content, for the error message.

    Raises:
        ClapError: missing, damaged, or no ``.npz``.
    """
    if not path.exists():
        raise ClapError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ClapError(f"{path}: not a readable .npz of {content}; the file is damaged or has another format")
    try:
        return NpzArrays(path)
    except UNREADABLE as error:
        raise ClapError(f"{path}: not a readable .npz of {content} ({error})") from None


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a file written by :func:`save_arrays`; raises :class:`ClapError` if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ClapError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise ClapError(f"{path}: damaged safetensors file ({error})") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. The file is read in blocks of bounded size."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
