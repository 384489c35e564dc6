from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from moving_films import EVENT, FPS, FRAMES, make_model, write_video
from random_models import mixture_model

from clap_vad.cli.export import export as export_command
from clap_vad.cli.score import score as score_command
from clap_vad.core.events.policy import EventPolicy
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import Ending, Extractor
from clap_vad.workflows.score import score
from clap_vad.workflows.scoring import choose_threshold, score_video, scoring_parts


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cam 1 – Tür")
    write_video(folder / "moving.mp4")
    write_video(folder / "still.mp4", moves=(0, 0))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    make_model().save(folder)
    return folder


def test_the_motion_is_the_event_and_the_still_video_has_none(run, films):
    result = score(run, [films / "moving.mp4", films / "still.mp4"], threshold=0.3)
    moving, still = result["videos"]
    assert (moving["video"], moving["frames"], moving["fps"], moving["segments"]) == ("moving", FRAMES, FPS, 8)
    (event,) = moving["events"]
    assert (event["start_frame"], event["stop_frame"]) == EVENT
    assert (event["start_seconds"], event["stop_seconds"]) == (2.4, 4.8)
    assert EVENT[0] <= event["peak_frame"] < EVENT[1]
    assert event["peak_score"] == moving["max_score"] > still["max_score"]
    assert still["events"] == [] and result["skipped"] == []
    json.dumps(result, allow_nan=False)


def test_a_link_that_leads_out_of_the_folder_is_named_and_not_scored(run, films, tmp_path):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "own.mp4", moves=(0, 0))
    (tmp_path / "in" / "moving.mp4").symlink_to(films / "moving.mp4")
    result = score(run, [tmp_path / "in"], threshold=0.3)
    assert [video["video"] for video in result["videos"]] == ["own"]
    (reported,) = result["skipped"]
    assert reported["path"] == str(tmp_path / "in" / "moving.mp4") and "a link out of" in reported["reason"]
    named = score(run, [tmp_path / "in" / "moving.mp4"], threshold=0.3)
    assert [video["video"] for video in named["videos"]] == ["moving"] and named["skipped"] == []


def test_an_event_has_its_region_in_the_picture(run, tmp_path):
    film = write_video(tmp_path / "corner.mp4", quarter=True)
    (event,) = score(run, [film], threshold=0.2, report=tmp_path / "report.html")["videos"][0]["events"]
    assert event["region"] == (0.5, 0.5, 1.0, 1.0)


def test_a_scene_is_scored_by_its_personalised_model(run, films):
    common = make_model()
    PersonalisedModels(
        common, {"yard": replace(common, weights={**common.weights, "layer3.bias": np.float32([2.0])})}
    ).save(run)
    plain, yard = (score(run, [films / "still.mp4"], scene=scene)["videos"][0]["max_score"] for scene in (None, "yard"))
    assert yard > plain + 0.5
    with pytest.raises(ClapError, match="no model personalised for scene 'gate'; known: yard"):
        score(run, [films / "still.mp4"], scene="gate")


@pytest.mark.parametrize("kind", ["network", "mixture"])
def test_an_exported_graph_finds_the_same_events_in_the_same_places(kind, tmp_path):
    model = make_model()
    if kind == "mixture":
        model = mixture_model(dim=model.dim, followed=False).described(model.info)
    model.save(tmp_path / "run")
    film, out = write_video(tmp_path / "corner.mp4", quarter=True), tmp_path / "onnx"
    reported = CliRunner().invoke(export_command, [str(tmp_path / "run"), "--out", str(out), "--json"])
    exported = json.loads(reported.stdout.splitlines()[-1])
    assert sorted(exported["files"]) == ["detector.onnx", "model.onnx"] and exported["threshold"] == 0.4
    assert exported["remembered"] == (300 if kind == "mixture" else 0)
    threshold = 0.2 if kind == "network" else float(np.median(scores_of(tmp_path / "run", film)))
    own, other = (score(tmp_path / "run", [film], onnx=at, threshold=threshold)["videos"][0] for at in (None, out))
    assert own["events"]
    for one, two in zip(own.pop("events"), other.pop("events"), strict=True):
        assert abs(one.pop("peak_score") - two.pop("peak_score")) < 1e-5
        assert one == two
    assert abs(own.pop("max_score") - other.pop("max_score")) < 1e-5
    assert own == other
    (out / "model.onnx").write_bytes(b"")
    told = CliRunner().invoke(score_command, [str(tmp_path / "run"), str(film), "--onnx", str(out)])
    assert told.exit_code == 2 and "its SHA-256 differs from export.json" in told.stderr


