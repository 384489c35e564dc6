from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from clap_vad.errors import ClapError
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter

HERE = Path(__file__).resolve().parent


def open_writer(path: Path, **changes: object) -> StoreWriter:
    arguments = {"extractor": "x", "settings": {"grid": [6, 8]}, "crops": 2, "dim": 3} | changes
    return StoreWriter(path, **arguments)  # type: ignore[arg-type]  # a mixed dict of keyword arguments


def some(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2, 3)).astype(np.float32)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_store_holds_what_was_written_and_says_so(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s", with_valid=True, origin={"from": "here"}, segment_frames=8) as writer:
        mask = np.array([[True, False], [True, True]])
        writer.append("ä b, c", [(some(1), mask[:1]), (some(1, 1), mask[1:])], lambda: 15, lambda: 12.5)
        writer.append("d", iter([(some(3, 2), np.ones((3, 2), bool))]), 17, None)
        store = writer.finish()
    assert [(e.video, e.start, e.stop, e.frames, e.fps) for e in store.index] == [
        ("ä b, c", 0, 2, 15, 12.5),
        ("d", 2, 5, 17, None),
    ]
    np.testing.assert_array_equal(
        np.load(tmp_path / "s/features.npy"), np.concatenate([some(1), some(1, 1), some(3, 2)])
    )
    assert store.valid is not None
    np.testing.assert_array_equal(store.valid[:2], mask)
    assert {file.name for file in (tmp_path / "s").iterdir()} == {
        "features.npy",
        "valid.npy",
        "index.csv",
        "store.json",
    }
    info = json.loads((tmp_path / "s/store.json").read_text())
    assert (info["segments"], info["videos"], info["segment_frames"], info["origin"]) == (5, 2, 8, {"from": "here"})
    for name, recorded in info["files"].items():
        assert hashlib.sha256((tmp_path / "s" / name).read_bytes()).hexdigest() == recorded


@settings(max_examples=25, deadline=None)
@given(
    videos=st.dictionaries(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8),
        st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any),
        min_size=1,
        max_size=5,
    ),
    dtype=st.sampled_from(["float16", "float32"]),
    interrupt=st.integers(0, 5),
)
def test_any_blocks_in_any_sessions_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, videos: dict[str, list[int]], dtype: str, interrupt: int
) -> None:
    folder = tmp_path_factory.mktemp("store") / "s"
    expected = []
    for session in (list(videos)[:interrupt], list(videos)):
        with open_writer(folder, dtype=dtype) as writer:
            for seed, name in enumerate(videos):
                blocks = [some(n, 10 * seed + k).astype(dtype) for k, n in enumerate(videos[name])]
                if session == list(videos):
                    expected += blocks
                if name in session and name not in writer.completed:
                    writer.append(name, blocks, 16, 25.0)
            if session == list(videos):
                store = writer.finish()
                break
    np.testing.assert_array_equal(store.features, np.concatenate(expected))
    assert [e.video for e in store.index] == list(videos)


