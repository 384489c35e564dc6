"""C2FPL's labels against a straightforward version of section 2 of methods.md, each participant for itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError
from clap_vad.specification.run import RunOptions
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.label import label
from clap_vad.workflows.opening import open_run
from clap_vad.workflows.resolution import specify
from synthetic import SCENES, make_dataset, make_plan

SETTINGS = ["centralized", "local", "collaborative"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=9, test=False))


def magnitudes_of(dataset: Dataset, video: str) -> list[float]:
    store, entry = dataset.locate(video)
    x = np.asarray(store.features[entry.start : entry.stop], np.float64)
    return [float(np.mean([np.sum(crop**2) for crop in segment])) for segment in x]


def coarse(summaries: list[tuple[float, float]], eta: float) -> list[bool]:
    """Few videos: 3 percent of the normal ones is always the one least likely video.

    Bags of four videos and less are kept out of these tests: of two that make up a component both are as likely.
    """
    rows = np.array(summaries)
    cluster = GaussianMixture(2, covariance_type="spherical", max_iter=150, random_state=0).fit(rows).predict(rows)
    anomalous = cluster == (0 if (cluster == 0).sum() < (cluster == 1).sum() else 1)
    while anomalous.sum() / (~anomalous).sum() < eta:
        bag = np.flatnonzero(~anomalous)
        mixture = GaussianMixture(2, covariance_type="spherical", max_iter=150, random_state=0).fit(rows[bag])
        anomalous[bag[np.argmin(mixture.score_samples(rows[bag]))]] = True
    return anomalous.tolist()


def straightforward(dataset: Dataset, videos: list[str], known: set[str], evidence: str, eta: float = 1.0):
    """Labels of one participant whose videos in ``known`` have labels."""
    m = {video: magnitudes_of(dataset, video) for video in videos}
    anomalous = dict(zip(videos, coarse([(np.mean(x), np.var(x, ddof=1)) for x in m.values()], eta), strict=True))
    anomalous.update({video: dataset.videos[video].label == 1 for video in videos if video in known})
    normal = np.concatenate([m[video] for video in videos if not anomalous[video]])
    mean, std = normal.mean(), math.sqrt(normal.var(ddof=1))
    labels = {}
    for video in videos:
        y, w = np.zeros(len(m[video])), int(0.2 * len(m[video]))
        if anomalous[video]:
            if evidence == "density":
                q = [norm.pdf(value, mean, std) for value in m[video]]
            else:
                q = [2 * norm.cdf(-abs(value - mean) / std) for value in m[video]]
            variation = [sum(abs(q[j + 1] - q[j]) for j in range(i, i + w - 1)) for i in range(len(q) - w + 1)]
            start = int(np.argmax(variation))
            y[start : start + w] = 1
        labels[video] = y
    return labels


def known_videos(dataset: Dataset, setting: str, supervision: str) -> set[str]:
    config = specify(
        dataset,
        RunOptions(
            method="c2fpl",
            setting=setting,
            supervision=supervision,
            strategy="fedavg",
            protocol=None,
            rounds=1,
            seed=0,
            threads=1,
            normalise="none",
            options={},
            labelled_participants=0.5,
        ),
    )
    return set(open_run(config).labelled)


@pytest.mark.parametrize("supervision", ["us", "ws", "mixed"])
@pytest.mark.parametrize(
    ("setting", "evidence"), [*((setting, "density") for setting in SETTINGS), ("collaborative", "p-value")]
)
def test_labels_are_those_of_the_straightforward_version(dataset, tmp_path, setting, supervision, evidence):
    options = {"method": "c2fpl", "setting": setting, "supervision": supervision, "evidence": evidence}
    label(dataset.path, tmp_path / "y.npz", labelled_participants=0.5, **options)
    known = known_videos(dataset, setting, supervision)
    assert len({video.split("-")[0] for video in known}) == {"us": 0, "ws": 4, "mixed": 2}[supervision]
    groups = [[v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES]
    if setting == "centralized":
        groups = [dataset.train_videos]
    expected = {}
    for videos in groups:
        expected.update(straightforward(dataset, videos, known, evidence))
    with np.load(tmp_path / "y.npz") as ours:
        assert ours.files == dataset.train_videos
        assert sum(y.any() for y in expected.values()) >= 8
        for video, y in expected.items():
            np.testing.assert_array_equal(ours[video], y, err_msg=video)


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_eta_moves_videos(dataset, tmp_path, eta):
    label(dataset.path, tmp_path / "y.npz", method="c2fpl", setting="local", eta=eta)
    expected = {}
    for scene in SCENES:
        videos = [v for v in dataset.train_videos if v.startswith(scene)]
        expected.update(straightforward(dataset, videos, set(), "density", eta))
    with np.load(tmp_path / "y.npz") as ours:
        for video, y in expected.items():
            np.testing.assert_array_equal(ours[video], y, err_msg=video)
        assert sum(ours[v].any() for v in ours.files) == {0.0: 12, 0.6: 16}[eta]


def test_density_and_p_value_do_not_agree_everywhere(dataset, tmp_path):
    files = {evidence: tmp_path / f"{evidence}.npz" for evidence in ("density", "p-value")}
    for evidence, file in files.items():
        label(dataset.path, file, method="c2fpl", setting="centralized", eta=0.0, evidence=evidence)
    with np.load(files["density"]) as one, np.load(files["p-value"]) as other:
        assert any(not np.array_equal(one[video], other[video]) for video in one.files)


def test_it_trains_by_nesterov_with_the_papers_schedule(dataset):
    method = make_method("c2fpl", {})
    sgd = method.sgd()
    assert (sgd.nesterov, sgd.momentum, sgd.weight_decay, method.milestones()) == (True, 0.9, 5e-4, (15, 25))
    site = Federation(Path("unused"), dataset, {"all": dataset.train_videos}, make_plan(), method).program("all")
    rates = [rate for number in range(1, 16) for rate in site.schedule(number).lr]
    np.testing.assert_allclose(rates, [0.01] * 15 + [0.001] * 10 + [0.0001] * 5)


@pytest.mark.parametrize(
    "options", [{"eta": -1.0}, {"eta": float("nan")}, {"evidence": "x"}, {"anomalous_cluster": "0"}]
)
def test_settings_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(ClapError, match=f"--{name.replace('_', '-')} is"):
        make_method("c2fpl", options)
