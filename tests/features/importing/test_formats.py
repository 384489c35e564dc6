"""Every import format on files of the released shapes (few rows), and each way such files are broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.importing.importer import IMPORTERS, import_features
from clap_vad.features.store.reader import FeatureStore

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
UCF = ["Abuse002_x264", "Abuse003_x264", "Normal_Videos949_x264"]
XD = ["Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0", "v=S-7rRLrxnVQ__#1_label_B4-0-0"]


def random(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).random(shape).astype(dtype)


def save(file: Path, array: np.ndarray, **options: bool) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array, **options)
    return file


def listing(folder: Path, *lines: str) -> Path:
    file = folder / "list.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def concatenated(folder: Path, array: np.ndarray | None = None) -> tuple[Path, Path]:
    file = save(folder / "concat_UCF_V2.npy", random(6, 10, 2048) if array is None else array)
    lines = (
        "/home/a/Abuse002_x264_i3d.npy,0,1",
        "/home/a/Abuse003_x264_i3d.npy,1,4",
        "N\\Normal_Videos949_x264_i3d.npy,4,6",
    )
    return file, listing(folder, *lines)


def test_formats() -> None:
    assert IMPORTERS.names() == ["c3d", "clap", "rtfm", "vadclip"]


class TestClap:
    def test_referenced_in_place(self, tmp_path: Path) -> None:
        file, index = concatenated(tmp_path)
        summary = import_features("clap", file, tmp_path / "s", index=index)
        assert summary["zero_copy"] and (summary["videos"], summary["segments"]) == (3, 6)
        store = FeatureStore(tmp_path / "s")
        assert (tmp_path / "s/features.npy").readlink() == file.resolve()
        assert [(e.video, e.start, e.stop, e.frames, e.fps) for e in store.index] == [
            (UCF[0], 0, 1, 16, None),
            (UCF[1], 1, 4, 48, None),
            (UCF[2], 4, 6, 32, None),
        ]
        np.testing.assert_array_equal(store.features, np.load(file))
        assert store.info["normalise"] == "none"
        assert sum(f.stat(follow_symlinks=False).st_size for f in (tmp_path / "s").iterdir()) < 4096
        for name, recorded in store.info["files"].items():
            found = subprocess.run(["sha256sum", tmp_path / "s" / name], capture_output=True, text=True, check=True)
            assert found.stdout.split()[0] == recorded

    @pytest.mark.parametrize(
        "change",
        [
            lambda x: np.asfortranarray(x),
            lambda x: x.astype(np.float64),
            lambda x: x.astype(">f4"),
            lambda x: x[:, 0],
            lambda x: np.asfortranarray(x[:, 0]),
        ],
        ids=["column-major", "double", "big-endian", "one crop", "one crop column-major"],
    )
    def test_other_arrays_are_copied(self, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
        array = change(random(6, 10, 20))
        file, index = concatenated(tmp_path, array)
        assert not import_features("clap", file, tmp_path / "s", index=index)["zero_copy"]
        store = FeatureStore(tmp_path / "s")
        np.testing.assert_array_equal(store.features, array.reshape(6, -1, 20).astype(np.float32))
        assert store.video(UCF[1]).frames == 48

    def test_half_precision_in_place_and_on_request(self, tmp_path: Path) -> None:
        half, index = concatenated(tmp_path, random(6, 10, 20, dtype="float16"))
        assert import_features("clap", half, tmp_path / "a", index=index)["dtype"] == "float16"
        assert not import_features("clap", half, tmp_path / "b", index=index, dtype="float32")["zero_copy"]
        np.testing.assert_array_equal(FeatureStore(tmp_path / "b").features, np.load(half).astype(np.float32))

    def test_rows_in_another_order_than_the_list(self, tmp_path: Path) -> None:
        file = save(tmp_path / "x.npy", random(5, 1, 4))
        index = listing(tmp_path, "b.npy 3 5", "a.npy 0 3")
        import_features("clap", file, tmp_path / "link", index=index)
        import_features("clap", file, tmp_path / "copy", index=index, dtype="float16")
        for name in ("link", "copy"):
            store = FeatureStore(tmp_path / name)
            assert [e.video for e in store.index] == ["b", "a"]
            for video, rows in {"a": slice(0, 3), "b": slice(3, 5)}.items():
                entry = store.video(video)
                np.testing.assert_allclose(store.read(entry.start, entry.stop), np.load(file)[rows], atol=1e-3)

    def test_bare_nalist_with_names_of_crop_files(self, tmp_path: Path) -> None:
        file = save(tmp_path / "concat_XD.npy", random(5, 5, 1024))
        nalist = save(tmp_path / "nalist_XD.npy", np.array([[0, 2], [2, 5]]))
        names = listing(tmp_path, *(f"/media/RGB/{name}__{crop}.npy" for name in XD for crop in range(5)))
        import_features("clap", file, tmp_path / "s", index=nalist, names=names)
        assert [(e.video, e.stop) for e in FeatureStore(tmp_path / "s").index] == [(XD[0], 2), (XD[1], 5)]
        with pytest.raises(ClapError, match="has no names; give the list"):
            import_features("clap", file, tmp_path / "t", index=nalist)

    def test_wrong_index_names_both_numbers_and_the_right_pairing(self, tmp_path: Path) -> None:
        file, index = concatenated(tmp_path, random(7, 2, 3))
        with pytest.raises(
            ClapError, match=r"last row is 6 but concat_UCF_V2\.npy has 7.*nalist\.npy.*concat_UCF\.npy"
        ):
            import_features("clap", file, tmp_path / "s", index=index)

    def test_nan_is_named_and_leaves_no_trace(self, tmp_path: Path) -> None:
        array = random(6, 10, 20)
        array[3, 9, 19] = np.nan
        file, index = concatenated(tmp_path, array)
        for dtype in (None, "float16"):
            with pytest.raises(ClapError, match=UCF[1]):
                import_features("clap", file, tmp_path / "s", index=index, dtype=dtype)
            if dtype is None:
                assert not (tmp_path / "s").exists()

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda f: save(f, np.array([{}], dtype=object), allow_pickle=True), "never unpickled"),
            (lambda f: save(f, random(6)), r"give floats \(segments, crops, dim\)"),
            (lambda f: save(f, random(0, 10, 4)), r"give floats \(segments, crops, dim\)"),
            (lambda f: save(f, np.ones((6, 1, 4), int)), r"give floats \(segments, crops, dim\)"),
            (lambda f: f.write_bytes(b""), "not a readable"),
            (lambda f: f.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'"), "not a readable"),
            (lambda f: f.write_bytes(save(f, random(6, 1, 4)).read_bytes()[:-1]), "truncated"),
            (lambda f: f.mkdir(), "a folder"),
        ],
    )
    def test_broken_file(self, tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
        file, index = tmp_path / "x.npy", listing(tmp_path, "a,0,6")
        make(file)
        with pytest.raises(ClapError, match=says):
            import_features("clap", file, tmp_path / "s", index=index)
        assert not (tmp_path / "s").exists()

    def test_missing_pieces(self, tmp_path: Path) -> None:
        file, index = concatenated(tmp_path, random(6, 2, 3))
        with pytest.raises(ClapError, match="as --index"):
            import_features("clap", file, tmp_path / "s")
        with pytest.raises(ClapError, match="leave --names out"):
            import_features("clap", file, tmp_path / "s", index=index, names=index)
        with pytest.raises(ClapError, match="no such file"):
            import_features("clap", tmp_path / "absent.npy", tmp_path / "s", index=index)

    def test_memory_is_bounded(self, tmp_path: Path) -> None:
        file = tmp_path / "huge.npy"
        np.lib.format.open_memmap(file, "w+", np.float32, (4_000, 10, 2048)).flush()  # 328 MB, sparse
        script = (
            "import sys, hashlib; from pathlib import Path; import numpy as np\n"
            "import clap_vad.features.importing.importer as i; i.IMPORTERS.names()\n"
            "def anon(): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))\n"
            "before = anon(); peak = 0; real = i.unusable_segment\n"
            "def watched(x):\n"
            "    global peak; y = real(x); peak = max(peak, anon()); return y\n"
            "i.unusable_segment = watched\n"
            "i.import_features('clap', Path(sys.argv[1]), Path(sys.argv[2]), index=Path(sys.argv[3]))\n"
            "print((peak - before) // 1024)\n"
        )
        command = [sys.executable, "-c", script, file, tmp_path / "s", listing(tmp_path, "a,0,3999", "b,3999,4000")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert 0 < int(done.stdout) < 40


class TestRtfm:
    def test_folder(self, tmp_path: Path) -> None:
        arrays = {name: random(3 + number, 10, 2048) for number, name in enumerate(UCF)}
        for name, array in arrays.items():
            save(tmp_path / "in/deep er" / f"{name}_i3d.npy", array)
        (tmp_path / "in/._junk.npy").write_bytes(b"finder")
        summary = import_features("rtfm", tmp_path / "in", tmp_path / "s")
        assert (summary["crops"], summary["dim"], summary["zero_copy"]) == (10, 2048, False)
        store = FeatureStore(tmp_path / "s")
        assert [e.video for e in store.index] == sorted(UCF)
        for name, array in arrays.items():
            entry = store.video(name)
            assert entry.frames == 16 * len(array)
            np.testing.assert_array_equal(store.read(entry.start, entry.stop), array)

    def test_flat_half_precision_in_list_order(self, tmp_path: Path) -> None:
        for name in UCF:
            save(tmp_path / "in" / f"{name}.npy", random(4, 7, dtype="float16"))
        index = listing(tmp_path, "Normal/Normal_Videos949_x264.mp4", "Abuse/Abuse002_x264.mp4 Abuse")
        summary = import_features("rtfm", tmp_path / "in", tmp_path / "s", index=index)
        assert (summary["crops"], summary["dim"], summary["dtype"], summary["videos"]) == (1, 7, "float16", 2)
        assert [e.video for e in FeatureStore(tmp_path / "s").index] == [UCF[2], UCF[0]]
        with pytest.raises(ClapError, match=r"1 of its 1 videos are not in .*'absent'"):
            import_features("rtfm", tmp_path / "in", tmp_path / "t", index=listing(tmp_path, "absent.mp4"))

    @pytest.mark.parametrize(
        ("name", "array", "says"),
        [
            ("b.npy", random(2, 5, 8), r"b\.npy: crops and dimension are \(5, 8\) but \(10, 8\) in .*a_i3d\.npy"),
            ("b.npy", random(2, 10, 9), r"b\.npy: crops and dimension are \(10, 9\)"),
            ("b.npy", random(0, 10, 8), r"b\.npy: .* give floats"),
            ("b.npy", random(8), r"b\.npy: .* give floats"),
            ("b.npy", np.full((2, 10, 8), np.nan), r"video 'b': segment 0, crop 0: value is nan"),
            ("sub/a.npy", random(2, 10, 8), r"a\.npy: same video 'a' as .*a_i3d\.npy"),
        ],
    )
    def test_broken_folder(self, tmp_path: Path, name: str, array: np.ndarray, says: str) -> None:
        save(tmp_path / "in/a_i3d.npy", random(3, 10, 8))
        save(tmp_path / "in" / name, array)
        with pytest.raises(ClapError, match=says):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")
        assert not (tmp_path / "s/store.json").exists()

    def test_mended_source_resumes(self, tmp_path: Path) -> None:
        save(tmp_path / "in/a.npy", random(3, 4))
        save(tmp_path / "in/b.npy", np.full((2, 4), np.inf))
        with pytest.raises(ClapError, match="video 'b'"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")
        save(tmp_path / "in/b.npy", random(2, 4))
        assert import_features("rtfm", tmp_path / "in", tmp_path / "s")["segments"] == 5

    def test_source_that_lost_a_video_is_not_mixed_in(self, tmp_path: Path) -> None:
        save(tmp_path / "in/a.npy", random(3, 4))
        save(tmp_path / "in/b.npy", np.full((2, 4), np.inf))
        with pytest.raises(ClapError, match="video 'b'"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")
        (tmp_path / "in/a.npy").rename(tmp_path / "in/c.npy")
        with pytest.raises(ClapError, match="contains video 'a', which is no longer in the source"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")

    def test_empty_or_missing_folder(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        with pytest.raises(ClapError, match=r"contains no \.npy file"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")
        with pytest.raises(ClapError, match="no such file or folder"):
            import_features("rtfm", tmp_path / "absent", tmp_path / "s")
        with pytest.raises(ClapError, match="leave it out"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s", names=tmp_path)


class TestVadclip:
    @pytest.mark.parametrize(("crops", "dim"), [(10, 512), (5, 1024), (1, 512)])
    def test_crops_are_gathered(self, tmp_path: Path, crops: int, dim: int) -> None:
        arrays = {name: random(3 + number, crops, dim) for number, name in enumerate(XD)}
        for name, array in arrays.items():
            for crop in range(crops):
                save(tmp_path / "in" / f"{name}__{crop}.npy", array[:, crop])
        assert import_features("vadclip", tmp_path / "in", tmp_path / "s")["crops"] == crops
        store = FeatureStore(tmp_path / "s")
        for name, array in arrays.items():
            entry = store.video(name)
            np.testing.assert_array_equal(store.read(entry.start, entry.stop), array)

    @pytest.mark.parametrize(
        ("name", "array", "says"),
        [
            ("b__0", random(2, 4), r"video 'b': crop 1 is missing \(b__1\.npy\); add it, as other videos have 3"),
            ("a__1", random(5, 4), r"a__1\.npy: 5 segments but 2 in .*a__0\.npy"),
            ("a__2", random(2, 5), r"a__2\.npy: dimension 5 but 4 in .*a__0\.npy"),
            ("a__1", random(2, 1, 4), r"a__1\.npy: .* give floats"),
            ("plain", random(2, 4), r"plain\.npy: its name does not end with '__<crop>\.npy'"),
            ("sub/a__1", random(2, 4), r"a__1\.npy: same video and crop as"),
            ("a__5", random(2, 4), r"crop 3 is missing"),
        ],
    )
    def test_broken_folder(self, tmp_path: Path, name: str, array: np.ndarray, says: str) -> None:
        for crop in range(3):
            save(tmp_path / f"in/a__{crop}.npy", random(2, 4))
        save(tmp_path / "in" / f"{name}.npy", array)
        with pytest.raises(ClapError, match=says):
            import_features("vadclip", tmp_path / "in", tmp_path / "s")


class TestC3d:
    def test_text_rows(self, tmp_path: Path) -> None:
        arrays = {"b": random(32, 4096), "a": random(3, 4096)}
        for name, array in arrays.items():
            np.savetxt(tmp_path / f"{name}.txt", array, fmt="%.6f", delimiter="," if name == "a" else " ")
        import_features("c3d", tmp_path, tmp_path / "s")
        store = FeatureStore(tmp_path / "s")
        assert [(e.video, e.segments, e.frames) for e in store.index] == [("a", 3, 48), ("b", 32, 512)]
        for name in arrays:
            oracle = np.loadtxt(tmp_path / f"{name}.txt", delimiter="," if name == "a" else None, dtype=np.float32)
            entry = store.video(name)
            np.testing.assert_array_equal(store.read(entry.start, entry.stop)[:, 0], oracle)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("1 2 3\n\n1 2\n", r"b\.txt: line 3: 2 numbers but 3 in .*a\.txt"),
            ("1 2 3 4\n", r"b\.txt: line 1: 4 numbers but 3 in .*a\.txt"),
            ("1 2 x\n", r"b\.txt: line 1: not a row of numbers"),
            ("\n \n", r"b\.txt: the file is empty"),
            ("1 nan 3\n", "video 'b': segment 0, crop 0: value is nan"),
            (b"\xff\xfe\x00", r"b\.txt: not a text file"),
        ],
    )
    def test_broken_text(self, tmp_path: Path, text: str | bytes, says: str) -> None:
        (tmp_path / "a.txt").write_text("1 2 3\n")
        (tmp_path / "b.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ClapError, match=says):
            import_features("c3d", tmp_path, tmp_path / "s")

    @pytest.mark.skipif(not DATA.is_dir(), reason="needs the research data folder ../shared/data")
    def test_real_samples(self, tmp_path: Path) -> None:
        samples = DATA / "ucf_crime/c3d_samples"
        summary = import_features("c3d", samples, tmp_path / "s")
        assert (summary["videos"], summary["segments"], summary["crops"], summary["dim"]) == (10, 320, 1, 4096)
        entry = (store := FeatureStore(tmp_path / "s")).video("Normal_Videos_006_x264")
        oracle = np.loadtxt(samples / "Normal_Videos_006_x264.txt", dtype=np.float32)
        np.testing.assert_array_equal(store.read(entry.start, entry.stop)[:, 0], oracle)


def test_unknown_format_and_dtype(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="unknown import format 'x'; known: c3d, clap, rtfm, vadclip"):
        import_features("x", tmp_path, tmp_path / "s")
    with pytest.raises(ClapError, match="dtype 'int8' cannot be stored"):
        import_features("rtfm", tmp_path, tmp_path / "s", dtype="int8")


def test_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "in/a.npy", random(3, 4))
    for name in ("s", "t"):
        import_features("rtfm", tmp_path / "in", tmp_path / name)
    for file in (tmp_path / "s").iterdir():
        assert file.read_bytes() == (tmp_path / "t" / file.name).read_bytes()
    assert json.loads((tmp_path / "s/store.json").read_text())["origin"]["source"] == str(tmp_path / "in")


def test_links_out_of_the_folder_are_passed_over_and_named(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a_i3d.npy", random(3, 10, 16))
    save(tmp_path / "in" / ".pool" / "b_i3d.npy", random(4, 10, 16))
    save(tmp_path / "out" / "secret_i3d.npy", random(5, 10, 16))
    (tmp_path / "in" / "b_i3d.npy").symlink_to(tmp_path / "in" / ".pool" / "b_i3d.npy")
    (tmp_path / "in" / "c_i3d.npy").symlink_to(tmp_path / "out" / "secret_i3d.npy")
    (tmp_path / "in" / "all").symlink_to("/", target_is_directory=True)
    links = [str(tmp_path / "in" / name) for name in ("all", "c_i3d.npy")]
    summary = import_features("rtfm", tmp_path / "in", tmp_path / "s")
    assert summary["passed_over"] == links
    assert [e.video for e in FeatureStore(tmp_path / "s").index] == ["a", "b"]
    command = [sys.executable, "-m", "clap_vad.cli", "features", "import", "--format", "rtfm", str(tmp_path / "in")]
    done = subprocess.run([*command, "--out", str(tmp_path / "t"), "--json"], capture_output=True, text=True)
    assert done.returncode == 2 and all(link in done.stderr for link in links)
    assert json.loads(done.stdout)["videos"] == 2
    with pytest.raises(
        ClapError, match=r"1 of its 1 videos are not in .*links out of the folder are not followed, the first is .*/all"
    ):
        import_features("rtfm", tmp_path / "in", tmp_path / "u", index=listing(tmp_path, "c_i3d.npy"))
    for file in ("a_i3d.npy", "b_i3d.npy"):
        (tmp_path / "in" / file).unlink()
    with pytest.raises(ClapError, match=r"contains no \.npy file \(links out of the folder are not followed"):
        import_features("rtfm", tmp_path / "in", tmp_path / "v")


class TestLayout:
    """Axes in another order than the documented one."""

    @pytest.mark.parametrize(("name", "axes"), [("crops-segments-dim", (1, 0, 2)), ("dim-crops-segments", (2, 1, 0))])
    @pytest.mark.parametrize("memory", ["C", "F"])
    def test_rtfm_in_a_stated_order(self, tmp_path: Path, name: str, axes: tuple[int, ...], memory: str) -> None:
        arrays = {f"v{k}": random(32, 10, 64 + k // 9) + k for k in range(3)}
        for video, array in arrays.items():
            save(tmp_path / "in" / f"{video}_i3d.npy", np.asarray(array.transpose(axes), order=memory))
        summary = import_features("rtfm", tmp_path / "in", tmp_path / "s", layout=name)
        assert (summary["layout"], summary["segments"], summary["crops"], summary["dim"]) == (name, 96, 10, 64)
        store = FeatureStore(tmp_path / "s")
        assert store.info["origin"]["layout"] == name
        for video, array in arrays.items():
            entry = store.video(video)
            np.testing.assert_array_equal(store.read(entry.start, entry.stop), array)

    def test_rtfm_asks_where_two_orders_are_possible(self, tmp_path: Path) -> None:
        for k in range(6):
            save(tmp_path / "in" / f"v{k}_i3d.npy", random(10, 32, 64))
        with pytest.raises(ClapError, match=r"--layout segments-crops-dim.* or .*--layout crops-segments-dim"):
            import_features("rtfm", tmp_path / "in", tmp_path / "s")
        assert not (tmp_path / "s").exists()
        command = [sys.executable, "-m", "clap_vad.cli", "features", "import", "--format", "rtfm", str(tmp_path / "in")]
        chosen = [*command, "--layout", "crops-segments-dim", "--out", str(tmp_path / "s")]
        done = subprocess.run(chosen, capture_output=True, text=True, check=True)
        assert "192 segments of 10 x 64 float32, copied, read as crops-segments-dim" in done.stdout

    def test_rtfm_knows_the_order_where_the_videos_differ_in_length(self, tmp_path: Path) -> None:
        arrays = {f"v{k}": random(20 + k, 10, 64) for k in range(2)}
        for video, array in arrays.items():
            save(tmp_path / "in" / f"{video}_i3d.npy", array.transpose(1, 0, 2)[None])
        summary = import_features("rtfm", tmp_path / "in", tmp_path / "s")
        assert summary["layout"] == "crops-segments-dim"
        np.testing.assert_array_equal(FeatureStore(tmp_path / "s").read(0, 20), arrays["v0"])

    @pytest.mark.parametrize("layout", [None, "dim-segments"])
    def test_vadclip(self, tmp_path: Path, layout: str | None) -> None:
        arrays = {f"v{k}": random(20 + k, 3, 512) for k in range(2)}
        for video, array in arrays.items():
            for crop in range(3):
                save(tmp_path / "in" / f"{video}__{crop}.npy", array[:, crop].T)
        assert import_features("vadclip", tmp_path / "in", tmp_path / "s", layout=layout)["layout"] == "dim-segments"
        np.testing.assert_array_equal(FeatureStore(tmp_path / "s").read(0, 20), arrays["v0"])
        with pytest.raises(ClapError, match="one crop per file; choose segments-dim or dim-segments"):
            import_features("vadclip", tmp_path / "in", tmp_path / "t", layout="crops-segments-dim")

    def test_clap_knows_the_order_by_its_index(self, tmp_path: Path) -> None:
        array = random(6, 10, 20)
        file, index = concatenated(tmp_path, array.transpose(1, 0, 2).copy())
        summary = import_features("clap", file, tmp_path / "s", index=index)
        assert (summary["layout"], summary["zero_copy"]) == ("crops-segments-dim", False)
        np.testing.assert_array_equal(FeatureStore(tmp_path / "s").read(0, 6), array)

    def test_c3d_with_a_line_for_each_dimension(self, tmp_path: Path) -> None:
        array = random(5, 512)
        for name in "ab":
            (tmp_path / "in").mkdir(exist_ok=True)
            np.savetxt(tmp_path / "in" / f"{name}.txt", array.T)
        with pytest.raises(ClapError, match="--layout dim-segments"):
            import_features("c3d", tmp_path / "in", tmp_path / "s")
        import_features("c3d", tmp_path / "in", tmp_path / "s", layout="dim-segments")
        np.testing.assert_allclose(FeatureStore(tmp_path / "s").read(0, 5)[:, 0], array)

    def test_c3d_with_decimal_commas(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("0,5;1,25\n-2,0;3,5\n")
        import_features("c3d", tmp_path, tmp_path / "s")
        assert FeatureStore(tmp_path / "s").read(0, 2)[:, 0].tolist() == [[0.5, 1.25], [-2.0, 3.5]]


@pytest.fixture
def another_user() -> Iterator[Path]:
    """A folder that anyone may enter; as root the process takes the rights of nobody while the test runs."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("layout", ["rtfm", "vadclip", "c3d"])
