from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.synthetic.rendering import TRUTH, RenderSettings, render_clips
from clap_vad.workflows.demo import demo
from clap_vad.workflows.demo_videos import own_videos

CAMERAS = 4  # videos of each of the two sites that bring their own
TINY = RenderSettings(seconds=1.2, training=2, testing=1)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo") / "demo out"
    return out, demo(out, rounds=2, settings=TINY)


def files_of(folder: Path) -> dict[str, bytes]:
    kinds = {".npy", ".csv", ".npz", ".mp4", ".safetensors"}
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.suffix in kinds}


def test_the_whole_chain_on_rendered_videos(rendered: tuple[Path, dict[str, Any]]) -> None:
    out, result = rendered
    assert list(result["sites"]) == ["corridor", "street", "plaza", "dock"]
    assert result["sites"]["plaza"]["training_videos_with_anomalies"] == 0
    assert set(result["results"]) == {"collaborative", "local", "centralized"}
    assert result["results"]["collaborative"]["participants"] == 4 and result["skipped"] == {}
    assert 0 <= result["frame_auc"] <= 1 and result["frame_auc"] == result["results"]["collaborative"]["frame_auc"]
    assert result["bytes_up"] > 0 and result["results"]["centralized"]["bytes_up"] != result["bytes_up"]
    json.dumps(result, allow_nan=False)
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("corridor", "dock", "collaborative", "local: each site alone", "centralized", "baseline knn"):
        assert words in page
    assert "http://" not in page and "https://" not in page
    for setting in result["results"]:
        assert (out / "runs" / setting / "report.html").exists()


def test_a_finished_demo_is_reported_again_without_work(rendered: tuple[Path, dict[str, Any]]) -> None:
    out, result = rendered
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in {".mp4", ".npy", ".safetensors"}}
    again = demo(out, rounds=2, settings=TINY)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_other_choices_in_the_same_folder_are_refused(rendered: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = rendered
    with pytest.raises(ClapError, match="holds a demo with another seed, rounds or videos"):
        demo(out, rounds=3, settings=TINY)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ClapError, match="not empty and not the folder of a demo"):
        demo(tmp_path, rounds=2, settings=TINY)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "videos"
    # Enough segments for the noise of a run not to drown every score: with fewer, events came and went with the
    # processor type, which decides the last bits.
    render_clips(folder, RenderSettings(seconds=4, training=CAMERAS, testing=1), workers=1)
    return folder


