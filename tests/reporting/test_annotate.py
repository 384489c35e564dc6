from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.core.events.detection import Event
from clap_vad.errors import ClapError
from clap_vad.reporting.annotate import annotate_video
from clap_vad.reporting.overlay import Overlay, ScoredFrames
from clap_vad.video.reader import VideoReader
from clap_vad.video.writer import write_video

FRAMES = 64
ORANGE, YELLOW = (255, 143, 77), (255, 221, 51)


def scored(**changes) -> ScoredFrames:
    """Four segments of 16 frames; the third is the event, and the lower right quarter of the picture is to blame."""
    known = {"scores": np.array([0.1, 0.2, 0.9, 0.3]), "frames": FRAMES, "fps": 25.0, "segment_frames": 16}
    known |= {"threshold": 0.5, "events": [Event(32, 48, 40, 0.9)], "regions": {2: (0.5, 0.5, 1.0, 1.0)}}
    return ScoredFrames(**{**known, **changes})


def film(path: Path, height: int, width: int, times: list[float] | None = None) -> Path:
    grey = np.full((height, width, 3), 100, np.uint8)
    write_video(path, [grey] * FRAMES, 25, times)
    return path


def pictures(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        found = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [time for time, _ in found], [picture for _, picture in found]


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has a colour, after an encoder that keeps a quarter of it."""
    return (np.abs(picture.astype(int) - colour) < 75).all(axis=-1) & (np.ptp(picture.astype(int), axis=-1) > 60)


def test_every_frame_is_there_and_only_those_of_the_event_are_marked(tmp_path):
    film(tmp_path / "a.mp4", 240, 360)
    assert annotate_video(tmp_path / "a.mp4", tmp_path / "out" / "a.mp4", scored()) == FRAMES
    times, found = pictures(tmp_path / "out" / "a.mp4")
    assert len(found) == FRAMES and times == pytest.approx(np.arange(FRAMES) / 25, abs=1e-3)
    height, width = found[0].shape[:2]
    assert width == 492 and height > 320 + 12  # 480 wide and a margin, the bar below
    region = np.zeros((height, width), bool)
    region[6 + 156 : 6 + 164, 250:480] = True  # the upper edge of the region
    for frame, picture in enumerate(found):
        marked = 32 <= frame < 48
        sides = [near(picture[10:320, :6], ORANGE), near(picture[10:320, -6:], ORANGE), near(picture[:6], ORANGE)]
        assert [side.mean() > 0.3 for side in sides] == [marked] * 3, frame
        assert bool(near(picture, YELLOW)[region].mean() > 0.15) is marked, frame
        assert not near(picture[20:150, 20:470], YELLOW).any()  # nothing on the rest of the picture
        assert abs(picture[20:150, 20:240].mean() - 100) < 4


def test_the_bar_shows_the_score_so_far():
    overlay = Overlay(scored(), (240, 480), side=960, blur=False)
    grey = np.full((240, 480, 3), 100, np.uint8)
    first, last = overlay.draw(grey, 0, 0.0), overlay.draw(grey, FRAMES - 1, 2.52)
    bar = slice(240 + 12 + 25, None)
    assert (first[bar, 20:] != last[bar, 20:]).any(axis=(0, 2)).mean() > 0.9
    middle = overlay.draw(grey, 24, 0.96)
    now = 24 * middle.shape[1] // FRAMES
    assert np.array_equal(middle[bar, : now - 2], last[bar, : now - 2])
    assert np.array_equal(middle[bar, now + 2 :], first[bar, now + 2 :])


def test_uneven_times_are_kept(tmp_path):
    times = np.cumsum(np.tile([0.04, 0.04, 0.2, 0.5], 16)).tolist()
    film(tmp_path / "a.mp4", 60, 80, times)
    annotate_video(tmp_path / "a.mp4", tmp_path / "b.mp4", scored())
    found, _ = pictures(tmp_path / "b.mp4")
    assert found == pytest.approx(np.array(times) - times[0], abs=2e-3)


@pytest.mark.parametrize(
    ("shape", "side", "wanted"),
    [
        ((720, 1280), 960, (540, 960)),
        ((720, 1280), 1280, (720, 1280)),
        ((2000, 100), 960, (960, 48)),
        ((9, 16), 960, (270, 480)),
    ],
)
def test_pictures_are_shrunk_or_enlarged_but_never_stretched(shape, side, wanted):
    overlay = Overlay(scored(), shape, side=side, blur=False)
    drawn = overlay.draw(np.full((*shape, 3), 200, np.uint8), 0, 0.0)
    grey = (drawn == 200).all(axis=-1)
    rows, columns = np.flatnonzero(grey.mean(axis=1) > 0.05), np.flatnonzero(grey[: wanted[0]].mean(axis=0) > 0.5)
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == wanted
    assert drawn.shape[1] >= 480 and drawn.shape == (*overlay.shape, 3)


def test_blurring_leaves_no_detail(tmp_path):
    board = np.indices((240, 480)).sum(axis=0) // 4 % 2 * 200 + 20
    write_video(tmp_path / "a.mp4", [np.repeat(board[..., None], 3, axis=2).astype(np.uint8)] * 3, 25)
    inside = (slice(12, 240), slice(12, 470))
    for blur in (False, True):
        annotate_video(tmp_path / "a.mp4", tmp_path / "b.mp4", scored(events=[]), blur=blur)
        _, found = pictures(tmp_path / "b.mp4")
        assert bool(found[1][inside].std() < 15) is blur


def test_frames_taken_evenly_have_the_numbers_that_were_scored(tmp_path):
    film(tmp_path / "a.mp4", 60, 80)
    count = annotate_video(tmp_path / "a.mp4", tmp_path / "b.mp4", scored(frames=32, events=[]), rate=12.5)
    times, _ = pictures(tmp_path / "b.mp4")
    assert count == len(times) == sum(1 for _ in VideoReader(tmp_path / "a.mp4", rate=12.5))
    assert np.diff(times) == pytest.approx(float(Fraction(2, 25)), abs=1e-3)


@pytest.mark.parametrize("content", ["0 1 0 10 10 20 20\n" * 100, ""])
def test_an_input_without_pictures_leaves_no_file(tmp_path, content):
    (tmp_path / "tracks.txt").write_text(content)
    with pytest.raises(ClapError, match=r"tracks\.txt: contains no pictures"):
        annotate_video(tmp_path / "tracks.txt", tmp_path / "b.mp4", scored())
    assert [file.name for file in tmp_path.iterdir()] == ["tracks.txt"]