def test_killed_at_every_disk_operation_and_resumed_byte_for_byte(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, HERE / "kill_anywhere.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60


def test_killed_from_outside_in_the_middle_of_a_video(tmp_path: Path) -> None:
    script = (
        "import sys, time, numpy as np; from pathlib import Path\n"
        "from clap_vad.features.store.writer import StoreWriter\n"
        "w = StoreWriter(Path(sys.argv[1]), extractor='x', settings={'grid': [6, 8]}, crops=2, dim=3)\n"
        "w.append('a', [np.ones((4, 2, 3))], 64, 25.0)\n"
        "def slow():\n"
        "    for _ in range(10_000):\n"
        "        yield np.zeros((5, 2, 3)); time.sleep(0.01)\n"
        "w.append('b', slow(), 99, 25.0)\n"
    )
    folder, partial = tmp_path / "s", tmp_path / "s/features.npy.partial"
    process = subprocess.Popen([sys.executable, "-c", script, folder])

    def has_begun() -> bool:
        assert process.poll() is None
        return partial.exists() and partial.stat().st_size >= 128 + 24 * 14

    until(has_begun, "the second video's first rows")
    with pytest.raises(ClapError, match="another process writes this file"):
        open_writer(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(ClapError, match="this store is unfinished"):
        FeatureStore(folder)
    with open_writer(folder) as writer:
        assert writer.completed == {"a"}
        writer.append("b", [some(2)], 32, 25.0)
        assert writer.finish().segments == 6


@pytest.mark.parametrize(
    "tail", [b"b", b"b,4,6,32,25.0", b'"b,4,6,32,25.0\n', b"b,4,9999,32,25.0\n", b"\x00\x00\n", b"\xff\n"]
)
def test_torn_journal_line_is_dropped(tmp_path: Path, tail: bytes) -> None:
    with open_writer(tmp_path / "s") as writer:
        writer.append("a", [some(4)], 64, 25.0)
    with (tmp_path / "s/index.csv.partial").open("ab") as journal:
        journal.write(tail)
    with (tmp_path / "s/features.npy.partial").open("ab") as rows:
        rows.write(b"rows that were never committed")
    with open_writer(tmp_path / "s") as writer:
        assert writer.completed == {"a"}
        writer.append("b", [some(2, 1)], 32, None)
        store = writer.finish()
    np.testing.assert_array_equal(store.features, np.concatenate([some(4), some(2, 1)]))


def nan_in_second_block() -> list[np.ndarray]:
    bad = some(3)
    bad[1, 1, 2] = np.nan
    return [some(2), bad]


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        (nan_in_second_block(), "video 'b': segment 3, crop 1: value is nan"),
        ([np.full((1, 2, 3), -np.inf)], "segment 0, crop 0: value is -inf"),
        ([np.full((1, 2, 3), 1e300)], r"value is 1e\+300, far too large"),
        ([], "no segments"),
        ([some(0)], "no segments"),
        ([some(2)[:, :1]], r"\(2, 1, 3\); give numbers \(n, 2, 3\)"),
        ([some(2)[0]], r"give numbers \(n, 2, 3\)"),
        ([np.full((1, 2, 3), "x")], r"give numbers \(n, 2, 3\)"),
        ([(some(2), np.ones((2, 2), bool))], "no mask"),
    ],
)
def test_bad_video_is_named_and_rolled_back(tmp_path: Path, blocks: list, says: str) -> None:
    with open_writer(tmp_path / "s") as writer, open_writer(tmp_path / "clean") as clean:
        for each in (writer, clean):
            each.append("a", [some(2)], 32, 25.0)
        with pytest.raises(ClapError, match=says):
            writer.append("b", blocks, 16, 25.0)
        for each in (writer, clean):
            each.append("c", [some(1, 3)], 16, 25.0)
            each.finish()
    assert contents(tmp_path / "s") == contents(tmp_path / "clean")


def test_error_of_the_source_passes_through_and_rolls_back(tmp_path: Path) -> None:
    def broken() -> object:
        yield some(2)
        raise EOFError("decoder gave up")

    with open_writer(tmp_path / "s") as writer:
        with pytest.raises(EOFError, match="gave up"):
            writer.append("a", broken(), 16, 25.0)  # type: ignore[arg-type]  # a generator declared as object
        writer.append("a", [some(1)], 16, 25.0)
        assert writer.finish().segments == 1


@pytest.mark.parametrize(("frames", "fps"), [(0, 25.0), (16, 0.0), (16, float("nan")), (16, -1.0)])
def test_impossible_frames_or_fps(tmp_path: Path, frames: int, fps: float) -> None:
    with open_writer(tmp_path / "s") as writer, pytest.raises(ClapError, match="are impossible"):
        writer.append("a", [some(1)], frames, fps)


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\x00", "a\udcff"])
def test_name_that_cannot_be_kept(tmp_path: Path, name: str) -> None:
    with open_writer(tmp_path / "s") as writer, pytest.raises(ClapError, match="cannot name a video"):
        writer.append(name, [some(1)], 16, 25.0)


