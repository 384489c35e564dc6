from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.preparation import prepare
from clap_vad.errors import ClapError

TRAIN = ["Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0", "v=x_1__#1_label_G-B2-B6", "A.Film__#1_label_A"]
TEST = ["v=S-7r__#1_label_B4-0-0", "v=LJ__#1_label_G-0-0", "Old__#1_label_A"]
CROPS = 5


def _list(file: Path, videos: list[str]) -> None:
    file.write_text("".join(f"/media/p/i3d/{video}__{crop}.npy\n" for video in videos for crop in range(CROPS)))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    source = tmp_path / "xd"
    source.mkdir()
    _list(source / "rgb_train.list", TRAIN)
    _list(source / "rgb_test.list", TEST)
    (source / "annotations.txt").write_text(f"{TEST[0]} 0 15 20 33\n{TEST[1]}.mp4 4 9")
    np.savez(source / "frame_labels.npz", **{video: np.zeros(32, np.uint8) for video in TEST})
    content = {"video_num": None, "data_indices": [{"train": [0]}, {"train": [2, 1]}]}
    (source / "video_num_partition_2_V3.pkl").write_bytes(pickle.dumps(content))
    np.save(source / "nalist_XD.npy", np.array([[0, 2], [2, 5], [5, 6]]))
    return source


def test_lists_labels_events_and_truth(release: Path, tmp_path: Path) -> None:
    made = prepare("xd-violence", release, tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    assert [(r.video, r.event, r.label) for r in dataset.videos.values() if r.split == "train"] == [
        (TRAIN[2], "", 0),
        (TRAIN[0], "Shooting", 1),
        (TRAIN[1], "Explosion", 1),
    ]
    first, second, normal = (dataset.frame_labels(video) for video in TEST)
    assert first is not None
    assert second is not None
    assert normal is not None
    assert first.tolist() == [1] * 15 + [0] * 5 + [1] * 12
    assert second.tolist() == [int(4 <= frame < 9) for frame in range(32)]
    assert normal.sum() == 0
    assert [entry["video"] for entry in made["truth"]["disagreements"]] == sorted(TEST[:2])
    assert made["features"] is None
    assert "--format vadclip" in made["next"][1]


def test_partitions_and_the_huge_file_count_normal_videos_first(release: Path, tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(6, CROPS, 4)).astype(np.float32)
    np.save(release / "concat_XD.npy", features)
    prepare("xd-violence", release, tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    store, entry = dataset.locate(TRAIN[2])
    np.testing.assert_array_equal(store.read(entry.start, entry.stop), features[:2])
    assert dataset.read_participants("official-random-2").videos == {
        "participant-01": (TRAIN[2],),
        "participant-02": (TRAIN[1], TRAIN[0]),
    }


def test_crop_files_are_imported(release: Path, tmp_path: Path) -> None:
    folder, random = tmp_path / "i3d features", np.random.default_rng(0)
    folder.mkdir()
    features = {video: random.normal(size=(3, CROPS, 4)).astype(np.float32) for video in TRAIN + TEST}
    for video, values in features.items():
        for crop in range(CROPS):
            np.save(folder / f"{video}__{crop}.npy", values[:, crop])
    made = prepare("xd-violence", release, tmp_path / "out", features=folder)
    assert made["next"] == []
    dataset = Dataset(tmp_path / "out")
    for video, values in features.items():
        store, entry = dataset.locate(video)
        np.testing.assert_array_equal(store.read(entry.start, entry.stop), values)


def test_without_frame_counts_there_are_no_frame_labels_and_a_note_says_so(release: Path, tmp_path: Path) -> None:
    (release / "frame_labels.npz").unlink()
    made = prepare("xd-violence", release, tmp_path / "out")
    assert made["truth"]["frame_counts"]["unknown"] == TEST
    assert any("have no frame labels" in note for note in made["notes"])
    assert not (tmp_path / "out" / "frame_labels.npz").exists()


@pytest.mark.parametrize(
    ("name", "says"), [("film__label_B3-0-0", "unknown class 'B3'"), ("film", "ends with its classes")]
)
def test_names_without_a_known_class_are_refused(release: Path, tmp_path: Path, name: str, says: str) -> None:
    _list(release / "rgb_train.list", [name])
    with pytest.raises(ClapError, match=says):
        prepare("xd-violence", release, tmp_path / "out")


def test_the_real_lists_and_truth(shared: Callable[[str], Path], tmp_path: Path) -> None:
    made = prepare("xd-violence", shared("xd_violence"), tmp_path / "out")
    assert (made["train"], made["train_anomalous"], made["test"], made["test_anomalous"]) == (3954, 1905, 800, 500)
    assert (made["truth"]["frames"], made["truth"]["abnormal_frames"]) == (2330384, 537805)
    assert made["truth"]["disagreements"] == []
    assert sorted(made["protocols"]) == [f"official-random-{count}" for count in (10, 25, 5, 50)]


def test_the_order_of_the_real_index_agrees_with_the_durations_in_the_names(
    shared: Callable[[str], Path], tmp_path: Path
) -> None:
    """The evidence for the training order: 24 frames a second, 16 frames a segment."""
    prepare("xd-violence", shared("xd_violence"), tmp_path / "out")
    rows = np.load(shared("xd_violence") / "clap_release" / "nalist_XD.npy")
    ratios = []
    for video, (start, stop) in zip(Dataset(tmp_path / "out").train_videos, rows, strict=True):
        if times := re.search(r"#(\d+)-(\d+)-(\d+)_(\d+)-(\d+)-(\d+)", video):
            h1, m1, s1, h2, m2, s2 = map(int, times.groups())
            ratios.append((stop - start) * 16 / 24 / (3600 * (h2 - h1) + 60 * (m2 - m1) + s2 - s1))
    assert len(ratios) > 2000
    assert np.quantile(ratios, 0.01) > 0.95
    assert np.quantile(ratios, 0.99) < 1.05


def test_a_refused_preparation_leaves_nothing_in_the_way(release: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClapError, match="contains no features"):
        prepare("xd-violence", release, tmp_path / "out", features=tmp_path / "empty")
    assert not (tmp_path / "out").exists()
    assert prepare("xd-violence", release, tmp_path / "out")["train"] == 3
