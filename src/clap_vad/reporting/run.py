"""The sections of a run's report."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ..evaluation.spread import percent
from .curves import roc_plots, score_plots
from .durations import byte_size, duration
from .page import Plot, Plots, Section, Stat, Stats, Table, Text
from .plots import round_curve
from .run_files import Leaving, RunFiles, read_leaving

__all__ = ["run_sections", "run_subtitle"]

_SUPERVISION = {"us": "without any labels", "ws": "with one label per training video"}


def run_subtitle(run: RunFiles) -> str:
    """A sentence that describes what was trained."""
    value = {**run.config, **run.metrics}
    method, setting = str(value.get("method", "unknown method")), str(value.get("setting", ""))
    how = _SUPERVISION.get(str(value.get("supervision", "")), str(value.get("supervision", "")))
    sites, rounds = _sites(run), value.get("rounds")
    many = f"{sites} sites" if sites else "the sites"
    protocol = f", protocol {value['protocol']}" if value.get("protocol") and setting != "centralized" else ""
    who = {
        "collaborative": f"{many} trained one model together, the videos stayed at the sites",
        "local": f"each of {many} trained its own model",
        "centralized": "one model was trained on all training videos in one place",
    }.get(setting, setting)
    length = f", {rounds} rounds" if isinstance(rounds, int) else ""
    strategy = f" of {value['strategy']}" if length and setting == "collaborative" and value.get("strategy") else ""
    return f"{method}, {setting}, {how}: {who} ({_seed(value)}{protocol}{length}{strategy})."


def run_sections(run: RunFiles) -> list[Section]:
    """All sections of a run's report, in reading order; empty sections are left out."""
    sections: list[Section] = [_headline(run)]
    if run.metrics.get("frame_auc") is None:
        reason = run.metrics.get("undefined") or "the dataset has no frame labels for its test videos"
        sections.append(Text("No frame-level result", (f"There is no frame AUC: {reason}.",)))
    sections += _left_out(run)
    sections += _results(run)
    sections += roc_plots(run)
    sections += _per_scene(run)
    sections += _participants(run)
    sections += score_plots(run)
    sections += _rounds(run)
    sections += _leaving(run)
    sections.append(_provenance(run))
    return sections


def _headline(run: RunFiles) -> Stats:
    value = {**run.config, **run.metrics}
    local = value.get("setting") == "local"
    items = []
    for key, label in (("frame_auc", "Frame AUC"), ("frame_ap", "Frame AP")):
        if isinstance(value.get(key), (int, float)):
            spread = value.get(f"{key}_std")
            note = f"mean over sites, ± {percent(spread)}" if local and isinstance(spread, (int, float)) else ""
            items.append(Stat(label, f"{percent(value[key])} %", note))
    if _sites(run):
        items.append(Stat("Sites", str(_sites(run)), str(value.get("protocol") or "")))
    if isinstance(value.get("rounds"), int):
        items.append(Stat("Rounds", str(value["rounds"])))
    if value.get("setting") == "collaborative" and isinstance(value.get("bytes_up"), int):
        down = value.get("bytes_down")
        note = f"{byte_size(down)} received" if isinstance(down, int) else ""
        items.append(Stat("Sent by all sites", byte_size(value["bytes_up"]), note))
    privacy = value.get("privacy")
    if isinstance(privacy, dict) and isinstance(privacy.get("epsilon"), float):
        note = f"delta {privacy.get('delta')}, unit {privacy.get('unit')}" + (", seeded" if privacy["seeded"] else "")
        items.append(Stat("Epsilon", f"{privacy['epsilon']:.3f}", note))
    if isinstance(value.get("seconds"), (int, float)):
        items.append(Stat("Time", duration(value["seconds"])))
    return Stats("", tuple(items))


def _left_out(run: RunFiles) -> list[Section]:
    out = run.metrics.get("left_out")
    if not isinstance(out, dict) or not out:
        return []
    note = "These sites sent impossible values. Nothing that they sent afterwards is in the result."
    return [Table("Sites left out", ("Site", "Why"), tuple((str(k), str(v)) for k, v in out.items()), note, prose=True)]


def _results(run: RunFiles) -> list[Section]:
    metrics = run.metrics
    baselines = metrics.get("baselines")
    baselines = baselines if isinstance(baselines, dict) else {}
    if metrics.get("frame_auc") is None and not baselines:
        return []
    name = f"{metrics.get('method', run.config.get('method', 'this run'))} (this run)"
    rows = [(name, *(percent(metrics.get(key), metrics.get(f"{key}_std")) for key in ("frame_auc", "frame_ap")))]
    rows += [(key, percent(entry.get("frame_auc")), percent(entry.get("frame_ap"))) for key, entry in baselines.items()]
    facts = [f"{metrics['videos']} test videos" if "videos" in metrics else ""]
    if isinstance(metrics.get("frames"), int) and isinstance(metrics.get("abnormal_frames"), int):
        facts.append(f"{metrics['frames']:,} frames, {metrics['abnormal_frames']:,} of them abnormal")
    for key, what in (
        ("cut_frames", "frames without labels were left out"),
        ("held_frames", "frames beyond the features got the score of the last segment"),
    ):
        if metrics.get(key):
            facts.append(f"{metrics[key]:,} {what}")
    missing = metrics.get("videos_without_truth")
    if missing:
        facts.append(f"{len(missing) if isinstance(missing, list) else missing} test videos have no frame labels")
    note = (
        "Percent, over all test frames, last round. The other rows are label-free baselines, a fixed set. "
        if baselines
        else "Percent, over all test frames, last round. "
    )
    evaluated = "; ".join(fact for fact in facts if fact)
    note += f"Evaluated on {evaluated}." if evaluated else ""
    return [Table("Result", ("Method", "Frame AUC", "Frame AP"), tuple(rows), note, strong=0)]


