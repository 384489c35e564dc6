"""A process that extracts one video after the other: tasks come in as lines of JSON, messages go out the same way.

Run as ``python -m clap_vad.features.worker`` by :mod:`clap_vad.features.pool`. A decoder that crashes on a hostile
file takes this process with it and nothing else. When the parent goes away, by kill -9 too, so does this process.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import ClapError
from .extractor import make_extractor
from .parts import write_part

__all__ = ["main"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> None:
    """Serve tasks from standard input until it closes."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the messages
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        task = tasks.get()
        for message in _extract(task):
            channel.write(json.dumps(message) + "\n")
            channel.flush()


def _listen(tasks: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)  # the parent is gone or done: stop at once, even in the middle of a video


def _extract(task: dict[str, Any]) -> Any:
    """Messages of one task: {"segments": n} while it goes on, then {"done": n}, {"skipped": why} or {"full": why}."""
    source = Path(task["source"])
    segments = 0
    try:
        extractor = make_extractor(task["extractor"], task["settings"])
        for segments in write_part(Path(task["stem"]), source, extractor.extract(source)):
            yield {"segments": segments}
        yield {"done": segments}
    except ClapError as error:
        yield {"skipped": str(error)}
    except Exception as error:  # a library may raise anything on a broken file; the others must go on
        if isinstance(error, OSError) and error.errno in _FULL:
            yield {"full": f"{task['stem']}: {error.strerror}; free space and repeat the command"}
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
            yield {"skipped": f"{source}: cannot be read ({type(error).__name__}: {reason})"}


if __name__ == "__main__":
    main()
