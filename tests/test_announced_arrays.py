"""Arrays whose headers announce more than their files hold, or than anybody expects: no memory is taken for them."""

from __future__ import annotations

import bz2
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad import persistence
from clap_vad.datasets import truth
from clap_vad.datasets.creation import create_dataset
from clap_vad.datasets.truth import read_frame_labels
from clap_vad.errors import ClapError
from clap_vad.evaluation.counts import read_scores
from clap_vad.features.store.npyfile import map_npy
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter
from clap_vad.persistence import UNREADABLE, open_npz, save_npz

MEGABYTE = 1 << 20


@pytest.fixture
def frugal():
    """Fails if more than 32 MB were allocated at once; numpy reports its arrays to :mod:`tracemalloc`."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MEGABYTE


def npy(shape: object, data: bytes = b"", descr: str = "|u1", version: int = 1, length: int | None = None) -> bytes:
    """A ``.npy`` with any header, written without numpy."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}}}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def zipped(file: Path, content: bytes, how: int = zipfile.ZIP_STORED, **lies: int) -> Path:
    """An ``.npz`` with one entry ``video``; ``lies`` are put into its table of contents."""
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr("video.npy", content)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    for name, value in lies.items():
        offset = {"flags": 8, "compress_size": 20, "file_size": 24}[name]
        data[at + offset : at + offset + 4] = struct.pack("<I", value)
    file.write_bytes(data)
    return file


ANNOUNCED: dict[str, Callable[[Path], Path]] = {
    "ten gigabytes, stored": lambda f: zipped(f, npy((10**10,), b"\0" * 50)),
    "ten gigabytes, deflated": lambda f: zipped(f, npy((10**10,), b"\0" * 50), zipfile.ZIP_DEFLATED),
    "and the table says so": lambda f: zipped(f, npy((3 * 10**9,), b"\0" * 50), file_size=4 * 10**9),
    "and the table says all of it": lambda f: zipped(
        f, npy((3 * 10**9,), b"\0" * 50), zipfile.ZIP_DEFLATED, file_size=4 * 10**9, compress_size=4 * 10**9
    ),
    "wide numbers": lambda f: zipped(f, npy((10,), b"\0" * 50, descr="|V1000000000")),
}


@pytest.mark.parametrize("kind", ANNOUNCED)
@pytest.mark.usefixtures("frugal")
def test_more_than_the_file_holds_is_never_allocated(tmp_path, kind):
    file = ANNOUNCED[kind](tmp_path / "labels.npz")
    with (
        open_npz(file, "anything") as archive,
        pytest.raises(ClapError, match=r"labels\.npz: ('video' declares [0-9]+ by|not a readable archive)"),
    ):
        archive["video"]
    with pytest.raises(ClapError, match=r"labels\.npz: "):
        read_frame_labels(file)


UNREAL: dict[str, Callable[[Path], Path]] = {
    "a header of a gigabyte": lambda f: zipped(
        f, npy((1,), b" " * 40 * MEGABYTE, version=2, length=1 << 30), zipfile.ZIP_DEFLATED
    ),
    "a negative shape": lambda f: zipped(f, npy((-5,))),
    "a shape beyond all memory": lambda f: zipped(f, npy((2**40, 2**40))),
    "a shape that is empty and beyond": lambda f: zipped(f, npy((0, 2**40, 2**40))),
    "a shape of text": lambda f: zipped(f, npy("x")),
    "another version": lambda f: zipped(f, npy((1,), b"\0", version=3)),
    "objects": lambda f: zipped(f, npy((1,), b"\0" * 8, descr="|O")),
    "bzip2": lambda f: zipped(f, npy((50,), b"\0" * 50), zipfile.ZIP_BZIP2),
    "encrypted": lambda f: zipped(f, npy((50,), b"\0" * 50), flags=1),
    "no array": lambda f: zipped(f, b"text"),
    "nothing": lambda f: zipped(f, b""),
}


@pytest.mark.parametrize("kind", UNREAL)
@pytest.mark.usefixtures("frugal")
def test_headers_that_cannot_be_are_refused(tmp_path, kind):
    file = UNREAL[kind](tmp_path / "labels.npz")
    tracemalloc.reset_peak()
    with open_npz(file, "anything") as archive, pytest.raises(UNREADABLE):
        archive["video"]
    with pytest.raises(ClapError, match=r"labels\.npz: not a readable \.npz of frame labels"):
        read_frame_labels(file)


def test_what_was_read_is_read_still(tmp_path):
    """numpy wrote it, with and without compression; highly compressible entries too."""
    arrays = {
        "zeros": np.zeros(300_000, np.uint8),
        "random": np.random.default_rng(0).random((7, 3)),
        "empty": np.zeros(0, np.int64),
        "single": np.float32(3),
        "column-major": np.asfortranarray(np.arange(12).reshape(3, 4)),
        "flags": np.array([True, False]),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    save_npz(tmp_path / "c.npz", arrays, compress=True)
    for file in tmp_path.iterdir():
        with open_npz(file, "arrays") as archive:
            assert archive.files == list(arrays) and len(archive) == len(arrays)
            for name, array in arrays.items():
                np.testing.assert_array_equal(archive[name], array)
                assert (archive.header(name).shape, archive.header(name).dtype) == (np.shape(array), array.dtype)
            with pytest.raises(KeyError):
                archive["absent"]


@pytest.mark.usefixtures("frugal")
def test_an_entry_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "_LARGEST_ENTRY", 1000)
    save_npz(tmp_path / "a.npz", {"small": np.zeros(800, np.uint8), "large": np.zeros(1001, np.uint8)}, compress=True)
    with open_npz(tmp_path / "a.npz", "arrays") as archive:
        assert archive["small"].shape == (800,)
        with pytest.raises(ClapError, match=r"'large' has [0-9]+ bytes, the limit is 1000"):
            archive["large"]


