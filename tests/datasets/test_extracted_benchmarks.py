"""ShanghaiTech tracks and UCSD Ped2, whose features are extracted while the dataset is prepared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.preparation import prepare
from clap_vad.errors import ClapError

HEADER = "Frame_Number Person_ID State BB_tl_0 BB_tl_1 BB_br_0 BB_br_1 anomaly\n"


def _track(file: Path, frames: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{t} 1 2 {10 + t} 50 {40 + t} 120 0\n" for t in range(frames))
    file.write_text(HEADER + "".join(rows))


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    source = tmp_path / "sht"
    for name, frames in (("01_001", 40), ("02_0003", 20), ("01_0007", 30), ("02_005", 33)):
        _track(source / ("test" if len(name) == 7 else "train") / f"{name}.txt", frames)
    (source / "weak_train.txt").write_text("01_001\n02_0003\n")
    (source / "weak_test.txt").write_text("01_0007\n02_005\n")
    np.savez(source / "frame_labels.npz", **{"02_0003": np.ones(20, np.uint8), "01_0007": np.arange(35) % 2 == 1})
    return source


def test_tracks_become_a_dataset_with_cameras_as_scenes(tracks: Path, tmp_path: Path) -> None:
    made = prepare("shanghaitech-tracks", tracks, tmp_path / "out", workers=1)
    dataset = Dataset(tmp_path / "out")
    assert [(r.video, r.split, r.scene, r.label) for r in dataset.videos.values()] == [
        ("01_001", "train", "camera-01", 0),
        ("02_0003", "train", "camera-02", 1),
        ("01_0007", "test", "camera-01", 1),
        ("02_005", "test", "camera-02", 0),
    ]
    given, normal = dataset.frame_labels("01_0007"), dataset.frame_labels("02_005")
    assert given is not None
    assert normal is not None
    assert (given.tolist(), normal.tolist()) == ([0, 1] * 17 + [0], [0] * 33)
    assert dataset.frame_labels("02_0003") is None
    assert made["truth"]["labelled_minus_tracked_frames"] == {"01_0007": 5}
    assert dataset.locate("01_001")[1].segments == 3
    assert (dataset.stores[0].crops, dataset.stores[0].dim) == (32, 10)
    assert dataset.stores[0].valid is not None


def test_the_segment_form_is_an_option(tracks: Path, tmp_path: Path) -> None:
    prepare("shanghaitech-tracks", tracks, tmp_path / "out", workers=1, form="segment")
    store = Dataset(tmp_path / "out").stores[0]
    assert store.info["settings"]["form"] == "segment"
    assert (store.crops, store.dim, store.valid) == (1, 34, None)


def test_a_corrupt_file_is_left_out_and_named(tracks: Path, tmp_path: Path) -> None:
    (tracks / "test" / "02_0003.txt").write_bytes(b"\x00\xff noise")
    made = prepare("shanghaitech-tracks", tracks, tmp_path / "out", workers=1)
    assert list(made["skipped"]) == ["02_0003"]
    assert "02_0003.txt" in made["skipped"]["02_0003"]
    assert Dataset(tmp_path / "out").train_videos == ["01_001"]


def test_an_interrupted_preparation_goes_on(tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    whole = prepare("shanghaitech-tracks", tracks, tmp_path / "whole", workers=1)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clap_vad.datasets.preparation.write_videos_csv", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare("shanghaitech-tracks", tracks, out, workers=1)
    before = (out / "store" / "features.npy").stat().st_mtime_ns
    with pytest.raises(ClapError, match="other options"):
        prepare("shanghaitech-tracks", tracks, out, form="segment")
    assert prepare("shanghaitech-tracks", tracks, out, workers=1) | {"path": ""} == whole | {"path": ""}
    assert (out / "store" / "features.npy").stat().st_mtime_ns == before
    assert not (out / "preparing.json").exists()
    for file in ("videos.csv", "frame_labels.npz", "truth.json", "store/features.npy"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    with pytest.raises(ClapError, match="this dataset exists already"):
        prepare("shanghaitech-tracks", tracks, out)


def test_videos_finished_before_an_interruption_are_kept(
    tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extraction keeps finished videos beside the store, before there is a store."""
    part = tmp_path / "out" / ".store.parts" / "finished"

    def stop(*_: object, **__: object) -> None:
        part.parent.mkdir(parents=True)
        part.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("clap_vad.datasets.benchmarks.shanghaitech_tracks.extract_store", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare("shanghaitech-tracks", tracks, tmp_path / "out", workers=1)
    assert part.exists()
    assert (tmp_path / "out" / "preparing.json").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: (s / "train" / "02_005.txt").unlink(), r"1 videos have no track file .*02_005\.txt"),
        (lambda s: (s / "frame_labels.npz").unlink(), r"frame_labels\.npz not found"),
        (lambda s: (s / "weak_test.txt").write_text("01_001\n"), "'01_001' is also a training video"),
        (lambda s: (s / "weak_train.txt").unlink(), "train list not found"),
        (lambda s: _track(s / "copy" / "01_001.txt", 3), "same video as"),
    ],
)
def test_incomplete_tracks_are_refused(
    tracks: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(tracks)
    with pytest.raises(ClapError, match=says):
        prepare("shanghaitech-tracks", tracks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("ped2")
    names = [f"Train/Train{n:03d}" for n in range(1, 17)] + [f"Test/Test{n:03d}" for n in range(1, 13)]
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        with av.open(str(source / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(3):
                picture = np.full((48, 64, 3), 40 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    np.savez(source / "frame_labels.npz", **{f"Test{n:03d}": np.array([0, 1, 1], np.uint8) for n in range(1, 13)})
    return source


def test_the_folds_divide_the_test_clips(clips: Path, tmp_path: Path) -> None:
    tested: dict[str, list[str]] = {}
    for fold in ("a", "b"):
        made = prepare("ucsd-ped2", clips, tmp_path / fold, workers=1, fold=fold)
        assert (made["train"], made["test"], made["train_anomalous"]) == (22, 6, 6)
        dataset = Dataset(tmp_path / fold)
        tested[fold] = dataset.test_videos
        assert {r.label for r in dataset.videos.values() if r.video.startswith("Train")} == {0}
        assert all(dataset.frame_labels(video) is not None for video in dataset.test_videos)
        assert dataset.locate("Test001")[1].fps == 10
    assert tested["a"] == [f"Test{n:03d}" for n in (2, 4, 6, 8, 10, 12)]
    assert tested["b"] == [f"Test{n:03d}" for n in (1, 3, 5, 7, 9, 11)]


def test_a_clip_that_breaks_off_is_kept_as_far_as_it_goes(clips: Path, tmp_path: Path) -> None:
    source = tmp_path / "torn"
    shutil.copytree(clips, source)
    clip = source / "Test" / "Test002.mp4"
    with av.open(str(clip), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        random = np.random.default_rng(0)
        for _ in range(40):
            picture = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    made = prepare("ucsd-ped2", source, tmp_path / "out", workers=1)
    assert made["test"] == 6
    assert list(made["truth"]["labelled_minus_decoded_frames"]) == ["Test002"]


def test_a_missing_clip_is_refused(clips: Path, tmp_path: Path) -> None:
    (clips / "Train" / "Train016.mp4").rename(clips / "Train" / "x016.mp4")
    try:
        with pytest.raises(ClapError, match=r"1 of 28 clips are missing .*'Train016'"):
            prepare("ucsd-ped2", clips, tmp_path / "out")
    finally:
        (clips / "Train" / "x016.mp4").rename(clips / "Train" / "Train016.mp4")


def test_unknown_names_and_options_are_refused(tmp_path: Path) -> None:
    known = "shanghaitech-tracks, ucf-crime, ucsd-ped2, xd-violence"
    with pytest.raises(ClapError, match=f"unknown dataset 'avenue'; known: {known}"):
        prepare("avenue", tmp_path, tmp_path / "out")
    with pytest.raises(ClapError, match="dataset 'ucf-crime' has no setting 'fold'; it has features"):
        prepare("ucf-crime", tmp_path, tmp_path / "out", fold="a")


def test_the_real_tracks(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared("shanghaitech_tracks")
    videos = ["01_001", "13_007", "01_0015", "01_0025"]
    for video in videos:
        folder = "test" if len(video) == 7 else "train"
        (tmp_path / "s" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / folder / f"{video}.txt").symlink_to(source / folder / f"{video}.txt")
    (tmp_path / "s" / "weak_train.txt").write_text("\n".join(videos[:2]))
    (tmp_path / "s" / "weak_test.txt").write_text("\n".join(videos[2:]))
    (tmp_path / "s" / "frame_labels.npz").symlink_to(source / "frame_labels.npz")
    made = prepare("shanghaitech-tracks", tmp_path / "s", tmp_path / "out", workers=1)
    given = np.load(source / "frame_labels.npz")
    assert made["truth"]["abnormal_frames"] == sum(int(given[v].sum()) for v in videos[2:] if v in given.files)
    assert made["scenes"] == 2
