from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_curve

from clap_vad.cli.report import report as report_command
from clap_vad.datasets.dataset import VIDEOS_HEADER
from clap_vad.errors import ClapError
from clap_vad.reporting.curves import chosen_ranks, roc_plots, score_plots
from clap_vad.reporting.page import Plots, Stats, Table
from clap_vad.reporting.run import run_sections, run_subtitle
from clap_vad.reporting.run_files import read_leaving, read_run
from clap_vad.workflows.report import report

EVIL = "<script>alert(1)</script>"
SEGMENTS = 6


def make_dataset(folder: Path, videos: list[str]) -> Path:
    """Test videos of six segments, half of them with two abnormal segments; no training videos are needed here."""
    (folder / "store").mkdir(parents=True)
    np.save(folder / "store" / "features.npy", np.zeros((SEGMENTS * len(videos), 1, 2), np.float32))
    info = {"schema_version": 1, "extractor": "motion", "segment_frames": 16}
    (folder / "store" / "store.json").write_text(json.dumps(info))
    with (folder / "store" / "index.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["video", "start", "stop", "frames", "fps"])
        for number, video in enumerate(videos):
            writer.writerow([video, SEGMENTS * number, SEGMENTS * (number + 1), 16 * SEGMENTS - 3, 25.0])
    with (folder / "videos.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(VIDEOS_HEADER)
        for number, video in enumerate(videos):
            writer.writerow([video, "test", f"camera-{number % 2}", "", number % 2])
    truth = {}
    for number, video in enumerate(videos):
        truth[video] = np.zeros(16 * SEGMENTS - 3, np.uint8)
        truth[video][32:64] = number % 2
    np.savez(folder / "frame_labels.npz", **truth)
    return folder


def make_run(folder: Path, dataset: Path | None, videos: list[str], **metrics) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    config = {"method": "clap", "setting": "collaborative", "supervision": "us", "strategy": "fedavg", "seed": 3}
    config |= {"protocol": "scene", "rounds": 4, "dataset": str(dataset), "options": {"momentum": 0.9}}
    (folder / "config.json").write_text(json.dumps(config))
    found = {
        "frame_auc": 0.78018,
        "frame_ap": 0.5,
        "videos": len(videos),
        "frames": 930,
        "abnormal_frames": 160,
        "bytes_up": 4_260_000,
        "bytes_down": 2_000_000,
        "seconds": 75.0,
        "model_sha256": "ab" * 32,
        "baselines": {"magnitude": {"frame_auc": 0.7, "frame_ap": None}},
        "per_scene": {"camera-0": {"videos": 5, "frames": 465, "frame_auc": None, "frame_ap": None}},
    }
    (folder / "metrics.json").write_text(json.dumps({**found, **metrics}))
    np.savez(folder / "scores.npz", **{video: rng.random(SEGMENTS, np.float32) for video in videos})
    lines = [
        {"round": r, "loss": 1 / r, "participants": 3, "bytes_up": 1000 * r, "bytes_down": 5} for r in (1, 2, 3, 4)
    ]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def titles(sections) -> list[str]:
    return [section.title for section in sections]


def table(sections, title: str) -> Table:
    (found,) = [section for section in sections if isinstance(section, Table) and section.title == title]
    return found


@pytest.fixture
def whole_run(tmp_path):
    videos = [f"clip {number}" for number in range(10)]
    return make_run(tmp_path / "a run", make_dataset(tmp_path / "data", videos), videos)


def test_a_whole_run_shows_every_section(whole_run):
    ledger = whole_run / "sites" / "camera-01" / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    line = {"schema": "update", "bytes": 4_000_000, "protection": "none"}
    ledger.write_text(f"{json.dumps(line)}\n{json.dumps({**line, 'schema': 'normal_gaussian', 'bytes': 24})}\n")
    sections = run_sections(read_run(whole_run))
    assert titles(sections) == [
        "",
        "Result",
        "ROC curve",
        "Scene by scene",
        "Scores over time",
        "Round by round",
        "What left the sites",
        "Provenance",
    ]
    headline = sections[0]
    assert isinstance(headline, Stats)
    assert [(item.label, item.value) for item in headline.items] == [
        ("Frame AUC", "78.02 %"),
        ("Frame AP", "50.00 %"),
        ("Sites", "3"),
        ("Rounds", "4"),
        ("Sent by all sites", "4.3 MB"),
        ("Time", "1 min 15 s"),
    ]
    assert table(sections, "Result").rows == (("clap (this run)", "78.02", "50.00"), ("magnitude", "70.00", "–"))
    assert table(sections, "Scene by scene").rows == (("camera-0", "5", "465", "–", "–"),)
    left = table(sections, "What left the sites").rows
    assert left == (("update", "1", "4.0 MB", "none"), ("normal_gaussian", "1", "24 B", "none"))
    assert ("options.momentum", "0.9") in table(sections, "Provenance").rows
    assert ("dataset", "data") in table(sections, "Provenance").rows
    assert "3 sites trained one model together" in run_subtitle(read_run(whole_run))


def test_the_page_is_written_into_the_run_and_names_no_path_of_this_machine(whole_run):
    page = report(whole_run)
    assert page == whole_run / "report.html"
    html = page.read_text(encoding="utf-8")
    assert html == report(whole_run).read_text(encoding="utf-8")
    assert str(whole_run.parent) not in html
    assert "Run a run" in html and "clip 3" in html


def test_the_plots_of_a_run_are_saved_under_names_of_what_they_show(whole_run, tmp_path):
    report(whole_run, plots=tmp_path / "plots")
    names = {file.stem for file in (tmp_path / "plots").glob("*.png")}
    assert names >= {"roc-curve", "scores-clip 4", "rounds-loss", "rounds-bytes"}
    assert names == {file.stem for file in (tmp_path / "plots").glob("*.svg")}
    with pytest.raises(ClapError, match="is a file; name a folder"):
        report(whole_run, plots=whole_run / "config.json")


def test_the_roc_curve_is_that_of_the_frames(whole_run):
    (section,) = roc_plots(read_run(whole_run))
    labels, scores = [], []
    with np.load(whole_run / "scores.npz") as found, np.load(whole_run.parent / "data" / "frame_labels.npz") as truth:
        for video in found.files:
            labels.append(truth[video])
            scores.append(np.repeat(found[video], 16)[: len(truth[video])])
    fpr, tpr, _ = roc_curve(np.concatenate(labels), np.concatenate(scores))
    area = 100 * np.trapezoid(tpr, fpr)
    assert f"AUC {area:.2f} %" in section.plots[0].description


def test_curves_are_chosen_by_rank_of_the_highest_score(whole_run):
    (section,) = score_plots(read_run(whole_run))
    with np.load(whole_run / "scores.npz") as found:
        order = sorted(found.files, key=lambda video: -found[video].max())
    assert len(section.plots) == 8
    assert section.plots[0].caption.startswith(order[0]) and "rank 1 of 10" in section.plots[0].caption
    assert section.plots[-1].caption.startswith(order[-1]) and "rank 10 of 10" in section.plots[-1].caption
    assert "the choice does not use the ground truth" in section.note


@pytest.mark.parametrize("total", [1, 2, 7, 8, 9, 15, 290, 800])
def test_ranks_are_distinct_and_reach_both_ends(total):
    ranks = chosen_ranks(total, 8)
    assert len(set(ranks)) == len(ranks) == min(total, 8)
    assert ranks[0] == 0 and ranks[-1] == total - 1


def test_a_run_without_truth_dataset_or_rounds_still_gives_a_page(tmp_path):
    run = make_run(tmp_path / "run", None, ["a"], frame_auc=None, undefined="the ground truth has normal frames only")
    (run / "rounds.jsonl").unlink()
    html = report(run).read_text(encoding="utf-8")
    assert "There is no frame AUC: the ground truth has normal frames only." in html
    (run / "metrics.json").unlink()
    (run / "scores.npz").unlink()
    assert "No frame-level result" in titles(run_sections(read_run(run)))


def test_names_that_look_like_code_stay_text(tmp_path):
    videos = [EVIL.replace("/", ""), "b"]
    dataset = make_dataset(tmp_path / "data", videos)
    run = make_run(tmp_path / "run", dataset, videos, baselines={EVIL: {"frame_auc": 0.5, "frame_ap": 0.5}})
    html = report(run).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_local_models_are_shown_participant_by_participant(tmp_path):
    videos = ["a", "b", "c"]
    dataset = make_dataset(tmp_path / "data", videos)
    each = {name: {"frame_auc": 0.5, "frame_ap": 0.5} for name in ("east", "north", "south", "west")}
    run = make_run(tmp_path / "run", dataset, videos, setting="local", per_participant=each, frame_auc_std=0.012)
    (run / "scores.npz").unlink()
    rng = np.random.default_rng(1)
    for name in each:
        (run / "participants" / name).mkdir(parents=True)
        np.savez(run / "participants" / name / "scores.npz", **{v: rng.random(SEGMENTS, np.float32) for v in videos})
    sections = run_sections(read_run(run))
    assert len(table(sections, "Participant by participant").rows) == 4
    assert table(sections, "Result").rows[0][1] == "78.02 ± 1.20"
    (scores,) = [s for s in sections if isinstance(s, Plots) and s.title == "Scores over time"]
    assert "the model of east" in scores.note
    (roc,) = [s for s in sections if isinstance(s, Plots) and s.title == "ROC curve"]
    assert roc.plots[0].description.count("AUC") == 3


def test_a_torn_ledger_line_is_counted_not_fatal(tmp_path):
    ledger = tmp_path / "sites" / "a" / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_text('{"schema": "update", "bytes": 10, "protection": "none"}\n{"schema": "upd\n')
    (left,), damaged = read_leaving(tmp_path)
    assert (left.schema, left.messages, left.bytes, damaged) == ("update", 1, 10, 1)


def test_what_is_not_a_run_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ClapError, match="no run there"):
        report(tmp_path / "nothing")
    with pytest.raises(ClapError, match=r"config.json is missing"):
        report(tmp_path)
    run = make_run(tmp_path / "run", None, ["a"])
    with pytest.raises(ClapError, match="not a dataset"):
        report(run, tmp_path / "nothing")
    (run / "scores.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ClapError, match=r"scores.npz: not a readable"):
        report(run)
    (run / "metrics.json").write_text("[1]")
    with pytest.raises(ClapError, match="not a JSON object"):
        report(run)


def test_the_command_says_where_the_page_is(whole_run):
    done = CliRunner().invoke(report_command, [str(whole_run), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["report"] == str(whole_run / "report.html")
    done = CliRunner().invoke(report_command, [str(whole_run / "nothing")])
    assert done.exit_code == 2 and "no run there" in done.stderr
