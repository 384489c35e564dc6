from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.cli.dataset import create
from clap_vad.datasets.creation import create_dataset
from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError

Maker = Callable[..., Path]


def _labels(tmp_path: Path, **labels: np.ndarray) -> Path:
    np.savez(tmp_path / "labels.npz", **labels)
    return tmp_path / "labels.npz"


def test_a_store_and_a_table_make_a_dataset(tmp_path: Path, make_store: Maker, write_table: Maker) -> None:
    store = make_store({"tor 1": 40, "b": 32, "c": 16})
    table = write_table(
        [["video", "split", "scene", "event", "label"], ["b", "train", "yard", "", 0], ["tor 1", "test"]]
    )
    truth = _labels(tmp_path, **{"tor 1": np.arange(41) > 30, "x": np.zeros(3, np.uint8)})
    made = create_dataset(store, table, tmp_path / "out", truth)
    assert (made["train"], made["test"], made["unlisted"], made["labels_not_listed"]) == (1, 1, ["c"], ["x"])
    assert made["frame_differences"] == {"tor 1": 1}
    dataset = Dataset(tmp_path / "out")
    assert (dataset.path / "store").is_symlink()
    assert dataset.videos["b"].scene == "yard"
    found, entry = dataset.locate("tor 1")
    assert (entry.frames, found.features.shape) == (40, (6, 2, 3))
    labels = dataset.frame_labels("tor 1")
    assert labels is not None
    assert labels.tolist() == [0] * 31 + [1] * 10
    assert [path.name for path in sorted(dataset.path.iterdir())] == ["frame_labels.npz", "store", "videos.csv"]


def test_no_test_videos_and_no_labels_are_needed(tmp_path: Path, make_store: Maker, write_table: Maker) -> None:
    made = create_dataset(make_store({"a": 16}), write_table([["video", "split"], ["a", "train"]]), tmp_path / "out")
    assert (made["test"], made["unlabelled_test"]) == (0, [])
    assert Dataset(tmp_path / "out").frame_labels("a") is None


def test_a_copied_store_lives_without_the_first(tmp_path: Path, make_store: Maker, write_table: Maker) -> None:
    store = make_store({"a": 20})
    before = np.load(store / "features.npy")
    (store / "features.npy").rename(tmp_path / "far.npy")
    (store / "features.npy").symlink_to(tmp_path / "far.npy")
    create_dataset(store, write_table([["video", "split"], ["a", "train"]]), tmp_path / "out", copy=True)
    shutil.rmtree(store)
    (tmp_path / "far.npy").unlink()
    np.testing.assert_array_equal(Dataset(tmp_path / "out").locate("a")[0].features, before)


def test_a_copy_cut_short_is_taken_up_again(
    tmp_path: Path, make_store: Maker, write_table: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, table = make_store({"a": 20}), write_table([["video", "split"], ["a", "train"]])

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clap_vad.datasets.creation.write_videos_csv", fail)
        with pytest.raises(KeyboardInterrupt):
            create_dataset(store, table, tmp_path / "out", copy=True)
    with pytest.raises(ClapError, match="this dataset is unfinished"):
        Dataset(tmp_path / "out")
    with pytest.raises(ClapError, match="unfinished dataset of another command"):
        create_dataset(store, table, tmp_path / "out")
    create_dataset(store, table, tmp_path / "out", copy=True)
    assert Dataset(tmp_path / "out").train_videos == ["a"]
    with pytest.raises(ClapError, match="this dataset exists already"):
        create_dataset(store, table, tmp_path / "out", copy=True)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["video", "split"], ["a.mp4", "train"]], r"1 of 1 videos are not in .*'a\.mp4'"),
        ([["video", "split"], ["a", "test"]], "no training video"),
        ([["video", "split"]], "lists no videos"),
        ([["name", "split"], ["a", "train"]], "header must be"),
        ([["video", "split"], ["a", "train"], ["a", "test"]], "is listed twice"),
        ([["video", "split"], ["a", "dev"]], "line 2: split is 'dev'"),
        ([["video", "split", "label"], ["a", "train", "yes"]], "line 2: label is 'yes'"),
        ([["video", "split"], ["", "train"]], "line 2: the video name is empty"),
    ],
)
def test_bad_tables_are_refused_and_leave_nothing(
    tmp_path: Path, make_store: Maker, write_table: Maker, rows: list[list[str]], says: str
) -> None:
    with pytest.raises(ClapError, match=says):
        create_dataset(make_store({"a": 16}), write_table(rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros(37, np.uint8), "'a' has 37 labels but 20 frames"),
        (np.zeros(3, np.uint8), "'a' has 3 labels but 20 frames"),
        (np.array([None] * 20, dtype=object), "not a readable"),
    ],
)
def test_bad_labels_are_refused(
    tmp_path: Path, make_store: Maker, write_table: Maker, labels: np.ndarray, says: str
) -> None:
    table = write_table([["video", "split"], ["a", "train"]])
    with pytest.raises(ClapError, match=says):
        create_dataset(make_store({"a": 20}), table, tmp_path / "out", _labels(tmp_path, a=labels))


