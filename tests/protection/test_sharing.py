from __future__ import annotations

import random
from itertools import combinations

import pytest
from Crypto.Protocol.SecretSharing import Shamir
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.errors import ClapError
from clap_vad.protection.sharing import combine, split


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_shares_give_the_secret_as_the_library_puts_it_together(secret, data):
    count = data.draw(st.integers(2, 9))
    threshold = data.draw(st.integers(2, count))
    shares = dict(enumerate(split(secret, threshold, count), 1))
    chosen = data.draw(st.sets(st.sampled_from(sorted(shares)), min_size=threshold))
    some = {number: shares[number] for number in chosen}
    assert combine(some, threshold) == secret
    exactly = sorted(chosen)[:threshold]
    halves = [Shamir.combine([(n, shares[n][start : start + 16]) for n in exactly]) for start in (0, 16)]
    assert b"".join(halves) == secret


def test_too_few_shares_are_refused_and_tell_nothing():
    secret = bytes(range(32))
    shares = dict(enumerate(split(secret, 3, 5), 1))
    for pair in combinations(shares, 2):
        few = {n: shares[n] for n in pair}
        with pytest.raises(ClapError, match="2 shares, but 3"):
            combine(few, 3)
        assert combine(few, 2) != secret


def test_shares_of_the_same_secret_are_other_ones_each_time():
    assert not set(split(bytes(32), 2, 5)) & set(split(bytes(32), 2, 5))


@pytest.mark.parametrize("altered", range(1, 6))
def test_an_altered_share_shows_where_one_more_than_needed_is_there(altered):
    shares = dict(enumerate(split(random.Random(0).randbytes(32), 3, 5), 1))
    shares[altered] = bytes(31) + b"\1" if shares[altered] == bytes(32) else bytes(32)
    with pytest.raises(ClapError, match="contradict"):
        combine(shares, 3)
    exactly = {n: shares[n] for n in (altered, *[n for n in shares if n != altered][:2])}
    assert len(combine(exactly, 3)) == 32  # some secret, and nothing tells that it is another one
