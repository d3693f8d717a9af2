"""What takes how long, as a share of what it took at another commit.

The other commit is checked out into a temporary folder. Both are timed in one run, in
turn, each time in a new process.

    python -m benchmarks compare --commit eb7c8f3 [--repeat 5]
    python -m benchmarks compare OLD.json NEW.json

The second form times nothing. It shows two files of one benchmark next to each other.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from .results import ROOT, BenchmarkParser, print_table, read_table, write_table

_TIMED = Path(__file__).parent / "_timed.py"
_COMMAND = ["-c", "from skclif.cli import main; main()"]
# "+0.012 ± 0.004", "0.913 (food)", "4 of 6" are results too, not names of rows.
_MEASURED = re.compile(r"[+-]?\d*\.\d|\d+ of \d|-$")


def compare(old, new):
    """Print what differs in how two files came about, then their numbers.

    Rows are paired by their names: all cells up to the last text, because numbers left
    of a text are settings. Results that are texts are shown without a difference.

    Parameters
    ----------
    old, new : path-like
        Files of `write_table`, of one benchmark.

    Raises
    ------
    ValueError
        If a file cannot be read or the tables are not of the same kind.
    """
    before, after = read_table(old), read_table(new)
    for field in ("title", "columns"):
        if before[field] != after[field]:
            raise ValueError(
                f"{old} and {new} are not two runs of one benchmark, by their {field}: "
                f"{before[field]!r} and {after[field]!r}."
            )
    print_table(
        "How they were measured", ["", "old", "new"], list(_differences(before, after))
    )
    print()
    pairs, alone = match(before["rows"], after["rows"])
    columns = ["row", "column", "old", "new", "new - old", "new / old"]
    table = [
        cells for pair in pairs for cells in _side_by_side(before["columns"], *pair)
    ]
    print_table(before["title"], columns, table)
    if alone:
        print("\nNot compared, because not in both or not equally often:")
        print(*(f"  {name}" for name in alone), sep="\n")


def match(old, new):
    """Return pairs of rows of one name, and names that not both have equally often.

    Parameters
    ----------
    old, new : list of list of str or number

    Returns
    -------
    pairs : list of (list, list)
        In the order of `old`; rows of the same name are paired in their order.
    alone : list of str
    """
    places = defaultdict(list)
    for row in new:
        places[_name(row)].append(row)
    counts = Counter(map(_name, old))
    alone = [
        name
        for name in dict.fromkeys([*counts, *places])
        if counts[name] != len(places.get(name, []))
    ]
    rows = {name: iter(found) for name, found in places.items() if name not in alone}
    return [(row, next(rows[_name(row)])) for row in old if _name(row) in rows], alone


def _name(row):
    return ", ".join("-" if cell is None else str(cell) for cell in row[: _width(row)])


def _width(row):
    """Return how many cells name a row."""
    texts = [isinstance(c, str) and not _MEASURED.match(c) for c in row]
    return max((j + 1 for j, is_text in enumerate(texts) if is_text), default=0)


def _differences(before, after):
    for field in ("command", "date"):
        if before[field] != after[field]:
            yield [field, before[field], after[field]]
    old, new = before["environment"], after["environment"]
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield [name, old.get(name), new.get(name)]


def _side_by_side(columns, old, new):
    start = _width(old)
    cells = zip(columns[start:], old[start:], new[start:], strict=True)
    for column, before, after in cells:
        difference = ratio = None
        if isinstance(before, int | float) and isinstance(after, int | float):
            difference, ratio = after - before, after / before if before else None
        yield [_name(old), column, before, after, difference, ratio]


# --- Commits --------------------------------------------------------------------------


@contextmanager
def checked_out(commit):
    """Have a commit in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="skclif-commit-") as folder:
        place = Path(folder, "skclif")
        git = ["git", "-C", str(ROOT), "worktree"]
        added = [*git, "add", "--quiet", "--detach", str(place), commit]
        if subprocess.call(added):
            raise SystemExit(f"--commit {commit} cannot be checked out.")
        try:
            yield place
        finally:
            subprocess.call([*git, "remove", "--force", str(place)])


