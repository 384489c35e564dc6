from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.events.intervals import intervals
from clap_vad.datasets.truth import (
    compare_truth,
    generate_truth,
    label_frames,
    parse_spans,
    read_frame_labels,
    write_frame_labels,
)
from clap_vad.errors import ClapError

SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: tuple(sorted(pair))), max_size=5)


@given(SPANS, st.integers(0, 40))
def test_labels_match_a_loop_over_frames(spans: list[tuple[int, int]], frames: int) -> None:
    expected = [int(any(start <= frame < stop for start, stop in spans)) for frame in range(frames)]
    assert label_frames(spans, frames).tolist() == expected


@given(st.lists(st.integers(0, 1), max_size=40))
def test_runs_rebuild_the_labels(flags: list[int]) -> None:
    found = [tuple(run) for run in intervals(np.array(flags, dtype=np.uint8))]
    assert label_frames(found, len(flags)).tolist() == flags
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


def test_spans_beyond_the_end_are_cut_and_reported() -> None:
    labels, cut = generate_truth({"a": [(2, 9)]}, {"a": 5, "b": 3})
    assert labels["a"].tolist() == [0, 0, 1, 1, 1]
    assert labels["b"].tolist() == [0, 0, 0]
    assert cut == [{"video": "a", "span": [2, 9], "frames": 5}]


def test_every_disagreement_is_found() -> None:
    ours = {"same": np.array([0, 1]), "value": np.array([0, 1, 1]), "long": np.array([0, 0]), "ours": np.array([1])}
    theirs = {"same": np.array([0, 1]), "value": np.array([0, 0, 1]), "long": np.array([0]), "theirs": np.array([1])}
    assert compare_truth(ours, theirs) == [
        {"video": "long", "frames": 1, "spans": [[1, 2]]},
        {"video": "ours", "frames": 1, "reason": "generated, not given"},
        {"video": "theirs", "frames": 1, "reason": "given, not generated"},
        {"video": "value", "frames": 1, "spans": [[1, 2]]},
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [(["3"], "needs a stop"), (["a", "4"], "integer frame"), (["9", "4"], "reversed"), (["-1", "4"], "-1")],
)
def test_broken_spans_name_their_line(words: list[str], says: str) -> None:
    with pytest.raises(ClapError, match=r"f\.txt: line 7.*" + says):
        parse_spans("f.txt: line 7", words)


def test_minus_one_stands_for_no_span() -> None:
    assert parse_spans("x", ["-1", "-1", "3", "5", "-1", "-1"]) == [(3, 5)]


def test_labels_survive_a_file_whatever_the_video_is_called(tmp_path: Path) -> None:
    labels = {
        "file": np.array([0, 1], np.uint8),
        "allow_pickle": np.zeros(0, np.uint8),
        "für #1 _A": np.ones(3, np.uint8),
    }
    write_frame_labels(tmp_path / "a.npz", labels)
    write_frame_labels(tmp_path / "b.npz", labels)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as archive:
        assert {name: archive[name].tolist() for name in archive.files} == {k: v.tolist() for k, v in labels.items()}
    assert {name: values.tolist() for name, values in read_frame_labels(tmp_path / "a.npz").items()} == {
        name: values.tolist() for name, values in labels.items()
    }


def test_bool_and_integer_labels_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "l.npz", a=np.array([True, False]), b=np.array([0, 1], dtype=np.int64))
    read = read_frame_labels(tmp_path / "l.npz")
    assert (read["a"].dtype, read["a"].tolist(), read["b"].tolist()) == (np.uint8, [1, 0], [0, 1])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([{"a": 1}], dtype=object), "not a readable"),
        (np.array([0, 2]), "values other than 0 and 1"),
        (np.array([0.0, np.nan]), "is float64 .* flat integer array"),
        (np.zeros((2, 2), np.uint8), "is uint8 .* flat integer array"),
    ],
)
def test_unfit_labels_are_refused(tmp_path: Path, values: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "l.npz", video=values)
    with pytest.raises(ClapError, match=says):
        read_frame_labels(tmp_path / "l.npz")


@pytest.mark.parametrize("content", [b"", b"noise", b"PK\x03\x04 torn", None])
def test_broken_label_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "l.npz"
    if content is None:
        np.save(tmp_path / "l.npy", np.zeros(3, np.uint8))
        (tmp_path / "l.npy").rename(file)
    else:
        file.write_bytes(content)
    with pytest.raises(ClapError, match=r"l\.npz"):
        read_frame_labels(file)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "l.npz"
    write_frame_labels(file, {"a": np.random.default_rng(0).integers(0, 2, 5000).astype(np.uint8)})
    data = bytearray(file.read_bytes())
    data[200:260] = bytes(60)
    file.write_bytes(data)
    with pytest.raises(ClapError, match="not a readable"):
        read_frame_labels(file)
