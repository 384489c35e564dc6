"""Seconds and bytes of a round, bare and masked, in 32 and in 8 bits a number, at the width of I3D.

    python benchmarks/secure_rounds.py OUT [--participants 13] [--videos 3] [--segments 20] [--dim 2048] [--rounds 3]
        [--repeats 3]

Draws little data, so that a round is mostly its messages: 1.07 M weights at D = 2048. The four forms are trained in
turn, so often over (c2fpl, in one process); seconds are the median of all rounds but a run's first, which asks for 32
bits whatever the encoding, with the quotient by the bare form of the same turn (lowest to highest). Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import sys
from pathlib import Path

import clap_vad as clap
from feature_recovery import draw
from shared import heads, line

FORMS = list(itertools.product((False, True), ("float32", "int8")))


def main() -> None:
    """Train the forms in turn, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder to make")
    parser.add_argument("--participants", type=int, default=13)
    parser.add_argument("--videos", type=int, default=3, help="of each participant")
    parser.add_argument("--segments", type=int, default=20, help="of each video")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    seconds: dict[tuple[bool, str], list[list[float]]] = {form: [] for form in FORMS}
    nbytes: dict[tuple[bool, str], tuple[int, int]] = {}
    try:
        dataset = draw(a.out, a.participants, a.videos, a.segments, a.dim)
        for _ in range(a.repeats):
            for secure, encoding in FORMS:
                run = a.out / "run"
                clap.train(
                    dataset, run, method="c2fpl", protocol="scene", rounds=a.rounds + 1, secure_aggregation=secure,
                    update_encoding=encoding, baselines={},
                )  # fmt: skip
                lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()][1:]
                shutil.rmtree(run)
                seconds[secure, encoding].append([line["seconds"] for line in lines])
                up, down = (lines[-1][key] // a.participants for key in ("bytes_up", "bytes_down"))
                nbytes[secure, encoding] = (up, down)
    except (clap.ClapError, OSError) as error:
        sys.exit(f"secure_rounds: {error}")
    print(heads(["form", "seconds a round", "times bare float32", "bytes up, a site", "bytes down, a site"]))
    bare = [statistics.median(turn) for turn in seconds[FORMS[0]]]
    for form in FORMS:
        turns = [statistics.median(turn) for turn in seconds[form]]
        ratios = sorted(turn / first for turn, first in zip(turns, bare, strict=True))
        name = f"{'masked' if form[0] else 'bare'} {form[1]}"
        told = [f"{statistics.median(turns):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
        print(line([name, *told, *(f"{count:,}" for count in nbytes[form])]))


if __name__ == "__main__":
    main()
