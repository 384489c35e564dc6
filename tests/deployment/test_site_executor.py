"""Sites that are hosts, each with a dataset of its own: the model of one process, and what a host will not do."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shrunk import shrink_generator
from sklearn.metrics import average_precision_score, roc_auc_score
from specified import changed, deployed_run, encoded

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.rounds import global_weights, normaliser_of
from clap_vad.core.statistics.accounting import calibrated
from clap_vad.datasets.dataset import Dataset, VideoRecord, read_videos_csv, write_videos_csv
from clap_vad.deployment.handshake import description_from_array, description_to_array, handshake
from clap_vad.deployment.planning import resolved_run
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.deployment.site_executor import SiteExecutor
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import detector_weights, initial_weights
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.evaluation.histograms import evaluate_histograms
from clap_vad.evaluation.scoring import score_dataset, score_test_videos
from clap_vad.features.store.description import describe
from clap_vad.federation.ask import Ask, Reply, State, Steps
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check, ReplyCheck
from clap_vad.federation.messages import Message
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.wire import ask_from_wire, ask_to_wire, decode, encode
from clap_vad.persistence import save_npz
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.specification.choice import names_at_sites
from clap_vad.specification.run import Privacy, RunOptions, RunSpecification
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.opening import open_run
from clap_vad.workflows.resolution import specify
from synthetic import SCENES, make_dataset

SITES = tuple(sorted(SCENES))
SHARE, ROUNDS = 0.5, 2
TERMS = calibrated(1.5, 1e-5, clip=1.0, sampling=0.5, lr=0.1, statistics=9, rounds=ROUNDS)
PRIVATE = dataclasses.asdict(make_method("clap", {"segregation": "federated"}))
QUICK = {"min_steps": 0, "local_epochs": 1}
METHODS: dict[str, dict[str, Any]] = {
    "clap": {**QUICK, "refine_from": 2},
    "c2fpl": QUICK,
    "gcl": {**QUICK, "lr": 1e-3, "pretrain_rounds": 1, "generator_threshold": -0.5},
}
CHOICES = {
    "strategy": "fedavg", "rounds": ROUNDS, "seed": 3, "threads": 1, "normalise": "federated",
    "labelled_participants": SHARE,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_generator() -> Iterator[None]:
    """GCL is quick."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_generator(patch)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Dataset:
    """Labels of training videos are the wrong way round, so that whoever reads them comes to another model.

    Truth has errors, so that no model is perfect.
    """
    path = make_dataset(tmp_path_factory.mktemp("whole") / "d", videos=3)
    records = read_videos_csv(path / "videos.csv")
    turned = [replace(r, label=1 - r.label) if r.split == "train" and r.label is not None else r for r in records]
    write_videos_csv(path / "videos.csv", turned)
    random, dataset, truth = np.random.default_rng(5), Dataset(path), {}
    for video in dataset.test_videos:
        truth[video] = np.array(dataset.frame_labels(video))
        start = int(random.integers(len(truth[video]) - 30))
        truth[video][start : start + 30] ^= 1
    save_npz(path / "frame_labels.npz", truth)
    return Dataset(path)


@dataclass
class Organisations:
    """Homes and datasets of the sites, as they lie on their disks."""

    folder: Path

    def host(self, name: str) -> SiteExecutor:
        """A process that knows nothing but its files."""
        home = self.folder / name
        return SiteExecutor(name, home / "dataset", home, home / "policy.json", UnauthenticatedSigner)

    def hosts(self) -> dict[str, SiteExecutor]:
        return {name: self.host(name) for name in SITES}

    def ledger(self, name: str, run: str = "run") -> list[dict[str, Any]]:
        file = self.folder / name / "runs" / run / "ledger.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def site_dataset(folder: Path, whole: Dataset, videos: Sequence[str], truth: bool = True) -> Path:
    """A dataset of these videos that links to the features and the truth of the whole one."""
    folder.mkdir(parents=True)
    (folder / "store").symlink_to((whole.path / "store").resolve(), target_is_directory=True)
    if truth:
        (folder / "frame_labels.npz").symlink_to((whole.path / "frame_labels.npz").resolve())
    records: list[VideoRecord] = [whole.videos[video] for video in videos]
    write_videos_csv(folder / "videos.csv", records)
    return folder


