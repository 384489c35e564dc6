"""A video of any length needs the memory of a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av

PROGRAM = """
import sys
from pathlib import Path
from clap_vad.features.extraction.extract import extract_one

def peak(path):
    extraction = extract_one("motion", {"rows": 2, "cols": 2, "side": 32, "rate": 1.0}, path)
    segments = sum(len(block.features) for block in extraction)
    kilobytes = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    return extraction.ending.frames, segments, int(kilobytes) / 1024

short, long = (peak(Path(name)) for name in sys.argv[1:])
print(*short, *long)
"""


def repeated(path: Path, once: Path, times: int) -> Path:
    """The same packets again and again, their times going on."""
    with av.open(str(once)) as container, av.open(str(path), "w") as out:
        source = container.streams.video[0]
        stream = out.add_stream_from_template(source)
        packets = [bytes(packet) for packet in container.demux(source) if packet.size]
        for number in range(times * len(packets)):
            packet = av.Packet(packets[number % len(packets)])
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = source.time_base, stream, True
            out.mux(packet)
    return path


def test_twenty_thousand_frames_need_the_memory_of_two_hundred(tmp_path, render, moving):
    once = render(tmp_path / "once.avi", moving(50, 64, 96), codec="mjpeg", pix_fmt="yuvj420p")
    videos = [repeated(tmp_path / f"{times}.avi", once, times) for times in (4, 400)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, videos)], capture_output=True, text=True, check=True
    )
    few, few_segments, before, many, many_segments, after = map(float, done.stdout.split())
    assert (few, few_segments, many, many_segments) == (9, 1, 801, 51)  # frames as taken, one a second
    assert after - before < 20  # MB; the pictures that were decoded are 123 MB
