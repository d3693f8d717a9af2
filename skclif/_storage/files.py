"""Files that are whole or as before, in folders that one process writes to at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

_PART = ".part"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and have it on disk; whoever looks sees the old or the new one."""
    write_together(path.parent, {path.name: content})


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files or, if one cannot be written, none of them.

    A process that is killed may leave the first of them new and the others old, each
    of them whole: what has to hold together is written last.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}. Make it first.")
    parts = {name: folder / f".{name}.{os.getpid()}{_PART}" for name in contents}
    try:
        for name, content in contents.items():
            if (folder / name).is_dir():
                raise IsADirectoryError(
                    f"{folder / name} is a folder, where a file is to be written. "
                    "Rename or remove it."
                )
            with open(parts[name], "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for name, part in parts.items():
            os.replace(part, folder / name)
        sync_folder(folder)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for part in folder.glob(f".*.[0-9]*{_PART}"):
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names of the files on disk, where a folder can be opened."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes of skclif from writing to a folder.

    Raises
    ------
    BlockingIOError
        If one is at it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"Another skclif is writing to {folder}. Wait for it to end."
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked(stream: IO[bytes] | FileIO, *, shared: bool = False) -> Iterator[None]:
    """Wait until no other process has an open file for itself, and have it.

    Shared with others that only read it, if that is said.
    """
    if fcntl is not None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    yield  # closing the file lets go of it
