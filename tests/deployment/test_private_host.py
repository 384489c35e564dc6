"""Sites of other organisations under differential privacy: what they agree to, and what they keep for themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specified import changed, deployed_run, encoded

from clap_vad.algorithms.rounds import global_weights
from clap_vad.core.statistics.accounting import Terms, calibrated, epsilon_of
from clap_vad.datasets.dataset import Dataset, write_videos_csv
from clap_vad.deployment.handshake import handshake
from clap_vad.deployment.planning import resolved_run
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.deployment.site_executor import SiteExecutor
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.features.store.description import describe
from clap_vad.federation.ask import Ask, Reply, State, Steps
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check
from clap_vad.federation.messages import schema
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.wire import ask_from_wire, ask_to_wire, decode, encode
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.specification.run import Privacy, RunSpecification
from synthetic import make_dataset

SITES = ("east", "north", "south", "west")
ROUNDS, DIM = 2, 8
OPTIONS = {"segregation": "federated", "local_epochs": 1, "refine_from": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("whole") / "d", videos=3, dim=DIM))


@pytest.fixture
def hosts(tmp_path, whole) -> Callable[..., dict[str, SiteExecutor]]:
    """``hosts()`` -> processes that know nothing but their files, each with its scene's videos."""
    for name in SITES:
        folder = tmp_path / name / "dataset"
        folder.mkdir(parents=True)
        (folder / "store").symlink_to((whole.path / "store").resolve(), target_is_directory=True)
        (folder / "frame_labels.npz").symlink_to((whole.path / "frame_labels.npz").resolve())
        write_videos_csv(folder / "videos.csv", [r for v, r in whole.videos.items() if v.startswith(name)])
        Policy().write(tmp_path / name / "policy.json")

    def make() -> dict[str, SiteExecutor]:
        return {
            name: SiteExecutor(
                name, tmp_path / name / "dataset", tmp_path / name, tmp_path / name / "policy.json",
                UnauthenticatedSigner,
            )
            for name in SITES
        }  # fmt: skip

    return make


def config(privacy: Privacy | None = None, **changes: Any) -> RunSpecification:
    given: dict[str, Any] = {
        "dataset": None, "method": "clap", "supervision": "us", "strategy": "fedavg", "rounds": ROUNDS, "seed": 3,
        "threads": 1, "normalise": "auto", "options": OPTIONS, "fraction": 1.0, "stragglers": 0.0,
        "labelled_participants": 0.3, "test_each_round": False, "min_sites": 0, "deadline": 60.0,
        "secure_aggregation": False, "privacy": privacy, "update_encoding": "float32", **changes,
    }  # fmt: skip
    return deployed_run(SITES, **given)


def agreement(whole: Dataset, terms: Terms | None, **changes: Any) -> ResolvedRun:
    made = resolved_run(config(normalise="federated"), describe(whole.stores[0]))
    return changed(made, privacy=terms, **changes)


@cache
def good() -> Terms:
    return calibrated(8.0, 1e-5, clip=1.0, sampling=1.0, lr=0.1, statistics=9, rounds=ROUNDS)


def begin(agreed: ResolvedRun | np.ndarray, sequence: int = 0, accepted: int = -1) -> Ask:
    payload = {"agreement": agreed if isinstance(agreed, np.ndarray) else agreed.to_array()}
    return Ask("begin", "acknowledgement", payload, sequence=sequence, accepted=dict.fromkeys(SITES, accepted))


def later(step: str, reply: str, sequence: int = 1, **payload: Any) -> Ask:
    return Ask(step, reply, payload, sequence=sequence, accepted=dict.fromkeys(SITES, sequence - 1))


def weights() -> dict[str, np.ndarray]:
    return {f"weights.{name}": value for name, value in initial_weights(DIM, 0).items()}


# What is agreed to.


def test_a_run_with_enough_noise_for_its_epsilon_is_accepted(hosts, whole):
    assert hosts()["north"].handle("run", begin(agreement(whole, good()))) == {}
    assert agreement(whole, good()).check_promise() == 8.0
    assert agreement(whole, None).check_promise() is None


@pytest.mark.parametrize(
    "change",
    [
        {"noise_training": 0.98},
        {"noise_statistics": 0.9},
        {"epsilon": 0.98},
        {"rounds": 2},
        {"statistics": 2},
        {"delta": 0.01},
    ],
    ids=str,
)
def test_noise_that_is_too_small_for_its_epsilon_is_refused(hosts, whole, tmp_path, change):
    terms = good()
    terms = replace(terms, **{name: getattr(terms, name) * factor for name, factor in change.items()})
    assert epsilon_of(terms) > terms.epsilon
    with pytest.raises(RefusalError, match=r"noise that is too small for its epsilon of"):
        hosts()["north"].handle("run", begin(agreement(whole, terms)))
    assert not (tmp_path / "north" / "runs" / "run" / "ledger.jsonl").exists()


