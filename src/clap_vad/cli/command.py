"""What every command shares: ``--json``, ``--debug``, exit codes and error sentences."""

from __future__ import annotations

import errno
import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from ..core.text.addresses import looks_like_address
from ..errors import ClapError, harmless
from .help import GroupedCommand
from .terminals import log, silence

__all__ = ["Output", "command", "fail", "say"]

_STDOUT = "standard output"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Output:
    """What a command reports.

    Attributes:
        data: the JSON object for ``--json``.
        text: what a person reads instead: plain text or anything rich can render.
        warning: the work was done in part (for example a corrupt video was skipped): exit status 2 after the output,
            the sentence on standard error.
    """

    data: dict[str, Any]
    text: RenderableType
    warning: str | None = None


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Output]], click.Command]:
    """A click command whose function returns an :class:`Output`; adds ``--json`` and ``--debug``."""

    def decorate(function: Callable[..., Output]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, debug: bool, **arguments: Any) -> None:
            try:
                _refuse_addresses(arguments)
                output = function(**arguments)
                _print(output, as_json)
            except (click.ClickException, click.exceptions.Exit):
                raise
            except (Exception, KeyboardInterrupt) as error:
                if debug:
                    raise
                fail(error)
            if output.warning:
                say(output.warning)
                sys.exit(2)

        run = click.option("--debug", is_flag=True, help="Show tracebacks of errors.")(run)
        run = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")(run)
        return click.command(name, cls=GroupedCommand, **attributes)(run)

    return decorate


def _refuse_addresses(arguments: dict[str, Any]) -> None:
    """Refuse an address of a camera in place of a path or a scene, without repeating it: a login may be in it."""
    if looks_like_address(str(arguments.get("scene") or "")):
        raise ClapError("--scene: an address stands where the name of a scene is needed; leave it out")
    for value in arguments.values():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and looks_like_address(str(path)):
                raise ClapError(
                    "an address stands where a file or folder is needed; only 'clap watch RUN SOURCE' takes one, as "
                    "its SOURCE"
                )


def say(sentence: str, sign: str = "clap: ") -> None:
    """Tell the operator a sentence on standard error: one line, whatever names it repeats.

    Args:
        sentence: what to say; what a terminal would obey in it is written as escapes, see :mod:`clap_vad.errors`.
        sign: stands before it.
    """
    log(f"{sign}{harmless(sentence)}")


@dataclass(frozen=True)
class _Harmless:
    """What a person reads, with escapes in place of what a terminal would obey in names; our own colours stay."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = Text(self.content) if isinstance(self.content, str) else self.content
        for segment in console.render(shown, options):
            lines = "\n".join(map(harmless, segment.text.split("\n")))
            yield segment if segment.control else Segment(lines, segment.style)


def _print(output: Output, as_json: bool) -> None:
    try:
        if as_json:
            click.echo(json.dumps(output.data, allow_nan=False))
        else:
            Console(highlight=False).print(_Harmless(output.text), soft_wrap=True)
        if sys.stdout:  # None where the caller has closed it
            sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, _STDOUT) from error  # a broken pipe stays one


def fail(error: BaseException) -> NoReturn:
    """Say in one sentence on standard error what went wrong, and exit: 2, or 130 after Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; nothing finished is lost, repeat the command or train --resume RUN")
        # Where Ctrl-C came while an import ran a string (scipy's do), the interpreter remembers it as uncaught, and
        # ``python -m`` would end in the signal instead of in 130; the next string it runs makes it forget.
        exec("")
        sys.exit(130)
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        sys.exit(1)
    if isinstance(error, ClapError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = f"out of memory ({error})"
    elif isinstance(error, OSError):
        if error.filename == _STDOUT:
            silence(sys.stdout)  # what is left in its buffer would be reported once more at the end
        place = f"{error.filename}: " if error.filename else ""
        remedy = "; free space and repeat the command, nothing finished is lost" if error.errno in _FULL else ""
        message = f"{place}{error.strerror or error}{remedy}"
    else:
        told = " ".join(str(error).split())
        message = f"unexpected {type(error).__name__} ({told}); repeat with --debug to see where, and report it"
    say(message)
    sys.exit(2)
