"""Messages and questions as bytes: what goes in comes out bit for bit, and anything else is told as unreadable."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clap_vad.core.density.projection import MOST_DIMENSIONS
from clap_vad.errors import ClapError
from clap_vad.federation import wire
from clap_vad.federation.ask import Ask
from clap_vad.federation.engine import ReplyCheck
from clap_vad.federation.messages import Message, check_message, schema, schemas
from clap_vad.federation.wire import ask_from_wire, ask_to_wire, decode, encode, most_bytes

DTYPES = ("float32", "float64", "int64", "uint8")
SHAPES = ((), (0,), (1,), (3,), (2, 3), (0, 4), (2, 0, 3), (1, 2, 2))

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=12)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any bits, so NaNs with a payload, infinities and subnormal numbers among them."""
    dtype, shape = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from(SHAPES))
    size = math.prod(shape) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


messages = st.dictionaries(names, arrays(), max_size=4)


def assert_same_bits(found: Message, sent: Message) -> None:
    assert found.keys() == sent.keys()
    for name, value in sent.items():
        own, expected = np.asarray(found[name]), np.asarray(value)
        assert (own.dtype, own.shape) == (expected.dtype, expected.shape)
        assert own.tobytes() == expected.tobytes()


def legal(name: str, dim: int) -> Message:
    """The message of this schema whose every value is as low as it may be, or zero."""
    return {
        key: np.full(field.sizes(dim), max(field.low, 0), field.dtype) for key, field in schema(name).fields.items()
    }


@given(messages)
def test_a_message_comes_out_bit_for_bit(message):
    assert_same_bits(decode(encode(message)), message)


@given(messages)
def test_the_same_message_has_the_same_bytes_whatever_the_order_of_its_entries(message):
    assert encode(dict(reversed(message.items()))) == encode(message)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signs_of_zero_and_payloads_of_nan_are_kept(dtype):
    whole = np.uint32 if dtype == "float32" else np.uint64
    one = whole(1) << whole(31 if dtype == "float32" else 63)  # the sign
    nan = np.array([np.nan], dtype).view(whole)[0]
    bits = np.array([one, 0, nan, nan | one, nan | whole(12345), 1], whole)
    found = decode(encode({"x": bits.view(dtype)}))["x"]
    np.testing.assert_array_equal(found.view(whole), bits)
    assert np.signbit(found[0]) and not np.signbit(found[1])


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_plain_numbers_become_arrays_without_dimensions_and_lose_no_digit(count, loss):
    found = decode(encode({"count": count, "loss": loss}))
    assert {key: (value.shape, value.dtype.name) for key, value in found.items()} == {
        "count": ((), "int64"),
        "loss": ((), "float64"),
    }
    assert int(found["count"]) == count
    assert struct.pack("d", found["loss"]) == struct.pack("d", loss)


def test_arrays_that_do_not_lie_in_order_are_sent_as_they_read():
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    sent = {"turned": square.T, "thinned": square[::2, 1::2], "reversed": square[::-1], "spread": np.broadcast_to(1, 3)}
    for name, value in decode(encode(sent)).items():
        np.testing.assert_array_equal(value, sent[name])


def test_what_is_decoded_is_a_copy_of_its_own():
    data = bytearray(encode({"x": np.arange(4)}))
    found = decode(bytes(data))["x"]
    data[-1] ^= 255
    assert found.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("message", [{}, {"count": 3}, {"x": np.ones((2, 3), np.float32), "empty": np.zeros((0, 2))}])
def test_a_message_cut_off_anywhere_is_unreadable(message):
    data = encode(message)
    for length in range(len(data)):
        with pytest.raises(ClapError, match="not a readable message"):
            decode(data[:length])
    with pytest.raises(ClapError, match="not a readable message"):
        decode(data + b"\0")


def read_or_refuse(data: bytes) -> None:
    """Whatever the bytes: arrays, or one sentence."""
    try:
        found = decode(data)
    except ClapError as error:
        assert "not a readable message" in str(error)
    else:
        assert all(isinstance(value, np.ndarray) and not value.dtype.hasobject for value in found.values())


@pytest.mark.parametrize("message", [{"count": 3}, {"x": np.ones((2, 3), np.float32), "y": np.zeros(2, np.uint8)}])
def test_a_flipped_bit_gives_another_message_or_none(message):
    data = encode(message)
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        read_or_refuse(bytes(flipped))


