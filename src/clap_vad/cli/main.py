"""The ``clap`` command: a corridor that opens onto every room and holds no logic."""

from __future__ import annotations

import importlib
import sys

import click

from ..core.text.addresses import looks_like_address
from .terminals import tolerate_encodings

__all__ = ["main"]

_PACKAGE = "clap_vad.cli"
_DEPLOY = ("nvflare", "psutil")  # what the extra 'deploy' brings


class _LazyGroup(click.Group):
    """A group whose sub-commands are imported when they are called, so that ``clap --help`` stays quick."""

    def __init__(self, name: str, help: str, commands: dict[str, tuple[str, str, str]]) -> None:
        super().__init__(name=name, help=help)
        self._lazy = commands

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
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])


_FEATURES = _LazyGroup(
    "features",
    "Segment features: extract, import, inspect.",
    {
        "extract": ("features_extract", "extract", "Features of videos, folders of frames, or track files."),
        "import": ("features_import", "import_", "Features made by others, in their own layout."),
        "info": ("features_info", "info", "Shape, size, checks and statistics of a store."),
    },
)
_DATASET = _LazyGroup(
    "dataset",
    "Datasets: prepare a benchmark, create your own, partition among participants.",
    {
        "prepare": ("dataset", "prepare", "A known benchmark from its files."),
        "create": ("dataset", "create", "Your own dataset from a store and a list of videos."),
        "partition": ("dataset", "partition", "Who holds which training videos."),
    },
)

_COORDINATOR = _LazyGroup(
    "coordinator",
    "A federation of real sites, seen from its coordinator.",
    {
        "init": ("coordinator", "init", "Make a federation."),
        "approve": ("coordinator", "approve", "Let a site in."),
        "revoke": ("coordinator", "revoke", "Shut a site out again."),
        "forget": ("coordinator", "forget", "A site leaves: what holds what it gave, and what of it can go."),
        "start": ("coordinator", "start", "Run the coordinator until Ctrl-C."),
        "status": ("coordinator", "status", "Sites and runs."),
    },
)
_SITE = _LazyGroup(
    "site",
    "A federation of real sites, seen from one of them.",
    {
        "request": ("site", "request", "Ask to join: a key that stays here, a small file to send."),
        "join": ("site", "join", "Join with what the coordinator sent back."),
        "start": ("site", "start", "Take part in runs until Ctrl-C."),
        "status": ("site", "status", "Whether it is connected, what it refused, what has left it."),
    },
)
_FEDERATION = _LazyGroup(
    "federation",
    "A whole federation at once.",
    {"local": ("federation", "local", "Coordinator and sites as processes on this machine, for trying out.")},
)
_PRIVACY = _LazyGroup(
    "privacy",
    "What left a site, what can leave one, and what could be made of it.",
    {
        "ledger": ("privacy", "ledger", "Every message that left a site."),
        "schemas": ("privacy", "schemas", "Everything that can leave a site."),
        "audit": ("privacy", "audit", "Attack runs as their coordinator could."),
    },
)

cli = _LazyGroup(
    "clap",
    "Learn to spot anomalies in surveillance video together, without labels and without any video leaving a site.",
    {
        "demo": ("demo", "demo", "The whole chain on videos it renders itself."),
        "features": ("main", "_FEATURES", "Segment features: extract, import, info."),
        "dataset": ("main", "_DATASET", "Datasets: prepare, create, partition."),
        "label": ("label", "label", "Pseudo-labels of a dataset, for researchers."),
        "train": ("train", "train", "Train a model: centralized, local or collaborative."),
        "evaluate": ("evaluate", "evaluate", "Frame-level metrics of a run."),
        "alarms": ("alarms", "alarms", "False alarms per hour, events found and how late."),
        "compare": ("compare", "compare", "A table of methods and settings over seeds."),
        "reproduce": ("reproduce", "reproduce", "Every table of the CLAP paper on a benchmark."),
        "score": ("score", "score", "Score video files and find events."),
        "export": ("export", "export", "A model as ONNX graphs."),
        "watch": ("watch", "watch", "Watch a camera or stream and tell of events as they happen."),
        "report": ("report", "report", "One self-contained HTML page about a run."),
        "coordinator": ("main", "_COORDINATOR", "Run a federation: init, approve, revoke, forget, start, status."),
        "site": ("main", "_SITE", "Take part in a federation: request, join, start, status."),
        "federation": ("main", "_FEDERATION", "A federation on this machine, for trying out: local."),
        "privacy": ("main", "_PRIVACY", "What left a site and what it gives away: ledger, schemas, audit."),
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
    """What is wrong with the arguments; one that may be part of an address, and so of a login, is not repeated."""
    if any(map(looks_like_address, sys.argv[1:])):
        return "these arguments are not understood; put an address in quotes '...', and write a blank in it as %20"
    return _sentence(error).rstrip(".")


def _sentence(error: click.ClickException) -> str:
    return error.format_message().replace("\n\t", " ")  # it lists choices on lines of their own


def _say(sentence: str) -> None:
    from .command import say  # brings libraries that 'clap --help' does without

    say(sentence)