@pytest.fixture
def make_sites(tmp_path, whole) -> Callable[..., Organisations]:
    """``make(test)`` -> the sites, each with its scene's training videos and, if asked for, its test videos."""
    numbers = itertools.count()

    def make(test: Sequence[str] = ()) -> Organisations:
        made = Organisations(tmp_path / f"sites-{next(numbers)}")
        for name in SITES:
            tested = whole.test_videos if name in test else []
            own = [video for video in [*whole.train_videos, *tested] if video.startswith(name)]
            site_dataset(made.folder / name / "dataset", whole, own)
            Policy(maximum_rounds=100).write(made.folder / name / "policy.json")
        return made

    return make


class HostEngine:
    """Hands questions to hosts as bytes, and takes their replies as bytes."""

    def __init__(self, hosts: Callable[[], Mapping[str, SiteExecutor]], run: str = "run") -> None:
        self.participants = SITES
        self._hosts, self._run = hosts, run

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        line, payload = ask_to_wire(ask)
        hosts, replies = self._hosts(), []
        for name in self.participants:
            if ask.targets is None or name in ask.targets:
                reply = encode(hosts[name].handle(self._run, ask_from_wire(line, payload)))
                message = decode(reply, check.most_bytes)
                check(name, message)
                replies.append(Reply(name, message))
        return replies


def config_of(method: str, supervision: str, **changes: Any) -> RunSpecification:
    given = {
        "dataset": None, "fraction": 1.0, "stragglers": 0.0, "test_each_round": False, "min_sites": 0,
        "secure_aggregation": False, "privacy": None, "update_encoding": "float32", "deadline": 60.0,
        "options": METHODS.get(method, {}),
        **CHOICES, **changes,
    }  # fmt: skip
    return deployed_run(SITES, method=method, supervision=supervision, **given)


def deployed_steps(config: RunSpecification, state: State) -> Steps:
    """A run across organisations, as the coordinator's job goes through it."""
    agreement = yield from handshake(state, partial(resolved_run, config))
    yield from agreement.make_method().coordinate(agreement.plan(), state, lambda record: None)
    question = agreement.make_method().final_question(state)
    if agreement.spec.privacy:
        return  # counts of frames have no noise
    replies = yield Ask("evaluate", reply="evaluation_histogram", payload=question, lasting=False)
    for kind in ("normal", "abnormal"):
        state[f"evaluation.{kind}"] = sum(np.asarray(reply.message[kind]) for reply in replies)


def run_deployed(
    folder: Path, config: RunSpecification, hosts: Callable[[], Mapping[str, SiteExecutor]], run: str = "run"
) -> State:
    engine, encoding = HostEngine(hosts, run), config.update_encoding
    return coordinate(partial(deployed_steps, config), engine, Checkpoint(folder), 0, update_encoding=encoding)


def run_here(folder: Path, whole: Dataset, method: str, supervision: str, **changes: Any) -> State:
    """The same run in one process."""
    config = specify(
        whole,
        RunOptions(
            method=method,
            setting="collaborative",
            supervision=supervision,
            protocol="scene",
            options=METHODS[method],
            **CHOICES | changes,
        ),
    )
    opened = open_run(config)
    assert tuple(opened.participants) == SITES
    made = Federation(folder, opened.dataset, opened.participants, opened.plan, opened.method, opened.labelled)
    return made.run()


