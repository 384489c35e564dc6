"""Updates in 8 bits: what leaves a site, what stays there, and what the coordinator's steps are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.network import initial_weights
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, Reply
from clap_vad.federation.checkpoint import Checkpoint, SiteState
from clap_vad.federation.conversation import Turn
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.encoding import SiteEncoding, check_update_encoding
from clap_vad.federation.engine import Quorum
from clap_vad.federation.messages import check_message, encoded, schema, schemas
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.question import question_digest
from clap_vad.federation.secure import SiteProtection
from clap_vad.federation.site import Site
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.specification.reading import options_from
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.resolution import resolve
from synthetic import make_dataset, make_plan

DIM = 3
COUNTS = {"ada": 10, "bob": 300, "cyd": 1, "dee": 200}
TOTAL = sum(COUNTS.values())
NUMBERS = [key for key, declared in schema("model_update").fields.items() if declared.dtype == "float32"]
RESIDUAL = "encoding.residual."


def update_of(participant: str, number: int) -> dict:
    """A site's update in a question: most numbers small, some a hundred times larger, and less from round to round."""
    rng = np.random.default_rng([number, *participant.encode()])
    message = {}
    for key in NUMBERS:
        shape = tuple(DIM if n == "D" else n for n in schema("model_update").fields[key].shape)
        values = rng.normal(0, 0.01 * 0.8**number, shape)
        message[key] = np.where(rng.random(shape) < 0.01, 100 * values, values).astype(np.float32)
    return {**message, "count": COUNTS[participant], "loss": 0.5}


class Program:
    """Replies with its update of the question's number, and counts its answers."""

    dim = DIM
    order = (Turn(("tell",), 99),)

    def __init__(self, participant: str, update: Callable[[str, int], dict] = update_of) -> None:
        self.steps = {"tell": (self._tell, "model_update")}
        self._participant, self._update = participant, update

    def _tell(self, payload, state):
        state["answers"] = np.array(int(state.get("answers", 0)) + 1)
        return self._update(self._participant, int(payload["at"]))


@dataclass
class Sent:
    """All that was sent in whole steps: per question and site the answer, and the steps it was asked in."""

    codes: dict[int, dict[str, dict]] = field(default_factory=dict)
    steps: dict[int, dict[str, float]] = field(default_factory=dict)


@pytest.fixture
def sent(monkeypatch) -> Sent:
    """Looks over the sites' shoulders, before masks."""
    kept, encode = Sent(), SiteEncoding.encode

    def watched(self, ask, name, message, state):
        found, number = encode(self, ask, name, message, state), int(ask.payload["at"])
        kept.codes.setdefault(number, {})[self.participant] = found
        kept.steps[number] = {key: float(ask.payload[f"encoding.step.{key}"]) for key in NUMBERS}
        return found

    monkeypatch.setattr(SiteEncoding, "encode", watched)
    return kept


class Losing(InProcessEngine):
    """Some answers are made and never arrive."""

    def __init__(self, sites, lost: frozenset[tuple[int, str]]) -> None:
        super().__init__(sites)
        self.lost = lost

    def deliver(self, ask, check) -> list[Reply]:
        replies = super().deliver(ask, check)
        return [reply for reply in replies if (int(ask.payload.get("at", -1)), reply.participant) not in self.lost]


def make_site(folder: Path, participant: str, secure=False, update=update_of, policy=None, encodes=True) -> Site:
    protection = SiteProtection(participant, list(COUNTS), UnauthenticatedSigner(), 3) if secure else None
    states, home = SiteState(folder / participant / "state"), folder / participant
    encoding = SiteEncoding(participant, seed=4) if encodes else None
    return Site(participant, Program(participant, update), states, home, policy, protection, None, encoding)


def rounds(folder: Path, questions: int, secure=False, lost=frozenset(), update=update_of):
    """What the steps were sent in each question, per participant, and the sites at the end."""
    sites, got = {name: make_site(folder, name, secure, update) for name in COUNTS}, []

    def steps(state):
        for number in range(questions):
            replies = yield Ask("tell", "model_update", {"at": number}, lasting=False, total=TOTAL)
            got.append({reply.participant: reply.message for reply in replies})

    quorum, engine = Quorum(len(COUNTS) - 1), Losing(list(sites.values()), lost)
    state = coordinate(steps, engine, Checkpoint(folder), DIM, quorum, secure, update_encoding="int8")
    return got, {name: dict(site.state(questions)) for name, site in sites.items()}, state