def test_what_cannot_be_read_is_named_and_the_rest_is_taken(another_user: Path, layout: str) -> None:
    IMPORTERS.names(), IMPORTERS[layout]  # loaded while every module can be read
    source = another_user / "in"
    suffix = {"rtfm": "_i3d.npy", "vadclip": "__0.npy", "c3d": ".txt"}[layout]
    for name in ("x/a", "x/b", "x/shut", "lost+found/c", "names only/d"):
        file = source / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(file, random(4, 64)) if layout == "c3d" else np.save(file, random(4, 64))
    (source / f"x/empty{suffix}").touch()
    (source / f"x/gone{suffix}").symlink_to("nothing")
    os.mkfifo(source / f"x/pipe{suffix}")
    (source / f"x/shut{suffix}").chmod(0)
    (source / "names only").chmod(0o744 if os.getuid() == 0 else 0o644)
    (source / "lost+found").chmod(0o700 if os.getuid() == 0 else 0)
    if os.getuid() == 0:
        os.seteuid(65534)
    summary = import_features(layout, source, another_user / "s")
    assert [entry.video for entry in FeatureStore(another_user / "s").index] == ["a", "b"]
    skipped = {Path(entry["path"]).name: entry["reason"] for entry in summary["skipped"]}
    assert skipped.keys() == {
        "lost+found",
        "names only",
        *(f"{name}{suffix}" for name in ("shut", "empty", "gone", "pipe")),
    }
    assert "Permission denied" in skipped["lost+found"] and "change its permissions" in skipped["lost+found"]
    assert "the file is empty" in skipped[f"empty{suffix}"] and "broken link" in skipped[f"gone{suffix}"]
    (another_user / "list.txt").write_text("c\n")
    with pytest.raises(ClapError, match=r"1 of its 1 videos are not in .*were left out, the first is .*lost"):
        import_features(layout, source, another_user / "t", index=another_user / "list.txt")


