"""The demo's report: its sites, the training, the results and the events."""

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
    "collaborative": "trained together, videos stayed at the sites",
    "local": "each site alone (mean)",
    "centralized": "all videos in one place",
}
_FOOTER = (
    "This page is self-contained: it loads nothing from any network. In the demo the sites are folders on one machine "
    "that take part in turn; each message of a site is checked and logged as it would be between machines."
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
        images, blur: include pictures of the peaks; make people in them unrecognisable.
    """
    sections: list[Section] = [
        _headline(results, used),
        Text("What happened", _story(results, used)),
        _sites(used),
        Table(
            "Together, alone, or all in one place",
            ("Training", "Frame AUC", "Frame AP"),
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
    """Training, frame AUC and AP in percent: the settings, then the baselines."""
    rows = [(f"{setting}: {_NAMES[setting]}", *_figures(metrics)) for setting, metrics in results.items()]
    baselines = next(iter(results.values()))["baselines"]
    return rows + [(f"baseline {name}", *_figures(metrics)) for name, metrics in baselines.items()]


def shown_videos(found: Sequence[VideoEvents]) -> list[VideoEvents]:
    """The two videos with the highest peaks of each site."""
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
    lines = []
    if rendered:
        lines.append(
            f"{sites} sites recorded videos, each with its own camera. For this demo they were rendered, so the truth "
            "of every frame is known. Some training videos contain an anomaly, most do not, and the sites have no "
            "labels."
        )
    else:
        lines.append(
            f"{sites} site{'s' if sites != 1 else ''} gave {len(used)} videos of their own, without any labels."
        )
    if setting == "collaborative":
        lines.append(
            f"Each site extracted motion features from its videos. In {metrics['rounds']} rounds the sites estimated "
            "the density of these features together, from sums over all sites, and each site then personalised the "
            f"model for its camera: features that are unlikely there score high. The videos ({byte_size(size)}), the "
            f"features and the scores stayed at the sites. Only sums left them, {byte_size(metrics['bytes_up'])} in "
            f"total ({byte_size(metrics['bytes_up'] / sites)} per site), and each message is in the site's ledger."
        )
    else:
        lines.append("There is only one site, so it trained alone, on all its training videos.")
    if rendered:
        calm = [
            site
            for site in stories(used)
            if not any(video.anomaly for video in used if video.site == site and video.split == "train")
        ]
        if calm:
            lines.append(
                f"The training videos of {' and '.join(calm)} contain no anomaly: only the other sites can show such "
                "a site what is unusual."
            )
    if metrics["frame_auc"] is None:
        lines.append(f"Quality was not measured, because {metrics.get('undefined') or 'there is no truth'}.")
    else:
        lines.append(_verdict(results))
    return tuple(lines)


def _verdict(results: Mapping[str, dict[str, Any]]) -> str:
    auc = {setting: metrics["frame_auc"] for setting, metrics in results.items()}
    setting = next(iter(results))
    text = f"On the test videos the model reached a frame AUC of {percent(auc[setting])} %"
    if "local" in auc:
        more = auc[setting] > auc["local"]
        text += (
            f", {'more' if more else 'not more'} than the {percent(auc['local'])} % that sites trained alone reach on "
            "average"
        )
    best, metrics = max(results[setting]["baselines"].items(), key=lambda item: item[1]["frame_auc"] or 0)
    text += f"; the best baseline, {best}, reaches {percent(metrics['frame_auc'])} %." if best else "."
    return text + " A small demo is no benchmark: other seeds give other figures."


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
        columns = ("Site", "Description", "Training videos", "of them with an anomaly", "Test videos")
        note = "The method does not know which training videos contain an anomaly; only the renderer knows."
        return Table("The sites", columns, tuple(rows), note, prose=True)
    return Table("The sites", ("Site", "Training videos", "Test videos"), tuple(rows))


def _choice(found: Sequence[VideoEvents], shown: Sequence[VideoEvents], images: bool, blur: bool) -> str:
    events = sum(len(one.events) for one in found)
    share = 100 * (1 - found[0].quantile)
    text = (
        f"{events} event{'s' if events != 1 else ''} in {len(found)} video{'s' if len(found) != 1 else ''}: intervals "
        f"that score as high as the highest {share:.2g} % of the training segments. Shown: the two videos with the "
        "highest scores of each site."
    )
    if images and any(one.events for one in shown):
        text += (
            " The pictures are averaged so coarsely that nobody can be recognised."
            if blur
            else " The pictures come from the videos; share this page only where you may share the videos."
        )
    return text


def _video(one: VideoEvents, truth: np.ndarray | None, *, images: bool, blur: bool) -> Video:
    wanted = [event.peak_frame for event in pictured(one.events)]
    remarks = [f"Rendered anomaly: {one.video.anomaly or 'none'}"] if one.video.anomaly is not None else []
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
