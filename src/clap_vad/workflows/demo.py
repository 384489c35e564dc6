"""``clap demo``: the whole pipeline, from videos of several sites to one model and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events.detection import DEFAULT_QUANTILE
from ..datasets.dataset import VideoRecord, write_videos_csv
from ..datasets.truth import check_lengths, write_frame_labels
from ..errors import ClapError
from ..features.extraction.extract import extract_features
from ..features.extraction.extractor import Extractor, make_extractor
from ..features.extraction.inputs import PassOver
from ..features.store.reader import FeatureStore
from ..persistence import read_json, write_json
from ..synthetic.rendering import TRUTH, RenderSettings
from .demo_events import VideoEvents, find_all_events
from .demo_page import write_demo_page
from .demo_videos import DemoVideo, link_videos, own_videos, read_truth, rendered_videos, stories
from .train import resume, train

__all__ = ["demo"]

EXTRACTOR = "motion"
# Twelve large cells: at 256 pixels a person covers about one.
EXTRACTION: dict[str, Any] = {"rows": 3, "cols": 4, "side": 256}
# As elsewhere, an event scores as high as the top 1 % of training segments, but the share is raised to at least this
# many segments: of a few minutes of video, 1 % is too few.
FEWEST_ABOVE = 20


def demo(
    out: Path = Path("demo-out"),
    *,
    videos: Path | None = None,
    seed: int = 0,
    rounds: int = 20,
    images: bool = True,
    blur: bool = False,
    settings: RenderSettings | None = None,
) -> dict[str, Any]:
    """Videos of several sites -> features -> a collaboratively trained model -> events and a report.

    Repeat an interrupted call to continue it; a finished demo is reported again from its files.

    Args:
        out: folder of all results: ``videos/``, ``dataset/``, ``runs/``, ``report.html``.
        videos: own videos, one sub-folder per site, instead of rendered ones (see :func:`own_videos`).
        seed: of the rendered videos and the training.
        rounds: rounds of training.
        images, blur: include pictures in the report; make people in them unrecognisable.
        settings: of the renderer, if not the default; their seed is used for rendering.

    Returns:
        A JSON-able dict: ``out``, ``report``, ``sites``, ``results`` (setting -> metrics), ``baselines``; ``run``,
        ``frame_auc``, ``frame_ap`` and ``bytes_up`` of the collaborative run; ``events`` (highest peaks first),
        ``skipped``, ``seconds``.

    Raises:
        ClapError: ``out`` holds something else, or the folder of own videos has the wrong layout.
    """
    started = time.monotonic()
    if rounds < 1 or seed < 0:
        raise ClapError("--rounds must be at least 1, --seed at least 0")
    tool = make_extractor(EXTRACTOR, EXTRACTION)
    render = settings or RenderSettings(seed=seed)
    links: dict[str, str] = {}
    held = _collect(out, videos, render, seed, rounds, tool, lambda link, reason: links.update({str(link): reason}))
    skipped = {**_extract(out / "dataset" / "store", held), **links}
    truth = read_truth(videos or out / "videos")
    used = _create(out / "dataset", held, truth)
    results = _train(out, {v.site for v in used if v.split == "train"}, seed, rounds)
    main = "collaborative" if "collaborative" in results else "centralized"
    shown = [video for video in used if not truth or video.split == "test"]
    store = FeatureStore(out / "dataset" / "store")
    trained = sum(store.video(video.name).segments for video in used if video.split == "train")
    quantile = max(0.5, min(DEFAULT_QUANTILE, 1 - FEWEST_ABOVE / trained))
    found = find_all_events(out / "runs" / main, store, shown, quantile)
    page = write_demo_page(out, out / "runs" / main, results, used, found, skipped, images=images, blur=blur)
    described = stories(used)
    metrics = results[main]
    return {
        "out": str(out),
        "report": str(page),
        "run": str(out / "runs" / main),
        "sites": {site: _site(site, story, used) for site, story in described.items()},
        "frame_auc": metrics["frame_auc"],
        "frame_ap": metrics["frame_ap"],
        "bytes_up": metrics["bytes_up"],
        "results": results,
        "baselines": metrics["baselines"],
        "events": _highest(found),
        "skipped": skipped,
        "seconds": round(time.monotonic() - started, 2),
    }


def _collect(
    out: Path,
    videos: Path | None,
    render: RenderSettings,
    seed: int,
    rounds: int,
    tool: Extractor,
    pass_over: PassOver,
) -> list[DemoVideo]:
    """Check that ``out`` is the folder of this demo, and return its videos."""
    choices: dict[str, Any] = {"rounds": rounds, "seed": seed, "rendered": asdict(render) if videos is None else None}
    if videos is not None and (out / "videos").resolve() == videos.resolve():
        raise ClapError(f"{out}: contains the folder given by --videos; choose another --out")
    file = out / "demo.json"
    known = read_json(file) if file.exists() else None
    if known is None and out.exists() and any(out.iterdir()):
        raise ClapError(f"{out}: is not empty and not the folder of a demo; choose another --out")
    if known is not None and {k: known.get(k) for k in choices} != choices:
        raise ClapError(f"{out}: holds a demo with another seed, rounds or videos; choose another --out")
    if videos is None:
        if known is None:
            write_json(file, choices)
        return rendered_videos(out / "videos", render)
    held = own_videos(videos, out / "videos", tool, leave_out=out, pass_over=pass_over)
    seen = [[v.name, v.site, v.split, str(v.source), *_state(v.source)] for v in held]
    if known is None:
        write_json(file, {**choices, "videos": seen})
    elif known.get("videos") != seen:
        raise ClapError(f"{out}: the videos in {videos} have changed since this demo began; choose another --out")
    link_videos(held)
    return held


def _state(path: Path) -> list[int]:
    """Size and modification time of a file, or the number of entries of a folder of frames."""
    if path.is_dir():
        return [sum(1 for _ in path.iterdir()), 0]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _extract(store: Path, held: Sequence[DemoVideo]) -> dict[str, str]:
    """Extract features into the store; returns video -> why it could not be read."""
    file = store.parent / "skipped.json"
    if not (store / "store.json").exists():
        report = extract_features([v.path for v in held], store, extractor=EXTRACTOR, settings=EXTRACTION)
        write_json(file, {v.name: report.skipped[str(v.path)] for v in held if str(v.path) in report.skipped})
    known = read_json(file) if file.exists() else {}
    found = FeatureStore(store)
    return {v.name: str(known.get(v.name, "could not be read")) for v in held if v.name not in found}


def _create(folder: Path, held: Sequence[DemoVideo], truth: dict[str, np.ndarray]) -> list[DemoVideo]:
    """Create the dataset of the readable videos, with the site as the scene; returns these videos."""
    store = FeatureStore(folder / "store")
    used = [video for video in held if video.name in store]
    if not any(video.split == "train" for video in used):
        raise ClapError(f"{folder}: no training video could be read; give other videos")
    labels = {video.name: truth[video.name] for video in used if video.name in truth}
    check_lengths(Path(TRUTH), labels, store)
    if not (folder / "videos.csv").exists():
        if labels:
            write_frame_labels(folder / "frame_labels.npz", labels)
        write_videos_csv(folder / "videos.csv", [VideoRecord(v.name, v.split, v.site) for v in used])
    return used


def _train(out: Path, sites: set[str], seed: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Setting -> metrics, the main run first; a single site trains centralized only."""
    settings = ("collaborative", "local", "centralized") if len(sites) > 1 else ("centralized",)
    choices: dict[str, Any] = {"protocol": "scene", "rounds": rounds, "seed": seed}
    results: dict[str, dict[str, Any]] = {}
    for setting in settings:
        run = out / "runs" / setting
        known = results[settings[0]]["baselines"] if results else None
        if (run / "config.json").exists():
            results[setting] = resume(run, baselines=known)
        else:
            results[setting] = train(out / "dataset", run, setting=setting, baselines=known, **choices)
    return results


def _site(site: str, story: str, used: Sequence[DemoVideo]) -> dict[str, Any]:
    mine = [video for video in used if video.site == site]
    staged = [v.anomaly for v in mine if v.split == "train"]
    return {
        "story": story,
        "training_videos": len(staged),
        "test_videos": len(mine) - len(staged),
        "training_videos_with_anomalies": None if None in staged else sum(bool(a) for a in staged),
    }


def _highest(found: Sequence[VideoEvents], count: int = 10) -> list[dict[str, Any]]:
    events = [
        {"site": one.video.site, "video": one.video.name, **asdict(event)} for one in found for event in one.events
    ]
    return sorted(events, key=lambda event: (-event["peak_score"], event["video"], event["start_frame"]))[:count]
