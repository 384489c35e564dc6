"""Time and memory of the command line over sets of growing size, with the line to the full size of the release.

    python benchmarks/scaling.py LISTS OUT [--factors 0.02,0.05,0.1,0.2] [--crops 10] [--dim 2048] [--epochs 1] [--keep]

LISTS is the folder of the official UCF-Crime lists. For each factor a synthetic set of the released layout is rendered
(not timed), then three commands run on it as processes of their own, one after the other, start-up included:

prepare  ``clap dataset prepare ucf-crime``: checks and hashes both splits
label    ``clap label --protocol official-scene-11``: stage A of all training videos
train    ``clap train`` with the same protocol, one round of ``--epochs`` local epochs: stage A, training, calibration,
         scoring of the test videos, baselines

The page cache is warm: the commands run once on a tiny set beforehand, which loads the libraries, and each set is read
once from end to end before its first command. A set larger than the memory is still read from disk. Time per segment
counts training segments only: test segments are a near constant 9 % of them, and small sets have a little more of both,
since every video keeps one. Memory is that of the process and its children together, sampled every 50 ms: RssAnon is
what they allocated, RSS counts pages of the mapped feature file, too, which the system takes back when it needs them.

Prints Markdown; OUT gets ``scaling.json`` (rewritten after each factor) and ``scaling.svg``. A set and what was made of
it are deleted once measured, unless --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from clap_vad.cores import available_cores
from clap_vad.datasets.sources import find_file, read_segment_counts
from clap_vad.errors import ClapError
from clap_vad.persistence import atomic_path, write_json
from clap_vad.reporting.palette import PALETTE
from clap_vad.synthetic.released import render_ucf_crime
from shared import table

STAGES = ("prepare", "label", "train")
PROTOCOL = "official-scene-11"
TRAIN_LIST = "UCF_Train_ten_crop_i3d_complete_V1.txt"
LOOKS = (("curve", "-", "o"), ("limit", "--", "s"), ("second", "-.", "^"))


def family(pid: int, parent: bytes = b"") -> Iterator[int]:
    """A process and all its descendants; one that ends meanwhile is passed over.

    A child with the command line of its parent was forked this moment and is about to become another program: its
    pages are its parent's, and counting them would double the peak.
    """
    with contextlib.suppress(OSError):
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        if own == parent:
            return
        yield pid
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                yield from family(int(child), own)


def memory_mb(pid: int) -> tuple[float, float]:
    """(RssAnon, VmRSS) of a process in MB; zero for one that has ended."""
    found = {"RssAnon": 0.0, "VmRSS": 0.0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) / 1024
    return found["RssAnon"], found["VmRSS"]


class PeakMemory(threading.Thread):
    """Samples the memory of a process and its descendants every 50 ms until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.process, self.anonymous, self.resident = process, 0.0, 0.0

    def run(self) -> None:
        while self.process.returncode is None:
            sampled = [memory_mb(pid) for pid in family(self.process.pid)]
            self.anonymous = max(self.anonymous, sum(anonymous for anonymous, _ in sampled))
            self.resident = max(self.resident, sum(resident for _, resident in sampled))
            time.sleep(0.05)


def measure(command: Sequence[str], log: Path) -> dict[str, float]:
    """Run ``python -m clap_vad.cli COMMAND``: its seconds, seconds of processor, and peaks of memory in MB."""
    before = os.times()
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "clap_vad.cli", *command], stdout=output, stderr=subprocess.STDOUT
        )
        memory = PeakMemory(process)
        memory.start()
        code = process.wait()
        seconds = time.perf_counter() - started
    memory.join()
    if code:
        raise ClapError(f"clap {' '.join(command)} ended with status {code}; it said:\n{log.read_text()[-4000:]}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": seconds,
        "cpu_seconds": used,
        "peak_rss_anon_mb": memory.anonymous,
        "peak_rss_mb": memory.resident,
    }


