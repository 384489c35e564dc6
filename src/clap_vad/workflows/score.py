"""Score plain video files with a run's model and find events: ``clap score``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.events.policy import EventPolicy
from ..core.text.naming import storable
from ..errors import ClapError, harmless
from ..features.extraction.extractor import Extractor
from ..features.extraction.inputs import OtherFiles, find_inputs
from ..persistence import save_npz
from ..progress import progress_bar
from ..reporting.annotate import DEFAULT_SIDE
from ..reporting.page import Video
from .annotate import annotate_scored, check_annotating
from .export import exported_model
from .score_page import save_score_plots, write_score_page
from .scoring import ScoredVideo, choose_threshold, score_video, scored_section, scoring_parts

__all__ = ["score"]


def score(
    run: Path,
    videos: Sequence[Path],
    *,
    scene: str | None = None,
    onnx: Path | None = None,
    report: Path | None = None,
    scores: Path | None = None,
    annotate: Path | None = None,
    annotate_side: int = DEFAULT_SIDE,
    plots: Path | None = None,
    threshold: float | None = None,
    quantile: float | None = None,
    max_gap: float = EventPolicy.max_gap,
    min_length: float = EventPolicy.min_length,
    images: bool = True,
    blur: bool = False,
    here: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score videos straight from their files and find events in them.

    Args:
        run: a run folder, or ``RUN/participants/ID`` where each participant has its own model.
        scene: use the model personalised for this camera; None for the common model.
        onnx: folder of :func:`~clap_vad.workflows.export.export`; score with its graph instead of the model.
        videos: files that the model's extractor reads; folders are searched.
        report: HTML page to write.
        scores: ``.npz`` to write, video -> (T,) float32.
        annotate: folder for a copy of each video as MP4, with score and events drawn on it.
        annotate_side: longest side of these videos, in pixels.
        plots: folder for every plot of the report as PNG and SVG.
        threshold: score from which a segment belongs to an event.
        quantile: instead, the threshold at this quantile of the scores of the unlabelled training segments; the
            default is the quantile of the model's calibration (0.99).
        max_gap, min_length: seconds, see :class:`~clap_vad.core.events.policy.EventPolicy`.
        images: include pictures of the peaks in the report.
        blur: make people in them and in annotated videos unrecognisable.
        here: machine options of the extractor (``weights``, ``device``), and ``rate``: frames per second to read, if
            the videos have another frame rate than the training videos.

    Returns:
        A JSON-able dict: ``run``, ``scene``, ``onnx``, ``threshold``, ``quantile``, ``max_gap``, ``min_length``,
        ``videos`` (see :meth:`ScoredVideo.summary`), ``skipped`` [{path, reason}], ``left_out``
        (files of other kinds: [{kind, count, examples}]), ``report``, ``scores``, ``plots``,
        ``annotated`` (path of a video -> file), ``not_annotated`` [{path, reason}].

    Raises:
        ClapError: no usable model, bad options, or not a single video that can be scored.
    """
    model, extractor = scoring_parts(run, scene, here)
    scorer = model if onnx is None else exported_model(onnx, model)
    limit, used_quantile = choose_threshold(model, run, threshold, quantile)
    policy = EventPolicy(threshold=limit, max_gap=max_gap, min_length=min_length, max_length=math.inf)
    paths, skipped, left_out = _inputs(extractor, videos)
    for option, wanted in (("--scores", scores), ("--annotate", annotate), ("--plots", plots)):
        if wanted is not None:
            _refuse_equal_names(extractor, paths, option)
    if annotate is not None:
        check_annotating(annotate, annotate_side, extractor, paths)
    if plots is not None and plots.exists() and not plots.is_dir():
        raise ClapError(f"{plots}: is a file; name a folder for the plots")
    for file in (report, scores):
        if file is not None and file.is_dir():
            raise ClapError(f"{file}: is a folder; name a file in it")
        if file is not None and os.path.realpath(file) in {os.path.realpath(path) for path in paths}:
            raise ClapError(f"{file}: is one of the videos and would be overwritten; name another file")
    done: list[ScoredVideo] = []
    sections: list[Video] = []
    annotated: dict[str, str] = {}
    not_annotated: list[dict[str, str]] = []
    try:
        with progress_bar("scoring", len(paths)) as advance:
            for path in paths:
                advance(0, note=path.name)
                try:
                    one = score_video(scorer, extractor, path, policy)
                except (ClapError, OSError) as error:
                    skipped.append({"path": str(path), "reason": _reason(path, error)})
                else:
                    if report is not None or plots is not None:
                        taken: dict[str, Any] = {"rate": extractor.rate, "track": extractor.track}
                        frames = extractor.segment_frames
                        sections.append(scored_section(one, frames, limit, images=images, blur=blur, **taken))
                    done.append(one)
                    if annotate is not None:
                        look: dict[str, Any] = {"side": annotate_side, "blur": blur, "on_progress": partial(advance, 0)}
                        try:
                            annotated[str(path)] = str(annotate_scored(one, extractor, limit, annotate, **look))
                        except ClapError as error:
                            not_annotated.append({"path": str(path), "reason": _reason(path, error)})
                advance()
    finally:
        # also after Ctrl-C: keep what was scored
        if done and scores is not None:
            save_npz(scores, {one.video: one.scores for one in done})
        if done and report is not None:
            reasons = [entry["reason"] for entry in skipped]
            subtitle = _subtitle(done, limit, used_quantile)
            write_score_page(report, done, sections, reasons, subtitle, scene=scene, blur=blur)
        if done and plots is not None:
            save_score_plots(plots, done, sections, scene)
    if not done:
        raise ClapError("; ".join(entry["reason"] for entry in skipped))
    return {
        "run": str(run),
        "scene": scene,
        "onnx": None if onnx is None else str(onnx),
        "threshold": limit,
        "quantile": used_quantile,
        "max_gap": max_gap,
        "min_length": min_length,
        "videos": [one.summary() for one in done],
        "skipped": skipped,
        "left_out": left_out,
        "report": None if report is None else str(report),
        "scores": None if scores is None else str(scores),
        "plots": None if plots is None else str(plots),
        "annotated": annotated,
        "not_annotated": not_annotated,
    }


