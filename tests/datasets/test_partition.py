from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.official import read_plain_pickle
from clap_vad.datasets.partition import describe_participants, ensure_participants, partition
from clap_vad.datasets.protocol import PROTOCOLS, recipe, settings_of
from clap_vad.datasets.protocols.dirichlet import deal
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
        ("event", 5, "2, not 5"),
        ("scene", 2, "3, not 2"),
        ("dirichlet", 21, "too few for 21"),
        ("dirichlet-21", None, "too few for 21"),
        ("event-5", None, "2, not 5"),
        ("random-10", 5, "random-10 means --participants 10, not 5"),
        ("random-10", 0, "random-10 means --participants 10, not 0"),
        ("random-0", None, "unknown protocol 'random-0'; known: .*random-PARTICIPANTS"),
        ("random-007", None, "unknown protocol"),
        ("random-5-0.3", None, "unknown protocol"),
        ("dirichlet-5-", None, "unknown protocol"),
        ("dirichlet-5-nan", None, "unknown protocol .*dirichlet-PARTICIPANTS-ALPHA"),
        ("dirichlet-5-0.0", None, "finite number above 0"),
        ("official-scene-11", None, "unknown protocol"),
        ("city", None, "known: dirichlet, event, grouped, random, scene"),
        ("../videos", None, "unknown protocol"),
    ],
)
def test_what_cannot_be_divided_is_refused(bare_dataset: Path, protocol: str, participants: int, says: str) -> None:
    with pytest.raises(ClapError, match=says):
        partition(bare_dataset, protocol, participants)


@pytest.mark.parametrize("participants", [1, 2, 5, 19, 20])
@pytest.mark.parametrize("alpha", [5e-324, 0.01, 0.5, 10, 1.7e308])
def test_dirichlet_covers_every_video_once_and_leaves_nobody_empty(
    bare_dataset: Path, participants: int, alpha: float
) -> None:
    dataset = Dataset(bare_dataset)
    for seed in range(20):
        held = PROTOCOLS["dirichlet"](dataset, participants, seed, alpha=alpha)
        assert len(held) == participants
        assert all(videos and videos == sorted(videos) for videos in held.values())
        assert sorted(video for videos in held.values() for video in videos) == TRAIN


def test_dirichlet_is_decided_by_the_seed_and_alpha(bare_dataset: Path) -> None:
    file = bare_dataset / "participants" / "dirichlet.json"
    made = partition(bare_dataset, "dirichlet", 4, 1).videos
    written = file.read_bytes()
    assert partition(bare_dataset, "dirichlet", 4, 1, alpha=0.5).videos == made
    assert file.read_bytes() == written
    assert partition(bare_dataset, "dirichlet", 4, 2).videos != made
    assert partition(bare_dataset, "dirichlet", 4, 1, alpha=50).videos != made
    assert len(partition(bare_dataset, "dirichlet").videos) == 5


def test_dirichlet_deals_as_a_slow_loop_does() -> None:
    classes = [("", "Fire", "Fight")[number % 7 % 3] for number in range(60)]
    for seed in range(30):
        random, expected = np.random.default_rng(seed), [-1] * 60
        for name in ("", "Fight", "Fire"):
            members = random.permutation([place for place in range(60) if classes[place] == name]).tolist()
            shares = random.dirichlet([0.4] * 6).tolist()
            for rank, place in enumerate(members):
                reached, holder = shares[0], 0
                while holder < 5 and rank + 0.5 >= reached * len(members):
                    holder += 1
                    reached += shares[holder]
                expected[place] = holder
        for empty in [holder for holder in range(6) if holder not in expected]:
            sizes = [expected.count(holder) for holder in range(6)]
            richest = [place for place in range(60) if expected[place] == sizes.index(max(sizes))]
            expected[random.choice(richest)] = empty
        assert deal(classes, 6, 0.4, np.random.default_rng(seed)).tolist() == expected


def _shares(alpha: float, seeds: int = 300) -> np.ndarray:
    """Proportion of a class of 400 videos that each of 5 participants holds, shape (draws, 5)."""
    classes = ["a"] * 400 + ["b"] * 400
    dealt = [deal(classes, 5, alpha, np.random.default_rng(seed)) for seed in range(seeds)]
    return np.array([np.bincount(half, minlength=5) / 400 for holders in dealt for half in np.split(holders, 2)])


