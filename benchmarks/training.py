"""Training throughput as a share of the rate of its own matrix products.

    python benchmarks/training.py [--segments 4096] [--crops 10] [--dim 2048] [--repeats 5]

Prints, for each of several turns taken alternately, the seconds of local SGD over a memory-mapped store and of a bare
``torch.mm`` loop over the same products (forward and backward of all three layers, no gradient to the input of the
first), and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from clap_vad.detector.network import HIDDEN, initial_weights
from clap_vad.detector.source import SegmentSource
from clap_vad.detector.training import SgdSettings, local_sgd
from clap_vad.features.store.writer import StoreWriter

BATCH = 128


def bare_products(segments: int, crops: int, dim: int) -> float:
    """Seconds that the matrix products of one epoch take on their own."""
    rows, sizes = BATCH * crops, (dim, *HIDDEN, 1)
    x = [torch.randn(rows, size) for size in sizes]
    w = [torch.randn(b, a) for a, b in itertools.pairwise(sizes)]
    forward = [torch.empty(rows, size) for size in sizes[1:]]
    grads = [torch.empty_like(v) for v in w]
    backward = [torch.empty(rows, size) for size in sizes[:-1]]
    start = time.perf_counter()
    for _ in range(segments // BATCH):
        for layer, weight in enumerate(w):
            torch.mm(x[layer], weight.t(), out=forward[layer])
        for layer in (2, 1, 0):
            torch.mm(x[layer + 1].t(), x[layer], out=grads[layer])
            if layer:
                torch.mm(x[layer + 1], w[layer], out=backward[layer])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=4096)
    parser.add_argument("--crops", type=int, default=10)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with StoreWriter(
            Path(folder) / "store", extractor="synthetic", settings={}, crops=a.crops, dim=a.dim
        ) as writer:
            block = rng.random((64, a.crops, a.dim), dtype=np.float32)
            writer.append("v", (block for _ in range(a.segments // 64)), frames=16 * a.segments, fps=None)
            store = writer.finish()
        source = SegmentSource(store, store.index, None)
        labels = (rng.random(len(source)) < 0.2).astype(np.float32)
        weights, settings = initial_weights(a.dim, 0), SgdSettings((0.01,), batch_size=BATCH)
        ratios = []
        for turn in range(a.repeats + 1):
            bare = bare_products(len(source), a.crops, a.dim)
            start = time.perf_counter()
            local_sgd(weights, source, labels, settings, np.random.Generator(np.random.SFC64(turn)), a.threads)
            ours = time.perf_counter() - start
            if turn:  # the first turn warms caches
                ratios.append(bare / ours)
                print(f"products {bare:.3f} s, training {ours:.3f} s, share {bare / ours:.1%}")
    print(f"median share {statistics.median(ratios):.1%} (min {min(ratios):.1%}, max {max(ratios):.1%})")


if __name__ == "__main__":
    main()