def _inputs(
    extractor: Extractor, videos: Sequence[Path]
) -> tuple[list[Path], list[dict[str, str]], list[dict[str, Any]]]:
    """Files to score in the given order, and the entries of ``skipped`` and ``left_out``.

    A missing file fails later, when it is scored; an empty folder is skipped, so that the rest is scored.
    """
    found: list[Path] = []
    passed: dict[str, str] = {}
    others = OtherFiles()
    failed: list[str] = []

    def pass_over(path: Path, reason: str) -> None:
        passed[storable(str(path))] = reason

    for path in videos:
        if not _is_folder(path):
            found.append(path)
            continue
        try:
            found += find_inputs([path], extractor, pass_over=pass_over, ignore=others.add).values()
        except ClapError as error:
            failed.append(str(error))
            pass_over(path, str(error))
    if not found:
        raise ClapError("; ".join(failed) or "no video given; name at least one file or folder")
    skipped = [{"path": path, "reason": reason} for path, reason in passed.items()]
    return list(dict.fromkeys(found)), skipped, others.summary()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # not accessible; its reader reports why
        return False


def _refuse_equal_names(extractor: Extractor, paths: Sequence[Path], option: str) -> None:
    owner: dict[str, Path] = {}
    for path in paths:
        first = owner.setdefault(extractor.video_name(path), path)
        if first != path:
            raise ClapError(f"{path}: same name as {first}; {option} needs different names, score them one by one")


def _subtitle(done: Sequence[ScoredVideo], threshold: float, quantile: float | None) -> str:
    count = sum(len(one.events) for one in done)
    chosen = f"the {100 * quantile:g} % quantile of the training scores" if quantile is not None else "given"
    return (
        f"{count} event{'' if count == 1 else 's'} in {len(done)} video{'' if len(done) == 1 else 's'}; "
        f"threshold {threshold:.4g} ({chosen})."
    )


def _reason(path: Path, error: ClapError | OSError) -> str:
    return harmless(str(error) if isinstance(error, ClapError) else f"{path}: {error.strerror or error}")
