"""Help in groups: what applies is shown, defaults in one notation."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from clap_vad.algorithms.method import METHODS
from clap_vad.cli.main import cli
from clap_vad.cli.setting_options import SettingOption
from clap_vad.datasets.preparation import DATASETS
from clap_vad.features.extraction.extractor import EXTRACTORS
from clap_vad.federation.strategy import STRATEGIES
from clap_vad.settings import settings_of


def shown(*words: str) -> dict[str, str]:
    """The sections of a command's help."""
    done = CliRunner().invoke(cli, [*words, "--help"], terminal_width=300, max_content_width=300)
    assert done.exit_code == 0, done.output
    parts = re.split(r"^(\w[^\n]*):\n", done.output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_options_of_train_stand_in_groups():
    found = shown("train")
    assert list(found)[:5] == ["Options", "Data", "Training", "Federation", "Differential privacy"]
    assert "--protocol " in found["Data"] and "--rounds " in found["Training"] and "--epsilon " in found[list(found)[4]]
    assert found["Options"].rstrip().splitlines()[-1].split()[0] == "--help"
    assert "[default: 20; under --dp video 8 for comet and 100 for clap]" in found["Training"]


@pytest.mark.parametrize(
    "words", [("train",), ("label",), ("compare",), ("reproduce",), ("federation", "local")], ids=str
)
def test_without_a_choice_help_says_how_to_see_settings(words):
    found = shown(*words)
    option = "--methods" if words == ("compare",) else "--method"
    if words == ("reproduce",):  # whose methods are the paper's
        assert "--lr " in found["Settings of one method"]
        return
    assert f"'clap {' '.join(words)} {option} NAME --help'" in found["Settings of one method"].replace("cli ", "clap ")
    assert not any("--lr " in text for text in found.values())


@pytest.mark.parametrize("method", ["c2fpl", "clap", "comet", "gcl"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_settings_of_the_chosen_method_alone_are_shown(method, where):
    words = ("train", f"--method={method}") if where == "before" else ("train", "--help", "--method", method)
    found = shown(*words)
    known = settings_of(METHODS[method])
    text = found.get(f"Settings of method {method}", "")
    assert sorted(re.findall(r"^  (--\S+)", text, re.MULTILINE)) == sorted(setting.flag for setting in known)
    assert "Settings of one method" not in found and f"{method}: " not in text
    for setting in known:
        assert setting.help in text


def test_of_two_methods_it_is_said_whose_a_setting_is():
    text = shown("compare", "--methods", "clap,gcl")["Settings of method clap, gcl"]
    assert "clap: " in text and "gcl: " in text and "c2fpl" not in text


@pytest.mark.parametrize(
    ("words", "section", "registry", "name"),
    [
        (("train", "--strategy", "fedprox"), "strategy fedprox", STRATEGIES, "fedprox"),
        (("features", "extract", "--extractor", "hf:models/x"), "extractor hf", EXTRACTORS, "hf"),
        (("dataset", "prepare", "--source", "x", "ucsd-ped2"), "benchmark ucsd-ped2", DATASETS, "ucsd-ped2"),
    ],
)
def test_settings_of_everything_else_that_is_chosen_are_shown(words, section, registry, name):
    text = shown(*words)[f"Settings of {section}"]
    assert sorted(re.findall(r"^  (--\S+)", text, re.MULTILINE)) == sorted(s.flag for s in settings_of(registry[name]))


def test_settings_are_shown_where_nothing_chooses():
    text = shown("score")["Features on this machine"]
    assert "--device " in text and "--weights " in text


def options() -> list[click.Option]:
    found, groups = [], [cli]
    while groups:
        group = groups.pop()
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            groups += [command] if isinstance(command, click.Group) else []
            found += [option for option in command.params if isinstance(option, SettingOption)]
    return found


def test_defaults_of_settings_have_one_notation():
    found = options()
    assert len(found) > 100
    for option in found:
        assert not option.show_default
        assert re.sub(r"\[default: [^\[\]]+\]", "", option.help).count("[") <= option.help.count("[@REVISION]")


def commands(group: click.Group, *words: str) -> list[tuple[str, ...]]:
    """The words of every command below a group."""
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found += commands(command, *words, name) if isinstance(command, click.Group) else [(*words, name)]
    return found


@pytest.mark.parametrize("words", commands(cli), ids=" ".join)
def test_every_command_writes_defaults_alike(words):
    text = "".join(shown(*words).values())
    assert not re.search(r"\S {2,}\[default|[Dd]efault: |by default|default\]", text.replace(" [default: ", ""))
