"""False alarms per hour, events found and detection delay of a finished run: ``clap alarms``."""

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
"""Alarms per camera-hour: with ten cameras, one alarm every three minutes. Needs half an hour of video or more."""

PICTURES = {"recall": "recall", "latency_median": "latency"}
"""Quantity plotted against false alarms per hour -> file name."""


def alarms(
    run: Path, *, dataset: Path | None = None, rate: float = DEFAULT_RATE, out: Path | None = None
) -> dict[str, Any]:
    """Choose a threshold without labels, and evaluate the alarms it raises on the test videos.

    The model scores the unlabelled training videos causally: each segment from the video up to its end. The threshold
    is the lowest that keeps ``rate`` there, computed from a score histogram, as a federation does from the sum of its
    sites' histograms. The test videos are then scored, and the alarms at that threshold are compared with the truth.

    Args:
        run: a finished run, or ``RUN/participants/ID`` where each participant has its own model.
        dataset: use the training and test videos of this dataset instead of the run's own.
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
    config = read_config(_run_folder(run))
    opened = open_dataset(run, config, dataset)
    if not opened.train_videos:
        raise ClapError(f"{opened.path}: no training videos, so no threshold can be chosen without labels; add some")
    scores = _causal_scores(run, opened, [*opened.train_videos, *opened.test_videos], config.get("threads", 2))
    training = _footage(opened, opened.train_videos, scores)
    chosen = threshold_from_histogram(alarm_histogram(training), 3600 * training.hours, rate)
    policy = EventPolicy(threshold=chosen)
    evaluated = evaluate_alarms(opened, scores, policy.threshold, str(run))
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
        "remarks": _remarks(opened, training.hours, rate, evaluated),
        **evaluated,
    }
    if out is not None:
        _write(out, report)
    return report


def _run_folder(run: Path) -> Path:
    """The run's own folder; the folder of a participant's model is two levels below it."""
    if (run / "config.json").exists() and not (run / "model.json").exists():
        known = sorted(path.parent.name for path in (run / "participants").glob("*/model.json"))
        if known:
            raise ClapError(
                f"{run}: each participant has its own model here; give one of them, for example "
                f"{run / 'participants' / known[0]} (known: {', '.join(known)})"
            )
    below = run.resolve().parents
    inside = not (run / "config.json").exists() and (run / "model.json").exists() and len(below) > 1
    return below[1] if inside and (below[1] / "config.json").exists() else run


def _causal_scores(folder: Path, dataset: Dataset, videos: Sequence[str], threads: int) -> dict[str, np.ndarray]:
    """Video -> (T,) causal scores in [0, 1] under the model in ``folder``."""
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


def _remarks(dataset: Dataset, hours: float, rate: float, evaluated: dict[str, Any]) -> list[str]:
    """Limits of the numbers, as sentences."""
    remarks = []
    if hours * rate < 1:
        remarks.append(
            f"the training videos last {hours:.3g} hours, too short to allow an alarm at {rate:g} per hour: the "
            "threshold is above their highest score, and its alarm rate is unknown; give "
            f"{1 / rate:.3g} hours or more, or a higher --rate"
        )
    short = [f"{own:g}" for own in RATES if own * evaluated["hours"] < 1]
    if short:
        remarks.append(
            f"the test videos last {evaluated['hours']:.3g} hours, too short to allow a false alarm at "
            f"{' or '.join(short)} per hour: the results there are those without false alarms"
        )
    if not evaluated["events"]:
        remarks.append("the test videos contain no event, so nothing can be detected")
    if evaluated["videos_without_truth"]:
        remarks.append(f"{len(evaluated['videos_without_truth'])} test videos without truth were left out")
    unknown = sum(dataset.locate(video)[1].fps is None for video in [*dataset.train_videos, *dataset.test_videos])
    if unknown:
        remarks.append(f"the frame rate of {unknown} videos is unknown; {ASSUMED_FPS:g} per second was assumed")
    return remarks


def _write(out: Path, report: dict[str, Any]) -> None:
    """Write the plots, then ``alarms.json``."""
    from ..reporting.alarms import alarm_curves

    for quantity, name in PICTURES.items():
        for form in ("svg", "png"):
            write_bytes(out / f"{name}.{form}", alarm_curves(report, quantity, form))
    write_json(out / "alarms.json", report)
