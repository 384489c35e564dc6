"""A folder of broken and odd videos, made by real encoders: what recorders, telephones and full disks leave behind.

Every picture is the same texture, which lies still but for frames 48 to 94 (of 120), in which it glides to the right:
an event, where a kind has its length. ``benchmarks/odd_videos.py`` prints what each kind gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

__all__ = ["FPS", "FRAMES", "KINDS", "MOVES", "make"]

FPS, FRAMES = 20, 120
MOVES = range(48, 95)
HUGE = (4320, 7680)


def _pictures(height: int = 96, width: int = 96, frames: int = FRAMES) -> Iterable[np.ndarray]:
    blocks = np.random.default_rng(0).integers(40, 216, (12, 32))
    texture = cv2.resize(blocks.astype(np.uint8), (width * 32 // 12, height), interpolation=cv2.INTER_NEAREST)
    for number in range(frames):
        shift = sum(3 for t in MOVES if t <= number) * width // 96
        yield texture[:, shift : shift + width]


def _encode(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    rotation: int = 0,
    muxer: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """A video of these grey pictures; ``stamps`` are their times in 1/1000 s, even by default."""
    with av.open(str(path), "w", options=muxer or {}) as out:
        out.metadata.update(metadata or {})
        stream = None
        for number, picture in enumerate(pictures):
            if stream is None:
                stream = out.add_stream(codec, rate=FPS, options={"threads": "1", **options})
                stream.height, stream.width = picture.shape
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, FPS)
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format=pix_fmt)
            frame.pts = stamps[number] if stamps else number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def plain(folder: Path) -> None:
    """Nothing odd."""
    _encode(folder / "plain.mp4", _pictures(), metadata={"creation_time": "2024-03-01T12:00:00Z"})


def variable_rate(folder: Path) -> None:
    """20 frames a second, 5 a second in the middle third."""
    steps = [200 if 40 <= number < 80 else 50 for number in range(FRAMES)]
    _encode(folder / "variable_rate.mp4", _pictures(), stamps=[0, *itertools.accumulate(steps[:-1])])


def rotated(folder: Path) -> None:
    """A telephone held upright: 128 x 96 with a note to turn it by 90 degrees."""
    _encode(folder / "rotated.mp4", _pictures(96, 128), rotation=90)


def odd_size(folder: Path) -> None:
    """51 x 35."""
    _encode(folder / "odd_size.mp4", _pictures(35, 51), pix_fmt="yuv444p")


def size_changes(folder: Path) -> None:
    """96 x 96, from frame 60 on 160 x 128."""
    parts = [folder / "size_changes.a.h264", folder / "size_changes.b.h264"]
    _encode(parts[0], itertools.islice(_pictures(), 60))
    _encode(parts[1], itertools.islice(_pictures(128, 160), 60, None))
    (folder / "size_changes.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


def time_hole(folder: Path) -> None:
    """No frame for a minute after frame 59."""
    _encode(folder / "time_hole.mp4", _pictures(), stamps=[50 * n + 60_000 * (n >= 60) for n in range(FRAMES)])


def stamps_restart(folder: Path) -> None:
    """A stream of two recordings behind each other; the times of the second begin at 0 again."""
    parts = [folder / "stamps_restart.a.ts", folder / "stamps_restart.b.ts"]
    _encode(parts[0], itertools.islice(_pictures(), 60), bf="0")
    _encode(parts[1], itertools.islice(_pictures(), 60, None), bf="0")
    (folder / "stamps_restart.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


def damaged(folder: Path) -> None:
    """Random bytes over three packets in the middle."""
    path = _encode(folder / "damaged.avi", _pictures(), codec="mpeg4", g="10")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][60:63]
    data = bytearray(path.read_bytes())
    for at, size in places:
        data[at + 8 : at + 8 + size] = np.random.default_rng(at).bytes(size)
    path.write_bytes(bytes(data))


def cut_short(folder: Path) -> None:
    """An mp4 whose index is at its front, the last third of it missing."""
    path = _encode(folder / "cut_short.mp4", _pictures(), muxer={"movflags": "faststart"}, g="10")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def cut_short_mkv(folder: Path) -> None:
    """A Matroska file that announces its length, the second half of it missing."""
    path = _encode(folder / "cut_short_mkv.mkv", _pictures(), g="10")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_index(folder: Path) -> None:
    """An mp4 of a recorder that lost its power before the index was written."""
    path = _encode(folder / "no_index.mp4", _pictures())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge(folder: Path) -> None:
    """7680 x 4320, 20 frames: two, encoded once and written ten times."""
    pictures = itertools.islice(_pictures(*HUGE, 49), 47, 49)
    once = _encode(folder / "huge.once.mp4", pictures, preset="ultrafast", g="2", bf="0", crf="35")
    with av.open(str(folder / "huge.mp4"), "w") as out:
        stream, sent = None, 0
        for _ in range(10):
            with av.open(str(once)) as container:
                stream = stream or out.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = sent * round(1 / (FPS * packet.time_base))
                        packet.stream = stream
                        out.mux(packet)
                        sent += 1
    once.unlink()


def one_frame(folder: Path) -> None:
    """A single frame."""
    _encode(folder / "one_frame.mp4", _pictures(frames=1))


def motion_jpeg(folder: Path) -> None:
    """Motion JPEG in an AVI."""
    _encode(folder / "motion_jpeg.avi", _pictures(), codec="mjpeg", pix_fmt="yuvj420p")


def ten_bits(folder: Path) -> None:
    """10 bits a sample."""
    _encode(folder / "ten_bits.mkv", _pictures(), codec="ffv1", pix_fmt="yuv420p10le")


def interlaced(folder: Path) -> None:
    """Fields instead of frames, MPEG-2 as DVDs hold it."""
    _encode(folder / "interlaced.mpg", _pictures(96, 96), codec="mpeg2video", flags="+ildct+ilme", b="2000000")


def frames_one_broken(folder: Path) -> None:
    """A folder of numbered pictures, the 61st one damaged."""
    target = folder / "frames_one_broken"
    target.mkdir()
    for number, picture in enumerate(_pictures(), start=1):
        cv2.imwrite(str(target / f"{number:04}.png"), picture)
    (target / "0061.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def frames_all_broken(folder: Path) -> None:
    """A folder of numbered pictures of no bytes."""
    target = folder / "frames_all_broken"
    target.mkdir()
    for number in range(3):
        (target / f"{number:04}.jpg").touch()


def sound_only(folder: Path) -> None:
    """Sound in an mp4."""
    with av.open(str(folder / "sound_only.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


def empty(folder: Path) -> None:
    """No bytes."""
    (folder / "empty.mp4").touch()


def zeros(folder: Path) -> None:
    """A recorder's space that was reserved and never written: zeros."""
    (folder / "zeros.mp4").write_bytes(bytes(200_000))


