from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.official import read_plain_pickle
from clap_vad.datasets.partition import describe_participants, ensure_participants, partition
from clap_vad.errors import ClapError

TRAIN = [f"v{number:02d}" for number in range(20)]


def _official(file: Path, shares: list[list[int]]) -> Path:
    file.write_bytes(pickle.dumps({"video_num": None, "data_indices": [{"train": share} for share in shares]}))
    return file


@pytest.mark.parametrize("participants", [1, 3, 5, 20, None])
def test_random_shares_differ_by_one_video_at_most(bare_dataset: Path, participants: int | None) -> None:
    made = partition(bare_dataset, "random", participants, seed=3)
    sizes = [len(videos) for videos in made.videos.values()]
    assert len(sizes) == (participants or 5)
    assert max(sizes) - min(sizes) <= 1
    assert sorted(video for videos in made.videos.values() for video in videos) == TRAIN


def test_the_seed_alone_decides_the_draw(bare_dataset: Path) -> None:
    one, again, other = (partition(bare_dataset, "random", 4, seed).videos for seed in (1, 1, 2))
    assert one == again != other
    assert all(list(videos) == sorted(videos) for videos in one.values())


def test_event_gives_each_participant_one_class_and_a_share_of_the_rest(bare_dataset: Path) -> None:
    made = partition(bare_dataset, "event", seed=1).videos
    assert list(made) == ["Fight", "Fire"]
    assert set(made["Fire"]) >= {"v01", "v04", "v09"}
    assert set(made["Fight"]) >= {"v02", "v06"}
    assert sorted([*made["Fire"], *made["Fight"]]) == TRAIN
    assert abs((len(made["Fire"]) - 3) - (len(made["Fight"]) - 2)) <= 1


def test_scene_gives_each_participant_one_scene(bare_dataset: Path) -> None:
    made = partition(bare_dataset, "scene").videos
    assert made == {f"camera-{k}": tuple(TRAIN[k::3]) for k in range(3)}


@pytest.mark.parametrize(
    ("protocol", "participants", "says"),
    [
        ("random", 21, "too few for 21"),
        ("random", 0, "at least 1"),
        ("event", 5, "2 here, not 5"),
        ("scene", 2, "3 here, not 2"),
        ("city", None, "known here: event, random, scene"),
        ("../videos", None, "unknown protocol"),
    ],
)
def test_what_cannot_be_divided_is_refused(bare_dataset: Path, protocol: str, participants: int, says: str) -> None:
    with pytest.raises(ClapError, match=says):
        partition(bare_dataset, protocol, participants)


def test_videos_without_scene_or_event_are_told(tmp_path: Path, write_table: Callable[..., Path]) -> None:
    write_table([["video", "split", "scene"], ["a", "train", "x"], ["b", "train", ""]], "d/videos.csv")
    with pytest.raises(ClapError, match=r"1 of 2 training videos have no scene .*'b'"):
        partition(tmp_path / "d", "scene")
    with pytest.raises(ClapError, match="no training video states an event"):
        partition(tmp_path / "d", "event")


def test_a_json_file_is_copied_under_the_name_it_states(bare_dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"protocol": "by-hand", "seed": 4, "participants": {"ö": ["v03"], "b": ["v01", "v00"]}}))
    partition(bare_dataset, str(file))
    stored = json.loads((bare_dataset / "participants" / "by-hand.json").read_text())
    assert stored == {"protocol": "by-hand", "seed": 4, "participants": {"ö": ["v03"], "b": ["v01", "v00"]}}
    assert list(partition(bare_dataset, "by-hand").videos) == ["ö", "b"]
    summary = describe_participants(Dataset(bare_dataset), ensure_participants(Dataset(bare_dataset), "by-hand"))
    assert summary["unassigned"] == 17
    assert summary["participants"][1] == {"id": "b", "videos": 2, "normal": 1, "anomalous": 1, "unlabelled": 0}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"participants": {"a": ["v00", "v00"]}}, "held by both"),
        ({"participants": {"a": ["v00"], "b": ["v00"]}}, "held by both 'a' and 'b'"),
        ({"participants": {"a": ["t00"]}}, "not a training video"),
        ({"participants": {"a": []}}, "non-empty list"),
        ({"participants": {"../x": ["v00"]}}, "cannot name a folder"),
        ({"protocol": "../x", "participants": {"a": ["v00"]}}, "cannot name a file"),
        ({"seed": float("inf"), "participants": {"a": ["v00"]}}, "whole number"),
        ([], "not a participants file"),
    ],
)
def test_broken_participants_files_are_refused(bare_dataset: Path, tmp_path: Path, content: object, says: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(ClapError, match=says):
        partition(bare_dataset, str(tmp_path / "p.json"))
    assert not (bare_dataset / "participants").exists()


def test_official_pickles_keep_members_and_order(bare_dataset: Path, tmp_path: Path) -> None:
    file = _official(tmp_path / "random_video_num_partition_2_V3.pkl", [[3, 0], [19, 7, 1]])
    made = partition(bare_dataset, str(file))
    assert made.protocol == "official-random-2"
    assert made.videos == {"participant-01": ("v03", "v00"), "participant-02": ("v19", "v07", "v01")}


def test_official_event_participants_are_named_after_their_main_class(bare_dataset: Path, tmp_path: Path) -> None:
    file = _official(tmp_path / "event_video_num_partition_2_V3.pkl", [[1, 4, 2, 0], [6, 3]])
    assert list(partition(bare_dataset, str(file)).videos) == ["Fire", "Fight"]


class _Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trap,)


