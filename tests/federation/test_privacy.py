"""A site's side of differential privacy: noise that comes from all that was asked, and a budget nobody else resets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from clap_vad.core.statistics.accounting import Terms
from clap_vad.detector.network import last_layers, weight_shapes
from clap_vad.errors import ClapError
from clap_vad.federation.account import Account, Data
from clap_vad.federation.ask import Ask, SecureSum
from clap_vad.federation.checkpoint import SiteState
from clap_vad.federation.conversation import Turn
from clap_vad.federation.messages import Message, schema
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.privacy import KEY, SitePrivacy
from clap_vad.federation.question import question_digest
from clap_vad.federation.run_account import RunAccount
from clap_vad.federation.secure import SiteProtection
from clap_vad.federation.site import Site
from clap_vad.protection.session import least_members
from clap_vad.protection.signing import UnauthenticatedSigner

DIM = 10_000
TERMS = Terms(None, 1e-5, 1.0, 0.5, 0.1, 3, 2, 1, 5.0, 7.0)
LAST = {name: weight_shapes(DIM)[name] for name in last_layers(weight_shapes(DIM), 2)}
NAMES = ("ada", "bob", "cyd", "dee")


class Program:
    """Sums that are all zero, or what the site was told last; remembers what it was asked and keyed with."""

    dim = DIM
    order = (Turn(("scales", "calibrate", "train", "tell", "bare"), 99),)

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.steps = {
            "scales": (self._scales, "private_scales"),
            "calibrate": (self._calibrate, "private_scores"),
            "train": (self._train, "private_gradient_2"),
            "tell": (self._tell, "acknowledgement"),
            "bare": (lambda payload, state: {"count": 3}, "segment_count"),
        }

    def _scales(self, payload: Message, state) -> Message:
        self.keys.append(np.asarray(payload[KEY]).tobytes())
        return {"count": np.zeros(1), "overall": np.zeros(1), "apart": np.zeros(DIM)}

    def _calibrate(self, payload: Message, state) -> Message:
        return {"bins": np.full(16, float(state.get("told", np.array(0))))}

    def _train(self, payload: Message, state) -> Message:
        return {f"gradient.{name}": np.zeros(shape, np.float32) for name, shape in LAST.items()}

    def _tell(self, payload: Message, state) -> Message:
        state["told"] = np.array(payload["number"])
        return {}


def site(
    folder: Path, terms: Terms | None = TERMS, secure: bool = False, one_process: bool = False, name: str = "ada"
) -> Site:
    """A process that knows nothing but its files."""
    protection = SiteProtection(name, NAMES, UnauthenticatedSigner(), 3) if secure else None
    privacy = None if terms is None else SitePrivacy(name, terms, folder, one_process)
    return Site(name, Program(), SiteState(folder / "state"), folder, protection=protection, privacy=privacy)


def ask(step: str = "scales", sequence: int = 0, accepted: int | None = None, **payload) -> Ask:
    reply, accepted = Program().steps[step][1], sequence - 1 if accepted is None else accepted
    return Ask(step, reply, payload, sequence=sequence, accepted={"ada": accepted})


def noise(message: Message) -> np.ndarray:
    return np.asarray(message["apart"])


def independent(one: np.ndarray, other: np.ndarray) -> bool:
    return abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(DIM)


def same(one: Message, other: Message) -> bool:
    return one.keys() == other.keys() and all(
        np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes() for name in one
    )


# Noise.


def test_statistics_and_gradients_have_the_noise_of_the_terms_and_their_schemas_types(tmp_path):
    here = site(tmp_path)
    found = noise(here.handle(ask()))
    assert found.std() == pytest.approx(5.0, rel=0.04)
    assert kstest(found / 5.0, "norm").pvalue > 0.01
    gradient = here.handle(ask("train", 1, round=1))
    weights = np.asarray(gradient["gradient.layer2.weight"])
    assert weights.dtype == np.float32
    assert weights.std() == pytest.approx(7.0, rel=0.04)
    assert abs(np.corrcoef(weights)[np.triu_indices(32, 1)]).max() < 6 / np.sqrt(512)
    for name, value in gradient.items():
        assert value.dtype == schema("private_gradient_2").fields[name].dtype


def test_terms_without_noise_leave_a_message_as_it_is(tmp_path):
    terms = replace(TERMS, noise_statistics=0.0, noise_training=0.0)
    assert not noise(site(tmp_path, terms).handle(ask())).any()


@pytest.mark.parametrize("secure", [False, True])
def test_the_same_question_asked_again_gets_the_same_bytes_by_a_new_process_too(tmp_path, secure):
    """``secure``: in one process, which is all parties of the sum."""
    question = ask(scales=np.ones(3))
    here = site(tmp_path, one_process=secure)
    first = here.handle(question)
    assert same(first, here.handle(question))
    assert same(first, site(tmp_path, one_process=secure).handle(question))
    later = ask(sequence=1)
    second = here.handle(later)
    assert same(second, site(tmp_path).handle(later))
    assert json.loads((tmp_path / "privacy.jsonl").read_text().splitlines()[-1])["kind"] == "statistics"
    assert len((tmp_path / "privacy.jsonl").read_text().splitlines()) == 1 + 2  # the terms, two releases


CHANGES: dict[str, Callable[[Ask], Ask]] = {
    "sequence": lambda a: replace(a, sequence=1),
    "value": lambda a: replace(a, payload={"x": np.array([1.0, 2.0000001])}),
    "type": lambda a: replace(a, payload={"x": np.array([1.0, 2.0], np.float32)}),
    "shape": lambda a: replace(a, payload={"x": np.array([[1.0, 2.0]])}),
    "name": lambda a: replace(a, payload={"y": np.array([1.0, 2.0])}),
    "more": lambda a: replace(a, payload={**a.payload, "y": np.zeros(0)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_question_gets_noise_of_its_own(tmp_path, change):
    question = ask(x=np.array([1.0, 2.0]))
    first, *others = (folder.parent for folder in (tmp_path / "a" / "_", tmp_path / "b" / "_"))
    for folder in (first, *others):
        folder.mkdir()
        (folder / "privacy.key").write_bytes(bytes(32))
    one = noise(site(first).handle(question))
    other = noise(site(others[0]).handle(CHANGES[change](question)))
    assert independent(one, other)
    assert np.array_equal(one, noise(site(tmp_path / "a").handle(question)))


def test_noise_depends_on_all_that_came_before(tmp_path):
    found = []
    for number, before in enumerate(([], [1], [2], [1, 2], [2, 1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "privacy.key").write_bytes(bytes(32))
        here = site(folder)
        for value in before:
            here.handle(ask("tell", 0, number=value))
        found.append(noise(here.handle(ask(sequence=5, accepted=-1))))
    for i, one in enumerate(found):
        assert all(independent(one, other) for other in found[:i])


def test_a_question_that_comes_back_later_gets_other_noise_and_counts(tmp_path):
    here, question = site(tmp_path), ask()
    first = noise(here.handle(question))
    here.handle(ask(sequence=1))
    assert independent(first, noise(here.handle(question)))
    assert here.privacy.spent()["statistics"] == 3


def test_participants_and_runs_draw_apart(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    question = replace(ask(), accepted={})
    runs = [noise(site(tmp_path / name).handle(question)) for name in ("one", "other")]
    assert independent(*runs)
    keys = [(tmp_path / name / "privacy.key").read_bytes() for name in ("one", "other")]
    assert keys[0] != keys[1]
    assert {len(key) for key in keys} == {32}
    seeded = replace(TERMS, seed=3)
    found = [noise(site(tmp_path / f"s-{name}", seeded, name=name).handle(question)) for name in ("ada", "bob")]
    assert independent(*found)
    assert np.array_equal(found[0], noise(site(tmp_path / "again", seeded).handle(question)))
    assert not (tmp_path / "again" / "privacy.key").exists()


def test_entries_of_a_message_and_what_a_step_draws_by_have_keys_of_their_own(tmp_path):
    here = site(tmp_path)
    message = here.handle(ask("train", round=1))
    a, b = (np.ravel(message[f"gradient.{name}"]) for name in ("layer2.weight", "layer2.bias"))
    assert abs(np.corrcoef(a[:32], b)[0, 1]) < 0.8
    program = here.program
    for sequence in (1, 2, 2, 3):
        here.handle(ask(sequence=sequence))
    assert program.keys[1] == program.keys[2]
    assert len(set(program.keys)) == 3
    secret = (tmp_path / "privacy.key").read_bytes()
    assert all(key not in secret and len(key) == 32 for key in program.keys)


def test_what_else_a_coordinator_puts_in_a_question_is_no_key(tmp_path):
    here = site(tmp_path)
    here.handle(replace(ask(), payload={KEY: np.zeros(32, np.uint8)}))
    assert here.program.keys[0] != bytes(32)


def test_asked_the_same_of_another_state_a_site_does_not_say_what_else_it_knows_under_the_same_noise(tmp_path):
    """A coordinator picks the state by ``accepted``: under one noise, two answers give away their difference."""
    here = site(tmp_path)
    here.handle(ask("tell", 0, number=1.0))
    here.handle(ask("tell", 1, number=0.0))
    answers = []
    for accepted in (1, 0):
        try:
            answers.append(np.asarray(here.handle(ask("calibrate", 2, accepted))["bins"]))
        except RefusalError:
            return
    difference = answers[1] - answers[0]
    assert not np.allclose(difference, 1.0, atol=0.1), "the difference of both answers came out without noise"


def test_asked_again_after_its_videos_have_changed_a_site_does_not_give_away_the_difference(tmp_path):
    one, other = site(tmp_path), site(tmp_path)
    question = ask("calibrate")
    first = np.asarray(one.handle(question)["bins"])
    other.program.steps["calibrate"] = (lambda payload, state: {"bins": np.full(16, 1.0)}, "private_scores")
    try:
        second = np.asarray(other.handle(question)["bins"])
    except RefusalError:
        return
    assert not np.allclose(second - first, 1.0, atol=0.1), "the difference of both answers came out without noise"


# The budget.


def test_after_so_many_releases_as_agreed_nothing_more_leaves(tmp_path):
    here = site(tmp_path)
    for sequence in range(4):  # three, and one to spare
        here.handle(ask(sequence=sequence))
    assert same(here.handle(ask(sequence=3)), here.handle(ask(sequence=3)))  # the last may still be repeated
    with pytest.raises(RefusalError, match=r"privacy budget of this run is spent \(4 releases of statistics\)"):
        here.handle(ask(sequence=4))
    for sequence in range(4, 7):  # of the other kind there are still some
        here.handle(ask("train", sequence, round=1))
    with pytest.raises(RefusalError, match=r"\(3 releases of training\)"):
        here.handle(ask("train", 7, round=1))
    here.handle(ask("tell", 8, number=1))  # costs nothing
    assert here.privacy.spent() == {"statistics": 4, "training": 3}
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 4 + 2 + 3 + 1


@pytest.mark.parametrize("way", ["a new process", "an older state", "the first question", "its state is gone"])
def test_nothing_that_a_coordinator_can_say_resets_the_budget(tmp_path, way):
    here = site(tmp_path)
    for sequence in range(4):
        here.handle(ask(sequence=sequence))
    question = ask(sequence=5)
    if way == "a new process":
        here = site(tmp_path)
    elif way == "an older state":
        question = ask(sequence=2, accepted=-1)
    elif way == "the first question":
        question = ask(sequence=0)
    else:
        here, question = site(tmp_path), replace(question, accepted={})
        for file in (tmp_path / "state").glob("*"):
            file.unlink()
    with pytest.raises(RefusalError, match="budget of this run is spent"):
        here.handle(question)


def test_a_question_that_failed_costs_nothing_for_nothing_was_said(tmp_path):
    here = site(tmp_path)
    answer = here.program.steps["scales"]

    def fail(payload, state):
        raise ClapError("no")

    here.program.steps["scales"] = (fail, "private_scales")
    for sequence in range(5):
        with pytest.raises(ClapError, match=r"^no$"):
            here.handle(ask(sequence=sequence))
    here.program.steps["scales"] = answer
    assert here.privacy.spent()["statistics"] == 0
    for sequence in range(4):
        here.handle(ask(sequence=sequence))
    with pytest.raises(RefusalError, match="budget"):
        here.handle(ask("calibrate", 4))


def test_two_processes_do_not_spend_the_last_of_the_budget_twice(tmp_path):
    here = [SitePrivacy("ada", TERMS, tmp_path, one_process=False) for _ in range(2)]
    answer = Program()._scales({KEY: np.zeros(32, np.uint8)}, {})
    for privacy, sequence in zip(here, range(2), strict=True):
        privacy.enter(ask(sequence=sequence), "private_scales")
    here[0].noised(ask(sequence=0), "private_scales", answer)
    with pytest.raises(RefusalError, match="another process answers in this run at the same time; refused"):
        here[1].noised(ask(sequence=1), "private_scales", answer)
    here[1].enter(ask(sequence=1), "private_scales")
    here[1].noised(ask(sequence=1), "private_scales", answer)
    assert here[0].spent() == here[1].spent() == {"statistics": 2, "training": 0}


def silent(question: Ask) -> Ask:
    return replace(question, reply="acknowledgement", silent=True)


def test_what_is_done_in_silence_counts_and_is_done_once(tmp_path):
    """What a step draws shows in later answers: drawn anew again and again it would tell ever more, for nothing."""
    here = site(tmp_path)
    assert here.handle(silent(ask())) == here.handle(silent(ask())) == {}
    assert here.privacy.spent()["statistics"] == 1 and here.program.keys[0] == here.program.keys[1]
    here.handle(ask("tell", 1, number=1))
    with pytest.raises(RefusalError, match="'scales' was done before; refused"):
        here.handle(silent(ask()))
    for sequence in range(2, 5):
        here.handle(ask(sequence=sequence))
    with pytest.raises(RefusalError, match="budget"):
        here.handle(silent(ask(sequence=5)))


def test_a_step_whose_answer_was_lost_is_done_in_silence_with_the_same_draws_for_nothing(tmp_path):
    here = site(tmp_path)
    here.handle(ask())
    here.handle(silent(ask()))
    assert here.program.keys[0] == here.program.keys[1]
    assert here.privacy.spent()["statistics"] == 1


def test_a_step_in_silence_stands_in_the_account_for_each_run(tmp_path):
    account, data = Account(tmp_path / "account.jsonl"), Data.of(["v"], [b""])
    for run in ("one", "two"):
        folder = tmp_path / run
        run_account = RunAccount(account, Policy(), run, data, TERMS)
        privacy = SitePrivacy("ada", TERMS, folder, one_process=False)
        here = Site("ada", Program(), SiteState(folder / "state"), folder, privacy=privacy, account=run_account)
        assert here.handle(silent(ask())) == here.handle(silent(ask())) == {}
        assert [(one.schema, one.noise) for one in account.counted("run", data, run)] == [("private_scales", 5.0)]
        assert json.loads((folder / "ledger.jsonl").read_text().splitlines()[0])["schema"] == "acknowledgement"


def test_a_run_goes_on_under_the_terms_that_it_was_begun_on_alone(tmp_path):
    site(tmp_path).handle(ask())
    site(tmp_path)
    with pytest.raises(RefusalError, match="began with other terms"):
        site(tmp_path, replace(TERMS, rounds=TERMS.rounds + 1))


def test_a_torn_last_line_is_an_answer_that_was_never_made(tmp_path):
    here, file = site(tmp_path), tmp_path / "privacy.jsonl"
    first = here.handle(ask())
    whole = file.read_bytes()
    here.handle(ask(sequence=1))
    file.write_bytes(whole + file.read_bytes()[len(whole) : len(whole) + 40])
    again = site(tmp_path)
    assert again.privacy.spent()["statistics"] == 1
    assert same(first, again.handle(ask()))
    third = again.handle(ask(sequence=1))
    assert again.privacy.spent()["statistics"] == site(tmp_path).privacy.spent()["statistics"] == 2
    assert same(third, site(tmp_path).handle(ask(sequence=1)))


def test_the_secret_is_its_owners_alone(tmp_path):
    site(tmp_path)
    assert (tmp_path / "privacy.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 5])
def test_a_secret_that_a_kill_cut_short_is_not_used(tmp_path, size):
    """HMAC takes an empty key; all else that the noise comes from is known to the coordinator."""
    (tmp_path / "privacy.key").write_bytes(bytes(size))
    try:
        found = noise(site(tmp_path).handle(ask()))
    except ClapError:
        return
    other = tmp_path / "other"
    other.mkdir()
    (other / "privacy.key").write_bytes(bytes(size))
    assert independent(found, noise(site(other).handle(ask())))


# Schemas.


@pytest.mark.parametrize("step", ["scales", "train"])
def test_what_is_noised_does_not_leave_in_a_plain_run(tmp_path, step):
    with pytest.raises(RefusalError, match="with noise; refused in this run"):
        site(tmp_path, terms=None).handle(ask(step, round=1))
    assert not (tmp_path / "ledger.jsonl").exists()


def test_what_is_not_noised_does_not_leave_in_a_private_run(tmp_path):
    with pytest.raises(RefusalError, match="schema 'segment_count' without noise; refused in this run"):
        site(tmp_path).handle(ask("bare"))
    assert not (tmp_path / "ledger.jsonl").exists()
    assert site(tmp_path / "plain", terms=None).handle(ask("bare")) == {"count": 3}


def test_a_bare_message_passes_and_the_ledger_says_what_was_noised(tmp_path):
    here = site(tmp_path)
    assert here.handle(ask("tell", number=2)) == {}
    here.handle(ask(sequence=1))
    here.handle(replace(ask("train", 2, round=2), reply="acknowledgement", silent=True))
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [(line["schema"], line["protection"]) for line in lines] == [
        ("acknowledgement", "none"),
        ("private_scales", "noised"),
        ("acknowledgement", "none"),
    ]


# Under masks.


def masked(here: dict[str, Site], sequence: int = 0, identity: str = "0-x") -> dict[str, Message]:
    """The masked messages of a secure sum among these sites, asked as its coordinator does."""
    names = tuple(here)
    base = ask(sequence=sequence)
    secure = SecureSum(identity, "advertise", "private_scales", names, question=question_digest(base).hex())

    def say(phase: str, name: str, reply: str, **payload: np.ndarray) -> Message:
        question = replace(base, reply=reply, payload=payload, secure=replace(secure, phase=phase))
        return here[name].handle(question)

    told = {name: say("advertise", name, "secure_keys") for name in names}
    present = np.ones(len(names), np.uint8)
    keys, signatures = (np.stack([told[name][key] for name in names]) for key in ("keys", "signature"))
    shares = {
        name: say("share", name, "secure_shares", present=present, keys=keys, signatures=signatures) for name in names
    }
    sealed = np.stack([[shares[sender]["ciphertexts"][row] for sender in names] for row in range(len(names))])
    entries = {"secure.present": present, "secure.ciphertexts": sealed}
    return {name: say("mask", name, "masked", **entries) for name in names}


@pytest.fixture
def shown(monkeypatch) -> list[np.ndarray]:
    """What sites put under their masks."""
    seen: list[np.ndarray] = []
    inner = SiteProtection.mask

    def mask(self, ask, message, dim):
        seen.append(np.asarray(message["apart"]))
        return inner(self, ask, message, dim)

    monkeypatch.setattr(SiteProtection, "mask", mask)
    return seen


@pytest.mark.parametrize("count", [3, 4])
def test_under_masks_a_site_adds_its_share_of_the_noise(tmp_path, shown, count):
    masked({name: site(tmp_path / name, secure=True, name=name) for name in NAMES[:count]})
    assert len(shown) == count
    for part in shown:
        assert part.std() == pytest.approx(5.0 / np.sqrt(least_members(count)), rel=0.04)
    least = np.sum(shown[: least_members(count)], axis=0)
    assert least.std() == pytest.approx(5.0, rel=0.04)
    assert all(independent(one, other) for one, other in pairwise(shown))
    lines = [json.loads(line) for line in (tmp_path / "ada" / "ledger.jsonl").read_text().splitlines()]
    assert [line["protection"] for line in lines if line["schema"] == "private_scales"] == ["noised, masked"]


@pytest.mark.parametrize("one_process", [False, True])
def test_asked_again_for_another_sum(tmp_path, shown, one_process):
    """Two sums over other sites must not share noise; in one process nobody else can have been in the first."""
    sites = {name: site(tmp_path / name, secure=True, name=name, one_process=one_process) for name in NAMES[:3]}
    for identity in ("0-x", "0-y"):
        masked(sites, identity=identity)
    first, again = shown[0], shown[3]
    assert np.array_equal(first, again) if one_process else independent(first, again)
    assert sites["ada"].privacy.spent()["statistics"] == (1 if one_process else 2)
    if not one_process:
        for number in range(2):
            masked(sites, identity=f"0-{number}")
        with pytest.raises(RefusalError, match="budget of this run is spent"):
            masked(sites, identity="0-z")
        assert len(shown) == 12


@pytest.mark.parametrize("names", [NAMES, NAMES[:3]], ids=["the same sites", "one less"])
def test_a_sum_that_has_the_name_of_another_shares_no_noise_with_it(tmp_path, shown, names):
    """After a restart a site knows no names; the difference of the two sums would be one site's, with its own noise."""
    for cohort in (NAMES, names):
        masked({name: site(tmp_path / name, secure=True, name=name) for name in cohort})
    assert len(shown) == 4 + len(names)
    assert all(independent(one, other) for one, other in zip(shown[:4], shown[4:], strict=False))
    assert site(tmp_path / "ada").privacy.spent()["statistics"] == 2