def same_weights(one: State, other: State) -> bool:
    found, expected = global_weights(one), global_weights(other)
    assert found.keys() == expected.keys()
    return all(np.array_equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("method", METHODS)
def test_it_ends_with_the_model_of_one_process_whoever_knows_labels(tmp_path, whole, make_sites, method):
    states = {}
    for supervision in ("us", "ws", "mixed"):
        config, hosts = config_of(method, supervision), make_sites().hosts()
        states[supervision] = run_deployed(tmp_path / supervision, config, lambda hosts=hosts: hosts)
        expected = run_here(tmp_path / f"here-{supervision}", whole, method, supervision)
        assert same_weights(states[supervision], expected)
        for name in ("score_histogram", "normaliser.mean", "normaliser.scale", "gaussians", "segments"):
            if name in expected:
                np.testing.assert_array_equal(states[supervision][name], expected[name])
    for one, other in itertools.combinations(states.values(), 2):
        assert not same_weights(one, other)


@pytest.mark.parametrize("strategy", ["scaffold", "fedadam"])
def test_hosts_that_are_new_for_every_question_come_to_the_same_model(tmp_path, whole, make_sites, strategy):
    changes = {"strategy": strategy, "normalise": "none", "rounds": 3}
    sites = make_sites()
    state = run_deployed(tmp_path / "run", config_of("clap", "us", **changes), sites.hosts)
    assert same_weights(state, run_here(tmp_path / "here", whole, "clap", "us", **changes))
    assert [line["schema"] for line in sites.ledger("north")] == [
        "features_description",
        "acknowledgement",
        "normal_gaussian",
        "segment_count",
        *["scaffold_update" if strategy == "scaffold" else "model_update"] * 3,
        "score_histogram",
        "evaluation_histogram",
    ]


def test_updates_in_8_bits_over_sites_come_to_the_model_of_one_process(tmp_path, whole, make_sites):
    """Also where a site remembers what rounding took off only by what lies on its disk."""
    changes, sites = {"rounds": 3, "update_encoding": "int8"}, make_sites()
    state = run_deployed(tmp_path / "run", config_of("c2fpl", "us", **changes), sites.hosts)
    assert same_weights(state, run_here(tmp_path / "here", whole, "c2fpl", "us", **changes))
    sent = [line["schema"] for line in sites.ledger("north")]
    assert (sent.count("model_update"), sent.count("model_update_int8")) == (1, 2)


def test_two_runs_of_the_same_hosts_do_not_mix(tmp_path, whole, make_sites):
    """The second run goes on between all questions of the first."""
    hosts, configs = make_sites().hosts(), (config_of("clap", "us"), config_of("c2fpl", "ws"))
    apart = [run_here(tmp_path / c.method, whole, c.method, c.supervision) for c in configs]
    second = HostEngine(lambda: hosts, "second")
    state: State = {"bytes_up": np.array(0), "bytes_down": np.array(0), "dim": np.array(0)}
    steps, sent, accepted = deployed_steps(configs[1], state), [], -1

    def go_on() -> None:
        """The next question of the second run."""
        nonlocal accepted
        try:
            ask = steps.send(sent.pop() if sent else None)
        except StopIteration:
            return
        numbered = replace(ask, sequence=accepted + 1, accepted=dict.fromkeys(SITES, accepted))
        sent.append(second.deliver(numbered, ReplyCheck(ask.reply, int(state["dim"]))))
        accepted += 1

    def interleaved() -> Mapping[str, SiteExecutor]:
        go_on()
        return hosts

    first = run_deployed(tmp_path / "first", configs[0], interleaved, "first")
    while "evaluation.normal" not in state:
        go_on()
    assert same_weights(first, apart[0])
    assert same_weights(state, apart[1])


# What a host will not do.


def agreement_of(whole: Dataset, **changes: Any) -> ResolvedRun:
    return changed(resolved_run(config_of("clap", "us"), describe(whole.stores[0])), **changes)


def begin(agreement: ResolvedRun | np.ndarray) -> Ask:
    array = agreement if isinstance(agreement, np.ndarray) else agreement.to_array()
    return Ask("begin", "acknowledgement", {"agreement": array})


def later(step: str, reply: str, sequence: int = 1, **payload: Any) -> Ask:
    """A question to a site whose last answer counted."""
    return Ask(step, reply, payload, sequence=sequence, accepted=dict.fromkeys(SITES, sequence - 1))


@pytest.mark.parametrize(
    "run", ["", ".", "..", "../run", "a/b", "/run", "Run", "a b", "a\n", "run\0", "a.b", "a_b", "é", "x" * 65]
)
def test_a_run_whose_id_names_no_folder_is_refused(make_sites, run):
    sites = make_sites()
    with pytest.raises(RefusalError, match="id cannot name a folder"):
        sites.host("north").handle(run, Ask("describe", "features_description"))
    assert sorted(file.name for file in (sites.folder / "north").iterdir()) == ["dataset", "policy.json"]


def test_a_host_tells_what_features_it_has_and_nothing_of_its_videos(make_sites, whole):
    sites = make_sites(test=["north"])
    message = sites.host("north").handle("a-2", Ask("describe", "features_description"))
    assert description_from_array(np.asarray(message["description"])) == describe(whole.stores[0])
    text = np.asarray(message["description"]).tobytes().decode()
    assert not any(word in text for word in ("north", "train-0", str(sites.folder)))
    assert sites.host("south").handle("a-2", Ask("describe", "features_description"))["description"].tolist() == (
        np.asarray(message["description"]).tolist()
    )


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("moments", "feature_moments"),
        ("normalise", "segment_count"),
        ("segregate", "normal_gaussian"),
        ("label", "segment_count"),
        ("train", "model_update"),
        ("calibrate", "score_histogram"),
        ("evaluate", "evaluation_histogram"),
    ],
)
def test_nothing_is_done_before_the_run_is_agreed(make_sites, whole, step, reply):
    sites = make_sites(test=["north"])
    weights = {f"weights.{name}": value for name, value in initial_weights(16, 0).items()}
    for ask in (Ask(step, reply, weights), later(step, reply, **weights)):
        with pytest.raises(RefusalError, match=f"participant 'north': asked for the unknown step '{step}'"):
            sites.host("north").handle("run", ask)
    with pytest.raises(RefusalError):  # what was agreed for another run is not agreed for this one
        host = sites.host("north")
        host.handle("other", begin(agreement_of(whole)))
        host.handle("run", later(step, reply, **weights))
    assert not sites.ledger("north")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"participants": ("south", "east")}, "site 'north' is not among the participants of this run"),
        ({"features": {}}, "has another 'dim' than its features"),
        ({"features": {"dim": 32}}, "has another 'dim' than its features"),
        ({"features": {"extractor": "i3d", "crops": 10}}, r"are not those of this run \(extractor, crops differ\)"),
        ({"features": {"settings": {"stride": 8}}}, r"are not those of this run \(settings differ\)"),
        ({"features": {"weights_sha256": "0" * 64}}, r"are not those of this run \(weights_sha256 differ\)"),
        ({"dim": 32}, "has another 'dim' than its features"),
    ],
)
def test_a_run_specification_without_this_site_is_refused(make_sites, whole, changes, message):
    sites, known = make_sites(), describe(whole.stores[0])
    if changes.get("features"):
        changes = {"features": {**known, **changes["features"]}}
    with pytest.raises(RefusalError, match=message) as refusal:
        sites.host("north").handle("run", begin(encoded(agreement_of(whole), **changes)))
    assert str(sites.folder) not in str(refusal.value)
    assert_nothing_begun(sites)