def test_name_taken(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s") as writer:
        writer.append("a", [some(1)], 16, 25.0)
        with pytest.raises(ClapError, match="unique"):
            writer.append("a", [some(1)], 16, 25.0)


def test_float16_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s", dtype="float16") as writer:
        with pytest.raises(ClapError, match=r"70000\.0 does not fit float16; use float32"):
            writer.append("a", [np.full((1, 2, 3), 70_000.0)], 16, 25.0)
        writer.append("a", [np.full((1, 2, 3), 65_504.0)], 16, 25.0)
        assert float(writer.finish().features.max()) == 65_504.0


@pytest.mark.parametrize("mask", [np.ones((2, 3), bool), np.ones((2, 2), np.uint8), None])
def test_mask_of_wrong_shape_or_type(tmp_path: Path, mask: np.ndarray | None) -> None:
    with open_writer(tmp_path / "s", with_valid=True) as writer, pytest.raises(ClapError, match="mask"):
        writer.append("a", [(some(2), mask)], 32, 25.0)


def test_nothing_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s") as writer, pytest.raises(ClapError, match="at least one"):
        writer.finish()
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "names"),
    [({"settings": {"grid": [3, 4]}}, "settings"), ({"dim": 4}, "dim"), ({"with_valid": True}, "with_valid")],
)
def test_unfinished_store_of_other_settings_is_refused(tmp_path: Path, change: dict, names: str) -> None:
    with open_writer(tmp_path / "s") as writer:
        writer.append("a", [some(1)], 16, 25.0)
    with pytest.raises(ClapError, match=rf"\({names} differ\)"):
        open_writer(tmp_path / "s", **change)


def test_places_that_are_taken(tmp_path: Path) -> None:
    with open_writer(tmp_path / "s") as writer:
        writer.append("a", [some(1)], 16, 25.0)
        writer.finish()
    before = contents(tmp_path / "s")
    with pytest.raises(ClapError, match="this feature store exists already"):
        open_writer(tmp_path / "s")
    assert contents(tmp_path / "s") == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(ClapError, match="is a file"):
        open_writer(tmp_path / "file")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(ClapError, match="not empty"):
        open_writer(tmp_path / "mine")


@pytest.mark.parametrize("change", [{"dtype": "int8"}, {"normalise": "maybe"}, {"crops": 0}, {"segment_frames": 0}])
def test_settings_that_make_no_store(tmp_path: Path, change: dict) -> None:
    with pytest.raises(ClapError):
        open_writer(tmp_path / "s", **change)
    assert not (tmp_path / "s").exists()


def test_full_disk_is_named_and_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_writer(tmp_path / "s") as writer:
        writer.append("a", [some(2)], 32, 25.0)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(
                ClapError, match=r"features\.npy\.partial: No space left on device; free space and repeat"
            ):
                writer.append("b", [some(2)], 32, 25.0)
    with open_writer(tmp_path / "s") as writer:
        assert writer.completed == {"a"}
        writer.append("b", [some(2, 1)], 32, 25.0)
        assert writer.finish().segments == 4


def test_memory_stays_bounded_for_one_huge_block(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path; from clap_vad.features.store.writer import StoreWriter\n"
        "def anon(): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))\n"
        "rows = np.load(sys.argv[1], mmap_mode='r'); before = anon(); peak = 0\n"
        "import clap_vad.features.store.npyfile as f; real = f.GrowingFile.write\n"
        "def write(self, data):\n"
        "    global peak; real(self, data); peak = max(peak, anon())\n"
        "f.GrowingFile.write = write\n"
        "with StoreWriter(Path(sys.argv[2]), extractor='x', settings={}, crops=10, dim=512) as w:\n"
        "    w.append('a', [rows], 16, None); w.finish()\n"
        "print((peak - before) // 1024)\n"
    )
    huge = tmp_path / "huge.npy"
    np.lib.format.open_memmap(huge, "w+", np.float32, (8_000, 10, 512)).flush()  # 164 MB, sparse
    done = subprocess.run(
        [sys.executable, "-c", script, huge, tmp_path / "s"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40, done.stdout
