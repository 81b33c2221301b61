"""The documentation site: `make docs` builds it into build/docs, with warnings as errors."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from recsys_mtl.version import installed_version

project = "recsys_mtl"
copyright = "the authors of recsys_mtl, Apache-2.0"
release = installed_version()
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
default_role = "code"  # docstrings write `name` as Markdown does
highlight_language = "none"
nitpicky = True
nitpick_ignore_regex = [(r"py:(class|exc)", r".*")]  # types in signatures: also of other packages

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub makes them, so that links work in both
myst_fence_as_directive = ["math"]
nb_execution_mode = "off"  # notebooks are stored with their outputs

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Frame": "Frame"}
napoleon_use_ivar = True
strip_signature_backslash = True  # else `tasks_` of scikit-learn's manners loses its end
maximum_signature_line_length = 60  # longer ones have a parameter a line
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "recsys_mtl"
html_theme_options = {"show_prev_next": False, "show_toc_level": 2, "navigation_with_keys": False}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {name: [] for name in ("index", "reference", "changelog", "tutorials/index")}
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "


def formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """MathML, which browsers show by themselves: pages load no script from elsewhere."""
    block = isinstance(node, nodes.math_block)
    mathml = convert(node.astext(), display="block" if block else "inline")
    translator.body.append(f'<div class="formula">{mathml}</div>' if block else mathml)
    raise nodes.SkipNode


def without_numerals(_app: Sphinx, _what: str, *rest: Any) -> None:
    """`tasks: T.` would be the first item of a list that counts in letters."""
    lines: list[str] = rest[-1]
    lines[:] = [re.sub(r"(: [A-Z])\.$", r"\1", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas."""
    app.connect("autodoc-process-docstring", without_numerals, priority=400)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(formula, None), block_renderers=(formula, None)
    )
