"""Every option of a run is stated once: what follows from the statement has it, and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from specified import changed, deployed_run

import clap_vad as clap
from clap_vad.cli.compare import compare as compare_command
from clap_vad.cli.federation import local as local_command
from clap_vad.cli.label import label as label_command
from clap_vad.cli.reproduce import reproduce as reproduce_command
from clap_vad.cli.run_options import RunOption
from clap_vad.cli.train import train as train_command
from clap_vad.core.statistics.accounting import calibrated
from clap_vad.datasets.dataset import Dataset
from clap_vad.deployment.planning import resolved_run
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.deployment.train import train_deployed
from clap_vad.errors import ClapError
from clap_vad.federation.strategy import STRATEGIES
from clap_vad.persistence import write_json
from clap_vad.settings import settings_of
from clap_vad.specification.choice import ENGINES, choices_of, names_at_sites
from clap_vad.specification.reading import options_from, read_specification
from clap_vad.specification.run import Privacy, RunOptions, RunSpecification, Train
from clap_vad.workflows.resolution import specify
from synthetic import make_dataset

COMMANDS = {
    "train": train_command,
    "label": label_command,
    "compare": compare_command,
    "reproduce": reproduce_command,
    "federation local": local_command,
}
OPTIONS = [setting for setting in settings_of(RunOptions) if setting.where and setting.where.commands]
FEATURES = {"extractor": "i3d", "settings": {}, "weights_sha256": None, "segment_frames": 16, "crops": 10, "dim": 8}
OTHER: dict[str, Any] = {
    "method": "clap", "setting": "local", "supervision": "ws", "strategy": "fedprox", "protocol": "random-3",
    "rounds": 7, "seed": 5, "threads": 3, "normalise": "federated", "fraction": 0.5, "stragglers": 0.25,
    "labelled_participants": 0.6, "test_each_round": True, "sites": ["a", "b"], "min_sites": 2, "deadline": 9.0,
    "secure_aggregation": True, "privacy": Privacy(4.0, unit="crop"), "update_encoding": "int8", "without": ["north"],
}  # fmt: skip
"""Another value of each option than its default."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3))


def test_the_other_values_are_of_all_options():
    assert OTHER.keys() == {setting.name for setting in OPTIONS}


# The command line.


def run_options(command: str) -> dict[str, RunOption]:
    return {str(o.name): o for o in COMMANDS[command].params if isinstance(o, RunOption)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_on_its_command_line(command):
    found = run_options(command)
    for setting in choices_of(RunOptions, command):
        if setting.type is not Privacy:
            option = found[setting.name]
            assert (option.group, option.engines) == (setting.where.group, setting.where.engines)
            assert option.opts == [setting.flag] and setting.help in option.help
            assert option.default == (20 if setting.name == "rounds" and "20]" in option.help else option.default)
    privacy = {"dp", "epsilon", "delta", "dp_clip", "dp_sampling", "dp_lr", "dp_seed"}
    assert privacy <= found.keys() if command in ("train", "federation local") else not privacy & found.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_a_command_does_not_take_is_not_there(command):
    taken = {setting.name for setting in choices_of(RunOptions, command)}
    strange = {setting.name for setting in OPTIONS} - taken - {"sites"}  # 'federation local' counts sites of its own
    assert not strange & {str(option.name) for option in COMMANDS[command].params}


def test_a_comparison_varies_what_says_so():
    lists = {setting.where.listed for setting in OPTIONS} - {""}
    assert lists == {"methods", "settings", "supervisions", "strategies", "seeds"}
    assert lists <= run_options("compare").keys()
    assert {"seeds"} == lists & run_options("reproduce").keys()


def test_every_option_is_in_a_group_with_one_notation_of_defaults():
    for command in COMMANDS.values():
        for option in command.params:
            if isinstance(option, RunOption):
                assert option.group and option.help
                assert not option.show_default and option.help.count("[") <= 1
                assert "[" not in option.help or "[default: " in option.help


def arguments(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name.replace('_', '-')}"]
    return [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, list) else str(value)]


@pytest.mark.parametrize("name", [name for name in OTHER if name != "privacy"])
def test_the_command_line_gives_what_the_python_function_takes(monkeypatch, tmp_path, name):
    given: dict[str, Any] = {}
    (setting,) = (setting for setting in OPTIONS if setting.name == name)
    engine = setting.where.engines[0]

    def take(*places: Any, **options: Any) -> dict[str, Any]:
        given.update(options)
        raise ClapError("seen")

    monkeypatch.setattr("clap_vad.workflows.train.train", take)
    monkeypatch.setattr("clap_vad.deployment.train.train_deployed", take)
    words = [str(tmp_path), "--out", str(tmp_path / "run"), "--engine", engine, *arguments(name, OTHER[name])]
    with pytest.raises(SystemExit):
        train_command.main(words, standalone_mode=False)
    assert given[name] == OTHER[name]
    others = {key: value for key, value in given.items() if key in OTHER and key != name}
    assert options_from({name: OTHER[name], **others}) == options_from({name: OTHER[name]})


