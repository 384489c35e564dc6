"""The page about scored videos, and its plots as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..reporting.page import Section, Text, Video, write_page
from .scoring import ScoredVideo

__all__ = ["save_score_plots", "write_score_page"]

_PICTURES_STAY = (
    "This page holds pictures taken from the videos. It was made on this site and is meant to stay here: "
    "pass it on only where the videos themselves may go. The options --blur and --no-images make everybody "
    "unrecognisable or leave the pictures out."
)
_PICTURES_BLURRED = "The pictures on this page are averaged so coarsely that nobody can be recognised."
_MOST_OPEN = 20  # videos; of more, those without an event are closed until they are opened


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
    """Write the page: what was found in all, then each video.

    Args:
        file: the page.
        done, sections: scored videos and the section of each.
        skipped: sentences about those that could not be scored.
        subtitle: of the page.
        scene: the camera, where one was named.
        blur: whether the pictures were made unrecognisable.
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
