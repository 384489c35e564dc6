"""One video through a run's model: its scores and its events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events import DEFAULT_MAX_GAP, DEFAULT_MIN_LENGTH, DEFAULT_QUANTILE, Event, find_events
from ..detector.model import Model
from ..errors import ClapError
from ..features.extractor import EXTRACTORS, Extractor, make_extractor
from ..features.naming import natural_key, unprintable
from ..reporting.page import Video

__all__ = ["ScoredVideo", "choose_threshold", "score_video", "scored_section", "scoring_parts"]


@dataclass(frozen=True)
class ScoredVideo:
    """One video and what the model says of it.

    Attributes:
        video: its name.
        path: where it lies.
        scores: (T,) float32.
        frames, fps: frame count and rate (None where the file does not tell).
        events: in order of time.
        truncated: what is missing of it, where the file breaks off or parts of it cannot be decoded.
        notes: further remarks of its reader.
    """

    video: str
    path: Path
    scores: np.ndarray
    frames: int
    fps: float | None
    events: tuple[Event, ...]
    truncated: str | None = None
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """All but the scores, fit for JSON."""
        return {
            "video": self.video,
            "path": str(self.path),
            "frames": self.frames,
            "fps": self.fps,
            "seconds": self.frames / self.fps if self.fps else None,
            "segments": len(self.scores),
            "max_score": float(self.scores.max()),
            "truncated": self.truncated,
            "notes": list(self.notes),
            "events": [asdict(event) for event in self.events],
        }


def scoring_parts(run: Path) -> tuple[Model, Extractor]:
    """The model of a run and the extractor that makes its features from files.

    Raises:
        ClapError: no model there, or one that was trained on imported features.
    """
    if not (run / "model.json").exists() and (run / "participants").is_dir():
        known = sorted((p.parent.name for p in (run / "participants").glob("*/model.json")), key=natural_key)
        if known:
            raise ClapError(
                f"{run}: every participant has a model of its own here; give one of them, "
                f"for example {run / 'participants' / known[0]} (there are: {', '.join(known)})"
            )
    model = Model.load(run)
    named = model.info.get("extractor")
    if (
        not isinstance(named, dict)
        or not isinstance(named.get("name"), str)
        or not isinstance(named.get("settings") or {}, dict)
    ):
        raise ClapError(f"{run / 'model.json'}: 'extractor' does not name one; train again")
    if named["name"] not in EXTRACTORS.names():
        raise ClapError(
            f"{run / 'model.json'}: the model needs features of '{named['name']}', which were imported, so a plain "
            "video cannot be scored with it; import the video's features into a dataset and use 'clap evaluate RUN "
            f"--dataset DATASET', or train on features of {' or '.join(EXTRACTORS.names())}"
        )
    extractor = make_extractor(named["name"], named.get("settings") or {})
    if extractor.dim != model.dim:
        raise ClapError(
            f"{run / 'model.json'}: the model takes {model.dim} floats per crop, extractor '{named['name']}' gives "
            f"{extractor.dim}; the run was made by another release, train again"
        )
    return model, extractor


def choose_threshold(
    model: Model, run: Path, threshold: float | None, quantile: float | None
) -> tuple[float, float | None]:
    """The threshold to use and the quantile it stands for (None where it was given as a number)."""
    if threshold is not None and quantile is not None:
        raise ClapError("--threshold and --quantile: give one of them")
    if threshold is not None:
        return threshold, None
    calibration = model.info.get("calibration") or {}
    try:
        known = {float(q): float(value) for q, value in (calibration.get("quantiles") or {}).items()}
        if isinstance(calibration.get("threshold"), (int, float)):
            known[float(calibration.get("quantile", DEFAULT_QUANTILE))] = float(calibration["threshold"])
    except (AttributeError, TypeError, ValueError):
        raise ClapError(f"{run / 'model.json'}: its calibration is damaged; give --threshold") from None
    if not known:
        raise ClapError(f"{run / 'model.json'}: no calibration in it; give --threshold")
    if quantile is None:
        quantile = float(calibration.get("quantile", DEFAULT_QUANTILE))
    at = sorted(known)
    if not at[0] <= quantile <= at[-1]:
        raise ClapError(f"--quantile {quantile:g}: the model is calibrated from {at[0]:g} to {at[-1]:g}")
    return float(np.interp(quantile, at, [known[q] for q in at])), quantile


def score_video(
    model: Model,
    extractor: Extractor,
    path: Path,
    *,
    threshold: float,
    max_gap: float = DEFAULT_MAX_GAP,
    min_length: float = DEFAULT_MIN_LENGTH,
) -> ScoredVideo:
    """Score one file block by block: memory does not grow with the video but for one number per segment.

    Raises:
        ClapError: the file cannot be read; the sentence names it.
    """
    name = extractor.video_name(path)
    if unprintable(name):
        raise ClapError(f"{path}: {name!r} cannot name a video; rename the file")
    extraction = extractor.extract(path)
    parts = [model.score(features, valid) for features, valid in extraction]
    found = np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
    if not len(found):
        raise ClapError(f"{path}: no frame in it, so there is nothing to score")
    if not np.isfinite(found).all():
        raise ClapError(f"{path}: its scores are not finite; the model has diverged, train it with a smaller --lr")
    ending = extraction.ending
    fps = ending.fps or None
    events = find_events(
        found,
        threshold=threshold,
        frames=ending.frames,
        fps=fps,
        segment_frames=extractor.segment_frames,
        max_gap=max_gap,
        min_length=min_length,
    )
    return ScoredVideo(name, path, found, ending.frames, fps, tuple(events), ending.truncated, ending.notes)


def scored_section(one: ScoredVideo, segment_frames: int, threshold: float, *, images: bool, blur: bool) -> Video:
    """A scored video as a section of a page; its pictures are decoded here."""
    # matplotlib and the decoder are wanted for a report only
    from ..reporting.thumbnails import thumbnails
    from ..reporting.video import pictured, video_section

    wanted = [event.peak_frame for event in pictured(one.events)]
    return video_section(
        one.video,
        one.scores,
        frames=one.frames,
        fps=one.fps,
        segment_frames=segment_frames,
        threshold=threshold,
        events=one.events,
        pictures=thumbnails(one.path, wanted, blur=blur) if images else None,
        remarks=(*([f"read in part: {one.truncated}"] if one.truncated else []), *one.notes),
    )
