from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clap_vad.errors import ClapError
from clap_vad.protection.fixed_point import WIDTHS, FixedPoint
from clap_vad.protection.layout import Entry, Layout

FLOAT_BOUNDS = st.floats(1e-9, 1e9) | st.sampled_from([1e-100, 1e100, 1.0, 0.5, 2.0**20])


@lru_cache
def exponent(dtype: str, bound: float, participants: int) -> int:
    """s by trying one after the other, in fractions."""
    if dtype == "int64":
        return 0
    s = 66 - math.frexp(bound)[1]  # too large
    while participants * (Fraction(bound) * Fraction(2) ** s + 1) >= 2 ** (WIDTHS[dtype] - 1):
        s -= 1
    return s


def encoded(x: float | int, dtype: str, bound: float, participants: int) -> int:
    """The signed integer that stands for x; Python rounds a fraction half to even."""
    clipped = max(-Fraction(bound), min(Fraction(bound), Fraction(x)))
    return round(clipped * Fraction(2) ** exponent(dtype, bound, participants))


@settings(deadline=None)
@given(st.data(), st.sampled_from(["float32", "float64"]), FLOAT_BOUNDS, st.integers(1, 200))
def test_decoded_sums_are_the_exact_sums_of_fixed_point_values(data, dtype, bound, participants):
    point = FixedPoint(dtype, bound, participants)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=3))
    elements = st.floats(-1.5 * bound, 1.5 * bound, width=64) | st.sampled_from([0.0, bound, -bound, bound / 3])
    count = data.draw(st.integers(1, min(participants, 6)))
    with np.errstate(over="ignore"):
        values = [data.draw(hnp.arrays(np.float64, shape, elements=elements)).astype(dtype) for _ in range(count)]
    values = [np.where(np.isfinite(v), v, 0).astype(dtype) for v in values]
    parts = [point.encode(v) for v in values]
    assert point.exponent == exponent(dtype, bound, participants)
    assert [clipped for _, clipped in parts] == [sum(abs(Fraction(float(x))) > bound for x in v.flat) for v in values]
    total = sum((ring for ring, _ in parts), np.zeros(shape, point.ring))
    decoded = point.decode(total)
    alone = [point.decode(ring) for ring, _ in parts]
    assert decoded.shape == shape and decoded.dtype == np.float64
    scale = Fraction(2) ** point.exponent
    for index in np.ndindex(shape):
        integers = [encoded(float(v[index]), dtype, bound, participants) for v in values]
        assert [Fraction(float(a[index])) for a in alone] == [Fraction(i) / scale for i in integers]
        assert float(decoded[index]) == float(Fraction(sum(integers)) / scale)


@settings(deadline=None)
@given(st.data(), st.integers(1, 1000))
def test_integers_are_exact_up_to_the_largest_bound(data, participants):
    bound = data.draw(st.integers(1, (2**63 - 1) // participants))
    point = FixedPoint("int64", bound, participants)
    values = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=min(participants, 5)))
    rings = [point.encode(np.array([x])) for x in values]
    assert [clipped for _, clipped in rings] == [int(abs(x) > bound) for x in values]
    decoded = point.decode(sum((ring for ring, _ in rings), np.zeros(1, np.uint64)))
    assert decoded.dtype == np.int64
    assert decoded.tolist() == [sum(max(-bound, min(bound, x)) for x in values)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None)
@given(bound=FLOAT_BOUNDS, participants=st.integers(1, 10**6))
def test_the_largest_sum_does_not_wrap_round(dtype, bound, participants):
    point = FixedPoint(dtype, bound, participants)
    for sign in (1, -1):
        integer = encoded(sign * bound, dtype, bound, participants)
        assert abs(integer * participants) < 2 ** (point.width - 1)
        (ring,), clipped = point.encode(np.array([sign * bound]))
        assert (int(ring), clipped) == (integer % 2**point.width, 0)


def test_halves_are_rounded_to_even():
    point = FixedPoint("float32", 2.0**29, 1)
    assert point.exponent == 1
    assert point.decode(point.encode(np.array([0.25, 0.75, 1.25, -0.25, -0.75]))[0]).tolist() == [0, 1, 1, 0, -1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("float32", 0.0, 3), "bound of a float32"),
        (("float64", float("nan"), 3), "bound of a float64"),
        (("float64", float("inf"), 3), "bound of a float64"),
        (("float32", 1.0, 2**31), "too many for a ring of 32 bits"),
        (("float32", 1.0, 0), "at least 1"),
        (("int64", 2.5, 3), "whole number"),
        (("int64", 0, 3), "whole number"),
        (("int64", 2**62, 2), "can overflow 64 bits"),
        (("uint8", 1, 2), "no fixed-point encoding"),
    ],
)
def test_what_could_overflow_is_refused_before_any_value(arguments, sentence):
    with pytest.raises(ClapError, match=sentence):
        FixedPoint(*arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ClapError, match="cannot be summed"):
        FixedPoint("float32", 1.0, 3).encode(np.array([0.0, bad]))
    with pytest.raises(ClapError, match="float64 values, but int64"):
        FixedPoint("int64", 1, 3).encode(np.array([0.5]))


