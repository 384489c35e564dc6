"""How the site is built: ``make docs``. Every broken link, missing anchor and unknown reference fails the build."""

from __future__ import annotations

import sys
from pathlib import Path

import clap_vad

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "CLAP-VAD"
author = "The CLAP-VAD authors"
copyright = "The CLAP-VAD authors, Apache-2.0"
version = release = clap_vad.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "import_diagram", "references"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4  # the anchors that GitHub makes, so that links work in both places

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = False  # the options of a run have no defaults in the source of the functions that take them
napoleon_numpy_docstring = False
# Sentences, not types, stand after "Returns:", and several names may share a line of "Attributes:".
napoleon_custom_sections = ["Returns", ("Attributes", "params_style")]
python_use_unqualified_type_names = True
maximum_signature_line_length = 140

nitpicky = True
nitpick_ignore_regex = [
    # Names of other projects. Linking them needs their inventories from the network, and the build uses none.
    (r"py:.*", r"(numpy|np|pathlib|collections|typing|types|torch|onnx)\..*"),
    (r"py:class", r"clap_vad\.(registry|settings)\.T"),  # type variables
    (r"py:class", r"Annotated\[.*"),  # a type with a shift in its bounds (1 << 63), which Sphinx cannot parse
]

html_theme = "furo"
html_title = f"CLAP-VAD {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "default"

# `clap_vad` finds its public names on first use; autodoc lists what a module already has.
for name in clap_vad.__all__:
    getattr(clap_vad, name)
