"""The directive ``results``: a table that a benchmark wrote, with how it was made."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.results import read_table  # the one reader of what benchmarks write

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Results(SphinxDirective):
    """Render ``NAME.json`` of the folder `results_dir`."""

    required_arguments = 1

    def run(self):
        """Return the table, its notes and its origin."""
        path = Path(
            self.env.srcdir, self.config.results_dir, f"{self.arguments[0]}.json"
        )
        self.env.note_dependency(path)
        found = read_results(path)
        return [
            _table(found),
            *(nodes.paragraph(text=note) for note in found["notes"]),
            _origin(found),
        ]


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


def _table(found):
    columns = found["columns"]
    rows = found["rows"] or [["none", *["-"] * (len(columns) - 1)]]
    is_number = [
        all(isinstance(row[j], int | float) or _is_none(row[j]) for row in rows)
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
    """Register the directive."""
    app.add_config_value("results_dir", "results", "env")
    app.add_directive("results", Results)
    return {"parallel_read_safe": True}
