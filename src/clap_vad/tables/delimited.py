"""Tables with a header line, as written by spreadsheets, scripts and people.

The separator (comma, semicolon, tab or ``|``) is found from the header. Column names are compared without case and
surrounding blanks. An invalid cell is refused with its line and column; nothing is skipped silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ClapError
from .text import read_text, split_lines

__all__ = ["Row", "parse_number", "parse_table", "read_table"]

_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "'|'"}
_BLANKS = " \t\xa0"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: number of its first line in the file, from 1.
        values: value by known column, without surrounding blanks; "" if empty.
    """

    line: int
    values: dict[str, str]


def read_table(file: Path, known: Sequence[str], required: Sequence[str], *, others: bool = False) -> list[Row]:
    """Read a table. Columns may have any order; empty rows are skipped.

    Args:
        file: UTF-8 text, or UTF-16 with a byte-order mark.
        known: names of the known columns, lower case.
        required: names of the required columns.
        others: ignore unknown columns instead of refusing them.

    Raises:
        ClapError: the file is not readable text; a column is missing, unknown, duplicate, or has values but no name;
            a row has too many values or another separator; a quote is not closed. Names file, line and remedy.
    """
    return parse_table(str(file), read_text(file), known, required, others=others)


def parse_table(
    place: str, text: str, known: Sequence[str], required: Sequence[str], *, others: bool = False
) -> list[Row]:
    """As :func:`read_table`, for a text; error messages start with ``place``.

    >>> parse_table("t.csv", 'Video;Split\\r\\n"a ; b"; train\\r\\n;;\\r\\n', ["video", "split"], ["video"])
    [Row(line=2, values={'video': 'a ; b', 'split': 'train'})]
    """
    lines = split_lines(text)
    first = next((k for k, line in enumerate(lines) if line.strip(_BLANKS + ",;|")), len(lines))
    separator = _stated_separator(lines[first]) if first < len(lines) else None
    if separator:
        first += 1
    if first >= len(lines):
        raise ClapError(f"{place}: header is ''; header must be {','.join(known)!r}")
    separator = separator or _separator(place, lines, first, known)
    records = _records(place, lines, first, separator)
    head_line, head = next(records)
    columns = _columns(f"{place}: line {head_line}", head, known, required, separator, others)
    rows = []
    for line, fields in records:
        if not any(fields):
            continue
        _check_width(f"{place}: line {line}", fields, head, columns, separator)
        values = dict.fromkeys(known, "")
        values.update((columns[k], value) for k, value in enumerate(fields[: len(columns)]) if columns[k] in values)
        rows.append(Row(line, values))
    return rows


def parse_number(text: str) -> float:
    """A number with a decimal point or a decimal comma; raises ValueError for anything else.

    >>> parse_number("29.97"), parse_number("29,97")
    (29.97, 29.97)
    """
    return float(text.replace(",", ".") if "." not in text and text.count(",") == 1 else text)


def _stated_separator(line: str) -> str | None:
    """The separator declared by a first line such as ``sep=;`` (a convention of Excel)."""
    word = line.strip(" \"'")
    if len(word) >= 5 and word[:4].lower() == "sep=" and word[4] in _SEPARATORS and not word[5:].strip(_BLANKS + ",;|"):
        return word[4]
    return None


def _separator(place: str, lines: list[str], first: int, known: Sequence[str]) -> str:
    """The separator with which the header names the most known columns."""

    def hits(separator: str) -> int:
        _, head = next(_records(place, lines, first, separator))
        return len({_name(field) for field in head} & set(known))

    found = {separator: hits(separator) for separator in _SEPARATORS if separator in lines[first]}
    return max(found, key=lambda separator: found[separator], default=",")


def _name(field: str) -> str:
    return " ".join(field.split()).lower()


