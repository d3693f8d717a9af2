"""A file of vectors that is written over hours, and appears when it is whole.

Three files lie side by side while it is written: the draft ``NAME.npy.part`` with room
for all rows, the record ``NAME.npy.json``, and a hidden file that locks both. Rows are
on disk before the record counts them, and the record is replaced as a whole, so that a
process can be killed at any moment. At the end the record gets the digest of the draft,
and then the draft gets the name of the file.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._storage.files import sync_folder, write_whole
from .._version import __version__
from ..exceptions import DataFileError

FORMAT_VERSION = 1

_VECTOR = np.dtype("<f4")
# Of file systems that cannot keep room for a file.
_NO_ROOM_KEPT = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True)
class Record:
    """What a file of vectors holds, and how far it is.

    Attributes
    ----------
    about : dict of str to object
        What its vectors depend on.
    n_texts, n_features : int
        Its shape.
    source : dict of str to object
        Where the texts and the model were, for people.
    n_done : int
        Number of rows that are on disk.
    n_truncated, token_limit : int
        Number of texts that were cut, and at how many tokens.
    seconds : float
        Time that it took, over all runs.
    sha256 : str or None
        That of the file once it is whole.
    """

    about: Mapping[str, Any]
    n_texts: int
    n_features: int
    source: Mapping[str, Any] = field(default_factory=dict)
    n_done: int = 0
    n_truncated: int = 0
    token_limit: int = 0
    seconds: float = 0.0
    sha256: str | None = None


class VectorFile:
    """A .npy file of float32, its draft and its record; held by `sole_writer`.

    Parameters
    ----------
    path : Path
        Where the whole file is to be.

    Attributes
    ----------
    record : Record or None
        What was written before; None if nothing was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(f"{path.name}.part")
        self.record_path = path.with_name(f"{path.name}.json")
        self.record = self._read()
        for left in path.parent.glob(f".{glob.escape(path.name)}.json.[0-9]*.part"):
            left.unlink()  # of a process that was killed while it wrote the record

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.path.exists()

    @property
    def rows(self) -> Path:
        """Where the vectors are now."""
        return self.path if self.is_whole else self.draft

    @property
    def known(self) -> Record:
        """The record of a file that was begun."""
        assert self.record is not None
        return self.record

    def begin(self, record: Record) -> None:
        """Begin a file, with room for all of it."""
        try:
            self._write(record)
            self._make_room()
        except OSError as error:
            self.draft.unlink(missing_ok=True)
            self.record_path.unlink(missing_ok=True)
            raise self._no_room(error, record, "") from error

    def go_on(self) -> None:
        """Continue a file that was begun."""
        if self.known.n_done == 0:  # it may have been killed while it made room
            try:
                self._make_room()
            except OSError as error:
                raise self._no_room(error, self.known, "") from error
        self._check_draft()

    def add(
        self, vectors: np.ndarray, n_truncated: int, limit: int, seconds: float
    ) -> None:
        """Add rows; they are on disk when this returns."""
        record = self.known
        start = len(_header(record)) + record.n_done * _row_bytes(record)
        try:
            with open(self.draft, "r+b") as stream:
                stream.seek(start)
                stream.write(np.ascontiguousarray(vectors, dtype=_VECTOR).data)
                stream.flush()
                os.fsync(stream.fileno())
            self._write(
                replace(
                    record,
                    n_done=record.n_done + len(vectors),
                    n_truncated=record.n_truncated + n_truncated,
                    token_limit=max(record.token_limit, limit),
                    seconds=record.seconds + seconds,
                )
            )
        except OSError as error:
            kept = f"{record.n_done:,} vectors are kept. "
            raise self._no_room(error, record, kept) from error

    def finish(self) -> None:
        """Give the whole file its name."""
        if self.known.sha256 is None:
            digest = _digest(self.draft)
            self._write(replace(self.known, sha256=digest))
        os.replace(self.draft, self.path)
        sync_folder(self.path.parent)

    def verify(self) -> None:
        """Refuse a whole file that is not what was written."""
        if _digest(self.path) != self.known.sha256:
            raise DataFileError(
                f"{self.path} has changed since it was written: its SHA-256 is not "
                f"that in {self.record_path.name}. Restore it, or remove it to embed "
                "the texts again."
            )

    def _read(self) -> Record | None:
        """Return the record of the draft or of the file; refuse files of others."""
        rows = self.rows
        if not rows.exists():  # somebody removed the vectors, to make them again
            return None
        if not self.record_path.exists():
            raise DataFileError(
                f"{rows} exists, without a record {self.record_path.name} that says "
                "what is in it. Rename or remove it.",
                python="Or give another out=.",
                command="Or give another --out.",
            )
        record = self._parsed()
        if rows == self.path and record.sha256 is None:
            raise DataFileError(
                f"{rows} exists, but its record {self.record_path.name} is of vectors "
                "that are not whole. Rename or remove it; the vectors that are there "
                "are then continued.",
            )
        return record

    def _parsed(self) -> Record:
        try:
            found = json.loads(self.record_path.read_bytes())
            version = found.pop("format")
            found.pop("skclif_version")
            record = Record(**found) if version == FORMAT_VERSION else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataFileError(
                f"{self.record_path} is no record of vectors ({error!r}). Remove it, "
                f"with {self.draft.name} or {self.path.name} beside it, to embed the "
                "texts again."
            ) from error
        if record is None:
            raise DataFileError(
                f"{self.record_path} has format {version}; skclif {__version__} reads "
                f"format {FORMAT_VERSION}. Update skclif.",
            )
        return record

    def _write(self, record: Record) -> None:
        content = {
            "format": FORMAT_VERSION,
            "skclif_version": __version__,
            **asdict(record),
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_whole(self.record_path, f"{text}\n".encode())
        self.record = record

    def _make_room(self) -> None:
        """Take the disk that all rows need, so that it cannot be full after hours."""
        record, header = self.known, _header(self.known)
        size = len(header) + record.n_texts * _row_bytes(record)
        with open(self.draft, "wb") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
            except AttributeError:  # of other systems
                stream.truncate(size)
            except OSError as error:
                if error.errno not in _NO_ROOM_KEPT:
                    raise
                stream.truncate(size)
            stream.write(header)
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(self.draft.parent)

    def _check_draft(self) -> None:
        record = self.known
        header = _header(record)
        with open(self.draft, "rb") as stream:
            begins_so = stream.read(len(header)) == header
            size = os.fstat(stream.fileno()).st_size
        if not begins_so or size != len(header) + record.n_texts * _row_bytes(record):
            raise DataFileError(
                f"{self.draft} is not what was written: its size or its first bytes "
                f"differ. Remove it, and {self.record_path.name}, to embed the texts "
                "again."
            )

    def _no_room(self, error: OSError, record: Record, kept: str) -> DataFileError:
        size = record.n_texts * _row_bytes(record)
        again = "the same again to continue" if kept else "it again"
        return DataFileError(
            f"{self.path} takes {size / 1e6:,.1f} MB for {record.n_texts:,} vectors of "
            f"{record.n_features} values, and cannot be written ({error}). {kept}Check "
            f"that there is room and that you may write there, and run {again}.",
        )


def _header(record: Record) -> bytes:
    """Return how a .npy file of all vectors begins."""
    stream = io.BytesIO()
    shape = (record.n_texts, record.n_features)
    about = {"descr": _VECTOR.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()


def _row_bytes(record: Record) -> int:
    return record.n_features * _VECTOR.itemsize


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
