"""Folders that a process may not write to, also where the tests are run by root."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder():
    """Make a directory that every user can reach, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)
        os.chmod(folder, 0o777)


@contextmanager
def without_privileges():
    """Be bound by permissions, which root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def read_only(folder):
    """Keep this process from writing to a folder and to the files in it."""
    paths = [*folder.rglob("*"), folder]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with without_privileges():
            yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