@pytest.mark.parametrize(("labels", "refused"), [(1139, False), (1080, False), (981, False), (1210, True), (970, True)])
def test_small_differences_of_labels_and_frames_are_reported(
    tmp_path: Path, make_store: Maker, write_table: Maker, labels: int, refused: bool
) -> None:
    store, table = make_store({"a": 1090, "b": 16}), write_table([["video", "split"], ["b", "train"], ["a", "test"]])
    truth = _labels(tmp_path, a=np.ones(labels, np.uint8))
    if refused:
        with pytest.raises(
            ClapError, match=rf"'a' has {labels} labels but 1090 frames .*, 120 too (many|few) \(allowed"
        ):
            create_dataset(store, table, tmp_path / "out", truth)
        return
    assert create_dataset(store, table, tmp_path / "out", truth)["frame_differences"] == {"a": labels - 1090}
    found = CliRunner().invoke(
        create,
        [*map(str, ("--store", store, "--videos", table, "--frame-labels", truth)), "--out", str(tmp_path / "told")],
    )
    assert f"1 videos have slightly more (+) or fewer (-) labels than frames: a {labels - 1090:+d}" in found.output


@pytest.mark.parametrize(
    ("name", "meant"), [("a/Gate.MP4", "gate"), ("7", "0007"), ("C:\\cam\\gate.avi", "gate"), ("gatee", "gate")]
)
def test_the_video_that_is_likely_meant_is_named(
    tmp_path: Path, make_store: Maker, write_table: Maker, name: str, meant: str
) -> None:
    store, table = make_store({"gate": 16, "0007": 16}), write_table([["video", "split"], [name, "train"]])
    with pytest.raises(ClapError, match=f"did you mean '{meant}'"):
        create_dataset(store, table, tmp_path / "out")


def test_a_spreadsheet_table_loses_nothing(tmp_path: Path, make_store: Maker) -> None:
    store = make_store({"a": 16, "b": 16})
    (tmp_path / "t.csv").write_text(
        "video;split;Scene;Event;Label\r\na;Train;cam 1;fight;1\r\nb;test;cam 2;;0\r\n;;;;\r\n"
    )
    create_dataset(store, tmp_path / "t.csv", tmp_path / "out")
    kept = (tmp_path / "out" / "videos.csv").read_text()
    assert kept == "video,split,scene,event,label\na,train,cam 1,fight,1\nb,test,cam 2,,0\n"


def test_an_unfinished_store_and_an_occupied_folder_are_refused(
    tmp_path: Path, make_store: Maker, write_table: Maker
) -> None:
    store, table = make_store({"a": 16}), write_table([["video", "split"], ["a", "train"]])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").touch()
    with pytest.raises(ClapError, match="not empty"):
        create_dataset(store, table, tmp_path / "full")
    with pytest.raises(ClapError, match=r"videos\.csv: is a file"):
        create_dataset(store, table, table)
    (store / "store.json").unlink()
    with pytest.raises(ClapError, match="not a feature store"):
        create_dataset(store, table, tmp_path / "out")
    with pytest.raises(ClapError, match="not a feature store"):
        create_dataset(tmp_path / "none", table, tmp_path / "out")
