"""A file with several video tracks, through scoring, pages, annotated videos, stores and monitoring."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from moving_films import EVENT, FRAMES, make_model, write_video

from clap_vad.cli.features_extract import extract as extract_command
from clap_vad.cli.score import score as score_command
from clap_vad.features.store.reader import FeatureStore
from clap_vad.reporting.thumbnails import thumbnails
from clap_vad.video.reader import VideoReader
from clap_vad.workflows.score import score
from clap_vad.workflows.watch import watch


@pytest.fixture
def run(tmp_path) -> Path:
    make_model().save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def two(tmp_path) -> Path:
    """White previews, five of them, before the film."""
    film = write_video(tmp_path / "film.mp4")
    path = tmp_path / "two.mkv"
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        preview = out.add_stream("libx264", rate=1)
        preview.width, preview.height, preview.pix_fmt = 320, 240, "yuv420p"
        copied = out.add_stream_from_template(source.streams.video[0])
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320), 250, np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1)
            out.mux(preview.encode(frame.reformat(format="yuv420p")))
        out.mux(preview.encode())
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copied
                out.mux(packet)
    return path


def test_the_film_is_scored_with_a_note_and_a_number_chooses(run, two, tmp_path):
    command = [str(run), str(two), "--threshold=0.3", "--json"]
    done = CliRunner().invoke(score_command, command)
    (video,) = json.loads(done.stdout.splitlines()[-1])["videos"]
    assert done.exit_code == 0 and video["frames"] == FRAMES and video["truncated"] is None
    assert [(event["start_frame"], event["stop_frame"]) for event in video["events"]] == [EVENT]
    assert video["notes"][0].startswith("track 2 of 2 video tracks is read")
    assert "track 2 of 2 video tracks" in CliRunner().invoke(score_command, command[:-1]).stdout
    done = CliRunner().invoke(score_command, [*command, "--track=1"])
    (video,) = json.loads(done.stdout.splitlines()[-1])["videos"]
    assert video["frames"] == 5 and video["notes"][0].startswith("track 1 of 2 video tracks is read")


@pytest.mark.parametrize(("track", "count", "bright"), [(None, FRAMES, False), (1, 5, True)])
def test_pictures_of_the_page_and_the_annotated_video_are_of_the_same_track(run, two, tmp_path, track, count, bright):
    out = tmp_path / "annotated"
    score(run, [two], threshold=0.3, here={"track": track}, annotate=out, report=tmp_path / "r.html")
    assert len(list(VideoReader(out / "two.mp4"))) == count
    (picture,) = thumbnails(two, [0], track=track).values()
    assert bool(cv2.imdecode(np.frombuffer(picture, np.uint8), 0).mean() > 200) == bright


def test_a_store_names_the_chosen_track(two, tmp_path):
    for track, frames in ((None, FRAMES), (1, 5)):
        store = tmp_path / f"s{track}"
        options = [] if track is None else [f"--track={track}"]
        command = [str(two), "--extractor=motion", f"--out={store}", "--json", *options]
        done = CliRunner().invoke(extract_command, command)
        assert FeatureStore(store).index[0].frames == frames
        (notes,) = json.loads(done.stdout.splitlines()[-1])["notes"].values()
        assert notes[0].startswith(f"track {track or 2} of 2")
    refused = CliRunner().invoke(extract_command, [*command[:-1], "--track=7", f"--out={tmp_path / 'x'}"])
    assert refused.exit_code == 2 and "has 2 video tracks, so there is no track 7" in refused.output


def test_a_monitoring_session_reports_its_track(run, two, tmp_path):
    for track, frames in ((None, FRAMES), (1, 5)):
        lines: list[str] = []
        result = watch(
            run, str(two), out=tmp_path / f"w{track}", threshold=0.3, here={"track": track}, tell=lines.append
        )
        assert result["frames"] == frames
        assert [sentence for sentence in lines if sentence.startswith(f"track {track or 2} of 2 video tracks is read")]