def a_store(folder: Path) -> Path:
    with StoreWriter(folder, extractor="motion", settings={}, crops=1, dim=2, segment_frames=16) as writer:
        writer.append("gate", [np.zeros((3, 1, 2), np.float32)], 48, 25.0)
        writer.finish()
    return folder


@pytest.fixture
def bomb(tmp_path) -> Path:
    """Labels of four million seconds in a file of 100 kB, all of them really there."""
    save_npz(tmp_path / "bomb.npz", {"gate": np.zeros(100 * MEGABYTE, np.uint8)}, compress=True)
    assert (tmp_path / "bomb.npz").stat().st_size < MEGABYTE // 4
    return tmp_path / "bomb.npz"


def test_labels_that_no_video_can_have_are_not_read(bomb, frugal):
    assert truth.MOST_FRAMES < 100 * MEGABYTE
    with pytest.raises(ClapError, match=r"bomb\.npz: 'gate' has 104857600 labels, the limit is 100000000"):
        read_frame_labels(bomb)


def test_labels_that_the_store_does_not_expect_are_not_read(tmp_path, bomb, monkeypatch, request):
    store = a_store(tmp_path / "store")
    (tmp_path / "videos.csv").write_text("video,split\ngate,train\n")
    monkeypatch.setattr(truth, "MOST_FRAMES", 1 << 40)
    request.getfixturevalue("frugal")
    with pytest.raises(ClapError, match=r"bomb\.npz: 'gate' has 104857600 labels but 48 frames in the store"):
        create_dataset(store, tmp_path / "videos.csv", tmp_path / "ds", bomb)
    assert not (tmp_path / "ds").exists()


def test_labels_of_videos_that_are_not_listed_are_not_read(tmp_path, monkeypatch, request):
    store = a_store(tmp_path / "store")
    (tmp_path / "videos.csv").write_text("video,split\ngate,train\n")
    labels = {"gate": np.ones(48, np.uint8), "other": np.zeros(90 * MEGABYTE, np.uint8)}
    save_npz(tmp_path / "labels.npz", labels, compress=True)
    del labels
    request.getfixturevalue("frugal")
    made = create_dataset(store, tmp_path / "videos.csv", tmp_path / "ds", tmp_path / "labels.npz")
    assert made["labels_not_listed"] == ["other"]
    assert read_frame_labels(tmp_path / "ds" / "frame_labels.npz")["gate"].sum() == 48


def test_labels_in_all_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "_MOST_LABELS", 100)
    save_npz(tmp_path / "labels.npz", {f"v{n}": np.zeros(40, np.uint8) for n in range(3)})
    with pytest.raises(ClapError, match=r"labels\.npz: 120 labels, the limit is 100;"):
        read_frame_labels(tmp_path / "labels.npz")


def test_scores_of_another_length_are_not_read(bomb, frugal):
    with open_npz(bomb, "scores") as scores, pytest.raises(ClapError, match=r"are uint8 \(104857600,\), .* 3 segments"):
        read_scores(scores, "gate", 3, "scores.npz")


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy((10**10,), b"\0" * 50), "truncated"),
        (npy((-5,), b"\0" * 50), r"the shape \(.*\) is impossible"),
        (npy((-5, -5), b"\0" * 50), r"the shape \(.*\) is impossible"),
        (npy((0, 2**40, 2**40)), r"the shape \(.*\) is impossible"),
        (npy((1,), b" " * 100_000, version=2, length=100_000), "header declares 100000 bytes"),
        (b"PK\x03\x04", "it is not a .npy of version"),
    ],
)
def test_a_npy_that_cannot_be_is_refused(tmp_path, content, says):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ClapError, match=rf"a\.npy: not a readable \.npy array.*{says}"):
        map_npy(tmp_path / "a.npy")


def test_a_store_of_another_kind_of_file_is_refused(tmp_path):
    store = a_store(tmp_path / "store")
    (store / "features.npy").unlink()
    zipped(store / "features.npy", bz2.compress(b""))
    with pytest.raises(ClapError, match=r"features\.npy: not a readable \.npy array"):
        FeatureStore(store)


def test_a_store_of_endless_videos_is_refused(tmp_path):
    index = a_store(tmp_path / "store") / "index.csv"
    index.write_text(index.read_text().replace(",48,", ",1000000000000,"))
    with pytest.raises(ClapError, match=r"index\.csv: line 2: frames must be at least 1 and at most 100000000"):
        FeatureStore(tmp_path / "store")


def test_spans_of_an_endless_video_are_refused():
    with pytest.raises(ClapError, match="frames in one video, the limit is"):
        truth.generate_truth({}, {"gate": 10**12})