def a_text(folder: Path) -> None:
    """A text called .mp4."""
    (folder / "a_text.mp4").write_text("The recorder could not be reached.\n" * 50)


def a_playlist(folder: Path) -> None:
    """A play list called .mp4 that leads to an address."""
    (folder / "a_playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")


def link_to_itself(folder: Path) -> None:
    """A link to itself, and a folder with a link to its parent."""
    (folder / "link_to_itself.mp4").symlink_to(folder / "link_to_itself.mp4")
    (folder / "loop").mkdir()
    (folder / "loop" / "back").symlink_to(folder, target_is_directory=True)


def link_to_nothing(folder: Path) -> None:
    """A link to a file that is gone."""
    (folder / "link_to_nothing.mp4").symlink_to(folder / "gone.mp4")


KINDS: dict[str, Callable[[Path], None]] = {
    kind.__name__: kind
    for kind in (
        *(plain, variable_rate, rotated, odd_size, size_changes, time_hole, stamps_restart, damaged, cut_short),
        *(cut_short_mkv, no_index, huge, one_frame, motion_jpeg, ten_bits, interlaced, frames_one_broken),
        *(frames_all_broken, sound_only, empty, zeros, a_text, a_playlist, link_to_itself, link_to_nothing),
    )
}
"""Name of the video -> what writes it into a folder."""


def make(folder: Path) -> Path:
    """All kinds in a new folder."""
    folder.mkdir(parents=True)
    for kind in KINDS.values():
        kind(folder)
    return folder
