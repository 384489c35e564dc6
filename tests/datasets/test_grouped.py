"""Several scenes to a participant: whole ones, as even as taking the largest first makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.datasets.partition import ensure_participants, partition
from clap_vad.datasets.protocols.grouped import scenes_in_groups
from clap_vad.errors import ClapError

Sizes = dict[str, int]

sizes = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 12), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[[Sizes], Dataset]:
    """``make(sizes)`` -> a dataset whose scenes have so many training videos, dealt in turn, and a test video each."""
    folder = tmp_path_factory.mktemp("grouped")

    def make(sizes: Sizes) -> Dataset:
        places = [(number, scene) for scene, size in sizes.items() for number in range(size)]
        records = [VideoRecord(f"{scene}-{number}", "train", scene) for number, scene in sorted(places)]
        records += [VideoRecord(f"{scene}-test", "test", scene) for scene in sizes]
        write_videos_csv(folder / "videos.csv", records)
        return Dataset(folder)

    return make


def dealt(sizes: Sizes, count: int) -> list[set[str]]:
    """Scenes of each participant: the largest first, each to the participant with the fewest videos, ties by name."""
    left, held, videos = dict(sizes), [set() for _ in range(count)], [0] * count
    while left:
        largest = min(scene for scene in left if left[scene] == max(left.values()))
        poorest = videos.index(min(videos))
        held[poorest].add(largest)
        videos[poorest] += left.pop(largest)
    return held


def scenes_held(dataset: Dataset, groups: dict[str, list[str]]) -> list[set[str]]:
    return [{dataset.videos[video].scene for video in videos} for videos in groups.values()]


@settings(max_examples=60, deadline=None)
@given(sizes, st.data())
def test_every_video_has_one_holder_and_every_scene_too(make, sizes, data):
    dataset, count = make(sizes), data.draw(st.integers(1, len(sizes)))
    groups = scenes_in_groups(dataset, count, 0)
    assert list(groups) == [f"site-{number}" for number in range(1, count + 1)]
    assert sorted(video for videos in groups.values() for video in videos) == sorted(dataset.train_videos)
    assert all(groups.values())
    held = scenes_held(dataset, groups)
    assert max(Counter(scene for scenes in held for scene in scenes).values()) == 1
    assert held == dealt(sizes, count)
    assert all(
        len(videos) == sum(sizes[s] for s in scenes) for videos, scenes in zip(groups.values(), held, strict=True)
    )


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 12), min_size=3), st.integers(2, 3))
def test_no_participant_has_a_third_more_than_the_evenest_division_gives(make, sizes, count):
    """Graham's bound for taking the largest first: 4/3 - 1/(3m) times the least possible maximum."""
    largest = max(map(len, scenes_in_groups(make(sizes), count, 0).values()))
    best = min(
        max(sum(size for size, at in zip(sizes.values(), holders, strict=True) if at == k) for k in range(count))
        for holders in product(range(count), repeat=len(sizes))
    )
    assert best <= largest <= best * (4 / 3 - 1 / (3 * count)) + 1e-9


def test_sizes_of_an_example_worked_by_hand(make):
    dataset = make({"gate": 7, "yard": 5, "hall": 4, "roof": 4, "quay": 2})
    groups = scenes_in_groups(dataset, None, 0)  # three by default
    assert scenes_held(dataset, groups) == [{"gate"}, {"yard", "quay"}, {"hall", "roof"}]
    assert [len(videos) for videos in groups.values()] == [7, 7, 8]
    assert groups["site-2"] == [f"yard-{k}" for k in range(5)] + ["quay-0", "quay-1"]


def test_as_many_participants_as_scenes_have_one_each_and_one_has_all(make):
    dataset = make({"a": 1, "b": 3, "c": 2})
    assert scenes_held(dataset, scenes_in_groups(dataset, 3, 0)) == [{"b"}, {"c"}, {"a"}]
    assert scenes_held(dataset, scenes_in_groups(dataset, 1, 0)) == [{"a", "b", "c"}]


def test_the_seed_changes_nothing(make):
    dataset = make({"a": 2, "b": 3, "c": 2, "d": 5})
    assert len({str(scenes_in_groups(dataset, 2, seed)) for seed in range(5)}) == 1


def test_it_is_found_by_its_name_and_by_its_name_with_a_number(bare_dataset: Path) -> None:
    dataset = Dataset(bare_dataset)
    two = ensure_participants(dataset, "grouped-2").videos
    assert {name: len(videos) for name, videos in two.items()} == {"site-1": 13, "site-2": 7}
    assert partition(bare_dataset, "grouped", 2).videos == two
    assert [len(videos) for videos in partition(bare_dataset, "grouped").videos.values()] == [7, 7, 6]


def test_more_participants_than_scenes_are_refused(bare_dataset: Path) -> None:
    for protocol, count in (("grouped", 4), ("grouped-4", None)):
        with pytest.raises(ClapError, match=r"videos.csv: 3 scenes are too few for 4 participants; use fewer"):
            partition(bare_dataset, protocol, count)
    with pytest.raises(ClapError, match="at least 1"):
        partition(bare_dataset, "grouped", 0)


def test_videos_without_a_scene_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write_videos_csv(tmp_path / "d" / "videos.csv", [VideoRecord("v", "train", "gate"), VideoRecord("w", "train")])
    with pytest.raises(ClapError, match=r"1 of 2 training videos have no scene \(first: 'w'\)"):
        partition(tmp_path / "d", "grouped")
