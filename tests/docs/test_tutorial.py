"""The commands of the tutorial do what the page says, in order, as one person would type them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clap_vad

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def commands() -> list[str]:
    """The fenced commands of the page."""
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.federation
def test_every_command_of_the_tutorial_works(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in {"python": "", "clap": "-m clap_vad.cli"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    source = str(Path(clap_vad.__file__).parents[1])
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": source}
    work = tmp_path / "work"
    work.mkdir()
    blocks = commands()
    assert len(blocks) == 8
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"

    assert len((work / "videos.csv").read_text().splitlines()) == 1 + 12
    for report in ("run/report.html", "report.html", "fed/run/report.html"):
        assert "</html>" in (work / report).read_text()
    metrics = json.loads((work / "fed/run/metrics.json").read_text())
    assert metrics["method"] == "comet" and metrics["rounds"] == 2
    sites = sorted(path.name for path in (work / "fed/sites").iterdir())
    assert sites == ["site-1", "site-2", "site-3"]
    for site in sites:
        (ledger,) = (work / "fed/sites" / site / "runs").glob("*/ledger.jsonl")
        sent = [json.loads(line) for line in ledger.read_text().splitlines()]
        noised = {entry["schema"] for entry in sent if entry["protection"] == "noised"}
        assert {"row_sizes", "row_density"} <= noised
        assert {entry["schema"] for entry in sent} - noised == {"features_description", "acknowledgement"}