def test_a_pickle_that_asks_for_code_is_refused_and_does_not_run(bare_dataset: Path, tmp_path: Path) -> None:
    trap, file = tmp_path / "ran", tmp_path / "evil_video_num_partition.pkl"
    file.write_bytes(pickle.dumps({"data_indices": [{"train": _Evil(trap)}]}))
    with pytest.raises(ClapError, match="asks for"):
        partition(bare_dataset, str(file))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps([1, 2]), "not an official CLAP partition"),
        (pickle.dumps({"separation": {}, "data_indices": [{"train": [1]}]}), "divides segments"),
        (pickle.dumps({"data_indices": [{"train": [20]}]}), "outside the training list of 20"),
        (pickle.dumps({"data_indices": [{"train": [-1]}]}), "index -1 is outside"),
        (pickle.dumps({"data_indices": [{"train": [True]}]}), "non-empty list"),
        (pickle.dumps({"data_indices": [{"train": [1]}, {"train": [1]}]}), "held by both"),
        (pickle.dumps({"data_indices": [{"test": [1]}]}), "non-empty list"),
        (b"", "Ran out of input"),
        (b"\x80\x04garbage", "not a pickle"),
    ],
)
def test_other_pickles_are_refused(bare_dataset: Path, tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "p.pkl"
    file.write_bytes(content)
    with pytest.raises(ClapError, match=says):
        partition(bare_dataset, str(file))


def test_plain_pickles_of_every_protocol_are_read(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "ü", (1, 2)]}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        assert read_plain_pickle(tmp_path / "p.pkl") == value


def test_ensure_makes_what_is_missing_and_reuses_what_is_there(bare_dataset: Path) -> None:
    dataset = Dataset(bare_dataset)
    first = ensure_participants(dataset, "random", 5, 4)
    assert ensure_participants(dataset, "random", 6) == first
    assert dataset.read_participants("random") == first
    with pytest.raises(ClapError, match="holds 4 participants, not 7"):
        ensure_participants(dataset, "random", 5, 7)
    with pytest.raises(ClapError, match="unknown protocol 'official-event-13'; known here: event, random, scene"):
        ensure_participants(dataset, "official-event-13", 0)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("event_video_num_partition_13_V3", [109, 106, 102, 108, 148, 90, 106, 188, 206, 88, 90, 156, 111]),
        ("scene_video_num_partition_11_V3", [285, 179, 20, 83, 29, 175, 164, 83, 28, 391, 171]),
        ("random_video_num_partition_10_V3", [161] * 8 + [160] * 2),
    ],
)
def test_the_real_partitions_have_their_published_sizes(
    shared: Callable[[str], Path], tmp_path: Path, write_table: Callable[..., Path], name: str, sizes: list[int]
) -> None:
    release = shared("ucf_crime") / "clap_release"
    lines = (release / "UCF_Train_ten_crop_i3d_complete_V1.txt").read_text().splitlines()
    names = [line.split(",")[0].rsplit("/", 1)[1].removesuffix("_i3d.npy") for line in lines]
    write_table([["video", "split"], *([video, "train"] for video in names)], "d/videos.csv")
    made = partition(tmp_path / "d", str(release / f"{name}.pkl")).videos
    assert [len(videos) for videos in made.values()] == sizes
    indices = pickle.loads((release / f"{name}.pkl").read_bytes())["data_indices"]  # the oracle, on a file known good
    assert [list(videos) for videos in made.values()] == [[names[i] for i in entry["train"]] for entry in indices]
