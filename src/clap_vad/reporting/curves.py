"""ROC and score curves of a run's test videos."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..core.evaluation.metrics import roc_auc, roc_curve
from ..evaluation.counts import count_frames
from ..persistence import open_npz
from .page import Plot, Plots, Section
from .plots import roc_curves, score_curve
from .run_files import RunFiles

__all__ = ["chosen_ranks", "roc_plots", "score_plots"]

_SHOWN = 8


def roc_plots(run: RunFiles) -> list[Section]:
    """The ROC curve of the run's model, or of the participants' models with lowest, median and highest AUC."""
    if run.dataset is None:
        return []
    curves = []
    for name, file in run.scores.items():
        with open_npz(file, "scores") as archive:
            sample = count_frames(run.dataset, archive, str(file)).arrays()
        area = roc_auc(*sample)
        if area is not None:
            curves.append((area, name, roc_curve(*sample)[:2]))
    if not curves:
        return []
    curves.sort(key=lambda curve: curve[:2])
    picked = sorted({0, (len(curves) - 1) // 2, len(curves) - 1})
    named = {f"{curves[i][1] or 'this run'}, AUC {100 * curves[i][0]:.2f} %": curves[i][2] for i in picked}
    note = "" if len(curves) == 1 else "The participants with the lowest, the median and the highest AUC."
    plot = Plot(partial(roc_curves, named), "ROC curve over all test frames: " + "; ".join(named), name="roc-curve")
    return [Plots("ROC curve", (plot,), note, small=True)]


def score_plots(run: RunFiles) -> list[Section]:
    """Score curves of some test videos, chosen without using the ground truth."""
    if not run.scores:
        return []
    name = next(iter(run.scores))
    highest: dict[str, float] = {}
    lowest: dict[str, float] = {}

    def rank(video: str, scores: np.ndarray) -> None:
        if scores.ndim == 1 and len(scores):
            highest[video], lowest[video] = float(scores.max()), float(scores.min())

    run.read_scores(name, rank)
    order = sorted(highest, key=lambda video: (-highest[video], video))
    if not order:
        return []
    shown = [order[position] for position in chosen_ranks(len(order), _SHOWN)]
    limits = (min(lowest[video] for video in shown), max(highest[video] for video in shown))
    found: dict[str, Plot] = {}

    def draw(video: str, scores: np.ndarray) -> None:
        if video in shown:
            found[video] = _score_plot(run, video, scores, limits, order.index(video) + 1, len(order))

    run.read_scores(name, draw)
    note = (
        f"All {len(order)} test videos."
        if len(order) <= _SHOWN
        else f"{_SHOWN} of {len(order)} test videos, evenly spaced in the order of their highest score, first and last "
        "included; the choice does not use the ground truth."
    )
    if name:
        note += f" Scores of the model of {name}, the first participant by name."
    return [Plots("Scores over time", tuple(found[video] for video in shown), note)]


def chosen_ranks(total: int, shown: int) -> list[int]:
    """The ranks of ``total`` videos to show: all, or ``shown`` evenly spaced ones including first and last.

    >>> chosen_ranks(3, 8), chosen_ranks(100, 5)
    ([0, 1, 2], [0, 25, 50, 74, 99])
    """
    return sorted({round(rank) for rank in np.linspace(0, total - 1, min(total, shown)).tolist()})


def _score_plot(
    run: RunFiles, video: str, scores: np.ndarray, limits: tuple[float, float], rank: int, total: int
) -> Plot:
    segment_frames, fps, truth = 16, None, None
    frames = 16 * len(scores)
    scene = ""
    if run.dataset is not None and video in run.dataset.videos:
        store, entry = run.dataset.locate(video)
        segment_frames, frames, fps = store.segment_frames, entry.frames, entry.fps
        truth = run.dataset.frame_labels(video)
        scene = run.dataset.videos[video].scene
    draw = partial(
        score_curve, scores, frames=frames, fps=fps, segment_frames=segment_frames, truth=truth, limits=limits
    )
    abnormal = int(np.count_nonzero(truth)) if truth is not None else 0
    facts = f"{scene}, " if scene and not video.startswith(scene) else ""
    marked = f", {abnormal} of {len(truth)} frames abnormal" if truth is not None else ""
    description = f"Scores of {video} over time, highest {scores.max():.3f}{marked}"
    caption = f"{video}  ({facts}highest score {scores.max():.3f}, rank {rank} of {total}{marked})"
    return Plot(draw, description, caption, f"scores-{video}")
