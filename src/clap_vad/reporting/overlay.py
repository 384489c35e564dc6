"""Drawing of annotated frames: the picture, a border during events, and a bar with the scores so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..core.events.detection import Event
from ..core.events.regions import Region
from ..core.events.timing import FrameTimes
from .durations import clock
from .palette import THEMES
from .thumbnails import blurred, outlined

__all__ = ["Overlay", "ScoredFrames"]

_NARROWEST = 480  # pixels; in narrower pictures the text is unreadable
_MARGIN = 6  # pixels around the picture for the border of an event, which then covers no content


def _rgb(role: str) -> tuple[int, int, int]:
    """A colour of the dark theme as RGB."""
    code = THEMES["dark"][role]
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


@dataclass(frozen=True)
class ScoredFrames:
    """Scores and events of a video.

    Attributes:
        scores: (T,) segment scores, at least one.
        frames: number of frames.
        fps: frames per second; None if unknown.
        segment_frames: frames per segment.
        threshold: threshold of the events.
        events: ordered by time.
        regions: segment -> its most anomalous region.
        times: times of the frames; None if they follow from ``fps``.
    """

    scores: np.ndarray
    frames: int
    fps: float | None
    segment_frames: int
    threshold: float
    events: Sequence[Event]
    regions: Mapping[int, Region]
    times: FrameTimes | None = None

    @property
    def shown(self) -> FrameTimes:
        """Times of the frames in seconds, or in frames if the rate is unknown."""
        return self.times or FrameTimes.even(self.frames, self.fps or 1.0)


class Overlay:
    """Draws on the frames of one video. Constant parts are drawn once.

    Args:
        scored: scores and events.
        shape: (height, width) of the input frames.
        side: largest length of the longer side in pixels; smaller frames are enlarged to a width of 480.
        blur: make people unrecognisable.

    Attributes:
        shape: (height, width) of an annotated frame.
    """

    def __init__(self, scored: ScoredFrames, shape: tuple[int, int], *, side: int, blur: bool) -> None:
        self._scored, self._blur, self._times = scored, blur, scored.shown
        height, width = shape
        scale = min(side / max(height, width), max(1.0, _NARROWEST / width))
        self._size = max(1, round(width * scale)), max(1, round(height * scale))  # (width, height)
        across = max(self._size[0] + 2 * _MARGIN, _NARROWEST)
        self._scale = 0.45 * (across / _NARROWEST) ** 0.5
        self._row = round(50 * self._scale)
        self._left = (across - self._size[0]) // 2
        empty, self._full = _timelines(scored, across, round(2 * self._row))
        self.shape = (self._size[1] + 2 * _MARGIN + self._row + len(empty), across)
        self._calm = np.empty((*self.shape, 3), np.uint8)
        self._calm[:] = _rgb("paper")
        self._calm[-len(empty) :] = empty
        self._marked = self._framed(self._calm)
        self._starts = [event.start_frame for event in scored.events]

    def draw(self, picture: np.ndarray, frame: int, seconds: float) -> np.ndarray:
        """The annotated frame, (*shape, 3) uint8 RGB.

        Args:
            picture: (H, W, 3) uint8 RGB.
            frame: frame number.
            seconds: time since the first frame.
        """
        import cv2

        scored, (width, height) = self._scored, self._size
        segment = min(frame // scored.segment_frames, len(scored.scores) - 1)
        number = self._event(frame)
        method = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
        shown = np.asarray(cv2.resize(picture, self._size, interpolation=method))
        shown = blurred(shown) if self._blur else shown
        if number and segment in scored.regions:
            shown = outlined(shown, scored.regions[segment])
        canvas = (self._marked if number else self._calm).copy()
        top = height + 2 * _MARGIN
        canvas[_MARGIN : _MARGIN + height, self._left : self._left + width] = shown
        moment = clock(seconds) if scored.fps else f"frame {frame}"
        self._write(canvas, top, moment, float(scored.scores[segment]), number)
        bar = canvas[top + self._row :]
        at = float(self._times.start(frame)) / (self._times.seconds or 1.0)
        now = min(len(bar[0]) - 1, int(at * len(bar[0]) + 1e-6))
        bar[:, : now + 1] = self._full[:, : now + 1]
        bar[:, max(now - 1, 0) : now + 1] = _rgb("ink")
        return canvas

    def _framed(self, canvas: np.ndarray) -> np.ndarray:
        """The canvas with an event border in its margin: bright, dark, bright, to be visible on any picture."""
        top, left = self._size[1] + 2 * _MARGIN, self._left - _MARGIN
        right = left + self._size[0] + 2 * _MARGIN
        marked = canvas.copy()
        for inset, colour in ((0, _rgb("limit")), (2, (0, 0, 0)), (4, _rgb("limit"))):
            marked[inset : top - inset, left + inset : right - inset] = colour
        return marked

    def _event(self, frame: int) -> int:
        """Number (from 1) of the event at a frame; 0 for none."""
        at = int(np.searchsorted(self._starts, frame, side="right"))
        return at if at and frame < self._scored.events[at - 1].stop_frame else 0

    def _write(self, canvas: np.ndarray, top: int, moment: str, score: float, number: int) -> None:
        import cv2

        font, text = cv2.FONT_HERSHEY_SIMPLEX, f"EVENT {number}, score {score:.2f}" if number else f"score {score:.2f}"
        (wide, high), _ = cv2.getTextSize(text, font, self._scale, 1)
        line, pad = top + (self._row + high) // 2, high // 2
        left = self.shape[1] - wide - 2 * pad
        if number:  # dark on bright; all other text is bright on dark
            canvas[line - high - pad : line + pad, left - pad : left + wide + pad] = _rgb("limit")
        ink = _rgb("paper") if number else _rgb("ink")
        cv2.putText(canvas, moment, (2 * pad, line), font, self._scale, _rgb("ink"), 1, cv2.LINE_AA)
        cv2.putText(canvas, text, (left, line), font, self._scale, ink, 1, cv2.LINE_AA)


def _timelines(scored: ScoredFrames, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bars, (height, width, 3) each: with the threshold only, and with all scores and events."""
    import cv2

    times = scored.shown
    columns = times.frame(np.arange(width + 1) * (times.seconds / width) + 1e-9) // scored.segment_frames
    columns = np.minimum(columns, len(scored.scores) - 1)
    peaks = np.array([scored.scores[a : max(a + 1, b)].max() for a, b in pairwise(columns)])
    low, high = min(scored.scores.min(), scored.threshold), max(scored.scores.max(), scored.threshold)
    room = height - 9

    def row(values: np.ndarray | float) -> np.ndarray:
        return np.rint(4 + room * (high - np.asarray(values)) / ((high - low) or 1.0)).astype(int)

    empty = np.empty((height, width, 3), np.uint8)
    empty[:] = _rgb("panel")
    full = empty.copy()
    diagonal = (np.add.outer(np.arange(height), np.arange(width)) % 8) < 2
    for event in scored.events:
        ends = np.array([times.start(event.start_frame), times.stop(event.stop_frame)])
        first, last = np.floor(ends * (width / (times.seconds or 1.0)) + 1e-6).astype(int).tolist()
        span = slice(first, last + 1)
        full[:, span] = _rgb("rule")
        full[:, span][diagonal[:, span]] = _rgb("event")  # hatched, so that it does not depend on colour vision
    for bar in (empty, full):
        dashes = np.arange(width) % 12 < 7
        bar[int(row(scored.threshold)), dashes] = _rgb("limit")
        bar[int(row(scored.threshold)) - 1, dashes] = _rgb("limit")
    points = np.stack([np.arange(width), row(peaks)], axis=1).astype(np.int32)
    cv2.polylines(full, [points[:, None]], False, _rgb("ink"), 2, cv2.LINE_AA)
    return empty, full
