"""Shared by all commands: ``--json``, ``--debug``, exit codes and error messages."""

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
    """The output of a command.

    Attributes:
        data: the JSON object for ``--json``.
        text: for people: plain text or anything rich can render.
        warning: the work was done in part (for example a corrupt video was skipped): exit status 2 after the output,
            and this message on standard error.
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
    """Refuse a camera's address in place of a path or a scene, without repeating it: it may contain a login."""
    if looks_like_address(str(arguments.get("scene") or "")):
        raise ClapError("--scene: expects the name of a scene, not an address; leave it out")
    for value in arguments.values():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and looks_like_address(str(path)):
                raise ClapError(
                    "expected a file or folder, not an address; only 'clap watch RUN SOURCE' takes an address, as "
                    "its SOURCE"
                )


def say(sentence: str, sign: str = "clap: ") -> None:
    """Write a message for the operator to standard error, as one line.

    Args:
        sentence: the message; control characters for terminals are written as escapes, see :mod:`clap_vad.errors`.
        sign: prefix.
    """
    log(f"{sign}{harmless(sentence)}")


@dataclass(frozen=True)
class _Harmless:
    """Text with control characters in names written as escapes; our own colours stay."""

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
        if sys.stdout:  # None if the caller has closed it
            sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, _STDOUT) from error  # a broken pipe stays one


def fail(error: BaseException) -> NoReturn:
    """Write one sentence about the error to standard error, and exit: 2, or 130 after Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; nothing finished is lost, repeat the command or train --resume RUN")
        # If Ctrl-C came while an import executed a string (as scipy does), the interpreter marks it as uncaught, and
        # ``python -m`` would end with the signal instead of 130; executing another string clears the mark.
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
            silence(sys.stdout)  # else the rest of its buffer would be reported again at the end
        place = f"{error.filename}: " if error.filename else ""
        remedy = "; free space and repeat the command, nothing finished is lost" if error.errno in _FULL else ""
        message = f"{place}{error.strerror or error}{remedy}"
    else:
        reason = " ".join(str(error).split())
        message = f"unexpected {type(error).__name__} ({reason}); repeat with --debug to see where, and report it"
    say(message)
    sys.exit(2)
