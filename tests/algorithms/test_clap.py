"""CLAP's stages against a straightforward version that follows methods and paper line by line."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from clap_vad.algorithms.clap import ClapSite
from clap_vad.algorithms.method import make_method
from clap_vad.core.pseudo_labels.windows import refine, window_labels
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.network import initial_weights
from clap_vad.detector.scoring import score_regions
from clap_vad.errors import ClapError
from clap_vad.workflows.federate import Federation, site_data
from clap_vad.workflows.label import label
from synthetic import SCENES, make_dataset, make_plan


def straightforward_labels(dataset: Dataset, groups: dict[str, list[str]], supervision: str) -> dict[str, np.ndarray]:
    """Stage A as the release computes it, with full covariance matrices and loops."""
    magnitude, anomalous, triples = {}, {}, []
    for videos in groups.values():
        summaries = []
        for video in videos:
            store, entry = dataset.locate(video)
            x = np.asarray(store.features[entry.start : entry.stop], np.float64)
            m = np.array([np.mean([np.sum(crop**2) for crop in segment]) for segment in x])
            variances = np.diag(np.cov(x.mean(axis=1).T))
            summaries.append(
                (max(m[1:] - m[:-1]), sum(-v * math.log(v) for v in np.where(variances == 0, 1e-9, variances)))
            )
            magnitude[video] = m
        if supervision == "us":
            mixture = GaussianMixture(2, covariance_type="full", max_iter=150, random_state=0)
            cluster = mixture.fit_predict(np.array(summaries))
            normal = 0 if (cluster == 0).sum() > (cluster == 1).sum() else 1
            anomalous.update(zip(videos, cluster != normal, strict=True))
        else:
            anomalous.update({video: dataset.videos[video].label == 1 for video in videos})
        of_normal = np.concatenate([magnitude[v] for v in videos if not anomalous[v]])
        triples.append((len(of_normal), of_normal.mean(), of_normal.var(ddof=1)))
    total = sum(n for n, _, _ in triples)
    labels = {}
    for video, m in magnitude.items():
        y, w = np.zeros(len(m)), int(0.2 * len(m))
        if anomalous[video]:
            q = sum(n / total * norm.pdf(m, mu, math.sqrt(var)) for n, mu, var in triples)
            variation = [sum(abs(q[j + 1] - q[j]) for j in range(i, i + w - 1)) for i in range(len(m) - w + 1)]
            start = int(np.argmax(variation))
            y[start : start + w] = 1
        labels[video] = y
    return labels


@pytest.mark.parametrize("supervision", ["us", "ws"])
@pytest.mark.parametrize("setting", ["centralized", "local", "collaborative"])
def test_pseudo_labels_are_those_of_the_straightforward_version(tmp_path, setting, supervision):
    dataset = Dataset(make_dataset(tmp_path / "data"))
    label(dataset.path, tmp_path / "y.npz", setting=setting, supervision=supervision, short_videos="release")
    by_scene = {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}
    if setting == "centralized":
        expected = straightforward_labels(dataset, {"all": dataset.train_videos}, supervision)
    elif setting == "collaborative":
        expected = straightforward_labels(dataset, by_scene, supervision)
    else:
        expected = {}
        for scene, videos in by_scene.items():
            expected.update(straightforward_labels(dataset, {scene: videos}, supervision))
    with np.load(tmp_path / "y.npz") as ours:
        assert sum(y.any() for y in expected.values()) >= 4
        for video, y in expected.items():
            np.testing.assert_array_equal(ours[video], y, err_msg=video)


def make_site(tmp_path, **options) -> tuple[ClapSite, dict]:
    dataset = Dataset(make_dataset(tmp_path / "data"))
    plan = make_plan(rounds=9)
    videos = [v for v in dataset.train_videos if v.startswith("north")]
    site = make_method("clap", options).site(plan, site_data(dataset, "north", videos))
    state: dict = {}
    gaussian = site.steps["segregate"][0]({}, state)
    site.steps["label"][0](
        {"gaussians": np.array([[gaussian["count"], gaussian["mean"], gaussian["variance"]]])}, state
    )
    return site, state


@pytest.mark.parametrize("labels", ["cumulative", "original"])
def test_refinement_follows_section_three_four(tmp_path, labels):
    site, state = make_site(tmp_path, refine_from=3, refine_labels=labels)
    weights = initial_weights(16, seed=5)
    original = state["labels"].copy()
    site.before_training(weights, 2, state)
    np.testing.assert_array_equal(state["labels"], original)  # not yet
    for number in (3, 4):
        present = state["labels"] if labels == "cumulative" else original
        expected = original.copy()
        for part, bad, s in zip(site.slices, state["anomalous"], site.scores(weights, state, number), strict=True):
            if bad:
                expected[part] = refine(present[part], window_labels(s, 0.1, "high"))
        site.before_training(weights, number, state)
        np.testing.assert_array_equal(state["labels"], expected)
        assert not np.array_equal(state["labels"], original)


def test_training_mode_scores_differ_and_come_back_with_the_same_key(tmp_path):
    site, state = make_site(tmp_path)
    weights = initial_weights(16, seed=5)
    modes = (False, True, True)
    calm, noisy, again = (np.concatenate(site.scores(weights, state, 4, dropout=mode)) for mode in modes)
    assert not np.array_equal(calm, noisy)
    np.testing.assert_array_equal(noisy, again)


def test_refinement_uses_as_many_regions_as_training(tmp_path):
    site, state = make_site(tmp_path, crops=1)
    weights = initial_weights(16, seed=5)
    rows = np.concatenate([np.arange(entry.start, entry.stop) for entry in site.data.entries])
    by_crop = score_regions(weights, np.asarray(site.data.store.features)[rows])
    drawn, again, other = (np.concatenate(site.scores(weights, state, number)) for number in (4, 4, 5))
    assert np.isclose(drawn[:, None], by_crop, rtol=1e-5).any(axis=1).all()  # each is the score of one of its crops
    assert not np.allclose(drawn, by_crop[:, 0], rtol=1e-5)
    assert not np.allclose(drawn, by_crop[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, other)


def test_learning_rate_falls_at_milestones(tmp_path):
    site, _ = make_site(tmp_path, lr=0.1, local_epochs=2, lr_milestones="1,4")
    rates = [rate for number in (1, 2, 3) for rate in site.schedule(number).lr]
    np.testing.assert_allclose(rates, [0.1, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_equal_sites_with_one_full_batch_take_the_centralized_step(tmp_path):
    """FedAvg of single steps is the step on all data when every site sees one batch (McMahan et al. 2017)."""
    dataset = Dataset(make_dataset(tmp_path / "data"))
    method = make_method("clap", {"batch_size": 100_000, "min_steps": 0, "momentum": 0.0, "local_epochs": 1, "lr": 0.5})
    plan = make_plan(rounds=1)
    half = len(dataset.train_videos) // 2
    videos = dataset.train_videos
    weights = {}
    for name, held in {"two": {"a": videos[:half], "b": videos[half:]}, "one": {"all": videos}}.items():
        # Dropout differs from site to site, so it is taken out of the comparison; labels are made the same.
        state = _without_dropout(Federation(tmp_path / name, dataset, held, plan, method, dataset.train_videos))
        weights[name] = {k: v for k, v in state.items() if k.startswith("weights.")}
    for key, value in weights["one"].items():
        np.testing.assert_allclose(weights["two"][key], value, rtol=1e-4, atol=1e-6)
        if not key.endswith("layer3.bias"):
            assert not np.array_equal(value, initial_weights(16, 0)[key.removeprefix("weights.")])


def _without_dropout(federation: Federation):
    from unittest.mock import patch

    from clap_vad.detector.training import local_sgd

    def plain(weights, source, labels, settings, rng, threads, correction):
        ws = np.concatenate([np.full(e.segments, float(e.video.endswith("-1")), np.float32) for e in source.entries])
        return local_sgd(weights, source, ws, settings, rng, threads, dropout=0.0)

    with patch("clap_vad.algorithms.site.local_sgd", plain):
        return federation.run()


@pytest.mark.parametrize(
    "options", [{"lr": 0}, {"momentum": 1.0}, {"batch_size": 0}, {"local_epochs": 0}, {"lr_milestones": "x"}]
)
def test_settings_out_of_range_are_named(options):
    with pytest.raises(ClapError, match="--"):
        make_method("clap", options)
    assert dataclasses.is_dataclass(make_method("clap", {}))
