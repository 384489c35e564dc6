"""Monitor a real RTSP server on loopback that is killed and started again: what is found, how late, in how much memory.

    python benchmarks/watch_outage.py RUN VIDEO... --out DIR [--seconds 180] [--kill 70] [--start 90]

The videos, joined, are served in a loop at their own rate (see tests/monitoring/rtsp_server.py). Prints
what ``clap watch --json`` says, the outages and events it wrote down, and resident memory over time.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "monitoring"))
from rtsp_server import RtspServer


def join(videos: list[Path], out: Path) -> Path:
    """One file of all pictures, as a camera sends it: H.264 without pictures that look ahead, a key frame a second."""
    with av.open(str(out), "w") as container:
        stream, count = None, 0
        for video in videos:
            with av.open(str(video)) as source:
                for frame in source.decode(video=0):
                    if stream is None:
                        rate = source.streams.video[0].average_rate
                        stream = container.add_stream("libx264", rate=rate)
                        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                        stream.options = {"bf": "0", "g": str(round(rate))}
                    frame.pts, frame.time_base = count, Fraction(1) / rate
                    container.mux(stream.encode(frame))
                    count += 1
        container.mux(stream.encode())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("--seconds", 180), ("--kill", 70), ("--start", 90)):
        parser.add_argument(name, type=float, default=default)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with RtspServer(join(options.videos, options.out / "camera.mp4")) as server:
        command = [Path(sys.executable).with_name("clap"), "watch", options.run, server.url, "--camera", "loopback"]
        command += ["--out", options.out, "--seconds", f"{options.seconds:g}", "--json"]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        begun, memory, there = time.monotonic(), [], True
        while process.poll() is None:
            now = time.monotonic() - begun
            if there and options.kill <= now < options.start:
                server.kill()
                there = False
            elif not there and now >= options.start:
                server.start()
                there = True
            memory.append((now, psutil.Process(process.pid).memory_info().rss / 2**20))
            time.sleep(1)
        told = json.loads(process.stdout.read().splitlines()[-1])
    print(json.dumps(told, indent=1))
    db = sqlite3.connect(options.out / "watch.db")
    for start, stop, reason in db.execute("SELECT start_time, stop_time, reason FROM outages"):
        print(f"outage  {stop - start:6.1f} s  {reason}")
    for start, stop, score, clip in db.execute("SELECT start_time, stop_time, peak_score, clip FROM events"):
        print(f"event   {stop - start:6.1f} s  score {score:.3f}  {clip}")
    for at in range(20, round(options.seconds), 20):
        print(f"memory at {at:4d} s  {min(memory, key=lambda entry: abs(entry[0] - at))[1]:7.1f} MiB")


if __name__ == "__main__":
    main()
