"""Two numbers per word: sums of words give the sums of both numbers, for any number of participants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.errors import ClapError
from clap_vad.protection.lanes import Lanes, most_participants
from clap_vad.protection.layout import Entry, Layout
from clap_vad.protection.session import open_session

MOST = 258  # times 127 is 32766, the last below 2^15


@st.composite
def arrays(draw) -> np.ndarray:
    """(P, n) int8: at random, or at one of the extremes."""
    participants, size = draw(st.integers(3, MOST)), draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(-127, 128, (participants, size))
    for column in range(size):
        extreme = draw(st.sampled_from([None, 127, -127, 1, -1, 0]))
        if extreme is not None:
            values[:, column] = extreme
    return values.astype(np.int8)


@settings(deadline=None)
@given(arrays())
def test_decoded_sums_are_the_sums_one_by_one(values):
    participants, size = values.shape
    lanes = Lanes(127, participants)
    total = 0  # modulo 2^32, as Python counts
    for row in values:
        words, clipped = lanes.encode(row)
        assert (words.dtype, words.shape, clipped) == (np.uint32, (lanes.words(size),), 0)
        total = [(a + int(b)) % 2**32 for a, b in zip(total or [0] * len(words), words, strict=True)]
    decoded = lanes.decode(np.array(total, np.uint32))
    assert decoded[:size].tolist() == [sum(int(x) for x in column) for column in values.T]
    assert decoded[size:].tolist() == [0] * (size % 2)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_largest_sums_stay_in_their_lanes(signs):
    lanes = Lanes(127, MOST)
    word, _ = lanes.encode(np.array([127 * sign for sign in signs], np.int8))
    total = np.sum([word] * MOST, axis=0, dtype=np.uint32)
    assert lanes.decode(total).tolist() == [127 * MOST * sign for sign in signs]


def test_as_many_as_the_room_allows_and_no_more():
    assert most_participants(127) == MOST
    with pytest.raises(ClapError, match="the sum of 259 integers up to 127 can overflow 16 bits; at most 258"):
        Lanes(127, 259)
    with pytest.raises(ClapError, match="layout: 'update': the sum of 259 integers"):
        Layout([Entry("update", (4,), "int8", 127)], 259)
    for bound, participants in ((0, 3), (128, 3), (127, 0)):
        with pytest.raises(ClapError):
            Lanes(bound, participants)


def test_what_is_out_of_bounds_is_clipped_and_what_is_of_another_kind_refused():
    words, clipped = Lanes(100, 3).encode(np.array([-128, 101, 100, 0], np.int8))
    assert (Lanes(100, 3).decode(words).tolist(), clipped) == ([-100, 100, 100, 0], 2)
    with pytest.raises(ClapError, match="int64 values, but int8 is declared"):
        Lanes(127, 3).encode(np.array([1]))
    with pytest.raises(ClapError, match="uint64 sums, but uint32"):
        Lanes(127, 3).decode(np.zeros(1, np.uint64))


ENTRIES = [
    Entry("before", (2,), "float32", 1.0),
    Entry("odd", (3, 1), "int8", 127),
    Entry("none", (0,), "int8", 127),
    Entry("one", (), "int8", 127),
    Entry("even", (2, 2), "int8", 127),
    Entry("count", (), "int64", 1000),
    Entry("after", (), "float32", 1.0),
]


def test_lanes_stand_in_a_layout_among_other_numbers():
    layout, rng = Layout(ENTRIES, 5), np.random.default_rng(0)
    messages = [
        {
            entry.name: np.asarray(rng.integers(-127, 128, entry.shape)).astype(entry.dtype)
            if entry.dtype in ("int8", "int64")
            else np.asarray(0.25 * rng.integers(-4, 5, entry.shape)).astype(entry.dtype)
            for entry in ENTRIES
        }
        for _ in range(5)
    ]
    parts = [layout.encode(message, "participant 'ada'") for message in messages]
    assert layout.sizes == (2 + 2 + 0 + 1 + 2 + 1, 1) == (parts[0].narrow.size, parts[0].wide.size)
    narrow = np.sum([part.narrow for part in parts], axis=0, dtype=np.uint32)
    decoded = layout.decode(narrow, np.sum([part.wide for part in parts], axis=0, dtype=np.uint64))
    for entry in ENTRIES:
        total = sum(np.asarray(message[entry.name], np.float64) for message in messages)
        assert np.array_equal(decoded[entry.name], total) and np.shape(decoded[entry.name]) == entry.shape
    with pytest.raises(ClapError, match="'odd' is int64 of shape"):
        layout.encode({**messages[0], "odd": np.zeros((3, 1), np.int64)}, "participant 'ada'")


def test_the_digest_knows_lanes():
    kinds = [Layout([Entry("a", (2,), dtype, 127)], 5).digest for dtype in ("int8", "float32", "int64")]
    assert len({*kinds, Layout([Entry("a", (2,), "int8", 126)], 5).digest}) == 4


@pytest.mark.parametrize("gone", [0, 2])
def test_under_masks_the_sum_is_the_plain_sum_of_the_same_integers(simulate, gone):
    """Whether all stay, or some drop out and their masks are taken off by the others."""
    layout, rng, names = Layout([Entry("a", (11,), "int8", 127)], 7), np.random.default_rng(gone), "abcdefg"
    values = {name: rng.integers(-127, 128, 11).astype(np.int8) for name in names}
    vectors = {name: (layout.encode({"a": own}, name).narrow, np.empty(0, np.uint64)) for name, own in values.items()}
    simulation = simulate(open_session("sum", names, layout.sizes, context=layout.digest), vectors)
    there = list(names[: len(names) - gone])
    narrow, wide = simulation.up_to("mask", list(names), list(names), there).unmask(there)
    assert np.array_equal(layout.decode(narrow, wide)["a"], sum(values[name].astype(int) for name in there))
