"""CLAP on a store of the released layout: stage A, eleven sites, one round of ten local epochs, evaluation.

    python benchmarks/released_scale.py FILE [--epochs 10] [--stage-a-only]

FILE is float32 (segments, 10, 2048) with FILE.index.csv (start,stop) beside it, as a stage A trial script writes it.
Prints seconds per stage, each as a multiple of one bare sum over the file taken just before, training also as a
share of the rate at which its matrix products run alone, and the peak of anonymous memory above the start.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import Plan
from clap_vad.algorithms.rounds import global_weights
from clap_vad.core.pseudo_labels.mixture import anomalous_videos, common_density, normal_gaussian
from clap_vad.core.pseudo_labels.windows import window_labels
from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.detector.network import initial_weights
from clap_vad.detector.scoring import score_videos
from clap_vad.features.importing.importer import import_features
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.streaming import all_video_statistics
from clap_vad.specification.run import RunSpecification
from clap_vad.workflows.federate import Federation
from training import bare_products

SITES = 11
THREADS = 2


def anonymous_mb() -> float:
    """RssAnon of this process in MB; mapped pages of the feature file do not count."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) / 1024


class PeakMemory(threading.Thread):
    """Samples anonymous memory every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_mb = self.peak_mb = anonymous_mb()

    def run(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, anonymous_mb())
            time.sleep(0.02)


def open_store(file: Path, folder: Path) -> FeatureStore:
    """The file as a store, referenced in place."""
    with Path(f"{file}.index.csv").open() as handle:
        rows = [(int(row["start"]), int(row["stop"])) for row in csv.DictReader(handle)]
    index = folder / "list.txt"
    index.write_text("".join(f"video{i:04d}.npy,{start},{stop}\n" for i, (start, stop) in enumerate(rows)))
    import_features("clap", file, folder / "data" / "store", index=index)
    return FeatureStore(folder / "data" / "store")


def stage_a(store: FeatureStore) -> int:
    """Stage A of all videos as one participant; returns how many segments are labelled."""
    statistics = all_video_statistics(store, store.index, None, "diagonal")
    anomalous = anomalous_videos(np.stack([summary for _, summary in statistics]))
    normal = np.concatenate([m for (m, _), bad in zip(statistics, anomalous, strict=True) if not bad])
    gaussians = np.array([normal_gaussian(normal)])
    return sum(
        int(window_labels(common_density(m, gaussians), 0.2, "low", "release").sum())
        for (m, _), bad in zip(statistics, anomalous, strict=True)
        if bad
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--stage-a-only", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = open_store(arguments.file.resolve(), folder)
        import sklearn.mixture  # noqa: F401  # imported beforehand: loading libraries is not part of the measure

        memory = PeakMemory()
        memory.start()
        started = time.perf_counter()
        store.features.sum(dtype=np.float64)
        bare = time.perf_counter() - started
        started = time.perf_counter()
        labelled = stage_a(store)
        seconds = time.perf_counter() - started
        print(
            f"bare sum {bare:.2f} s; stage A {seconds:.2f} s = {seconds / bare:.1f} bare sums, {labelled} labelled;",
            end=" ",
        )
        print(f"anonymous memory {memory.peak_mb - memory.start_mb:.0f} MB above {memory.start_mb:.0f} MB at the start")
        if arguments.stage_a_only:
            return
        whole_run(store, folder, arguments.epochs, bare)
        print(f"peak of anonymous memory {memory.peak_mb:.0f} MB")


def whole_run(store: FeatureStore, folder: Path, epochs: int, bare: float) -> None:
    """What the released scripts do, by the product's own federation."""
    names = [entry.video for entry in store.index]
    write_videos_csv(folder / "data" / "videos.csv", [VideoRecord(name, "train") for name in names])
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.choice(np.arange(20, len(names) - 20), SITES - 1, replace=False))
    participants = {f"site-{i}": list(part) for i, part in enumerate(np.split(np.array(names), cuts))}
    spec = RunSpecification(method="clap", rounds=1, normalise="none", threads=THREADS)
    plan = Plan(spec, tuple(participants), store.dim)
    method = make_method("clap", {"local_epochs": epochs, "momentum": 0.0, "refine": "off"})
    started = time.perf_counter()
    score_videos(initial_weights(store.dim, 0), store, store.index, None, THREADS)
    before = time.perf_counter() - started
    started = time.perf_counter()
    state = Federation(folder / "run", Dataset(folder / "data"), participants, plan, method).run()
    training = time.perf_counter() - started
    started = time.perf_counter()
    score_videos(global_weights(state), store, store.index, None, THREADS)
    after = time.perf_counter() - started
    arithmetic = bare_products(store.segments, store.crops, store.dim) * epochs
    print(f"evaluation before {before:.1f} s, federation {training:.1f} s, evaluation after {after:.1f} s;", end=" ")
    print(f"whole run {before + training + after:.1f} s = {(before + training + after) / bare:.0f} bare sums;", end=" ")
    print(f"products of training alone {arithmetic:.1f} s = {arithmetic / training:.0%} of the federation")


if __name__ == "__main__":
    main()
