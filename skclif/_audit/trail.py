"""The audit trail: who changed what, when, why, and with which effect.

A text file with one JSON object per line. Each record holds its own hash and that of
the record before it, so that a record that was altered, removed or inserted is noticed.
Lines are only ever appended.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._storage.files import sole_writer, sync_folder, wait_for_writer
from .._version import __version__
from ..exceptions import TrailError, TrailWarning, warn_user
from .environment import environment

FORMAT_VERSION = 2  # of the records that are written
READABLE = (1, 2)  # 1 knows no rejections, and no sources of changes
START = "0" * 64  # what the first record has for the hash of the one before
REVISIONS = ("fit", "edit", "forget")  # kinds of records that make a model
KINDS = (*REVISIONS, "reject")


class AuditTrail:
    """A file of records of what was done to a model.

    Parameters
    ----------
    path : str or path-like
        The file; it need not exist yet.

    See Also
    --------
    replay : Repeat what a trail records, and compare.

    Notes
    -----
    A last line without its end is no record: the process was killed while it wrote. It
    is left out with a warning, and the next append removes it. A hash proves nothing
    about records that were removed from the *end*: keep the latest hash elsewhere. In a
    folder of the command `skclif`, the model has to be the one of the last record that
    makes a model: the last fit, edit or forget.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclif import AuditTrail
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trail = AuditTrail(Path(folder, "trail.jsonl"))
    ...     _ = trail.append("edit", {"changes": []}, by="audit team", why="typo")
    ...     [(record["number"], record["by"]) for record in trail.read()]
    [(1, 'audit team')]
    """

    __module__ = "skclif"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[dict[str, Any]]:
        """Return all records, after checking that none was altered.

        Returns
        -------
        records : list of dict
            Empty if there is no file.

        Raises
        ------
        IsADirectoryError
            If the trail is a folder.
        TrailError
            If a record was altered, removed or inserted, or has another format.

        Warns
        -----
        TrailWarning
            If the last line was never finished.
        """
        if not self.path.exists():
            return []
        self._refuse_folder()
        written = self.path.read_bytes()
        if not written.endswith(b"\n"):
            # Readers take no lock. Bytes are only ever added behind whole records, so a
            # reader sees every record that was written before; it can only meet the
            # middle of the next one. Its writer needs milliseconds to finish it, or was
            # killed: then the line stays as it is, and is left out.
            wait_for_writer(self.path)
            written = self.path.read_bytes()
        return self._records(written)[0]

    def _refuse_folder(self) -> None:
        if self.path.is_dir():
            raise IsADirectoryError(
                f"{str(self.path)!r} is a folder, and a trail is a file. The folder of "
                f"an audit holds its trail as {str(self.path / 'trail.jsonl')!r}."
            )

    def append(
        self,
        kind: str,
        content: dict[str, Any],
        *,
        by: str | None = None,
        why: str | None = None,
        when: datetime | None = None,
    ) -> dict[str, Any]:
        """Append a record; it is on disk when this returns.

        Parameters
        ----------
        kind : {"fit", "edit", "forget", "reject"}
            What was done. "reject" is a decision against changes, which makes no model.
        content : dict of str to object
            What ``json.dumps`` takes.
        by : str, default=None
            Who did it, or is responsible for it.
        why : str, default=None
            The reason.
        when : datetime, default=None
            None for now.

        Returns
        -------
        record : dict
            As it is in the file, with its number and hash.

        Raises
        ------
        IsADirectoryError
            If the trail is a folder.
        TrailError
            If the trail was altered.
        ValueError
            If `kind` is unknown, `content` has a name that every record has, or
            something cannot be written as JSON in UTF-8.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} must be one of {', '.join(KINDS)}.")
        when = datetime.now(UTC) if when is None else when
        record = {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "when": when.isoformat(timespec="seconds"),
            "by": by,
            "why": why,
            "environment": environment(),
        }
        clash = {*record, "number", "previous", "hash"}.intersection(content)
        if clash:
            raise ValueError(f"content has {min(clash)!r}, which every record has.")
        try:
            # As it will be read: names that are numbers are in the order of words.
            record = dict(json.loads(_line(record | content)))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"The record cannot be written as JSON in UTF-8: {error}."
            ) from error
        self._refuse_folder()
        self.path.touch()
        # Not buffered: what a full disk refuses must not be written on closing.
        with (
            sole_writer(self.path, wait=True),
            open(self.path, "r+b", buffering=0) as stream,
        ):
            written = stream.read()
            records, whole = self._records(written)
            record["number"] = len(records) + 1
            record["previous"] = records[-1]["hash"] if records else START
            record["hash"] = _hash(record)
            line = _line(record)
            if whole and not written[:whole].endswith(b"\n"):
                line = b"\n" + line
            try:
                stream.truncate(whole)
                stream.seek(whole)
                while line:
                    line = line[stream.write(line) :]
                os.fsync(stream.fileno())
            except BaseException:
                stream.truncate(whole)
                raise
        if not records:
            sync_folder(self.path.parent)
        return record

    def _records(self, content: bytes) -> tuple[list[dict[str, Any]], int]:
        """Return the records, and their length in bytes."""
        records: list[dict[str, Any]] = []
        previous, whole = START, 0
        for line in io.BytesIO(content):  # b"\r" ends no line
            try:
                record = self._record(len(records) + 1, line, previous)
            except TrailError:
                if line.endswith(b"\n"):
                    raise
                warn_user(
                    f"The last line of {self.path} was never finished, or its end was "
                    f"cut off: record {len(records) + 1} is left out.",
                    TrailWarning,
                )
                break
            records.append(record)
            previous, whole = record["hash"], whole + len(line)
        return records, whole

    def _record(self, number: int, line: bytes, previous: str) -> dict[str, Any]:
        where = f"{self.path}, record {number}"
        try:
            record = dict(json.loads(line))
            known = record["format_version"]
            own, before, said = record["hash"], record["previous"], record["number"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise TrailError(f"{where} is not a record: it was altered.") from error
        if known not in READABLE:
            raise TrailError(
                f"{where} has format version {known!r}; skclif {__version__} reads "
                f"{' and '.join(map(str, READABLE))}. Update skclif."
            )
        if record.get("kind") not in KINDS:
            raise TrailError(f"{where} is not a record: it was altered.")
        try:
            same = own == _hash(record) and line.rstrip(b"\n") == _line(record)[:-1]
        except (ValueError, RecursionError):  # NaN, or half a character
            same = False
        if not same:
            raise TrailError(f"{where} was altered after it was written.")
        if said != number or before != previous:
            raise TrailError(
                f"{where} does not follow the one before it: its own number is {said}. "
                "Records were removed, put in, or moved."
            )
        return record

    def __repr__(self) -> str:
        """Return one line: the file."""
        return f"AuditTrail({str(self.path)!r})"


def last_revision(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last fit, edit or forget: the record that the model is about."""
    made = [record for record in records if record["kind"] in REVISIONS]
    return made[-1] if made else None


def _hash(record: dict[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "hash"}
    return hashlib.sha256(_line(content)).hexdigest()


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(
        record,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    return f"{text}\n".encode()
