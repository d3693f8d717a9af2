"""The folder of an audit: its content, and how it stays consistent.

It holds the rows that were audited, the current model, the trail of changes, and the
report: tables, a page and ``run.json``.

A change is made in this order: the new model is written next to the old one, the record
is appended to the trail, the new model replaces the old one, and the report is written,
``run.json`` last. The trail decides: a new model replaces the old one if the trail has
its record, and is removed otherwise. So a process that is killed at any moment leaves a
folder that is consistent, or that `recover` makes consistent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import plain_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.files import model_bytes, read_model
from .._storage.cells import table_csv
from .._storage.containers import pack, unpack
from .._storage.files import sole_writer, sweep, sync_folder, write_together
from .._text.store import FILE_NAME as EMBEDDINGS
from ..exceptions import ModelFileError, TrailError
from .prompts_kept import without
from .replay import current
from .revisions import Revision
from .rows import Reviews
from .trail import AuditTrail, last_revision

FORMAT_VERSION = 1
MODEL, ROWS, TRAIL = "model.safetensors", "rows.safetensors", "trail.jsonl"
RUN, PAGE = "run.json", "audit.html"
# What only a demo writes: its page as audited, and what it decided.
AS_AUDITED, DECISIONS = "as-audited.html", "demo-decisions.csv"
_NEXT = ".next"  # of the name of a file that is to replace another


@dataclass(frozen=True, eq=False, repr=False)
class AuditedRows:
    """The rows that were audited, as they were read; changes are in the trail.

    Attributes
    ----------
    train, held_out : Reviews
        With features, float32.
    about : dict
        How they were made: options, notes, fingerprints of files.
    """

    train: Reviews
    held_out: Reviews
    about: dict[str, Any]

    def content(self) -> bytes:
        """Return the content of the file."""
        table = {"train": _columns(self.train), "held_out": _columns(self.held_out)}
        text = json.dumps(table, ensure_ascii=False, allow_nan=False)
        arrays = {
            "X_train": self.train.features,
            "X_held_out": self.held_out.features,
            "table": np.frombuffer(text.encode(), dtype=np.uint8),
        }
        return pack("rows", FORMAT_VERSION, arrays, self.about)

    def without(self, ids: list[str]) -> AuditedRows:
        """Return all rows except those with some ids."""
        parts = (self.train, self.held_out)
        train, held_out = (part.take(~np.isin(part.ids, ids)) for part in parts)
        about = dict(self.about)
        if about.get("truth") is not None:
            known = about["truth"].items()
            about["truth"] = {i: values for i, values in known if i not in ids}
        if "prompts" in about:
            about["prompts"] = without(about["prompts"], ids)
        return AuditedRows(train, held_out, about)


class AuditFolder:
    """A folder with an audit, or for an audit.

    Parameters
    ----------
    path : path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.trail = AuditTrail(self.path / TRAIL)

    @contextmanager
    def to_write(self) -> Iterator[list[dict[str, Any]]]:
        """Keep other processes out, recover the folder, and yield the trail's records.

        Raises
        ------
        BlockingIOError
            If another process uses the folder.
        TrailError
            If the trail was altered, or belongs to another model.
        """
        with sole_writer(self.path):
            yield self.recover()

    def recover(self) -> list[dict[str, Any]]:
        """Finish or undo a change that was interrupted; return the records."""
        sweep(self.path)
        with suppress(BlockingIOError), sole_writer(self.trail.path):
            pass  # which removes the lock of a process that was killed
        records = self.trail.read()
        for name in (ROWS, MODEL):
            waiting = self.path / f"{name}{_NEXT}"
            if not waiting.exists():
                continue
            if sha256(waiting.read_bytes()) == _recorded(records, name):
                os.replace(waiting, self.path / name)
                sync_folder(self.path)
            else:
                waiting.unlink()
        if any(record["kind"] == "forget" for record in records):
            # The cache has vectors of forgotten texts, under keys that only the texts
            # give. The files of a demo are about the rows as they were.
            for name in (f"{EMBEDDINGS}-journal", EMBEDDINGS, AS_AUDITED, DECISIONS):
                (self.path / name).unlink(missing_ok=True)
        return records

    def commit(
        self,
        kind: str,
        content: dict[str, Any],
        revision: Revision,
        rows: AuditedRows,
        *,
        rows_changed: bool = True,
        **who: Any,
    ) -> list[dict[str, Any]]:
        """Write model, record and, if they changed, rows: all of them or none.

        Returns
        -------
        records : list of dict
            Of the trail, the new one last.
        """
        files = _contents(revision, rows)
        if not rows_changed:
            del files[ROWS]
        write_together(self.path, {f"{n}{_NEXT}": part for n, part in files.items()})
        digests = {name: sha256(part) for name, part in files.items()}
        try:
            self.trail.append(kind, {**content, "files": digests}, **who)
        finally:
            records = self.recover()  # the trail decides, whatever happened
        return records

    def note(
        self, kind: str, content: dict[str, Any], **who: Any
    ) -> list[dict[str, Any]]:
        """Append a record that makes no model; return the records."""
        try:
            self.trail.append(kind, content, **who)
        finally:
            records = self.recover()
        return records

    def begin_again(self) -> None:
        """Give up the trail, so that the next commit writes its first record."""
        self.trail.path.unlink(missing_ok=True)

    def holds(
        self, records: list[dict[str, Any]], revision: Revision, rows: AuditedRows
    ) -> bool:
        """Return whether the last fit, edit or forget is this very fit."""
        last = last_revision(records)
        if last is None or last["kind"] != "fit":
            return False
        digests = {n: sha256(part) for n, part in _contents(revision, rows).items()}
        return last["files"] == digests and all(
            (self.path / name).exists() for name in digests
        )

    def check_model(self, records: list[dict[str, Any]]) -> None:
        """Refuse a model that is not the one of the last fit, edit or forget."""
        if records and (self.path / MODEL).exists():
            self._whole(MODEL, records)

    def rows(self, records: list[dict[str, Any]]) -> AuditedRows:
        """Return the rows that were audited.

        Raises
        ------
        FileNotFoundError
            If there is no audit here.
        ModelFileError, TrailError
            If the file is damaged, or not the one of the trail.
        """
        path = self._whole(ROWS, records)
        arrays, about, *_ = unpack(path, "rows", FORMAT_VERSION)
        try:
            table = json.loads(arrays["table"].tobytes())
            train, held_out = (_reviews(table[name]) for name in ("train", "held_out"))
            train = train.embedded(arrays["X_train"])
            held_out = held_out.embedded(arrays["X_held_out"])
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{path} is damaged ({error}).") from error
        return AuditedRows(train, held_out, about)

    def revision(self, rows: AuditedRows, records: list[dict[str, Any]]) -> Revision:
        """Return the current model, and the rows that it was fitted to."""
        model = read_model(self._whole(MODEL, records)).classifier
        return Revision(model, current(records, rows.train))

    def snapshot(
        self,
    ) -> tuple[list[dict[str, Any]], AuditedRows, ConceptBottleneckClassifier | None]:
        """Return records, rows and model without a lock, and without a change.

        The model is None where the file is not, byte for byte, that of the trail.
        """
        refused = None
        while True:
            records = self.trail.read()
            try:
                rows, path = self.rows(records), self._recorded_file(MODEL, records)
                model = None if path is None else read_model(path).classifier
            except (FileNotFoundError, TrailError):
                # A writer may have put new files in place since the trail was read.
                # They are in place when they are looked at again.
                if refused == records:
                    raise
                refused = records
            else:
                if self.trail.read() == records:  # so all three are of one state
                    return records, rows, model

    def report_is_current(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the report is complete, and about the current model."""
        try:
            run = json.loads((self.path / RUN).read_bytes())
            outputs = run["outputs"].items()
            return run["trail"]["hash"] == records[-1]["hash"] and all(
                sha256((self.path / name).read_bytes()) == digest
                for name, digest in outputs
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False

    def command(self) -> str | None:
        """Return the command that made the report; None if there is no audit here.

        "" if files of an audit are here and nothing says who made them.
        """
        names = (RUN, PAGE, MODEL, ROWS, TRAIL)
        if not any((self.path / name).exists() for name in names):
            return None
        try:
            return str(json.loads((self.path / RUN).read_bytes())["command"])
        except (OSError, ValueError, LookupError, TypeError):
            return ""

    @property
    def page(self) -> Path:
        """The page of the report."""
        return self.path / PAGE

    def keep_page(self) -> Path:
        """Keep the present page under a name of its own, and return its path."""
        write_together(self.path, {AS_AUDITED: self.page.read_bytes()})
        return self.path / AS_AUDITED

    def write_once(self, name: str, text: str) -> None:
        """Write a text, unless there is a file of that name."""
        if not (self.path / name).exists():
            write_together(self.path, {name: text.encode()})

    def write_report(
        self, tables: dict[str, pd.DataFrame | None], page: str, run: dict[str, Any]
    ) -> None:
        """Write the report, ``run.json`` with the digests of all else last.

        A table that is None is not part of it, and an earlier one is removed.
        """
        contents = {n: table_csv(one) for n, one in tables.items() if one is not None}
        contents[PAGE] = page.encode()
        digests = {name: sha256(content) for name, content in contents.items()}
        text = json.dumps(
            {**run, "outputs": digests}, indent=2, ensure_ascii=False, allow_nan=False
        )
        write_together(self.path, {**contents, RUN: f"{text}\n".encode()})
        for name in tables.keys() - contents.keys():
            (self.path / name).unlink(missing_ok=True)

    def _whole(self, name: str, records: list[dict[str, Any]]) -> Path:
        """Return the path of a file, after checking that it is the recorded one."""
        recorded = self._recorded_file(name, records)
        if recorded is not None:
            return recorded
        path = self.path / name
        if not records and not path.exists():
            raise FileNotFoundError(
                f"{self.path} holds no audit: there is no {name}. Make one with "
                "skclif audit."
            )
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing, which record {_writer(records, name)} of {TRAIL} "
                "is about. Restore it from a copy."
            )
        raise TrailError(
            f"{path} is not the file that {TRAIL} is about. One of the two was changed "
            "or replaced, or records were taken off the end of the trail. Restore both "
            "from the same copy."
        )

    def _recorded_file(self, name: str, records: list[dict[str, Any]]) -> Path | None:
        """Return the file that the trail is about, None if it is not there.

        A writer records a file before it puts it in its place. So the one that waits
        is looked at first: it may be in its place a moment later.
        """
        digest = _recorded(records, name)
        for path in (self.path / f"{name}{_NEXT}", self.path / name):
            with suppress(FileNotFoundError):
                if sha256(path.read_bytes()) == digest:
                    return path
        return None


def sha256(content: bytes) -> str:
    """Return a SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _contents(revision: Revision, rows: AuditedRows) -> dict[str, bytes]:
    model = model_bytes(revision.model, rows.about["embedder"])
    return {ROWS: rows.content(), MODEL: model}


def _recorded(records: list[dict[str, Any]], name: str) -> str | None:
    """Return the digest of the current file by the trail."""
    known = [r["files"][name] for r in records if name in r.get("files", {})]
    return known[-1] if known else None


def _writer(records: list[dict[str, Any]], name: str) -> int:
    """Return the number of the record that wrote the current file."""
    known = [r["number"] for r in records if name in r.get("files", {})]
    return int(known[-1] if known else records[-1]["number"])


def _columns(rows: Reviews) -> dict[str, Any]:
    def plain(values: Any) -> list[Any] | None:
        return None if values is None else [plain_value(value) for value in values]

    return {
        "ids": plain(rows.ids),
        "texts": plain(rows.texts),
        "digests": plain(rows.digests),
        "labels": plain(rows.labels),
        "groups": plain(rows.groups),
        "concepts": {name: plain(values) for name, values in rows.concepts.items()},
        # Only where weights were read, so that other files stay as they were.
        **({} if (rows.weights == 1).all() else {"weights": rows.weights.tolist()}),
    }


def _reviews(table: dict[str, Any]) -> Reviews:
    def objects(values: list[Any]) -> np.ndarray:
        return np.asarray(values, dtype=object)

    index = pd.RangeIndex(len(table["ids"]))
    concepts = {
        name: pd.Series(values, index=index, dtype=object)
        for name, values in table["concepts"].items()
    }
    return Reviews(
        objects(table["ids"]),
        None if table["texts"] is None else objects(table["texts"]),
        objects(table["digests"]),
        _typed(table["labels"]),
        pd.DataFrame(concepts, index=index),
        None if table["groups"] is None else _typed(table["groups"]),
        np.empty((len(index), 0), dtype=np.float32),
        np.array(table.get("weights", np.ones(len(index))), dtype=float),
    )


def _typed(values: list[Any]) -> np.ndarray:
    """Return words as objects, numbers as numbers."""
    words = any(isinstance(value, str) for value in values)
    return np.asarray(values, dtype=object if words else None)
