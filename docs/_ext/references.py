"""References that Sphinx does not know by itself: files of the source, and names in docstrings."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import ReferenceRole

import clap_vad

SOURCE = Path(clap_vad.__file__).parent
_COLON = "\x1a"


class SourceFile(ReferenceRole):
    """Role ``src``: a file or folder of ``src/clap_vad``. One that does not exist fails the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The path as a literal; after other words, where ``words <path>`` is given, in brackets."""
        if not (SOURCE / self.target).exists():
            message = self.inliner.reporter.error(f"src/clap_vad/{self.target}: no such file", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        path = nodes.literal(self.target, self.target)
        return ([nodes.Text(f"{self.title} ("), path, nodes.Text(")")] if self.has_explicit_title else [path]), []


def by_last_part(app: Sphinx, env: BuildEnvironment, node: pending_xref, found: nodes.Node) -> nodes.Node | None:
    """Find what a docstring means by a short name, or by the module that defines a name.

    ``Dataset`` and ``clap_vad.datasets.dataset.Dataset`` both lead to ``clap_vad.Dataset``. A name of this package that
    exists, but is not public, is shown without a link. A name that does not exist stays unknown, which fails the build.
    """
    if node.get("refdomain") != "py":
        return None
    objects, target = env.domains.python_domain.objects, node["reftarget"]
    last = target.rpartition(".")[2]
    ends = [name for name in objects if name == last or name.endswith(f".{last}")]
    if len(ends) == 1:
        entry = objects[ends[0]]
        reference = nodes.reference("", "", found, internal=True, reftitle=ends[0])
        reference["refuri"] = app.builder.get_relative_uri(node["refdoc"], entry.docname) + f"#{entry.node_id}"
        return reference
    return found if _exists(target) else None


def _exists(target: str) -> bool:
    """Whether this package has a module or a name of this dotted path.

    A docstring's short name counts from the module that defines it, which a public name does not tell: every module of
    the package that the build has imported may be meant.
    """
    if target.startswith(f"{SOURCE.name}."):
        starts = [target]
    else:
        modules = [name for name in sys.modules if name == SOURCE.name or name.startswith(f"{SOURCE.name}.")]
        starts = [f"{module}.{target}" for module in modules]
    return any(_found(path) for path in starts)


def _found(path: str) -> bool:
    parts = path.split(".")
    for split in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:split]))
        except ImportError:
            continue
        for name in parts[split:]:
            value = getattr(value, name, None)
        return value is not None
    return False


def readable_default(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, result: str) -> Any:
    """``<factory>``, by which Python shows a default that is made anew each time, is no Python: ``...`` is."""
    return (signature.replace("<factory>", "..."), result) if signature and "<factory>" in signature else None


def hide_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes the text before a colon in an attribute's docstring for its type; here types are annotated."""
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", _COLON) for line in lines]


def show_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo :func:`hide_colons`, behind napoleon."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_role("src", SourceFile())
    app.connect("missing-reference", by_last_part)
    app.connect("autodoc-process-signature", readable_default)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
