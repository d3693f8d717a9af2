"""Files that are whole or as before, written by one process at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

_PART = ".part"
_PATIENCE = 1.0  # seconds that a reader waits for a writer


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and have it on disk; a reader sees the old or the new one."""
    write_together(path.parent, {path.name: content})


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files or, if one cannot be written, none of them.

    A process that is killed may leave the first of them new and the others old, each
    of them whole. So the file that vouches for the others has to be the last.
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
    """Remove what is left of processes that were killed while they wrote."""
    for part in folder.glob(f".*.[0-9]*{_PART}"):
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names of the files on disk, where a folder can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_to_fill(path: Path) -> Iterator[None]:
    """Make a folder if need be; after an error, none is left that holds nothing.

    So a folder that cannot be made is refused before long work, and work that is
    refused leaves no trace.
    """
    made = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # one that holds something, and all above it
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def sole_writer(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes of skclif from writing to a folder, or to a file.

    The lock is on a hidden file, which is removed at the end. A process that is killed
    loses its lock and leaves that file; the next writer uses it. Readers need no lock,
    and leave no file in a folder that they cannot write to.

    Parameters
    ----------
    path : Path
        A folder, or a file, which need not exist.
    wait : bool, default=False
        Whether to wait until another writer has ended.

    Raises
    ------
    BlockingIOError
        If another process is writing, and `wait` is False.
    PermissionError
        If the folder cannot be written to.
    """
    lock_path = _lock_path(path)
    descriptor = _open_locked(lock_path, wait)
    if descriptor is None:
        raise BlockingIOError(
            f"Another skclif is writing to {path}. Wait for it to end."
        )
    try:
        yield
    finally:
        if os.name == "nt":  # an open file cannot be removed there
            os.close(descriptor)
            with suppress(PermissionError):  # the next writer has opened it
                lock_path.unlink(missing_ok=True)
        else:  # while it is locked: see _open_locked
            try:
                lock_path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def reason_of(error: OSError) -> str:
    """Return in words why the system refused, without the name of a file."""
    return (error.strerror or str(error)).lower()


def _open_locked(lock_path: Path, wait: bool) -> int | None:
    """Open and lock a file; return its descriptor, None if another process has it.

    Not with `filelock.FileLock`: some of its versions remove the file when they let go
    of it, by its name, which may be that of the next writer's file by then.
    """
    while True:
        try:
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:  # its name would say nothing to users
            raise type(error)(
                f"The folder {str(lock_path.parent)!r} cannot be written to: "
                f"{reason_of(error)}."
            ) from error
        try:
            is_locked = lock_descriptor(descriptor, blocking=wait, poll_interval=0.01)
            # A file that its last writer has removed meanwhile guards nothing: others
            # open a new one.
            if is_locked and os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not is_locked:
            return None


def wait_for_writer(path: Path) -> None:
    """Wait until no process writes to a folder or a file, but not for long.

    For readers, who take no lock. The file of a lock may be that of a process that was
    killed; therefore the wait ends after a second.
    """
    end = time.monotonic() + _PATIENCE
    while _lock_path(path).exists() and time.monotonic() < end:
        time.sleep(0.01)


def _lock_path(path: Path) -> Path:
    return (
        path / ".skclif.lock" if path.is_dir() else path.parent / f".{path.name}.lock"
    )
