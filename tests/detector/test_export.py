"""Exported graphs against the models that they are made of, in onnxruntime and in onnx's own slow way."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from random_models import KINDS, make, mixture_model, video

from clap_vad.core.density.score_aggregation import along_objects, over_time
from clap_vad.core.density.surprise import SURPRISE_BINS
from clap_vad.detector.export import score_aggregation as graphs
from clap_vad.detector.export.exported import ExportedModel
from clap_vad.detector.export.files import write_export
from clap_vad.detector.export.graph import Graph
from clap_vad.detector.model import Model
from clap_vad.detector.models.mixture import MixtureModel, Remembered
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.persistence import file_sha256
from clap_vad.workflows.export import export, exported_model

LIMIT = 1e-5
FPS = [None, 0.5, 24.0, 29.97, 1e9]


def exported(model: Model, folder: Path, causal: bool = False) -> tuple[Model, ExportedModel]:
    """The model read from a file, and its export."""
    model.save(folder / "run")
    read = Model.load(folder / "run")
    write_export(read, folder / "onnx", causal=causal)
    return read, ExportedModel(folder / "onnx", read)


def run(graph: Graph, **inputs: np.ndarray) -> np.ndarray:
    file = graph.model("part", {}).SerializeToString()
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


# What the graphs compute.


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "not followed"])
def test_scores_and_regions_are_the_models(tmp_path, kind, causal):
    model, graph = exported(mixture_model(followed=False) if kind == "not followed" else make(kind), tmp_path, causal)
    followed = isinstance(model, MixtureModel) and model.followed
    for seed, (T, fps, present) in enumerate([(1, 24.0, 0.7), (2, None, 1.0), (70, 29.97, 0.2), (300, 25.0, 0.7)]):
        x, _ = video(T=T, C=4, dim=model.dim, seed=seed, scale=1 + 3 * (seed % 2))
        for valid in (np.random.default_rng(seed).random((T, 4)) < present, np.zeros((T, 4), bool), None):
            if followed and valid is None:
                continue  # without a mask nobody is followed, and the graph always has one
            found = graph.score(x, valid, fps, causal)
            assert found.dtype == np.float32 and found.shape == (T,)
            np.testing.assert_allclose(found, model.score(x, valid, fps, causal), rtol=0, atol=LIMIT)
            if not causal:
                shown = [scorer.contributions(scorer.evidence(x, valid), valid) for scorer in (graph, model)]
                np.testing.assert_allclose(*shown, rtol=0, atol=LIMIT)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("present", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("gap", [0, 3])
def test_along_objects_is_the_cores(gap, present, causal):
    rng = np.random.default_rng(0)
    valid = rng.random((70, 4)) < present
    surprise = np.where(valid, rng.exponential(size=(70, 4)), 0).astype(np.float32)
    graph = Graph()
    inputs = graph.input("u", np.float32, ["T", "C"]), graph.input("valid", bool, ["T", "C"])
    graph.output("found", graphs.along_objects(graph, *inputs, gap, causal), ["T", "C"])
    expected = along_objects(surprise, valid, gap, causal)
    np.testing.assert_allclose(run(graph, u=surprise, valid=valid), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T", [1, 2, 90])
@pytest.mark.parametrize("fps", FPS)
def test_smoothing_is_the_cores(fps, T, causal):
    surprise = np.random.default_rng(0).exponential(size=T)
    graph = Graph()
    inputs = graph.input("u", np.float64, ["T"]), graph.input("fps", np.float64, [])
    graph.output("found", graphs.smoothed(graph, *inputs, 4 / 3, 16, causal), ["T"])
    found = run(graph, u=surprise, fps=np.array(fps or 0.0))
    np.testing.assert_allclose(found, over_time(surprise, 4 / 3 * (fps or 25.0) / 16, causal), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257])  # blocks hold 256
def test_the_detector_graph_scores_prepared_regions(tmp_path, kind, count):
    model, _ = exported(make(kind), tmp_path)
    x = video(T=count, C=1, dim=model.dim)[0]
    if isinstance(model, MixtureModel):
        rows = model.projection.rows(x[:, 0])
    else:
        rows = (x[:, 0] - model.normaliser.mean) * model.normaliser.scale
    (found,) = session(tmp_path / "onnx" / "detector.onnx").run(None, {"rows": rows})
    np.testing.assert_allclose(found, model.evidence(x, None)[:, 0], rtol=1e-5, atol=LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_another_runtime_gives_the_same_scores(tmp_path, kind):
    """So it is standard ONNX, and the checker's full inference of types and shapes agrees."""
    model, graph = exported(make(kind), tmp_path)
    x, valid = video(T=20, dim=model.dim)
    onnx.checker.check_model(tmp_path / "onnx" / "model.onnx", full_check=True)
    reference = ReferenceEvaluator(str(tmp_path / "onnx" / "model.onnx"))
    (found,) = reference.run(["scores"], {"features": x, "valid": valid, "fps": np.array(24.0)})
    np.testing.assert_allclose(found, graph.score(x, valid, 24.0), rtol=0, atol=LIMIT)


