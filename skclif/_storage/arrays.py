"""Arrays in files of NumPy's format, which are written a part at a time."""

from __future__ import annotations

import errno
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import DataFileError

_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def allocate_array(path: Path, shape: tuple[int, ...], dtype: Any = np.float64) -> None:
    """Make the file of an array that is to be written, with room for all of it.

    Room is taken at once where the system can, because a process that writes to a
    mapped file on a full disk is killed.
    """
    header = io.BytesIO()
    about = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
    np.lib.format.write_array_header_2_0(header, {**about, "shape": shape})
    size = header.tell() + np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
            stream.write(header.getvalue())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def map_array(
    path: Path, shape: tuple[int, ...], dtype: Any = np.float64, *, write: bool = False
) -> np.ndarray:
    """Return the array of a file, which stays there.

    Raises
    ------
    DataFileError
        If the file is not there, is not whole, or holds another array.
    """
    try:
        array: np.ndarray = np.load(
            path, mmap_mode="r+" if write else "r", allow_pickle=False
        )
    except FileNotFoundError as error:
        raise DataFileError(f"There is no file {str(path)!r}.") from error
    except (ValueError, EOFError) as error:
        raise DataFileError(f"{path} is damaged: {error}.") from error
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise DataFileError(
            f"{path} is damaged: it holds an array of shape {array.shape} and type "
            f"{array.dtype}, and not {shape} and {np.dtype(dtype)}."
        )
    return array


def bytes_of(array: np.ndarray) -> bytes:
    """Return the content of a file that holds an array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def checksum(array: np.ndarray) -> int:
    """Return the CRC-32 of the rows of an array, one after the other."""
    found = 0
    for row in array:
        found = zlib.crc32(np.ascontiguousarray(row).reshape(-1).view(np.uint8), found)
    return found


@contextmanager
def room_wanted(path: Path, size: int, kept: str) -> Iterator[None]:
    """Say what is wanted where a disk is full.

    Parameters
    ----------
    path : Path
        What is written.
    size : int
        Its bytes.
    kept : str
        What to say of what was written before.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OSError(
            error.errno,
            f"There is no room left for {str(path)!r}, which takes {size / 1e9:,.2g} "
            f"GB in all. {kept}",
        ) from error
