"""How far the scores of exported graphs are from those of the models, over a dataset's test videos, and how fast.

    python benchmarks/export_parity.py RUN DATASET

Every model of the run is exported, the common one and those of homes, for whole videos and causal. The common judges
all test videos, a home those of its scene. Printed: the largest difference of a score, and the seconds that numpy or
torch and onnxruntime took, both on one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.export.exported import ExportedModel
from clap_vad.detector.export.files import write_export
from clap_vad.detector.model import Model
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.detector.scorer import Scorer


def timed(scorer: Scorer, dataset: Dataset, videos: Sequence[str], causal: bool) -> tuple[list[np.ndarray], float]:
    """Scores of the videos, and the seconds they took."""
    start, found = time.perf_counter(), []
    for store, entries in dataset.by_store(videos):
        found += scorer.score_videos(store, entries, 1, causal)
    return found, time.perf_counter() - start


def compared(model: Model, dataset: Dataset, videos: Sequence[str], causal: bool) -> tuple[int, float, float, float]:
    """Segments, largest difference, seconds of the model, seconds of its graph."""
    with tempfile.TemporaryDirectory() as scratch:
        write_export(model, Path(scratch), causal=causal)
        exported = ExportedModel(Path(scratch), model)
    own, seconds = timed(model, dataset, videos, causal)
    graphs, graph_seconds = timed(exported, dataset, videos, causal)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(own, graphs, strict=True))
    return sum(map(len, own)), apart, seconds, graph_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    given = parser.parse_args()
    personalised, dataset = PersonalisedModels.load(given.run), Dataset(given.dataset)
    judged = {"(common)": (personalised.common, list(dataset.test_videos))}
    for scene, model in personalised.own.items():
        judged[scene] = (model, [video for video in dataset.test_videos if dataset.videos[video].scene == scene])
    print("model        graph   videos  segments  max |difference|  model s  onnx s")
    for name, (model, videos) in judged.items():
        for causal in (False, True) if videos else ():
            segments, apart, seconds, graph_seconds = compared(model, dataset, videos, causal)
            kind = "causal" if causal else "whole"
            figures = f"{len(videos):6}  {segments:8}  {apart:16.1e}  {seconds:7.2f}  {graph_seconds:6.2f}"
            print(f"{name:<12} {kind:<6}  {figures}", flush=True)


if __name__ == "__main__":
    main()
