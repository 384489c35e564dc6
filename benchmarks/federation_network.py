"""A federation of three sites, each in a network namespace of its own: time, memory and bytes on the wire of a run.

Needs root, for the namespaces. The links are virtual cables whose counters give the bytes; one is pulled out and put
back in during a second run.

    python benchmarks/federation_network.py DATASET OUT [--rounds R] [--away SECONDS]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from clap_vad.deployment.local import LocalFederation
from clap_vad.deployment.run_files import RunFiles
from federation_faults import SITES, Run, seconds

BRIDGE = "clapbr"
ADDRESS = "10.77.0.{}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def cables() -> Iterator[dict[str, str]]:
    """Site -> the coordinator's end of its cable."""
    ends = {name: f"clap-{name}" for name in SITES}
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{ADDRESS.format(1)}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, (name, end) in enumerate(ends.items()):
            ip("netns", "add", name)
            ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", end, "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{ADDRESS.format(10 + number)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield ends
    finally:
        for name in SITES:
            subprocess.run(["ip", "netns", "del", name], check=False)
        ip("link", "del", BRIDGE)


def counted(end: str) -> tuple[int, int]:
    """Bytes that have come in from a site, and gone out to it."""
    folder = Path("/sys/class/net") / end / "statistics"
    return int((folder / "rx_bytes").read_text()), int((folder / "tx_bytes").read_text())


def memory(federation: LocalFederation) -> dict[str, dict[str, int]]:
    """MB of resident memory of every process."""
    found = {}
    for name in ("", *SITES):
        own = federation.processes(name)
        found[name or "coordinator"] = {role: psutil.Process(pid).memory_info().rss >> 20 for role, pid in own.items()}
    return found


def measure(federation: LocalFederation, ends: dict[str, str], dataset: Path, out: Path, rounds: int) -> dict[str, Any]:
    began = time.time()
    run = Run(federation, dataset, out, sites=SITES, rounds=rounds, min_sites=3, deadline=60)
    run.wait_for_round(2)
    before, done = {name: counted(end) for name, end in ends.items()}, len(run.rounds())
    run.wait_for_round(rounds // 2)
    resident = memory(federation)
    run.wait_for_round(rounds)
    after, lines = {name: counted(end) for name, end in ends.items()}, run.rounds()
    run.join(120)
    times = sorted(line["seconds"] for line in lines[2:])
    return {
        "measured": "undisturbed",
        "seconds_to_first_step": round(_first_step(federation, out) - began, 1),
        "seconds_to_first_round": round(seconds(lines[0]["time"]) - began, 1),
        "seconds_per_round": {"median": times[len(times) // 2], "min": times[0], "max": times[-1]},
        "bytes_per_site_and_round": {
            name: {
                "up": round((after[name][0] - before[name][0]) / (rounds - done)),
                "down": round((after[name][1] - before[name][1]) / (rounds - done)),
            }
            for name in ends
        },
        "model_bytes": lines[-1]["bytes_down"] // len(SITES),
        "resident_megabytes": resident,
        "model_sha256": run.metrics and run.metrics["model_sha256"],
    }


def _first_step(federation: LocalFederation, out: Path) -> float:
    """When the first message of the run left a site."""
    id = RunFiles(out).deployment()["id"]
    ledgers = [home / "runs" / id / "ledger.jsonl" for home in federation.sites.values()]
    return min(seconds(json.loads(ledger.read_text().splitlines()[0])["time"]) for ledger in ledgers)


def cable_pulled(
    federation: LocalFederation, ends: dict[str, str], dataset: Path, out: Path, rounds: int, away: float
) -> dict[str, Any]:
    run = Run(federation, dataset, out, sites=SITES, rounds=rounds, min_sites=2, deadline=10)
    run.wait_for_round(rounds // 4)
    struck, done = time.time(), len(run.rounds())
    ip("link", "set", ends["site-2"], "down")
    time.sleep(away)
    ip("link", "set", ends["site-2"], "up")
    mended = time.time()
    run.join(400)
    lines = [line for line in run.rounds() if line["round"] > done]
    times = [struck, *(seconds(line["time"]) for line in lines)]
    whole = [seconds(line["time"]) for line in lines if len(line["answered"]) == 3 and seconds(line["time"]) > mended]
    return {
        "measured": f"cable of site-2 out for {away:g} s",
        "ended": run.metrics is not None,
        "rounds_without_the_site": sum("site-2" not in line["answered"] for line in lines),
        "longest_gap_seconds": round(max(b - a for a, b in itertools.pairwise(times)), 1),
        "all_sites_again_after_seconds": round(min(whole) - mended, 1) if whole else None,
        "jobs": RunFiles(out).deployment()["segments"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--away", type=float, default=20.0)
    given = parser.parse_args()
    with cables() as ends:
        through = {name: ["ip", "netns", "exec", name] for name in SITES}
        host = ADDRESS.format(1)
        federation = LocalFederation(given.dataset, given.out / "federation", "grouped-3", host=host, through=through)
        try:
            federation.start()
            print(json.dumps({"measured": "start", "all_connected_after_seconds": round(federation.wait(), 1)}))
            print(json.dumps(measure(federation, ends, given.dataset, given.out / "run-1", given.rounds)), flush=True)
            choices = (given.out / "run-2", given.rounds * 2, given.away)
            print(json.dumps(cable_pulled(federation, ends, given.dataset, *choices)), flush=True)
        finally:
            federation.stop()


if __name__ == "__main__":
    main()