def test_the_command_names_what_it_left_out(tmp_path: Path) -> None:
    save(tmp_path / "in/a.npy", random(3, 4))
    (tmp_path / "in/b.npy").touch()
    command = [sys.executable, "-m", "clap_vad.cli", "features", "import", "--format", "rtfm", str(tmp_path / "in")]
    done = subprocess.run([*command, "--out", str(tmp_path / "s"), "--json"], capture_output=True, text=True)
    assert done.returncode == 2 and "b.npy: the file is empty; copy it again or remove it" in done.stderr
    assert [entry["path"] for entry in json.loads(done.stdout)["skipped"]] == [str(tmp_path / "in/b.npy")]


@pytest.mark.parametrize("value", [1e18, -1e18, 1e38, np.inf, np.nan])
def test_values_that_no_method_can_use_are_refused(tmp_path: Path, value: float) -> None:
    array = random(6, 1, 8)
    array[4, 0, 3] = value
    file, index = concatenated(tmp_path, array)
    with pytest.raises(ClapError, match=f"video '{UCF[2]}', segment 0.*far too large"):
        import_features("clap", file, tmp_path / "s", index=index)
    save(tmp_path / "in/a.npy", array)
    with pytest.raises(ClapError, match="video 'a': segment 4, crop 0: value is"):
        import_features("rtfm", tmp_path / "in", tmp_path / "t")
