from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "wheelhouse.py"


def make_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel of one module that says its version."""
    information = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {other}\n" for other in requires)
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{information}/RECORD"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(record, "".join(f"{path},,\n" for path in (*files, record)))
    return wheel


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "upper_part", "2.0+cpu", "lower-part")
    make_wheel(folder, "lower_part", "1.5")
    return folder


def pin(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True)


def install(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As documented, but into a folder, and whatever pip is told elsewhere on this machine."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--target", str(target)]
    offline = ["--no-index", "--find-links", str(folder), "--require-hashes", "-r", str(folder / "requirements.txt")]
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    environment = {**bare, "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run([*command, *offline], capture_output=True, text=True, env=environment)


def test_every_wheel_is_pinned_by_its_own_hash_and_installs(wheels, tmp_path):
    done = pin(wheels)
    assert done.returncode == 0, done.stderr
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in wheels.glob("*.whl")}
    lines = [line for line in (wheels / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        f"lower_part==1.5 --hash=sha256:{hashes['lower_part-1.5-py3-none-any.whl']}",
        f"upper_part==2.0+cpu --hash=sha256:{hashes['upper_part-2.0+cpu-py3-none-any.whl']}",
    ]
    sums = dict(line.split("  ")[::-1] for line in (wheels / "SHA256SUMS").read_text().splitlines())
    requirements = hashlib.sha256((wheels / "requirements.txt").read_bytes()).hexdigest()
    assert sums == {**hashes, "requirements.txt": requirements}

    assert (installed := install(wheels, tmp_path / "site")).returncode == 0, installed.stderr
    assert (tmp_path / "site" / "upper_part.py").read_text() == "VERSION = '2.0+cpu'\n"
    assert (tmp_path / "site" / "lower_part.py").exists()

    before = {file.name: file.read_bytes() for file in wheels.iterdir()}
    assert pin(wheels).returncode == 0
    assert {file.name: file.read_bytes() for file in wheels.iterdir()} == before


def test_pip_refuses_a_wheel_that_was_changed_afterwards(wheels, tmp_path):
    assert pin(wheels).returncode == 0
    with zipfile.ZipFile(wheels / "lower_part-1.5-py3-none-any.whl", "a") as archive:
        archive.writestr("stowaway.py", "")
    done = install(wheels, tmp_path / "site")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "site").exists()


def test_pip_refuses_what_a_wheel_needs_and_the_folder_lacks(wheels, tmp_path):
    (wheels / "lower_part-1.5-py3-none-any.whl").unlink()
    assert pin(wheels).returncode == 0
    assert install(wheels, tmp_path / "site").returncode != 0


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: make_wheel(folder, "lower_part", "1.6"), "lower_part-1.5-py3-none-any.whl is of the same"),
        (lambda folder: make_wheel(folder, "Lower.Part", "1.5"), "is of the same package; delete one of them"),
        (lambda folder: (folder / "lower_part-1.5.tar.gz").write_bytes(b""), "lower_part-1.5.tar.gz: not a wheel"),
        (lambda folder: (folder / "lower_part-1.5.whl").write_bytes(b""), "lower_part-1.5.whl: not a wheel"),
        (lambda folder: (folder / "more").mkdir(), "more: not a wheel"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "wheels: no wheel in it; make them with"),
        (lambda folder: folder.rename(folder.with_name("gone")), "wheels: no such folder; make it with"),
    ],
)
def test_a_folder_that_cannot_be_pinned_is_refused_in_one_sentence(wheels, spoil, sentence):
    spoil(wheels)
    done = pin(wheels)
    assert done.returncode == 2
    assert done.stderr.startswith("wheelhouse: ") and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (wheels / "requirements.txt").exists()