def scores_of(run: Path, film: Path) -> np.ndarray:
    model, extractor = scoring_parts(run)
    return model.score(np.concatenate([block.features for block in extractor.extract(film)]), None, FPS)


def test_scores_are_those_of_the_whole_video_at_once(run, films, tmp_path):
    score(run, [films / "moving.mp4"], scores=tmp_path / "scores.npz")
    model, extractor = scoring_parts(run)
    features = np.concatenate([block.features for block in extractor.extract(films / "moving.mp4")])
    with np.load(tmp_path / "scores.npz") as written:
        assert written.files == ["moving"] and written["moving"].dtype == np.float32
        np.testing.assert_allclose(written["moving"], model.score(features), rtol=1e-6)


def test_events_are_at_the_times_of_the_file_and_at_the_hour_it_was_taken(run, tmp_path, render, moving):
    stamps = np.cumsum([0, *np.random.default_rng(0).integers(1, 9, 69)])  # frames at uneven times
    film = render(tmp_path / "uneven.mkv", moving(70, 96, 96), times=stamps.tolist())
    (video,) = score(run, [film], threshold=0.0)["videos"]
    (event,) = video["events"]
    assert event["stop_seconds"] == pytest.approx(stamps[69] / 25 + 1 / video["fps"], abs=0.01)
    assert event["peak_seconds"] == pytest.approx(np.interp(event["peak_frame"], np.arange(70), stamps) / 25, abs=0.5)
    assert "not evenly spaced" in video["notes"][-1]
    assert video["started"] is None and "start_time" not in event
    render(tmp_path / "dated.mkv", moving(20, 96, 96), metadata={"creation_time": "2026-05-01T12:00:00Z"})
    (dated,) = score(run, [tmp_path / "dated.mkv"], threshold=0.0)["videos"]
    assert dated["started"] == dated["events"][0]["start_time"] == "2026-05-01T12:00:00.000+00:00"


