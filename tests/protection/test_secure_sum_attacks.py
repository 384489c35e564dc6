from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from clap_vad.errors import ClapError
from clap_vad.protection import parties, primitives, session
from clap_vad.protection.coordinator import SecureCoordinator
from clap_vad.protection.sharing import combine
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.protection.site import SecureSite


def present(run, *names: str) -> dict[str, np.ndarray]:
    return {"present": np.array([name in names for name in run.session.participants], np.uint8)}


def flipped(array: np.ndarray, *index: int) -> np.ndarray:
    copy = array.copy()
    copy[index] ^= 1
    return copy


# A coordinator that lies about who dropped out


def test_a_site_sends_shares_for_one_set_only(simulate):
    run = simulate(6).up_to("mask")
    site = run.sites["ada"]
    first = site.unmask(present(run, "ada", "bob", "cyd", "dee", "eve"))
    with pytest.raises(ClapError, match="second, different question"):
        site.unmask(present(run, "ada", "bob", "cyd", "dee", "fay"))
    with pytest.raises(ClapError, match="second, different question"):
        site.unmask(present(run, *run.session.participants))
    assert np.array_equal(site.unmask(present(run, "ada", "bob", "cyd", "dee", "eve"))["shares"], first["shares"])
    own = {name: run.sites[name]._held for name in run.session.participants}  # what it would need to tell more
    for row, name in enumerate(run.session.participants):
        told = first["shares"][row].tobytes()
        assert told == (own["ada"][row][32:] if name == "fay" else own["ada"][row][:32])


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("bob cyd dee eve fay", "although it is reported as absent"),
        ("ada bob cyd", "3 participants delivered .*, but 4 are needed"),
        ("", "0 participants delivered"),
    ],
)
def test_sets_that_no_honest_coordinator_names_are_refused(simulate, names, sentence):
    run = simulate(6).up_to("mask")
    with pytest.raises(ClapError, match=sentence):
        run.sites["ada"].unmask(present(run, *names.split()))
    run.sites["ada"].unmask(present(run, *run.session.participants))  # a refusal is no answer


def test_who_never_shared_cannot_have_delivered(simulate):
    run = simulate(6)
    there = [name for name in run.session.participants if name != "fay"]
    run.up_to("mask", there)
    with pytest.raises(ClapError, match="\\['fay'\\] delivered masked vectors without taking part"):
        run.sites["ada"].unmask(present(run, *run.session.participants))


def test_a_site_masks_nothing_for_a_sum_that_it_is_left_out_of(simulate):
    run = simulate(6).up_to("share")
    question = {**run.questions["mask"]["ada"], **present(run, *run.session.participants[1:])}
    with pytest.raises(ClapError, match="although it is reported as absent"):
        run.sites["ada"].mask(question, *run.vectors["ada"])


def test_telling_sites_different_things_gives_neither_secret(simulate):
    """Half of the sites hear that fay delivered, half that she did not."""
    run = simulate(6).up_to("mask")
    names, row = run.session.participants, 5
    shares = {True: {}, False: {}}
    for number, name in enumerate(names, 1):
        lie = name in ("ada", "bob", "cyd")
        told = run.sites[name].unmask(present(run, *(names[:5] if lie else names)))
        shares[lie][number] = told["shares"][row].tobytes()
    for some in shares.values():
        with pytest.raises(ClapError, match="3 shares, but 4 are needed"):
            combine(some, run.session.threshold)


def isolate_ada(run) -> np.ndarray:
    """What a lying coordinator learns of ada's vector among five sites and with a threshold of 3.

    It tells ada that only bob and cyd share masks with her, and tells enough sites that these two dropped out.
    """
    run.up_to("share")
    names, told = run.session.participants, {}
    for name, share_masks in {"ada": "ada bob cyd"}.items() | {(n, " ".join(names)) for n in names[1:]}:
        question = dict(run.questions["mask"][name])
        question.update(present(run, *share_masks.split()))
        told[name] = run.sites[name].mask(question, *run.vectors[name])
    delivered = {"ada": "ada bob cyd", "bob": "ada bob dee eve", "cyd": "ada cyd dee eve"}
    delivered |= {"dee": "ada dee eve", "eve": "ada dee eve"}
    shares = {name: run.sites[name].unmask(present(run, *there.split()))["shares"] for name, there in delivered.items()}

    def secret(owner: int, tellers: str) -> bytes:
        rows = {names.index(name): shares[name] for name in tellers.split()}
        return combine({row + 1: share[owner].tobytes() for row, share in rows.items()}, 3)

    narrow, wide = told["ada"]["narrow"].copy(), told["ada"]["wide"].copy()
    primitives.add_mask(parties.self_key(run.session, "ada", secret(0, "ada bob dee")), narrow, wide, -1)
    for owner, tellers in ((1, "cyd dee eve"), (2, "bob dee eve")):
        key = X25519PrivateKey.from_private_bytes(secret(owner, tellers))
        public = run.replies["advertise"]["ada"]["keys"][1].tobytes()
        pair, sign = parties.pair_key(run.session, names[owner], key, "ada", public)
        primitives.add_mask(pair, narrow, wide, sign)
    return narrow