@pytest.mark.parametrize("alpha", [0.1, 0.5, 2, 20])
def test_shares_have_the_moments_of_the_dirichlet_distribution(alpha: float) -> None:
    shares = _shares(alpha)
    variance = 0.2 * 0.8 / (5 * alpha + 1)  # of a component of Dir(alpha, ..., alpha) with five components
    assert np.allclose(shares.mean(axis=0), 0.2, atol=4 * np.sqrt(variance / len(shares)))
    assert shares.var() == pytest.approx(variance, rel=0.1)


def test_skew_grows_as_alpha_falls_and_is_that_of_normalised_gamma_draws() -> None:
    random, found = np.random.default_rng(99), []
    for alpha in (0.05, 0.5, 5, 50):
        largest = []
        for _ in range(1000):
            draws = [random.standard_gamma(alpha) for _ in range(5)]
            largest.append(max(draws) / sum(draws))
        found.append(_shares(alpha).max(axis=1).mean())
        assert found[-1] == pytest.approx(sum(largest) / 1000, abs=0.02)
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.85 and found[-1] < 0.3


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf")])
def test_alpha_must_be_a_finite_number_above_zero(bare_dataset: Path, alpha: float) -> None:
    with pytest.raises(ClapError, match=r"--alpha is .*; give a finite number above 0"):
        partition(bare_dataset, "dirichlet", alpha=alpha)
    assert not (bare_dataset / "participants").exists()


def test_settings_that_a_protocol_does_not_have_are_refused(bare_dataset: Path) -> None:
    for protocol, settings, says in (
        ("random", {"alpha": 0.5}, "'random' has no setting 'alpha'; it has none"),
        ("dirichlet", {"beta": 0.5}, "'dirichlet' has no setting 'beta'; it has alpha"),
        ("dirichlet", {"alpha": "much"}, "--alpha is 'much'; give a number"),
        ("dirichlet", {"alpha": True}, "--alpha is True; give a number"),
        ("dirichlet-4", {"alpha": 0.3}, r"dirichlet-4 means --alpha 0\.5, not 0\.3"),
        ("dirichlet-4-0.3", {"alpha": 0.5}, r"dirichlet-4-0\.3 means --alpha 0\.3, not 0\.5"),
    ):
        with pytest.raises(ClapError, match=says):
            partition(bare_dataset, protocol, **settings)
    partition(bare_dataset, "random", 2).write(bare_dataset / "participants" / "by-hand.json")
    with pytest.raises(ClapError, match="leave out --alpha"):
        partition(bare_dataset, "by-hand", alpha=0.5)


