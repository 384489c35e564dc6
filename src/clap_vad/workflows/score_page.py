"""The report of scored videos, and its plots as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..reporting.page import Section, Text, Video, write_page
from .scoring import ScoredVideo

__all__ = ["save_score_plots", "write_score_page"]

_PICTURES_STAY = (
    "This page contains pictures from the videos: share it only where you may share the videos. The option --blur "
    "makes people unrecognisable; --no-images leaves the pictures out."
)
_PICTURES_BLURRED = "The pictures on this page are averaged so coarsely that nobody can be recognised."
_MOST_OPEN = 20  # videos; with more, the sections of videos without an event are collapsed


def write_score_page(
    file: Path,
    done: Sequence[ScoredVideo],
    sections: Sequence[Video],
    skipped: Sequence[str],
    subtitle: str,
    *,
    scene: str | None,
    blur: bool,
) -> None:
    """Write the page: an overview, then each video.

    Args:
        file: the page.
        done, sections: scored videos and the section of each.
        skipped: sentences about videos that could not be scored.
        subtitle: of the page.
        scene: the camera, if one was named.
        blur: True if the pictures are blurred.
    """
    pictures = any(section.pictures for section in sections)
    before: list[Section] = [Text("", (_PICTURES_BLURRED if blur else _PICTURES_STAY,))] if pictures else []
    after: list[Section] = [Text("Not scored", tuple(skipped))] if skipped else []
    many = len(sections) > _MOST_OPEN
    placed = [
        replace(section, anchor=_anchor(number), folded=many and not one.events)
        for number, (one, section) in enumerate(zip(done, sections, strict=True))
    ]
    write_page(file, "Scored videos", subtitle, [*before, *_overview(done, scene), *placed, *after])


def save_score_plots(folder: Path, done: Sequence[ScoredVideo], sections: Sequence[Video], scene: str | None) -> None:
    """Write every plot of the page as PNG and SVG."""
    from ..reporting.plot_files import save_plots

    save_plots(folder, [*_overview(done, scene), *sections])


def _overview(done: Sequence[ScoredVideo], scene: str | None) -> list[Section]:
    from ..reporting.overview import ListedVideo, cameras_of, overview_sections

    cameras = cameras_of([one.path for one in done], scene)
    return overview_sections(
        [
            ListedVideo(
                one.video,
                camera,
                one.frames,
                one.fps,
                float(one.scores.max()),
                one.events,
                _anchor(number),
                one.seconds,
            )
            for number, (one, camera) in enumerate(zip(done, cameras, strict=True))
        ]
    )


def _anchor(number: int) -> str:
    return f"video-{number + 1}"
