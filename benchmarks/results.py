"""Writing a benchmark's table where the documentation reads it."""

import datetime
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results"
_LIBRARIES = ["skclif", "scikit-learn", "torch", "numpy"]


def write_table(name, title, columns, rows, notes=(), *, command=None):
    """Print a table and write it to ``docs/results/NAME.json``.

    Parameters
    ----------
    name : str
        Name of the file, and of the benchmark's module.
    title : str
    columns : list of str
    rows : list of list of str or number
    notes : list of str
        What a reader needs to know of how it was measured.
    command : str, default=None
        The benchmark's module, if it is not `name`.
    """
    table = {
        "title": title,
        "command": " ".join(
            ["python", "-m", f"benchmarks.{command or name}", *sys.argv[1:]]
        ),
        "date": datetime.date.today().isoformat(),
        "environment": _environment(),
        "columns": columns,
        "rows": rows,
        "notes": list(notes),
    }
    _print(title, columns, rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    draft = RESULTS / f"{name}.json.part"
    draft.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    os.replace(draft, RESULTS / f"{name}.json")


def _environment():
    import torch

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _cell(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(title, columns, rows):
    print(title)
    cells = [[str(column) for column in columns]]
    cells += [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)))
