from __future__ import annotations

import random

import pytest

from clap_vad.core.text.naming import natural_key
from clap_vad.features.naming import video_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/anas/UCF_Train_ten_crop_i3d/Abuse002_x264_i3d.npy", "Abuse002_x264"),
        ("C:\\feat\\Abuse002_x264_i3d.npy", "Abuse002_x264"),
        ("RGB/v=S-7rRLrxnVQ__#1_label_B4-0-0__3.npy", "v=S-7rRLrxnVQ__#1_label_B4-0-0"),
        ("v=S-7rRLrxnVQ__#1_label_B4-0-0", "v=S-7rRLrxnVQ__#1_label_B4-0-0"),
        ("Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0__0.npy", "Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0"),
        ("Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0", "Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0"),
        ("a b/Überfall 3.MP4", "Überfall 3"),
        ("x_i3d__0.npy", "x"),
        ("frames/Test001/", "Test001"),
        ("clip__12.npy", "clip__12"),
        ("clip__1__2.npy", "clip__1"),
        ("archive.tar", "archive.tar"),
        (".npy", ".npy"),
        ("_i3d.npy", "_i3d"),
        ("  spaced.avi ", "spaced"),
        ("", ""),
    ],
)
def test_video_name(path: str, name: str) -> None:
    assert video_name(path) == name


def test_natural_order_is_total_and_counts() -> None:
    names = ["v1", "v2", "v10", "v10b", "v010", "w", "1", "01", "", "v²"]
    expected = sorted(names, key=natural_key)
    for seed in range(10):
        shuffled = random.Random(seed).sample(names, len(names))
        assert sorted(shuffled, key=natural_key) == expected
    assert [name for name in expected if name in ("v1", "v2", "v10")] == ["v1", "v2", "v10"]
