from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clap_vad.errors import ClapError
from clap_vad.protection.layout import Entry, Layout
from clap_vad.protection.session import least_sum, open_session, question_shapes, reply_shapes

PHASES = ("advertise", "share", "mask", "unmask")
NAMES = st.lists(st.text(min_size=1, max_size=12), min_size=3, max_size=9, unique=True)


def equal(got, expected) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(got, expected, strict=True))


@st.composite
def absences(draw, session) -> list[list[str]]:
    """Who is there in each phase: any that were in the phase before, at least the threshold."""
    there, phases = list(session.participants), []
    for _ in PHASES:
        size = draw(st.integers(session.threshold, len(there)))
        there = sorted(draw(st.permutations(there))[:size], key=session.participants.index)
        phases.append(there)
    return phases


@settings(deadline=None, max_examples=60)
@given(st.data(), NAMES)
def test_the_sum_is_that_of_exactly_those_who_delivered(simulate, data, names):
    n = len(names)
    threshold = data.draw(st.none() | st.sampled_from([t for t in range(n // 2 + 1, n + 1) if least_sum(n, t) >= 3]))
    bound = data.draw(st.sampled_from([1e-3, 1.0, 77.7, 1e6]))
    sizes = [data.draw(st.sampled_from([0, 1, 3, 17, 300])) for _ in range(2)]
    layout = Layout(
        [
            Entry("update", (sizes[0],), "float32", bound),
            Entry("sums", (sizes[1],), "float64", bound),
            *([Entry("count", (), "int64", 10**6)] if data.draw(st.booleans()) else []),
        ],
        n,
    )
    session = open_session("any", names, layout.sizes, threshold=threshold, context=layout.digest)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    messages = {
        name: {
            "update": (rng.normal(size=sizes[0]) * bound).astype(np.float32),
            "sums": rng.normal(size=sizes[1]) * bound,
            **({"count": int(rng.integers(10**6))} if len(layout.entries) == 3 else {}),
        }
        for name in names
    }
    parts = {name: layout.encode(message, name) for name, message in messages.items()}
    run = simulate(session, {name: (part.narrow, part.wide) for name, part in parts.items()})
    there = data.draw(absences(session))
    run.up_to("mask", *there)
    sums = run.unmask(there[3])
    delivered = there[2]
    assert run.coordinator.members == tuple(delivered)
    assert equal(sums, run.sum_of(delivered))
    decoded = layout.decode(*sums)
    for entry in layout.entries:
        scale = Fraction(2) ** layout.point(entry.name).exponent
        for index in np.ndindex(entry.shape):
            values = (Fraction(np.asarray(messages[name][entry.name])[index].item()) for name in delivered)
            integers = [round(max(-Fraction(entry.bound), min(Fraction(entry.bound), x)) * scale) for x in values]
            assert np.asarray(decoded[entry.name])[index].item() == float(Fraction(sum(integers)) / scale)


@pytest.mark.parametrize("phases", list(itertools.combinations_with_replacement(range(4), 3)))
def test_a_third_may_drop_out_in_any_phases(simulate, phases):
    run = simulate(9)
    assert run.session.threshold == 6
    gone = dict(zip(("eve", "ada", "ivy"), phases, strict=True))
    there = [[name for name in run.session.participants if gone.get(name, 9) > phase] for phase in range(4)]
    run.up_to("mask", *there)
    assert equal(run.unmask(there[3]), run.sum_of(there[2]))


@pytest.mark.parametrize("phase", PHASES)
def test_fewer_than_the_threshold_end_the_session(simulate, phase):
    run = simulate(5)
    number = PHASES.index(phase)
    few = run.session.participants[: run.session.threshold - 1]
    if number:
        run.up_to(PHASES[number - 1])
    with pytest.raises(ClapError, match=r"3 participants .*, but 4 are needed"):
        getattr(run, phase)(few)
    everybody = getattr(run, phase)(run.session.participants)  # as if the refused replies had never come
    if phase == "unmask":
        assert equal(everybody, run.sum_of(run.session.participants))


def test_messages_have_the_declared_shapes_and_no_other(simulate):
    run = simulate(4, sizes=(0, 3)).up_to("unmask")
    for phase in PHASES:
        for declared, given_ in ((question_shapes(4), run.questions), (reply_shapes(4, (0, 3)), run.replies)):
            for arrays in given_.get(phase, {}).values():
                assert {key: (a.shape, a.dtype.name) for key, a in arrays.items()} == declared[phase]


def test_the_same_question_again_has_the_same_reply(simulate):
    run = simulate(4).up_to("unmask")
    site = run.sites["bob"]
    again = {
        "advertise": site.advertise(),
        "share": site.share(run.questions["share"]["bob"]),
        "mask": site.mask(run.questions["mask"]["bob"], *run.vectors["bob"]),
        "unmask": site.unmask(run.questions["unmask"]["bob"]),
    }
    for phase, reply in again.items():
        assert equal(reply.values(), run.replies[phase]["bob"].values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"participants": ("ada", "bob", "ada", "cyd")}, "every participant needs a unique name"),
        ({"participants": ("ada", "", "bob", "cyd")}, "every participant needs a unique name"),
        ({"participants": ("ada", "bob"), "threshold": 2}, "2 participants, but a sum over at least 3"),
        ({"participants": ("ada", "\ud800", "bob", "cyd")}, "Unicode"),
        ({"cohort": 2}, "protects no site"),
        ({"cohort": 5}, "at least 5 is required"),
        ({"threshold": 2}, "more than half"),
        ({"threshold": 5}, "more than half"),
        ({"cohort": 4}, "fewer than 4"),
        ({"sizes": (-1, 0)}, "vectors of"),
    ],
)
def test_sessions_that_protect_nothing_are_refused(simulate, change, sentence):
    with pytest.raises(ClapError, match=sentence):
        replace(simulate(4).session, **change)


def uniformity(values: np.ndarray) -> float:
    """p of a chi-square test of the bytes."""
    return stats.chisquare(np.bincount(values.view(np.uint8), minlength=256)).pvalue


def masked(simulate, vectors, **settings):
    """What ada sends, with seeded secrets."""
    run = simulate(3, sizes=(vectors[0].size, vectors[1].size), seed=5, **settings)
    run.vectors = dict.fromkeys(run.session.participants, vectors)
    run.up_to("mask")
    return run.replies["mask"]["ada"].values()


def test_masked_zeros_look_like_noise_and_are_other_noise_in_another_session(simulate):
    zeros = np.zeros(1 << 18, np.uint32), np.zeros(1 << 17, np.uint64)
    first, second = masked(simulate, zeros), masked(simulate, zeros, identity="round 2")
    for a, b in zip(first, second, strict=True):
        bits = 8 * a.nbytes
        assert uniformity(a) > 0.001 and uniformity(b) > 0.001
        assert uniformity(a - b) > 0.001
        same = bits - int(np.unpackbits((a ^ b).view(np.uint8)).sum())
        assert abs(same - bits / 2) < 4 * np.sqrt(bits) / 2
    narrow, wide = first  # and the two vectors do not share a stream
    assert uniformity(wide.view(np.uint32) - narrow) > 0.001


def test_a_masked_vector_reveals_nothing_about_the_values(simulate):
    size = 1 << 17
    values = np.linspace(0, 2**31, size).astype(np.uint32), np.linspace(0, 2.0**62, size).astype(np.uint64)
    for value, sent in zip(values, masked(simulate, values), strict=True):
        share = sent / 2.0 ** (8 * sent.itemsize)
        assert stats.kstest(share, "uniform").pvalue > 0.001
        assert stats.ks_2samp(share[: size // 2], share[size // 2 :]).pvalue > 0.001  # small values, large values
        assert abs(stats.spearmanr(value, share).statistic) < 4 / np.sqrt(size)


def test_sums_of_masked_vectors_are_random_until_the_coordinator_gets_shares(simulate):
    run = simulate(3, sizes=(1 << 16, 0), seed=7)
    run.vectors = dict.fromkeys(run.session.participants, (np.zeros(1 << 16, np.uint32), np.zeros(0, np.uint64)))
    run.up_to("mask")
    sent = np.array([reply["narrow"] for reply in run.replies["mask"].values()])
    for some in ([0], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        assert uniformity(sent[some].sum(0, dtype=np.uint32)) > 0.001
    assert not any(run.unmask(run.session.participants)[0])