def share(participant: str, secure: bool) -> Fraction:
    return Fraction(COUNTS[participant], TOTAL) if secure else Fraction(1)


@pytest.mark.parametrize("secure", [False, True])
def test_what_was_sent_and_what_is_left_over_add_up_to_the_true_updates(tmp_path, sent, secure):
    """Number by number, in fractions; every answer within a step of what it had to say, or at an end."""
    questions = 8
    _, states, _ = rounds(tmp_path, questions, secure)
    assert sorted(sent.codes) == list(range(1, questions))  # the first one goes in float32
    clipped = 0
    for name in COUNTS:
        for key in NUMBERS:
            size, left = np.size(states[name][RESIDUAL + key]), states[name][RESIDUAL + key].reshape(-1)
            for i in range(0, size, max(1, size // 40)):
                residual = Fraction(0)
                for number in range(1, questions):
                    step, code = Fraction(sent.steps[number][key]), int(sent.codes[number][name][key].flat[i])
                    wanted = share(name, secure) * Fraction(float(update_of(name, number)[key].flat[i])) + residual
                    residual = wanted - step * code
                    assert abs(residual) < step * Fraction(1.0001) or code == (127 if residual > 0 else -127)
                    clipped += abs(code) == 127
                assert abs(residual - Fraction(float(left[i]))) < Fraction(1e-6) * step * 127
    assert clipped > 0


def test_sites_without_masks_are_each_read_as_the_steps_they_sent(tmp_path, sent):
    got, _, _ = rounds(tmp_path, 4)
    assert all(np.array_equal(got[0][name][key], update_of(name, 0)[key]) for name in COUNTS for key in NUMBERS)
    for number in range(1, 4):
        for name, message in got[number].items():
            check_message("model_update", message, DIM, name)
            codes = sent.codes[number][name]
            check_message("model_update_int8", codes, DIM, name)
            # Of bob's 300 as many count as all others have together.
            assert (message["count"], message["loss"]) == (min(COUNTS[name], TOTAL - COUNTS[name]), 0.5)
            for key in NUMBERS:
                wanted = [np.float32(int(code) * sent.steps[number][key]) for code in codes[key].flat]
                assert message[key].reshape(-1).tolist() == wanted


@pytest.mark.parametrize("lost", [frozenset(), frozenset({(2, "ada")})])
def test_under_masks_the_mean_is_that_of_the_same_whole_numbers(tmp_path, sent, lost):
    """The sum of integers over those in it, exactly; then a step and the sum of shares."""
    got, _, state = rounds(tmp_path, 4, True, lost)
    for number in range(1, 4):
        ((members, message),) = got[number].items()
        names = [name for name in COUNTS if (number, name) not in lost]
        assert members == ", ".join(names)
        check_message("model_update", message, DIM, members)
        shares = sum(COUNTS[name] / TOTAL for name in names)
        for key in NUMBERS:
            total = sum(sent.codes[number][name][key].astype(object) for name in names)  # whole numbers of any size
            exact = total.astype(np.float64) / shares * sent.steps[number][key]
            np.testing.assert_allclose(message[key], exact, rtol=1e-6)
            assert np.array_equal(message[key] == 0, total == 0)
    assert int(state["clipped"]) == 0


def test_steps_are_a_quarter_of_the_last_means_root_mean_square(tmp_path, sent):
    for secure, parts in ((False, 1), (True, len(COUNTS))):
        got, _, _ = rounds(tmp_path / str(secure), 3, secure)
        for number in (1, 2):
            for key in NUMBERS:
                before = got[number - 1]
                mean = sum(np.asarray(m[key], np.float64) * m["count"] for m in before.values())
                mean = (mean / sum(m["count"] for m in before.values())).astype(np.float32)
                wanted = 0.25 * np.sqrt(np.mean(np.square(mean, dtype=np.float64))) / parts
                assert sent.steps[number][key] == pytest.approx(wanted, rel=1e-6)


def test_an_answer_that_did_not_count_has_left_nothing_over(tmp_path, sent):
    """What the site had to say of that question is gone, as it is without 8 bits; the residual before it is not."""
    _, states, _ = rounds(tmp_path, 5, lost=frozenset({(2, "bob")}))
    key = "update.layer2.weight"
    true = sum(update_of("bob", number)[key].astype(np.float64) for number in (1, 3, 4))
    told = sum(sent.codes[number]["bob"][key] * sent.steps[number][key] for number in (1, 3, 4))
    np.testing.assert_allclose(told + states["bob"][RESIDUAL + key], true, atol=1e-6)
    assert int(states["bob"]["answers"]) == 4


def test_while_nobody_can_train_there_is_no_scale_and_float32_is_asked_for(tmp_path, sent):
    def idle_at_first(participant: str, number: int) -> dict:
        update = update_of(participant, number)
        return update if number else {**{key: np.zeros_like(update[key]) for key in NUMBERS}, "count": 0, "loss": 0.0}

    rounds(tmp_path, 4, update=idle_at_first)
    assert sorted(sent.codes) == [2, 3]


def test_numbers_that_were_zero_for_all_become_others_again(tmp_path):
    """Their first steps are far too small; what is clipped waits, and the steps grow."""
    key = "update.layer1.bias"

    def late(participant: str, number: int) -> dict:
        update = update_of(participant, number)
        return {**update, key: np.full_like(update[key], 0.0 if number == 0 else 0.01)}

    _, states, _ = rounds(tmp_path, 12, update=late)
    assert all(np.abs(state[RESIDUAL + key]).max() < 0.02 for state in states.values())


@pytest.mark.parametrize("strategy", ["median", "multi-krum", "fedadam"])
def test_strategies_know_nothing_of_it(tmp_path, strategy):
    dataset = Dataset(make_dataset(tmp_path / "data", videos=3, test=False))
    held = {s: [v for v in dataset.train_videos if v.startswith(s)] for s in ("north", "south", "east", "west")}
    models = {}
    for encoding in ("float32", "int8"):
        plan = make_plan(strategy, rounds=4, update_encoding=encoding)
        state = Federation(tmp_path / encoding, dataset, held, plan, make_method("c2fpl", {})).run()
        models[encoding] = state["weights.layer1.weight"] - initial_weights(16, 0)["layer1.weight"]
    apart = np.linalg.norm(models["int8"] - models["float32"]) / np.linalg.norm(models["float32"])
    assert 0 < apart < 0.1


# What a site will not do.


def question(**changes) -> Ask:
    steps = {f"encoding.step.{key}": np.float32(0.01) for key in NUMBERS}
    return Ask("tell", "model_update_int8", {"at": 1, "encoding.number": 0, **steps, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *[
            ({"encoding.step.update.layer2.bias": bad}, "whose step for 'update.layer2.bias' is no number above 0")
            for bad in (0.01, np.float32(0), np.float32(-1), np.float32("nan"), np.float32("inf"), None)
        ],
        ({"encoding.step.update.layer2.bias": np.full(32, 0.01, np.float32)}, "is no number above 0"),
        ({"encoding.number": -1}, "that has no number"),
        ({"encoding.number": 0.5}, "that has no number"),
        ({"encoding.number": None}, "that has no number"),
    ],
)
def test_questions_whose_steps_are_none_are_refused(tmp_path, changes, says):
    with pytest.raises(RefusalError, match=says):
        make_site(tmp_path, "ada").handle(question(**changes))
    assert not (tmp_path / "ada" / "ledger.jsonl").exists() and not (tmp_path / "ada" / "state").exists()


def test_8_bits_leave_a_site_only_where_they_are_agreed_and_permitted(tmp_path):
    with pytest.raises(RefusalError, match="replies with 'model_update', not with 'model_update_int8'; refused"):
        make_site(tmp_path, "ada", encodes=False).handle(question())
    with pytest.raises(RefusalError, match="schema 'model_update_int8' is outside this site's policy"):
        make_site(tmp_path, "ada", policy=Policy(("model_update",))).handle(question())
    message = make_site(tmp_path, "ada", policy=Policy(("model_update_int8",))).handle(question())
    check_message("model_update_int8", message, DIM, "ada")


def told_steps(ask: Ask) -> bool:
    return any(name.startswith("encoding.step.") for name in ask.payload)


def test_a_masked_sum_is_in_the_steps_that_all_sites_were_told(tmp_path, monkeypatch):
    """A coordinator that gives one site other steps than the rest would read that site's numbers in the sum."""
    handle, told = Site.handle, []

    def finer(self, ask):
        if ask.secure is not None and ask.secure.phase == "mask" and told_steps(ask) and self.participant != "bob":
            told.append(self.participant)
            coarse = {key: np.float32(100) for key in ask.payload if key.startswith("encoding.step.")}
            ask = replace(ask, payload={**ask.payload, **coarse})
        return handle(self, ask)

    monkeypatch.setattr(Site, "handle", finer)
    with pytest.raises(RefusalError, match="whose question differs from the one that it began with; refused"):
        rounds(tmp_path, 2, secure=True)
    assert told == ["ada"]


def test_sites_that_were_told_other_steps_refuse_each_others_keys(tmp_path, monkeypatch):
    handle = Site.handle

    def other(self, ask):
        if ask.secure is not None and self.participant == "bob":
            ask = replace(ask, secure=replace(ask.secure, question="0" * 64))
        return handle(self, ask)

    monkeypatch.setattr(Site, "handle", other)
    with pytest.raises(ClapError, match="received from 'bob' a ciphertext that was altered, or is for another"):
        rounds(tmp_path, 2, secure=True)


def test_a_digest_tells_questions_apart_and_passes_over_the_masks():
    base = Ask("train", "model_update", {"encoding.step.a": np.float32(1), "round": 3}, sequence=4)
    others = [
        replace(base, payload={**base.payload, "encoding.step.a": np.float32(2)}),
        replace(base, payload={**base.payload, "more": np.zeros(0)}),
        replace(base, sequence=5),
        replace(base, step="other"),
        replace(base, reply="scaffold_update"),
    ]
    assert len({question_digest(each) for each in (base, *others)}) == 6
    masked = replace(base, payload={"secure.present": np.ones(3, np.uint8), **dict(reversed(base.payload.items()))})
    assert question_digest(masked) == question_digest(base)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"update.layer2.bias": np.zeros(32, np.int16)}, "'update.layer2.bias' is int16; int8 is declared"),
        ({"update.layer2.bias": np.zeros(32, np.float32)}, "is float32; int8 is declared"),
        ({"update.layer2.bias": np.zeros(31, np.int8)}, r"has shape \(31,\); \(32,\) is declared"),
        ({"update.layer2.bias": np.full(32, -128, np.int8)}, r"is outside \[-127, 127\]"),
    ],
)
def test_numbers_of_another_kind_shape_or_size_do_not_leave(tmp_path, monkeypatch, change, says):
    encode = SiteEncoding.encode
    monkeypatch.setattr(SiteEncoding, "encode", lambda *arguments: {**encode(*arguments), **change})
    with pytest.raises(ClapError, match=says):
        make_site(tmp_path, "ada").handle(question())
    assert not (tmp_path / "ada" / "ledger.jsonl").exists()


