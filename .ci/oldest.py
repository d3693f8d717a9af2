"""Print constraints for the oldest dependencies that pyproject.toml admits.

    python .ci/oldest.py > constraints.txt

Every lower bound of skclif, of its extras and of its tests becomes a pin. Only torch
keeps the pin of constraints.txt: older versions are downloaded as builds for GPUs, of
many times the size.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = about["project"]
    bounds = [*project["dependencies"], *about["dependency-groups"]["test"]]
    bounds += [one for e in project["optional-dependencies"].values() for one in e]
    for bound in bounds:
        name, given, version = bound.partition(">=")
        if given and name != "torch":
            print(f"{name.partition('[')[0]}=={version}")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    print(re.search(r"^torch==.*$", pins, re.MULTILINE)[0])


if __name__ == "__main__":
    main()
