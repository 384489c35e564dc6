"""What every command shares: ``--json``, ``--debug``, exit codes and error sentences."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import click
from rich.console import Console, RenderableType

from ..errors import ClapError

__all__ = ["Output", "command", "fail"]

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
                output = function(**arguments)
                _print(output, as_json)
            except (click.ClickException, click.exceptions.Exit):
                raise
            except (Exception, KeyboardInterrupt) as error:
                if debug:
                    raise
                fail(error)
            if output.warning:
                click.echo(f"clap: {output.warning}", err=True)
                sys.exit(2)

        run = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(run)
        run = click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of output.")(run)
        return click.command(name, **attributes)(run)

    return decorate


def _print(output: Output, as_json: bool) -> None:
    try:
        if as_json:
            click.echo(json.dumps(output.data, allow_nan=False))
        else:
            Console(highlight=False).print(output.text, markup=False, soft_wrap=True)
        if sys.stdout:  # None where the caller has closed it
            sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error  # a broken pipe stays one


def fail(error: BaseException) -> NoReturn:
    """Say in one sentence on standard error what went wrong, and exit: 2, or 130 after Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("clap: interrupted; nothing finished is lost, repeat the command or train --resume RUN", err=True)
        # Where Ctrl-C came while an import ran a string (scipy's do), the interpreter remembers it as uncaught, and
        # ``python -m`` would end in the signal instead of in 130; the next string it runs makes it forget.
        exec("")
        sys.exit(130)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would complain at its end
        sys.exit(1)
    if isinstance(error, ClapError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = f"out of memory ({error})"
    elif isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        remedy = "; free space and repeat the command, nothing finished is lost" if error.errno in _FULL else ""
        message = f"{place}{error.strerror or error}{remedy}"
    else:
        told = " ".join(str(error).split())
        message = f"unexpected {type(error).__name__} ({told}); repeat with --debug to see where, and report it"
    click.echo(f"clap: {_printable(message)}", err=True)
    sys.exit(2)


def _printable(text: str) -> str:
    """File names may hold anything; what a terminal cannot show is written as an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