def test_a_new_protocol_brings_its_settings_and_names(bare_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(
        dataset: Dataset,
        participants: int | None,
        seed: int,
        first: Annotated[int, "videos of the first"] = 3,
        last_name: str = "rest",
    ) -> dict[str, list[str]]:
        return {"first": dataset.train_videos[:first], last_name: dataset.train_videos[first:]}

    assert PROTOCOLS.names() == ["dirichlet", "event", "grouped", "random", "scene"]
    monkeypatch.setitem(PROTOCOLS._entries, "random-cut", cut)
    assert [(s.name, s.default, s.help) for s in settings_of("random-cut")] == [
        ("first", 3, "videos of the first"),
        ("last_name", "rest", ""),
    ]
    made = partition(bare_dataset, "random-cut-2-7-others")
    assert {name: len(videos) for name, videos in made.videos.items()} == {"first": 7, "others": 13}
    assert recipe("random-cut-2-1.5") is None
    assert recipe("random-cut", None, {"first": np.int64(4)}).settings == {"first": 4}
    with pytest.raises(ClapError, match=r"--first is 1\.5; give an integer"):
        recipe("random-cut", None, {"first": 1.5})


@pytest.mark.parametrize(
    ("name", "protocol", "participants", "settings"),
    [
        ("random-10", "random", 10, {}),
        ("dirichlet-10", "dirichlet", 10, {}),
        ("dirichlet-10-0.3", "dirichlet", 10, {"alpha": 0.3}),
        ("dirichlet-3-2", "dirichlet", 3, {"alpha": 2}),
        ("event-2", "event", 2, {}),
        ("scene-3", "scene", None, {}),
    ],
)
def test_a_name_with_parameters_is_made_and_stored_under_that_name(
    bare_dataset: Path, name: str, protocol: str, participants: int | None, settings: dict[str, float]
) -> None:
    made = ensure_participants(Dataset(bare_dataset), name, 3)
    stored = json.loads((bare_dataset / "participants" / f"{name}.json").read_text())
    assert (made.protocol, stored["protocol"], stored["seed"]) == (name, name, 3)
    assert [file.name for file in (bare_dataset / "participants").iterdir()] == [f"{name}.json"]
    assert partition(bare_dataset, protocol, participants, 3, **settings).videos == made.videos
    assert partition(bare_dataset, name, participants, 3, **settings) == made
    assert json.loads((bare_dataset / "participants" / f"{name}.json").read_text()) == stored


def test_assignments_to_different_numbers_stand_side_by_side(bare_dataset: Path) -> None:
    dataset = Dataset(bare_dataset)
    partition(bare_dataset, "random", 4)
    for name, count in (("random", 4), ("random-2", 2), ("random-10", 10), ("dirichlet-3", 3)):
        assert len(ensure_participants(dataset, name).videos) == count
    assert len(list((bare_dataset / "participants").iterdir())) == 4
    with pytest.raises(ClapError, match="has 10 participants, not 5; choose another"):
        ensure_participants(dataset, "random-10", participants=5)
    with pytest.raises(ClapError, match="random-11 means --participants 11, not 5"):
        ensure_participants(dataset, "random-11", participants=5)


def test_a_stored_name_wins_until_it_is_divided_anew(bare_dataset: Path, tmp_path: Path) -> None:
    dataset, own = Dataset(bare_dataset), {"a": ["v03"], "b": ["v01"]}
    for name in ("random-10", "random-mine", "official-scene-11"):
        (tmp_path / "mine.json").write_text(json.dumps({"protocol": name, "seed": 0, "participants": own}))
        partition(bare_dataset, str(tmp_path / "mine.json"))
        assert list(ensure_participants(dataset, name, 7).videos) == ["a", "b"]
    for name in ("random-mine", "official-scene-11"):
        assert list(partition(bare_dataset, name).videos) == ["a", "b"]
    assert len(partition(bare_dataset, "random-10").videos) == 10
    assert len(ensure_participants(dataset, "random-10").videos) == 10


def test_videos_without_scene_or_event_are_reported(tmp_path: Path, write_table: Callable[..., Path]) -> None:
    write_table([["video", "split", "scene"], ["a", "train", "x"], ["b", "train", ""]], "d/videos.csv")
    with pytest.raises(ClapError, match=r"1 of 2 training videos have no scene .*'b'"):
        partition(tmp_path / "d", "scene")
    for protocol in ("event", "dirichlet"):
        with pytest.raises(ClapError, match="no training video has an event"):
            partition(tmp_path / "d", protocol)


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
        ({"participants": {"a": ["v00", "v00"]}}, "assigned twice"),
        ({"participants": {"a": ["v00"], "b": ["v00"]}}, "assigned twice, to 'a' and 'b'"),
        ({"participants": {"a": ["t00"]}}, "not a training video"),
        ({"participants": {"a": []}}, "non-empty list"),
        ({"participants": {"../x": ["v00"]}}, "cannot be a folder name"),
        ({"protocol": "../x", "participants": {"a": ["v00"]}}, "cannot be a file name"),
        ({"seed": float("inf"), "participants": {"a": ["v00"]}}, "must be an integer"),
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
    with pytest.raises(ClapError, match="it refers to"):
        partition(bare_dataset, str(file))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps([1, 2]), "not an official CLAP partition"),
        (pickle.dumps({"separation": {}, "data_indices": [{"train": [1]}]}), "partitions segments"),
        (pickle.dumps({"data_indices": [{"train": [20]}]}), "outside the training list of 20"),
        (pickle.dumps({"data_indices": [{"train": [-1]}]}), "index -1 is outside"),
        (pickle.dumps({"data_indices": [{"train": [True]}]}), "non-empty list"),
        (pickle.dumps({"data_indices": [{"train": [1]}, {"train": [1]}]}), "assigned twice"),
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
    with pytest.raises(ClapError, match="has 4 participants, not 7"):
        ensure_participants(dataset, "random", 5, 7)
    with pytest.raises(ClapError, match=r"unknown protocol 'official-event-13'; known: dirichlet, event, grouped"):
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


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_participants_file_may_begin_with_a_byte_order_mark(bare_dataset: Path, tmp_path: Path, mark: bytes) -> None:
    held = {"a": [f"v{k:02d}" for k in range(10)], "b": [f"v{k:02d}" for k in range(10, 20)]}
    file = tmp_path / "mine.json"
    file.write_bytes(mark + json.dumps({"protocol": "mine", "seed": 0, "participants": held}).encode())
    assert partition(bare_dataset, str(file)).videos == {name: tuple(videos) for name, videos in held.items()}
