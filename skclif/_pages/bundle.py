"""The scripts and the style of a page, put into it, and the policy that allows them."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

# In this order: every file uses what the ones before it define.
SCRIPTS = (
    "dom.js",
    "words.js",
    "passage.js",
    "state.js",
    "csv.js",
    "live.js",
    "list.js",
    "filters.js",
    "view.js",
    "behind.js",
    "bench.js",
    "mistakes.js",
    "lines.js",
    "queue.js",
    "glossary.js",
    "keyboard.js",
    "start.js",
)
STYLES = ("page.css", "overview.css", "work.css", "print.css")


@cache
def script() -> str:
    """Return all scripts as one, which leaves no name behind in the page."""
    return f'"use strict";\n(() => {{\n{_joined(SCRIPTS)}}})();\n'


@cache
def style() -> str:
    """Return all styles as one."""
    return _joined(STYLES)


@cache
def policy() -> str:
    """Return the policy: this script and this style, and nothing from elsewhere."""
    return (
        f"default-src 'none'; script-src '{_digest(script())}'; "
        f"style-src '{_digest(style())}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _joined(names: tuple[str, ...]) -> str:
    folder = files("skclif").joinpath("_pages", "assets")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
