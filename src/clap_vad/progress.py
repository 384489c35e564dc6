"""Progress bars on standard error, drawn only on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .errors import harmless

__all__ = ["Advance", "progress_bar"]

Advance = Callable[..., None]


class _Lenient:
    """A stream that drops output it cannot write, for a terminal that may disappear."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def progress_bar(title: str, total: float | None) -> Iterator[Advance]:
    """A progress bar; yields ``advance(steps=1, note=None)``.

    It is drawn only on a terminal, and not if the environment variable ``CLAP_PROGRESS`` is ``off``. Control characters
    in titles and notes are escaped, as these may contain names chosen by others.

    >>> with progress_bar("segments", 2) as advance:
    ...     advance()
    ...     advance(1, note="done")
    """
    console = Console(file=_Lenient(sys.stderr))  # type: ignore[arg-type]  # has every method that Console uses
    visible = console.is_terminal and os.environ.get("CLAP_PROGRESS") != "off"
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not visible) as progress:
        task = progress.add_task(harmless(title), total=total, note="")

        def advance(steps: float = 1, note: str | None = None) -> None:
            progress.update(task, advance=steps)
            if note is not None:
                progress.update(task, note=harmless(note))

        yield advance
