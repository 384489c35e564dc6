"""The closed list of what may leave a site is the one that stands in ``schemas.txt``, word for word."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from pkgutil import iter_modules

from clap_vad.federation import schemas as folder
from clap_vad.federation.messages import encoded, schemas
from clap_vad.federation.schema import Schema

PINNED = Path(__file__).parent / "schemas.txt"


def described(schema: Schema) -> str:
    """All that a declaration says, but for its code."""
    properties = [
        "summable" if schema.summable else "not summable",
        *(["means, weighted by count"] if schema.mean else []),
        *(["depends on no video"] if schema.bare else []),
        *([f"noise of {schema.noised}"] if schema.noised else []),
        *([f"size in {schema.size.unit}: {', '.join(schema.size.entries)}"] if schema.size else []),
        *(["all of the site's"] if schema.size and schema.size.all else []),
        *(["compared by scale"] if schema.scale else []),
    ]
    entries = [
        f"    {name}: {field.dtype} [{', '.join(map(str, field.shape))}], from {field.low} to {field.high}, "
        f"clipped in sums to {field.bound}"
        for name, field in schema.fields.items()
    ]
    lines = [schema.name, f"    purpose: {schema.purpose}", f"    properties: {'; '.join(properties)}", *entries]
    return "".join(f"{line}\n" for line in lines)


def test_the_closed_list_is_the_pinned_one():
    declared = "\n".join(described(schema) for schema in schemas())
    difference = difflib.unified_diff(
        PINNED.read_text().splitlines(), declared.splitlines(), "pinned in schemas.txt", "declared now", lineterm=""
    )
    assert not (lines := list(difference)), (
        "what may leave a site has changed; if that is meant, change tests/federation/schemas.txt by this difference "
        "and say why:\n" + "\n".join(lines)
    )


def test_every_file_is_collected_and_no_name_is_declared_twice():
    """Of a name that two files declare, one would silently take the place of the other."""
    files = [importlib.import_module(f"{folder.__name__}.{module.name}") for module in iter_modules(folder.__path__)]
    plain = [declared.name for file in files for declared in file.SCHEMAS]
    twins = [name for name in map(encoded, plain) if name is not None]
    assert sorted([*plain, *twins]) == sorted(declared.name for declared in schemas())