def test_noise_that_the_coordinator_knows_is_refused(hosts, whole):
    with pytest.raises(RefusalError, match="noise from a seed that the coordinator knows"):
        hosts()["north"].handle("run", begin(agreement(whole, replace(good(), seed=0))))
    with pytest.raises(ClapError, match="--dp-seed is only for experiments in one process"):
        config(privacy=Privacy(8.0, seed=0))


@pytest.mark.parametrize(
    "change",
    [
        {"epsilon": -1.0}, {"epsilon": math.nan}, {"epsilon": "8"}, {"delta": 2.0}, {"sampling": 0.0}, {"rounds": 0},
        {"noise_training": 0.0}, {"noise_training": None}, {"more": 1}, {"statistics": 9.5},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_terms_are_refused_in_one_sentence(hosts, whole, change):
    odd = encoded(agreement(whole, good()), privacy={**asdict(good()), **change})
    with pytest.raises(RefusalError, match="the run specification sent by the coordinator: "):
        ResolvedRun.from_array(odd)
    with pytest.raises(RefusalError, match="the run specification sent by the coordinator: "):
        hosts()["north"].handle("run", begin(odd))


def test_a_delta_that_allows_anything_is_refused(hosts, whole):
    """With probability delta all may come out: epsilon, all that a policy bounds, means nothing beside it."""
    made = agreement(whole, good())
    with pytest.raises(RefusalError, match="the run specification sent by the coordinator: "):
        hosts()["north"].handle("run", begin(encoded(made, privacy={**asdict(good()), "delta": 0.01})))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (good, "a run with epsilon 8; this site's policy asks for epsilon 5 at most"),
        (lambda: None, "a run with no differential privacy; this site's policy asks for epsilon 5 at most"),
        (
            lambda: replace(good(), epsilon=None, noise_statistics=0.0, noise_training=0.0),
            "a run with no differential privacy",
        ),
    ],
)
def test_a_policy_refuses_a_run_that_promises_less(hosts, whole, tmp_path, terms, message):
    Policy(maximum_epsilon=5.0).write(tmp_path / "north" / "policy.json")
    with pytest.raises(RefusalError, match=message):
        hosts()["north"].handle("run", begin(agreement(whole, terms())))


def test_a_large_delta_makes_no_small_epsilon(hosts, whole, tmp_path):
    """At a delta of 1e-3 far less noise keeps epsilon 8."""
    terms = calibrated(8.0, 1e-3, clip=1.0, sampling=1.0, lr=0.1, statistics=9, rounds=ROUNDS)
    assert terms.noise_training < good().noise_training
    Policy(maximum_epsilon=8.0).write(tmp_path / "north" / "policy.json")
    with pytest.raises(
        RefusalError, match=r"a run with epsilon 1\d\.\d+; this site's policy asks for epsilon 8 at most"
    ):
        hosts()["north"].handle("run", begin(agreement(whole, terms)))


def test_a_run_of_more_rounds_than_a_site_can_go_through_is_refused(hosts, whole):
    with pytest.raises(RefusalError, match="has 1000000000000 rounds; a number from 1 to 100000 is needed"):
        hosts()["north"].handle("run", begin(agreement(whole, good(), rounds=10**12)))


def test_a_policy_permits_a_run_that_promises_enough(hosts, whole, tmp_path):
    Policy(maximum_epsilon=8.0).write(tmp_path / "north" / "policy.json")
    assert hosts()["north"].handle("run", begin(agreement(whole, good()))) == {}


# What is answered then.


PLAIN = [("evaluate", "evaluation_histogram"), ("moments", "feature_moments"), ("calibrate", "score_histogram")]


@pytest.mark.parametrize(("step", "reply"), PLAIN)
def test_what_has_no_noise_is_not_answered(hosts, whole, step, reply):
    host = hosts()["north"]
    host.handle("run", begin(agreement(whole, good())))
    with pytest.raises(RefusalError):
        host.handle("run", later(step, reply, **weights()))
    if step == "evaluate":
        host.handle("plain", begin(agreement(whole, None, method="c2fpl", options={}, normalise="none")))
        host.handle("plain", later("label", "segment_count"))
        assert host.handle("plain", later(step, reply, 2, **weights())).keys() == {"normal", "abnormal"}


@pytest.mark.parametrize("method", ["c2fpl", "gcl"])
def test_a_method_without_a_private_form_is_not_begun_under_privacy(hosts, whole, method):
    agreed = agreement(whole, good(), method=method, options={"local_epochs": 1})
    with pytest.raises(RefusalError, match=f"method '{method}' with these settings hides no video; refused"):
        hosts()["north"].handle("run", begin(agreed))


def test_a_unit_that_a_method_does_not_hide_is_refused(hosts, whole):
    """One crop more or less changes a clipped gradient by up to 2, and the noise is reckoned against 1."""
    with pytest.raises(RefusalError, match="method 'clap' with these settings hides no crop; refused"):
        hosts()["north"].handle("run", begin(agreement(whole, replace(good(), unit="crop"))))


