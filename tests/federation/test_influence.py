"""How much one site can move a sum: never more than all others together, and never beyond what it had at first."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.federation.ask import Reply
from clap_vad.federation.influence import beyond_first, bounded_shares, keep_first, outlying
from clap_vad.federation.messages import schema

NAMES = ("ada", "bob", "cyd", "dee")


def counts(sizes) -> list[Reply]:
    return [Reply(f"site-{number}", {"count": size}) for number, size in enumerate(sizes)]


def moments(sizes, scale) -> list[Reply]:
    rows = [np.random.default_rng(size).normal(size=(size, 3)) * s for size, s in zip(sizes, scale, strict=True)]
    return [
        Reply(name, {"count": np.array(len(x)), "sum": x.sum(axis=0), "sumsq": np.square(x).sum(axis=0)})
        for name, x in zip(NAMES, rows, strict=False)
    ]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8))
def test_nobody_weighs_more_than_all_others(sizes):
    before = counts(sizes)
    after = [int(reply.message["count"]) for reply in bounded_shares(schema("segment_count"), before)]
    if sum(size > 0 for size in sizes) < 3:
        assert after == sizes
        return
    wanted = [min(size, sum(sizes) - size) for size in sizes]
    assert all(abs(a - w) <= 2.0**-50 * w for a, w in zip(after, wanted, strict=True))
    if wanted == sizes:
        assert all(a is b for a, b in zip(bounded_shares(schema("segment_count"), before), before, strict=True))


def test_all_that_a_site_adds_up_becomes_smaller_with_its_count():
    replies = moments([400, 30, 20], [1.0, 1.0, 1.0])
    (first, *others) = bounded_shares(schema("feature_moments"), replies)
    assert int(first.message["count"]) == 50 and first.message["count"].dtype == np.int64
    for name in ("sum", "sumsq"):
        wanted = [float(Fraction(float(v)) * Fraction(50, 400)) for v in replies[0].message[name]]
        np.testing.assert_allclose(first.message[name], wanted, rtol=1e-12)
    assert others == replies[1:]


def test_later_sizes_are_held_to_the_first_of_all_that_a_site_has():
    state, whole, part = {}, schema("segment_count"), schema("normal_moments")
    none = {"sum": np.array(0.0), "sumsq": np.array(0.0)}
    early = [Reply("ada", {"count": 3, **none})]
    assert beyond_first(part, early, state, NAMES) == {}
    keep_first(part, early, state, NAMES)  # of some of what it has: says nothing of the whole
    keep_first(whole, [Reply("ada", {"count": 9}), Reply("cyd", {"count": 2})], state, NAMES)
    later = [Reply(name, {"count": 9, **none}) for name in NAMES]
    found = beyond_first(part, later, state, NAMES)
    assert found.keys() == {"cyd"} and "9 segments" in found["cyd"] and "at first it was 2" in found["cyd"]
    keep_first(whole, [Reply("cyd", {"count": 1}), Reply("dee", {"count": 1})], state, NAMES)
    assert beyond_first(part, later, state, NAMES).keys() == {"cyd", "dee"}


@pytest.mark.parametrize(("times", "out"), [(9.0, False), (11.0, True), (-11.0, True), (-1000.0, True)])
@pytest.mark.parametrize("kind", ["update", "control"])
def test_an_update_far_larger_than_the_median_is_found(kind, times, out):
    declared, rng = schema("scaffold_update"), np.random.default_rng(0)
    names = [name for name in declared.fields if "." in name]
    replies = []
    for number, name in enumerate(NAMES):
        message = {key: rng.normal(size=40).astype(np.float32) for key in names}
        norm = {k: np.sqrt(sum(np.sum(message[key] ** 2) for key in names if key.startswith(k))) for k in ("u", "c")}
        for key in names:
            message[key] /= norm[key[0]]
            if number == 2 and key.startswith(kind):
                message[key] *= np.float32(times)
        replies.append(Reply(name, {**message, "count": 5, "loss": 0.0}))
    assert outlying(declared, replies).keys() == ({"cyd"} if out else set())
    assert outlying(declared, replies[1:3]) == {}  # of two, nobody can tell which
    idle = [Reply(r.participant, {**r.message, "count": 0}) if r.participant == "ada" else r for r in replies]
    assert outlying(declared, idle).keys() == ({"cyd"} if out else set())


def test_statistics_of_another_scale_are_found_where_no_number_of_the_others_is_so_large():
    declared = schema("feature_moments")
    assert outlying(declared, moments([30, 40, 50, 60], [1.0, 1.0, 70.0, 1.0])) == {}
    assert outlying(declared, moments([30, 40, 50, 60], [1.0, 1.0, 1e14, 1.0])).keys() == {"cyd"}
    rare = moments([30, 40, 50, 60], [1.0, 1.0, 1.0, 1.0])
    for reply in rare[:3]:
        reply.message["sum"][1] = reply.message["sumsq"][1] = 0.0  # one site alone has such things at all
    assert outlying(declared, rare) == {}


def test_a_large_lie_does_not_hide_a_smaller_one():
    eve = Reply("eve", moments([70], [1e5])[0].message)
    replies = [*moments([30, 40, 50, 60], [1.0, 1.0, 1e14, 1.0]), eve]
    assert outlying(schema("feature_moments"), replies).keys() == {"cyd", "eve"}
