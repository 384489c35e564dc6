"""Many files into one store: damage, names, any number of workers, kills, crashes and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from procfs import children_of, is_running
from waiting import LIMIT, until

from clap_vad.cli.features_extract import extract as extract_command
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extract import extract_features, extract_one
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.extraction.inputs import find_inputs
from clap_vad.features.store.reader import FeatureStore
from clap_vad.processes import DIED, PROGRESS, run_tasks

CLAP = [sys.executable, "-m", "clap_vad.cli", "features", "extract"]
SMALL = {"side": 64, "rows": 2, "cols": 2}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def write_tracks(path: Path, frames: int = 40, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(seed).integers(0, 100, frames)
    path.write_text("\n".join(f"{f} 1 2 {x[f]} 10 {x[f] + 20} 50" for f in range(frames)))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory, render, moving, render_sound) -> Path:
    """A folder as users have them: good files in sub-folders, and every kind of bad one."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "gate" / "north side").mkdir(parents=True)
    render(folder / "gate" / "north side" / "Straße 1.mp4", moving(33, 48, 64))
    render(folder / "b.AVI", moving(20, 48, 64, seed=1), codec="mpeg4")
    frames = folder / "clip.7"
    frames.mkdir()
    render(frames / "%03d.png", moving(18, 48, 64, seed=2), codec="png", pix_fmt="gray")
    whole = render(folder / "whole.mp4", moving(60, 48, 64), muxer={"movflags": "faststart"})
    data = whole.read_bytes()
    whole.unlink()
    (folder / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (folder / "random.mp4").write_bytes(np.random.default_rng(0).integers(0, 256, 9999, dtype=np.uint8).tobytes())
    (folder / "empty.mp4").touch()
    render_sound(folder / "sound.mp4")
    render_sound(folder / "sound too.wav")
    (folder / "readme.txt").write_text("passed over")
    (folder / ".hidden.mp4").write_bytes(b"passed over")
    return folder


GOOD = ["Straße 1", "b", "clip.7", "cut"]
BAD = {
    "empty.mp4": "the file is empty",
    "random.mp4": "cannot be read as a video",
    "sound.mp4": "contains no video stream",
    "sound too.wav": "contains no video stream",
}


def test_bad_files_are_named_and_the_rest_is_kept(videos, tmp_path):
    report = extract_features([videos], tmp_path / "store", extractor="motion", settings=SMALL, workers=2)
    store = FeatureStore(tmp_path / "store")
    assert report.videos == [entry.video for entry in store.index] == sorted(GOOD)
    assert {Path(path).name for path in report.skipped} == set(BAD)
    for path, reason in report.skipped.items():
        assert reason.startswith(path)
        assert BAD[Path(path).name] in reason
    assert list(report.truncated) == ["cut"]
    assert "of 60 declared frames" in report.truncated["cut"]
    assert "4 of 8 inputs skipped and 1 only partly read" in report.warning
    assert [store.video(name).frames for name in GOOD[:3]] == [33, 20, 18]
    assert store.info["settings"] == {**SMALL, "stride": 1, "fps": 25.0}
    assert store.info["normalise"] == "federated"
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


def test_a_store_holds_what_a_single_file_gives(videos, tmp_path):
    path = videos / "b.AVI"
    extract_features([path], tmp_path / "store", extractor="motion", settings=SMALL)
    store = FeatureStore(tmp_path / "store")
    extraction = extract_one(store.extractor, store.info["settings"], path)
    features = np.concatenate([block.features for block in extraction])
    np.testing.assert_array_equal(store.read(0, store.segments), features)
    assert (extraction.ending.frames, extraction.ending.fps) == (store.index[0].frames, store.index[0].fps) == (20, 25)


def test_any_number_of_workers_and_any_order_of_paths_give_the_same_bytes(videos, tmp_path):
    extract_features([videos], tmp_path / "one", extractor="motion", settings=SMALL, workers=1)
    paths = [file for file in videos.iterdir() if file.name not in ("readme.txt", ".hidden.mp4")]
    extract_features(sorted(paths, reverse=True), tmp_path / "three", extractor="motion", settings=SMALL, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_person_form_keeps_its_mask_and_half_precision(tmp_path):
    for seed in range(3):
        write_tracks(tmp_path / "in" / f"{seed}.txt", 20 + 16 * seed, seed)
    settings = {"form": "person", "persons": 2}
    report = extract_features([tmp_path / "in"], tmp_path / "s", extractor="tracks", settings=settings, dtype="float16")
    store = FeatureStore(tmp_path / "s")
    assert report.warning is None
    assert (store.features.dtype, store.features.shape) == (np.float16, (9, 2, 10))
    assert store.valid is not None
    assert store.valid.sum(1).tolist() == [1] * 9


def test_a_video_whose_features_do_not_fit_is_skipped_and_the_rest_kept(tmp_path):
    write_tracks(tmp_path / "in" / "a.txt")
    (tmp_path / "in" / "far.txt").write_text("0 1 2 0 0 20 40\n1 1 2 900000 0 900020 40\n")
    report = extract_features([tmp_path / "in"], tmp_path / "s", extractor="tracks", dtype="float16")
    assert report.videos == ["a"]
    [reason] = report.skipped.values()
    assert reason.startswith(str(tmp_path / "in" / "far.txt"))
    assert "does not fit float16" in reason


def test_nothing_usable_is_an_error_and_leaves_nothing_behind(videos, tmp_path):
    with pytest.raises(ClapError, match=r"empty\.mp4: the file is empty.*\(and 1 more inputs"):
        extract_features([videos / "empty.mp4", videos / "random.mp4"], tmp_path / "s", extractor="motion")
    assert list(tmp_path.iterdir()) == []


def test_bad_usage(tmp_path):
    tracks = write_tracks(tmp_path / "a" / "x.txt")
    write_tracks(tmp_path / "b" / "x.txt")
    (tmp_path / "void").mkdir()
    cases = {
        "no such file or folder": [tmp_path / "absent"],
        "has the same video name 'x' as": [tmp_path / "a", tmp_path / "b"],
        "contains no input of this extractor": [tmp_path / "void"],
        "no input; give": [],
    }
    for reason, paths in cases.items():
        with pytest.raises(ClapError, match=reason):
            extract_features(paths, tmp_path / "s", extractor="tracks")
    with pytest.raises(ClapError, match="workers is 0"):
        extract_features([tracks], tmp_path / "s", extractor="tracks", workers=0)
    with pytest.raises(ClapError, match=r"unknown extractor 'i3d'; known: .*i3d-r50, motion, tracks"):
        extract_features([tracks], tmp_path / "s", extractor="i3d")
    extract_features([tracks, tracks], tmp_path / "s", extractor="tracks")
    with pytest.raises(ClapError, match="this feature store exists already"):
        extract_features([tracks], tmp_path / "s", extractor="tracks")


def test_linked_folders_are_searched_once_and_the_store_not_at_all(tmp_path):
    write_tracks(tmp_path / "in" / "a.txt")
    write_tracks(tmp_path / "in" / ".kept" / "b.txt")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in" / ".kept", target_is_directory=True)
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in", target_is_directory=True)
    write_tracks(tmp_path / "in" / "store" / "index.csv")
    found = find_inputs([tmp_path / "in"], make_extractor("tracks", {}), leave_out=[tmp_path / "in" / "store"])
    assert list(found) == ["a", "b"]


@pytest.fixture
def with_links(tmp_path):
    """A folder with a track file of its own, links within it, and links that lead out of it."""
    write_tracks(tmp_path / "in" / "a.txt")
    write_tracks(tmp_path / "in-fact-elsewhere" / "secret.txt")  # a name that begins alike
    write_tracks(tmp_path / "root" / "deep" / "other.txt")
    folder = tmp_path / "in"
    (folder / "sub").mkdir()
    write_tracks(folder / ".pool" / "b.txt")
    (folder / "sub" / "b.txt").symlink_to("../.pool/b.txt")
    (folder / "sub" / "up").symlink_to("..", target_is_directory=True)
    (folder / "everything").symlink_to(tmp_path / "root", target_is_directory=True)
    (folder / "sub" / "all").symlink_to("/", target_is_directory=True)
    (folder / "sub" / "secret.txt").symlink_to("../../in-fact-elsewhere/secret.txt")
    (folder / "two.txt").symlink_to("one.txt")  # by way of another link
    (folder / "one.txt").symlink_to(tmp_path / "root" / "deep" / "other.txt")
    return folder


OUTWARD = ["everything", "one.txt", "sub/all", "sub/secret.txt", "two.txt"]


def test_links_that_lead_out_of_the_folder_are_passed_over_and_named(with_links, tmp_path):
    done = subprocess.run(
        [*CLAP, str(with_links), "--extractor=tracks", f"--out={tmp_path / 's'}", "--json"],
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert [entry.video for entry in FeatureStore(tmp_path / "s").index] == ["a", "b"]
    assert result["skipped"] == {
        str(with_links / link): f"{with_links / link}: a link out of {with_links}, not followed; "
        "give its path as an input to read it"
        for link in OUTWARD
    }
    assert done.returncode == 2 and all(str(with_links / link) in done.stderr for link in OUTWARD)


def test_a_link_that_is_named_is_followed_but_those_in_it_only_within(with_links, tmp_path):
    told = []
    named = [with_links / "one.txt", with_links / "everything"]
    (tmp_path / "root" / "deep" / "back").symlink_to(with_links, target_is_directory=True)
    found = find_inputs(named, make_extractor("tracks", {}), pass_over=lambda link, reason: told.append(link))
    assert found == {"one": with_links / "one.txt", "other": with_links / "everything" / "deep" / "other.txt"}
    assert told == [with_links / "everything" / "deep" / "back"]


def test_nothing_but_links_that_lead_out_is_reported(with_links, tmp_path):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "link").symlink_to(with_links, target_is_directory=True)
    with pytest.raises(
        ClapError, match=r"only: contains only links out of the folder, which are not followed \(first: .*/link"
    ):
        extract_features([tmp_path / "only"], tmp_path / "s", extractor="tracks")
    assert not (tmp_path / "s").exists()


def test_killed_and_resumed_equals_undisturbed(tmp_path, render, moving):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(4):
        render(folder / f"v{k}.mp4", moving(100, 48, 64, seed=k))
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    whole, store = tmp_path / "whole", tmp_path / "store"
    extract_features([folder], whole, extractor="motion", settings=SMALL, workers=2)
    command = [*CLAP, str(folder), "--extractor=motion", f"--out={store}", "--workers=1", *options]
    journal = store / "index.csv.partial"

    def some_are_read() -> bool:
        assert process.poll() is None or (store / "store.json").exists()
        return process.poll() is not None or (journal.exists() and journal.read_text().count("\n") >= 3)

    for _ in range(50):  # on a busy machine, all may be read before this process has its turn
        with subprocess.Popen(command, start_new_session=True) as process:
            until(some_are_read)
            workers = children_of(process.pid)
            process.kill()
        if not (store / "store.json").exists():
            break
        shutil.rmtree(store)
    assert not (store / "store.json").exists() and journal.exists()
    until(lambda: not any(is_running(pid) for pid in workers))
    done = [line.split(",")[0] for line in journal.read_text().splitlines()[1:]]
    stamp = (folder / f"{done[0]}.mp4").stat()
    (folder / f"{done[0]}.mp4").write_bytes(b"must not be read again")
    os.utime(folder / f"{done[0]}.mp4", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert subprocess.run(command, check=True, capture_output=True).stderr == b""
    assert contents(store) == contents(whole)
    assert {file.name for file in tmp_path.iterdir()} == {"in", "whole", "store"}


def test_resuming_with_other_inputs_is_refused(tmp_path):
    first, second = write_tracks(tmp_path / "a.txt"), write_tracks(tmp_path / "b.txt")
    os.mkfifo(tmp_path / "c.txt")
    command = [*CLAP, str(first), str(tmp_path / "c.txt"), "--extractor=tracks", f"--out={tmp_path / 's'}"]
    journal = tmp_path / "s" / "index.csv.partial"
    with subprocess.Popen(command) as process:
        until(lambda: journal.exists() and journal.read_text().count("\n") >= 2)
        process.kill()
    with pytest.raises(ClapError, match="contains 'a', which is not among the inputs"):
        extract_features([second], tmp_path / "s", extractor="tracks")


def test_ctrl_c_ends_everything_with_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "never ends.txt")
    command = [*CLAP, str(tmp_path / "never ends.txt"), "--extractor=tracks", f"--out={tmp_path / 's'}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        [worker] = until(lambda: children_of(process.pid))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert errors.startswith("clap: interrupted")
    assert errors.count("\n") == 1
    assert not is_running(worker)


def test_a_crash_costs_one_video_and_the_worker_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "crash.txt")
    write_tracks(tmp_path / "fine.txt")
    tasks = [
        {"source": str(tmp_path / f"{name}.txt"), "stem": str(tmp_path / name), "extractor": "tracks", "settings": {}}
        for name in ("crash", "fine")
    ]
    before = set(children_of(os.getpid()))
    running = run_tasks("clap_vad.features.extraction.worker", tasks, workers=1)

    def crash_it() -> None:
        [worker] = until(lambda: set(children_of(os.getpid())) - before)
        until(lambda: (tmp_path / "crash.features").exists())  # it is at work on the file
        os.kill(worker, signal.SIGSEGV)

    thread = threading.Thread(target=crash_it)
    thread.start()
    final = [(Path(task["source"]).stem, message) for task, message in running if PROGRESS not in message]
    thread.join()
    assert final == [
        ("crash", {DIED: "its worker process crashed (SIGSEGV)"}),
        ("fine", {"done": 3}),
    ]


def test_the_command_prints_a_summary_and_its_status_reports_skipped_files(videos, tmp_path):
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    command = [str(videos), "--extractor=motion", "--out", str(tmp_path / "s"), "--json", *options]
    result = CliRunner().invoke(extract_command, command)
    assert result.exit_code == 2
    data = json.loads(result.stdout.splitlines()[-1])
    assert (data["videos"], len(data["skipped"]), list(data["truncated"])) == (4, 4, ["cut"])
    assert "4 of 8 inputs skipped" in result.stderr
    good = CliRunner().invoke(
        extract_command, [str(videos / "b.AVI"), "--extractor=motion", "--out", str(tmp_path / "t"), *options]
    )
    assert (good.exit_code, good.stderr) == (0, "")
    assert "1 video, 2 segments" in good.stdout


def test_a_setting_of_another_extractor_is_a_usage_error(tmp_path):
    path = write_tracks(tmp_path / "a.txt")
    result = CliRunner().invoke(
        extract_command, [str(path), "--extractor=tracks", "--out", str(tmp_path / "s"), "--rows", "3"]
    )
    assert result.exit_code == 2
    assert "extractor 'tracks' has no setting --rows; it belongs to motion" in result.stderr
    assert not (tmp_path / "s").exists()