def read_through(folder: Path) -> None:
    """Read all feature files once, to put them into the page cache."""
    buffer = bytearray(16 << 20)
    for file in sorted(folder.glob("*.npy")):
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def disk_bytes(folder: Path) -> int:
    """Bytes of the files below a folder, links not followed."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_symlink() or file.is_file())


def measure_factor(lists: Path, folder: Path, factor: float, options: argparse.Namespace) -> dict[str, Any]:
    """Render one set into ``folder``, time the three commands, and tell sizes and measures."""
    made = render_ucf_crime(lists, folder / "set", factor=factor, crops=options.crops, dim=options.dim)
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    data, labels, run = (str(results / name) for name in ("data", "labels.npz", "run"))
    shared = ["--protocol", PROTOCOL]
    train = ["--method", "clap", "--setting", "collaborative", "--rounds", "1", "--local-epochs", str(options.epochs)]
    commands = {
        "prepare": ["dataset", "prepare", "ucf-crime", "--source", str(folder / "set"), "--out", data],
        "label": ["label", data, *shared, "--out", labels],
        "train": ["train", data, *shared, *train, "--out", run],
    }
    read_through(folder / "set")
    stages = {}
    for stage in STAGES:
        print(f"{folder.name}: {stage} ...", file=sys.stderr)
        stages[stage] = measure(commands[stage], results / f"{stage}.log")
    return {
        "factor": factor,
        "training_segments": made["train"]["segments"],
        "test_segments": made["test"]["segments"],
        "set_bytes": disk_bytes(folder / "set"),
        "result_bytes": disk_bytes(results),
        "stages": stages,
    }


def fit_lines(measured: Sequence[dict[str, Any]], full: int) -> dict[str, dict[str, float]]:
    """Per stage the least-squares line seconds = a + b * training segments, and what it says of ``full`` segments."""
    x = np.array([entry["training_segments"] for entry in measured])
    if len(set(x.tolist())) < 2:
        return {}
    lines = {}
    for stage in STAGES:
        seconds = np.array([entry["stages"][stage]["seconds"] for entry in measured])
        b, a = np.polyfit(x, seconds, 1)
        slope, level = np.polyfit(x, [entry["stages"][stage]["peak_rss_anon_mb"] for entry in measured], 1)
        lines[stage] = {
            "a_seconds": float(a),
            "b_seconds_per_segment": float(b),
            "largest_miss": float(np.max(np.abs(a + b * x - seconds) / seconds)),
            "full_seconds": float(a + b * full),
            "full_rss_anon_mb": float(level + slope * full),
        }
    return lines


def markdown(result: dict[str, Any]) -> str:
    """The tables, and a sentence on the disk."""
    crops, epochs = result["crops"], result["epochs"]
    rows = []
    for entry in result["measured"]:
        for stage, values in entry["stages"].items():
            units = entry["training_segments"] * (crops * epochs if stage == "train" else 1)
            each = 1e6 * values["seconds"] / units
            times = [f"{values['seconds']:.2f}", f"{values['cpu_seconds']:.2f}", f"{each:.1f}"]
            memory = [f"{values['peak_rss_anon_mb']:.0f}", f"{values['peak_rss_mb']:.0f}"]
            rows.append([entry["factor"], f"{entry['training_segments']:,}", stage, *times, *memory])
    names = ["factor", "training segments", "stage", "seconds", "of processor", "µs per segment"]
    text = table([*names, "peak RssAnon MB", "peak RSS MB"], rows) + "\n"
    text += f"\nµs of train are per segment, crop and epoch ({crops} crops, {epochs} epochs of one round).\n"
    if result["lines"]:
        full = f"{result['full_training_segments']:,}"
        names = ["stage", "seconds = a + b · segments / 10⁶", "misses a measure by at most"]
        rows = [
            [
                stage,
                f"{line['a_seconds']:.2f} {1e6 * line['b_seconds_per_segment']:+.1f} · segments / 10⁶",
                *(f"{line['largest_miss']:.1%}", f"{line['full_seconds']:.0f}", f"{line['full_rss_anon_mb']:.0f}"),
            ]
            for stage, line in result["lines"].items()
        ]
        text += "\n" + table([*names, f"seconds at {full} segments", "RssAnon MB there"], rows) + "\n"
        text += "\nThe last two columns extrapolate; nothing of that size was run.\n"
    largest = max(result["measured"], key=lambda entry: entry["set_bytes"])
    text += f"\nDisk of factor {largest['factor']}: {largest['set_bytes'] / 1e9:.3f} GB of features and lists, "
    return text + f"{largest['result_bytes'] / 1e6:.1f} MB of dataset, labels and run.\n"


def draw(result: dict[str, Any], file: Path) -> None:
    """Seconds and anonymous memory over training segments, one line a stage."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    x = np.array([entry["training_segments"] for entry in result["measured"]])
    for stage, (colour, dash, marker) in zip(STAGES, LOOKS, strict=True):
        stages = [entry["stages"][stage] for entry in result["measured"]]
        look: dict[str, Any] = {"color": PALETTE[colour], "marker": marker, "markersize": 4}
        line = result["lines"].get(stage)
        panels[0].plot(x, [s["seconds"] for s in stages], linestyle="", label=stage, **look)
        if line:
            ends = np.array([0, x.max()])
            heights = line["a_seconds"] + line["b_seconds_per_segment"] * ends
            panels[0].plot(ends, heights, color=PALETTE[colour], linestyle=dash, linewidth=1.0)
        panels[1].plot(x, [s["peak_rss_anon_mb"] for s in stages], linestyle=dash, linewidth=1.0, label=stage, **look)
    for panel, label in zip(panels, ("seconds (lines: least squares)", "peak of anonymous memory, MB"), strict=True):
        panel.set(xlabel="training segments", ylabel=label, xlim=(0, None), ylim=(0, None))
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.grid(color=PALETTE["rule"], linewidth=0.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every factor; results so far are in OUT at any time."""
    out: Path = options.out.resolve()
    counts = read_segment_counts(find_file(options.lists, "training list", [TRAIN_LIST]))
    full = sum(counts.values())
    machine = {"system": platform.platform(), "cores": available_cores(), "python": platform.python_version()}
    result: dict[str, Any] = {"machine": machine, "crops": options.crops, "dim": options.dim, "epochs": options.epochs}
    result |= {"protocol": PROTOCOL, "full_training_segments": full, "measured": [], "lines": {}}
    warm_up = argparse.Namespace(crops=1, dim=8, epochs=1)
    measure_factor(options.lists.resolve(), out / "warm-up", 0.002, warm_up)
    shutil.rmtree(out / "warm-up")
    for factor in options.factors:
        folder = out / f"factor-{factor}"
        result["measured"].append(measure_factor(options.lists.resolve(), folder, factor, options))
        result["lines"] = fit_lines(result["measured"], full)
        write_json(out / "scaling.json", result)
        draw(result, out / "scaling.svg")
        if not options.keep:
            shutil.rmtree(folder)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--factors", type=lambda text: [float(word) for word in text.split(",")], default=[0.02, 0.05, 0.1, 0.2]
    )
    parser.add_argument("--crops", type=int, default=10)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the sets and what was made of them")
    try:
        print(markdown(run_all(parser.parse_args())), end="")
    except (ClapError, OSError) as error:
        sys.exit(f"scaling: {error}")


if __name__ == "__main__":
    main()
