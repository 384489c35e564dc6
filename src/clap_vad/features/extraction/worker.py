"""A worker process that extracts videos, run as ``python -m clap_vad.features.extraction.worker``.

If a decoder crashes on a malicious file, only this process ends.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from ...errors import ClapError
from ...processes import PROGRESS, Message, Task, serve
from .extractor import make_extractor
from .parts import write_part

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _extract(task: Task) -> Iterator[Message]:
    """Yield the messages of a task: progress in segments, then {"done": n}, {"skipped": why} or {"full": why}."""
    source = Path(task["source"])
    segments = 0
    try:
        extractor = make_extractor(task["extractor"], task["settings"])
        for segments in write_part(Path(task["stem"]), source, extractor):
            yield {PROGRESS: segments}
        yield {"done": segments}
    except ClapError as error:
        yield {"skipped": str(error)}
    except Exception as error:  # a library may raise any error on a broken file; other files must continue
        if isinstance(error, OSError) and error.errno in _FULL:
            yield {"full": f"{task['stem']}: {error.strerror}; free space and repeat the command"}
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
            yield {"skipped": f"{source}: cannot be read ({type(error).__name__}: {reason})"}


if __name__ == "__main__":
    serve(_extract)