def framed(header: object, data: bytes = b"") -> bytes:
    """A file of the safetensors format with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


FOREIGN_TYPES = (
    "BOOL", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "U64", "C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2",
    "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "O", "object", "f4", "", "V8",
)  # fmt: skip


@pytest.mark.parametrize("dtype", FOREIGN_TYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 4, 8])
def test_types_that_no_schema_has_do_no_harm(dtype, size):
    read_or_refuse(framed(tensor(dtype, (1,), (0, size)), bytes(size)))
    read_or_refuse(framed(tensor(dtype, (), (0, size)), bytes(size)))
    read_or_refuse(framed(tensor(dtype, (0, 3), (0, 0))))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"{" * 10_000,
        b"[" * 100_000,
        b'{"x":' * 10_000,
        b"\xff\xff",
        b'{"x": NaN}',
        {"x": None},
        {"x": {}},
        {"__metadata__": {"a": 1}},
        {"__metadata__": tensor()},
        tensor(shape=[-1]),
        tensor(shape=[2**64]),
        tensor(shape=[2**63, 2**63, 0], offsets=[0, 0]),
        tensor(shape=[2**62, 0], offsets=[0, 0]),
        tensor(shape=[1.5]),
        tensor(shape=None),
        tensor(shape=[1] * 100),
        tensor(offsets=[0, 2**63]),
        tensor(offsets=[4, 0]),
        tensor(offsets=[-4, 0]),
        tensor(offsets=[2, 6]),
        tensor(offsets=[0]),
        tensor(dtype=["F32"]),
        {**tensor(), "y": tensor()["x"]},
    ],
)
def test_headers_that_lie_do_no_harm(header):
    for data in (b"", bytes(4), bytes(8)):
        read_or_refuse(framed(header, data))


def test_a_header_longer_than_the_message_is_unreadable():
    for length in (1, 2**20, 2**31, 2**63, 2**64 - 1):
        with pytest.raises(ClapError, match="not a readable message"):
            decode(struct.pack("<Q", length))
        with pytest.raises(ClapError, match="not a readable message"):
            decode(struct.pack("<Q", length) + b"{")


@settings(max_examples=200)
@given(st.binary(max_size=300))
@example(b"")
def test_random_bytes_do_no_harm(data):
    read_or_refuse(data)
    read_or_refuse(framed(data))


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def test_code_in_a_message_is_never_executed(tmp_path):
    sprung = tmp_path / "sprung"
    pickled = pickle.dumps(Trap(sprung))
    archive, single = io.BytesIO(), io.BytesIO()
    np.savez(archive, x=np.array([Trap(sprung)], dtype=object))
    np.save(single, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    line, payload = ask_to_wire(Ask("label", "segment_count", {"x": np.ones(2)}))
    for foreign in (pickled, archive.getvalue(), single.getvalue(), framed(pickled), framed(tensor("O"), pickled)):
        with pytest.raises(ClapError, match="not a readable message"):
            decode(foreign)
        with pytest.raises(ClapError, match="not a readable message"):
            ask_from_wire(line, foreign)
        with pytest.raises(ClapError, match="not a readable question"):
            ask_from_wire(foreign.decode("latin-1"), payload)
    assert not sprung.exists()
    pickle.loads(pickled)
    assert sprung.exists()  # so that it would have been seen


def test_a_message_that_is_too_long_is_refused_unread(monkeypatch):
    data = encode({"x": np.arange(100)})
    assert decode(data, len(data))["x"].shape == (100,)

    def read(data: bytes) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(wire, "load", read)
    for limit in (len(data) - 1, 8, 0):
        with pytest.raises(ClapError, match=f"a message of {len(data)} bytes; at most {limit} are expected"):
            decode(data, limit)
    with pytest.raises(ClapError, match="refused unread"):
        decode(bytes(1000), 999)
    with pytest.raises(AssertionError, match="it was read"):
        decode(data, len(data))


SECURE = ("secure_", "masked")  # their sizes are those of a sum, see PhaseCheck


@pytest.mark.parametrize("dim", [1, 34, 2048])
@pytest.mark.parametrize("name", [declared.name for declared in schemas() if not declared.name.startswith(SECURE)])
def test_no_legal_message_is_longer_than_may_be(name, dim):
    if name == "density_statistics":
        dim = min(dim, MOST_DIMENSIONS)  # wider features are projected before a density is fitted
    message = legal(name, dim)
    check_message(name, message, dim, "a")
    data, most = encode(message), most_bytes(name, dim)
    values = sum(np.asarray(value).nbytes for value in message.values())
    assert len(data) <= most == ReplyCheck(name, dim).most_bytes
    assert most - values <= 64 * 1024  # and no site can send much more than that
    if len(data) < 2**20:
        assert_same_bits(decode(data, most), message)


questions = st.builds(
    Ask,
    step=st.text(max_size=10),
    reply=st.text(max_size=10),
    payload=messages,
    min_replies=st.integers(0, 5),
    deadline=st.floats(0, 100),
    targets=st.none() | st.tuples(st.just("a")),
    lasting=st.booleans(),
    silent=st.booleans(),
    sequence=st.integers(0, 10**8 - 1),
    accepted=st.dictionaries(st.text(max_size=6), st.integers(-1, 2**40), max_size=3),
)


@given(questions)
def test_a_question_comes_out_as_it_went_in(ask):
    found = ask_from_wire(*ask_to_wire(ask))
    assert_same_bits(found.payload, ask.payload)
    for name in ("step", "reply", "lasting", "silent", "sequence", "accepted"):
        assert getattr(found, name) == getattr(ask, name)
        assert type(getattr(found, name)) is type(getattr(ask, name))
    assert (found.targets, found.min_replies, found.deadline) == (None, 0, 0)  # nobody's business but the coordinator's


def test_whom_else_a_question_is_for_stays_with_the_coordinator():
    ask = Ask("label", "segment_count", targets=("north", "south"), min_replies=2, deadline=60.0)
    line, payload = ask_to_wire(ask)
    assert json.loads(line).keys() == {"step", "reply", "lasting", "silent", "sequence", "accepted", "secure"}
    assert b"north" not in line.encode() + payload


QUESTION = {
    "step": "label",
    "reply": "segment_count",
    "lasting": True,
    "silent": False,
    "sequence": 3,
    "accepted": {},
    "secure": None,
}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "not a readable question"),
        ("{", "not a readable question"),
        (json.dumps(QUESTION)[:-1], "not a readable question"),
        (json.dumps(QUESTION) + "x", "not a readable question"),
        ('{"sequence": ' + "9" * 5000 + "}", "not a readable question"),
        (b"\xff\xfe\x00", "not a readable question"),
        (None, "not a readable question"),
        (3, "not a readable question"),
        ("null", "not a question of this release"),
        ("3", "not a question of this release"),
        ("[]", "not a question of this release"),
        ('"step"', "not a question of this release"),
        ("{}", "not a question of this release"),
        ({**QUESTION, "targets": ["north"]}, "not a question of this release"),
        *[({k: v for k, v in QUESTION.items() if k != name}, "not a question of this release") for name in QUESTION],
        ({**QUESTION, "step": 3}, "with entries of wrong types"),
        ({**QUESTION, "step": None}, "with entries of wrong types"),
        ({**QUESTION, "reply": ["segment_count"]}, "with entries of wrong types"),
        ({**QUESTION, "lasting": 1}, "with entries of wrong types"),
        ({**QUESTION, "silent": "no"}, "with entries of wrong types"),
        ({**QUESTION, "silent": None}, "with entries of wrong types"),
        ({**QUESTION, "sequence": 3.0}, "with entries of wrong types"),
        ({**QUESTION, "sequence": True}, "with entries of wrong types"),
        ({**QUESTION, "sequence": "3"}, "with entries of wrong types"),
        ({**QUESTION, "sequence": float("nan")}, "with entries of wrong types"),
        ({**QUESTION, "accepted": None}, "with entries of wrong types"),
        ({**QUESTION, "accepted": [["north", 1]]}, "with entries of wrong types"),
        ({**QUESTION, "accepted": {"north": 1.0}}, "'accepted' holds a value that is not a number"),
        ({**QUESTION, "accepted": {"north": True}}, "'accepted' holds a value that is not a number"),
        ({**QUESTION, "accepted": {"north": 1, "south": None}}, "'accepted' holds a value that is not a number"),
        ({**QUESTION, "accepted": {"north": {}}}, "'accepted' holds a value that is not a number"),
        ("[" * 100_000, "not a readable question"),
        ({**QUESTION, "sequence": -1}, "out of range"),
        ({**QUESTION, "sequence": 10**8}, "out of range"),
    ],
)
def test_a_malformed_question_is_told(line, says):
    text = json.dumps(line) if isinstance(line, dict) else line
    with pytest.raises(ClapError, match=says):
        ask_from_wire(text, encode({}))


def test_a_question_whose_payload_is_cut_off_is_unreadable():
    line, payload = ask_to_wire(Ask("label", "segment_count", {"gaussians": np.ones((3, 2))}))
    assert ask_from_wire(line, payload).payload["gaussians"].shape == (3, 2)
    with pytest.raises(ClapError, match="not a readable message"):
        ask_from_wire(line, payload[:-1])
