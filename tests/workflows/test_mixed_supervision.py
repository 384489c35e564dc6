"""Some participants have video labels, the others none: only labels of the labelled ones are read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.workflows.label import label
from synthetic import SCENES, make_dataset

QUICK = {
    "clap": {"min_steps": 0, "local_epochs": 1},
    "c2fpl": {"min_steps": 0, "local_epochs": 1, "eta": 0.0},
    "gcl": {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 0, "generator_threshold": -0.5},
}
SETTINGS = ["centralized", "local", "collaborative"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    path = make_dataset(tmp_path_factory.mktemp("data") / "d", videos=4, test=False)
    label(path, path.parent / "y.npz")  # makes participants/scene.json
    return path


def relabelled(dataset: Path, out: Path, scenes: Iterable[str], labels: dict[str, str]) -> Path:
    """The dataset with the labels of these scenes' training videos replaced."""
    shutil.copytree(dataset, out)
    lines = (dataset / "videos.csv").read_text().splitlines()
    for number, line in enumerate(lines):
        head, _, own = line.rpartition(",")
        if head.startswith(tuple(f"{scene}-train" for scene in scenes)):
            lines[number] = f"{head},{labels[own]}"
    (out / "videos.csv").write_text("\n".join(lines) + "\n")
    return out


pytestmark = pytest.mark.usefixtures("small_generator")

FLIPPED, ERASED = {"0": "1", "1": "0"}, {"0": "", "1": ""}


def labels_of(dataset: Path, out: Path, **options) -> dict[str, np.ndarray]:
    label(dataset, out, supervision="mixed", **{"method": "clap", **options})
    with np.load(out) as found:
        return dict(found)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[video], other[video]) for video in one)


def scenes_that_matter(dataset: Path, folder: Path, **options) -> set[str]:
    """Scenes whose labels make a difference, found by flipping one scene's after the other's."""
    folder.mkdir()
    plain = labels_of(dataset, folder / "plain.npz", **options)
    found = set()
    for scene in SCENES:
        other = relabelled(dataset, folder / scene, [scene], FLIPPED)
        if not same(plain, labels_of(other, folder / f"{scene}.npz", **options)):
            found.add(scene)
    return found


@pytest.fixture(scope="module")
def known(dataset, tmp_path_factory) -> set[str]:
    """The two labelled participants of seed 0."""
    return scenes_that_matter(dataset, tmp_path_factory.mktemp("known") / "0", labelled_participants=0.5)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.3, 1), (0.75, 3), (1.0, 4)])
def test_so_many_participants_are_labelled_one_at_least(dataset, tmp_path, share, count):
    assert len(scenes_that_matter(dataset, tmp_path / "x", labelled_participants=share)) == count


def test_the_draw_depends_on_the_seed(dataset, known, tmp_path):
    assert len(known) == 2
    assert any(
        scenes_that_matter(dataset, tmp_path / str(seed), labelled_participants=0.5, seed=seed) != known
        for seed in (1, 2, 3)
    )


@pytest.mark.parametrize("method", ["clap", "c2fpl"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_labels_of_the_others_are_never_read(dataset, known, tmp_path, method, setting):
    """Under every setting the same participants' videos are labelled, centralized included."""
    options = {"method": method, "setting": setting, "labelled_participants": 0.5, **QUICK[method]}
    others = set(SCENES) - known
    plain = labels_of(dataset, tmp_path / "plain.npz", **options)
    for name, labels in (("flipped", FLIPPED), ("erased", ERASED)):
        other = relabelled(dataset, tmp_path / name, others, labels)
        assert same(plain, labels_of(other, tmp_path / f"{name}.npz", **options))
    for scene in known:
        other = relabelled(dataset, tmp_path / scene, [scene], FLIPPED)
        assert not same(plain, labels_of(other, tmp_path / f"{scene}.npz", **options))


@pytest.mark.parametrize("setting", SETTINGS)
def test_gcl_trains_on_the_labels_of_the_labelled_alone(dataset, known, tmp_path, quick_train, setting):
    options = {
        "method": "gcl", "setting": setting, "supervision": "mixed", "labelled_participants": 0.5, "rounds": 1,
        **QUICK["gcl"],
    }  # fmt: skip
    models = {
        name: quick_train(relabelled(dataset, tmp_path / name, scenes, FLIPPED), tmp_path / f"run-{name}", **options)
        for name, scenes in {"plain": [], "others": set(SCENES) - known, "known": known}.items()
    }
    assert models["plain"]["model_sha256"] == models["others"]["model_sha256"]
    assert models["plain"]["model_sha256"] != models["known"]["model_sha256"]


def test_a_labelled_participant_must_have_its_labels(dataset, known, tmp_path):
    (first, *_) = sorted(known)
    broken = relabelled(dataset, tmp_path / "broken", [first], ERASED)
    with pytest.raises(ClapError, match=rf"training video '{first}-train-0' has no label"):
        labels_of(broken, tmp_path / "y.npz", labelled_participants=0.5)


@pytest.mark.parametrize("method", QUICK)
@pytest.mark.parametrize("setting", SETTINGS)
def test_with_all_participants_labelled_it_is_weak_supervision(dataset, tmp_path, quick_train, method, setting):
    options = {"method": method, "setting": setting, "rounds": 1, **QUICK[method]}
    dataset = relabelled(dataset, tmp_path / "data", ["east"], FLIPPED)  # no mixture would judge so
    mixed = quick_train(dataset, tmp_path / "mixed", supervision="mixed", labelled_participants=1.0, **options)
    weak = quick_train(dataset, tmp_path / "weak", supervision="ws", **options)
    none = quick_train(dataset, tmp_path / "none", supervision="us", **options)
    assert mixed["model_sha256"] == weak["model_sha256"]
    assert mixed["model_sha256"] != none["model_sha256"]
