"""Score one video with a run's model and find its events."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events.detection import DEFAULT_QUANTILE, Event, find_events
from ..core.events.policy import EventPolicy
from ..core.events.regions import Region, peak_region
from ..core.events.timing import FrameTimes
from ..core.text.naming import natural_key
from ..detector.model import Model
from ..detector.personalised import PersonalisedModels
from ..detector.scorer import Scorer
from ..errors import ClapError, unprintable
from ..features.extraction.extractor import EXTRACTORS, Extractor, make_extractor
from ..features.store.reader import FeatureStore, VideoIndex
from ..reporting.page import Video
from ..settings import settings_of

__all__ = [
    "Locator",
    "ScoredVideo",
    "choose_threshold",
    "model_of",
    "regions_of",
    "score_video",
    "scored_section",
    "scoring_parts",
    "stored_regions",
    "with_regions",
]


@dataclass(frozen=True)
class ScoredVideo:
    """A video with its scores and events.

    Attributes:
        video: its name.
        path: of the file.
        scores: (T,) float32.
        frames, fps: frame count and rate (None if unknown).
        times: of the frames, where ``fps`` alone does not determine them.
        events: in order of time.
        truncated: what is missing, if the file is cut off or parts of it cannot be decoded.
        notes: further remarks of its reader.
        started: recording time in seconds since 1970, if the file contains it.
        regions: segment that reaches the threshold -> its peak region.
    """

    video: str
    path: Path
    scores: np.ndarray
    frames: int
    fps: float | None
    events: tuple[Event, ...]
    truncated: str | None = None
    notes: tuple[str, ...] = ()
    started: float | None = None
    times: FrameTimes | None = None
    regions: Mapping[int, Region] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """Duration; None if the frame rate is unknown."""
        if self.times is not None:
            return self.times.seconds
        return self.frames / self.fps if self.fps else None

    def summary(self) -> dict[str, Any]:
        """All but the scores, as a JSON-able dict."""
        return {
            "video": self.video,
            "path": str(self.path),
            "frames": self.frames,
            "fps": self.fps,
            "seconds": self.seconds,
            "segments": len(self.scores),
            "max_score": float(self.scores.max()),
            "truncated": self.truncated,
            "notes": list(self.notes),
            "started": None if self.started is None else _written(self.started),
            "events": [{**asdict(event), **self._clock(event)} for event in self.events],
        }

    def _clock(self, event: Event) -> dict[str, str]:
        """Wall-clock times of an event, if the file contains its recording time."""
        moments = {"start": event.start_seconds, "stop": event.stop_seconds, "peak": event.peak_seconds}
        return {
            f"{name}_time": _written(self.started + seconds)
            for name, seconds in moments.items()
            if self.started is not None and seconds is not None
        }


def _written(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def scoring_parts(
    run: Path, scene: str | None = None, here: Mapping[str, Any] | None = None
) -> tuple[Model, Extractor]:
    """The model of a run and the extractor that computes its features from files.

    Args:
        run: its folder.
        scene: use the model personalised for this camera; None for the common one.
        here: machine options of the extractor (``weights``, ``device``), and ``rate``.

    Raises:
        ClapError: no model, a model trained on imported features, or weights other than the model's.
    """
    model = model_of(run, scene)
    named = model.info.get("extractor")
    if (
        not isinstance(named, dict)
        or not isinstance(named.get("name"), str)
        or not isinstance(named.get("settings") or {}, dict)
    ):
        raise ClapError(f"{run / 'model.json'}: 'extractor' does not name one; train again")
    if named["name"] not in EXTRACTORS.names():
        raise ClapError(
            f"{run / 'model.json'}: the model needs imported features of '{named['name']}', so it cannot score video "
            "files; import the video's features into a dataset and use 'clap evaluate RUN --dataset DATASET', or "
            f"train on features of {' or '.join(EXTRACTORS.names())}"
        )
    own = {entry.name for entry in settings_of(EXTRACTORS[named["name"]]) if entry.machine or entry.name == "rate"}
    given = {name: value for name, value in (here or {}).items() if value is not None}
    if strange := sorted(given.keys() - own):
        raise ClapError(
            f"--{strange[0]}: {run} takes features of '{named['name']}', which has no such setting; leave it out"
        )
    extractor = make_extractor(named["name"], {**(named.get("settings") or {}), **given})
    if extractor.weights_sha256 != model.info.get("weights_sha256"):
        raise ClapError(
            f"{run / 'model.json'}: the model needs extractor weights with SHA-256 {model.info['weights_sha256']}, but "
            f"the given file has {extractor.weights_sha256}; give the same file by --weights"
        )
    if extractor.dim != model.dim:
        raise ClapError(
            f"{run / 'model.json'}: the model takes {model.dim} floats per region, extractor '{named['name']}' gives "
            f"{extractor.dim}; the run was made by another release, train again"
        )
    return model, extractor


def model_of(run: Path, scene: str | None) -> Model:
    """The common or a personalised model of a run; arguments and errors as of :func:`scoring_parts`."""
    if not (run / "model.json").exists() and (run / "participants").is_dir():
        known = sorted((p.parent.name for p in (run / "participants").glob("*/model.json")), key=natural_key)
        if known:
            raise ClapError(
                f"{run}: each participant has its own model here; give one of them, "
                f"for example {run / 'participants' / known[0]} (known: {', '.join(known)})"
            )
    personalised = PersonalisedModels.load(run)
    if scene is None:
        return personalised.common
    if scene not in personalised.own:
        scenes = ", ".join(sorted(personalised.own, key=natural_key)) or "none"
        raise ClapError(f"{run}: no model personalised for scene '{scene}'; known: {scenes}; leave out --scene")
    return personalised.own[scene]


def choose_threshold(
    model: Model, run: Path, threshold: float | None, quantile: float | None
) -> tuple[float, float | None]:
    """The threshold, and its quantile of the training scores (None if the threshold itself was given)."""
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
        raise ClapError(f"{run / 'model.json'}: contains no calibration; give --threshold")
    if quantile is None:
        quantile = float(calibration.get("quantile", DEFAULT_QUANTILE))
    at = sorted(known)
    if not at[0] <= quantile <= at[-1]:
        raise ClapError(f"--quantile {quantile:g}: the model is calibrated from {at[0]:g} to {at[-1]:g}")
    return float(np.interp(quantile, at, [known[q] for q in at])), quantile


def score_video(
    model: Scorer,
    extractor: Extractor,
    path: Path,
    policy: EventPolicy,
) -> ScoredVideo:
    """Score one file block by block; memory grows by a few numbers per segment only.

    Raises:
        ClapError: the file cannot be read; the message names it.
    """
    name = extractor.video_name(path)
    if unprintable(name):
        raise ClapError(f"{path}: {name!r} is not allowed as a video's name; rename the file")
    extraction = extractor.extract(path)
    parts: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    places: list[np.ndarray] = []  # one array per segment; views of one array if regions are fixed
    for block in extraction:
        parts.append(model.evidence(block.features, block.valid))
        masks += [] if block.valid is None else [block.valid]
        places += [] if block.regions is None else list(block.regions)
    if not sum(map(len, parts)):
        raise ClapError(f"{path}: contains no frames, so there is nothing to score")
    evidence = np.concatenate(parts)
    present = np.concatenate(masks) if masks else None
    found = model.scores(evidence, present, extraction.ending.fps or None)
    if not np.isfinite(found).all():
        raise ClapError(f"{path}: its scores are not finite; the model has diverged, train it with a smaller --lr")
    ending = extraction.ending
    fps = ending.fps or None
    events = find_events(
        found,
        policy,
        frames=ending.frames,
        fps=fps,
        segment_frames=extractor.segment_frames,
        times=ending.times,
    )
    where = Locator(model.contributions(evidence, present), places, present)
    located = tuple(with_regions(events, where, extractor.segment_frames))
    high = {segment: where.region(segment) for segment in np.flatnonzero(found >= policy.threshold).tolist()}
    regions = {segment: region for segment, region in high.items() if region is not None}
    read = ending.truncated, ending.notes, ending.started, ending.times
    return ScoredVideo(name, path, found, ending.frames, fps, located, *read, regions)


@dataclass(frozen=True)
class Locator:
    """Finds the peak region of a video's segments.

    Attributes:
        contributions: (T, C), :meth:`~clap_vad.detector.scorer.Scorer.contributions` of a model.
        places: T times (C, 4), the regions of each segment; empty for features without regions.
        valid: (T, C) bool; None if all regions are valid.
    """

    contributions: np.ndarray
    places: Sequence[np.ndarray]
    valid: np.ndarray | None

    def region(self, segment: int) -> Region | None:
        """The peak region of a segment; None if unknown."""
        if not len(self.places):
            return None
        valid = None if self.valid is None else self.valid[segment]
        return peak_region(self.contributions[segment], self.places[segment], valid)


def with_regions(events: Sequence[Event], where: Locator, segment_frames: int) -> list[Event]:
    """The events with the regions of their peaks."""
    last = len(where.contributions) - 1
    return [replace(event, region=where.region(min(event.peak_frame // segment_frames, last))) for event in events]


def stored_regions(store: FeatureStore, entry: VideoIndex) -> Sequence[np.ndarray]:
    """The regions of a stored video, segment by segment: from the store, or the fixed ones of its extractor."""
    if store.regions is not None:
        return list(np.array(store.regions[entry.start : entry.stop], np.float32))
    if store.extractor not in EXTRACTORS.names():
        return []
    places = make_extractor(store.extractor, store.info.get("settings", {})).places
    return [] if places is None else [places] * entry.segments


def regions_of(events: Sequence[Event]) -> dict[int, Region]:
    """Peak frame -> region, for events that have one."""
    return {event.peak_frame: event.region for event in events if event.region is not None}


def scored_section(
    one: ScoredVideo,
    segment_frames: int,
    threshold: float,
    *,
    images: bool,
    blur: bool,
    rate: float | None = None,
    track: int | None = None,
) -> Video:
    """A scored video as a section of a page; decodes its pictures."""
    # matplotlib and the decoder are needed for a report only
    from ..reporting.thumbnails import thumbnails
    from ..reporting.video import pictured, video_section

    wanted = [event.peak_frame for event in pictured(one.events)]
    look: dict[str, Any] = {"rate": rate, "track": track, "blur": blur, "regions": regions_of(one.events)}
    return video_section(
        one.video,
        one.scores,
        frames=one.frames,
        fps=one.fps,
        segment_frames=segment_frames,
        threshold=threshold,
        events=one.events,
        times=one.times,
        pictures=thumbnails(one.path, wanted, **look) if images else None,
        remarks=(*([f"read in part: {one.truncated}"] if one.truncated else []), *one.notes),
    )
