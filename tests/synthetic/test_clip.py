from __future__ import annotations

from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest

from clap_vad.synthetic.anomalies import ANOMALIES
from clap_vad.synthetic.clip import Clip, ClipPlan, frames, make_clip, truth
from clap_vad.synthetic.movement import walk
from clap_vad.synthetic.sites import SITES


def plan(site: str, anomaly: str = "", count: int = 100, seed: int = 0) -> ClipPlan:
    return ClipPlan("clip", site, "test", anomaly, count, (seed, 0))


@pytest.mark.parametrize("site", SITES)
def test_frames_have_the_cameras_size_and_are_the_same_every_time(site: str) -> None:
    camera = SITES[site].camera
    first, second = (list(islice(frames(make_clip(plan(site, count=30))), 4)) for _ in range(2))
    assert all(f.shape == (camera.height, camera.width, 3) and f.dtype == np.uint8 for f in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = next(frames(make_clip(plan(site, count=30, seed=1))))
    assert not np.array_equal(first[0], other)
    assert first[0].std() > 15  # a picture, with something for optical flow to hold on to


@pytest.mark.parametrize(
    ("site", "anomaly"), [(s.name, a) for s in SITES.values() for a in s.testing + s.training if a]
)
def test_every_planned_anomaly_is_seen_for_a_part_of_its_clip(site: str, anomaly: str) -> None:
    for seed in range(5):
        labels = truth(make_clip(plan(site, anomaly, count=10 * SITES[site].fps, seed=seed)))
        assert labels.shape == (10 * SITES[site].fps,) and labels.dtype == np.uint8
        assert 0 < labels.sum() < len(labels)


def test_a_normal_clip_has_no_anomalous_frame() -> None:
    assert not truth(make_clip(plan("corridor"))).any()


def test_sites_differ_and_one_of_them_trains_without_anomalies() -> None:
    sites = list(SITES.values())
    assert len(sites) == 4 and len({(s.camera.width, s.camera.height, s.fps) for s in sites}) == 4
    assert [s.name for s in sites if not any(s.training)] == ["plaza"]
    assert {a for s in sites for a in s.testing if a} == set(ANOMALIES)


def _centres(clip: Clip) -> np.ndarray:
    """Where the only figure of a clip is, measured in the pixels: the centroid of what is not background."""
    empty = np.median(np.stack(list(frames(replace(clip, actors=())))), axis=0)
    found = []
    for picture in frames(clip):
        moving = cv2.medianBlur((np.abs(picture - empty).max(axis=2) > 40).astype(np.uint8), 5)
        rows, columns = np.nonzero(moving)
        found.append([columns.mean(), rows.mean()] if len(rows) > 30 else [np.nan, np.nan])
    return np.array(found)


def test_a_runner_is_faster_on_the_picture_than_a_walker() -> None:
    site = SITES["plaza"]
    times = np.arange(50) / site.fps
    path = np.array([[-20.0, 12.0], [20.0, 12.0]])
    speeds = []
    for speed in (1.3, 4.3):
        actor = walk(np.random.default_rng(3), path, times, speed=speed, start=-18.0 / speed)
        centres = _centres(Clip(site, (actor,), len(times), (0,)))
        speeds.append(np.nanmean(np.linalg.norm(centres[10:] - centres[:-10], axis=1)))
    assert speeds[1] / speeds[0] == pytest.approx(4.3 / 1.3, rel=0.15)


def test_runners_are_faster_than_everybody_else_in_their_clip() -> None:
    clip = make_clip(plan("corridor", "running", count=250))
    fastest: dict[bool, list[float]] = {True: [], False: []}
    for actor in clip.actors:
        steps = np.linalg.norm(np.diff(actor.place, axis=0), axis=1)[actor.present[1:] & actor.present[:-1]]
        if len(steps):
            fastest[bool(actor.anomalous.any())].append(float(steps.max()) * clip.site.fps)
    assert len(fastest[True]) == 3 and fastest[False]
    assert min(fastest[True]) > 3.5 > 2.5 > max(fastest[False])


def test_the_wrong_way_goes_against_the_lane() -> None:
    clip = make_clip(plan("corridor", "wrong way", count=250))
    for actor in clip.actors:
        along = np.diff(actor.place[:, 1])[actor.present[1:] & actor.present[:-1]].sum()
        assert not actor.present.any() or (along > 0) == bool(actor.anomalous.any())


def test_people_pass_behind_what_hides_them() -> None:
    site = SITES["dock"]
    times = np.arange(2) / site.fps
    shown = []
    for x in (-6.3, 0.0):  # behind the high crate, and as far away in the open
        actor = walk(np.random.default_rng(0), np.array([[x, 11.5], [x + 1, 11.5]]), times, speed=0.1, start=-1.0)
        clip = Clip(site, (actor,), 2, (0,))
        with_figure, without = next(frames(clip)), next(frames(replace(clip, actors=())))
        shown.append(int((np.abs(with_figure.astype(int) - without).max(axis=2) > 40).sum()))
    assert 0 < shown[0] < 0.6 * shown[1]
