"""One strict reader of JSON records: a pydantic model says what a record holds, and every fault is one sentence.

A record is a class derived from :class:`Record`. Its values are read as they stand: the text ``"3"`` is no number,
``true`` is no whole number, NaN and infinity are refused, and so is a key that the record does not have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

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
    clap_vad.errors.ClapError: camera.json: 'fps' must be above 0.0; correct it, or put the original file back
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


R = TypeVar("R", bound=BaseModel)


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


def record_from(content: Any, model: type[R], where: str, error: type[ClapError] = ClapError) -> R:
    """The record that JSON from elsewhere holds.

    Args:
        content: bytes of JSON in UTF-8, or the value that such bytes were parsed to.
        model: what it must be.
        where: begins the error sentence: where the JSON is from.
        error: class of the error to raise.

    Raises:
        ClapError: of the given class; it is no JSON, or not the record.
    """
    try:
        # validated as JSON, not as objects of Python: only there may a list stand for a tuple
        return model.model_validate_json(content if isinstance(content, bytes) else json.dumps(content))
    except ValidationError as found:
        raise error(f"{where}: {fault_of(found, model)}") from None


def fault_of(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault that validation found, in words: the key, what it must be, what to do."""
    first = error.errors(include_url=False)[0]
    kind, place, context = first["type"], first["loc"], first.get("ctx", {})
    what, remedy = _what(model), getattr(model, "remedy", Record.remedy)
    key, words = _key(place), _expected(model, place)
    if kind == "json_invalid":
        return f"not valid JSON ({context['error']}); {remedy}"
    if not place:
        return str(context["error"]) if kind == "value_error" else f"not {what}; {remedy}"
    if kind == "value_error":
        return f"{key} {context['error']}"
    if kind == "missing":
        return f"not {what}: the entry {key} is missing; {remedy}"
    if kind == "extra_forbidden":
        known = f", known are {', '.join(model.model_fields)}" if len(place) == 1 else ""
        return f"{key} is not an entry of {what}; remove it{known}"
    if place == ("format",):
        reads = words or context.get("expected", "another")
        return f"not {what} of this release: its format is {_short(first['input'])}, and this release reads {reads}"
    if words:
        whole = _key(place[:1])
        return f"{whole} must be {words}" + (f"; look at {key}" if key != whole else "")
    values = {"input": _short(first["input"]), "message": first["msg"], **context}
    return f"{key} {_IN_WORDS.get(kind, 'cannot be read ({message})').format_map(values)}; {remedy}"


_IN_WORDS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object, in braces",
    "model_type": "must be an object, in braces",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}, not {input}",
}
"""Faults by the name that pydantic gives them, in our words; of any other one we give pydantic's message."""


def _key(place: tuple[int | str, ...]) -> str:
    """A place as it is written in a sentence: ``'maximum_spent.video'``, ``'schemas[0]'``."""
    named = [part for part in place if part != "[key]"]  # pydantic's mark of a key that is at fault itself
    return "'" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).lstrip(".") + "'"


def _what(model: type[BaseModel]) -> str:
    return str(getattr(model, "what", Record.what))


def _expected(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """What the model says, in words, that its entry must be; nothing where it says nothing."""
    field = model.model_fields.get(str(place[0])) if place else None
    return next((each.words for each in field.metadata if isinstance(each, Expected)), "") if field else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
