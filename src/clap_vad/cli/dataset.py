"""``clap dataset prepare | create | partition``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.table import Table

from ..datasets.creation import create_dataset
from ..datasets.dataset import Dataset
from ..datasets.partition import describe_participants
from ..datasets.partition import partition as partition_dataset
from ..datasets.preparation import DATASETS
from ..datasets.preparation import prepare as prepare_dataset
from ..datasets.protocol import PROTOCOLS
from ..persistence import write_bytes
from ..settings import settings_of_function
from .command import Output, command
from .setting_options import add_options

__all__ = ["create", "partition", "prepare"]

_FOLDER = click.Path(path_type=Path)


def _benchmark_options(function: Callable[..., Output]) -> Callable[..., Output]:
    return add_options(function, {"benchmark": DATASETS}, "options")


def _protocol_options(function: Callable[..., Output]) -> Callable[..., Output]:
    return add_options(function, {"protocol": PROTOCOLS}, "settings", settings=settings_of_function)


@command("prepare", help="Make the dataset of benchmark NAME from its published files.")
@click.argument("benchmark", metavar="NAME")
@click.option("--source", type=_FOLDER, required=True, help="Folder of the published files.")
@click.option("--out", type=_FOLDER, required=True, help="Dataset to make. Repeat the command to resume a preparation.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that extract features.  [default: all cores]")
@_benchmark_options
def prepare(benchmark: str, source: Path, out: Path, workers: int | None, options: dict[str, Any]) -> Output:
    data = prepare_dataset(benchmark, source, out, workers=workers, **options)
    skipped = data["skipped"]
    warning = None
    if skipped:
        first = next(iter(skipped.items()))
        warning = f"{out}: made without {len(skipped)} of the videos, unusable (first: '{first[0]}': {first[1]})"
    if faults := data["unreadable"]:
        reasons = "; ".join(f"{fault['path']}: {fault['reason']}" for fault in faults[:5])
        warning = ". ".join(filter(None, (warning, f"{source}: {len(faults)} folders were left out ({reasons})")))
    return Output(data, _describe_prepared(data), warning)


@command("create", help="Make a dataset from a feature store and a table of videos.")
@click.option("--store", type=_FOLDER, required=True, help="Store made by 'clap features extract' or 'import'.")
@click.option(
    "--videos", type=_FOLDER, required=True, help="CSV table with the columns video, split[, scene, event, label]."
)
@click.option("--frame-labels", type=_FOLDER, help="NPZ file: video -> 0 (normal) or 1 (abnormal) per frame.")
@click.option("--out", type=_FOLDER, required=True, help="Dataset to make.")
@click.option("--copy", is_flag=True, help="Copy the store instead of linking to it.")
def create(store: Path, videos: Path, frame_labels: Path | None, out: Path, copy: bool) -> Output:
    data = create_dataset(store, videos, out, frame_labels, copy=copy)
    lines = [f"{out}: {data['train']} training and {data['test']} test videos"]
    for key, meaning in (
        ("unlisted", "videos of the store are not listed and stay out"),
        ("unlabelled_test", "test videos have no frame labels and cannot be evaluated"),
        ("labels_not_listed", "videos of the frame labels are not listed"),
    ):
        if data[key]:
            lines.append(f"{len(data[key])} {meaning}: {', '.join(list(data[key])[:5])}")
    if found := data["frame_differences"]:
        first = ", ".join(f"{video} {difference:+d}" for video, difference in list(found.items())[:5])
        lines.append(f"{len(found)} videos have slightly more (+) or fewer (-) labels than frames: {first}")
    return Output(data, "\n".join(lines))


@command("partition", help="Divide the training videos of DATASET among participants.")
@click.argument("dataset", type=_FOLDER)
@click.option(
    "--protocol",
    required=True,
    metavar="NAME|FILE",
    help=f"{', '.join(PROTOCOLS)}, one with its parameters (NAME-PARTICIPANTS-SETTINGS), or a participants file.",
)
@click.option(
    "--participants", type=click.IntRange(min=1), help="Number of participants, if the protocol leaves it open."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draw.")
@_protocol_options
@click.option("--picture", type=_FOLDER, metavar="FILE", help="Also draw who holds what, as .svg or .png.")
def partition(
    dataset: Path,
    protocol: str,
    participants: int | None,
    seed: int,
    picture: Path | None,
    settings: dict[str, Any],
) -> Output:
    draw = _artist(picture) if picture else None  # before anything is written
    assigned = partition_dataset(dataset, protocol, participants, seed, **settings)
    opened = Dataset(dataset)
    data = describe_participants(opened, assigned)
    data["file"] = str(opened.participants_file(assigned.protocol))
    if picture and draw:
        write_bytes(picture, draw(data["participants"], title=f"{assigned.protocol}, seed {assigned.seed}"))
        data["picture"] = str(picture)
    table = Table("participant", "videos", "normal", "anomalous", "unlabelled", title=f"protocol {assigned.protocol}")
    for row in data["participants"]:
        table.add_row(*(str(row[key]) for key in ("id", "videos", "normal", "anomalous", "unlabelled")))
    remark = f"{data['unassigned']} training videos have no participant" if data["unassigned"] else data["file"]
    return Output(data, Group(table, remark, *([data["picture"]] if picture else [])))


def _artist(picture: Path) -> Callable[..., bytes]:
    from ..reporting.participants import participant_bars, picture_form  # matplotlib, where a picture is asked for

    return functools.partial(participant_bars, form=picture_form(picture))


def _describe_prepared(data: dict[str, Any]) -> Group:
    truth = data["truth"]
    lines = [
        f"{data['path']}: {data['train']} training videos ({data['train_anomalous']} anomalous), "
        f"{data['test']} test videos ({data['test_anomalous']} anomalous), {data['scenes']} scenes",
        f"truth: {truth['origin']}, {truth['videos']} videos, {truth['frames']} frames, "
        f"{truth['abnormal_frames']} abnormal",
    ]
    if truth["compared_with"]:
        lines.append(f"compared with {truth['compared_with']['file']}: {len(truth['disagreements'])} videos differ")
        lines += [f"  {entry['video']}: {entry['frames']} frames" for entry in truth["disagreements"]]
    for name, store in (data["features"] or {}).items():
        lines.append(
            f"{name}: {store['videos']} videos, {store['segments']} x {store['crops']} x {store['dim']} "
            f"({store['extractor']})"
        )
    lines += [f"protocol {name}: {len(held)} participants" for name, held in data["protocols"].items()]
    lines += [f"skipped {video}: {reason}" for video, reason in data["skipped"].items()]
    lines += [f"note: {note}" for note in data["notes"]]
    lines += [f"next: {step}" for step in data["next"]]
    return Group(*lines)
