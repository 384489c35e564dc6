"""Output that continues when a terminal, pipe or disk fails."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click

__all__ = ["log", "silence", "tolerate_encodings"]


def tolerate_encodings() -> None:
    """Write characters that a terminal or pipe cannot encode as escapes, so that no name stops the output."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # closed by the caller, or not a text stream
            if stream.errors != "backslashreplace":
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # else it is suppressed


def log(text: str) -> None:
    """Write a line to standard error; if its pipe, terminal or disk is gone, work goes on without it."""
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        silence(sys.stderr)


def silence(stream: Any) -> None:
    """Drop further output to a stream; otherwise the interpreter would report an error at its end."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
