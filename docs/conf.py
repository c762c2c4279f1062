"""
Sphinx configuration.

Nothing here reaches for the network: a build needs this folder and the code.
"""

import importlib
import sys
from importlib import metadata

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
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

# -- References -----------------------------------------------------------------------------------

# There is no inventory of other projects (that would be a download), so their names stay plain
# text. Our own names must resolve.
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})\..+"),
    (r"py:.*", r"(attrs?|cattrs?|click|flask|httpx|opentelemetry|pluggy|pytest|rich|werkzeug)\..+"),
]


def resolve_public_name(app, env, node, contnode):
    """
    Find journeykit.Event behind journeykit.model.event.Event.

    Annotations say where a class lives; the reference documents it where users import it from.
    """
    if node.get("refdomain") != "py":
        return None
    package = importlib.import_module("journeykit")
    module, _, name = node["reftarget"].rpartition(".")
    here = sys.modules.get(module or "journeykit")
    if name not in package.__all__ or getattr(here, name, None) is not getattr(package, name):
        return None
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"journeykit.{name}", node, contnode
    )


def setup(app):
    """Register the above."""
    app.connect("missing-reference", resolve_public_name)


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
        "color-brand-visited": "#5b4a9c",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fd8c3",
        "color-brand-content": "#6fd8c3",
        "color-brand-visited": "#b9acf0",
    },
}
