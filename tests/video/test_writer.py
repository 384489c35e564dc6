from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.video.writer import VideoWriter, write_video


def greys(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [np.full((height, width, 3), 20 + 10 * number, np.uint8) for number in range(count)]


def read(path: Path) -> tuple[list[float], list[np.ndarray], float]:
    """Times, pictures, and the length that the file states."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        found = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        return [time for time, _ in found], [picture for _, picture in found], float(stream.duration * stream.time_base)


@pytest.mark.parametrize(
    ("rate", "exact"),
    [(25, Fraction(25)), (29.97, Fraction(2997, 100)), (30000 / 1001, Fraction(30000, 1001)), (0.5, Fraction(1, 2))],
)
def test_pictures_come_back_in_order_at_their_rate(tmp_path, rate, exact):
    write_video(tmp_path / "cam:1 – Tür.mp4", greys(9), rate)
    times, pictures, length = read(tmp_path / "cam:1 – Tür.mp4")
    assert times == pytest.approx([float(number / exact) for number in range(9)], abs=1e-4)
    assert length == pytest.approx(float(9 / exact), abs=1e-4)
    assert [abs(picture.mean() - 20 - 10 * n) < 3 for n, picture in enumerate(pictures)] == [True] * 9


def test_times_of_their_own_are_kept_and_never_run_backwards(tmp_path):
    times = [0.0, 0.04, 0.5, 0.5, 0.3, 7200.0]
    write_video(tmp_path / "a.mp4", greys(6), 25, times)
    found, pictures, length = read(tmp_path / "a.mp4")
    assert found == pytest.approx([0.0, 0.04, 0.5, 0.5, 0.5, 7200.0], abs=1e-4)
    assert (np.diff(found) > 0).all() and len(pictures) == 6
    assert length == pytest.approx(7200.04, abs=1e-3)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 1), (48, 63)])
def test_odd_sizes_are_padded_with_what_is_beside(tmp_path, height, width):
    write_video(tmp_path / "a.mp4", [np.full((height, width, 3), 200, np.uint8)] * 2, 10)
    _, pictures, _ = read(tmp_path / "a.mp4")
    assert pictures[0].shape == (height + height % 2, width + width % 2, 3)
    assert pictures[0].min() > 190


def test_equal_pictures_give_equal_bytes_and_a_file_that_plays_while_it_loads(tmp_path):
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8))
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", noise, 25)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_file_is_absent_and_an_old_one_stays(tmp_path, error):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(error), VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.add(greys(1)[0])
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"
    writer.close()
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to stand for a full disk")
@pytest.mark.parametrize("count", [1, 400])
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch, count):
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / ".a.mp4.7.tmp").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 256, (4, 96, 128, 3), dtype=np.uint8)
    with pytest.raises(OSError, match="No space left") as caught:
        write_video(tmp_path / "a.mp4", (noise[number % 4] for number in range(count)), 25)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a.mp4"))
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_make_no_video_are_refused(tmp_path):
    for rate in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ClapError, match=r"a\.mp4: .* positive number"):
            VideoWriter(tmp_path / "a.mp4", rate)
    with pytest.raises(ClapError, match="no picture to write"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match="shape"):
        write_video(tmp_path / "a.mp4", [*greys(1), *greys(1, 50)], 25)
    assert list(tmp_path.iterdir()) == []
