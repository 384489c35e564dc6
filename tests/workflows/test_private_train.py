"""``clap train --dp video``: its epsilon, resuming, and refused options."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from interrupted import StoppedError, stop_after, stopping_progress

from clap_vad.algorithms import clap
from clap_vad.cli.train import train as command
from clap_vad.core.statistics.accounting import Terms, epsilon_of
from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError
from clap_vad.federation.messages import schema
from clap_vad.specification.reading import read_specification
from clap_vad.specification.run import Privacy, RunOptions
from clap_vad.workflows import finish, privacy_terms
from clap_vad.workflows import train as module
from clap_vad.workflows.opening import open_run
from clap_vad.workflows.resolution import specify
from clap_vad.workflows.train import resume, train
from synthetic import SCENES, make_dataset

train = partial(train, method="clap")  # what these tests are about

CHOICES: dict[str, Any] = {"segregation": "federated", "rounds": 3, "refine_from": 1, "local_epochs": 1}
SEEDED = Privacy(epsilon=8.0, sampling=1.0, seed=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, dim=8)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No page about a run, and terms that are asked for again and again are found once."""
    once = cache(privacy_terms.calibrated)

    def calibrated(*numbers: float, seed: int | None, **more: Any) -> Terms:
        return dataclasses.replace(once(*numbers, **more), seed=seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy_terms, "calibrated", calibrated)
        patch.setattr(finish, "report", lambda run: None)
        yield


