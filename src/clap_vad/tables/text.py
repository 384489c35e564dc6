"""Decoding of text files saved by editors and spreadsheets."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from ..errors import ClapError

__all__ = ["decode_text", "read_text", "split_lines"]

_MARKS = (  # longer marks first: the mark of UTF-32 starts with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_REMEDY = "save it as UTF-8 text (in a spreadsheet: 'CSV UTF-8')"
_LINE_END = re.compile(r"\r\n|\n|\r")


def read_text(file: Path, remedy: str = _REMEDY) -> str:
    """Read a text file: UTF-8, or UTF-16 or UTF-32 with a byte-order mark.

    Other encodings are refused, not guessed: a wrong guess would change names.

    Args:
        file: the file.
        remedy: what to do if the encoding is wrong; the end of the error message.

    Raises:
        ClapError: the file is missing, cannot be opened, or has another encoding. Names the line.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ClapError(f"{file}: no such file") from None
    except OSError as error:
        raise ClapError(f"{file}: cannot be read ({error.strerror or error}); give a readable text file") from None
    return decode_text(str(file), content, remedy)


def decode_text(place: str, content: bytes, remedy: str = _REMEDY) -> str:
    """As :func:`read_text`, for bytes; error messages start with ``place``.

    >>> decode_text("t.csv", "Tür".encode("utf-16"))
    'Tür'
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(encoding, "replace")
        raise ClapError(f"{place}: line {_line_of(before, len(before))}: not a UTF-8 text file; {remedy}") from None
    if "\0" in text:
        line = _line_of(text, text.index("\0"))
        raise ClapError(f"{place}: line {line}: contains a NUL byte, so it is not a UTF-8 text file; {remedy}")
    return text


def split_lines(text: str) -> list[str]:
    """Split a text at the line ends of Windows, Unix and old Macs.

    >>> split_lines("a\\r\\nb\\rc\\n")
    ['a', 'b', 'c', '']
    """
    return _LINE_END.split(text)


def _line_of(text: str, position: int) -> int:
    return len(_LINE_END.findall(text, 0, position)) + 1
