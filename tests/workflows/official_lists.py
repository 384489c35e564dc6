"""Small files of the layout in which UCF-Crime lists, annotations and CLAP partitions are released."""

from __future__ import annotations

import pickle
from pathlib import Path

TRAIN_LIST, TEST_LIST = "UCF_Train_ten_crop_i3d_complete_V1.txt", "UCF_Test_ten_crop_i3d_complete_V1.txt"
ANNOTATION = "Temporal_Anomaly_Annotation.txt"
NORMAL = ("Normal", "Testing", "Training")
TRAIN = {
    **{f"Abuse00{n}_x264": 60 * n for n in (2, 3, 4)},
    **{f"Normal_Videos00{n}_x264": 45 * n for n in (1, 2, 3)},
    "Training_Normal_Videos_A_x264": 7,
    **{f"Arrest01{n}_x264": 150 + n for n in (1, 3, 5, 7)},
    "Normal_Videos950_x264": 1,
}
TEST = {
    "RoadAccidents004_x264": 200,
    "Normal_Videos_003_x264": 90,
    "Abuse030_x264": 97,
    "Testing_Normal_Videos_9_x264": 3,
    "Arrest001_x264": 149,
    "Abuse028_x264": 1,
}
SPANS: dict[str, tuple[int, ...]] = {
    "RoadAccidents004_x264": (320, 640, 1600, 2400),
    "Abuse030_x264": (1275, 1360),
    "Arrest001_x264": (1185, 2399),
    "Abuse028_x264": (2, 9),
}


def write_lists(folder: Path, train: dict[str, int] = TRAIN, spans: dict[str, tuple[int, ...]] = SPANS) -> Path:
    """Lists of the released shape: twelve training and six test videos, two plain partitions, one of segments."""
    (folder / "lists").mkdir(parents=True)
    for name, counts in ((TRAIN_LIST, train), (TEST_LIST, TEST)):
        lines, stop = "", 0
        for video, count in counts.items():
            lines += f"/home/a.b/UCF ten_crop/{video}_i3d.npy,{stop},{stop + count}\n"
            stop += count
        (folder / "lists" / name).write_text(lines)
    rows = [(video, *[*spans.get(video, ()), -1, -1, -1, -1][:4]) for video in TEST]
    (folder / ANNOTATION).write_text("".join(f"{v}.mp4  Class  {a}  {b}  {c}  {d}  \n" for v, a, b, c, d in rows))
    for name, held in (
        ("scene_video_num_partition_3_V3.pkl", [[0, 3, 4, 11], [1, 2, 5, 6], [7, 8, 9, 10]]),
        ("random_video_num_partition_2_V3.pkl", [[5, 1, 0, 2, 9, 11], [4, 3, 6, 7, 8, 10]]),
    ):
        content = {"video_num": None, "data_indices": [{"train": share} for share in held]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "random_partition_5_V2.pkl").write_bytes(pickle.dumps({"separation": {}, "data_indices": []}))
    return folder