def _columns(
    place: str, head: Sequence[str], known: Sequence[str], required: Sequence[str], separator: str, others: bool
) -> list[str]:
    """The column names of the header."""
    columns = [_name(field) for field in head]
    while columns and not columns[-1]:
        columns.pop()
    needed = ",".join(known)
    if absent := [name for name in required if name not in columns]:
        if not set(known) & set(columns):
            raise ClapError(f"{place}: header is {separator.join(head)!r}; header must be {needed!r}")
        _check_separators(place, columns, known)
        raise ClapError(f"{place}: column '{absent[0]}' is missing; header must be {needed!r}")
    for k, name in enumerate(columns):
        if name in columns[:k] and (name in known or not others) and name:
            raise ClapError(
                f"{place}: column '{head[k]}' is there twice (columns {columns.index(name) + 1} and {k + 1})"
                "; remove one of them"
            )
    unknown = [head[k] for k, name in enumerate(columns) if name and name not in known]
    if unknown and not others:
        _check_separators(place, columns, known)
        named = ", ".join(f"'{name}'" for name in unknown)
        raise ClapError(
            f"{place}: unknown column{'s' * (len(unknown) > 1)} {named}; known columns: {needed}; correct the name or "
            "remove the column"
        )
    return columns


def _check_separators(place: str, columns: Sequence[str], known: Sequence[str]) -> None:
    for name in columns:
        for other in _SEPARATORS:
            if other in name and {part.strip() for part in name.split(other)} & set(known):
                raise ClapError(f"{place}: {name!r} mixes separators; use only comma, only semicolon or only tab")


def _check_width(
    place: str, fields: Sequence[str], head: Sequence[str], columns: Sequence[str], separator: str
) -> None:
    """Refuse a row that has values without a column or uses another separator."""
    width = len(columns)
    for k, value in enumerate(fields):
        if value and k >= width:
            raise ClapError(
                f"{place}: {len(fields)} values but {width} columns (first extra value: {value[:40]!r}); put a value "
                f"that contains a {_NAMES[separator]} into double quotes, or name the column"
            )
        if value and not columns[k]:
            raise ClapError(f"{place}: {value[:40]!r} is in column {k + 1}, which has no name; name it in the header")
    for other in _SEPARATORS:
        if other != separator and len(fields) < width <= len(fields) + sum(value.count(other) for value in fields):
            raise ClapError(
                f"{place}: the values are separated by {_NAMES[other]}, the header by {_NAMES[separator]}; "
                "use the same separator in all lines"
            )


def _records(place: str, lines: list[str], first: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and values of each record, starting at line index ``first``. A quoted value may span lines."""
    k = first
    while k < len(lines):
        start, line = k, lines[k]
        k += 1
        if '"' not in line:  # fast path for nearly all lines
            yield start + 1, [field.strip(_BLANKS) for field in line.split(separator)]
            continue
        fields: list[str] = []
        position = 0
        while position <= len(line):
            while position < len(line) and line[position] in _BLANKS and line[position] != separator:
                position += 1
            if line[position : position + 1] == '"':
                opened, position, value = k, position + 1, ""
                while True:
                    end = line.find('"', position)
                    if end < 0 and k < len(lines):
                        line, k = f"{line}\n{lines[k]}", k + 1
                        continue
                    if end < 0:
                        raise ClapError(f"{place}: line {opened}: a double quote is never closed; close it")
                    value += line[position:end]
                    position = end + 1
                    if line[position : position + 1] != '"':
                        break
                    value, position = value + '"', position + 1
                while position < len(line) and line[position] in _BLANKS and line[position] != separator:
                    position += 1
                if position < len(line) and line[position] != separator:
                    raise ClapError(
                        f"{place}: line {opened}: there is text after a closing double quote "
                        f"({line[position : position + 20]!r}); close the quote at the end of its value"
                    )
                end = position
            else:
                end = line.find(separator, position)
                end = len(line) if end < 0 else end
                value = line[position:end]
            fields.append(value.strip(_BLANKS + "\n"))
            position = end + 1
        yield start + 1, fields
