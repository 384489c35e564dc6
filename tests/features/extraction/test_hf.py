"""Models of Hugging Face: tiny ones written here, against the library's own processors and models; and bad folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_vad.errors import ClapError
from clap_vad.features.extraction.extract import extract_features, extract_one
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.networks.hugging_face import Preprocessor
from clap_vad.video.reader import VideoReader

transformers = pytest.importorskip("transformers")

SMALL = {
    **{"image_size": 32, "patch_size": 16, "hidden_size": 16, "intermediate_size": 32},
    **{"num_hidden_layers": 2, "num_attention_heads": 2},
}
TEXT = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
PREPARED = {
    **{"do_resize": True, "size": {"shortest_edge": 36}, "resample": 3, "do_center_crop": True},
    **{"crop_size": {"height": 32, "width": 32}, "do_rescale": True, "do_normalize": True},
    **{"image_mean": [0.48, 0.45, 0.4], "image_std": [0.27, 0.26, 0.28]},
}


def _models() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    clip = {"text_config": TEXT, "vision_config": SMALL | {"projection_dim": 8}, "projection_dim": 8}
    return {
        "videomae": transformers.VideoMAEModel(transformers.VideoMAEConfig(num_frames=16, tubelet_size=2, **SMALL)),
        "timesformer": transformers.TimesformerModel(transformers.TimesformerConfig(num_frames=8, **SMALL)),
        "clip": transformers.CLIPModel(transformers.CLIPConfig(**clip)),
        "vit": transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL)),  # has no pooler
        "dinov2": transformers.Dinov2Model(transformers.Dinov2Config(**SMALL)),  # pools by itself
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, tuple[Path, torch.nn.Module]]:
    found = {}
    for name, model in _models().items():
        folder = tmp_path_factory.mktemp("models") / name
        model.eval().save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPARED))
        found[name] = folder, model
    return found


@pytest.fixture(scope="module")
def video(tmp_path_factory, render, moving) -> Path:
    colours = zip(*(moving(20, 60, 80, (2.0, 1.0), seed=seed) for seed in range(3)), strict=True)
    return render(tmp_path_factory.mktemp("hf") / "yard.mp4", [np.stack(three, axis=-1) for three in colours])


def _expected(name: str, model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Features of a segment by the model that was never saved, of its prepared pictures (16, 3, 32, 32)."""
    with torch.inference_mode():
        if name in ("videomae", "timesformer"):
            clip = pixels if name == "videomae" else pixels[1::2]
            return model(clip[None]).last_hidden_state.mean(1)
        if name == "clip":
            hidden = model.vision_model(pixels[::4]).pooler_output
            return model.visual_projection(hidden).mean(0, keepdim=True)
        if name == "vit":
            return model.vit(pixels[::4]).last_hidden_state.mean(1).mean(0, keepdim=True)
        return model(pixels[::4]).pooler_output.mean(0, keepdim=True)


@pytest.mark.parametrize("name", ["videomae", "timesformer", "clip", "vit", "dinov2"])
def test_features_are_those_of_the_model(folders, video, name):
    folder, model = folders[name]
    extraction = extract_one("hf", {"weights": str(folder)}, video)
    features = np.concatenate([block.features for block in extraction])
    tool = make_extractor("hf", {"weights": str(folder)})
    assert features.shape == (2, 1, tool.dim)
    assert tool.dim == (8 if name == "clip" else 16)
    processor = transformers.CLIPImageProcessorPil(**PREPARED)
    pictures = list(VideoReader(video, colour=True))
    pixels = torch.from_numpy(np.stack(processor(pictures[:16])["pixel_values"]))
    np.testing.assert_allclose(features[0], _expected(name, model, pixels), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"size": {"height": 40, "width": 48}, "resample": 2},
        {"size": 50, "crop_size": 41},
        {"do_resize": False, "crop_size": {"height": 90, "width": 70}},  # larger than the picture: black around it
        {"do_center_crop": False, "size": {"height": 32, "width": 32}},
        {"do_rescale": False, "do_normalize": False},
    ],
)
def test_pictures_are_prepared_as_the_library_does(tmp_path, change):
    described = PREPARED | change
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(described))
    picture = np.random.default_rng(0).integers(0, 256, (61, 80, 3), dtype=np.uint8)
    own = Preprocessor.read(tmp_path)
    got = (own(picture) - np.array(own.mean)) / np.array(own.deviation)
    theirs = transformers.CLIPImageProcessorPil(**described)(picture)["pixel_values"][0]
    np.testing.assert_allclose(got.transpose(2, 0, 1), theirs, atol=1e-4)


def test_every_file_that_matters_is_in_the_checksum(folders, tmp_path):
    folder = folders["clip"][0]
    tool = make_extractor("hf", {"weights": str(folder)})
    assert str(folder) not in json.dumps(tool.settings())
    assert tool.weights_sha256 == make_extractor("hf", {"weights": str(folder), "stride": 2}).weights_sha256
    for file in folder.iterdir():  # another preparation is other features, too
        other = tmp_path / file.name
        other.mkdir()
        for part in folder.iterdir():
            (other / part.name).write_bytes(part.read_bytes() + b" " * (part == file))
        assert make_extractor("hf", {"weights": str(other)}).weights_sha256 != tool.weights_sha256


@pytest.fixture
def folder(folders, tmp_path) -> Path:
    """A copy to be spoilt."""
    copy = tmp_path / "model"
    copy.mkdir()
    for part in folders["vit"][0].iterdir():
        (copy / part.name).write_bytes(part.read_bytes())
    return copy


def _rewrite(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), r"no \*\.safetensors; add them"),
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
        (lambda f: (f / "preprocessor_config.json").unlink(), r"preprocessor_config\.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
        (lambda f: _rewrite(f / "preprocessor_config.json", size={"longest_edge": 9}), "unsupported preprocessor"),
        (lambda f: _rewrite(f / "config.json", model_type="none_such"), "cannot be loaded by transformers"),
        (lambda f: _rewrite(f / "config.json", num_hidden_layers=3), r"have no 'encoder\.layer\.2|have no 'layers?\.2"),
        (
            lambda f: _rewrite(f / "preprocessor_config.json", do_center_crop=False),
            "refuses the pictures of its",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "cannot be loaded by transformers"),
    ],
)
def test_a_bad_folder_is_named(folder, video, tmp_path, spoil, reason):
    spoil(folder)
    with pytest.raises(ClapError, match=reason) as caught:
        extract_features([video], tmp_path / "store", extractor="hf", settings={"weights": str(folder)}, workers=1)
    assert str(folder) in str(caught.value)


def test_no_code_of_a_model_is_run(folder, video, tmp_path):
    (folder / "own.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    _rewrite(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    with pytest.raises(ClapError, match="cannot be loaded by transformers"):
        extract_features([video], tmp_path / "store", extractor="hf", settings={"weights": str(folder)}, workers=1)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (None, "hf: no model"),
        ("no such folder", "neither a folder nor a model of the hub"),
        ("clap-vad-nobody/no-such-model@v1", "cannot be downloaded from the hub .* give the folder's path"),
    ],
)
def test_models_that_cannot_be_had(weights, reason):
    with pytest.raises(ClapError, match=reason):
        _ = make_extractor("hf", {"weights": weights}).dim
