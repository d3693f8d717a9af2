"""Fail if a test was skipped that this machine could have run."""

import sys
from xml.etree import ElementTree

# What a machine may lack: a GPU, the right to mount a file system, node, axe of npm.
UNAVOIDABLE = ("CUDA", "lets a process mount", "no node on the PATH", "SKCLIF_AXE")


def main(path):
    skips = [
        (case.get("classname"), case.get("name"), skip.get("message", ""))
        for case in ElementTree.parse(path).iter("testcase")
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail"  # which ran
    ]
    avoidable = [
        skip for skip in skips if not any(lack in skip[2] for lack in UNAVOIDABLE)
    ]
    for module, name, reason in avoidable:
        print(f"skipped: {module}::{name}: {reason}")
    if avoidable:
        sys.exit("Tests were skipped that CI must run.")
    print(f"{len(skips)} tests need what this machine lacks; no other was skipped.")


if __name__ == "__main__":
    main(sys.argv[1])