def test_every_schema_with_float32_numbers_has_a_twin_and_no_other():
    def kinds(name: str) -> Mapping[str, str]:
        return {key: declared.dtype for key, declared in schema(name).fields.items()}

    twins = {declared.name: encoded(declared.name) for declared in schemas() if encoded(declared.name)}
    assert set(twins) == {"model_update", "scaffold_update", "generator_update", "cooperative_update"}
    for name, twin in twins.items():
        assert kinds(twin) == {key: "int8" if kind == "float32" else kind for key, kind in kinds(name).items()}
        assert (schema(twin).summable, schema(twin).mean, schema(twin).bare) == (True, True, False)
        assert encoded(twin) is None


def test_encodings_that_are_not_possible_are_told():
    check_update_encoding("float32", 300, True)
    check_update_encoding("int8", 258, True)
    check_update_encoding("int8", 300, False)
    with pytest.raises(ClapError, match="--update-encoding must be 'float32' or 'int8', not 'int4'"):
        options_from({"update_encoding": "int4"})
    with pytest.raises(ClapError, match="--update-encoding is only for --setting collaborative"):
        resolve(options_from({"update_encoding": "int8", "setting": "local"}), noise_seed=0)
    with pytest.raises(ClapError, match=r"over 259 participants has no room .* at most 258 can take part"):
        check_update_encoding("int8", 259, True)
