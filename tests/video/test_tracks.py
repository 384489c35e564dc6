"""Files with several video tracks: the recording is read, the others are reported, and a number chooses."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.video import tracks
from clap_vad.video.reader import VideoReader
from clap_vad.video.tracks import choose_track


def write(path: Path, *kinds: tuple[int, int, float, int]) -> Path:
    """A file with a track per kind: side, number of pictures, pictures a second, grey value."""
    with av.open(str(path), "w") as out:
        streams = []
        for side, _, rate, _ in kinds:
            stream = out.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=Fraction(rate))
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        packets = []
        for stream, (side, count, rate, grey) in zip(streams, kinds, strict=True):
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(np.full((side, side), grey, np.uint8), format="gray")
                frame.pts, frame.time_base = number, 1 / Fraction(rate)
                packets += stream.encode(frame.reformat(format="yuv420p"))
            packets += stream.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)
    return path


def grey(path: Path, track: int | None = None) -> tuple[int, int]:
    """How many pictures are read, and how light they are."""
    pictures = list(VideoReader(path, track=track))
    return len(pictures), round(float(np.mean(pictures)) / 10) * 10


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4", "a.avi"])
def test_the_track_with_most_pictures_is_read_wherever_it_stands(tmp_path, name):
    thumbs, film = (128, 2, 1, 50), (64, 40, 20, 150)
    for number, kinds in enumerate([(thumbs, film), (film, thumbs), (thumbs, thumbs, film)]):
        path = write(tmp_path / f"{number}{name}", *kinds)
        assert grey(path) == (40, 150)
        reader = VideoReader(path)
        (note,) = reader.notes
        where = kinds.index(film) + 1
        assert f"track {where} of {len(kinds)} video tracks is read (64 x 64)" in note
        assert "--track N chooses" in note
        assert grey(path, kinds.index(thumbs) + 1) == (2, 50)


def test_of_about_as_many_pictures_the_larger_ones_are_read_then_the_first(tmp_path):
    small, large = (64, 41, 20, 50), (128, 40, 20, 150)
    assert grey(write(tmp_path / "a.mkv", small, large)) == (40, 150)
    assert grey(write(tmp_path / "b.mkv", large, small)) == (40, 150)
    assert grey(write(tmp_path / "c.mkv", (64, 40, 20, 50), (64, 40, 20, 150))) == (40, 50)


def test_the_length_of_another_track_is_not_missed_in_the_one_that_is_read(tmp_path):
    reader = VideoReader(write(tmp_path / "a.mkv", (128, 30, 1, 50), (64, 40, 20, 150)))
    assert len(list(reader)) == 40 and reader.truncated is None


def test_behind_the_bound_of_counting_what_is_stated_counts(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", (64, 20, 40, 50), (64, 60, 20, 150))  # the first track is ahead at the start
    monkeypatch.setattr(tracks, "_COUNTED_PACKETS", 20)
    assert grey(path) == (60, 150)


def test_a_live_stream_is_chosen_by_rate_and_size(tmp_path):
    path = write(tmp_path / "a.ts", (64, 40, 20, 50), (128, 40, 20, 150))
    with av.open(str(path)) as container:
        chosen = choose_track(container, "rtsp://camera")
    assert chosen.note.startswith("track 2 of 2")


def test_a_track_that_is_not_there_is_one_sentence_that_says_how_many_are(tmp_path):
    path = write(tmp_path / "a.mkv", (64, 4, 20, 50), (64, 4, 20, 150))
    with pytest.raises(ClapError, match="has 2 video tracks, so there is no track 3; give --track 1 to 2"):
        VideoReader(path, track=3)
    one = write(tmp_path / "b.mkv", (64, 4, 20, 50))
    assert VideoReader(one).notes == ()
    with pytest.raises(ClapError, match="has 1 video track, so there is no track 2"):
        VideoReader(one, track=2)
