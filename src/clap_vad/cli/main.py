"""The ``clap`` command: dispatches to sub-commands and holds no logic."""

from __future__ import annotations

import importlib
import sys

import click

from ..core.text.addresses import looks_like_address
from .terminals import tolerate_encodings

__all__ = ["main"]

_PACKAGE = "clap_vad.cli"
_DEPLOY = ("nvflare", "psutil")  # installed by the extra 'deploy'


class _LazyGroup(click.Group):
    """A group whose sub-commands are imported when they are called, so that ``clap --help`` stays quick."""

    def __init__(
        self,
        name: str,
        help: str,
        commands: dict[str, tuple[str, str, str]],
        groups: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(name=name, help=help)
        self._lazy, self._groups = commands, groups

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, attribute, _ = self._lazy[cmd_name]
        try:
            found: click.Command = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
        except ModuleNotFoundError as missing:
            if (missing.name or "").split(".")[0] not in _DEPLOY:
                raise
            raise click.ClickException(f"{missing.name} is not installed; pip install 'clap-vad[deploy]'") from None
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group, names in (self._groups or {"Commands": list(self._lazy)}).items():
            with formatter.section(group):
                formatter.write_dl([(name, self._lazy[name][2]) for name in names])


_FEATURES = _LazyGroup(
    "features",
    "Segment features: extract, import, inspect.",
    {
        "extract": ("features_extract", "extract", "Extract features from videos, folders of frames or track files."),
        "import": ("features_import", "import_", "Import features made by others."),
        "info": ("features_info", "info", "Show shape, size, checks and statistics of a store."),
    },
)
_DATASET = _LazyGroup(
    "dataset",
    "Datasets: prepare a benchmark, create your own, partition among participants.",
    {
        "prepare": ("dataset", "prepare", "Make the dataset of a known benchmark."),
        "create": ("dataset", "create", "Make a dataset from a store and a table of videos."),
        "partition": ("dataset", "partition", "Divide training videos among participants."),
    },
)

_COORDINATOR = _LazyGroup(
    "coordinator",
    "Run a federation of real sites, as its coordinator.",
    {
        "init": ("coordinator", "init", "Make a federation."),
        "approve": ("coordinator", "approve", "Approve a site."),
        "revoke": ("coordinator", "revoke", "Revoke a site."),
        "forget": ("coordinator", "forget", "Forget a site: list and remove its contributions."),
        "start": ("coordinator", "start", "Run the coordinator's service until Ctrl-C."),
        "status": ("coordinator", "status", "Show sites and runs."),
    },
)
_SITE = _LazyGroup(
    "site",
    "Take part in a federation, as a site.",
    {
        "request": ("site", "request", "Ask to join: make a key and a small file to send."),
        "join": ("site", "join", "Join with the coordinator's bundle."),
        "start": ("site", "start", "Take part in runs until Ctrl-C."),
        "status": ("site", "status", "Show whether it is connected, what it refused and what has left it."),
    },
)
_FEDERATION = _LazyGroup(
    "federation",
    "Run a whole federation on this machine.",
    {"local": ("federation", "local", "Run coordinator and sites as processes on this machine, for trials.")},
)
_PRIVACY = _LazyGroup(
    "privacy",
    "Show what left a site, what may leave one, and what it reveals.",
    {
        "ledger": ("privacy", "ledger", "List every message that left a site."),
        "schemas": ("privacy", "schemas", "List everything that may leave a site."),
        "audit": ("privacy", "audit", "Attack runs as their coordinator could."),
    },
)

cli = _LazyGroup(
    "clap",
    "Learn to spot anomalies in surveillance video together, without labels and without any video leaving a site.",
    {
        "demo": ("demo", "demo", "Run the whole chain on rendered videos."),
        "features": ("main", "_FEATURES", "Segment features: extract, import, info."),
        "dataset": ("main", "_DATASET", "Datasets: prepare, create, partition."),
        "label": ("label", "label", "Write pseudo-labels of a dataset, for researchers."),
        "train": ("train", "train", "Train a model: centralized, local or collaborative."),
        "evaluate": ("evaluate", "evaluate", "Compute frame-level metrics of a run."),
        "alarms": ("alarms", "alarms", "Report false alarms per hour, detected events and their delay."),
        "compare": ("compare", "compare", "Compare methods and settings over seeds in one table."),
        "reproduce": ("reproduce", "reproduce", "Reproduce the tables of the CLAP paper on a benchmark."),
        "score": ("score", "score", "Score video files and find events."),
        "export": ("export", "export", "Export a model as ONNX graphs."),
        "watch": ("watch", "watch", "Monitor a camera or stream and report events as they happen."),
        "report": ("report", "report", "Write one self-contained HTML page about a run."),
        "coordinator": ("main", "_COORDINATOR", "Run a federation: init, approve, revoke, forget, start, status."),
        "site": ("main", "_SITE", "Take part in a federation: request, join, start, status."),
        "federation": ("main", "_FEDERATION", "Run a federation on this machine, for trials: local."),
        "privacy": ("main", "_PRIVACY", "Show what left a site and what it reveals: ledger, schemas, audit."),
    },
    {
        "Start": ["demo"],
        "Data": ["features", "dataset"],
        "Training and evaluation": ["train", "evaluate", "alarms", "report", "export"],
        "Videos and cameras": ["score", "watch"],
        "Research": ["label", "compare", "reproduce"],
        "Federation": ["coordinator", "site", "federation", "privacy"],
    },
)
cli = click.version_option(package_name="clap-vad", prog_name="clap")(cli)


def main() -> None:
    """Run the command line; usage errors are one sentence on standard error and exit status 2."""
    tolerate_encodings()
    try:
        _run()
    except (OSError, KeyboardInterrupt) as error:  # beside a command: --help into a full disk, Ctrl-C while it loads
        from .command import fail

        fail(error)


def _run() -> None:
    try:
        cli.main(prog_name="clap", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        _say("a command is missing")
        sys.exit(2)
    except click.UsageError as error:
        where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        _say(f"{_usage(error)}{where}")
        sys.exit(2)
    except click.ClickException as error:
        _say(_sentence(error))
        sys.exit(2)
    except click.Abort:
        sys.exit(130)


def _usage(error: click.UsageError) -> str:
    """The error in the arguments; an argument that may be part of an address, and so of a login, is not repeated."""
    if any(map(looks_like_address, sys.argv[1:])):
        return "these arguments are not understood; put an address in quotes '...', and write a blank in it as %20"
    return _sentence(error).rstrip(".")


def _sentence(error: click.ClickException) -> str:
    return error.format_message().replace("\n\t", " ")  # it lists choices on lines of their own


def _say(sentence: str) -> None:
    from .command import say  # brings libraries that 'clap --help' does without

    say(sentence)
