"""How the documentation site is built: `scripts/docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "synalign-jax"
author = "The synalign-jax developers"
copyright = author  # noqa: A001
version = release = installed("synalign-jax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_pages", "site_math"]
exclude_patterns = ["_static"]
# The tests execute the notebooks; `scripts/docs --notebooks` stores what they show.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Docstrings are prose with `names` in it; a name that has an entry of its own becomes a link to it.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "synalign-jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
# One font size and no web fonts: a page loads nothing from elsewhere.
html_theme_options = {"navigation_with_keys": True}
html_math_renderer = "mathml"
