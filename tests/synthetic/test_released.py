from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_lists import ANNOTATION, NORMAL, TEST, TEST_LIST, TRAIN, TRAIN_LIST, write_lists

from clap_vad.core.statistics.randomness import keyed_generator
from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.preparation import prepare
from clap_vad.errors import ClapError
from clap_vad.persistence import locked_folder
from clap_vad.synthetic.released import (
    anomaly_pattern,
    render_ucf_crime,
    scale_spans,
    training_window,
    video_features,
)

SMALL: dict[str, Any] = {"factor": 0.4, "crops": 3, "dim": 100}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lists(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def rendered(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "set"
    render_ucf_crime(lists, out, **SMALL)
    return out


@pytest.fixture(scope="module")
def dataset(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("prepared") / "data"
    prepare("ucf-crime", rendered, out)
    return Dataset(out)


def is_normal(video: str) -> bool:
    return video.startswith(NORMAL)


def read_rows(file: Path) -> dict[str, tuple[int, int]]:
    rows = [line.rsplit("/", 1)[1].split(",") for line in file.read_text().splitlines()]
    return {name.removesuffix("_i3d.npy"): (int(start), int(stop)) for name, start, stop in rows}


def test_files_have_the_released_names_shapes_and_order(lists: Path, rendered: Path) -> None:
    assert sorted(file.name for file in rendered.iterdir()) == sorted(
        [
            *("concat_UCF_V2.npy", "Concat_test_10.npy", TRAIN_LIST, TEST_LIST, ANNOTATION, "synthetic.json"),
            *("scene_video_num_partition_3_V3.pkl", "random_video_num_partition_2_V3.pkl"),
        ]
    )
    for name, features, counts in (
        (TRAIN_LIST, "concat_UCF_V2.npy", TRAIN),
        (TEST_LIST, "Concat_test_10.npy", TEST),
    ):
        rows = read_rows(rendered / name)
        assert list(rows) == list(counts)
        assert (rendered / name).read_text().startswith(f"/home/a.b/UCF ten_crop/{next(iter(counts))}_i3d.npy,0,")
        lengths = [stop - start for start, stop in rows.values()]
        assert lengths == [max(1, round(0.4 * count)) for count in counts.values()]
        assert [start for start, _ in rows.values()] == [0, *np.cumsum(lengths)[:-1].tolist()]
        values = np.load(rendered / features, mmap_mode="r")
        assert values.shape == (sum(lengths), 3, 100) and values.dtype == np.float32
    for name in ("scene_video_num_partition_3_V3.pkl", "random_video_num_partition_2_V3.pkl"):
        assert (rendered / name).read_bytes() == (lists / name).read_bytes()


def test_the_annotation_is_scaled_and_stays_inside(rendered: Path, dataset: Dataset) -> None:
    lines = [line.split() for line in (rendered / ANNOTATION).read_text().splitlines()]
    spans = {words[0]: [int(word) for word in words[2:]] for words in lines}
    assert list(spans) == list(TEST)
    # 80 of 200 segments, 39 of 97 (85 frames become 35), 60 of 149
    assert spans["RoadAccidents004_x264"] == [128, 256, 640, 960]
    assert spans["Abuse030_x264"] == [1275 * 39 // 97, -(-1360 * 39 // 97), -1, -1]
    assert spans["Arrest001_x264"] == [477, 960, -1, -1]  # its official end lies 15 frames beyond the video
    assert spans["Abuse028_x264"] == [0, 16, -1, -1]
    for video in TEST:
        labels = dataset.frame_labels(video)
        assert labels is not None
        assert len(labels) == 16 * max(1, round(0.4 * TEST[video]))
        expected = np.zeros(len(labels))
        for start, stop in zip(spans[video][::2], spans[video][1::2], strict=True):
            expected[max(start, 0) : max(stop, 0)] = 1
        assert labels.tolist() == expected.tolist()
        assert (labels.sum() >= 16) if not is_normal(video) else (labels.sum() == 0)


@given(
    st.integers(1, 5000).flatmap(
        lambda official: st.tuples(
            st.just(official),
            st.integers(1, official),
            st.lists(st.tuples(st.integers(0, 17 * official), st.integers(0, 17 * official)), min_size=1, max_size=3),
        )
    )
)
def test_scaled_spans_lie_inside_apart_and_over_the_places_they_come_from(
    case: tuple[int, int, list[tuple[int, int]]],
) -> None:
    official, segments, pairs = case
    spans = [(min(pair), max(pair)) for pair in pairs]
    scaled = scale_spans(spans, official, segments)
    edges = [edge for span in scaled for edge in span]
    assert edges == sorted(set(edges)) and edges[0] >= 0 and edges[-1] <= 16 * segments
    assert all(stop - start >= 16 for start, stop in scaled)
    for start, stop in spans:
        middle = min((start + stop) / 2 * segments / official, 16 * segments)
        assert any(a - 1 <= middle <= b + 1 for a, b in scaled)


def test_planted_anomalies_lie_where_the_truth_says(dataset: Dataset) -> None:
    anomalous = [video for video in TEST if not is_normal(video) and TEST[video] > 1]
    assert len(anomalous) == 3
    for video in TEST:
        store, entry = dataset.locate(video)
        labels = dataset.frame_labels(video)
        assert labels is not None
        inside = labels.reshape(-1, 16).mean(axis=1)
        event = video.split("_")[0].rstrip("0123456789")
        raised = anomaly_pattern(0, "" if is_normal(video) else event, 100) > 0
        level = store.read(entry.start, entry.stop)[:, :, raised].mean(axis=(1, 2))
        if video in anomalous:
            # 0.3 more in every raised dimension, times 0.5 to 1.5; the rest is what changes over time
            assert level[inside == 1].mean() - level[inside == 0].mean() > 0.1
            assert level[inside == 1].min() > np.median(level[inside == 0])


def test_training_anomalies_are_one_window_that_normal_videos_lack(dataset: Dataset) -> None:
    common = anomaly_pattern(0, "", 100) > 0
    for video, official in TRAIN.items():
        segments = max(1, round(0.4 * official))
        start, stop = training_window(0, video, segments)
        assert 0 <= start < stop <= segments
        assert stop - start == 1 or 0.04 * segments <= stop - start <= 0.31 * segments
        if segments < 10:
            continue
        store, entry = dataset.locate(video)
        level = store.read(entry.start, entry.stop)[:, :, common].mean(axis=(1, 2))
        rise = level[start:stop].mean() - np.delete(level, range(start, stop)).mean()
        assert rise > 0.1 if not is_normal(video) else abs(rise) < 0.1, video


def test_training_windows_lie_anywhere_and_take_5_to_30_percent() -> None:
    windows = np.array([training_window(0, f"Abuse{n}_x264", 1000) for n in range(400)])
    lengths = windows[:, 1] - windows[:, 0]
    assert 50 <= lengths.min() < 60 and 290 < lengths.max() <= 300
    assert windows[:, 0].min() < 30 and windows[:, 1].max() > 970
    assert abs(windows.mean() - 500) < 60
    assert all(training_window(0, f"Abuse{n}_x264", 1) == (0, 1) for n in range(20))


def test_anomalies_of_a_class_share_a_pattern_and_all_classes_a_part_of_it() -> None:
    abuse, arrest, common = (anomaly_pattern(0, event, 2048) for event in ("Abuse", "Arrest", ""))
    assert np.count_nonzero(common) == round(0.02 * 2048)
    assert (abuse[common > 0] > 0).all() and (arrest[common > 0] > 0).all()
    assert not np.array_equal(abuse, arrest)
    assert np.count_nonzero(abuse) <= 2 * np.count_nonzero(common)
    assert np.count_nonzero(anomaly_pattern(0, "Abuse", 1)) == 1


def test_features_look_like_rectified_crops_of_one_picture() -> None:
    planted = np.zeros(400)
    x = np.concatenate([b.copy() for b in video_features(0, "Normal_Videos001_x264", "", planted, 10, 512)])
    assert x.shape == (400, 10, 512) and x.dtype == np.float32
    assert x.min() >= 0 and 0.25 < x.mean() < 0.35
    change = x - x.mean(axis=0)
    alike = np.corrcoef(change[:, 0].ravel(), change[:, 7].ravel())[0, 1]
    assert 0.6 < alike < 0.95
    other = np.concatenate([b.copy() for b in video_features(0, "Normal_Videos002_x264", "", planted, 10, 512)])
    apart = x.mean(axis=(0, 1)) - other.mean(axis=(0, 1))
    still = x[:200].mean(axis=(0, 1)) - x[200:].mean(axis=(0, 1))
    assert np.abs(apart).mean() > 2 * np.abs(still).mean()  # videos differ by more than time makes one of them differ


def test_a_video_is_what_a_slow_loop_makes_of_the_same_draws() -> None:
    video, dim, crops, planted = "Abuse002_x264", 6, 2, np.array([0, 0.25, 1, 0, 0])
    ours = np.concatenate([b.copy() for b in video_features(7, video, "Abuse", planted, crops, dim)])
    profile = 0.9 * keyed_generator(7, 0, "", "profile").random(dim, np.float32).astype(float) ** 2
    own = keyed_generator(7, 0, video, "video")
    profile *= 0.8 + 0.4 * own.random(dim, np.float32).astype(float)
    profile *= own.uniform(0.9, 1.1)
    strength = own.uniform(0.5, 1.5)
    time, noise = keyed_generator(7, 0, video, "time"), keyed_generator(7, 0, video, "crops")
    state = time.standard_normal(dim + 1, np.float32).astype(float)
    pattern = anomaly_pattern(7, "Abuse", dim)
    for t in range(len(planted)):
        state = 0.8 * state + 0.6 * time.standard_normal(dim + 1, np.float32)
        for c in range(crops):
            for d, u in enumerate(noise.random(dim, np.float32)):
                value = profile[d] * max(0, 1 + 0.25 * state[d]) * max(0, 1 + 0.05 * state[dim])
                value += planted[t] * strength * pattern[d]
                assert ours[t, c, d] == pytest.approx(value * (0.8 + 0.4 * u), rel=1e-4)


def test_a_video_depends_on_seed_and_name_alone(lists: Path, rendered: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    render_ucf_crime(lists, again, **SMALL)
    for file in rendered.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
    # another place in the list, among other videos
    backwards = write_lists(tmp_path / "backwards", {**dict(reversed(TRAIN.items())), "Fighting001_x264": 5})
    render_ucf_crime(backwards, other, **SMALL)
    old, new = (np.load(folder / "concat_UCF_V2.npy") for folder in (rendered, other))
    old_rows, new_rows = (read_rows(folder / TRAIN_LIST) for folder in (rendered, other))
    for video in TRAIN:
        assert np.array_equal(old[slice(*old_rows[video])], new[slice(*new_rows[video])])
    render_ucf_crime(lists, tmp_path / "seed", **SMALL, seed=1)
    assert not np.array_equal(old, np.load(tmp_path / "seed" / "concat_UCF_V2.npy"))


@pytest.mark.parametrize("nbytes", [1, 5000, 1 << 30])
def test_where_blocks_end_changes_nothing(nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def features() -> list[np.ndarray]:
        return [block.copy() for block in video_features(0, "Abuse002_x264", "Abuse", np.linspace(0, 1, 50), 3, 64)]

    whole = np.concatenate(features())
    monkeypatch.setattr("clap_vad.synthetic.released._BLOCK_BYTES", nbytes)
    pieces = features()
    assert len(pieces) == {1: 50, 5000: 9, 1 << 30: 1}[nbytes]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_a_finished_set_is_left_alone_and_other_parameters_are_refused(lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    made = render_ucf_crime(lists, out, **SMALL)
    assert made["train"] == {
        "videos": 12,
        "segments": sum(max(1, round(0.4 * count)) for count in TRAIN.values()),
        "bytes": (out / "concat_UCF_V2.npy").stat().st_size,
    }
    assert made["test"]["videos"] == 6
    times = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert render_ucf_crime(lists, out, **SMALL) == made
    assert {file: file.stat().st_mtime_ns for file in out.iterdir()} == times
    for change in ({"factor": 0.3}, {"crops": 2}, {"dim": 99}, {"seed": 1}):
        with pytest.raises(ClapError, match="other parameters or lists"):
            render_ucf_crime(lists, out, **{**SMALL, **change})
    other = write_lists(tmp_path / "other", {**TRAIN, "Fighting001_x264": 5})
    with pytest.raises(ClapError, match="other parameters or lists"):
        render_ucf_crime(other, out, **SMALL)
    (out / "Concat_test_10.npy").unlink()
    with pytest.raises(ClapError, match=r"Concat_test_10\.npy: differs from synthetic\.json"):
        render_ucf_crime(lists, out, **SMALL)


def test_an_interrupted_rendering_leaves_no_file_in_part_and_can_be_repeated(
    lists: Path, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, passed = tmp_path / "set", iter(range(15))

    def stop(*arguments: Any) -> Any:
        if next(passed, None) is None:
            raise KeyboardInterrupt
        return video_features(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("clap_vad.synthetic.released.video_features", stop)
        with pytest.raises(KeyboardInterrupt):
            render_ucf_crime(lists, out, **SMALL)
    assert {file.name for file in out.iterdir()} == {"concat_UCF_V2.npy", TRAIN_LIST, "rendering.json"}
    (out / ".Concat_test_10.npy.123.tmp").write_bytes(b"what a killed process left")
    with pytest.raises(ClapError, match="unfinished set with other parameters"):
        render_ucf_crime(lists, out, **{**SMALL, "seed": 1})
    with locked_folder(out), pytest.raises(ClapError, match="another process is using this folder"):
        render_ucf_crime(lists, out, **SMALL)
    render_ucf_crime(lists, out, **SMALL)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        file.name: file.read_bytes() for file in rendered.iterdir()
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"factor": 0}, "factor 0"),
        ({"factor": 1.5}, "factor 1.5"),
        ({"factor": float("nan")}, "factor nan"),
        ({"crops": 0}, "crops 0"),
        ({"dim": 0}, "dim 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_impossible_settings_are_refused(lists: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ClapError, match=says):
        render_ucf_crime(lists, tmp_path / "set", **{**SMALL, **change})
    assert not (tmp_path / "set").exists()


def _spoil(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = next(folder.rglob(name))
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "lists" / TRAIN_LIST).unlink(), "file not found; add a file named UCF_Train"),
        (lambda folder: (folder / "lists" / TEST_LIST).unlink(), "file not found; add a file named UCF_Test"),
        (lambda folder: (folder / ANNOTATION).unlink(), "file not found; add a file named Temporal"),
        (_spoil(TRAIN_LIST, ",0,120", ""), "line 1: no rows"),
        (_spoil(TRAIN_LIST, ",0,120", ",120,120"), "line 1: no rows"),
        (_spoil(TRAIN_LIST, "Abuse003", "Abuse002"), "line 2: .*names must be unique"),
        (_spoil(ANNOTATION, "1275  1360", "-1  -1"), "test video 'Abuse030_x264' has 0 spans"),
        (_spoil(ANNOTATION, "Abuse028_x264.mp4  Class  2  9", "Abuse028_x264.mp4  Class  9  2"), "is reversed"),
        (
            _spoil(ANNOTATION, "Normal_Videos_003_x264.mp4  Class  -1  -1", "Normal_Videos_003_x264.mp4  Class  2  9"),
            "test video 'Normal_Videos_003_x264' has 1 spans",
        ),
    ],
)
def test_broken_lists_are_refused_and_leave_nothing(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = write_lists(tmp_path / "official")
    spoil(folder)
    with pytest.raises(ClapError, match=says):
        render_ucf_crime(folder, tmp_path / "set", **SMALL)
    assert not (tmp_path / "set").exists()


def test_folders_of_something_else_are_refused(lists: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "concat_UCF_V2.npy"
    mine.parent.mkdir()
    mine.write_bytes(b"sixty-four gigabytes")
    with pytest.raises(ClapError, match="not empty and not a synthetic set"):
        render_ucf_crime(lists, mine.parent, **SMALL)
    assert mine.read_bytes() == b"sixty-four gigabytes"
    with pytest.raises(ClapError, match="is a file; choose another folder"):
        render_ucf_crime(lists, mine, **SMALL)
    with pytest.raises(ClapError, match="no such folder"):
        render_ucf_crime(tmp_path / "nothing", tmp_path / "set", **SMALL)


def test_the_official_lists_make_a_set_that_every_official_protocol_fits(tmp_path: Path) -> None:
    official = (Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "ucf_crime").resolve()
    if not official.is_dir():
        pytest.skip(f"real data needed, {official} is not there")
    made = render_ucf_crime(official, tmp_path / "set", factor=0.002, crops=2, dim=8)
    assert (made["train"]["videos"], made["test"]["videos"]) == (1608, 290)
    prepared = prepare("ucf-crime", tmp_path / "set", tmp_path / "data")
    assert (prepared["train"], prepared["train_anomalous"]) == (1608, 809)
    assert (prepared["test"], prepared["test_anomalous"]) == (290, 140)
    assert prepared["next"] == [] and prepared["truth"]["spans_cut_at_end"] == []
    assert prepared["truth"]["frames"] == 16 * made["test"]["segments"]
    assert len(prepared["protocols"]) == 7
    participants = Dataset(tmp_path / "data").read_participants("official-scene-11")
    assert len(participants.videos) == 11
    assert sum(map(len, participants.videos.values())) == 1608
    names = list(read_rows(next(official.rglob(TRAIN_LIST))))
    held = pickle.loads(next(official.rglob("scene_video_num_partition_11_V3.pkl")).read_bytes())["data_indices"]
    assert [list(videos) for videos in participants.videos.values()] == [
        [names[index] for index in share["train"]] for share in held
    ]
    record = json.loads((tmp_path / "set" / "synthetic.json").read_text())
    assert record["parameters"]["factor"] == 0.002 and len(record["parameters"]["lists"]) == 3 + 7