@pytest.mark.parametrize("engine", ENGINES)
def test_an_option_that_means_nothing_to_an_engine_is_refused(tmp_path, capsys, engine):
    useless = [s for s in choices_of(RunOptions, "train") if engine not in s.where.engines]
    assert useless
    for setting in useless:
        words = [str(tmp_path), "--out", str(tmp_path / "run"), "--engine", engine]
        with pytest.raises(SystemExit):
            train_command.main([*words, *arguments(setting.name, OTHER[setting.name])], standalone_mode=False)
        assert f"{setting.flag} is not for --engine {engine}; leave it out" in capsys.readouterr().err


# Python.


def test_the_typed_signature_of_train_is_the_statement():
    stated = dict(inspect.signature(Train.__call__).parameters)
    found = dict(inspect.signature(clap.train).parameters)
    assert {n: p.default for n, p in stated.items() if n not in ("self", "options")} == {
        n: p.default for n, p in found.items() if n not in ("baselines", "options")
    }
    assert stated["options"].kind is found["options"].kind is inspect.Parameter.VAR_KEYWORD
    assert list(found)[2:-2] == [s.name for s in choices_of(RunOptions, "train", "inprocess")]


@pytest.mark.parametrize(
    ("function", "command", "engine"),
    [(clap.train, "train", "inprocess"), (clap.label, "label", "inprocess"), (train_deployed, "train", "flare")],
)
def test_signature_and_docstring_of_a_function_have_every_option(function, command, engine):
    known = choices_of(RunOptions, command, engine)
    parameters = inspect.signature(function).parameters
    assert {s.name: s.default for s in known} == {s.name: parameters[s.name].default for s in known}
    assert "asked" not in parameters
    for setting in known:
        assert f"        {setting.name}: " in function.__doc__
    assert "{options}" not in function.__doc__


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rounds": "3"}, "--rounds must be a whole number, not '3'"),
        ({"rounds": 2.0}, "--rounds must be a whole number, not 2.0"),
        ({"rounds": True}, "--rounds must be a whole number, not True"),
        ({"rounds": 0}, "--rounds must be 1 or more, not 0"),
        ({"seed": -1}, "--seed must be 0 or more, not -1"),
        ({"threads": 257}, "--threads must be 256 or less, not 257"),
        ({"setting": "alone"}, "--setting must be 'centralized', 'local' or 'collaborative', not 'alone'"),
        ({"fraction": 0}, "--fraction must be above 0, not 0"),
        ({"fraction": float("nan")}, "--fraction must be a finite number, not nan"),
        ({"test_each_round": 1}, "--test-each-round must be true or false, not 1"),
        ({"without": "north"}, "--without must be a list, not 'north'"),
        ({"privacy": 8.0}, "--privacy must be an object of Privacy, not 8.0"),
        ({"strategy": "magic"}, "unknown strategy 'magic'; known: "),
        ({"method": "magic"}, "unknown method 'magic'; known: "),
        ({"round": 3}, r"no setting 'round' \(did you mean 'rounds'\?\)"),
        ({"method": "clap", "lrr": 0.1}, r"no setting 'lrr' \(did you mean 'lr'\?\)"),
        ({"method": "clap", "lr": "0.1"}, "method 'clap': --lr is '0.1'; a number is needed"),
        ({"deadline": 3.0}, "no setting 'deadline'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_value_of_an_option_is_told_in_a_sentence(dataset, tmp_path, given, says):
    with pytest.raises(ClapError, match=says):
        clap.train(dataset.path, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


# config.json.


def test_every_option_is_in_the_file_and_comes_out_of_it(dataset, tmp_path):
    spec = specify(dataset, RunOptions(method="clap", rounds=1))
    content = spec.as_json()
    assert list(content) == [field.name for field in dataclasses.fields(RunSpecification)]
    assert {setting.name for setting in OPTIONS} <= content.keys()
    write_json(tmp_path / "config.json", content)
    assert read_specification(tmp_path) == spec
    assert json.loads((tmp_path / "config.json").read_text()) == content


def test_a_file_of_an_earlier_release_is_what_the_defaults_say(dataset, tmp_path):
    content = specify(dataset, RunOptions(method="clap", rounds=1)).as_json()
    names = list(content)
    old = {name: content[name] for name in names[: names.index("strategy_options")]}
    write_json(tmp_path / "config.json", old)
    assert read_specification(tmp_path).as_json() == {**content, "strategy_options": {}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: [], "not the configuration of a run of this release"),
        (lambda content: {**content, "more": 1}, "not the configuration of a run of this release"),
        (lambda content: {k: v for k, v in content.items() if k != "seed"}, "not the configuration of a run"),
        (lambda content: {**content, "rounds": 0}, "not the configuration of a run of this release"),
        (lambda content: {**content, "threads": 0}, "not the configuration of a run of this release"),
        (lambda content: {**content, "normalise": "auto"}, "not the configuration of a run of this release"),
        (lambda content: {**content, "rounds": "x"}, "'rounds' must be a whole number, not 'x'; restore the file"),
        (lambda content: {**content, "without": [3]}, r"'without\[0\]' must be a text, not 3; restore the file"),
        (
            lambda content: {**content, "privacy": {"epsilon": 1.0}},
            "not the configuration of a run of this release: the entry 'privacy.delta' is missing; restore",
        ),
        (lambda content: {**content, "engine": "mail"}, "'engine' must be 'inprocess' or 'flare', not 'mail'"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_a_sentence(dataset, tmp_path, change, says):
    content = specify(dataset, RunOptions(method="clap", rounds=1)).as_json()
    write_json(tmp_path / "config.json", change(content))
    with pytest.raises(ClapError, match=rf"config\.json: {says}"):
        read_specification(tmp_path)


# What the sites are told.


@pytest.fixture
def resolved() -> ResolvedRun:
    spec = deployed_run(["a", "b", "c"], method="clap", rounds=2)
    return resolved_run(spec, {**FEATURES, "normalise": "federated"})


def test_the_sites_are_told_what_decides_the_result_and_no_more(resolved):
    told = json.loads(resolved.to_array().tobytes())
    assert told.keys() == {*names_at_sites(RunOptions).values(), "participants", "labelled", "features", "dim"}
    assert names_at_sites(RunOptions).keys() == {
        "method", "strategy", "rounds", "seed", "threads", "normalise", "options", "strategy_options", "fraction",
        "stragglers", "secure_aggregation", "privacy", "update_encoding",
    }  # fmt: skip


@pytest.mark.parametrize("name", [setting.name for setting in OPTIONS])
def test_an_option_reaches_the_sites_where_the_statement_says_so(resolved, name):
    terms = calibrated(4.0, 1e-6, clip=1.0, sampling=1.0, lr=0.1, statistics=2, rounds=2, unit="crop")
    other = {"method": "c2fpl", "rounds": 9, "privacy": terms, "sites": ("a", "b"), "without": ("north",)}
    spoken = changed(resolved, **{name: other.get(name, OTHER[name])})
    sent = ResolvedRun.from_array(spoken.to_array())
    assert (getattr(sent.spec, name) == getattr(spoken.spec, name)) is (name in names_at_sites(RunOptions))
    assert sent.with_options_of(spoken.spec) == spoken  # the coordinator itself knows the others


def test_a_plan_has_what_the_specification_says(resolved):
    plan = changed(resolved, strategy="fedprox", strategy_options={"mu": 0.5}).plan()
    assert plan.spec.strategy == "fedprox" and plan.strategy == STRATEGIES["fedprox"](mu=0.5)
    assert (plan.participants, plan.dim) == (("a", "b", "c"), 8)
    assert plan.having(rounds=5).spec.rounds == 5 and plan.spec.rounds == 2


# What an option means, where its statement says that too.


def test_rounds_are_drawn_by_the_seed_alone():
    spec = RunSpecification(method="clap", rounds=1, fraction=0.5, seed=3)
    names = tuple("abcdefgh")
    drawn = [spec.drawn(names, number) for number in range(20)]
    assert drawn == [spec.drawn(names, number) for number in range(20)]
    assert all(len(one) == 4 and list(one) == sorted(one) for one in drawn) and len(set(drawn)) > 10
    assert RunSpecification(method="clap", rounds=1).drawn(names, 1) is None
    assert np.mean(["a" in one for one in drawn]) == pytest.approx(0.5, abs=0.35)


def test_a_command_is_made_of_click_options_alone():
    for command in COMMANDS.values():
        assert isinstance(command, click.Command)
        assert len({o.name for o in command.params}) == len(command.params)


def test_a_path_is_no_option(tmp_path: Path):
    with pytest.raises(ClapError, match=r"--protocol must be a text, not .*"):
        options_from({"protocol": tmp_path})
