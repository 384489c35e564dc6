"""What broken and odd videos give: the table of docs/operator.md.

    python benchmarks/odd_videos.py OUT

Makes the folder ``OUT/videos`` of ``tests/video/odd_videos.py``, runs ``clap features extract`` (extractor ``motion``)
over it into ``OUT/store``, and prints a row a kind.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path

from clap_vad.features.extraction.extract import ExtractionReport, extract_features
from clap_vad.features.store.reader import FeatureStore
from shared import heads, line

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "video"))
from odd_videos import KINDS, make  # beside the tests, which assert what is printed here


def given(kind: str, report: ExtractionReport, frames: dict[str, int]) -> str:
    """What became of a kind, in words."""
    if kind in frames:
        count = frames[kind]
        parts = [f"{count} {'frame' if count == 1 else 'frames'}"]
        parts += [f"read in part: {report.truncated[kind]}"] if kind in report.truncated else []
        return "; ".join([*parts, *report.notes.get(kind, [])])
    reasons = [told for path, told in report.skipped.items() if Path(path).stem == kind]
    return "skipped: " + reasons[0].partition(f"{kind}")[2].partition(": ")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to make")
    out = parser.parse_args().out
    report = extract_features([make(out / "videos")], out / "store", extractor="motion", workers=1)
    store = FeatureStore(out / "store")
    frames = {entry.video: entry.frames for entry in store.index}
    print(heads(["kind", "what it is", "what it gives"]))
    for kind, writer in KINDS.items():
        what = (inspect.getdoc(writer) or "").rstrip(".")
        print(line([f"`{kind}`", what, given(kind, report, frames)]))
    print(json.dumps({"kinds": len(KINDS), "in the store": len(frames), "skipped": len(report.skipped)}))


if __name__ == "__main__":
    main()
