"""Which cameras gain by learning together: each by its own model alone, and by the federation's with its home.

    python benchmarks/own_cameras.py DATASET LOCAL_RUN COLLABORATIVE_RUN PICTURE

LOCAL_RUN is ``clap train DATASET --setting local``, COLLABORATIVE_RUN the same in setting collaborative, both under
protocol scene. Prints a Markdown table of the frame AUC of each camera's own test videos and writes the picture (.svg,
.png). Cameras whose test videos hold no abnormal frame, or only such, have no AUC.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clap_vad.datasets.dataset import Dataset
from clap_vad.evaluation.evaluate import evaluate_scores
from clap_vad.persistence import open_npz
from clap_vad.reporting.palette import PALETTE
from shared import table


def main() -> None:
    """Tell and draw."""
    dataset, local, together, picture = map(Path, sys.argv[1:5])
    opened = Dataset(dataset)
    rows = []
    for scene in sorted({opened.videos[video].scene for video in opened.test_videos}):
        trained = sum(opened.videos[video].scene == scene for video in opened.train_videos)
        alone = own_auc(opened, scene, local / "participants" / scene / "scores.npz")
        shared = own_auc(opened, scene, together / "scores.npz")
        if alone is not None and shared is not None:
            rows.append((scene, trained, 100 * alone, 100 * shared))
    shown = [(*row[:2], f"{row[2]:.2f}", f"{row[3]:.2f}", f"{row[3] - row[2]:+.2f}") for row in rows]
    print(table(["camera", "training videos", "alone", "together", "gain"], shown))
    draw(rows, picture)


def own_auc(dataset: Dataset, scene: str, file: Path) -> float | None:
    """Frame AUC of a scene's test videos by the scores in a file."""
    with open_npz(file, "scores") as archive:
        scores = {video: archive[video] for video in dataset.test_videos}
    found = evaluate_scores(dataset, scores)["per_scene"][scene]["frame_auc"]
    return None if found is None else float(found)


def draw(rows: list[tuple[str, int, float, float]], file: Path) -> None:
    """A line per camera from its own model to the federation's."""
    figure = Figure(figsize=(7.0, 0.36 * len(rows) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    alone, shared = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
    axes.hlines(places, alone, shared, color=PALETTE["rule"], linewidth=3)
    axes.plot(alone, places, "o", mfc="white", color=PALETTE["ink"], label="own model alone")
    axes.plot(shared, places, "o", color=PALETTE["curve"], label="federation's, at its home")
    axes.set_yticks(places, [f"{row[0]} ({row[1]} videos)" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("frame AUC of the camera's own test videos, percent")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.0), frameon=False)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
