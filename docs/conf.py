"""Sphinx configuration: Markdown through MyST, the Furo theme, no network at build time."""

from importlib.metadata import version as distribution_version

project = "bibank"
author = "The bibank authors"
copyright = "The bibank authors, Apache-2.0"
release = distribution_version("bibank")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# The build is nitpicky (`-n`). Linking the standard library would need the network: its names stay plain.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|datetime|decimal|enum|pathlib|types|typing|uuid)\..*"),
]

html_theme = "furo"
html_title = "bibank"
