from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.preparation import prepare
from clap_vad.errors import ClapError

TRAIN = {"Abuse001_x264": 3, "Arrest002_x264": 2, "Normal_Videos001_x264": 4, "Normal_Videos950_x264": 1}
TEST = {"RoadAccidents004_x264": 5, "Normal_Videos_003_x264": 2}
ANNOTATION = (
    "RoadAccidents004_x264.mp4  RoadAccidents  10  30  40  90  \nNormal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
)


def _list(file: Path, counts: dict[str, int]) -> None:
    stop, lines = 0, []
    for video, count in counts.items():
        lines.append(f"/home/a.b/UCF_ten_crop_i3d/{video}_i3d.npy,{stop},{stop + count}\n")
        stop += count
    file.write_text("".join(lines))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The released files, four training and two test videos."""
    source = tmp_path / "UCF Crime"
    (source / "lists").mkdir(parents=True)
    _list(source / "lists" / "UCF_Train_ten_crop_i3d_complete_V1.txt", TRAIN)
    _list(source / "lists" / "UCF_Test_ten_crop_i3d_complete_V1.txt", TEST)
    (source / "Temporal_Anomaly_Annotation.txt").write_text(ANNOTATION)
    for name, shares in (
        ("scene_video_num_partition_11_V3", [[0, 3], [1, 2]]),
        ("random_video_num_partition_2_V3", [[2, 1], [0, 3]]),
    ):
        content = {"video_num": None, "data_indices": [{"train": share} for share in shares]}
        (source / f"{name}.pkl").write_bytes(pickle.dumps(content))
    (source / "random_partition_5_V2.pkl").write_bytes(pickle.dumps({"separation": {}, "data_indices": []}))
    return source


def _features(folder: Path) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    counts = {**TRAIN, **TEST}
    return {video: random.normal(size=(count, 10, 8)).astype(np.float32) for video, count in counts.items()}


def test_without_features_everything_else_is_there_and_the_next_step_is_reported(release: Path, tmp_path: Path) -> None:
    made = prepare("ucf-crime", release, tmp_path / "out")
    assert (made["train"], made["train_anomalous"], made["test"], made["features"]) == (4, 2, 2, None)
    assert len(made["next"]) == 2
    assert "clap features import --format clap concat_UCF_V2.npy --index " in made["next"][0]
    dataset = Dataset(tmp_path / "out")
    assert dataset.train_videos == list(TRAIN)
    assert [(r.event, r.label, r.scene) for r in dataset.videos.values()] == [
        ("Abuse", 1, "scene-01"),
        ("Arrest", 1, "scene-02"),
        ("", 0, "scene-02"),
        ("", 0, "scene-01"),
        ("RoadAccidents", 1, ""),
        ("", 0, ""),
    ]
    assert dataset.read_participants("official-random-2").videos["participant-01"] == (
        "Normal_Videos001_x264",
        "Arrest002_x264",
    )
    assert any("random_partition_5_V2.pkl partitions segments" in note for note in made["notes"])
    with pytest.raises(ClapError, match="no features yet"):
        dataset.locate("Abuse001_x264")


def test_truth_without_given_labels_counts_sixteen_frames_a_segment(release: Path, tmp_path: Path) -> None:
    made = prepare("ucf-crime", release, tmp_path / "out")
    labels = Dataset(tmp_path / "out").frame_labels("RoadAccidents004_x264")
    assert labels is not None
    assert labels.tolist() == [int(10 <= frame < 30 or 40 <= frame < 90) for frame in range(80)]
    truth = json.loads((tmp_path / "out" / "truth.json").read_text())
    assert truth["frame_counts"]["from_segments_times_16"] == 2
    assert truth["spans_cut_at_end"] == [{"video": "RoadAccidents004_x264", "span": [40, 90], "frames": 80}]
    assert truth["compared_with"] is made["truth"]["compared_with"] is None


def test_every_disagreement_with_given_labels_is_listed(release: Path, tmp_path: Path) -> None:
    given = np.zeros(75, np.uint8)
    given[10:30] = given[41:75] = 1
    np.savez(release / "frame_labels.npz", RoadAccidents004_x264=given, Normal_Videos_003_x264=np.zeros(30, np.uint8))
    made = prepare("ucf-crime", release, tmp_path / "out")
    assert made["truth"]["disagreements"] == [{"video": "RoadAccidents004_x264", "frames": 1, "spans": [[40, 41]]}]
    assert made["truth"]["frames"] == 105
    labels = Dataset(tmp_path / "out").frame_labels("RoadAccidents004_x264")
    assert labels is not None
    assert labels[40] == 1


@pytest.mark.parametrize("where", ["source", "option"])
def test_the_huge_files_are_referenced_in_place(release: Path, tmp_path: Path, where: str) -> None:
    folder = release if where == "source" else tmp_path / "features"
    folder.mkdir(exist_ok=True)
    features = _features(folder)
    np.save(folder / "concat_UCF_V2.npy", np.concatenate([features[video] for video in TRAIN]))
    np.save(folder / "Concat_test_10.npy", np.concatenate([features[video] for video in TEST]))
    options = {} if where == "source" else {"features": folder}
    made = prepare("ucf-crime", release, tmp_path / "out", **options)
    assert made["next"] == []
    assert {name: store["segments"] for name, store in made["features"].items()} == {"store": 10, "store-test": 7}
    dataset = Dataset(tmp_path / "out")
    assert (tmp_path / "out" / "store" / "features.npy").is_symlink()
    for video, values in features.items():
        store, entry = dataset.locate(video)
        np.testing.assert_array_equal(store.read(entry.start, entry.stop), values)


def test_one_file_per_video_is_imported(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "i3d"
    (folder / "UCF_Train").mkdir(parents=True)
    features = _features(folder)
    for video, values in features.items():
        np.save(folder / "UCF_Train" / f"{video}_i3d.npy", values)
    prepare("ucf-crime", release, tmp_path / "out", features=folder)
    dataset = Dataset(tmp_path / "out")
    for video, values in features.items():
        store, entry = dataset.locate(video)
        np.testing.assert_array_equal(store.read(entry.start, entry.stop), values)


def test_a_store_is_linked_if_it_holds_every_video(
    release: Path, tmp_path: Path, make_store: Callable[..., Path]
) -> None:
    whole = make_store({video: 16 * count for video, count in {**TRAIN, **TEST}.items()}, "whole")
    prepare("ucf-crime", release, tmp_path / "out", features=whole)
    assert Dataset(tmp_path / "out").locate("Abuse001_x264")[1].segments == 3
    prepare("ucf-crime", release, tmp_path / "again", features=tmp_path / "out")
    assert Dataset(tmp_path / "again").locate("Abuse001_x264")[1].segments == 3
    part = make_store({video: 16 * count for video, count in TRAIN.items()}, "part")
    with pytest.raises(ClapError, match=r"2 of the 2 videos of UCF_Test.* not in this store"):
        prepare("ucf-crime", release, tmp_path / "third", features=part)
    assert not (tmp_path / "third").exists()


def test_a_wrong_huge_file_is_refused_and_can_be_replaced(release: Path, tmp_path: Path) -> None:
    np.save(release / "concat_UCF_V2.npy", np.zeros((11, 10, 8), np.float32))
    with pytest.raises(ClapError, match=r"its last row is 10 but concat_UCF_V2\.npy has 11"):
        prepare("ucf-crime", release, tmp_path / "out")
    np.save(release / "concat_UCF_V2.npy", np.zeros((10, 10, 8), np.float32))
    made = prepare("ucf-crime", release, tmp_path / "out")
    assert list(made["features"]) == ["store"]
    assert len(made["next"]) == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: (s / "Temporal_Anomaly_Annotation.txt").unlink(), "annotation not found"),
        (lambda s: (s / "Temporal_Anomaly_Annotation.txt").write_text(""), "the file is empty"),
        (lambda s: (s / "Temporal_Anomaly_Annotation.txt").write_text("x y\n"), "line 1.*is not 'name class"),
        (lambda s: (s / "Temporal_Anomaly_Annotation.txt").write_text(ANNOTATION * 2), "line 3.*annotated twice"),
        (
            lambda s: (s / "Temporal_Anomaly_Annotation.txt").write_text("A001 A 1 2 \n"),
            "1 anomalous test videos have no",
        ),
        (lambda s: (s / "Temporal_Anomaly_Annotation.txt").write_text("A001 A 9 2 \n"), "line 1.*reversed"),
        (lambda s: (s / "lists" / "UCF_Train_ten_crop_i3d_complete_V1.txt").unlink(), "training list not found"),
        (lambda s: (s / "lists" / "UCF_Test_ten_crop_i3d_complete_V1.txt").write_bytes(b"\xff\xfe\x00"), "not a UTF-8"),
        (lambda s: (s / "x_video_num_partition.pkl").write_bytes(b"cos\nsystem\n."), "refers to os.system"),
        (lambda s: shutil.rmtree(s), "no such folder"),
    ],
)
def test_broken_releases_are_refused_and_leave_nothing(
    release: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(release)
    with pytest.raises(ClapError, match=says):
        prepare("ucf-crime", release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_real_lists_and_truth(shared: Callable[[str], Path], tmp_path: Path) -> None:
    made = prepare("ucf-crime", shared("ucf_crime"), tmp_path / "out")
    assert (made["train"], made["train_anomalous"], made["test"], made["test_anomalous"]) == (1608, 809, 290, 140)
    assert (made["truth"]["frames"], made["truth"]["abnormal_frames"]) == (1109680, 84128)
    assert made["truth"]["disagreements"] == []
    assert {name: len(held) for name, held in made["protocols"].items()} == {
        "official-event-13": 13,
        "official-scene-11": 11,
        **{f"official-random-{count}": count for count in (2, 5, 10, 25, 50)},
    }
    assert all(sum(held.values()) == 1608 for held in made["protocols"].values())
    given = np.load(shared("ucf_crime") / "frame_labels.npz")
    dataset = Dataset(tmp_path / "out")
    assert all(np.array_equal(dataset.frame_labels(video), given[video]) for video in given.files)