@pytest.fixture(scope="module")
def reference(dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("reference") / "run"
    train(dataset, run, privacy=SEEDED, baselines={}, **CHOICES)
    return run


def metrics_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


def ledgers(run: Path) -> list[dict[str, Any]]:
    files = [run / "sites" / scene / "ledger.jsonl" for scene in SCENES]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_metrics_report_the_promised_and_the_spent_epsilon(reference):
    reported, terms = metrics_of(reference)["privacy"], read_specification(reference).privacy
    assert reported.keys() == {
        "unit", "epsilon", "delta", "promised", "noise_statistics", "noise_training", "clip", "sampling", "lr",
        "seeded",
    }  # fmt: skip
    assert 7.9 < reported["epsilon"] <= 8.0
    assert reported["epsilon"] == pytest.approx(epsilon_of(terms), abs=1e-5)
    assert (reported["unit"], reported["delta"], reported["promised"], reported["clip"]) == ("video", 1e-5, 8.0, 1.0)
    assert (reported["sampling"], reported["seeded"]) == (1.0, True)
    assert (reported["noise_statistics"], reported["noise_training"]) == (terms.noise_statistics, terms.noise_training)
    assert (terms.statistics, terms.rounds, terms.spare) == (9, 3, 0)


def test_a_configuration_comes_out_as_it_went_in(reference):
    config = read_specification(reference)
    assert json.loads((reference / "config.json").read_text()) == config.as_json()
    assert config.normalise == "federated"
    assert open_run(config).plan.spec == config


def test_nothing_leaves_a_site_but_with_noise_and_so_often_as_agreed(reference):
    lines = ledgers(reference)
    for line in lines:
        declared = schema(line["schema"])
        assert line["protection"] == ("noised" if declared.noised else "none")
        assert declared.noised or declared.bare
    kinds = [schema(line["schema"]).noised for line in lines]
    assert (kinds.count("statistics"), kinds.count("training")) == (9 * len(SCENES), 3 * len(SCENES))


def test_killed_and_resumed_it_ends_with_the_same_model(dataset, reference, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "progress_bar", stopping_progress(7))
        with pytest.raises(StoppedError):
            train(dataset, tmp_path / "run", privacy=SEEDED, baselines={}, **CHOICES)
    metrics = resume(tmp_path / "run", baselines={})
    assert metrics["model_sha256"] == metrics_of(reference)["model_sha256"]
    assert metrics["privacy"] == metrics_of(reference)["privacy"]
    assert len(ledgers(tmp_path / "run")) > len(ledgers(reference))  # what was asked again did leave again


@pytest.mark.parametrize("secure", [False, True])
def test_killed_at_any_question_it_goes_on_by_the_secret_of_its_sites(dataset, tmp_path, secure):
    """Copies of one run, whose sites have the same secrets: one undisturbed, one stopped again and again."""
    config = specify(
        module.Dataset(dataset),
        RunOptions(
            method="clap",
            setting="collaborative",
            supervision="us",
            strategy="fedavg",
            protocol="scene",
            seed=0,
            threads=1,
            normalise="auto",
            privacy=Privacy(8.0, sampling=1.0),
            rounds=3,
            options={key: value for key, value in CHOICES.items() if key != "rounds"},
            secure_aggregation=secure,
        ),
    )
    opened, found = open_run(config), []
    for name in ("undisturbed", "stopped"):
        for scene in SCENES:
            (tmp_path / name / "sites" / scene).mkdir(parents=True)
            (tmp_path / name / "sites" / scene / "privacy.key").write_bytes(scene.ljust(32).encode())
        federation, state, stops = opened.federation(tmp_path / name, opened.participants), None, 0
        while state is None:
            try:
                state = federation.run(stop_after(40 if secure else 11) if name == "stopped" else lambda *_: None)
            except StoppedError:
                stops += 1
        assert (stops > 3) == (name == "stopped")
        found.append(state)
        noted = (tmp_path / name / "sites" / "north" / "privacy.jsonl").read_text().splitlines()
        spent = [json.loads(line)["kind"] for line in noted]
        assert (spent.count("statistics"), spent.count("training")) == (9, 3)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        if name not in ("bytes_up", "bytes_down"):
            np.testing.assert_array_equal(found[1][name], value, err_msg=name)


def test_without_a_seed_no_two_runs_are_alike(dataset, reference, tmp_path):
    models = set()
    for name in ("one", "other"):
        privacy = dataclasses.replace(SEEDED, seed=None)
        metrics = train(dataset, tmp_path / name, privacy=privacy, baselines={}, **CHOICES)
        assert not metrics["privacy"]["seeded"]
        assert all((tmp_path / name / "sites" / s / "privacy.key").stat().st_mode & 0o777 == 0o600 for s in SCENES)
        models.add(metrics["model_sha256"])
    assert len({*models, metrics_of(reference)["model_sha256"]}) == 3


def test_with_a_seed_two_runs_are_alike(dataset, reference, tmp_path):
    again = train(dataset, tmp_path / "again", privacy=SEEDED, baselines={}, **CHOICES)
    assert again["model_sha256"] == metrics_of(reference)["model_sha256"]


@pytest.fixture
def sums(monkeypatch) -> list[np.ndarray]:
    """Summed gradients of the rounds, as the coordinator's steps are sent them."""
    seen: list[np.ndarray] = []
    inner = clap.private_steps

    def private_steps(*arguments):
        steps, replies = inner(*arguments), None
        while True:
            try:
                ask = steps.send(replies)
            except StopIteration:
                return
            replies = yield ask
            if ask.step.startswith("train"):
                gradients = [np.concatenate([np.ravel(v) for v in r.message.values()]) for r in replies]
                seen.append(np.sum(gradients, axis=0))

    monkeypatch.setattr(clap, "private_steps", private_steps)
    return seen


@pytest.mark.parametrize("secure", [False, True])
def test_under_masks_sums_have_less_noise(dataset, tmp_path, monkeypatch, sums, secure):
    """Bare, each of four sites brings all of it; under masks the part with which the smallest sum has all of it."""
    inner = privacy_terms.calibrated
    more = {"noise_training": 50.0}
    monkeypatch.setattr(privacy_terms, "calibrated", lambda *a, **k: dataclasses.replace(inner(*a, **k), **more))
    metrics = train(dataset, tmp_path / "run", privacy=SEEDED, secure_aggregation=secure, baselines={}, **CHOICES)
    assert len(sums) == 3
    assert metrics["privacy"]["noise_training"] == 50.0
    expected = 50.0 * math.sqrt(4 / 3 if secure else 4)
    assert np.std(sums) == pytest.approx(expected, rel=0.25)  # of 99 numbers; bare it is 73 % more
    protections = {line["protection"] for line in ledgers(tmp_path / "run") if schema(line["schema"]).noised}
    assert protections == {"noised, masked" if secure else "noised"}
    assert all(schema(line["schema"]).noised or schema(line["schema"]).bare for line in ledgers(tmp_path / "run"))


def test_an_infinite_epsilon_adds_no_noise(dataset, tmp_path, sums):
    privacy = Privacy(math.inf, sampling=1.0, seed=0)
    reported = train(dataset, tmp_path / "run", privacy=privacy, baselines={}, **CHOICES)["privacy"]
    assert (reported["epsilon"], reported["promised"]) == (None, None)
    assert (reported["noise_statistics"], reported["noise_training"]) == (0.0, 0.0)
    assert all(np.linalg.norm(total) <= len(SCENES) * 3 for total in sums)  # of so many videos


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"segregation": "local"}, "--segregation federated"),
        ({"method": "c2fpl", "segregation": None}, "--method comet, or --method clap"),
        (
            {"method": "comet", "segregation": None, "local_epochs": None, "strategy": "fedadam"},
            "aggregates sums",
        ),
        ({"refine_model": "local"}, "--refine-model, --refine-mode at their defaults"),
        ({"refine_mode": "training"}, "--refine-model, --refine-mode at their defaults"),
        ({"strategy": "median"}, "needs single updates, or several local steps; choose fedavg"),
        ({"strategy": "scaffold"}, "needs single updates, or several local steps; choose fedavg"),
        ({"strategy": "fedprox"}, "needs single updates, or several local steps; choose fedavg"),
        ({"normalise": "none"}, "leave --normalise at auto or federated"),
        ({"update_encoding": "int8"}, "--dp"),
        ({"stragglers": 0.5, "local_epochs": 2}, "leave out --stragglers"),
        ({"lr": 0.5}, "--lr has no effect; leave it out"),
        ({"density": "pooled"}, "--density has no effect; leave it out"),
        ({"privacy": Privacy(0.0)}, "--epsilon is 0"),
        ({"privacy": Privacy(1.0, delta=0.0)}, "--delta is 0"),
        ({"privacy": Privacy(1.0, clip=-1.0)}, "--dp-clip is -1"),
        ({"privacy": Privacy(1.0, sampling=2.0)}, "--dp-sampling is 2"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_options_without_differential_privacy_are_refused_before_the_run(dataset, tmp_path, changes, says):
    options = {"privacy": SEEDED, **CHOICES, "refine_from": 1, **changes}
    if options["segregation"] is None:
        options = {k: v for k, v in options.items() if v is not None and k != "refine_from"}
    with pytest.raises(ClapError, match=says) as reported:
        train(dataset, tmp_path / "run", **options)
    assert "\n" not in str(reported.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--epsilon", "1"), "--epsilon is an option of differential privacy; give --dp crop or --dp video too"),
        (("--dp-clip", "1"), "--dp-clip is an option of differential privacy; give --dp crop or --dp video too"),
        (("--dp-seed", "1"), "--dp-seed is an option of differential privacy; give --dp crop or --dp video too"),
        (("--dp", "video"), "--dp needs --epsilon"),
        (("--dp", "frame", "--epsilon", "1"), "'frame' is not one of 'crop', 'video'"),
        (("--segregation", "federated", "--dp", "video", "--epsilon", "nan"), "--epsilon is nan"),
        (("--segregation", "federated", "--dp", "video", "--epsilon", "-1"), "--epsilon is -1"),
        (("--method", "clap", "--dp", "video", "--epsilon", "1"), "--segregation federated"),
        (("--segregation", "federated", "--dp", "crop", "--epsilon", "1"), "supports the unit video"),
        (("--dp", "video", "--epsilon", "1", "--secure-aggregation", "--fraction", "0.2"), "at least 3 must take part"),
    ],
)
def test_the_command_refuses_options_that_do_not_go_together(dataset, tmp_path, words, says):
    done = CliRunner().invoke(command, [str(dataset), "--out", str(tmp_path / "run"), *words])
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "run").exists()