def test_a_threshold_with_which_a_malicious_coordinator_could_isolate_a_site_is_refused(simulate, monkeypatch):
    with pytest.raises(ClapError, match="a malicious coordinator can sum over fewer than 3"):
        simulate(5, threshold=3)
    assert session.least_sum(5, 3) == 1
    monkeypatch.setattr(session, "least_sum", lambda count, threshold: 3)  # now the attack works, so the bound is real
    run = simulate(5, threshold=3)
    assert np.array_equal(isolate_ada(run), run.vectors["ada"][0])


@pytest.mark.parametrize("count", range(3, 13))
def test_the_least_sum_is_one_for_which_there_are_enough_shares(count):
    """Against a maximum flow of shares from sites that tell them to keys that are wanted."""
    for threshold in range(count // 2 + 1, count + 1):
        possible = [
            size
            for size in range(1, threshold)
            for masks in range(threshold, count + 1)
            if enough_shares(count, threshold, size, masks)
        ]
        assert session.least_sum(count, threshold) <= min(possible, default=threshold)


def enough_shares(count: int, threshold: int, size: int, masks: int) -> bool:
    source, sink = 2 * count, 2 * count + 1
    capacity = np.zeros((sink + 1, sink + 1), np.int32)
    for site in range(count):
        capacity[source, site] = (masks if site < size else count) - threshold
        for wanted in range(size, masks):
            capacity[site, count + wanted] = site != wanted
            capacity[count + wanted, sink] = threshold
    return maximum_flow(csr_array(capacity), source, sink).flow_value == threshold * (masks - size)


# Altered messages


@settings(deadline=None, max_examples=40)
@given(st.integers(0, session.SEALED_BYTES - 1), st.integers(0, 7))
def test_any_altered_bit_of_a_ciphertext_is_noticed(simulate, byte, bit):
    run = simulate(3).up_to("share")
    question = run.questions["mask"]["bob"]
    altered = question["ciphertexts"].copy()
    altered[0, byte] ^= 1 << bit
    with pytest.raises(ClapError, match="'bob': received from 'ada' a ciphertext that was altered"):
        run.sites["bob"].mask({**question, "ciphertexts": altered}, *run.vectors["bob"])
    run.sites["bob"].mask(question, *run.vectors["bob"])


def test_a_ciphertext_is_good_for_its_sender_its_receiver_and_its_session_only(simulate):
    run, other = simulate(4, seed=1).up_to("share"), simulate(4, seed=1, identity="round 2").up_to("share")
    assert np.array_equal(run.replies["advertise"]["ada"]["keys"], other.replies["advertise"]["ada"]["keys"])
    right = run.questions["mask"]["bob"]["ciphertexts"]
    for wrong in (
        run.replies["share"]["ada"]["ciphertexts"][2],  # for another receiver
        run.replies["share"]["cyd"]["ciphertexts"][1],  # of another sender
        run.replies["share"]["bob"]["ciphertexts"][0],  # the other way round, between the same two
        other.replies["share"]["ada"]["ciphertexts"][1],  # of another session, although the keys are the same
    ):
        question = {**run.questions["mask"]["bob"], "ciphertexts": right.copy()}
        question["ciphertexts"][0] = wrong
        with pytest.raises(ClapError, match="received from 'ada'"):
            run.sites["bob"].mask(question, *run.vectors["bob"])


def test_every_key_is_for_one_purpose_one_pair_and_one_session(simulate):
    first = simulate(4).session
    second = replace(first, context=b"another")
    ada, bob = primitives.new_key(np.random.default_rng(0).bytes), primitives.new_key(np.random.default_rng(1).bytes)
    public = primitives.public_half(bob)
    assert parties.pair_key(first, "ada", ada, "bob", public) == (
        parties.pair_key(first, "bob", bob, "ada", primitives.public_half(ada))[0],
        1,
    )
    keys = [parties.pair_key(s, "ada", ada, other, public)[0] for s in (first, second) for other in ("bob", "cyd")]
    keys += [parties.self_key(s, name, bytes(32)) for s in (first, second) for name in ("ada", "bob")]
    keys += [primitives.derive(bytes(32)), primitives.derive(bytes(32), ""), primitives.derive(bytes(32), b"")]
    pairs = [("ada", "bob"), ("bob", "ada"), ("ada", "cyd")]
    contexts = [parties.seal_context(s, *pair) for s in (first, second) for pair in pairs]
    assert len(set(keys)) == len(keys) and len(set(contexts)) == len(contexts)
    sealed = primitives.seal(bytes(32), b"shares", contexts[0], np.random.default_rng(2).bytes)
    assert primitives.unseal(bytes(32), sealed, contexts[0]) == b"shares"
    for key, context in [(keys[0], contexts[0]), *((bytes(32), context) for context in contexts[1:])]:
        with pytest.raises(ClapError, match="was altered"):
            primitives.unseal(key, sealed, context)


def test_own_keys_altered_and_keys_used_twice_are_refused(simulate):
    run = simulate(4).up_to("advertise")
    question = run.questions["share"]["ada"]
    keys = question["keys"]
    twice = [keys.copy(), keys.copy()]
    twice[0][1, 0], twice[1][2, 1] = keys[3, 0], keys[2, 0]
    cases = [
        ({"keys": flipped(keys, 0, 1, 5)}, "altered its advertised keys"),
        ({"signatures": flipped(question["signatures"], 0, 9)}, "altered its advertised keys"),
        ({"keys": twice[0]}, "'dee': one of its keys is also a key of 'bob'"),
        ({"keys": twice[1]}, "'cyd': one of its keys is also a key of 'cyd'"),
        (present(run, "bob", "cyd", "dee"), "although it is reported as absent"),
        (present(run, "ada", "bob"), "2 participants advertised keys, but 3"),
        ({"present": np.array([2, 1, 1, 1], np.uint8)}, "values other than 0 and 1"),
    ]
    for change, sentence in cases:
        with pytest.raises(ClapError, match=sentence):
            run.sites["ada"].share({**question, **change})
    run.sites["ada"].share(question)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("weak", [bytes(32), b"\1" + bytes(31)], ids=["zero", "one"])
def test_keys_that_agree_on_nothing_secret_are_refused(simulate, which, weak):
    run = simulate(4).up_to("advertise")
    question = {**run.questions["share"]["ada"], "keys": run.questions["share"]["ada"]["keys"].copy()}
    question["keys"][2, which] = np.frombuffer(weak, np.uint8)
    with pytest.raises(ClapError, match="'cyd': its public key gives no shared secret"):
        run.sites["ada"].share(question)
    replies = {**run.replies["advertise"]}
    replies["cyd"] = {**replies["cyd"], "keys": question["keys"][2]}
    with pytest.raises(ClapError, match="'cyd': its public key gives no shared secret"):
        SecureCoordinator(run.session).advertised(replies)


def told(run, name: str, row: int) -> dict:
    """The replies of phase 4 in which one share of this site is altered."""
    shares = flipped(run.replies["unmask"][name]["shares"], row, 3)
    return {**run.replies["unmask"], name: {"shares": shares}}


def test_an_altered_share_of_a_key_is_noticed(simulate):
    run = simulate(4)
    everybody, there = run.session.participants, run.session.participants[:3]
    run.up_to("mask", everybody, everybody, there)
    right = run.unmask(there)
    for name in there:
        again = simulate(4)
        again.up_to("mask", everybody, everybody, there)
        again.replies["unmask"] = {n: again.sites[n].unmask(again.questions["unmask"][n]) for n in there}
        with pytest.raises(ClapError, match="'dee' dropped out, and the shares of its key do not give this key"):
            again.coordinator.unmasked(told(again, name, 3))
        sums = again.coordinator.unmasked(again.replies["unmask"])
        assert all(np.array_equal(a, b) for a, b in zip(sums, right, strict=True))


def test_an_altered_share_of_a_seed_is_noticed_where_there_is_one_more_than_needed(simulate):
    run = simulate(4).up_to("mask")
    run.replies["unmask"] = {n: s.unmask(run.questions["unmask"][n]) for n, s in run.sites.items()}
    for name in run.session.participants:
        with pytest.raises(ClapError, match=r"'bob': the secret .* contradict each other"):
            run.coordinator.unmasked(told(run, name, 1))
    exactly = {n: r for n, r in told(run, "ada", 1).items() if n != "dee"}
    wrong = run.coordinator.unmasked(exactly)  # nothing tells: documented
    assert not np.array_equal(wrong[0], run.sum_of(run.session.participants)[0])


def test_malformed_replies_name_the_participant(simulate):
    changes = {
        "advertise": [("keys", lambda a: a[:1]), ("signature", lambda a: a.astype(np.int64))],
        "share": [("ciphertexts", lambda a: a[:, :-1]), ("ciphertexts", lambda a: a.astype(np.float32))],
        "mask": [("narrow", lambda a: a[1:]), ("wide", lambda a: a.view(np.int64)), ("narrow", lambda a: a.tolist())],
        "unmask": [("shares", lambda a: a.T), ("shares", lambda a: a.view(np.int8))],
    }
    run = simulate(4)
    for phase, methods in changes.items():
        names = run.session.participants
        collected = []

        def collect(replies, collected=collected):
            collected.append(replies)
            return {}

        methods_of = {"advertise": "advertised", "share": "shared", "mask": "masked", "unmask": "unmasked"}
        real = getattr(run.coordinator, methods_of[phase])
        setattr(run.coordinator, methods_of[phase], collect)
        getattr(run, phase)(names)
        (good,) = collected
        for key, change in methods:
            bad = {**good, "cyd": {**good["cyd"], key: change(good["cyd"][key])}}
            with pytest.raises(ClapError, match=f"participant 'cyd', phase '{phase}': '{key}' is"):
                real(bad)
        with pytest.raises(ClapError, match=f"participant 'cyd', phase '{phase}': entries"):
            real({**good, "cyd": {}})
        with pytest.raises(ClapError, match="'mallory' does not take part"):
            real({**good, "mallory": good["cyd"]})
        setattr(run.coordinator, methods_of[phase], real)
        getattr(run, phase)(names)


# Order, reuse, secrets


def test_phases_come_in_order_and_once(simulate):
    run = simulate(4)
    with pytest.raises(ClapError, match="asked before phase 'advertise'"):
        run.sites["ada"].share(
            {
                "present": np.ones(4, np.uint8),
                "keys": np.zeros((4, 2, 32), np.uint8),
                "signatures": np.zeros((4, 4096), np.uint8),
            }
        )
    with pytest.raises(ClapError, match="phase 'mask' is not the next one"):
        run.coordinator.masked({})
    run.up_to("unmask")
    for late in (run.coordinator.unmasked, run.coordinator.advertised):
        with pytest.raises(ClapError, match="is not the next one"):
            late(run.replies["unmask"])


def test_masks_are_used_for_one_vector_only(simulate):
    run = simulate(4).up_to("mask")
    other = run.vectors["ada"][0] + np.uint32(1)
    with pytest.raises(ClapError, match="second, different question"):
        run.sites["ada"].mask(run.questions["mask"]["ada"], other, run.vectors["ada"][1])
    with pytest.raises(ValueError, match="read-only"):
        run.replies["mask"]["ada"]["narrow"][0] = 0  # the reply that a repeated question gets


def test_who_delivers_late_stays_hidden(simulate):
    """Its key is reconstructed, its seed is not, so what it sent is noise even to a coordinator that kept it."""
    run = simulate(4, sizes=(1 << 16, 0), seed=3)
    everybody, there = run.session.participants, run.session.participants[:3]
    run.vectors = dict.fromkeys(everybody, (np.zeros(1 << 16, np.uint32), np.zeros(0, np.uint64)))
    run.up_to("mask", everybody, everybody, there)
    late = run.sites["dee"].mask(run.questions["mask"]["dee"], *run.vectors["dee"])["narrow"].copy()
    run.unmask(there)
    tellers = {row + 1: run.replies["unmask"][name]["shares"][3].tobytes() for row, name in enumerate(there)}
    key = X25519PrivateKey.from_private_bytes(combine(tellers, 3))
    for row, name in enumerate(there):
        public = run.questions["share"]["ada"]["keys"][row, 1].tobytes()
        pair, sign = parties.pair_key(run.session, "dee", key, name, public)
        primitives.add_mask(pair, late, np.zeros(0, np.uint64), -sign)
    counts = np.bincount(late.view(np.uint8), minlength=256)
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < 340  # chi-square, 255 degrees of freedom


def test_sites_with_different_sessions_refuse_each_other(simulate):
    base = simulate(4).session
    names = base.participants
    others = [
        replace(base, identity="round 2"),
        replace(base, participants=(names[1], names[0], *names[2:])),
        replace(base, threshold=4),
        replace(base, cohort=4, threshold=4),
        replace(base, sizes=(2, 6)),
        replace(base, context=b"another layout"),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 7
    run, other = simulate(4, seed=2), simulate(base, simulate(4).vectors, 2)
    other.session = replace(base, context=b"another layout")
    other.sites["ada"] = SecureSite(other.session, "ada", UnauthenticatedSigner())
    other.up_to("share")
    with pytest.raises(ClapError, match="'bob': received from 'ada'"):
        other.sites["bob"].mask(other.questions["mask"]["bob"], *run.vectors["bob"])


def test_secrets_are_neither_shown_nor_stored(simulate):
    run = simulate(3).up_to("mask")
    site = run.sites["ada"]
    secrets = [site._seed, site._masking.private_bytes_raw(), site._sealing.private_bytes_raw(), *site._held.values()]
    for shown in (repr(site), str(site), repr(run.coordinator), repr(run.session)):
        assert not any(repr(secret)[2:-1] in shown or secret.hex() in shown for secret in secrets)
    with pytest.raises(TypeError, match="not stored"):
        pickle.dumps(site)
