"""Pins a folder of wheels by their hashes, so that a machine without a network installs exactly these.

    python packaging/wheelhouse.py wheels

writes ``wheels/requirements.txt``, a line for every wheel with its version and SHA-256, and ``wheels/SHA256SUMS``, for
``sha256sum --check``. It needs Python and nothing else, since it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

__all__ = ["WheelhouseError", "main", "pin"]

REQUIREMENTS, SUMS = "requirements.txt", "SHA256SUMS"

_HEAD = """\
# Every wheel of this folder. Install them all, and nothing else, without a network:
#   pip install --no-index --find-links {folder} --require-hashes -r {folder}/{requirements}
"""


class WheelhouseError(Exception):
    """A folder that cannot be pinned, told in one sentence: file, what is wrong, remedy."""


def pin(folder: Path) -> dict[str, str]:
    """Write both files.

    Args:
        folder: holds wheels, one of each package, and nothing else but what an earlier call wrote.

    Returns:
        Name of each wheel's file -> its SHA-256, hexadecimal.

    Raises:
        WheelhouseError: there is no folder, it holds no wheel, two of one package, or anything that is no wheel.
    """
    if not folder.is_dir():
        raise WheelhouseError(f"{folder}: no such folder; make it with 'make wheels'")
    found: dict[str, tuple[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.name in (REQUIREMENTS, SUMS):
            continue
        name, version = _name_and_version(file)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            raise WheelhouseError(f"{file}: {found[key][1].name} is of the same package; delete one of them")
        found[key] = (f"{name}=={version}", file)
    if not found:
        raise WheelhouseError(f"{folder}: no wheel in it; make them with 'make wheels'")
    hashes = {file.name: _sha256(file) for _, file in found.values()}
    lines = [f"{pinned} --hash=sha256:{hashes[file.name]}\n" for _, (pinned, file) in sorted(found.items())]
    head = _HEAD.format(folder=folder.name, requirements=REQUIREMENTS)
    _write(folder / REQUIREMENTS, head + "".join(lines))
    sums = {**hashes, REQUIREMENTS: _sha256(folder / REQUIREMENTS)}
    _write(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return hashes


def _name_and_version(wheel: Path) -> tuple[str, str]:
    """From a wheel's file name: NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl."""
    parts = wheel.name.removesuffix(".whl").split("-")
    if wheel.suffix != ".whl" or not wheel.is_file() or len(parts) not in (5, 6) or not all(parts):
        raise WheelhouseError(f"{wheel}: not a wheel, and nothing else can be pinned; delete it")
    return parts[0], parts[1]


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def main() -> None:
    """Parse, pin, say how much it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of wheels")
    folder: Path = parser.parse_args().folder
    try:
        hashes = pin(folder)
    except WheelhouseError as error:
        print(f"wheelhouse: {error}", file=sys.stderr)
        sys.exit(2)
    megabytes = sum((folder / name).stat().st_size for name in hashes) / 1e6
    print(f"{len(hashes)} wheels, {megabytes:.0f} MB, pinned in {folder / REQUIREMENTS}")


if __name__ == "__main__":
    main()