def test_a_model_serves_another_frame_rate(run, films):
    (video,) = score(run, [films / "moving.mp4"], here={"rate": FPS / 2})["videos"]
    assert video["fps"] == FPS / 2
    assert abs(video["frames"] - FRAMES // 2) <= 1
    with pytest.raises(ClapError, match="which has no such setting"):
        score(run, [films / "moving.mp4"], here={"device": "cpu"})


def test_a_bad_file_is_skipped_by_name_and_the_rest_kept(run, films, tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").write_bytes(b"")
    videos = [tmp_path / "noise.mp4", films / "moving.mp4", tmp_path / "empty.mp4", tmp_path / "absent.mp4"]
    result = score(run, videos, report=tmp_path / "report.html")
    assert [video["video"] for video in result["videos"]] == ["moving"]
    assert [Path(entry["path"]).name for entry in result["skipped"]] == ["noise.mp4", "empty.mp4", "absent.mp4"]
    assert all(entry["path"] in entry["reason"] for entry in result["skipped"])
    assert "Not scored" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(ClapError, match=r"absent.mp4: no such file"):
        score(run, [tmp_path / "absent.mp4"])


def test_a_file_whose_name_is_not_text_does_not_spoil_the_report(run, films, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))
    odd.write_bytes((films / "still.mp4").read_bytes())
    result = score(run, [odd, films / "moving.mp4"], report=tmp_path / "report.html", scores=tmp_path / "scores.npz")
    assert [video["video"] for video in result["videos"]] == ["moving"]
    assert "is not allowed as a video" in result["skipped"][0]["reason"]
    assert "is not allowed as a video" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_video_is_never_overwritten(run, films):
    before = (films / "still.mp4").read_bytes()
    for option in ("report", "scores"):
        with pytest.raises(ClapError, match="would be overwritten"):
            score(run, [films / "still.mp4"], **{option: films / "still.mp4"})
    assert (films / "still.mp4").read_bytes() == before


def test_a_video_that_breaks_off_is_scored_as_far_as_it_goes(run, films, tmp_path):
    # Matroska needs no table at the end, so a cut file still begins
    with av.open(str(films / "moving.mp4")) as source, av.open(str(tmp_path / "cut.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (video,) = score(run, [tmp_path / "cut.mkv"], threshold=0.3)["videos"]
    assert 0 < video["frames"] < FRAMES and video["truncated"]
    done = CliRunner().invoke(
        score_command, [str(run), str(tmp_path / "cut.mkv"), "--report", str(tmp_path / "r.html")]
    )
    assert done.exit_code == 2 and "could be read in part only" in done.stderr
    assert "read in part" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_folder_is_searched_and_an_empty_one_refused(run, films, tmp_path):
    result = score(run, [films, films / "still.mp4"])
    assert [video["video"] for video in result["videos"]] == ["moving", "still"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ClapError, match="contains no input of this extractor"):
        score(run, [tmp_path / "nothing"])


def test_report_shows_pictures_clear_blurred_or_not_at_all(run, films, tmp_path):
    def page(**options) -> str:
        score(run, [films / "moving.mp4"], threshold=0.3, report=tmp_path / "r.html", **options)
        return (tmp_path / "r.html").read_text(encoding="utf-8")

    clear, blurred, without = page(), page(blur=True), page(images=False)
    assert clear.count("data:image/jpeg") == blurred.count("data:image/jpeg") == 1
    assert "share it only where you may share the videos" in clear and "nobody can be recognised" in blurred
    assert "data:image" not in without and "00:02.4" in without
    assert clear == page()


def test_annotated_videos_and_plots_are_written_by_name(run, films, tmp_path):
    (tmp_path / "yard").mkdir()
    other = write_video(tmp_path / "yard" / "other.mp4")
    places = {"annotate": tmp_path / "again", "plots": tmp_path / "plots", "report": tmp_path / "r.html"}
    result = score(run, [films / "moving.mp4", other], threshold=0.3, **places)
    assert sorted(file.name for file in places["annotate"].iterdir()) == ["moving.mp4", "other.mp4"]
    assert result["annotated"][str(other)] == str(places["annotate"] / "other.mp4") and not result["not_annotated"]
    with av.open(str(places["annotate"] / "moving.mp4")) as container:
        bright = [frame.to_ndarray(format="rgb24")[1].mean() > 60 for frame in container.decode(video=0)]
    assert bright == [EVENT[0] <= frame < EVENT[1] for frame in range(FRAMES)]  # the frame of the event
    assert {file.name for file in places["plots"].glob("*.png")} == {
        "overview.png",
        *(f"scores-{name}.png" for name in ("moving", "other")),
    }
    html = places["report"].read_text(encoding="utf-8")
    assert "All events, highest first" in html and ">yard</th>" in html and f">{films.name}</th>" in html


def test_what_cannot_be_annotated_is_refused(run, films, tmp_path, monkeypatch):
    still = films / "still.mp4"
    for options, text in (
        ({"annotate": still}, "is a file; name a folder for the annotated"),
        ({"plots": still}, "is a file; name a folder for the plots"),
        ({"annotate": films}, "would be overwritten"),
        ({"annotate": tmp_path / "x", "annotate_side": 10}, "at least 64"),
    ):
        with pytest.raises(ClapError, match=text):
            score(run, [still], **options)
    for option in ("annotate", "plots"):
        with pytest.raises(ClapError, match=f"same name as .* --{option} needs different names"):
            score(run, [still, tmp_path / "still.mp4"], **{option: tmp_path / "x"})
    monkeypatch.setattr("clap_vad.reporting.annotate.has_pictures", lambda path: False)  # as of tracks
    done = CliRunner().invoke(score_command, [str(run), str(still), "--annotate", str(tmp_path / "x")])
    assert done.exit_code == 2 and "1 of 1 videos could not be annotated" in done.stderr
    assert not (tmp_path / "x").exists()


def test_an_interrupted_annotation_leaves_no_file_and_keeps_the_report(run, films, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("clap_vad.reporting.overlay.Overlay.draw", stop)
    with pytest.raises(KeyboardInterrupt):
        score(run, [films / "moving.mp4"], report=tmp_path / "r.html", annotate=tmp_path / "x")
    assert "moving" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not (tmp_path / "x").exists() or list((tmp_path / "x").iterdir()) == []


def test_threshold_comes_from_the_model_a_quantile_or_a_number():
    model, run = make_model(), Path("run")
    assert choose_threshold(model, run, None, None) == (0.4, 0.99)
    assert choose_threshold(model, run, None, 0.9) == (0.3, 0.9)
    assert choose_threshold(model, run, None, 0.7) == (pytest.approx(0.25), 0.7)
    assert choose_threshold(model, run, 0.77, None) == (0.77, None)
    with pytest.raises(ClapError, match=r"calibrated from 0.5 to 0.99"):
        choose_threshold(model, run, None, 0.9999)
    with pytest.raises(ClapError, match="give one of them"):
        choose_threshold(model, run, 0.5, 0.9)
    with pytest.raises(ClapError, match="no calibration"):
        choose_threshold(make_model(calibration={"threshold": None, "quantiles": {}}), run, None, None)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"extractor": {"name": "clap", "settings": {}}}, "so it cannot score video files"),
        ({"extractor": {"name": "tracks", "settings": {}}}, "takes 24 floats per region"),
        (
            {"extractor": {"name": "motion", "settings": {"rows": "many"}}},
            "extractor 'motion': --rows is 'many'; a whole number is needed",
        ),
        ({"extractor": None}, "'extractor' does not name one"),
    ],
)
def test_a_model_that_cannot_score_files_is_refused(info, text, films, tmp_path):
    make_model(**info).save(tmp_path)
    with pytest.raises(ClapError, match=text):
        score(tmp_path, [films / "moving.mp4"])