def assert_nothing_begun(sites: Organisations) -> None:
    assert not sites.ledger("north")
    with pytest.raises(RefusalError, match="unknown step 'label'"):
        sites.host("north").handle("run", later("label", "segment_count"))


@pytest.mark.parametrize(
    ("policy", "changes", "message"),
    [
        ({"minimum_cohort": 5}, {}, "a run of 4 participants; this site's policy asks for 5"),
        ({"maximum_rounds": 1}, {}, "2 rounds; this site's policy permits 1"),
        ({"maximum_epsilon": 1.0}, {}, "no differential privacy; this site's policy asks for epsilon 1 at most"),
        (
            {"maximum_epsilon": 1.0},
            {"privacy": TERMS, "options": PRIVATE},
            r"epsilon 1\.5; this site's policy asks for epsilon 1 at most",
        ),
        ({"schemas": ["model_update"]}, {}, "schema 'acknowledgement' is outside this site's policy"),
    ],
)
def test_a_run_outside_the_policy_is_refused(make_sites, whole, policy, changes, message):
    sites = make_sites()
    file = sites.folder / "north" / "policy.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **policy}))
    with pytest.raises(RefusalError, match=message):
        sites.host("north").handle("run", begin(agreement_of(whole, **changes)))
    Policy(maximum_rounds=100).write(file)
    assert_nothing_begun(sites)


def test_a_policy_that_is_changed_counts_from_the_next_question_on(make_sites, whole):
    sites = make_sites()
    host, file = sites.host("north"), sites.folder / "north" / "policy.json"
    host.handle("run", begin(agreement_of(whole, normalise="none")))
    segregate = later("segregate", "normal_gaussian")
    permitted = Policy.read(file)
    replace(permitted, schemas=("acknowledgement", "segment_count")).write(file)
    with pytest.raises(RefusalError, match="schema 'normal_gaussian' is outside this site's policy"):
        host.handle("run", segregate)
    assert [line["step"] for line in sites.ledger("north")] == ["begin"]
    permitted.write(file)
    assert host.handle("run", segregate)["count"] > 0
    file.write_text("{")
    with pytest.raises(ClapError, match=r"policy.json: line 1: not valid JSON") as caught:
        host.handle("run", segregate)
    assert not isinstance(caught.value, RefusalError)
    file.unlink()
    with pytest.raises(ClapError, match=r"policy.json: no such file"):
        host.handle("run", segregate)


def other_store(path: Path, **changes: Any) -> Path:
    """A dataset like the others, of features of another kind."""
    made = make_dataset(path, videos=3, test=False, **{k: v for k, v in changes.items() if k in ("dim", "crops")})
    stated = json.loads((made / "store" / "store.json").read_text())
    assert (changes.keys() - {"dim", "crops"}) <= stated.keys()
    (made / "store" / "store.json").write_text(
        json.dumps({**stated, **{k: v for k, v in changes.items() if k not in ("dim", "crops")}})
    )
    return made


