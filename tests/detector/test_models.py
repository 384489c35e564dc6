"""The kinds of saved model: they are restored as saved, invalid files are reported, and their scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import DIM, INFO, KINDS, make, mixture_model, video
from safetensors.numpy import load_file
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestNeighbors

from clap_vad.core.density.surprise import Surprise
from clap_vad.detector.model import Model
from clap_vad.detector.models.mixture import Remembered
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.features.store.writer import StoreWriter
from clap_vad.persistence import file_sha256, save_arrays

# Saved and read again.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [True, False])
def test_a_model_read_again_scores_the_same_bit_for_bit(tmp_path, kind, masked):
    model = make(kind)
    x, valid = video(dim=model.dim)
    sha256 = model.save(tmp_path / "m")
    assert sha256 == file_sha256(tmp_path / "m" / "model.safetensors")
    found = Model.load(tmp_path / "m")
    assert type(found) is type(model)
    assert found.dim == model.dim
    assert {**found.info, **INFO, "dim": model.dim} == found.info
    for causal in (False, True):
        one, other = (m.score(x, valid if masked else None, 25.0, causal) for m in (model, found))
        assert one.tobytes() == other.tobytes()
        assert one.dtype == np.float32 and one.shape == (40,)
    assert found.save(tmp_path / "again") == sha256
    assert (tmp_path / "again" / "model.json").read_text() == (tmp_path / "m" / "model.json").read_text()


def test_a_model_json_without_a_kind_is_a_network(tmp_path):
    make("network").save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    del content["kind"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert isinstance(Model.load(tmp_path), NetworkModel)


def changed(folder: Path, arrays: dict[str, Any] | None = None, **content: Any) -> None:
    """Change a saved model by someone who knows that its hash must fit; None takes an entry away."""
    found = load_file(folder / "model.safetensors")
    for name, change in (arrays or {}).items():
        found[name] = change(found[name]) if callable(change) else change
    save_arrays(folder / "model.safetensors", {name: array for name, array in found.items() if array is not None})
    told = json.loads((folder / "model.json").read_text())
    told |= {"model_sha256": file_sha256(folder / "model.safetensors"), **content}
    told = {key: value for key, value in told.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(told))


def some_nan(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 0, np.nan, array).astype(array.dtype)


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "no arrays": lambda f: (f / "model.safetensors").unlink(),
    "no description": lambda f: (f / "model.json").unlink(),
    "arrays cut short": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
    "description cut short": lambda f: (f / "model.json").write_text((f / "model.json").read_text()[:-9]),
    "a flipped bit": lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:-1] + bytes([(f / "model.safetensors").read_bytes()[-1] ^ 1])
    ),
    "a list": lambda f: (f / "model.json").write_text("[1]"),
    "another release": lambda f: changed(f, schema_version=2),
    "an unknown kind": lambda f: changed(f, kind="oracle"),
    "a kind that is no name": lambda f: changed(f, kind=["mixture"]),
    "the other kind": lambda f: changed(f, kind="network"),
    "no shares": lambda f: changed(f, shares=None),
    "no experts": lambda f: changed(f, shares=[]),
    "an expert too many": lambda f: changed(f, shares=[1, 1, 1, 1]),
    "a share of 0": lambda f: changed(f, shares=[0.4, 0.0, 0.8]),
    "an infinite share": lambda f: changed(f, shares=[0.4, 1e999, 0.8]),
    "a share that is no number": lambda f: changed(f, shares=["much", 1, 1]),
    "shares that are a number": lambda f: changed(f, shares=3),
    "followed is a word": lambda f: changed(f, followed="no"),
    "no dim": lambda f: changed(f, dim=None),
    "a dim that is no number": lambda f: changed(f, dim=[6]),
    "a smaller dim": lambda f: changed(f, dim=4),
    "no segment_frames": lambda f: changed(f, segment_frames=None),
    "segment_frames 0": lambda f: changed(f, segment_frames=0),
    "no columns": lambda f: changed(f, {"columns": None}),
    "columns that are one number": lambda f: changed(f, {"columns": np.array(3)}),
    "columns of fractions": lambda f: changed(f, {"columns": lambda a: a.astype(np.float64)}),
    "a column below 0": lambda f: changed(f, {"columns": lambda a: a - 1}),
    "no mean": lambda f: changed(f, {"mean": None}),
    "a mean for other columns": lambda f: changed(f, {"mean": np.zeros(9, np.float32)}),
    "a NaN scale": lambda f: changed(f, {"scale": some_nan}),
    "a projection of one dimension": lambda f: changed(f, {"projection": np.zeros(5, np.float32)}),
    "a projection from elsewhere": lambda f: changed(f, {"projection": np.zeros((7, 5), np.float32)}),
    "a projection to nothing": lambda f: changed(f, {"projection": np.zeros((5, 0), np.float32)}),
    "counts of another release": lambda f: changed(f, {"expert0.counts": np.zeros(9, np.int64)}),
    "counts below 0": lambda f: changed(f, {"expert0.counts": lambda a: a - 1}),
    "counts of fractions": lambda f: changed(f, {"expert0.counts": lambda a: a / 2}),
    "weights that sum to 2": lambda f: changed(f, {"expert0.weights": lambda a: 2 * a}),
    "means of one dimension": lambda f: changed(f, {"expert0.means": lambda a: a.ravel()}),
    "means of no dimension": lambda f: changed(
        f, {"expert0.means": np.zeros((4, 0)), "expert0.covariances": np.zeros((4, 0, 0))}
    ),
    "a density that is too narrow": lambda f: changed(f, {"expert1.covariances": lambda a: a / 1000}),
    "a density of other columns": lambda f: changed(f, {"expert1.columns": np.arange(2)}),
    "density columns that are one number": lambda f: changed(f, {"expert1.columns": np.array(0)}),
    "density columns far out": lambda f: changed(f, {"expert1.columns": lambda a: a + 9}),
    "a memory of too few rows": lambda f: changed(f, {"expert2.rows": lambda a: a[:10]}),
    "a memory of other rows": lambda f: changed(f, {"expert2.rows": lambda a: a[:, :2]}),
    "a memory of one dimension": lambda f: changed(f, {"expert2.rows": lambda a: a.ravel()}),
    "a memory with NaN": lambda f: changed(f, {"expert2.rows": some_nan}),
    "a memory of double precision": lambda f: changed(f, {"expert2.rows": lambda a: a.astype(np.float64)}),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_invalid_model_is_reported_with_its_file(tmp_path, damage):
    mixture_model().save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ClapError, match=str(tmp_path / "model")):
        Model.load(tmp_path / "model")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(mixture_model().arrays())),
    shape=st.lists(st.integers(0, 5), max_size=3),
    kind=st.sampled_from(["f2", "f4", "f8", "i8", "u1", "?"]),
    value=st.sampled_from([0, 1, np.nan, -1]),
)
def test_arrays_of_any_shape_and_type_give_a_model_that_scores_or_are_refused(tmp_path, name, shape, kind, value):
    mixture_model().save(tmp_path)
    with np.errstate(invalid="ignore"):
        changed(tmp_path, {name: np.full(shape, value).astype(kind)})
    try:
        model = Model.load(tmp_path)
    except ClapError as error:
        assert str(tmp_path) in str(error)
    else:
        assert np.isfinite(model.score(*video())).all()


# How they judge.


def test_evidence_is_the_mean_surprise_under_all_experts():
    """With scipy's densities and scikit-learn's neighbours."""
    model, (x, valid) = mixture_model(), video()
    constants = model.projection.normaliser
    expected = np.zeros(valid.shape)
    for t, c in np.argwhere(valid):
        row = np.clip((x[t, c, [0, 1, 3, 4, 5]] - constants.mean) * constants.scale, -15, 15).astype(np.float64)
        said = []
        for expert in model.experts:
            if isinstance(expert, Remembered):
                nearest = NearestNeighbors(n_neighbors=10).fit(expert.rows.astype(np.float64))
                value = nearest.kneighbors(row[None])[0].mean()
            else:
                own, m = row[expert.columns], expert.mixture
                parts = zip(m.weights, m.means, m.covariances, strict=True)
                value = -np.log(sum(w * multivariate_normal(mean, cov).pdf(own) for w, mean, cov in parts))
                value -= own @ own / (2 * 16)
            said.append(expert.share * float(Surprise(expert.counts)(np.array([value]))[0]))
        expected[t, c] = sum(said) / 1.8
    np.testing.assert_allclose(model.evidence(x, valid), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_does_not_depend_on_how_a_video_is_cut_into_blocks(kind):
    """But for the last digits of a matrix product."""
    model = make(kind)
    x, valid = video(T=41, dim=model.dim)
    whole = model.evidence(x, valid)
    for step in (1, 7, 40):
        parts = [model.evidence(x[t : t + step], valid[t : t + step]) for t in range(0, 41, step)]
        np.testing.assert_allclose(np.concatenate(parts)[valid], whole[valid], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mixture", "wide mixture"])
def test_features_of_invalid_regions_are_ignored(kind):
    model = make(kind)
    x, valid = video(dim=model.dim)
    for value in (np.nan, np.inf, 1e38):
        other = np.where(valid[:, :, None], x, np.float32(value))
        assert model.score(other, valid, 25.0).tobytes() == model.score(x, valid, 25.0).tobytes()
        assert not model.evidence(other, valid)[~valid].any()
        shown = model.contributions(model.evidence(other, valid), valid)
        assert np.isfinite(shown).all() and not shown[~valid].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("followed", [True, False])
def test_a_region_with_features_that_are_not_finite_never_has_a_low_score(value, followed):
    model, (x, _) = mixture_model(followed=followed), video()
    valid = np.ones(x.shape[:2], bool)
    x[20, 1, 3] = value
    evidence = model.evidence(x, valid)
    assert np.argwhere(~np.isfinite(evidence)).tolist() == [[20, 1]]
    assert np.isnan(model.scores(evidence, valid, 25.0)[20])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_reported_with_file_video_and_segment(tmp_path, value):
    path = tmp_path / "store"
    with StoreWriter(path, extractor="synthetic", settings={}, crops=3, dim=DIM) as writer:
        for name in ("gate", "yard"):
            writer.append(name, [video()[0]], frames=640, fps=25.0)
        store = writer.finish()
    features = np.load(path / "features.npy", mmap_mode="r+")
    features[40 + 17, 2, 0] = value
    features.flush()
    model = mixture_model()
    assert np.isfinite(model.score_videos(store, [store.video("gate")], 1)[0]).all()
    with pytest.raises(ClapError, match=r"features.npy: video 'yard', segment 17: a feature is NaN, infinite") as error:
        model.score_videos(store, list(store.index), 1)
    assert str(path) in str(error.value)


@settings(max_examples=25, deadline=None)
@given(now=st.integers(0, 39), seed=st.integers(0, 9), followed=st.booleans(), fps=st.sampled_from([None, 5.0, 60.0]))
def test_what_comes_later_does_not_change_causal_scores(now, seed, followed, fps):
    model, (x, valid), (other, shown) = mixture_model(followed=followed), video(seed=seed), video(seed=seed + 100)
    changed_x, changed_valid = x.copy(), valid.copy()
    changed_x[now + 1 :], changed_valid[now + 1 :] = 9 * other[now + 1 :], shown[now + 1 :]
    before = model.score(x, valid, fps, causal=True)
    after = model.score(changed_x, changed_valid, fps, causal=True)
    np.testing.assert_array_equal(before[: now + 1], after[: now + 1])
    stopped = model.score(x[: now + 1], valid[: now + 1], fps, causal=True)
    np.testing.assert_allclose(stopped, before[: now + 1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_videos_with_one_segment_or_none_or_without_valid_regions_have_scores(kind, causal):
    model = make(kind)
    for T in (0, 1):
        x, _ = video(T=T, dim=model.dim)
        for valid in (None, np.zeros((T, 3), bool), np.ones((T, 3), bool)):
            scores = model.score(x, valid, 25.0, causal)
            assert scores.shape == (T,)
            assert np.isfinite(scores).all()
            if valid is not None and not valid.any():
                assert not scores.any()


def test_scores_of_extreme_features_are_finite_and_at_most_1():
    model, (x, valid) = mixture_model(), video(scale=1e30)
    scores = model.score(x, valid, 25.0)
    assert np.isfinite(scores).all() and (scores <= 1).all()
    assert scores.min() > np.median(model.score(*video(), 25.0))


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_another_shape_are_refused(kind):
    model = make(kind)
    for shape in ((4, model.dim), (4, 3, model.dim + 1)):
        with pytest.raises(ClapError, match=f"do not match this model; give \\(T, C, {model.dim}\\)"):
            model.score(np.zeros(shape, np.float32))


# Homes.

SCENES = (
    "",
    "01",
    "a/b",
    "../../etc",
    "Küche 3",
    "a b",
    "x" * 300,
    "CON",
    ".",
    "\ud800",
    "-",
    "scene-0123456789abcdef",
)


def test_personalised_models_are_restored_for_any_scene_name(tmp_path):
    personalised = PersonalisedModels(
        mixture_model(), {scene: mixture_model(seed) for seed, scene in enumerate(SCENES, start=1)}
    )
    sha256 = personalised.save(tmp_path / "run")
    assert sha256 == file_sha256(tmp_path / "run" / "model.safetensors")
    found, (x, valid) = PersonalisedModels.load(tmp_path / "run"), video()
    assert found.own.keys() == personalised.own.keys()
    scores = set()
    for scene in (*SCENES, "a scene that nobody has"):
        one, other = (h.of(scene).score(x, valid, 25.0).tobytes() for h in (personalised, found))
        assert one == other
        scores.add(one)
    assert len(scores) == len(SCENES) + 1
    assert {p.name for p in tmp_path.iterdir()} == {"run"}  # none lies elsewhere
    assert all(p.parent.parent == tmp_path / "run" / "homes" for p in (tmp_path / "run" / "homes").rglob("*.json"))


def test_a_run_without_personalised_models_has_no_list_of_them(tmp_path):
    PersonalisedModels(make("network")).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert PersonalisedModels.load(tmp_path).own == {}


BROKEN_LISTS = {
    "cut short": lambda f: f.write_text('{"gate": "homes/ga'),
    "a list": lambda f: f.write_text('["gate"]'),
    "a folder elsewhere": lambda f: f.write_text('{"gate": "../other"}'),
    "no name": lambda f: f.write_text('{"gate": null}'),
    "another scene's folder": lambda f: f.write_text('{"yard": "homes/gate"}'),
    "not UTF-8": lambda f: f.write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", BROKEN_LISTS.values(), ids=BROKEN_LISTS.keys())
def test_a_damaged_list_of_personalised_models_is_reported_with_its_file(tmp_path, damage):
    PersonalisedModels(mixture_model(), {"gate": mixture_model(1)}).save(tmp_path)
    damage(tmp_path / "homes.json")
    with pytest.raises(ClapError, match=str(tmp_path / "homes.json")):
        PersonalisedModels.load(tmp_path)


def test_a_missing_or_wrong_personalised_model_is_reported_with_its_folder(tmp_path):
    personalised = PersonalisedModels(mixture_model(), {"gate": mixture_model(1)})
    personalised.save(tmp_path)
    personalised.own["gate"].described({**INFO, "dim": 50}).save(tmp_path / "homes" / "gate")
    with pytest.raises(ClapError, match="homes/gate: its features differ"):
        PersonalisedModels.load(tmp_path)
    (tmp_path / "homes" / "gate" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ClapError, match=r"homes/gate/model.safetensors: damaged"):
        PersonalisedModels.load(tmp_path)
    (tmp_path / "homes" / "gate" / "model.json").unlink()
    with pytest.raises(ClapError, match="homes/gate: no model found"):
        PersonalisedModels.load(tmp_path)


def test_a_model_takes_another_description():
    model = mixture_model()
    other = model.described({**INFO, "segment_frames": 4})
    assert (model.info["segment_frames"], other.info["segment_frames"]) == (16, 4)
    assert replace(other, info=model.info).experts is model.experts
