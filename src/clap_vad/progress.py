"""Progress of long work on standard error, silent where nobody watches."""

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
    """A stream whose terminal may go away: what cannot be written is dropped."""

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

    Drawn only on a terminal, so logs and pipes stay clean, and not where the environment says ``CLAP_PROGRESS=off``.
    Titles and notes may be names that others chose: what a terminal would obey in them is written as escapes.

    >>> with progress_bar("segments", 2) as advance:
    ...     advance()
    ...     advance(1, note="done")
    """
    console = Console(file=_Lenient(sys.stderr))  # type: ignore[arg-type]  # all that is used of a file
    shown = console.is_terminal and os.environ.get("CLAP_PROGRESS") != "off"
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(harmless(title), total=total, note="")

        def advance(steps: float = 1, note: str | None = None) -> None:
            progress.update(task, advance=steps)
            if note is not None:
                progress.update(task, note=harmless(note))

        yield advance
