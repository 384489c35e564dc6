from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.importing.lists import Listed, check_tiling, read_list, read_nalist, unique_names

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the research data folder ../shared/data")


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "list.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("line", "video", "rows"),
    [
        ("/home/a/Abuse002_x264_i3d.npy,0,55", "Abuse002_x264", (0, 55)),
        ("D:\\my features\\Abuse002_x264_i3d.npy 0 55", "Abuse002_x264", (0, 55)),
        ('"/home/a/b c, d.npy"; 3;\t7', "b c, d", (3, 7)),
        ("Abuse/Abuse001_x264.mp4", "Abuse001_x264", None),
        ("/feat/Abuse001_x264__0.npy,Abuse", "Abuse001_x264", None),
        ("v=xyz__#1_label_B4-0-0", "v=xyz__#1_label_B4-0-0", None),
        ("Bad.Boys.1995__#0-1_label_A 10 12", "Bad.Boys.1995__#0-1_label_A", (10, 12)),
        ("a video with spaces", "a video with spaces", None),
    ],
)
def test_forms_of_a_line(tmp_path: Path, line: str, video: str, rows: tuple[int, int] | None) -> None:
    for text in (line, f"\ufeffpath,label\r\n\r\n{line}\r\n"):
        (entry,) = read_list(write(tmp_path, text))
        assert (entry.video, entry.rows) == (video, rows)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("PATH;Start;Stop", "/home/a/b c.npy;3;7"),
        ('"Path","start","stop"', '"/home/a/b c.npy","3","7"'),
        ('sep=;{end}"video";"start";"stop"', '"b c";"3";"7"'),
        ("Name\tstart\tstop", "b c\t3\t7"),
        ("file|start|stop", "x/b c.npy|3|7"),
    ],
)
def test_lists_as_spreadsheets_write_them(tmp_path: Path, encoding: str, end: str, head: str, row: str) -> None:
    text = end.join([head.format(end=end), row, ";;", ",,", ""])
    (entry,) = read_list(write(tmp_path, text.encode(encoding)))
    assert (entry.video, entry.rows) == ("b c", (3, 7))


def test_a_first_video_called_like_a_heading_is_a_video(tmp_path: Path) -> None:
    assert [entry.video for entry in read_list(write(tmp_path, "video 1.mp4\nvideo 2.mp4\n"))] == ["video 1", "video 2"]
    assert [entry.video for entry in read_list(write(tmp_path, "video 1,0,3\nvideo 2,3,5\n"))] == ["video 1", "video 2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lists no videos"),
        ("path,label\n", "lists no videos"),
        (b"\x80\x02}q", "not a UTF-8"),
        ("a.npy,0.5,3", "not integers"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(ClapError, match=says):
        read_list(write(tmp_path, text))
    with pytest.raises(ClapError, match="no such file"):
        read_list(tmp_path / "absent.txt")


def test_repeated_names(tmp_path: Path) -> None:
    crops = read_list(write(tmp_path, "x__0.npy\nx__1.npy\ny__0.npy\n"))
    assert [entry.video for entry in unique_names(Path("l"), crops)] == ["x", "y"]
    for text in ("a/x.npy\nb/x.npy", "x__0.npy\ny__0.npy\nx__1.npy", "x__0.npy,0,3\nx__1.npy,3,6", "x\nx"):
        with pytest.raises(ClapError, match="are both video 'x'"):
            unique_names(Path("l"), read_list(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(0, 3), (3, 5)], None),
        ([(3, 5), (0, 3)], None),
        ([(0, 3), (3, 6)], "its last row is 6 but big.npy has 5"),
        ([(0, 2), (3, 5)], r"'1' leaves a gap \[2, 3\) after '0'"),
        ([(1, 3), (3, 5)], r"leaves a gap \[0, 1\) after the start"),
        ([(0, 4), (3, 5)], r"'1' overlaps in rows \[3, 4\) after '0'"),
        ([(0, 3), (3, 3), (3, 5)], "empty or negative"),
        ([(-1, 3), (3, 5)], "empty or negative"),
        ([(0, 3), None], "no start and stop"),
    ],
)
def test_ranges_must_tile_the_file(rows: list, says: str | None) -> None:
    entries = [Listed(str(number), "", number, each) for number, each in enumerate(rows)]
    if says is None:
        check_tiling(Path("l"), entries, Path("big.npy"), 5)
    else:
        with pytest.raises(ClapError, match=says):
            check_tiling(Path("l"), entries, Path("big.npy"), 5)


def test_nalist(tmp_path: Path) -> None:
    names = read_list(write(tmp_path, "a.npy\nb.npy\n"))
    good, file = np.array([[0, 3], [3, 5]]), tmp_path / "nalist.npy"
    np.save(file, good)
    assert [(entry.video, entry.rows) for entry in read_nalist(file, names)] == [("a", (0, 3)), ("b", (3, 5))]
    for bad in (good[:, :1], good.astype(float), good[:0], good.ravel()):
        np.save(file, bad)
        with pytest.raises(ClapError, match=r"give integers \(videos, 2\), start and stop"):
            read_nalist(file, names)
    np.save(file, good)
    with pytest.raises(ClapError, match="2 videos, but 1 names"):
        read_nalist(file, names[:1])
    with pytest.raises(ClapError, match="the orders differ"):
        read_nalist(file, read_list(write(tmp_path, "b.npy,0,2\na.npy,2,5\n")))
    np.save(file, np.array([["a"]], dtype=object), allow_pickle=True)
    with pytest.raises(ClapError, match="never unpickled"):
        read_nalist(file, names)


@needs_data
def test_published_lists() -> None:
    train = read_list(DATA / "ucf_crime/clap_release/UCF_Train_ten_crop_i3d_complete_V1.txt")
    test = read_list(DATA / "ucf_crime/clap_release/UCF_Test_ten_crop_i3d_complete_V1.txt")
    check_tiling(Path("l"), train, Path("f"), 779_780)
    check_tiling(Path("l"), test, Path("f"), 69_634)
    assert (len(unique_names(Path("l"), train)), len(unique_names(Path("l"), test))) == (1608, 290)
    nalist = DATA / "ucf_crime/clap_release/nalist.npy"
    with pytest.raises(ClapError, match=re.escape("1609 videos, but 1608 names")):
        read_nalist(nalist, train)
    xd = unique_names(Path("l"), read_list(DATA / "xd_violence/rgb_train.list"))
    nalist = DATA / "xd_violence/clap_release/nalist_XD.npy"
    with pytest.raises(ClapError, match="'label_A' first, then the others"):
        read_nalist(nalist, xd)
    rows = read_nalist(nalist, sorted(xd, key=lambda entry: not entry.video.endswith("label_A")))
    check_tiling(Path("l"), rows, Path("f"), 1_021_917)
    assert len(unique_names(Path("l"), read_list(DATA / "xd_violence/rgb_test.list"))) == 800