def test_the_command_hands_its_options_on_and_takes_more_rounds(dataset, tmp_path, monkeypatch):
    from clap_vad.cli import train as cli

    given: dict[str, Any] = {}

    def instead(dataset, out, **choices):
        given.update(choices)
        raise ClapError("enough")

    monkeypatch.setattr(cli.workflow, "train", instead)
    words = [
        "--dp",
        "video",
        "--epsilon",
        "2",
        "--delta",
        "1e-6",
        "--dp-clip",
        "0.5",
        "--dp-sampling",
        "0.25",
        "--dp-lr",
        "0.3",
    ]
    CliRunner().invoke(command, [str(dataset), "--out", str(tmp_path / "run"), *words, "--dp-seed", "4"])
    assert given["privacy"] == Privacy(2.0, 1e-6, 0.5, 0.25, 0.3, 4)
    assert given["rounds"] is None  # whatever is usual for the method, which the workflow knows
    CliRunner().invoke(command, [str(dataset), "--out", str(tmp_path / "run"), "--rounds", "7", *words])
    assert given["rounds"] == 7
    CliRunner().invoke(command, [str(dataset), "--out", str(tmp_path / "run")])
    assert (given["privacy"], given["rounds"]) == (None, None)


@pytest.mark.parametrize(
    ("method", "privacy", "rounds"),
    [
        ("comet", None, 20),
        ("comet", Privacy(8.0, unit="crop"), 20),
        ("comet", Privacy(8.0, unit="video"), 8),
        ("clap", None, 20),
        ("clap", Privacy(8.0, unit="video"), 100),
    ],
)
def test_rounds_are_those_usual_for_the_method_and_its_promise(dataset, method, privacy, rounds):
    options = {} if method == "comet" else {"segregation": "federated"}
    choices = {"supervision": "us", "strategy": "fedavg", "protocol": None, "seed": 0, "threads": 1}
    made = specify(
        Dataset(dataset),
        RunOptions(
            method=method,
            setting="collaborative",
            rounds=None,
            normalise="auto",
            options=options,
            privacy=privacy,
            **choices,
        ),
    )
    assert made.rounds == rounds


@pytest.mark.parametrize("privacy", [{"epsilon": 1.0}, {"more": 1}])
def test_terms_that_a_run_cannot_have_are_reported_with_their_file(dataset, tmp_path, privacy):
    run = tmp_path / "run"
    train(dataset, run, privacy=SEEDED, baselines={}, **CHOICES)
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, "privacy": privacy}))
    with pytest.raises(
        ClapError, match=r"config\.json: .*'privacy\.\w+' is (missing; restore the file|not an entry of .*; remove it)"
    ):
        resume(run)
