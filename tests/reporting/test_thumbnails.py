from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from clap_vad.reporting.thumbnails import blurred, thumbnails


def write_video(path: Path, frames: int, codec: str = "libx264") -> None:
    """Each frame is a flat grey whose level is 4 times its number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(frames):
            picture = np.full((360, 640, 3), 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def test_the_picture_is_that_of_the_frame_asked_for(tmp_path):
    write_video(tmp_path / "gate 3 – Tür.mp4", 50)
    found = thumbnails(tmp_path / "gate 3 – Tür.mp4", [7, 48, 7])
    assert sorted(found) == [7, 48]
    for frame, jpeg in found.items():
        picture = decoded(jpeg)
        assert picture.shape == (270, 480, 3)
        assert abs(picture.mean() - 4 * frame) < 3


def test_frames_beyond_the_end_are_missing_and_no_frames_need_no_file(tmp_path):
    write_video(tmp_path / "a.mp4", 20)
    assert sorted(thumbnails(tmp_path / "a.mp4", [5, 400])) == [5]
    assert thumbnails(tmp_path / "nothing.mp4", []) == {}


def test_a_track_file_and_a_damaged_video_have_no_pictures(tmp_path):
    (tmp_path / "tracks.txt").write_text("0 1 0 10 10 20 20\n" * 100)
    (tmp_path / "broken.mp4").write_bytes(bytes(range(256)) * 40)
    assert thumbnails(tmp_path / "tracks.txt", [0]) == {}
    assert thumbnails(tmp_path / "broken.mp4", [0]) == {}


def test_colours_are_not_swapped(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    red = np.zeros((64, 96, 3), np.uint8)
    red[:, :, 2] = 255
    for number in range(3):
        cv2.imwrite(str(folder / f"{number:04d}.png"), red)
    blue, green, redness = decoded(thumbnails(folder, [1])[1]).reshape(-1, 3).mean(axis=0)
    assert redness > 240 and blue < 15 and green < 15


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (8, 8), (1, 300)])
def test_blur_leaves_nothing_but_averages_of_large_cells(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    coarse = blurred(picture)
    assert coarse.shape == picture.shape
    assert len(np.unique(coarse.reshape(-1, 3), axis=0)) <= 144
    # the average of a cell tells nothing of how its pixels were arranged
    assert abs(coarse.mean() - picture.mean()) < 10


def test_blurred_thumbnails_hide_detail_that_clear_ones_show(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    rows, columns = np.indices((360, 640))
    board = (((rows // 8 + columns // 8) % 2) * 255).astype(np.uint8)
    cv2.imwrite(str(folder / "1.png"), board)
    assert decoded(thumbnails(folder, [0])[0]).std() > 90
    assert decoded(thumbnails(folder, [0], blur=True)[0]).std() < 15


def test_a_region_is_outlined_where_it_is_and_nowhere_else(tmp_path):
    write_video(tmp_path / "a.mp4", 4)
    plain, marked = (
        decoded(thumbnails(tmp_path / "a.mp4", [3], regions=regions)[3]).astype(int)
        for regions in (None, {3: (0.25, 0.5, 0.75, 1.0)})
    )
    changed = np.abs(marked - plain).max(axis=2) > 60
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1]) == (pytest.approx(135, abs=4), 269)
    assert (columns[0], columns[-1]) == (pytest.approx(120, abs=4), pytest.approx(360, abs=4))
    assert not changed[150:255, 130:350].any()
