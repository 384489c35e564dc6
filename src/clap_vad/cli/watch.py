"""``clap watch``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..core.events.policy import EventPolicy
from ..monitoring.sink import SINKS
from ..monitoring.sinks.clips import ClipSettings
from .command import Output, command, say
from .extractor_options import machine_options
from .setting_options import add_options

__all__ = ["watch"]

_FILE = click.Path(path_type=Path)
_NAMED_HERE = {"before", "after", "url"}


def _sink_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options for the settings of further event sinks."""
    return add_options(
        function,
        {"sink": SINKS},
        "sink_settings",
        lambda setting: setting.name not in _NAMED_HERE,
        group="Further event sinks",
    )


@command(
    "watch",
    help="Monitor SOURCE with the model of RUN and report events while they happen. SOURCE is an address (rtsp://...), "
    "camera:0, a video file or a folder of frames. Ctrl-C ends it.",
)
@click.argument("run", type=_FILE)
@click.argument("source")
@click.option(
    "--out",
    type=_FILE,
    default=Path("watch"),
    show_default=True,
    help="Folder for the database, events.jsonl, clips and the page.",
)
@click.option("--camera", help="Name of the camera.  [default: the scene, the address, or the file's name]")
@click.option("--scene", help="Use the model personalised for this scene.")
@click.option("--threshold", type=float, help="Segments with this score or a higher one belong to an event.")
@click.option(
    "--quantile",
    type=float,
    help="Instead: use this quantile of the training scores as the threshold, see 'clap score'.  "
    "[default: the model's own, 0.99]",
)
@click.option(
    "--max-gap",
    type=float,
    default=EventPolicy.max_gap,
    show_default=True,
    help="Events at most this many seconds apart become one event.",
)
@click.option(
    "--min-length",
    type=float,
    default=EventPolicy.min_length,
    show_default=True,
    help="Events shorter than this many seconds are dropped.",
)
@click.option(
    "--max-length",
    type=float,
    default=EventPolicy.max_length,
    show_default=True,
    help="An event that lasts this many seconds is closed, and another one begins.",
)
@click.option("--no-clips", "clips", is_flag=True, flag_value=False, default=True, help="Do not save clips of events.")
@click.option(
    "--before", type=float, default=ClipSettings.before, show_default=True, help="Seconds of the clip before the event."
)
@click.option(
    "--after", type=float, default=ClipSettings.after, show_default=True, help="Seconds of the clip after the event."
)
@click.option(
    "--webhook",
    envvar="CLAP_WEBHOOK",
    help="Post each event to this URL, as JSON without pictures. The variable CLAP_WEBHOOK sets it, too.",
)
@click.option(
    "--poll",
    type=float,
    metavar="SECONDS",
    help="Time between two requests to a camera that gives one picture per request (http://.../snap.jpg).  [default: "
    "measured from how often the picture changes, at least 0.2]",
)
@click.option("--seconds", type=float, help="Stop after this many seconds.")
@machine_options
@_sink_options
def watch(run: Path, source: str, **options: Any) -> Output:
    """Monitor, and print the summary at the end."""
    from ..workflows.watch import watch as watch_source

    result = watch_source(run, source, tell=say, **options)
    return Output(result, _text(result))


def _text(result: dict[str, Any]) -> str:
    latency = result["latency"]
    lines = [
        f"{result['camera']}: {result['ended']}",
        f"{result['seconds']:.1f} s seen, {result['frames']} frames ({result['dropped_frames']} dropped), "
        f"{result['events']} events, {result['outages']} outages",
    ]
    if result["unscored_segments"]:
        lines.append(f"{result['unscored_segments']} segments have no score: their features are not finite")
    if latency:
        lines.append(
            f"From a segment's last frame to its score: {1000 * latency['p50']:.0f} ms (median), "
            f"{1000 * latency['p95']:.0f} ms (95 %), {1000 * latency['max']:.0f} ms (longest)"
        )
    if hook := result["webhook"]:
        lines.append(f"Webhook: {hook['sent']} sent, {hook['refused']} refused, {hook['dropped']} dropped")
    lines += [f"{name.title()}: {result[name]}" for name in ("database", "lines", "report")]
    return "\n".join(lines)
