"""Simple label-free baselines, reported with every result.

They show what is possible without learning to detect. The set was fixed before any result was known: the segment's
magnitude, its largest single feature, and its distance to the nearest unlabelled training segments. Each is one file in
``evaluation/baselines/``.

Baselines use one sample of at most 20,000 training segments, so their cost is bounded; the test set is streamed once
for all baselines. They are central: they pool segments of all participants, so sites could not run them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.pseudo_labels.magnitude import region_mean
from ..core.statistics.moments import Moments, Normaliser
from ..datasets.dataset import Dataset
from ..features.store.reader import FeatureStore, VideoIndex
from ..registry import Registry
from .counts import count_frames
from .evaluate import evaluate_counts

__all__ = ["BASELINES", "Baseline", "Block", "SegmentScorer", "TrainingSample", "baseline_scores", "baseline_table"]

SAMPLE_SEGMENTS = 20_000
SAMPLE_SEED = 0
_BLOCK_BYTES = 16 << 20
_CACHED_FLOATS = 1 << 17


@dataclass(frozen=True)
class TrainingSample:
    """Sample of the unlabelled training set for baselines.

    Attributes:
        normaliser: mean and standard deviation per dimension over the sample's valid regions.
        rows: (n, D) float32, standardised averages over regions of the sampled segments; zeros, the training mean, for
            a segment without a valid region.
        standardise: whether the features need standardisation (``normalise`` of the store is ``federated``).
    """

    normaliser: Normaliser
    rows: np.ndarray
    standardise: bool


@dataclass(frozen=True)
class Block:
    """Some segments, of one video or several.

    Attributes:
        raw: (n, C, D) float32.
        valid: (n, C) bool, the valid regions, or None if all are valid.
        normaliser: constants of the training sample.
    """

    raw: np.ndarray
    valid: np.ndarray | None
    normaliser: Normaliser

    @cached_property
    def standardised(self) -> np.ndarray:
        """(n, C, D) float32, shared by the baselines."""
        return self.normaliser.apply(self.raw.copy())


SegmentScorer = Callable[[Block], np.ndarray]
Baseline = Callable[[TrainingSample], SegmentScorer]

BASELINES = Registry[Baseline]("baseline", "clap_vad.evaluation.baselines")


def baseline_table(dataset: Dataset) -> dict[str, dict[str, float | None]]:
    """Frame-level results of every baseline: ``{name: {frame_auc, frame_ap}}``.

    Empty if the dataset has no training videos or no test video with ground truth.
    """
    if not dataset.train_videos or not any(_has_truth(dataset, video) for video in dataset.test_videos):
        return {}
    table = {}
    for name, scores in baseline_scores(dataset).items():
        result = evaluate_counts(count_frames(dataset, scores, f"baseline {name}"))
        table[name] = {metric: result[metric] for metric in ("frame_auc", "frame_ap")}
    return table


def baseline_scores(dataset: Dataset, names: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Scores of the test videos under each baseline: ``{name: {video: (T,) float32}}``.

    Args:
        dataset: training videos are sampled, test videos streamed once in bounded blocks.
        names: names of the baselines; all by default.

    Raises:
        ClapError: a name that is not registered, or a video that is in no store.
    """
    sample = sample_training(dataset)
    scorers = {name: BASELINES[name](sample) for name in (BASELINES.names() if names is None else names)}
    scores: dict[str, dict[str, np.ndarray]] = {name: {} for name in scorers}
    for store, entries in dataset.by_store(dataset.test_videos):
        parts: dict[str, list[np.ndarray]] = {name: [] for name in scorers}
        for raw, valid in _read_blocks(store, _rows(entries)):
            block = Block(raw, valid, sample.normaliser)
            for name, score in scorers.items():
                parts[name].append(score(block).astype(np.float32))
        ends = np.cumsum([entry.segments for entry in entries])
        for name in scorers:
            by_video = np.split(np.concatenate(parts[name]), ends[:-1])
            scores[name] |= {entry.video: own for entry, own in zip(entries, by_video, strict=True)}
    return scores


def sample_training(dataset: Dataset) -> TrainingSample:
    """Read the sample: training segments drawn without replacement with a fixed seed, in their original order."""
    located = [(store, _rows(entries)) for store, entries in dataset.by_store(dataset.train_videos)]
    total = sum(len(rows) for _, rows in located)
    chosen = np.arange(total)
    if total > SAMPLE_SEGMENTS:
        chosen = np.sort(np.random.default_rng(SAMPLE_SEED).choice(total, SAMPLE_SEGMENTS, replace=False))
    moments, averages, absent, start = Moments.zero(located[0][0].dim), [], [], 0
    for store, rows in located:
        first, last = np.searchsorted(chosen, [start, start + len(rows)])
        for raw, valid in _read_blocks(store, rows[chosen[first:last] - start]):
            moments = moments + _moments(raw.reshape(-1, store.dim) if valid is None else raw[valid])
            averages.append(region_mean(raw, valid).copy())
            absent.append(np.zeros(len(raw), bool) if valid is None else ~valid.any(axis=1))
        start += len(rows)
    normaliser = Normaliser.from_moments(moments)
    standardised = normaliser.apply(np.concatenate(averages))
    standardised[np.concatenate(absent)] = 0
    return TrainingSample(normaliser, standardised, located[0][0].info.get("normalise") == "federated")


def _rows(entries: Sequence[VideoIndex]) -> np.ndarray:
    return np.concatenate([np.arange(entry.start, entry.stop) for entry in entries])


def _read_blocks(store: FeatureStore, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Features and region mask of these rows in float32 blocks of bounded size, across video boundaries."""
    step = max(1, _BLOCK_BYTES // (store.crops * store.dim * 4))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        raw: np.ndarray = np.asarray(store.features[part], dtype=np.float32)
        yield raw, None if store.valid is None else np.asarray(store.valid[part])


def _moments(rows: np.ndarray) -> Moments:
    """Moments of (n, D) rows, in pieces whose float64 copy fits the CPU cache: four times faster."""
    step = max(1, _CACHED_FLOATS // rows.shape[1])
    return Moments.total((Moments.of(rows[i : i + step]) for i in range(0, len(rows), step)), rows.shape[1])


def _has_truth(dataset: Dataset, video: str) -> bool:
    return dataset.videos[video].label == 0 or dataset.frame_labels(video) is not None
