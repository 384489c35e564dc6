"""The demo's report: what the sites are, what happened, what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.spread import percent
from ..reporting.durations import byte_size
from ..reporting.page import Section, Stat, Stats, Table, Text, Video, write_page
from ..reporting.run import run_sections
from ..reporting.run_files import read_run
from ..reporting.thumbnails import thumbnails
from ..reporting.video import pictured, video_section
from .demo_events import VideoEvents
from .demo_videos import DemoVideo, read_truth, stories
from .scoring import regions_of

__all__ = ["comparison_rows", "shown_videos", "write_demo_page"]

_NAMES = {
    "collaborative": "learned together, videos stayed at home",
    "local": "each site alone (mean)",
    "centralized": "all videos in one place",
}
_FOOTER = (
    "This page is complete in itself: it loads nothing from any network. On this machine the sites are folders that "
    "take part in turn; what a site sends is checked and written down exactly as it would be between machines."
)


def write_demo_page(
    out: Path,
    run: Path,
    results: Mapping[str, dict[str, Any]],
    used: Sequence[DemoVideo],
    found: Sequence[VideoEvents],
    skipped: Mapping[str, str],
    *,
    images: bool,
    blur: bool,
) -> Path:
    """Write ``OUT/report.html``.

    Args:
        out: the demo's folder.
        run: the run whose model found the events.
        results: setting -> metrics, the main one first.
        used, found, skipped: videos, events, and what could not be read.
        images, blur: pictures of the peaks, and whether they are made unrecognisable.
    """
    sections: list[Section] = [
        _headline(results, used),
        Text("What happened", _story(results, used)),
        _sites(used),
        Table(
            "Together, alone, or all in one place",
            ("Who learned", "Frame AUC", "Frame AP"),
            tuple(comparison_rows(results)),
            "Percent, over all test frames of all sites. Chance is an AUC of 50. The baselines train no model.",
            strong=0,
        ),
    ]
    if next(iter(results.values()))["frame_auc"] is None:
        sections.pop()  # nothing to compare without truth
    truth = read_truth(out / "dataset")
    shown = shown_videos(found)
    sections.append(Text("Events", (_choice(found, shown, images, blur),)))
    sections += [_video(one, truth.get(one.video.name), images=images, blur=blur) for one in shown]
    if skipped:
        reasons = tuple(f"{name}: {reason}" for name, reason in skipped.items())
        sections.append(Text("Could not be read", reasons))
    details = run_sections(read_run(run))
    heading = f"The {next(iter(results))} run in detail"
    sections += [replace(s, title=heading) if isinstance(s, Stats) else s for s in details]
    page = out / "report.html"
    count = len(stories(used))
    write_page(page, "CLAP-VAD demo", f"{count} site{'s' if count != 1 else ''}, no labels.", sections, _FOOTER)
    return page


def comparison_rows(results: Mapping[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Who learned, frame AUC and AP in percent: the settings, then the baselines."""
    rows = [(f"{setting}: {_NAMES[setting]}", *_figures(metrics)) for setting, metrics in results.items()]
    baselines = next(iter(results.values()))["baselines"]
    return rows + [(f"baseline {name}", *_figures(metrics)) for name, metrics in baselines.items()]


def shown_videos(found: Sequence[VideoEvents]) -> list[VideoEvents]:
    """Of every site the two videos with the highest peaks."""
    shown = []
    for site in dict.fromkeys(one.video.site for one in found):
        mine = sorted((one for one in found if one.video.site == site), key=lambda one: (-one.peak, one.video.name))
        shown += mine[:2]
    return shown


def _figures(metrics: Mapping[str, Any]) -> tuple[str, str]:
    return (
        percent(metrics.get("frame_auc"), metrics.get("frame_auc_std")),
        percent(metrics.get("frame_ap"), metrics.get("frame_ap_std")),
    )


def _headline(results: Mapping[str, dict[str, Any]], used: Sequence[DemoVideo]) -> Stats:
    setting, metrics = next(iter(results.items()))
    items = [Stat("Sites", str(len(stories(used)))), Stat("Videos", str(len(used)))]
    if metrics["frame_auc"] is not None:
        items.append(Stat("Frame AUC", f"{percent(metrics['frame_auc'])} %", setting))
    if setting == "collaborative":
        items += [
            Stat("Videos sent", "none"),
            Stat("Sent by all sites", byte_size(metrics["bytes_up"]), "sums"),
        ]
    return Stats("", tuple(items))