def test_far_values_a_memorys_own_rows_and_an_expert_that_knows_nothing(tmp_path):
    """Where an unstable formula would show: 1e30, 15 deviations, distance 0, an empty histogram."""
    base = mixture_model()
    memory = base.experts[2]
    nothing = Remembered(memory.rows, np.zeros(SURPRISE_BINS, np.int64), 0.1)
    model, graph = exported(MixtureModel(base.projection, (*base.experts, nothing), True, base.info), tmp_path)
    constants = base.projection.normaliser
    x, valid = video(T=60, scale=1e30)
    x[20:50, 0] = 0
    x[20:50, 0][:, base.projection.columns] = memory.rows[:30] / constants.scale + constants.mean
    x[50:, 1] = 15
    np.testing.assert_allclose(graph.evidence(x, valid), model.evidence(x, valid), rtol=1e-5, atol=LIMIT)
    np.testing.assert_allclose(graph.score(x, valid, 25.0), model.score(x, valid, 25.0), rtol=0, atol=LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_invalid_regions_are_ignored(tmp_path, kind):
    model, graph = exported(make(kind), tmp_path)
    x, valid = video(dim=model.dim)
    other = np.where(valid[:, :, None], x, np.float32(np.nan))
    assert graph.score(other, valid, 25.0).tobytes() == graph.score(x, valid, 25.0).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_a_region_with_features_that_are_not_finite_never_has_a_low_score(tmp_path, value, kind):
    model, graph = exported(make(kind), tmp_path)
    x, _ = video(dim=model.dim)
    valid = np.ones(x.shape[:2], bool)
    x[20, 1, 3] = value
    evidence = graph.evidence(x, valid)
    assert np.argwhere(~np.isfinite(evidence)).tolist() == [[20, 1]]
    scores = graph.scores(evidence, valid, 5.0)
    assert np.isnan(scores[20]) and np.isfinite(scores[0]) and np.isfinite(scores[-1])


@pytest.mark.parametrize("causal", [False, True])
def test_a_stretch_with_its_surroundings_is_enough(tmp_path, causal):
    """What docs/export.md says of streams: at 24 fps 12 segments along an object and 8 of smoothing."""
    _, graph = exported(mixture_model(), tmp_path, causal)
    x, _ = video(T=200)
    valid = np.random.default_rng(5).random((200, 3)) < 0.4
    whole = graph.score(x, valid, 24.0, causal)
    for start, stop in [(90, 91), (100, 130)]:
        left, right = start - 20, stop if causal else stop + 20
        part = graph.score(x[left:right], valid[left:right], 24.0, causal)
        np.testing.assert_allclose(part[20 : 20 + stop - start], whole[start:stop], rtol=0, atol=1e-6)


# The files.


@pytest.mark.parametrize("causal", [False, True])
def test_the_description_is_of_the_files_and_equal_models_are_equal_bytes(tmp_path, causal):
    model, _ = exported(make("mixture"), tmp_path, causal)
    content = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert content == write_export(model, tmp_path / "again", causal=causal)
    assert content["model_sha256"] == model.info["model_sha256"] and content["causal"] is causal
    onnx_types = {"float32": "tensor(float)", "float64": "tensor(double)", "bool": "tensor(bool)"}
    for name, told in content["files"].items():
        file = tmp_path / "onnx" / name
        assert file.read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert told["sha256"] == file_sha256(file) and told["bytes"] == file.stat().st_size
        opened = session(file)
        for ends, found in ((told["inputs"], opened.get_inputs()), (told["outputs"], opened.get_outputs())):
            expected = [(end["name"], onnx_types[end["type"]], end["shape"]) for end in ends]
            assert expected == [(end.name, end.type, end.shape) for end in found]
        metadata = opened.get_modelmeta().custom_metadata_map
        assert metadata["model_sha256"] == content["model_sha256"]
        assert json.loads(metadata["segment_frames"]) == 16 and json.loads(metadata["causal"]) is causal


def rewritten(folder: Path, data: bytes) -> None:
    """Another graph, by someone who knows that its hash must fit."""
    (folder / "model.onnx").write_bytes(data)
    content = json.loads((folder / "export.json").read_text())
    content["files"]["model.onnx"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "export.json").write_text(json.dumps(content))


def without_scores(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    del model.graph.output[:]
    rewritten(folder, model.SerializeToString())


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("elsewhere")), "no export found .*'clap export'"),
    "no description": (lambda f: (f / "export.json").unlink(), "no export found"),
    "a broken description": (lambda f: (f / "export.json").write_text("{"), "not valid JSON"),
    "a list": (lambda f: (f / "export.json").write_text("[]"), "export again"),
    "an empty description": (lambda f: (f / "export.json").write_text("{}"), "export again"),
    "no graph": (lambda f: (f / "model.onnx").unlink(), "SHA-256"),
    "a graph cut short": (lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:-9]), "SHA-256"),
    "the other graph": (lambda f: (f / "detector.onnx").replace(f / "model.onnx"), "SHA-256"),
    "no graph at all": (lambda f: rewritten(f, b"\x08\x08garbage"), "the graph cannot be run"),
    "an empty graph": (lambda f: rewritten(f, b""), "the graph cannot be run"),
    "a graph without scores": (without_scores, "the graph cannot be run"),
}


