"""How Sphinx makes the site: `sphinx-build -W -b html docs docs/_build/html`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))

import _pages

import lenet_zoo

project = "lenet_zoo"
author = "the lenet_zoo authors"
copyright = author
version = release = lenet_zoo.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "demo"]
default_role = "code"

myst_enable_extensions = ["colon_fence", "substitution"]
myst_heading_anchors = 3
myst_substitutions = _pages.substitutions()

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # as they are written, where the value prints as <function …>
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "lenet_zoo"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_favicon = "demo/src/icon.svg"
html_theme_options = {"navigation_with_keys": True}

DEMO = Path(__file__).parent / "demo" / "dist"
logger = logging.getLogger("lenet_zoo.docs")

# The page in the browser is a part of the site once npm has built it.
myst_substitutions["demo"] = (
    '<a href="demo/index.html">Draw a digit in the browser</a>: both networks answer while you draw.'
    if DEMO.is_dir()
    else "The page in the browser is not in this copy of the site: `npm --prefix docs/demo ci`, then "
    "`npm --prefix docs/demo run build`, and build the site again."
)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _pages.expand(source[0])


def outdated(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> set[str]:
    """Every page, in every build: what is put into a page changes without the page."""
    return set(env.found_docs)


def docstring(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Docstrings are written for people who read them in an editor; here they become reST."""
    text = "\n".join(lines)
    text = re.sub(r"^```\n(.*?)\n```$", _literal, text, flags=re.M | re.S)
    text = re.sub(r"^(Returns|Raises): +(?=\S)", r"**\1:** ", text, flags=re.M)
    if what == "module":
        # A numbered list with its continuation lines, and an indented example after a blank line.
        text = re.sub(r"^ +(G?\d+)\. (.*(?:\n {8}.*)*)", _item, text, flags=re.M)
        text = re.sub(r"(?<=\n)\n((?: {4}.*\n|\n(?= {4}))+)", r"\n::\n\n\1\n", text)
    lines[:] = text.split("\n")


def signature(app: Sphinx, what: str, name: str, obj: object, options: Any, args: str | None, returns: str) -> Any:
    """A layer without a constructor of its own takes nothing; torch's, which it inherits, says (*args, **kwargs)."""
    return ("()", returns) if what == "class" and args == "(*args: Any, **kwargs: Any)" else None


def _literal(found: re.Match[str]) -> str:
    return "::\n\n" + "\n".join(f"    {line}" for line in found[1].split("\n"))


def _item(found: re.Match[str]) -> str:
    return f"\n- **{found[1]}.** " + " ".join(found[2].split())


def add_demo(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "demo"
    shutil.rmtree(target, ignore_errors=True)
    if DEMO.is_dir():
        shutil.copytree(DEMO, target)
    else:
        logger.info("docs/demo/dist is not there, so the site is without the page: npm --prefix docs/demo run build")


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read)
    # Before napoleon, whose own listener has priority 500.
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    app.connect("build-finished", add_demo)
