"""Extraction of many videos into a feature store: parallel, resumable; a bad file does not affect the others."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.text.naming import storable
from ...cores import available_cores
from ...errors import ClapError, harmless
from ...processes import DIED, ONE_THREAD, PROGRESS, Task, run_tasks
from ...progress import progress_bar
from ..store.writer import StoreWriter
from .extractor import EXTRACTORS, Extraction, Extractor, make_extractor
from .inputs import OtherFiles, find_inputs
from .parts import Part, PartsFolder

__all__ = ["EXTRACTORS", "ExtractionReport", "extract_features", "extract_one", "make_extractor"]

_WORKER = "clap_vad.features.extraction.worker"


@dataclass
class ExtractionReport:
    """The result for every input.

    Attributes:
        store: the finished store.
        videos: names of its videos, in its order.
        skipped: input or doubtful file of a folder -> why it could not be used.
        truncated: video -> what is missing.
        notes: video -> other remarks.
        left_out: files of other kinds, see :class:`~clap_vad.features.extraction.inputs.OtherFiles`.
        segments: number of segments in the store.
        seconds: duration of this run.
    """

    store: Path
    videos: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    truncated: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    segments: int = 0
    seconds: float = 0.0

    def skip(self, source: Path, reason: str) -> None:
        """Record why an input is not used."""
        self.skipped[storable(str(source))] = harmless(reason)

    @property
    def warning(self) -> str | None:
        """A sentence if some inputs were skipped or only partly read, else None."""
        parts = []
        if self.skipped:
            parts.append(f"{len(self.skipped)} of {len(self.skipped) + len(self.videos)} inputs skipped")
        if self.truncated:
            parts.append(f"{len(self.truncated)} only partly read")
        if not parts:
            return None
        names = [*self.skipped, *self.truncated]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return f"{self.store}: {' and '.join(parts)} ({shown}); the rest is in the store"


def extract_one(extractor: str, settings: Mapping[str, Any], path: Path) -> Extraction:
    """Extract the features of a single file as a stream, with the extractor of a model or store.

    Iterate over the result to get blocks, :class:`~clap_vad.features.segments.SegmentFeatures`; afterwards ``.ending``
    has frames, fps and remarks. Memory does not depend on the length of the video.

    Raises:
        ClapError: the extractor or a setting is unknown, or (during iteration) the file cannot be used.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "gate.txt"
    >>> _ = file.write_text("frame id state x1 y1 x2 y2\\n0 1 2 10 10 20 40\\n17 1 2 12 10 22 40\\n")
    >>> extraction = extract_one("tracks", {"form": "segment"}, file)
    >>> [block.features.shape for block in extraction], extraction.ending.frames
    ([(2, 1, 34)], 18)
    """
    return make_extractor(extractor, settings).extract(path)


def extract_features(
    paths: Sequence[Path],
    out: Path,
    *,
    extractor: str,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    dtype: str = "float32",
) -> ExtractionReport:
    """Extract every video found at ``paths`` into a new store at ``out``.

    The store is identical, byte for byte, for any number of workers. After an interruption the same call resumes:
    finished videos are not extracted again. A file that cannot be used is skipped and reported.

    Args:
        paths: files, folders of frames, or folders to search.
        out: the store to write; must not exist, or be the unfinished store of the same call.
        extractor: registered name.
        settings: settings that differ from the extractor's defaults.
        workers: number of processes; None for one per available core.
        dtype: ``float32`` or ``float16``.

    Raises:
        ClapError: bad usage, a full disk, or no usable input.
    """
    started = time.monotonic()
    tool = make_extractor(extractor, settings or {})
    if workers is not None and workers < 1:
        raise ClapError(f"workers is {workers}; give at least 1")
    report = ExtractionReport(out)
    others = OtherFiles()
    inputs = find_inputs(paths, tool, leave_out=[out], pass_over=report.skip, ignore=others.add)
    report.left_out = others.summary()
    with _writer(out, extractor, tool, dtype) as writer:
        strangers = sorted(writer.completed - inputs.keys())
        if strangers:
            raise ClapError(
                f"{out}: this unfinished store contains '{strangers[0]}', which is not among the inputs; "
                "give the same paths as before or choose another --out"
            )
        parts = PartsFolder(out, extractor, tool)
        finished = _finish_parts(inputs, parts, writer.completed, extractor, tool, workers or available_cores())
        with closing(finished):
            for video, outcome in finished:
                _take(video, inputs[video], outcome, writer, parts, report)
        if not report.videos:
            parts.remove()
            first, *more = report.skipped.values()
            raise ClapError(first + (f" (and {len(more)} more inputs that cannot be used)" if more else ""))
        report.segments = writer.finish().segments
        parts.remove()
    report.seconds = time.monotonic() - started
    return report


def _writer(out: Path, name: str, tool: Extractor, dtype: str) -> StoreWriter:
    return StoreWriter(
        out,
        extractor=name,
        settings=tool.settings(),
        crops=tool.crops,
        dim=tool.dim,
        dtype=dtype,
        segment_frames=tool.segment_frames,
        with_valid=tool.with_valid,
        with_regions=tool.with_regions,
        normalise=tool.normalise,
        weights_sha256=tool.weights_sha256,
    )


def _finish_parts(
    inputs: Mapping[str, Path], parts: PartsFolder, stored: frozenset[str], name: str, tool: Extractor, workers: int
) -> Generator[tuple[str, Part | str | None], None, None]:
    """Yield every video, ordered by name, with its finished part or the reason why there is none.

    None means that the video is already in the store and its part was removed.
    """
    tasks: list[Task] = [
        {
            "video": video,
            "source": str(source),
            "stem": str(parts.stem(video)),
            "extractor": name,
            "settings": tool.settings() | tool.machine_settings(),
        }
        for video, source in inputs.items()
        if video not in stored and parts.find(video, source) is None
    ]
    pending = {task["video"] for task in tasks}
    failed: dict[str, str] = {}
    segments: dict[str, int] = {}
    running = run_tasks(_WORKER, tasks, workers, ONE_THREAD)
    with progress_bar(f"extract {name}", len(inputs)) as advance, closing(running) as messages:
        advance(len(inputs) - len(tasks))
        for video, source in inputs.items():
            while video in pending:
                task, message = next(messages)
                if PROGRESS in message:
                    segments[task["video"]] = message[PROGRESS]
                    advance(0, note=f"{sum(segments.values()):,} segments")
                    continue
                if "full" in message:
                    raise ClapError(message["full"])
                pending.discard(task["video"])
                advance()
                if DIED in message:
                    failed[task["video"]] = f"{task['source']}: {message[DIED]}"
                elif "skipped" in message:
                    failed[task["video"]] = message["skipped"]
            yield video, failed.get(video) or parts.find(video, source, rows=video not in stored)


def _take(
    video: str,
    source: Path,
    outcome: Part | str | None,
    writer: StoreWriter,
    parts: PartsFolder,
    report: ExtractionReport,
) -> None:
    """Append a finished part to the store and record the result in the report."""
    if outcome is None and video not in writer.completed:
        outcome = f"{source}: was changed during extraction; repeat the command when it no longer changes"
    if isinstance(outcome, Part) and video not in writer.completed:
        try:
            writer.append(video, parts.blocks(video, outcome), outcome.ending.frames, outcome.ending.fps)
        except ClapError as error:
            if isinstance(error.__cause__, OSError):  # the disk is full: not a fault of this video
                raise
            outcome = f"{source}: {str(error).removeprefix(f'{writer.path}: ')}"
        else:
            parts.drop_rows(video)
    if isinstance(outcome, str):
        report.skip(source, outcome)
        return
    report.videos.append(video)
    if outcome is not None and outcome.ending.truncated:
        report.truncated[video] = outcome.ending.truncated
    if outcome is not None and outcome.ending.notes:
        report.notes[video] = list(outcome.ending.notes)