def test_participants_models_are_named_where_there_is_no_common_one(films, tmp_path):
    for name in ("camera-2", "camera-10"):
        (tmp_path / "participants" / name).mkdir(parents=True)
        make_model().save(tmp_path / "participants" / name)
    with pytest.raises(ClapError, match="known: camera-2, camera-10"):
        score(tmp_path, [films / "moving.mp4"])
    assert score(tmp_path / "participants" / "camera-10", [films / "moving.mp4"])["videos"]
    with pytest.raises(ClapError, match="no model found"):
        score(tmp_path / "nothing", [films / "moving.mp4"])


def test_bad_options_are_refused_before_anything_is_decoded(run, films, tmp_path):
    for options, text in (
        ({"max_gap": -1.0}, "max_gap"),
        ({"min_length": float("nan")}, "min_length"),
        ({"threshold": float("inf")}, "threshold"),
        ({"report": tmp_path}, "is a folder"),
    ):
        with pytest.raises(ClapError, match=text):
            score(run, [films / "absent.mp4"], **options)
    (tmp_path / "other").mkdir()
    with pytest.raises(ClapError, match="same name as"):
        score(run, [films / "a.mp4", tmp_path / "other" / "a.mp4"], scores=tmp_path / "s.npz")


class Endless(Extractor):
    """An hour-long video's worth of features in blocks, made up on the fly."""

    crops, dim = 4, 24

    def __init__(self, blocks: int) -> None:
        self.count = blocks

    def accepts(self, path):
        return True

    def blocks(self, path):
        for _ in range(self.count):
            yield np.zeros((16, self.crops, self.dim), np.float32), None
        return Ending(frames=256 * self.count, fps=25.0)


def test_memory_does_not_grow_with_the_video():
    model = make_model()

    def peak(blocks: int) -> int:
        tracemalloc.start()
        scored = score_video(model, Endless(blocks), Path("hour.mp4"), EventPolicy(threshold=0.5))
        assert len(scored.scores) == 16 * blocks
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(2)
    # 200 blocks of features are 1.2 MB; their scores, held as blocks and joined, are under 0.1 MB
    assert peak(200) - peak(5) < 400_000


def test_the_command_prints_events_and_ends_with_json(run, films, tmp_path):
    arguments = [str(run), str(films / "moving.mp4"), "--threshold", "0.3"]
    done = CliRunner().invoke(score_command, arguments)
    assert done.exit_code == 0
    assert "00:02.4" in done.output and "00:04.8" in done.output and "120 frames at 20 fps" in done.output
    done = CliRunner().invoke(score_command, [*arguments, str(tmp_path / "absent.mp4"), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout.splitlines()[-1])["videos"][0]["video"] == "moving"
    assert "1 of 2 videos could not be scored" in done.stderr
    done = CliRunner().invoke(score_command, [str(run), str(tmp_path / "absent.mp4")])
    assert done.exit_code == 2 and "Traceback" not in done.output
