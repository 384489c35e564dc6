"""How far off updates in 8 bits are, by the step: what the rule for steps was chosen by. No label is read.

    python benchmarks/update_encoding.py DATASET [--method clap] [--strategy fedavg] [--rounds 20] [--seed 7]

Trains once with float32 updates, keeps what every site sent, and encodes that with steps of so many times the root
mean square of the last decoded mean (under masks: of a participant's part of it). Printed, without masks and with:

- error: of a round's decoded mean update, relative L2, mean over rounds and arrays;
- after all: the same of the sum of all rounds' updates, where what was left over has been sent;
- clipped: share of the numbers that were beyond 127 steps.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clap_vad.audit.replay import replay
from clap_vad.core.statistics.quantisation import MOST_STEPS, stochastic_steps
from clap_vad.datasets.dataset import Dataset
from clap_vad.specification.run import RunOptions
from clap_vad.workflows.opening import open_run
from clap_vad.workflows.resolution import specify

LEAST_STEP = 2.0**-30
FACTORS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.8)


def recorded(dataset: Path, method: str, strategy: str, rounds: int, seed: int) -> list[list[dict[str, np.ndarray]]]:
    """Per round the messages of all participants."""
    choices = {"setting": "collaborative", "supervision": "us", "protocol": "scene", "normalise": "auto", "threads": 0}
    config = specify(
        Dataset(dataset), RunOptions(method=method, strategy=strategy, rounds=rounds, seed=seed, options={}, **choices)
    )
    with tempfile.TemporaryDirectory() as scratch:
        seen = replay(open_run(config), Path(scratch) / "run", rounds).of("train")
    return [[reply.message for reply in each.replies] for each in seen]


def encoded(rounds: Sequence[Sequence[dict]], key: str, factor: float, masked: bool) -> tuple[float, float, float]:
    """The three figures of one array; the first round is float32 and gives the first scale."""
    counts = np.array([int(message["count"]) for message in rounds[0]])
    shares, rng = counts / counts.sum(), np.random.default_rng(0)
    into = shares if masked else np.ones(len(shares))  # what a site's numbers are multiplied by before they are encoded
    left = [np.zeros_like(message[key], np.float64) for message in rounds[0]]
    mean = sum(share * message[key] for share, message in zip(shares, rounds[0], strict=True))
    errors, clipped, true_sum, told_sum = [], [], np.zeros_like(mean), np.zeros_like(mean)
    for messages in rounds[1:]:
        step = max(factor * np.sqrt(np.mean(np.square(mean))) / (len(shares) if masked else 1), LEAST_STEP)
        true = sum(share * message[key].astype(np.float64) for share, message in zip(shares, messages, strict=True))
        mean = np.zeros_like(true)
        for number, message in enumerate(messages):
            wanted = into[number] * message[key].astype(np.float64) + left[number]
            told = step * stochastic_steps(wanted, step, rng)
            left[number] = wanted - told
            mean += told * (1 if masked else shares[number])
            clipped.append(np.mean(np.abs(wanted) > MOST_STEPS * step))
        errors.append(np.linalg.norm(mean - true) / np.linalg.norm(true))
        true_sum, told_sum = true_sum + true, told_sum + mean
    after_all = np.linalg.norm(told_sum - true_sum) / np.linalg.norm(true_sum)
    return float(np.mean(errors)), float(after_all), float(np.mean(clipped))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--method", default="clap")
    parser.add_argument("--strategy", default="fedavg")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    rounds = recorded(given.dataset, given.method, given.strategy, given.rounds, given.seed)
    keys = [key for key, value in rounds[0][0].items() if np.ndim(value)]
    print("factor   error  after all  clipped   masked: error  after all  clipped")
    for factor in FACTORS:
        row = [np.mean([encoded(rounds, key, factor, masked) for key in keys], axis=0) for masked in (False, True)]
        told = ["{:.3f}  {:.4f}     {:.4f}".format(*figures) for figures in row]
        print(f"{factor:<8g} {told[0]}            {told[1]}", flush=True)


if __name__ == "__main__":
    main()
