"""Run as a script: kill a store writer with SIGKILL at each of its disk operations in turn, then let it resume.

    python kill_anywhere.py FOLDER

Every operation is tried twice, killed before it happens and (a write) killed after half of it. Each killed store must
be refused as unfinished or be whole, and resume to the bytes of an undisturbed one. Prints the number of kills.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clap_vad.errors import ClapError
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter

OPERATIONS = ("pwrite", "fsync", "replace", "unlink", "ftruncate")


def write(folder: Path) -> None:
    """A store of three videos in blocks of one and two segments, with masks."""
    random = np.random.default_rng(0)
    with StoreWriter(folder, extractor="x", settings={"a": (1, 2)}, crops=2, dim=3, with_valid=True) as writer:
        for name, lengths in {"one": (1, 2), "two, with a comma": (2,), "drei ü": (1, 1)}.items():
            blocks = [(random.random((n, 2, 3), np.float32), random.random((n, 2)) > 0.5) for n in lengths]
            if name not in writer.completed:
                writer.append(name, iter(blocks), frames=16 * sum(lengths), fps=29.97)
        writer.finish()


def in_child(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(folder: Path, target: int, half: bool) -> bool:
    """Write with a kill at operation number ``target``; False when the writer ends before it."""

    def act() -> None:
        count = 0

        def wrap(operation: Callable) -> Callable:
            def counted(*arguments: object, **keywords: object) -> object:
                nonlocal count
                count += 1
                if count == target:
                    if half and operation is real_pwrite:
                        handle, data, position = arguments
                        real_pwrite(handle, data[: len(data) // 2], position)
                    os.kill(os.getpid(), signal.SIGKILL)
                return operation(*arguments, **keywords)

            return counted

        real_pwrite = os.pwrite
        for name in OPERATIONS:
            setattr(os, name, wrap(getattr(os, name)))
        write(folder)

    status = in_child(act)
    assert status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL), status
    return status != 0


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def main(base: Path) -> int:
    write(base / "undisturbed")
    expected = contents(base / "undisturbed")
    kills = 0
    for half in (False, True):
        target = 1
        while killed_at(folder := base / f"killed-{half}-{target}", target, half):
            kills += 1
            if (folder / "store.json").exists():
                FeatureStore(folder)
            else:
                try:
                    FeatureStore(folder)
                except ClapError:
                    pass
                else:
                    raise AssertionError(f"{folder}: an unfinished store was read")
                killed_at(folder, 7, half)  # and once more while it recovers
                if not (folder / "store.json").exists():
                    write(folder)
            found = contents(folder)
            found.pop("writing.json", None)  # left when only its removal is outstanding
            assert found == expected, (target, half, {k: len(v) for k, v in found.items()})
            target += 1
    return kills


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