def test_a_sample_that_a_method_does_not_draw_is_refused(hosts, whole):
    """Less noise keeps the promise where each round draws a tenth of the units; COMET sums them all."""
    terms = calibrated(8.0, 1e-6, clip=1.0, sampling=0.1, lr=0.1, statistics=4, rounds=ROUNDS + 1, unit="crop")
    made = agreement(whole, terms, method="comet", options={})
    with pytest.raises(RefusalError, match="method 'comet' draws no sample of a site's crops; refused"):
        hosts()["north"].handle("run", begin(made))
    all_of_them = calibrated(8.0, 1e-6, clip=1.0, sampling=1.0, lr=0.1, statistics=4, rounds=ROUNDS + 1, unit="crop")
    made = agreement(whole, all_of_them, method="comet", options={})
    assert hosts()["north"].handle("another", begin(made)) == {}


def test_terms_of_which_an_account_would_take_all_memory_are_refused(hosts, whole):
    terms = replace(good(), rounds=100_000, statistics=100_000, noise_training=0.06, noise_statistics=0.06)
    assert epsilon_of(terms) == math.inf
    with pytest.raises(RefusalError, match="noise that is too small for its epsilon"):
        hosts()["north"].handle("run", begin(agreement(whole, terms)))


def test_secret_and_questions_lie_with_the_run_at_the_site(hosts, whole, tmp_path):
    made = hosts()
    for name in ("north", "south"):
        made[name].handle("run", begin(agreement(whole, good())))
        made[name].handle("run", later("scales", "private_scales"))
    folders = [tmp_path / name / "runs" / "run" for name in ("north", "south")]
    keys = [(folder / "privacy.key").read_bytes() for folder in folders]
    assert keys[0] != keys[1]
    assert all((folder / "privacy.key").stat().st_mode & 0o777 == 0o600 for folder in folders)
    kinds = [json.loads(line)["kind"] for line in (folders[0] / "privacy.jsonl").read_text().splitlines()]
    assert kinds == ["", "statistics"]  # the terms come first
    lines = [json.loads(line) for line in (folders[0] / "ledger.jsonl").read_text().splitlines()]
    assert [line["protection"] for line in lines] == ["none", "noised"]


def test_a_new_process_answers_the_same_and_no_more(hosts, whole):
    hosts()["north"].handle("run", begin(agreement(whole, good())))
    question = later("scales", "private_scales")
    answers = [hosts()["north"].handle("run", question) for _ in range(2)]
    assert all(np.array_equal(answers[0][name], answers[1][name]) for name in answers[0])
    for other in (later("scales", "private_scales", 2), later("scales", "private_scales", more=1)):
        with pytest.raises(RefusalError, match="asked for 'scales' more than 1 time, which is all that this run needs"):
            hosts()["north"].handle("run", other)


@pytest.mark.parametrize(
    "other",
    [
        lambda first: replace(first, epsilon=None, statistics=18, noise_statistics=0.01),
        lambda first: replace(first, rounds=2 * ROUNDS, noise_training=2 * first.noise_training),
        lambda first: None,
    ],
    ids=["no promise", "more rounds", "no privacy"],
)
def test_the_terms_of_a_run_cannot_be_changed(hosts, whole, other):
    """Each may keep its promise; what is released under one and then under the other costs more than either."""
    host = hosts()["north"]
    host.handle("run", begin(agreement(whole, good())))
    host.handle("run", later("scales", "private_scales"))
    for sequence, accepted in ((0, -1), (2, 1), (9, -1)):
        with pytest.raises(RefusalError, match="asked for 'begin'"):
            host.handle("run", begin(agreement(whole, other(good())), sequence, accepted))
    assert host.handle("run", begin(agreement(whole, good()))) == {}  # as a coordinator does that was killed


def run_with(hosts, folder: Path, agreed: ResolvedRun) -> State:
    class Engine:
        participants = SITES

        def deliver(self, ask: Ask, check: Check) -> list[Reply]:
            line, payload = ask_to_wire(ask)
            replies = []
            for name in SITES:
                if ask.targets is None or name in ask.targets:
                    sent = encode(hosts()[name].handle("run", ask_from_wire(line, payload)))
                    message = decode(sent, check.most_bytes)
                    check(name, message)
                    replies.append(Reply(name, message))
            return replies

    def steps(state: State) -> Steps:
        made = yield from handshake(state, lambda features: agreed)
        yield from made.make_method().coordinate(made.plan(), state, lambda record: None)

    return coordinate(steps, Engine(), Checkpoint(folder), 0)


def test_a_whole_run_by_processes_that_are_new_for_every_question(hosts, whole, tmp_path):
    state = run_with(hosts, tmp_path / "run", agreement(whole, good()))
    assert all(np.isfinite(value).all() for value in global_weights(state).values())
    for name in SITES:
        lines = (tmp_path / name / "runs" / "run" / "ledger.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        assert all(schema(line["schema"]).noised or schema(line["schema"]).bare for line in entries)
        kinds = [schema(line["schema"]).noised for line in entries]
        assert (kinds.count("statistics"), kinds.count("training")) == (9, ROUNDS)