def _story(results: Mapping[str, dict[str, Any]], used: Sequence[DemoVideo]) -> tuple[str, ...]:
    setting, metrics = next(iter(results.items()))
    rendered = all(video.anomaly is not None for video in used)
    sites = len(stories(used))
    size = sum(video.path.stat().st_size for video in used if video.path.is_file())
    told = []
    if rendered:
        told.append(
            f"{sites} sites with cameras of their own each recorded some videos; for this demo they were rendered, so "
            "that what happens in them is known frame by frame. In some of the training videos something unusual "
            "happens, in most of them nothing does, and nobody told the sites which."
        )
    else:
        told.append(
            f"{sites} site{'s' if sites != 1 else ''} gave {len(used)} videos of their own, without any labels."
        )
    if setting == "collaborative":
        told.append(
            f"Every site turned its videos into numbers about motion. In {metrics['rounds']} rounds the sites found "
            "together how likely such numbers are, from sums over all of them, and each then adapted that to its own "
            f"camera: what is unlikely there scores high. The videos ({byte_size(size)}), the features and the scores "
            f"stayed at the sites; sums left them, {byte_size(metrics['bytes_up'])} in all "
            f"({byte_size(metrics['bytes_up'] / sites)} a site), and every message stands in the site's ledger."
        )
    else:
        told.append("There is one site only, so it learned alone, from all its training videos.")
    if rendered:
        calm = [
            site
            for site in stories(used)
            if not any(video.anomaly for video in used if video.site == site and video.split == "train")
        ]
        if calm:
            told.append(
                f"In the training videos of {' and '.join(calm)} nothing unusual happens at all: what is unusual "
                "there, the site can only learn from the others."
            )
    if metrics["frame_auc"] is None:
        told.append(f"There is no score of quality, because {metrics.get('undefined') or 'there is no truth'}.")
    else:
        told.append(_verdict(results))
    return tuple(told)


def _verdict(results: Mapping[str, dict[str, Any]]) -> str:
    auc = {setting: metrics["frame_auc"] for setting, metrics in results.items()}
    setting = next(iter(results))
    told = f"On the test videos the model reached a frame AUC of {percent(auc[setting])} %"
    if "local" in auc:
        more = auc[setting] > auc["local"]
        told += (
            f", {'more' if more else 'not more'} than the {percent(auc['local'])} % that the sites reach alone on "
            "average"
        )
    best, metrics = max(results[setting]["baselines"].items(), key=lambda item: item[1]["frame_auc"] or 0)
    told += f"; the best baseline, {best}, reaches {percent(metrics['frame_auc'])} %." if best else "."
    return told + " A small demo is no benchmark: other seeds give other figures."


def _sites(used: Sequence[DemoVideo]) -> Table:
    rows = []
    for site, story in stories(used).items():
        mine = [video for video in used if video.site == site]
        train = [video for video in mine if video.split == "train"]
        row = [site, story, str(len(train)), str(len(mine) - len(train))]
        if story:
            row.insert(3, str(sum(bool(video.anomaly) for video in train)))
        else:
            row.pop(1)
        rows.append(tuple(row))
    if any(stories(used).values()):
        columns = ("Site", "What it is", "Training videos", "of them with an anomaly", "Test videos")
        note = "The method was not told which training videos hold an anomaly; only the renderer knows."
        return Table("The sites", columns, tuple(rows), note, prose=True)
    return Table("The sites", ("Site", "Training videos", "Test videos"), tuple(rows))


def _choice(found: Sequence[VideoEvents], shown: Sequence[VideoEvents], images: bool, blur: bool) -> str:
    events = sum(len(one.events) for one in found)
    share = 100 * (1 - found[0].quantile)
    told = (
        f"{events} event{'s' if events != 1 else ''} in {len(found)} video{'s' if len(found) != 1 else ''}: stretches "
        f"that score as high as the highest {share:.2g} % of the training segments. Shown: of every site the two "
        "videos with the highest scores."
    )
    if images and any(one.events for one in shown):
        told += (
            " The pictures are averaged so coarsely that nobody can be recognised."
            if blur
            else " The pictures come from the videos; pass this page on only where the videos themselves may go."
        )
    return told


def _video(one: VideoEvents, truth: np.ndarray | None, *, images: bool, blur: bool) -> Video:
    wanted = [event.peak_frame for event in pictured(one.events)]
    remarks = [f"What was staged: {one.video.anomaly or 'nothing unusual'}"] if one.video.anomaly is not None else []
    return video_section(
        f"{one.video.site}: {one.video.name}",
        one.scores,
        frames=one.frames,
        fps=one.fps,
        segment_frames=one.segment_frames,
        threshold=one.threshold,
        events=one.events,
        truth=truth,
        pictures=thumbnails(one.video.path, wanted, blur=blur, regions=regions_of(one.events)) if images else None,
        remarks=remarks,
    )
