"""The strict reader: what is not the record is refused in one sentence that names the file, the key and the remedy."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from clap_vad.errors import ClapError
from clap_vad.federation.checkpoint import Checkpoint, Cohort
from clap_vad.persistence import read_json_lines
from clap_vad.records import Expected, Record, read_record, record_from


class Inner(Record):
    port: Annotated[int, Field(ge=1)]


class Outer(Record):
    what: ClassVar[str] = "a test's record"
    remedy: ClassVar[str] = "put it back"

    format: Literal[1, 2]
    rounds: Annotated[int | None, Field(ge=1), Expected("a whole number from 1, or null")] = None
    names: tuple[str, ...] = ()
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    kind: Literal["video", "crop"] = "video"
    bounds: Annotated[dict[str, dict[str, int]], Expected("{name: {span: number}}")] = Field(default={})
    inner: Inner | None = None


class RefusedError(ClapError):
    pass


def test_a_whole_record_is_read_with_its_types(tmp_path):
    file = tmp_path / "record.json"
    file.write_text('\ufeff{"format": 2, "rounds": 3, "names": ["a", "b"], "rate": 1, "inner": {"port": 80}}')
    found = read_record(file, Outer)
    assert found == Outer(format=2, rounds=3, names=("a", "b"), rate=1.0, inner=Inner(port=80))
    assert type(found.rate) is float
    with pytest.raises(ValueError, match="frozen"):
        found.rounds = 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "not a test's record; put it back"),
        ({}, "not a test's record: the entry 'format' is missing; put it back"),
        ({"format": 3}, "not a test's record of this release: its format is 3, and this release reads 1 or 2"),
        ({"format": 1, "rounds": 0}, "'rounds' must be a whole number from 1, or null"),
        ({"format": 1, "rounds": True}, "'rounds' must be a whole number from 1, or null"),
        ({"format": 1, "rounds": "3"}, "'rounds' must be a whole number from 1, or null"),
        ({"format": 1, "names": ["a", 1]}, "'names[1]' must be a text, not 1; put it back"),
        ({"format": 1, "rate": float("nan")}, "'rate' must be a finite number, not nan; put it back"),
        ({"format": 1, "rate": 1.5}, "'rate' must be 1 or less, not 1.5; put it back"),
        ({"format": 1, "rate": False}, "'rate' must be a number, not False; put it back"),
        ({"format": 1, "kind": "frame"}, "'kind' must be 'video' or 'crop', not 'frame'; put it back"),
        (
            {"format": 1, "bounds": {"a": {"run": "x"}}},
            "'bounds' must be {name: {span: number}}; look at 'bounds.a.run'",
        ),
        ({"format": 1, "inner": {}}, "not a test's record: the entry 'inner.port' is missing; put it back"),
        ({"format": 1, "inner": {"port": 1, "more": 2}}, "'inner.more' is not an entry of a test's record; remove it"),
        (
            {"format": 1, "ruonds": 3},
            "'ruonds' is not an entry of a test's record; remove it, "
            "known are format, rounds, names, rate, kind, bounds, inner",
        ),
    ],
)
def test_every_fault_is_one_sentence(content, sentence, tmp_path):
    file = tmp_path / "record.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ClapError) as error:
        read_record(file, Outer)
    assert str(error.value) == f"{file}: {sentence}"
    with pytest.raises(RefusedError) as error:
        record_from(json.dumps(content).encode(), Outer, "the agreement", RefusedError)
    assert str(error.value) == f"the agreement: {sentence}"


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"\xff{}", b"[" * 100_000, b"9" * 5000, b'{"format": 1, "kind": "\\ud800"}']
)
def test_what_is_no_json_is_refused(damaged, tmp_path):
    file = tmp_path / "record.json"
    file.write_bytes(damaged)
    with pytest.raises(ClapError, match=r"record\.json: "):
        read_record(file, Outer)
    with pytest.raises(RefusedError, match=r"the agreement: not "):
        record_from(damaged, Outer, "the agreement", RefusedError)


def test_missing_and_too_large_files_are_named(tmp_path):
    with pytest.raises(ClapError, match=r"record\.json: no such file"):
        read_record(tmp_path / "record.json", Outer)
    (tmp_path / "record.json").write_text('{"format": 1}')
    assert read_record(tmp_path / "record.json", Outer, largest=13) == Outer(format=1)
    with pytest.raises(ClapError, match=r"larger than 12 bytes, so not a test's record"):
        read_record(tmp_path / "record.json", Outer, largest=12)


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(ClapError) as error:
        record_from({"format": 1, "kind": "x" * 10_000}, Outer, "here")
    assert len(str(error.value)) < 200


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    file = tmp_path / "log.jsonl"
    assert read_json_lines(file) == []
    file.write_bytes(b'{"run": 1}\n[]\n3\n{"ru\n' + b"[" * 100_000 + b'\n\xff\n{"run": 2}\n{"run": 3')
    assert read_json_lines(file) == [{"run": 1}, {"run": 2}]


def test_a_damaged_record_of_a_secure_sum_is_told_with_what_to_do(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.keep_cohort(3, Cohort(("north", "south"), ("north",)))
    assert checkpoint.cohort(3) == Cohort(("north", "south"), ("north",))
    assert checkpoint.cohort(2) is None
    (tmp_path / "cohort.json").write_text('{"sequence": 3}')
    with pytest.raises(ClapError, match=r"cohort.json: .*the entry 'participants' is missing; delete the run's folder"):
        checkpoint.cohort(3)