def _per_scene(run: RunFiles) -> list[Section]:
    scenes = run.metrics.get("per_scene")
    if not isinstance(scenes, dict) or not scenes:
        return []
    rows = tuple(
        (
            str(scene),
            str(entry.get("videos", "–")),
            f"{entry['frames']:,}" if isinstance(entry.get("frames"), int) else "–",
            percent(entry.get("frame_auc")),
            percent(entry.get("frame_ap")),
        )
        for scene, entry in scenes.items()
    )
    note = "A dash: the scene's test frames are all normal or all abnormal, so the value is undefined."
    missing = any("–" in row for row in rows)
    columns = ("Scene", "Videos", "Frames", "Frame AUC", "Frame AP")
    return [Table("Scene by scene", columns, rows, note if missing else "")]


def _participants(run: RunFiles) -> list[Section]:
    participants = run.metrics.get("per_participant")
    if not isinstance(participants, dict) or not participants:
        return []
    rows = tuple(
        (str(name), percent(entry.get("frame_auc")), percent(entry.get("frame_ap")))
        for name, entry in participants.items()
        if isinstance(entry, dict)
    )
    note = "Every participant's own model on the common test set, percent."
    return [Table("Participant by participant", ("Participant", "Frame AUC", "Frame AP"), rows, note)] if rows else []


def _rounds(run: RunFiles) -> list[Section]:
    lines = [line for line in run.rounds if isinstance(line.get("round"), int)]
    if len(lines) < 2:
        return []
    rounds = [line["round"] for line in lines]
    plots = []
    loss = _series(lines, "loss")
    if any(value is not None for value in loss):
        draw = partial(round_curve, rounds, {"loss": loss}, "training loss")
        description = f"Training loss over {len(rounds)} rounds"
        plots.append(Plot(draw, description, "Training loss, mean over participants", "rounds-loss"))
    areas = _series(lines, "frame_auc")
    if any(area is not None for area in areas):
        shares = [None if area is None else 100 * area for area in areas]
        draw = partial(round_curve, rounds, {"frame AUC": shares}, "frame AUC %")
        caption = "Frame AUC on the test videos; the last round is the result"
        plots.append(Plot(draw, f"Frame AUC over {len(rounds)} rounds", caption, "rounds-frame-auc"))
    up, down = _series(lines, "bytes_up"), _series(lines, "bytes_down")
    if any(value for value in up + down):
        series = {"sent": [_mega(value) for value in up], "received": [_mega(value) for value in down]}
        draw = partial(round_curve, rounds, series, "MB", from_zero=True)
        description = "Megabytes sent and received per round"
        plots.append(Plot(draw, description, "Sent and received by all sites", "rounds-bytes"))
    return [Plots("Round by round", tuple(plots), small=True)] if plots else []


def _leaving(run: RunFiles) -> list[Section]:
    found, damaged = read_leaving(run.path)
    if not found:
        return []
    note = "All kinds of outgoing messages, from the ledger that each site keeps."
    if damaged:
        note += f" Not counted: {damaged} damaged ledger lines, incomplete because a site was killed."
    columns = ("Kind of message", "Messages", "Bytes", "Protection")
    return [Table("What left the sites", columns, tuple(_leaving_row(entry) for entry in found), note)]


def _leaving_row(entry: Leaving) -> tuple[str, ...]:
    return entry.schema, f"{entry.messages:,}", byte_size(entry.bytes), ", ".join(entry.protections)


def _provenance(run: RunFiles) -> Table:
    facts = {key: value for key, value in run.config.items() if not isinstance(value, dict)}
    for key, value in run.config.items():
        if isinstance(value, dict):
            facts |= {f"{key}.{name}": inner for name, inner in value.items()}
    if "model_sha256" in run.metrics:
        facts["model_sha256"] = run.metrics["model_sha256"]
    rows = tuple((key, _fact(value)) for key, value in facts.items())
    return Table("Provenance", ("Setting", "Value"), rows, prose=True, folded=True)


def _fact(value: Any) -> str:
    if isinstance(value, str):
        # a report may be passed on, so it must not show paths of this machine
        return (Path(value).name if Path(value).is_absolute() else value) or "–"
    return json.dumps(value)


def _sites(run: RunFiles) -> int | None:
    if run.metrics.get("setting", run.config.get("setting")) == "centralized":
        return None
    for value in (run.metrics.get("participants"), *(line.get("participants") for line in reversed(run.rounds))):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _seed(value: dict[str, Any]) -> str:
    return f"seed {value.get('seed', 0)}"


def _series(lines: list[dict[str, Any]], key: str) -> list[float | None]:
    return [float(line[key]) if isinstance(line.get(key), (int, float)) else None for line in lines]


def _mega(value: float | None) -> float | None:
    return None if value is None else value / 1e6
