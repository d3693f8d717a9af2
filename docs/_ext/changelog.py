"""The directive ``changelog``: CHANGELOG.md, whose Markdown is only what is read here.

Headings, lists, code in backticks and links in square brackets.
"""

import re
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

_UNDERLINES = {"##": "-", "###": "~"}


class Changelog(SphinxDirective):
    """Render the file given, relative to the folder of the documentation."""

    required_arguments = 1

    def run(self):
        """Return the sections of the file."""
        path = Path(self.env.srcdir, self.arguments[0])
        self.env.note_dependency(path)
        text = to_rst(path.read_text(encoding="utf-8"))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def to_rst(markdown):
    """Return the reStructuredText of a changelog, without its title."""
    lines = []
    for line in markdown.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "#":
            continue
        rest = re.sub(r"`([^`]+)`", r"``\1``", rest)
        rest = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", rest)
        if mark in _UNDERLINES:
            title = rest.strip("[]")
            lines += ["", title, _UNDERLINES[mark] * len(title), ""]
        else:
            lines.append(f"{mark} {rest}" if rest else line)
    return "\n".join(lines)


def setup(app):
    """Register the directive."""
    app.add_directive("changelog", Changelog)
    return {"parallel_read_safe": True}
