"""Cameras without data, or with one video: what the others' federation gives them.

    python benchmarks/newcomers.py DATASET OUT [--methods comet] [--seeds 0,1,2] [--forms left-out,newcomer,alone]

For each scene of the dataset in turn three federations: ``left-out``, all others; ``newcomer``, all others and this one
with the first video of its training list only; ``alone``, this one with that video and nobody else. Each scene's test
videos are judged by its own federation's model; the frames of all scenes are pooled. Finished runs in OUT are taken up,
not made again. Prints a Markdown table of the frame AUC (mean and standard deviation over seeds, ddof 1).
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import clap_vad as clap
from clap_vad.datasets.dataset import Dataset
from clap_vad.evaluation.evaluate import evaluate_scores
from clap_vad.persistence import open_npz
from shared import heads, line, percent, train_or_resume

FORMS = ("left-out", "newcomer", "alone")


def main() -> None:
    """Train what is missing, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", default="comet")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--forms", default=",".join(FORMS))
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print(heads(["method", "form", "frame AUC", "each seed"]))
    for method in arguments.methods.split(","):
        for form in arguments.forms.split(","):
            found = [pooled(arguments.dataset, arguments.out, method, form, seed) for seed in seeds]
            each = ", ".join(f"{100 * value:.2f}" for value in found)
            print(line([method, form, percent(found), each]), flush=True)


def pooled(dataset: Path, out: Path, method: str, form: str, seed: int) -> float:
    """Frame AUC over the test videos of all scenes, each judged by the run that is about it."""
    opened, scores = Dataset(dataset), {}
    for scene in sorted({opened.videos[video].scene for video in opened.test_videos}):
        run = out / f"{method}-{form}-{scene}-{seed}"
        name = share(opened, scene, form)
        train_or_resume(run, partial(clap.train, dataset, run, method=method, protocol=name, seed=seed, baselines={}))
        own = [video for video in opened.test_videos if opened.videos[video].scene == scene]
        with open_npz(run / "scores.npz", "scores") as archive:
            scores |= {video: archive[video] for video in own}
    return float(evaluate_scores(opened, scores)["frame_auc"])


def share(dataset: Dataset, scene: str, form: str) -> str:
    """Write who holds what; returns the protocol's name."""
    held: dict[str, list[str]] = {}
    for video in dataset.train_videos:
        held.setdefault(dataset.videos[video].scene, []).append(video)
    first = held.pop(scene, [])[:1]
    if form == "newcomer" and first:
        held[scene] = first
    if form == "alone":
        held = {scene: first}
    name = f"{form}-{scene}"
    file = dataset.participants_file(name)
    file.parent.mkdir(exist_ok=True)
    content = {"protocol": name, "seed": 0, "participants": dict(sorted(held.items()))}
    file.write_text(json.dumps(content), encoding="utf-8")
    return name


if __name__ == "__main__":
    main()
