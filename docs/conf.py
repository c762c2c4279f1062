"""
Sphinx configuration.

Nothing here reaches for the network: a build needs this folder and the code.
"""

import importlib
import sys
from importlib import metadata

from sphinx.ext.napoleon import Config, GoogleDocstring

# -- The project ----------------------------------------------------------------------------------

project = "journeykit"
author = "The journeykit authors"
copyright = "the journeykit authors, Apache-2.0"
release = metadata.version("journeykit")
version = ".".join(release.split(".")[:2])

# -- Reading --------------------------------------------------------------------------------------

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings write code between single backticks, as everywhere else.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

# -- References -----------------------------------------------------------------------------------

# There is no inventory of other projects (that would be a download), so their names stay plain
# text. What a page refers to in journeykit must exist.
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})\..+"),
    (
        r"py:.*",
        r"(attrs?|cattrs?|click|django|flask|httpx|opentelemetry|pluggy|pytest|rich|werkzeug)\..+",
    ),
]


def resolve_annotation(app, env, node, contnode):
    """
    Find journeykit.Event behind journeykit.model.event.Event, or behind a mere Event.

    Annotations say where a class lives; the reference documents it where users import it from. An
    annotation that is not public stays plain text; a role in a page must resolve.
    """
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    public = None
    if name in importlib.import_module("journeykit").__all__:
        public = env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"journeykit.{name}", node, contnode
        )
    is_annotation = "refexplicit" not in node
    return public or (contnode if is_annotation else None)


def read_docstring(app, what, name, obj, options, lines):
    """
    Turn the Google style of our docstrings into what Sphinx reads.

    This is Napoleon, except that the docstring of a property is a sentence like any other: Napoleon
    takes what stands before a colon for its type.
    """
    kind = "method" if what in {"attribute", "data", "property"} else what
    lines[:] = GoogleDocstring(lines, Config(), app, kind, name, obj, options).lines()


def setup(app):
    """Register the above."""
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("missing-reference", resolve_annotation)


# -- The look -------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "journeykit"
html_static_path = ["_static"]
html_css_files = ["journeykit.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
pygments_style = "github-light-high-contrast"
pygments_dark_style = "github-dark-high-contrast"
html_theme_options = {
    "light_logo": "wordmark-light.svg",
    "dark_logo": "wordmark-dark.svg",
    "sidebar_hide_name": True,
    # At least 6:1 on the page, the sidebar and its hover colour (WCAG AA asks for 4.5:1).
    "light_css_variables": {
        "color-brand-primary": "#0b6357",
        "color-brand-content": "#0b6357",
        "color-api-name": "#0b6357",
        "color-api-pre-name": "var(--color-foreground-secondary)",
        "color-brand-visited": "#5b4a9c",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fd8c3",
        "color-brand-content": "#6fd8c3",
        "color-api-name": "#6fd8c3",
        "color-api-pre-name": "var(--color-foreground-secondary)",
        "color-brand-visited": "#b9acf0",
    },
}
