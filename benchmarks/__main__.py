"""List the benchmarks, run them, and compare what they wrote.

    python -m benchmarks
    python -m benchmarks run all --small
    python -m benchmarks run fit quality --out results-of-today
    python -m benchmarks compare docs/results/fit.json results-of-today/fit.json
    python -m benchmarks compare --commit eb7c8f3

A benchmark with options of its own: python -m benchmarks.NAME --help.
"""

import argparse
import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

from .compare import compare
from .compare import main as compare_commits
from .results import add_common_options, folder


@cache
def find_benchmarks():
    """Return what the benchmarks measure, by name: the modules that have a `main`.

    Nothing is imported, because some take long to and some need other packages.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        functions = [f.name for f in module.body if isinstance(f, ast.FunctionDef)]
        if "main" in functions:
            found[path.stem] = ast.get_docstring(module).splitlines()[0]
    return found


def run(names, options):
    """Run benchmarks one after the other and return the names of those that failed.

    Each has a process of its own, so that none changes the memory, the caches or the
    warnings of another, and one that fails does not stop the rest.
    """
    arguments = ["--small"] * options.small
    if options.out:
        arguments += ["--out", str(options.out)]
    command = [sys.executable, "-m"]
    return [
        name
        for name in names
        if subprocess.call([*command, f"benchmarks.{name}", *arguments])
    ]


def main(argv=None):
    found = find_benchmarks()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="action", metavar="{run,compare}")
    runs = commands.add_parser("run", help="run benchmarks, one after the other")
    runs.add_argument("names", nargs="+", metavar="NAME", choices=[*found, "all"])
    add_common_options(runs)
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["compare"] and any(part.startswith("--") for part in argv[1:]):
        compare_commits(argv[1:])
        return
    compares = commands.add_parser(
        "compare", help="two files of one benchmark or, with --commit, two commits"
    )
    compares.add_argument("old", type=Path, metavar="OLD.json")
    compares.add_argument("new", type=Path, metavar="NEW.json")
    options = parser.parse_args(argv)
    if options.action is None:
        width = max(map(len, found))
        print(*(f"{name:{width}}  {what}" for name, what in found.items()), sep="\n")
    elif options.action == "run":
        out = folder(runs, options)
        if options.small:  # one folder for all of them
            options.out = out
        names = found if "all" in options.names else options.names
        if failed := run(names, options):
            sys.exit(f"failed: {', '.join(failed)}")
    else:
        try:
            compare(options.old, options.new)
        except ValueError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
