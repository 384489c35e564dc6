"""Files with several video tracks: the one with the most pictures is read, and the others can be chosen."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.cli.main import cli
from clap_vad.errors import ClapError
from clap_vad.reporting.thumbnails import thumbnails
from clap_vad.video.reader import VideoReader


def film(path: Path, tracks: list[tuple[int, int, int]]) -> Path:
    """A film of tracks (pictures, side, grey)."""
    with av.open(str(path), "w") as container:
        streams = []
        for _, side, _ in tracks:
            stream = container.add_stream("mpeg4" if path.suffix != ".ts" else "mpeg2video", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for number in range(max(count for count, _, _ in tracks)):
            for stream, (count, side, grey) in zip(streams, tracks, strict=True):
                if number < count:
                    frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), grey, np.uint8), "rgb24")
                    frame.pts = number
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def read(path: Path, track: int | None = None) -> tuple[int, int, int, tuple[str, ...]]:
    """How many pictures, of which width, how grey, and what is noted."""
    reader = VideoReader(path, track=track)
    pictures = list(reader)
    return len(pictures), pictures[0].shape[1], round(float(pictures[0].mean()) / 10) * 10, reader.notes


@pytest.mark.parametrize("name", ["a.mov", "a.mp4", "a.mkv", "a.avi"])
def test_a_preview_in_front_is_not_taken_for_the_recording(tmp_path, name):
    path = film(tmp_path / name, [(1, 128, 50), (40, 64, 150)])
    assert read(path)[:3] == (40, 64, 150)
    (note,) = read(path)[3]
    assert note == "track 2 of 2 video tracks is read (64 x 64), the other one is left out; --track N chooses"
    assert read(path, 1)[:3] == (1, 128, 50)


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_of_two_cameras_the_larger_picture_is_taken_then_the_first(tmp_path, name):
    assert read(film(tmp_path / name, [(30, 64, 50), (30, 128, 150)]))[:3] == (30, 128, 150)
    same = film(tmp_path / f"b{Path(name).suffix}", [(30, 64, 50), (30, 64, 150)])
    assert read(same)[2] == 50 and read(same, 2)[2] == 150


def test_one_track_needs_no_note(tmp_path):
    assert read(film(tmp_path / "a.mp4", [(20, 64, 50)]))[3] == ()


@pytest.mark.parametrize("track", [0, 3])
def test_a_track_that_is_not_there_is_refused(tmp_path, track):
    path = film(tmp_path / "a.mkv", [(20, 64, 50), (30, 64, 150)])
    with pytest.raises(
        ClapError, match="counted from 1" if track == 0 else "has 2 video tracks, so there is no track 3"
    ):
        read(path, track)


def test_pictures_of_a_page_are_of_the_same_track(tmp_path):
    path = film(tmp_path / "a.mkv", [(20, 64, 50), (30, 64, 200)])
    bright, dark = thumbnails(path, [5]), thumbnails(path, [5], track=1)
    sizes = [np.frombuffer(found[5], np.uint8) for found in (bright, dark)]
    assert not np.array_equal(sizes[0], sizes[1])


def test_extraction_tells_which_track_was_read_and_takes_the_one_asked_for(tmp_path):
    path = film(tmp_path / "a.mkv", [(48, 64, 50), (96, 64, 150)])
    for words, frames in (([], 96), (["--track", "1"], 48)):
        out = tmp_path / f"s{frames}"
        done = CliRunner().invoke(
            cli,
            ["features", "extract", str(path), "--extractor", "motion", "--out", str(out), "--workers", "1"]
            + [*words, "--json"],
        )
        result = json.loads(done.stdout.splitlines()[-1])
        assert done.exit_code == 0 and "video tracks is read" in result["notes"]["a"][0]
        assert f",{frames}," in (out / "index.csv").read_text()
