"""Two runs of one benchmark, side by side."""

import re
from collections import Counter, defaultdict

from .results import print_table, read_table

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