@pytest.fixture(scope="module")
def own(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Two sites that use the same file names, one of them with a broken file; the demo's folder and its result."""
    own = tmp_path_factory.mktemp("own") / "my videos"
    for site, source in (("Tor 1", "corridor"), ("Büro", "plaza")):
        (own / site).mkdir(parents=True)
        for number in range(1, CAMERAS + 1):
            shutil.copy(clips / source / f"{source}-train-{number}.mp4", own / site / f"camera {number}.mp4")
    (own / "Büro" / "broken.mp4").write_bytes(b"no video" * 100)
    out = own.with_name("out")
    return own, out, demo(out, videos=own, rounds=2)


@pytest.mark.slow
def test_own_videos_without_truth(own: tuple[Path, Path, dict[str, Any]]) -> None:
    _, out, result = own
    assert result["frame_auc"] is None and list(result["sites"]) == ["Büro", "Tor 1"]
    assert list(result["skipped"]) == ["broken"] and "broken.mp4" in result["skipped"]["broken"]
    assert result["events"] and {e["video"] for e in result["events"]} <= {
        f"{site}-camera {number}" for site in ("Tor 1", "Büro") for number in range(1, CAMERAS + 1)
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert result["events"][0]["video"] in page and "broken" in page and "data:image/jpeg" in page


@pytest.mark.slow
def test_killed_while_it_trains_it_ends_with_the_same_files(
    own: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    videos, reference, result = own
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "clap_vad.cli",
        "demo",
        "--videos",
        str(videos),
        "--rounds",
        "2",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, start_new_session=True)
    until(lambda: list(out.glob("runs/*/config.json")) or process.poll() is not None, "the training to begin")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(out.glob("runs/*/config.json")) and not (out / "report.html").exists()
    again = demo(out, videos=videos, rounds=2)
    assert again["events"] == result["events"] and again["skipped"].keys() == result["skipped"].keys()
    assert files_of(out) == files_of(reference)


def test_other_videos_in_the_same_folder_are_refused(
    own: tuple[Path, Path, dict[str, Any]], clips: Path, tmp_path: Path
) -> None:
    videos, out, _ = own
    changed = tmp_path / "changed"
    shutil.copytree(videos, changed)
    with pytest.raises(ClapError, match=r"the videos in .* have changed since this demo began"):
        demo(out, videos=changed, rounds=2)
    with pytest.raises(ClapError, match="contains the folder given by --videos"):
        demo(out, videos=out / "videos", rounds=2)


def test_own_videos_are_not_sought_behind_links_that_lead_out(clips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "gate").mkdir(parents=True)
    shutil.copy(clips / "plaza" / "plaza-train-1.mp4", videos / "gate" / "own.mp4")
    (videos / "gate" / "secret.mp4").symlink_to(clips / "plaza" / "plaza-train-2.mp4")
    (videos / "yard").symlink_to(clips / "corridor", target_is_directory=True)
    passed: dict[Path, str] = {}
    found = own_videos(videos, tmp_path / "links", make_extractor("motion", {}), tmp_path / "out", passed.__setitem__)
    assert [(video.site, video.name) for video in found] == [("gate", "own")]
    assert passed.keys() == {videos / "yard", videos / "gate" / "secret.mp4"}
    assert all("a link out of" in sentence for sentence in passed.values())


def test_own_videos_with_truth_and_one_site_only(clips: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "gate" / "test").mkdir(parents=True)
    shutil.copy(clips / "dock" / "dock-train-1.mp4", own / "gate")
    shutil.copy(clips / "dock" / "dock-train-2.mp4", own / "gate")
    shutil.copy(clips / "dock" / "dock-test-1.mp4", own / "gate" / "test" / "evening.mp4")
    with np.load(clips / TRUTH) as labels:
        truth = np.zeros_like(labels["dock-test-1"])
    truth[len(truth) // 2 :] = 1
    np.savez(own / TRUTH, evening=truth)
    result = demo(tmp_path / "out", videos=own, rounds=2, images=False)
    assert set(result["results"]) == {"centralized"} and 0 <= result["frame_auc"] <= 1
    assert result["sites"]["gate"]["test_videos"] == 1
    assert "data:image/jpeg" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    np.savez(own / TRUTH, morning=truth)
    with pytest.raises(ClapError, match="'morning', but no site has this video"):
        demo(tmp_path / "other", videos=own, rounds=2)


def test_a_wrong_layout_is_reported_with_the_folder(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ClapError, match="nowhere: no such folder; one sub-folder per site"):
        demo(out, videos=tmp_path / "nowhere")
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(clips / "dock" / "dock-train-1.mp4", flat)
    with pytest.raises(ClapError, match="flat: contains no sub-folder; one sub-folder per site"):
        demo(out, videos=flat)
    (flat / "empty").mkdir()
    with pytest.raises(ClapError, match=r"empty: .*one sub-folder per site"):
        demo(out, videos=flat)
    (flat / "empty" / "test").mkdir()
    shutil.copy(clips / "dock" / "dock-train-1.mp4", flat / "empty" / "test")
    with pytest.raises(ClapError, match="all videos are for testing, none for training"):
        demo(out, videos=flat)
    assert not out.exists()


def test_videos_outside_a_site_and_a_site_that_cannot_be_read_are_reported(tmp_path, monkeypatch):
    source = tmp_path / "in"
    for site in ("east", "locked"):
        (source / site).mkdir(parents=True)
        (source / site / f"{site}.mp4").touch()
    (source / "stray.dav").touch()
    (source / "README").write_text("hello")
    listed = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    passed: dict[Path, str] = {}
    found = own_videos(source, tmp_path / "links", make_extractor("motion", {}), tmp_path / "out", passed.__setitem__)
    assert [video.name for video in found] == ["east"]
    assert set(passed) == {source / "stray.dav", source / "locked"}
    assert (
        "is not in a site's folder" in passed[source / "stray.dav"] and "Permission denied" in passed[source / "locked"]
    )