ENTRIES = [
    Entry("update.w", (2, 3), "float32", 0.5),
    Entry("count", (), "int64", 10**9),
    Entry("sum", (4,), "float64", 1e6),
    Entry("nothing", (0, 5), "float32", 1.0),
    Entry("update.b", (), "float32", 2.0),
    Entry("loss", (), "float64", 100.0),
]


def message(seed: int) -> dict[str, np.ndarray | int | float]:
    rng = np.random.default_rng(seed)
    return {
        "update.w": rng.normal(size=(2, 3)).astype(np.float32),
        "count": int(rng.integers(10**9)),
        "sum": rng.normal(size=4) * 1e5,
        "nothing": np.zeros((0, 5), np.float32),
        "update.b": np.asarray(rng.normal(), np.float32),
        "loss": float(rng.normal()),
    }


def test_a_layout_puts_messages_into_two_vectors_and_takes_sums_out():
    layout = Layout(ENTRIES, participants=5)
    messages = [message(seed) for seed in range(5)]
    parts = [layout.encode(m, "participant 'ada'") for m in messages]
    assert layout.sizes == (7, 6) == (parts[0].narrow.size, parts[0].wide.size)
    assert parts[0].clipped["update.w"] == np.count_nonzero(np.abs(messages[0]["update.w"]) > 0.5) > 0
    narrow = np.sum([p.narrow for p in parts], 0, dtype=np.uint32)
    decoded = layout.decode(narrow, np.sum([p.wide for p in parts], 0, dtype=np.uint64))
    assert list(decoded) == [entry.name for entry in ENTRIES]
    assert (type(decoded["count"]), type(decoded["loss"]), type(decoded["update.b"])) == (int, float, float)
    for entry in ENTRIES:
        values = np.asarray(decoded[entry.name])
        assert values.shape == entry.shape
        for index in np.ndindex(entry.shape):
            integers = [encoded(np.asarray(m[entry.name])[index].item(), entry.dtype, entry.bound, 5) for m in messages]
            scale = Fraction(2) ** exponent(entry.dtype, entry.bound, 5)
            assert values[index].item() == float(Fraction(sum(integers)) / scale)


def test_a_layout_takes_its_own_messages_only():
    layout, good = Layout(ENTRIES, 5), message(0)
    for change, sentence in (
        ({"count": 1.5}, "'count' is float64"),
        ({"sum": np.zeros(5)}, r"'sum' is float64 of shape \(5,\)"),
        ({"sum": np.zeros(4, np.float32)}, "'sum' is float32"),
        ({"loss": float("nan")}, "'loss': NaN"),
        ({"more": 1}, r"\['more'\] are missing or not"),
    ):
        with pytest.raises(ClapError, match=f"participant 'ada': .*{sentence}"):
            layout.encode({**good, **change}, "participant 'ada'")
    with pytest.raises(ClapError, match="7, 6"):
        layout.decode(np.zeros(6, np.uint32), np.zeros(6, np.uint64))
    with pytest.raises(ClapError, match="uint64 sums, but uint32"):
        layout.decode(np.zeros(7, np.uint64), np.zeros(6, np.uint64))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([Entry("a", (), "int64", 2**61)], "'a': the sum of 5 integers"),
        ([Entry("a", (), "int64", 1), Entry("a", (2,), "int64", 1)], "two entries"),
        ([Entry("a", (-1,), "int64", 1)], "shape"),
    ],
)
def test_a_layout_that_could_overflow_is_never_made(entries, sentence):
    with pytest.raises(ClapError, match=sentence):
        Layout(entries, 5)


def test_different_layouts_have_different_digests():
    first = Entry("a", (2,), "float32", 1.0)
    others = [
        Layout([first], 6),
        Layout([Entry("b", (2,), "float32", 1.0)], 5),
        Layout([Entry("a", (1, 2), "float32", 1.0)], 5),
        Layout([Entry("a", (2,), "float64", 1.0)], 5),
        Layout([Entry("a", (2,), "float32", 2.0)], 5),
        Layout([first, Entry("b", (), "int64", 1)], 5),
        Layout([], 5),
    ]
    assert len({Layout([first], 5).digest, *(other.digest for other in others)}) == 8
    assert Layout([first], 5).digest == Layout([Entry("a", (2,), "float32", 1)], 5).digest
