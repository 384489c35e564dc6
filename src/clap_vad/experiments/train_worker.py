"""A process that trains one run after another: ``python -m clap_vad.experiments.train_worker``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ClapError
from ..processes import Message, Task, serve
from .runs import train_or_resume


def _train(task: Task) -> Iterator[Message]:
    """The message of one task: {"metrics": {...}} or {"refused": why}."""
    try:
        yield {
            "metrics": train_or_resume(
                Path(task["dataset"]), Path(task["folder"]), task["arguments"], task["baselines"]
            )
        }
    except ClapError as error:
        yield {"refused": str(error)}
    except OSError as error:
        yield {"refused": f"{error.filename or task['folder']}: {error.strerror or error}"}


if __name__ == "__main__":
    serve(_train)
