"""Tables as spreadsheets, scripts and people write them: taken where meant, else the line or column is named."""

from __future__ import annotations

import codecs
import csv
import itertools
from pathlib import Path

import pytest

from clap_vad.datasets.dataset import VideoRecord, read_videos_csv
from clap_vad.errors import ClapError
from clap_vad.tables.delimited import parse_table, read_table

ROWS = [
    ["v0", "train", "cam a", "", "0"],
    ["v 1", "train", 'the "old" yard', "fight", "1"],
    ["v2", "test", "north, south; gate|3", "", ""],
]
RECORDS = [
    VideoRecord("v0", "train", "cam a", "", 0),
    VideoRecord("v 1", "train", 'the "old" yard', "fight", 1),
    VideoRecord("v2", "test", "north, south; gate|3", "", None),
]
HEADS = [
    ["video", "split", "scene", "event", "label"],
    ["Video", "SPLIT", " Scene", "Event ", "\xa0LABEL "],
    [' "video"', '"Split" ', ' " scene " ', "EVENT", '"label"'],
]


def written(head: list[str], separator: str, end: str, empty: str = "") -> str:
    def quoted(value: str) -> str:
        return '"{}"'.format(value.replace('"', '""')) if any(c in value for c in '",;|\t') else value

    lines = [separator.join(head), *(separator.join(map(quoted, row)) for row in ROWS), empty]
    return end.join(lines) + end


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("head", HEADS, ids=["plain", "capitals", "quoted"])
def test_every_way_to_write_a_table_gives_the_same_rows(tmp_path: Path, separator: str, end: str, head: list[str]):
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
    for encoding, empty, first in itertools.product(encodings, ("", separator * 4), ("", f"sep={separator}{end}")):
        file = tmp_path / "t.csv"
        file.write_bytes((first + written(head, separator, end, empty)).encode(encoding))
        assert read_videos_csv(file) == RECORDS, (encoding, empty, first)
    big_endian = codecs.BOM_UTF16_BE + written(head, separator, end).encode("utf-16-be")
    (tmp_path / "t.csv").write_bytes(big_endian)
    assert read_videos_csv(tmp_path / "t.csv") == RECORDS


def test_what_the_csv_module_writes_is_read_back(tmp_path: Path):
    values = ["plain", ' a "b" c', "x,y", 'end"', "two\nlines", ""]
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["video", "scene"], *([f"v{k}", value] for k, value in enumerate(values))])
    rows = read_table(tmp_path / "t.csv", ["video", "scene"], ["video"])
    assert [row.values["scene"] for row in rows] == [value.strip() for value in values]
    assert [row.line for row in rows] == [2, 3, 4, 5, 6, 8]


@pytest.mark.parametrize(
    "text",
    [
        "scene,split,video\ncam a,train,v0\n",  # any order of columns
        "video,split,scene,,\nv0,train,cam a,,\n",  # columns without a name that hold nothing
        "video,split,scene\nv0,train,cam a,,,\n",
        "\n , ,\nvideo,split,scene\n\nv0 , Train , cam a\n,,\n",
        'video,split,scene\n"v0","TRAIN" , "cam a"\n',
        '"video\n",split,"scene"\nv0,train,"cam a\n"\n',
    ],
)
def test_what_is_meant_is_taken(tmp_path: Path, text: str):
    (tmp_path / "t.csv").write_text(text)
    assert read_videos_csv(tmp_path / "t.csv") == [VideoRecord("v0", "train", "cam a")]


@pytest.mark.parametrize(("label", "meant"), [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1), ('"1,0"', 1), ("", None)])
def test_labels_that_programs_write(tmp_path: Path, label: str, meant: int | None):
    (tmp_path / "t.csv").write_text(f"video,split,label\na,train,{label}\n")
    assert read_videos_csv(tmp_path / "t.csv")[0].label == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "video,split,camera\na,train,1\n",
            r"t\.csv: line 1: unknown column 'camera'; known columns: video,split,scene",
        ),
        ("video,split,Labels,x\na,train,1,\n", "unknown columns 'Labels', 'x'"),
        ("video,split,scene,Scene\na,train,1,2\n", r"column 'Scene' is there twice \(columns 3 and 4\)"),
        ("video,scene\na,b\n", "line 1: column 'split' is missing"),
        ("name,x\na,b\n", "header is 'name,x'; header must be 'video,split,scene,event,label'"),
        ("", "header is ''"),
        ("video,split\na,train,1\n", r"line 2: 3 values but 2 columns \(first extra value: '1'\)"),
        ("video,split,,scene\na,train,1,b\n", "line 2: '1' is in column 3, which has no name"),
        ('video,split,scene\na,train,"b\nc,train,d\n', "line 2: a double quote is never closed"),
        ('video,split,scene\na,train,"b\nc,train,"d"\n', "line 2: there is text after a closing double quote"),
        (
            "video,split,scene\na,train,x\nb;train;y\n",
            "line 3: the values are separated by semicolon, the header by",
        ),
        ("video,split,scene,event\na,train,x;fight\n", "line 2: the values are separated by semicolon"),
        ("video;split,scene\na;train,x\n", "mixes separators"),
        ("video,split\na,train\nb,train\na,test\n", r"line 4: video 'a' is listed twice \(first in line 2\)"),
        ("video,split\n,train\n", "line 2: the video name is empty"),
        ("video,split\na,training\n", "line 2: split is 'training'; use 'train' or 'test'"),
        ("video,split,label\n\na,train,2\n", "line 3: label is '2'; use 0, 1 or leave it empty"),
        ("video,split,label\na,train,0.5\n", "line 2: label is '0.5'"),
        ("video,split,label\na,train,nan\n", "line 2: label is 'nan'"),
        ('video,split,scene\na,train,"b\nc"\n', r"line 2: 'b\\nc' cannot name a scene"),
        ("video,split\na\0,train\n", "line 2: contains a NUL byte"),
        (b"video,split\n" + "tür,train\n".encode("cp1252"), "line 2: not a UTF-8 .*'CSV UTF-8'"),
        ("video,split\na,train\n".encode("utf-16-le"), "contains a NUL byte"),
        (b"PK\x03\x04\xff\x00\x00", "line 1: not a UTF-8"),
    ],
)
def test_an_invalid_table_is_refused_with_its_place(tmp_path: Path, text: str | bytes, says: str):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ClapError, match=says):
        read_videos_csv(tmp_path / "t.csv")


def test_values_with_another_separator_are_values_where_the_count_fits():
    table = "video,scene\na,hall;north\nb,x|y|z\n"
    assert [row.values["scene"] for row in parse_table("t", table, ["video", "scene"], ["video"])] == [
        "hall;north",
        "x|y|z",
    ]


def test_further_columns_where_they_are_allowed():
    (row,) = parse_table("t", "video,note,note\na,1,2\n", ["video"], ["video"], others=True)
    assert row.values == {"video": "a"}


def test_folders_and_missing_files_are_named(tmp_path: Path):
    with pytest.raises(ClapError, match="cannot be read"):
        read_table(tmp_path, ["video"], ["video"])
    with pytest.raises(ClapError, match="no such file"):
        read_table(tmp_path / "x", ["video"], ["video"])