def _run(source, *arguments):
    """Run Python on one checkout; return what it prints, and its CPU seconds.

    CPU seconds, because other programs of the machine change them less.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(source)}
    start = os.times()
    done = subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    spent = [b - a for a, b in zip(start, os.times(), strict=True)]
    return done.stdout, spent[2] + spent[3]  # of children: user and system


def _fit(n_rows, n_features, share):
    def measure(source):
        return float(_run(source, _TIMED, n_rows, n_features, 10, share)[0])

    return measure


def _commands(folder, sources, small):
    """Return what times audit and apply, after an audit that fills the cache."""
    arguments = _write_tables(folder, small)
    arguments += ["--no-text"] * small + ["--quiet", "--out"]
    audited = {}
    for source in sources:
        audited[source] = folder / f"audited-{len(audited)}"
        _run(source, *_COMMAND, "audit", *arguments, audited[source])
    suspects = pd.read_csv(audited[source] / "suspects.csv", dtype=str)
    decision = (
        suspects.fillna("")[:1]
        .assign(decision="accept")
        .drop(columns="text", errors="ignore")
    )
    decision.to_csv(folder / "decisions.csv", index=False)

    def timed(command, *arguments):
        def measure(source):
            out = shutil.copytree(audited[source], folder / "copy")
            given = [out if part is None else part for part in arguments]
            seconds = _run(source, *_COMMAND, command, *given)[1]
            shutil.rmtree(out)
            return seconds

        return measure

    audit = timed("audit", *arguments, None)
    return audit, timed("apply", None, folder / "decisions.csv", "--quiet")


def _write_tables(folder, small):
    """Write the reviews to audit; return what the command is told of them."""
    if small:
        from skclif.datasets import make_concept_reviews

        table = make_concept_reviews(60, label_noise=0.2, random_state=0).frame
        tables, concepts = {"train": table}, ["food"]
    else:
        from skclif.datasets import fetch_cebab

        tables = {}
        for name, part in (("train", "train_exclusive"), ("test", "test")):
            found = fetch_cebab(part)
            concepts = list(found.concepts)
            labels = {"text": found.data, "label": found.target}
            tables[name] = found.concepts.assign(**labels)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    arguments = [folder / "train.csv"]
    if not small:
        arguments += ["--test", folder / "test.csv"]
    return arguments + [part for name in concepts for part in ("--concept", name)]


def measure(then, small, repeat):
    """Return rows of (what, medians then and now, their ratio, the range of ratios)."""
    sources = [then, ROOT]
    with tempfile.TemporaryDirectory(prefix="skclif-compare-") as folder:
        audit, apply = _commands(Path(folder), sources, small)
        n_rows, n_features = (200, 16) if small else (20_000, 384)
        size = f"{n_rows:,} x {n_features}, 10 concepts"
        measures = {
            f"ConceptInfluenceExplainer.fit, {size}": _fit(n_rows, n_features, 0),
            "the same, half of the rows at weight 0": _fit(n_rows, n_features, 0.5),
            "skclif audit, all vectors cached": audit,
            "skclif apply, one decision": apply,
        }
        seconds = defaultdict(list)
        for turn in range(repeat):
            for name, call in measures.items():
                for source in sources[:: 1 if turn % 2 else -1]:
                    seconds[name, source].append(call(source))
    rows = []
    for name in measures:
        old, new = (seconds[name, source] for source in sources)
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        old, new = statistics.median(old), statistics.median(new)
        rows.append([name, old, new, new / old, min(ratios), max(ratios)])
    return rows


def main(argv=None):
    parser = BenchmarkParser("compare", __doc__, repeat=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--commit",
        dest="then",  # `commit` is the one that is measured
        default="HEAD",
        help="to compare the files here with",
    )
    options = parser.parse_args(argv)
    with checked_out(options.then) as then:
        rows = measure(then, options.small, options.repeat)
    reviews = "60 made-up reviews" if options.small else "CEBaB"
    write_table(
        "compare",
        f"CPU seconds now and at commit {options.then}",
        ["measured", "then", "now", "now / then", "lowest ratio", "highest ratio"],
        rows,
        [
            f"Medians of {options.repeat} runs of each in turn, in new processes with "
            f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '1')}; the ratio is "
            "that of the medians, its range that of single turns.",
            f"Commands are timed whole, with start and imports, on {reviews}.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
