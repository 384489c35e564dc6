"""The house keeps its plan: imports point inward, files stay small, plug-ins are found by lying in their folder."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clap_vad

SOURCE = Path(clap_vad.__file__).parent
ROOMS = [
    *("errors", "registry", "settings", "persistence", "records", "tables", "progress", "cores", "processes"),
    *("backoff", "trust", "protection", "core", "video", "features", "datasets", "detector", "federation"),
    *("specification", "algorithms", "engines", "synthetic", "evaluation", "reporting", "monitoring", "workflows"),
    *("experiments", "audit", "deployment", "cli"),
]  # fmt: skip


def imports(file: Path) -> set[str]:
    """Rooms of the package that a file imports, at any depth of its code."""
    package = ("clap_vad", *file.relative_to(SOURCE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
        elif isinstance(node, ast.ImportFrom):
            target = node.module or ""
        else:
            continue
        parts = target.split(".")
        if parts[0] == "clap_vad" and len(parts) > 1:
            found.add(parts[1])
        elif parts == ["clap_vad"]:
            found.update(alias.name for alias in node.names)
    return found


FILES = sorted(SOURCE.rglob("*.py"))


def test_imports_point_inward():
    wrong = []
    for file in FILES:
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        wrong += [
            f"{file.relative_to(SOURCE)} imports {other}"
            for other in imports(file)
            if ROOMS.index(other) > ROOMS.index(room)
        ]
    assert len(FILES) > 50
    assert wrong == []


def test_the_core_knows_no_files_and_no_torch():
    for file in (SOURCE / "core").rglob("*.py"):
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not names & {"torch", "os", "pathlib", "json", "click"}, file


def test_files_stay_small():
    long = {str(f.relative_to(SOURCE)): n for f in FILES if (n := len(f.read_text().splitlines())) > 400}
    assert long == {}


@pytest.mark.parametrize("module", ["clap_vad", "clap_vad.cli.main"])
def test_importing_is_light(module):
    code = f"import {module}, sys; print(sorted({{'torch', 'cv2', 'sklearn', 'matplotlib', 'av'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in clap_vad.__all__:
        assert callable(getattr(clap_vad, name)), name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        clap_vad.nothing_like_this  # noqa: B018  # the access is what is tested
