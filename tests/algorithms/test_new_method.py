"""The method printed in docs/researcher.md works as it stands, by lying in the folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clap_vad
from synthetic import make_dataset

GUIDE = Path(__file__).parents[2] / "docs" / "researcher.md"


@pytest.mark.parametrize("setting", ["collaborative", "local"])
def test_the_documented_method_is_found_and_trains(tmp_path, setting):
    package = tmp_path / "src" / "clap_vad"
    shutil.copytree(Path(clap_vad.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL).group(1)
    (package / "algorithms" / "loudest.py").write_text(text)
    data = make_dataset(tmp_path / "data")
    command = [sys.executable, "-m", "clap_vad.cli", "train", str(data), "--method", "loudest", "--share", "0.2"]
    command += ["--setting", setting, "--rounds", "2", "--out", str(tmp_path / "run"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"method": "loudest"' in done.stdout
    assert '"share": 0.2' in (tmp_path / "run" / "config.json").read_text()