OTHER_FEATURES = {
    "dim": ({"dim": 8}, [16], [8]),
    "crops": ({"crops": 1}, [2], [1]),
    "extractor": ({"extractor": "i3d"}, ["synthetic"], ["i3d"]),
    "settings": ({"settings": {"stride": 8}}, [{}], [{"stride": 8}]),
}


@pytest.mark.parametrize("odd", OTHER_FEATURES)
def test_features_that_change_in_the_middle_of_a_run_are_refused(tmp_path, make_sites, whole, odd):
    sites = make_sites()
    sites.host("north").handle("run", begin(agreement_of(whole)))
    link = sites.folder / "north" / "dataset" / "store"
    link.unlink()
    link.symlink_to(other_store(tmp_path / "other", **OTHER_FEATURES[odd][0]) / "store")
    for ask in (later("moments", "feature_moments"), later("label", "segment_count"), begin(agreement_of(whole))):
        with pytest.raises(RefusalError, match=rf"features of site 'north' are not those of this run \({odd} differ\)"):
            sites.host("north").handle("run", ask)
    assert [line["step"] for line in sites.ledger("north")] == ["begin"]


@pytest.mark.parametrize("odd", OTHER_FEATURES)
def test_sites_with_different_features_are_named_to_the_coordinator(tmp_path, make_sites, odd):
    sites = make_sites()
    changes, common, other = OTHER_FEATURES[odd]
    link = sites.folder / "south" / "dataset" / "store"
    link.unlink()
    link.symlink_to(other_store(tmp_path / "other", **changes) / "store")
    with pytest.raises(ClapError) as caught:
        run_deployed(tmp_path / "run", config_of("clap", "us"), sites.hosts)
    assert str(caught.value) == (
        f"participants 'east' and 'south' have different features ({odd}: {common}, {other}); extract both alike"
    )
    assert all([line["step"] for line in sites.ledger(name)] == ["describe"] for name in SITES)


def test_a_site_without_training_videos_tells_its_operator_alone(make_sites, whole, tmp_path):
    sites = make_sites()
    site_dataset(sites.folder / "empty", whole, [video for video in whole.test_videos if video.startswith("north")])
    host = SiteExecutor(
        "north",
        sites.folder / "empty",
        tmp_path / "home",
        sites.folder / "north" / "policy.json",
        UnauthenticatedSigner,
    )
    with pytest.raises(ClapError, match=r"videos.csv: no training videos") as caught:
        host.handle("run", begin(agreement_of(whole)))
    assert not isinstance(caught.value, RefusalError)


def test_an_unknown_method_or_strategy_is_refused(make_sites, whole):
    for changes in ({"method": "magic"}, {"strategy": "magic"}, {"options": {"magic": 1}}, {"options": {"lr": -1.0}}):
        sites = make_sites()
        with pytest.raises(ClapError):
            sites.host("north").handle("run", begin(agreement_of(whole, **changes)))
        assert_nothing_begun(sites)


# What is agreed, as bytes.


def test_an_agreement_comes_out_as_it_went_in(whole):
    for changes in (
        {"update_encoding": "int8"},
        {
            "privacy": TERMS,
            "fraction": 0.1,
            "labelled": ("north",),
            "strategy_options": {"mu": 1e-3},
        },
    ):
        agreement = agreement_of(whole, **changes)
        found = ResolvedRun.from_array(decode(encode({"a": agreement.to_array()}))["a"])
        assert found.with_options_of(agreement.spec) == agreement
        assert found.spec.deadline == 0.0 != agreement.spec.deadline  # sites have no use for it, and are not told


