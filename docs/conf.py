"""Sphinx configuration; build with ``make docs``."""

import re
import sys
from pathlib import Path

import ase_spinml

sys.path.insert(0, str(Path(__file__).parent))
from tutorial_pages import write_pages

project = "ase_spinml"
author = "The ase_spinml developers"
release = ase_spinml.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"ase_spinml {release}"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def escape_bars(app, what, name, obj, options, lines):
    """In docstrings |m| is a norm, not reStructuredText's substitution; code in double backquotes stays as it is."""
    for number, line in enumerate(lines):
        pieces = line.split("``")
        pieces[::2] = [re.sub(r"(?<!\\)\|", r"\\|", piece) for piece in pieces[::2]]
        lines[number] = "``".join(pieces)


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("builder-inited", lambda app: write_pages())
