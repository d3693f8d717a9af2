"""What all benchmarks share: their common options, and tables that are kept as JSON."""

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
FORMAT = 1  # of the files; those written before it was counted have the same fields
FIELDS = {
    "title": str,
    "command": str,
    "date": str,
    "environment": dict,
    "columns": list,
    "rows": list,
    "notes": list,
}
_LIBRARIES = ["skclif", "scikit-learn", "torch", "numpy", "scipy", "pandas"]


class BenchmarkParser(argparse.ArgumentParser):
    """Read a benchmark's own options, ``--small`` and ``--out``.

    Parameters
    ----------
    name : str
        The benchmark's module.
    doc : str
        What it measures.
    **small : object
        What options are under ``--small``, where they are not given.
    """

    def __init__(self, name, doc, **small):
        super().__init__(
            prog=f"python -m benchmarks.{name}",
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # so that --small cannot hide behind --sm
        )
        self._small = small
        add_common_options(self)

    def parse_args(self, args=None, namespace=None):
        """Return the options, with `command`, `commit` and `out`, where tables go.

        Parameters
        ----------
        args : list of str, default=None
            None takes those of the command line.
        namespace : Namespace, default=None

        Returns
        -------
        options : Namespace
        """
        args = sys.argv[1:] if args is None else args
        if "--small" in args:
            self.set_defaults(**self._small)
        options = super().parse_args(args, namespace)
        options.command = shlex.join([*self.prog.split(), *args])
        options.out = folder(self, options)
        options.commit = _commit()  # now: it may be another after hours of measuring
        return options


def add_common_options(parser):
    """Add ``--small`` and ``--out`` to a parser."""
    parser.add_argument(
        "--small",
        action="store_true",
        help="made-up data, seconds; to see that it runs",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="of the JSON files; else docs/results, or a temporary one with --small",
    )


def folder(parser, options):
    """Return where tables go; small ones never where the documentation reads."""
    if options.small and not options.out:
        return Path(tempfile.mkdtemp(prefix="skclif-benchmarks-"))
    out = options.out or RESULTS
    if options.small and out.resolve() == RESULTS.resolve():
        parser.error(
            f"--small cannot write to {out}: the documentation shows what is there. "
            "Give --out another folder, or leave it out."
        )
    try:  # now, not after hours of measuring
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {out} cannot be made a folder: {error.strerror}.")
    return out


def write_table(name, title, columns, rows, notes=(), *, options):
    """Print a table and write it to ``NAME.json``.

    Parameters
    ----------
    name : str
        Name of the file.
    title : str
    columns : list of str
    rows : list of list of str or number
    notes : list of str
        What a reader needs to know of how it was measured.
    options : Namespace
        Of a `BenchmarkParser`: the folder and the command.
    """
    table = {
        "format": FORMAT,
        "title": title,
        "command": options.command,
        "date": datetime.date.today().isoformat(),
        "environment": {**describe_environment(), "commit": options.commit},
        "columns": columns,
        "rows": rows,
        "notes": list(notes),
    }
    print_table(title, columns, rows)
    path = options.out / f"{name}.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(
        json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(draft, path)
    print(f"written to {path}\n")


def read_table(path):
    """Return the content of a file of `write_table`, checked.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    table : dict
        The `FIELDS`.

    Raises
    ------
    ValueError
        If there is no such file or it is not of the expected form.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"{path} is missing: run the benchmark that writes it; "
            "python -m benchmarks lists them."
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds a {type(table).__name__}, not a table.")
    if table.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is of format {table['format']!r}; this version reads {FORMAT}."
        )
    missing = [name for name in FIELDS if name not in table]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}.")
    for name, kind in FIELDS.items():
        if not isinstance(table[name], kind):
            raise ValueError(
                f"{path} has a {type(table[name]).__name__} as {name}, which must be "
                f"a {kind.__name__}."
            )
    if not all(isinstance(row, list) for row in table["rows"]):
        raise ValueError(f"{path} has rows that are not lists of cells.")
    widths = {len(row) for row in table["rows"]} - {len(table["columns"])}
    if widths:
        raise ValueError(
            f"{path} has rows of {sorted(widths)} cells, but "
            f"{len(table['columns'])} columns."
        )
    return table


def interval(differences):
    """Return mean and half width of the 95 % t interval, as text."""
    values = np.asarray(differences)
    if len(values) < 2:
        return "-"
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{values.mean():+.3f} ± {half:.3f}"


def describe_environment():
    """Return what of machine, system and versions a measurement depends on."""
    import torch

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "system": " ".join([platform.system(), *platform.libc_ver()]).strip(),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return models[0].strip() if models else platform.processor() or "unknown"


def _commit():
    """Return the commit, and whether what is measured differs from it."""
    # An unpacked archive may lie in somebody else's repository.
    if not (ROOT / ".git").exists():
        return "unknown"
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "skclif", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}, changed" if changed else commit


def _git(*arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def print_table(title, columns, rows):
    """Print a table in columns of equal width, floats with four digits."""
    print(title)
    cells = [[str(column) for column in columns]]
    cells += [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _cell(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