ENTRIES = [*names_at_sites(RunOptions).values(), "participants", "labelled", "dim", "features"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: None, "not one of this release"),
        (lambda content: [content], "not one of this release"),
        (lambda content: {}, "not one of this release"),
        (lambda content: {**content, "code": "import os"}, "not one of this release"),
        *[
            (lambda content, name=name: {k: v for k, v in content.items() if k != name}, "not one of this release")
            for name in ENTRIES
        ],
        *[
            (lambda content, name=name: {**content, name: True}, f"'{name}' must be {kind}")
            for name, kind in (
                ("method", "a text"), ("options", "an object"), ("participants", "a list"),
                ("rounds", "a whole number"), ("seed", "a whole number"), ("fraction", "a number"),
                ("features", "an object"), ("privacy", "an object"),
            )
        ],
        (lambda content: {**content, "rounds": 2.0}, "'rounds' must be a whole number, not 2.0"),
        (lambda content: {**content, "seed": None}, "'seed' must be a whole number, not None"),
        (lambda content: {**content, "method": ["clap"]}, "'method' must be a text, not .*"),
        (lambda content: {**content, "options": []}, "'options' must be an object, in braces, not .*"),
        (lambda content: {**content, "participants": "north"}, "'participants' must be a list, not 'north'"),
        (lambda content: {**content, "participants": ["north", 3]}, r"'participants\[1\]' must be a text, not 3"),
        (lambda content: {**content, "labelled": [None]}, r"'labelled\[0\]' must be a text, not None"),
        (lambda content: {**content, "privacy": 1.5}, "'privacy' must be an object of Terms, not 1.5"),
        (lambda content: {**content, "rounds": 0}, "has 0 rounds; a number from 1 to 100000 is needed"),
        (lambda content: {**content, "threads": -1}, "'threads' must be 0 or more, not -1"),
        (lambda content: {**content, "threads": 0}, "leaves 'threads', 'dim' or 'normalise' open"),
        (lambda content: {**content, "threads": 257}, "'threads' must be 256 or less, not 257"),
        (lambda content: {**content, "seed": 2**63}, "'seed' must be below 9223372036854775808"),
        (lambda content: {**content, "fraction": 0}, "'fraction' must be above 0, not 0"),
        (lambda content: {**content, "normalise": "auto"}, "leaves 'threads', 'dim' or 'normalise' open"),
        (lambda content: {**content, "participants": ["north", "north"]}, "names a participant twice"),
        (lambda content: {**content, "dim": 0}, "leaves 'threads', 'dim' or 'normalise' open"),
        (lambda content: {**content, "update_encoding": "int4"}, "'update_encoding' must be 'float32' or 'int8'"),
    ],
)  # fmt: skip
def test_a_malformed_run_specification_is_refused(make_sites, whole, change, message):
    content = json.loads(agreement_of(whole).to_array().tobytes())
    array = np.frombuffer(json.dumps(change(content)).encode(), np.uint8)
    with pytest.raises(ClapError, match=message):
        ResolvedRun.from_array(array)
    sites = make_sites()
    with pytest.raises(ClapError, match=message):
        sites.host("north").handle("run", Ask("begin", "acknowledgement", {"agreement": array}))
    assert_nothing_begun(sites)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, np.uint8),
        np.zeros(40, np.uint8),
        np.array(7),
        np.array(1.5),
        np.ones((3, 2), np.float32),
        np.frombuffer(b'{"method": "clap"', np.uint8),
        np.frombuffer(b"\xff\xfe\xfa", np.uint8),
        np.frombuffer(b"[" * 100_000, np.uint8),
        np.frombuffer(b"9" * 5000, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_bytes_that_are_no_run_specification_and_no_description_are_refused(array):
    with pytest.raises(ClapError, match=r"sent by the coordinator is not (readable|one of this release)"):
        ResolvedRun.from_array(array)
    with pytest.raises(ClapError, match="not a description of features"):
        description_from_array(array)


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ENTRIES), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_anything_else_is_refused_too(content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    for read in (ResolvedRun.from_array, description_from_array):
        with pytest.raises(ClapError):
            read(np.frombuffer(data, np.uint8))


DESCRIPTION = {
    "extractor": "i3d", "settings": {"stride": 16}, "weights_sha256": None, "segment_frames": 16, "crops": 10,
    "dim": 1024, "normalise": "none",
}  # fmt: skip


def test_a_description_comes_out_as_it_went_in_and_is_always_as_long():
    for description in (DESCRIPTION, {**DESCRIPTION, "extractor": "Ünï", "weights_sha256": "0" * 64}):
        array = description_to_array(description)
        assert (array.shape, array.dtype) == ((4096,), np.uint8)
        assert description_from_array(array) == description
    length = len(json.dumps(DESCRIPTION))
    assert description_from_array(description_to_array({**DESCRIPTION, "extractor": "x" * (4096 - length + 3)}))
    with pytest.raises(ClapError, match="4097 bytes in JSON; at most 4096 are sent"):
        description_to_array({**DESCRIPTION, "extractor": "x" * (4096 - length + 4)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "not a description of features"),
        ({"extractor": None}, "entries of wrong types"),
        ({"settings": []}, "entries of wrong types"),
        ({"weights_sha256": 7}, "entries of wrong types"),
        ({"dim": 16.0}, "entries of wrong types"),
        ({"crops": True}, "entries of wrong types"),
        ({"normalise": None}, "entries of wrong types"),
        ({"dim": 0}, "sizes below 1"),
        ({"crops": -1}, "sizes below 1"),
        ({"segment_frames": 0}, "sizes below 1"),
    ],
)
def test_a_malformed_description_is_refused(changes, message):
    with pytest.raises(ClapError, match=message):
        description_from_array(description_to_array({**DESCRIPTION, **changes}))


