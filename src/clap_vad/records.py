"""One strict reader of JSON records: a pydantic model says what a record holds, and every fault is one sentence.

A record is a class derived from :class:`Record`. Its values are read as they stand: the text ``"3"`` is no number,
``true`` is no whole number, NaN and infinity are refused, and so is a key that the record does not have.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .errors import ClapError
from .persistence import read_json

__all__ = ["Expected", "Record", "fault_of", "read_record", "record_from"]


class Record(BaseModel):
    """What every JSON record shares: strict types, no further keys, frozen, finite numbers.

    Attributes:
        what: what a file of this record is, for error sentences, such as ``a site's policy``.
        remedy: what to do about a damaged one; not used for a key whose type says what it must be.

    >>> from pydantic import Field
    >>> class Speed(Record):
    ...     what: ClassVar[str] = "a camera's speed"
    ...     fps: float = Field(gt=0)
    >>> record_from(b'{"fps": 25}', Speed, "camera.json").fps
    25.0
    >>> record_from(b'{"fps": -1}', Speed, "camera.json")
    Traceback (most recent call last):
    clap_vad.errors.ClapError: camera.json: 'fps' must be above 0, not -1; correct it, or put the original file back
    >>> record_from(b'{"fps": 25, "hz": 3}', Speed, "camera.json")
    Traceback (most recent call last):
    clap_vad.errors.ClapError: camera.json: 'hz' is not an entry of a camera's speed; remove it, known are fps
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    what: ClassVar[str] = "the expected record"
    remedy: ClassVar[str] = "correct it, or put the original file back"


class Expected:
    """Says in words what an entry must be: ``Annotated[int, Field(ge=1), Expected("a whole number from 1")]``."""

    def __init__(self, words: str) -> None:
        self.words = words


R = TypeVar("R")
Place = tuple[int | str, ...]
"""Where in a record something stands."""


def read_record(path: Path, model: type[R], largest: int | None = None) -> R:
    """Read a JSON file that holds one record.

    Args:
        path: the file.
        model: what it must hold.
        largest: bytes that it has at most; None for no limit.

    Raises:
        ClapError: missing, too large, no JSON, or not the record; one sentence that names the file, the key and what
            to do.
    """
    if largest is not None and path.is_file() and path.stat().st_size > largest:
        raise ClapError(f"{path}: larger than {largest} bytes, so not {_what(model)}")
    return record_from(read_json(path), model, str(path))


def record_from(
    content: Any, model: type[R], where: str, error: type[ClapError] = ClapError, remedy: str | None = None
) -> R:
    """The record that JSON from elsewhere holds.

    Args:
        content: bytes of JSON in UTF-8, or the value that such bytes were parsed to.
        model: what it must be: a :class:`Record`, or a strict dataclass of pydantic.
        where: begins the error sentence: where the JSON is from.
        error: class of the error to raise.
        remedy: what to do about a damaged one, in place of what the record says.

    Raises:
        ClapError: of the given class; it is no JSON, or not the record.
    """
    key: Any = model
    try:
        # validated as JSON, not as objects of Python: only there may a list stand for a tuple
        read: R = _adapter(key).validate_json(content if isinstance(content, bytes) else json.dumps(content))
        return read
    except ValidationError as found:
        raise error(f"{where}: {fault_of(found, model, remedy=remedy)}") from None
    except ClapError as found:  # a part of it that checks itself
        raise error(f"{where}: {found}") from None


@lru_cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def fault_of(
    error: ValidationError, model: type, key: Callable[[Place], str] | None = None, remedy: str | None = None
) -> str:
    """The first fault that validation found, in words: the key, what it must be, what to do.

    Args:
        error: of validation.
        model: what was validated.
        key: how a place is written; by default as in JSON.
        remedy: in place of what the record says.
    """
    first = error.errors(include_url=False)[0]
    kind, place, context = first["type"], first["loc"], first.get("ctx", {})
    what = _what(model)
    remedy = getattr(model, "remedy", Record.remedy) if remedy is None else remedy
    name, words = (key or _key)(place), _expected(model, place)
    last = f"; {remedy}" if remedy else ""
    if kind == "json_invalid":
        return f"not valid JSON ({context['error']}){last}"
    if not place:
        return str(context["error"]) if kind == "value_error" else f"not {what}{last}"
    if kind == "value_error":
        return f"{name} {context['error']}"
    if kind in ("missing", "missing_argument"):
        return f"not {what}: the entry {name} is missing{last}"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = f", known are {', '.join(_fields(model))}" if len(place) == 1 else ""
        return f"{name} is not an entry of {what}; remove it{known}"
    if place == ("format",):
        reads = words or context.get("expected", "another")
        return f"not {what} of this release: its format is {_short(first['input'])}, and this release reads {reads}"
    if words:
        whole = (key or _key)(place[:1])
        return f"{whole} must be {words}" + (f"; look at {name}" if name != whole else "")
    found = _IN_WORDS[kind].format_map(context) if kind in _IN_WORDS else f"be valid ({first['msg']})"
    return f"{name} must {found}, not {_short(first['input'])}{last}"


_IN_WORDS = {
    "int_type": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be a text",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "dict_type": "be an object, in braces",
    "model_type": "be an object, in braces",
    "dataclass_type": "be an object of {class_name}",
    "dataclass_exact_type": "be an object of {class_name}",
    "finite_number": "be a finite number",
    "greater_than": "be above {gt:g}",
    "greater_than_equal": "be {ge:g} or more",
    "less_than": "be below {lt}",
    "less_than_equal": "be {le:g} or less",
    "too_short": "have {min_length} entries or more",
    "too_long": "have {max_length} entries or fewer",
    "string_too_short": "have {min_length} characters or more",
    "string_too_long": "have {max_length} characters or fewer",
    "string_pattern_mismatch": "match the pattern {pattern}",
    "literal_error": "be {expected}",
}
"""Faults by the name that pydantic gives them, in our words; of any other one we give pydantic's message."""


def _key(place: Place) -> str:
    """A place as it is written in a sentence: ``'maximum_spent.video'``, ``'schemas[0]'``."""
    named = [part for part in place if part != "[key]"]  # pydantic's mark of a key that is at fault itself
    return "'" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).lstrip(".") + "'"


def _what(model: type) -> str:
    return str(getattr(model, "what", Record.what))


def _fields(model: type) -> dict[str, FieldInfo]:
    """The entries of a record, or of a dataclass."""
    return getattr(model, "model_fields", None) or getattr(model, "__pydantic_fields__", {})


def _expected(model: type, place: Place) -> str:
    """What the model says, in words, that its entry must be; nothing where it says nothing."""
    field = _fields(model).get(str(place[0])) if place else None
    return next((each.words for each in field.metadata if isinstance(each, Expected)), "") if field else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
