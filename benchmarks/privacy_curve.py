"""What differential privacy costs in accuracy: one dataset, several epsilons, with and without secure aggregation.

    python benchmarks/privacy_curve.py DATASET OUT [--method clap|comet] [--unit video|crop] [--epsilons 1,2,4,8,inf]
        [--seeds 0,1,2] [OPTIONS OF clap train]

Trains CLAP (``--segregation federated``) or COMET under ``--dp`` for each epsilon and seed (which also draws the noise,
so that a repeat gives the same figures), and once as it is without ``--dp``; finished runs in OUT are taken up, not
made again. Prints a Markdown table of frame-level metrics (mean and standard deviation over seeds, ddof 1) and writes
``epsilon.svg``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clap_vad.reporting.palette import PALETTE
from shared import percent, table, train_or_resume

FORMS = {"masked": ["--secure-aggregation"], "bare": []}
LABELS = {"masked": "noise shared under secure aggregation", "bare": "every site's own noise"}


def main() -> None:
    """Train what is missing, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", default="clap", choices=("clap", "comet"))
    parser.add_argument("--unit", default="video", choices=("video", "crop"))
    parser.add_argument("--epsilons", default="1,2,4,8,inf")
    parser.add_argument("--seeds", default="0,1,2")
    arguments, options = parser.parse_known_args()
    epsilons, seeds = arguments.epsilons.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    found: dict[tuple[str, str], list[dict]] = {}
    for (form, epsilon), words in settings(arguments.method, arguments.unit, epsilons):
        for seed in seeds:
            run = arguments.out / f"{form}-{epsilon}-{seed}"
            seeded = [*words, "--dp-seed", str(seed)] if "--dp" in words else words
            command = partial(train, arguments.dataset, run, seed, [*seeded, *options])
            found.setdefault((form, epsilon), []).append(train_or_resume(run, command))
    baselines = found["plain", "none"][0]["baselines"]
    print(markdown(found, baselines))
    draw(found, baselines, epsilons, arguments.unit, arguments.out / "epsilon.svg")


def settings(method: str, unit: str, epsilons: list[str]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """(form, epsilon) and the options of each setting."""
    common = ["--method", method, *(["--segregation", "federated"] if method == "clap" else [])]
    yield ("plain", "none"), common
    for form, words in FORMS.items():
        for epsilon in epsilons:
            yield (form, epsilon), [*common, *words, "--dp", unit, "--epsilon", epsilon]


def train(dataset: Path, run: Path, seed: int, words: list[str]) -> None:
    """Train by the command line, whose options a caller may add."""
    command = [sys.executable, "-m", "clap_vad.cli", "train", str(dataset), "--out", str(run), "--seed", str(seed)]
    subprocess.run([*command, *words, "--json"], check=True, stdout=subprocess.DEVNULL)


def summary(runs: list[dict], metric: str) -> tuple[float, float]:
    """Mean and standard deviation in percent."""
    values = [100 * run[metric] for run in runs]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def markdown(found: dict[tuple[str, str], list[dict]], baselines: dict) -> str:
    """The table."""
    rows = []
    for (form, epsilon), runs in found.items():
        terms = runs[0].get("privacy", {})
        noise = f"{terms['noise_statistics']:.3g}, {terms['noise_training']:.3g}" if terms else ""
        rows.append([form, epsilon, noise, *(percent([run[key] for run in runs]) for key in ("frame_auc", "frame_ap"))])
    for name, figure in baselines.items():
        rows.append([f"baseline {name}", "", "", percent([figure["frame_auc"]]), percent([figure["frame_ap"]])])
    return table(["form", "epsilon", "noise of statistics, of gradients", "frame AUC", "frame AP"], rows)


def draw(found: dict[tuple[str, str], list[dict]], baselines: dict, epsilons: list[str], unit: str, file: Path) -> None:
    """AUC over epsilon, one line a form."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(epsilons))
    for (form, label), (color, line, marker) in zip(
        LABELS.items(), (("curve", "-", "o"), ("limit", "--", "s")), strict=True
    ):
        figures = np.array([summary(found[form, epsilon], "frame_auc") for epsilon in epsilons])
        look = {"color": PALETTE[color], "linestyle": line, "marker": marker, "capsize": 3}
        axes.errorbar(places, figures[:, 0], figures[:, 1], label=label, **look)
    plain, _ = summary(found["plain", "none"], "frame_auc")
    axes.axhline(plain, color=PALETTE["second"], linestyle="-.", label="without --dp")
    magnitude = 100 * baselines["magnitude"]["frame_auc"]
    axes.axhline(magnitude, color=PALETTE["third"], linestyle=":", label="baseline magnitude (learns nothing)")
    axes.set_xticks(places, [epsilon.replace("inf", "∞ (no noise)") for epsilon in epsilons])
    axes.set_xlabel(f"epsilon of the whole run, unit: the {unit}")
    axes.set_ylabel("frame-level ROC-AUC, %")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(file)


if __name__ == "__main__":
    main()
