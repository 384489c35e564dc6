"""A synthetic feature set of the released UCF-Crime layout, to try the product at a size without the 64 GB.

    python benchmarks/synthetic_ucf.py LISTS OUT [--factor 0.02] [--crops 10] [--dim 2048] [--seed 0]

LISTS is the folder of the official lists, annotation and partitions. Then, for example,
``clap dataset prepare ucf-crime --source OUT --out DATA``. Prints one line.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from clap_vad.errors import ClapError
from clap_vad.synthetic.released import render_ucf_crime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--factor", type=float, default=0.02, help="share of the official segments of each video")
    parser.add_argument("--crops", type=int, default=10)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    started = time.perf_counter()
    try:
        made = render_ucf_crime(options.pop("lists"), options.pop("out"), **options)
    except (ClapError, OSError) as error:
        sys.exit(f"synthetic_ucf: {error}")
    seconds, train, test = time.perf_counter() - started, made["train"], made["test"]
    gigabytes = (train["bytes"] + test["bytes"]) / 1e9
    print(
        f"{made['path']}: {train['videos']} training videos of {train['segments']} segments, {test['videos']} test "
        f"videos of {test['segments']}, {gigabytes:.2f} GB in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