@pytest.mark.parametrize(("damage", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_an_invalid_export_is_reported_with_its_path(tmp_path, damage, told):
    model, _ = exported(make("mixture"), tmp_path)
    damage(tmp_path / "onnx")
    with pytest.raises(ClapError, match=told) as error:
        exported_model(tmp_path / "onnx", model)
    assert str(tmp_path / "onnx") in str(error.value)


def test_an_export_of_another_model_or_a_causal_one_is_refused(tmp_path):
    one, graph = exported(make("mixture"), tmp_path / "one", causal=True)
    other, _ = exported(make("network"), tmp_path / "other")
    with pytest.raises(ClapError, match="exported from another model than the run's"):
        exported_model(tmp_path / "one" / "onnx", other)
    with pytest.raises(ClapError, match=r"this graph is causal, .*; export without --causal"):
        exported_model(tmp_path / "one" / "onnx", one)
    with pytest.raises(ClapError, match="export without --causal"):
        graph.score(*video(), 25.0)


def test_export_of_a_run_and_of_its_personalised_models(tmp_path):
    common, home = mixture_model(0), mixture_model(1)
    PersonalisedModels(common, {"yard": home}).save(tmp_path / "run")
    hashes = [
        export(tmp_path / "run", tmp_path / str(n), scene=s)["model_sha256"] for n, s in enumerate((None, "yard"))
    ]
    assert hashes == [Model.load(tmp_path / "run" / at).info["model_sha256"] for at in (".", "homes/yard")]
    x, valid = video()
    found = exported_model(tmp_path / "1", Model.load(tmp_path / "run" / "homes" / "yard")).score(x, valid, 25.0)
    np.testing.assert_allclose(found, home.score(x, valid, 25.0), rtol=0, atol=LIMIT)
    with pytest.raises(ClapError, match=r"no model personalised for scene 'gate'.*known: yard"):
        export(tmp_path / "run", tmp_path / "2", scene="gate")
    with pytest.raises(ClapError, match="no model found"):
        export(tmp_path / "nothing", tmp_path / "2")
    with pytest.raises(ClapError, match="--format tflite: known: onnx"):
        export(tmp_path / "run", tmp_path / "2", format="tflite")
    (tmp_path / "file").touch()
    with pytest.raises(ClapError, match="a file is in the way"):
        export(tmp_path / "run", tmp_path / "file")
    assert not (tmp_path / "2").exists()


def test_without_the_extra_the_install_command_is_reported(tmp_path, monkeypatch):
    make("network").save(tmp_path / "run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # an install without it cannot be had here
    with pytest.raises(ClapError, match=r"onnx is not installed; pip install 'clap-vad\[export\]'"):
        export(tmp_path / "run", tmp_path / "out")
