"""How many segments a coordinator reads off first-layer updates, with masks and without, at the width of I3D.

    python benchmarks/feature_recovery.py OUT [--participants 3] [--videos 30] [--segments 40] [--dim 2048]
        [--epochs 10]

Draws features as ``benchmarks/synthetic_ucf.py`` does, one crop, a burst planted in every third video; imports them,
trains one round of plain SGD (c2fpl, no momentum, no weight decay) with and without secure aggregation, both on
features as they are and standardised, and audits the four runs. By default a participant has 1,200 segments and an
epoch takes 16 steps. Prints a line a run.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

import clap_vad as clap
from clap_vad.synthetic.released import training_window, video_features

SEED = 0


def draw(out: Path, participants: int, videos: int, segments: int, dim: int) -> Path:
    """A dataset of so many participants, videos each and segments a video."""
    source, rows = out / "i3d", []
    source.mkdir(parents=True)
    for number in range(participants * videos):
        name, planted = f"video-{number:04d}", np.zeros(segments)
        if number % 3 == 0:
            planted[slice(*training_window(SEED, name, segments))] = 1
        drawn = video_features(SEED, name, "Burst", planted, 1, dim)
        np.save(source / f"{name}_i3d.npy", np.concatenate([block.copy() for block in drawn]))
        rows.append((name, "train", f"site-{number % participants}"))
    with (out / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("video", "split", "scene"), *rows])
    clap.import_features("rtfm", source, out / "store")
    clap.create_dataset(out / "store", out / "videos.csv", out / "dataset")
    return out / "dataset"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder to make")
    parser.add_argument("--participants", type=int, default=3)
    parser.add_argument("--videos", type=int, default=30, help="of each participant")
    parser.add_argument("--segments", type=int, default=40, help="of each video")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=10)
    a = parser.parse_args()
    started, runs = time.perf_counter(), []
    try:
        dataset = draw(a.out, a.participants, a.videos, a.segments, a.dim)
        sgd = {"momentum": 0.0, "nesterov": "off", "weight_decay": 0.0, "local_epochs": a.epochs}
        for normalise in ("none", "federated"):
            for secure in (False, True):
                runs.append(a.out / f"{normalise}{'-masked' if secure else ''}")
                choices = {"rounds": 1, "seed": SEED, "normalise": normalise, "secure_aggregation": secure}
                clap.train(dataset, runs[-1], method="c2fpl", protocol="scene", **choices, **sgd)
        audited = clap.privacy_audit(runs, rounds=1, shadow_models=0)["runs"]
    except (clap.ClapError, OSError) as error:
        sys.exit(f"feature_recovery: {error}")
    for row in audited:
        kinds, chance = row["recovery"]["total"], ("chance_gaussian", "chance_other_participants")
        hits = [
            f"{kinds['attacked'][key]} within {key.removeprefix('within_')} % (chance {kinds[chance[0]][key]}, others' "
            f"{kinds[chance[1]][key]})"
            for key in ("within_5", "within_10", "within_25")
        ]
        told = f"{kinds['attacked']['targets']} segments, {kinds['attacked']['candidates']} candidates"
        print(f"{Path(row['run']).name}: {told}: {', '.join(hits)}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
