"""What benchmarks wrote: whole tables, and single cells inside sentences.

The directive ``results`` shows a table with how it was made, folded away with
``:fold:``. The role ``cell`` puts a number of a table into a sentence, so that it is
never older than the table: ``:cell:`NAME | column=value; column=value | column |
smallest``` takes the smallest of the cells in the lines that match. Without a last
part, one line must match.
"""

import html
import statistics
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.results import read_table  # the one reader of what benchmarks write

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


_LONG = 24  # characters, beyond which a cell may take two lines
_OF_SEVERAL = {"smallest": min, "largest": max, "median": statistics.median}


class Results(SphinxDirective):
    """Render ``NAME.json`` of the folder `results_dir`."""

    required_arguments = 1
    option_spec = {"fold": directives.flag}  # noqa: RUF012 - as docutils has it

    def run(self):
        """Return the table, its notes and its origin."""
        found = read_results(_path(self, self.arguments[0]))
        shown = [
            _table(found),
            *(nodes.paragraph(text=note) for note in found["notes"]),
            _origin(found),
        ]
        if "fold" not in self.options:
            return shown
        summary = f"<summary>{html.escape(found['title'])}</summary>"
        return [
            nodes.raw("", f'<details class="results-fold">{summary}', format="html"),
            *shown,
            nodes.raw("", "</details>", format="html"),
        ]


class Cell(SphinxRole):
    """A number of a table, in a sentence."""

    def run(self):
        """Return the number as tables show it."""
        name, *rest = (part.strip() for part in self.text.split("|"))
        found = read_results(_path(self, name))
        return [nodes.Text(typeset(cell(found, *rest)))], []


def cell(found, where, column, of_several=None):
    """Return a cell of a table.

    Parameters
    ----------
    found : dict
        The table.
    where : str
        ``column=value`` for each column that the line must match, with semicolons
        between; nothing for all lines.
    column : str
        The column of the cell; with ``%`` at its end, it is shown as a percentage.
    of_several : {"smallest", "largest", "median"}, default=None
        Which of the cells. None if there is only one.

    Raises
    ------
    ExtensionError
        If there is no such column or line, or several and none is chosen.
    """
    columns, is_share = found["columns"], column.endswith("%")
    column = column.removesuffix("%").strip()
    asked = [pair.split("=", 1) for pair in where.split("; ") if pair]
    unknown = [name for name, _ in [*asked, (column, None)] if name not in columns]
    if unknown:
        raise ExtensionError(
            f"the table {found['title']!r} has no column {unknown[0]!r}; it has "
            f"{', '.join(columns)}"
        )
    cells = [
        row[columns.index(column)]
        for row in found["rows"]
        if all(str(row[columns.index(name)]) == value for name, value in asked)
    ]
    cells = [value for value in cells if not _is_none(value)]
    if not cells or (len(cells) > 1 and of_several is None):
        raise ExtensionError(
            f"{len(cells)} lines of the table {found['title']!r} have {where!r}"
        )
    value = cells[0] if of_several is None else _OF_SEVERAL[of_several](cells)
    return f"{value:.0%}".replace("%", " %") if is_share else value


def _path(asker, name):
    """Return the path of a table, and remember that the page depends on it."""
    path = Path(asker.env.srcdir, asker.config.results_dir, f"{name}.json")
    asker.env.note_dependency(path)
    return path


def read_results(path):
    """Return the content of a file of results, checked.

    Raises
    ------
    ExtensionError
        If there is no such file or it is not of the expected form.
    """
    try:
        return read_table(path)
    except ValueError as error:
        raise ExtensionError(str(error)) from error


def typeset(value):
    """Return a cell as people read it: three significant digits, 1,463, 7.1·10⁻⁸."""
    if _is_none(value):
        return "–"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = 3
    while abs(value) < 1 <= abs(float(f"{value:.{digits}g}")) and digits < 7:
        digits += 1  # .99999 is not 1
    mantissa, _, exponent = f"{value:#.{digits}g}".partition("e")
    mantissa = mantissa.removesuffix(".").replace("-", "−")
    if not exponent:
        return mantissa
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def _is_none(value):
    return value is None or value == "-"


def _is_empty(value):
    return _is_none(value) or value == ""


def _table(found):
    columns = found["columns"]
    rows = found["rows"] or [["none", *["-"] * (len(columns) - 1)]]
    is_number = [
        all(isinstance(row[j], int | float) or _is_empty(row[j]) for row in rows)
        for j in range(len(columns))
    ]
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    group += nodes.thead("", _row(columns, is_number))
    group += nodes.tbody("", *(_row(map(typeset, row), is_number) for row in rows))
    table = nodes.table("", nodes.title(text=found["title"]), group)
    table["classes"] += ["results", "colwidths-auto"]
    return table


def _row(cells, is_number):
    row = nodes.row()
    for cell, right in zip(cells, is_number, strict=True):
        entry = nodes.entry("", nodes.paragraph(text=str(cell)))
        entry["classes"] += ["text-end"] if right else []
        entry["classes"] += ["wraps"] if len(str(cell)) > _LONG else []
        row += entry
    return row


def _origin(found):
    environment = "; ".join(f"{k} {v}" for k, v in found["environment"].items())
    return nodes.paragraph(
        "",
        "",
        nodes.literal(text=found["command"]),
        nodes.Text(f" on {found['date']}; {environment}."),
        classes=["results-origin"],
    )


def setup(app):
    """Register directive and role."""
    app.add_config_value("results_dir", "results", "env")
    app.add_directive("results", Results)
    app.add_role("cell", Cell())
    return {"parallel_read_safe": True}
