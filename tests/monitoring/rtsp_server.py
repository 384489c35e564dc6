"""An RTSP server on loopback for tests, in a process of its own, that plays a camera.

It is ``rtsp_camera.py``, of nothing but Python's own library, or GStreamer's (``gstreamer_camera.py``) where Debian's
packages are installed: the tests of what FFmpeg does with a camera run on each that is there.

What PyAV 18.1 (FFmpeg 8) was seen to do with both, by ``av.open(url, options={"rtsp_transport": "tcp"})``:

- Opening takes 1.1 s, in which FFmpeg looks at the stream, and the frames of that second then come in a burst; 0.2 s
  with ``fflags=nobuffer`` and ``analyzeduration=200000``. From then on they come at the camera's rate. UDP is alike.
- The first frame may have no time (``frame.time`` is None); it stands at 0 and the next ones go on from there, whenever
  the viewer came. With ``analyzeduration`` they start at about 1 s instead. A key frame of several slices (x264's
  ``zerolatency``) comes as two frames of one time.
- SIGKILL of the server ends ``container.decode()`` at once and **without an exception**, as the end of a file does.
  Opening then raises ``av.error.ConnectionRefusedError`` at once.
- A server that hangs (SIGSTOP), or a line that is cut, is noticed by nobody without a timeout. The option
  ``timeout`` (microseconds, as text) raises ``av.error.TimeoutError`` (also a ``TimeoutError``) from the read, after
  up to twice that time; ``av.open(timeout=(open_s, read_s))`` raises ``av.error.ExitError`` ("Immediate exit
  requested"), which is neither an ``OSError`` nor a ``TimeoutError``. Opening a server that hangs raises
  ``av.error.InvalidDataError`` (a ``ValueError``) in either case. All are ``av.error.FFmpegError``.
- ``stimeout`` is gone since FFmpeg 5; ``rw_timeout`` is not an option of RTSP.
- A wrong or missing login raises ``av.error.HTTPUnauthorizedError`` at once. The login goes into the URL and is
  **repeated in the text of every error** of PyAV.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import av
from ports import held_port

__all__ = ["PROGRAMS", "RtspServer", "programs_here"]

_DEBIAN = "/usr/bin/python3"  # its own Python, for which its bindings are made
_CHECK = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"

PROGRAMS = {
    "own": (sys.executable, "rtsp_camera.py"),
    "gstreamer": (_DEBIAN, "gstreamer_camera.py"),
}
"""Which Python runs which file."""


def programs_here() -> list[str]:
    """The servers that can run on this machine.

    GStreamer's needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base and -good.
    """
    try:
        done = subprocess.run([_DEBIAN, "-W", "ignore", "-c", _CHECK], capture_output=True)
    except OSError:
        return ["own"]
    return ["own", "gstreamer"] if done.returncode == 0 else ["own"]


class RtspServer:
    """Serves an H.264 video in a loop at its own rate at ``rtsp://127.0.0.1:PORT/cam``.

    Args:
        video: without B-frames, as cameras send it.
        login: ``user:password``, where the server asks for one.
        how: ``basic`` or ``digest``.
        program: one of :data:`PROGRAMS`.
    """

    def __init__(self, video: Path, login: str = "", how: str = "basic", program: str = "own") -> None:
        self._kept = ExitStack()
        self.port = self._kept.enter_context(held_port())
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        units = Path(self._kept.enter_context(tempfile.TemporaryDirectory())) / "units"
        fps = _write_units(video, units)
        python, file = PROGRAMS[program]
        self._command = [
            python,
            "-W",
            "ignore",
            str(Path(__file__).with_name(file)),
            str(units),
            str(fps),
            str(self.port),
        ]
        self._command += [login, how] if login else []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """On the same port each time; returns when the server takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{' '.join(self._command)}: did not start")

    def kill(self) -> None:
        """As a power cut would: SIGKILL, no goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self._kept.close()

    def pause(self, stopped: bool) -> None:
        """Let the server hang (SIGSTOP), its connections open, or go on (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(19 if stopped else 18)


def _write_units(video: Path, file: Path) -> float:
    """What ``rtsp_camera.py`` reads; returns the frame rate."""
    with av.open(str(video)) as container, file.open("wb") as out:
        stream = container.streams.video[0]
        convert = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for unit in convert.filter(packet if packet.dts is not None else None):
                out.write(struct.pack("<I", unit.size) + bytes(unit))
        return float(stream.average_rate)