# Evaluation at home.


def binned(scores: np.ndarray) -> np.ndarray:
    """Which of the 4096 equal steps of the logit from -16 to 16 each score lies in, one by one."""
    edges = [-16 + 32 * k / 4096 for k in range(1, 4096)]
    logits = np.log(scores.astype(np.float64)) - np.log1p(-scores.astype(np.float64))
    return np.searchsorted(edges, logits, side="right")


def frames_of(whole: Dataset, state: State, videos: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of every frame of these test videos."""
    model = NetworkModel(detector_weights(global_weights(state)), normaliser_of(state), {})
    scores = score_test_videos(whole, PersonalisedModels(model), 1)
    labels = [whole.frame_labels(video) for video in videos]
    frames = [np.repeat(scores[video], 16)[: len(own)] for video, own in zip(videos, labels, strict=True)]
    return np.concatenate(labels), np.concatenate(frames)


@pytest.mark.parametrize(("rounds", "lr"), [(2, 0.01), (6, 0.05)])
def test_summed_histograms_evaluate_the_model_as_all_frames_do(tmp_path, whole, make_sites, rounds, lr):
    """One site has no test videos."""
    config = config_of("clap", "us", rounds=rounds, options={"lr": lr})
    state = run_deployed(tmp_path / "run", config, make_sites(test=("north", "south", "west")).hosts)
    labels, scores = frames_of(whole, state, [v for v in whole.test_videos if not v.startswith("east")])
    found = evaluate_histograms(state["evaluation.normal"], state["evaluation.abnormal"])
    for kind, label in (("normal", 0), ("abnormal", 1)):
        expected = np.bincount(binned(scores[labels == label]), minlength=4096)
        np.testing.assert_array_equal(state[f"evaluation.{kind}"], expected)
    assert found["frame_auc"] == pytest.approx(roc_auc_score(labels, binned(scores)), abs=1e-12)
    assert found["frame_ap"] == pytest.approx(average_precision_score(labels, binned(scores)), abs=1e-12)
    assert abs(found["frame_auc"] - roc_auc_score(labels, scores)) < 0.005
    assert 0.2 < found["frame_auc"] < 0.95  # neither all right nor all wrong
    assert (found["frames"], found["abnormal_frames"]) == (len(labels), int(labels.sum()))
    assert found["undefined"] is None


@pytest.mark.slow
@pytest.mark.parametrize("reborn", [False, True], ids=["hosts that stay", "hosts new for every question"])
def test_a_site_has_the_homes_of_one_process(tmp_path, whole, make_sites, reborn):
    """COMET without noise, which sites draw from secrets: the density and the homes are those of one process."""
    sites = make_sites(test=("north", "south", "west"))
    for name in SITES:
        Policy(maximum_rounds=100, allow_exact_sums=True).write(sites.folder / name / "policy.json")
    hosts, exact = sites.hosts(), Privacy(math.inf, unit="crop")
    config = config_of("comet", "us", options={}, privacy=exact)
    state = run_deployed(tmp_path / "run", config, sites.hosts if reborn else lambda: hosts)
    made = open_run(
        specify(
            whole,
            RunOptions(
                method="comet",
                setting="collaborative",
                supervision="us",
                protocol="scene",
                options={},
                privacy=exact,
                **CHOICES,
            ),
        )
    )
    federation = made.federation(tmp_path / "here", made.participants)
    expected = federation.run()
    for name in expected:
        if name.startswith(("mixture.", "normaliser.", "counts.", "score_histogram")):
            np.testing.assert_array_equal(state[name], expected[name], err_msg=name)
    common = made.method.model(made.plan, expected, describe(whole.stores[0]))
    personalised = PersonalisedModels(common, federation.personalised(expected))
    assert personalised.own.keys() == set(SITES)
    for name in SITES:
        [kept] = (sites.folder / name).glob("**/runs/*/model")
        own = PersonalisedModels.load(kept)  # the site's operator scores videos by it
        assert own.own.keys() == {name}
        calibration = personalised.of(name).info["calibration"]  # by its own videos' scores alone
        assert own.of(name).info["calibration"] == calibration
        assert calibration["threshold"] > 0
        videos = [video for video in whole.test_videos if video.startswith(name)]
        found, expected_scores = (score_dataset(whole, videos, scorer, 1) for scorer in (own, personalised))
        for video in videos:
            np.testing.assert_array_equal(found[video], expected_scores[video])
    assert [line["schema"] for line in sites.ledger("north")] == [
        "features_description",
        "acknowledgement",
        "row_sizes",
        "row_moments",
        "acknowledgement",
        *["row_density"] * (1 + ROUNDS),
        "row_scales",
        "segment_peaks",
    ]


class AskingTwice(HostEngine):
    """As a coordinator that was killed before it kept the answers."""

    answers: dict[str, list[bytes]]
    """By step, what the sites answered when it was first asked."""

    def __init__(self, hosts: Callable[[], Mapping[str, SiteExecutor]]) -> None:
        super().__init__(hosts)
        self.answers = {}

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        first, second = super().deliver(ask, check), super().deliver(ask, check)
        assert [encode(reply.message) for reply in first] == [encode(reply.message) for reply in second]
        self.answers.setdefault(ask.step, [encode(reply.message) for reply in second])
        return second


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["crop", "video"])
def test_noise_of_comet_comes_from_secrets_of_the_sites_and_is_the_same_again(tmp_path, whole, make_sites, unit):
    config = config_of("comet", "us", options={}, privacy=Privacy(8.0, unit=unit))
    engines = [AskingTwice(make_sites().hosts) for _ in range(2)]  # new processes for each question
    for number, engine in enumerate(engines):
        coordinate(partial(deployed_steps, config), engine, Checkpoint(tmp_path / str(number)), 0)
    # The model may be the same again: where the noise drowns all statistics, no component leaves its seeded place.
    for step in ("sizes", "moments", "expect", "settle", "calibrate"):
        for one, other in zip(engines[0].answers[step], engines[1].answers[step], strict=True):
            assert one != other


@pytest.mark.slow
def test_seeded_noise_is_for_one_process_and_refused_by_sites(tmp_path, whole, make_sites):
    here = specify(
        whole,
        RunOptions(method="comet", setting="collaborative", supervision="us", protocol="scene", options={}, **CHOICES),
    )
    config = config_of("comet", "us", options={})
    assert here.privacy.seed == here.seed and config.privacy.seed is None
    assert dataclasses.asdict(here.privacy).keys() == dataclasses.asdict(config.privacy).keys()
    with pytest.raises(RefusalError, match="a site draws its own"):
        run_deployed(tmp_path / "run", replace(config, privacy=here.privacy), make_sites().hosts)


def test_a_site_without_test_videos_or_truth_counts_no_frames(tmp_path, whole, make_sites):
    sites = make_sites(test=("north", "south"))
    (sites.folder / "south" / "dataset" / "frame_labels.npz").unlink()
    state = run_deployed(tmp_path / "run", config_of("c2fpl", "us"), sites.hosts)
    weights = {f"weights.{name}": value for name, value in detector_weights(global_weights(state)).items()}
    number = int(state["sequence"]) - 1
    ask = Ask("evaluate", "evaluation_histogram", weights, sequence=number, accepted=dict.fromkeys(SITES, number - 1))
    replies: dict[str, Message] = {name: sites.host(name).handle("run", ask) for name in SITES}
    assert all(not np.asarray(replies["east"][kind]).any() for kind in ("normal", "abnormal"))
    normal = [v for v in whole.test_videos if v.startswith("south") and whole.videos[v].label == 0]
    frames = sum(len(whole.frame_labels(video)) for video in normal)  # those listed as normal throughout
    assert (replies["south"]["normal"].sum(), replies["south"]["abnormal"].sum()) == (frames, 0)
    found = evaluate_histograms(state["evaluation.normal"], np.zeros(4096, np.int64))
    assert (found["frame_auc"], found["frame_ap"]) == (None, None)
    assert found["undefined"] == "the sites have no abnormal test frames with ground truth"


@pytest.mark.parametrize("seed", range(4))
def test_metrics_of_histograms_are_those_of_scikit_learn_on_the_bins(seed):
    random = np.random.default_rng(seed)
    normal, abnormal = (random.integers(0, 4, 4096) * (random.random(4096) < share) for share in (0.05, 0.02))
    bins = np.repeat(np.tile(np.arange(4096), 2), [*normal, *abnormal])
    labels = np.repeat([0, 1], [normal.sum(), abnormal.sum()])
    found = evaluate_histograms(normal, abnormal)
    assert found["frame_auc"] == pytest.approx(roc_auc_score(labels, bins), abs=1e-12)
    assert found["frame_ap"] == pytest.approx(average_precision_score(labels, bins), abs=1e-12)
