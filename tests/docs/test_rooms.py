"""What the architecture page draws of the imports: rooms, layers, and arrows that others do not imply."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import clap_vad

FILE = Path(__file__).parents[2] / "docs" / "_ext" / "rooms.py"
spec = importlib.util.spec_from_file_location("docs_rooms", FILE)
rooms = importlib.util.module_from_spec(spec)
sys.modules["docs_rooms"] = rooms
spec.loader.exec_module(rooms)


def package(folder: Path, files: dict[str, str]) -> Path:
    """A package called ``house`` of these files."""
    for name, text in {"__init__.py": "", **files}.items():
        file = folder / "house" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for room in list(file.relative_to(folder / "house").parents)[:-1]:
            (folder / "house" / room / "__init__.py").write_text(f'"""About {room.name}."""\n')
    return folder / "house"


def test_imports_of_all_forms_and_depths_are_found(tmp_path):
    source = package(
        tmp_path,
        {
            "errors.py": "",
            "core/sums.py": "from ..errors import Error\nimport os\n",
            "video/deep/reader.py": "def read():\n    from ...core.sums import add\n",
            "cli/main.py": "import house.core\nfrom house import video\nfrom .tables import rows\n",
            "cli/tables.py": "rows = 1\n",
        },
    )
    found = rooms.read_rooms(source)
    assert {name: room.imports for name, room in found.items()} == {
        rooms.BASE: set(),
        "core": {rooms.BASE},
        "video": {"core"},
        "cli": {"core", "video"},
    }
    assert (found["cli"].about, found["cli"].files, found["cli"].lines) == ("About cli.", 2, 4)
    assert rooms.layers(found) == [[rooms.BASE], ["core"], ["video"], ["cli"]]
    assert rooms.direct(found)["cli"] == {"video"}, "that of core follows from it"


def test_a_circle_of_imports_is_an_error(tmp_path):
    source = package(tmp_path, {"core/a.py": "from ..video import b\n", "video/b.py": "from ..core import a\n"})
    with pytest.raises(ValueError, match="core -> video -> core"):
        rooms.layers(rooms.read_rooms(source))


def test_the_real_package_has_layers_from_its_base_to_the_command_line():
    layers = rooms.layers(rooms.read_rooms(Path(clap_vad.__file__).parent))
    assert layers[0] == [rooms.BASE] and layers[-1] == ["cli"]
