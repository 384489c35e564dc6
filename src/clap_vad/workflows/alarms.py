"""What an operator would have of a finished run: false alarms per hour, events found, and how late: ``clap alarms``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.evaluation.alarms import (
    Footage,
    Stream,
    alarm_histogram,
    count_alarms,
    threshold_from_histogram,
)
from ..core.events.detection import ASSUMED_FPS
from ..core.events.policy import EventPolicy
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.alarms import RATES, evaluate_alarms
from ..persistence import write_bytes, write_json
from .evaluate import check_features, open_dataset, read_config

__all__ = ["DEFAULT_RATE", "alarms"]

DEFAULT_RATE = 2.0
"""Alarms per camera-hour: who watches ten cameras is called every three minutes. Half an hour of video can tell it."""

PICTURES = {"recall": "recall", "latency_median": "latency"}
"""What is drawn over false alarms per hour, and the name of the file."""


def alarms(
    run: Path, *, dataset: Path | None = None, rate: float = DEFAULT_RATE, out: Path | None = None
) -> dict[str, Any]:
    """Choose a threshold without labels, and judge the alarms that it raises on the test videos.

    The model scores the unlabelled training videos, each segment from what has been seen until its end. The threshold
    is the lowest that keeps ``rate`` there, found as sites find it together: from a sum of their histograms. The test
    videos then are scored, and alarms at that threshold are held against their truth.

    Args:
        run: a finished run, or ``RUN/participants/ID`` where every participant has a model of its own.
        dataset: use this dataset's training and test videos instead of the one trained on.
        rate: alarms per camera-hour on the training videos, above 0.
        out: folder to write ``alarms.json`` and the pictures ``recall`` and ``latency`` (.svg and .png) into.

    Returns:
        A JSON-able dict: ``run``, ``dataset``, ``rate``, ``hold`` (seconds), ``threshold``, ``training`` {videos,
        hours, alarms, alarms_per_hour} at that threshold, ``remarks`` (sentences), and the keys of
        :func:`~clap_vad.evaluation.alarms.evaluate_alarms`.

    Raises:
        ClapError: for an unfinished or broken run, a dataset that does not fit it, one without training videos or
            without truth, a rate out of range.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise ClapError(f"--rate {rate:g}: a number of alarms per camera-hour above 0 is needed")
    if out is not None and out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    config = read_config(_home(run))
    opened = open_dataset(run, config, dataset)
    if not opened.train_videos:
        raise ClapError(f"{opened.path}: no training videos, so no threshold can be chosen without labels; add some")
    scores = _causal_scores(run, opened, [*opened.train_videos, *opened.test_videos], config.get("threads", 2))
    training = _footage(opened, opened.train_videos, scores)
    chosen = threshold_from_histogram(alarm_histogram(training), 3600 * training.hours, rate)
    policy = EventPolicy(threshold=chosen)
    judged = evaluate_alarms(opened, scores, policy.threshold, str(run))
    raised = int(count_alarms(training, np.array([policy.threshold]))[0])
    report = {
        "run": str(run),
        "dataset": str(opened.path),
        "rate": rate,
        "hold": policy.hold,
        "threshold": policy.threshold,
        "training": {
            "videos": len(opened.train_videos),
            "hours": training.hours,
            "alarms": raised,
            "alarms_per_hour": raised / training.hours,
        },
        "remarks": _remarks(opened, training.hours, rate, judged),
        **judged,
    }
    if out is not None:
        _write(out, report)
    return report


def _home(run: Path) -> Path:
    """The run's own folder: that of a participant's model lies two below it."""
    if (run / "config.json").exists() and not (run / "model.json").exists():
        known = sorted(path.parent.name for path in (run / "participants").glob("*/model.json"))
        if known:
            raise ClapError(
                f"{run}: every participant has a model of its own here; give one of them, for example "
                f"{run / 'participants' / known[0]} (there are: {', '.join(known)})"
            )
    below = run.resolve().parents
    inside = not (run / "config.json").exists() and (run / "model.json").exists() and len(below) > 1
    return below[1] if inside and (below[1] / "config.json").exists() else run


def _causal_scores(folder: Path, dataset: Dataset, videos: Sequence[str], threads: int) -> dict[str, np.ndarray]:
    """Video -> (T,) scores in [0, 1] under the model in ``folder``, each from what is seen until its segment's end."""
    from ..detector.personalised import PersonalisedModels
    from ..evaluation.scoring import score_dataset

    personalised = PersonalisedModels.load(folder)
    check_features(folder, personalised.common, dataset, videos)
    return score_dataset(dataset, videos, personalised, threads, causal=True)


def _footage(dataset: Dataset, videos: Sequence[str], scores: dict[str, np.ndarray]) -> Footage:
    streams = []
    for video in videos:
        store, entry = dataset.locate(video)
        if not np.isfinite(scores[video]).all():
            raise ClapError(f"{store.path}: scores of '{video}' are not finite; check its features, or train again")
        streams.append(Stream(scores[video], entry.frames, entry.fps, store.segment_frames))
    return Footage.of(streams)


def _remarks(dataset: Dataset, hours: float, rate: float, judged: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers."""
    remarks = []
    if hours * rate < 1:
        remarks.append(
            f"the training videos last {hours:.3g} hours, in which {rate:g} per hour allows no alarm: the threshold "
            f"lies above their highest score, and what rate it keeps is not known; give {1 / rate:.3g} hours or more, "
            "or a higher --rate"
        )
    short = [f"{own:g}" for own in RATES if own * judged["hours"] < 1]
    if short:
        remarks.append(
            f"the test videos last {judged['hours']:.3g} hours, in which {' or '.join(short)} per hour allows no false "
            "alarm: what is read there is read without any"
        )
    if not judged["events"]:
        remarks.append("the test videos hold no event, so nothing can be detected")
    if judged["videos_without_truth"]:
        remarks.append(f"{len(judged['videos_without_truth'])} test videos without truth were left out")
    unknown = sum(dataset.locate(video)[1].fps is None for video in [*dataset.train_videos, *dataset.test_videos])
    if unknown:
        remarks.append(f"the frame rate of {unknown} videos is unknown; {ASSUMED_FPS:g} per second was taken")
    return remarks


def _write(out: Path, report: dict[str, Any]) -> None:
    """The pictures and, last, ``alarms.json``."""
    from ..reporting.alarms import alarm_curves

    for quantity, name in PICTURES.items():
        for form in ("svg", "png"):
            write_bytes(out / f"{name}.{form}", alarm_curves(report, quantity, form))
    write_json(out / "alarms.json", report)
