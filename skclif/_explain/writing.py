"""Influence that is written to a folder in pieces, and resumed after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._inputs.progress import Progress
from .._models.fitted import FittedHeads
from .._storage.arrays import (
    allocate_array,
    bytes_of,
    checksum,
    map_array,
    room_wanted,
)
from .._storage.containers import pack, unpack
from .._storage.digests import sha256_of
from .._storage.files import (
    reason_of,
    sole_writer,
    sweep,
    sync_folder,
    write_together,
    write_whole,
)
from .._version import __version__
from ..exceptions import DataFileError, ModelFileError
from ..numerics.blocks import BLOCK_ROWS, Elsewhere
from ..numerics.sparse import Matrix
from ..numerics.targets import Question
from .collect import KeepAll, KeepTop
from .confirm import Answered, Confirming
from .engine import taken
from .passes import Pass, passes_of
from .solved import Solved

VALUES, ROWS, RECORD = "values.npy", "rows.npy", "record.safetensors"
_UNFINISHED = "values.npy.part"
_FORMAT = 1
# Numbers of influence that a piece has, about: 64 MiB. A process that is killed loses
# the work of one piece.
_PIECE = 2**23
# Pieces have whole blocks of rows, so that they are computed as without a folder.
_UNIT = BLOCK_ROWS
_KEPT = "What was written is kept: make room, and call again with the same arguments."


@dataclass(frozen=True)
class Request:
    """What influence is asked for, as far as its numbers depend on it.

    Attributes
    ----------
    digests : dict of str to str
        Of what it is about, by what people call it.
    arguments : dict of str to object
        Of the call, as JSON has them.
    """

    digests: dict[str, str]
    arguments: dict[str, Any]

    @classmethod
    def of(
        cls,
        heads: FittedHeads,
        training: Mapping[str, Any],
        features: Matrix,
        target: Mapping[str, np.ndarray],
        arguments: dict[str, Any],
    ) -> Request:
        """Return what is asked of a model and its training rows.

        Parameters
        ----------
        heads : FittedHeads
        training : mapping of str to object
            Its training rows as arrays.
        features : Matrix of shape (n_targets, n_features)
            Of X.
        target : mapping of str to ndarray
            What tells the targets from others: the classes that they are about, their
            values, and so on.
        arguments : dict
        """
        rows = {n: v for n, v in training.items() if n not in ("features", "shares")}
        shares = training.get("shares", {})
        rows |= {f"shares of {n}": part for n, part in shares.items()}
        digests = {
            "the fitted model": _digest(_arrays_of(heads), repr(_settings_of(heads))),
            "the training rows": _digest({**rows, **_parts(training["features"])}),
            "X, y or target": _digest({**_parts(features), **target}),
        }
        return cls(digests, {**arguments, "skclif": __version__})

    def differences(self, before: Request) -> list[str]:
        """Return what differs from another request, in words."""
        digests = [
            name
            for name, found in self.digests.items()
            if before.digests.get(name) != found
        ]
        arguments = [
            f"{name} ({value!r}, and {before.arguments.get(name)!r} before)"
            for name, value in self.arguments.items()
            if before.arguments.get(name) != value
        ]
        return digests + arguments


def _arrays_of(heads: FittedHeads) -> dict[str, np.ndarray]:
    found = {"coef": heads.coef, "intercept": heads.intercept}
    found |= {"C": np.asarray(heads.concept_C), "weights": heads.class_weight}
    if heads.residual_coef is not None:
        found["residual"] = heads.residual_coef
    for j in range(heads.n_concepts):
        found[f"coef {j}"] = heads.concept_coef[j]
        found[f"intercept {j}"] = heads.concept_intercept[j]
    return found


def _settings_of(heads: FittedHeads) -> tuple[Any, ...]:
    """Return what else of a model its influence depends on."""
    return (
        heads.classes.tolist(),
        heads.names,
        [None if values is None else values.tolist() for values in heads.values],
        (heads.C, heads.activation, heads.intervention_prob, heads.residual_C),
        (heads.concept_weight, heads.label_intercept, heads.rules, dict(heads.held)),
    )


def _parts(features: Matrix) -> dict[str, np.ndarray]:
    """Return features as arrays, without a copy of large ones."""
    if isinstance(features, torch.Tensor):
        features = features.cpu().numpy()
    parts = [features] if isinstance(features, np.ndarray) else features.parts()
    return {f"features {i}": part for i, part in enumerate(parts)}


def _digest(arrays: Mapping[str, np.ndarray], begin: str = "") -> str:
    labelled = ((f"{name} {array.dtype.str}", array) for name, array in arrays.items())
    return sha256_of(labelled, begin.encode())


def check_out(out: Any, *, groups: Any, data: object) -> Path | None:
    """Return the folder that influence is written to, if there is one.

    Raises
    ------
    TypeError
        If `out` is no path.
    ValueError
        If what is asked for is not written to a folder.
    OSError
        If there can be no such folder.
    """
    if out is None:
        return None
    if not isinstance(out, str | os.PathLike) or not os.fspath(out):
        raise TypeError(
            f"out={out!r} must be the path of a folder, which is made if it is not "
            "there, or None."
        )
    path = Path(os.fspath(out))
    if groups is not None:
        raise ValueError(
            "out and groups exclude each other: the influence of groups is small. "
            "Leave out=None, and save result.values by numpy.save."
        )
    if isinstance(data, Elsewhere):
        raise ValueError(
            "out needs training rows in this process or in a file of it, and these are "
            "on a cluster. Leave out=None, and use top=."
        )
    if path.is_dir():
        return path
    if path.exists():
        raise NotADirectoryError(
            f"out={str(path)!r} is a file, and influence is written to a folder. Name "
            "a new folder, or one that the same call has begun."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"out={str(path)!r}: there is no folder {str(path.parent)!r}. Make it "
            "first."
        )
    return path


@dataclass
class _Record:
    """What is known of a folder: what was asked, and how far it is.

    Attributes
    ----------
    folder : Path
    request : Request
    arrays : dict of str to ndarray
        ``checksums`` of the pieces that are on disk, and what else there is to resume.
    result : dict or None
        What is known of the result once it is finished.
    """

    folder: Path
    request: Request
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    @classmethod
    def open(cls, folder: Path, request: Request) -> _Record:
        """Return the record of a folder, which is made if it is not there."""
        path = folder / RECORD
        if not path.exists():
            others = sorted(p.name for p in folder.iterdir() if p.name[0] != ".")
            if others:
                raise FileExistsError(
                    f"out={str(folder)!r} has other files ({', '.join(others[:3])}), "
                    "and no influence that a call has begun. Name a new or an empty "
                    "folder."
                )
            record = cls(folder, request, {"checksums": np.empty(0, np.int64)})
            record.save()
            return record
        try:
            content = unpack(path, "influence", _FORMAT)
        except ModelFileError as error:
            raise _damaged(folder, str(error)) from error
        about = content.about
        before = Request(about["digests"], about["arguments"])
        differences = request.differences(before)
        if differences:
            raise ValueError(
                f"out={str(folder)!r} has influence that was begun for something else. "
                f"It differs in: {'; '.join(differences)}. Call with the same as then "
                "to continue it (an explainer that was saved, or fitted to the same "
                "rows with the same settings), or name another folder."
            )
        return cls(folder, request, content.arrays, about["result"])

    def save(self, **arrays: np.ndarray) -> None:
        """Have it on disk, with some of its arrays replaced."""
        self.arrays = {**self.arrays, **arrays}
        request = self.request
        about = {"digests": request.digests, "arguments": request.arguments}
        content = {**about, "result": self.result}
        packed = pack("influence", _FORMAT, self.arrays, content)
        write_whole(self.folder / RECORD, packed)

    @property
    def n_done(self) -> int:
        """Number of pieces that are on disk."""
        return len(self.arrays["checksums"])

    def add(self, check: int, **arrays: np.ndarray) -> None:
        """Note that one more piece is on disk."""
        checks = np.append(self.arrays["checksums"], check)
        self.save(checksums=checks, **arrays)


def _damaged(folder: Path, reason: str) -> DataFileError:
    return DataFileError(
        f"out={str(folder)!r} is damaged ({reason}). Restore a copy of it, or remove "
        "it, to have its influence computed again."
    )


def write_influence(
    folder: Path,
    request: Request,
    solved: Solved,
    method: str,
    questions: Sequence[Question],
    top: int | None,
    *,
    n_paths: int,
    paths: bool,
    progress: Progress,
) -> Answered:
    """Return influence that is in a folder, after what is missing there is written.

    Parameters
    ----------
    folder : Path
    request : Request
    solved : Solved
    method : {"auto", "newton", "leverage", "first_order"}
        A `possible` one.
    questions : list of numerics.targets.Question
    top : int or None
        Number of rows to keep for each answer; None keeps all.
    n_paths : int
        Number of paths that arrive.
    paths : bool
        Whether the paths are wanted by themselves.
    progress : Progress
        Shows its bar.
    """
    screen, both = taken(solved, method, questions, paths=paths, progress=progress)
    arguments = {**request.arguments, "all rows by": screen}
    passes = passes_of(
        solved, screen, questions, paths=paths and (both is None or top is None)
    )
    _make(folder)
    with _held(folder):
        record = _Record.open(folder, replace(request, arguments=arguments))
        writer = _Writer(record, passes, both, len(solved.data), progress)
        if top is None:
            return writer.all_rows(n_paths, paths=paths)
        return writer.top_rows(top, n_paths, paths=paths)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"out={str(folder)!r}: the folder {str(folder.parent)!r} cannot be written "
            f"to: {reason_of(error)}."
        ) from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep others from writing, except where nobody can: what is finished is read."""
    if (folder / RECORD).exists() and not os.access(folder, os.W_OK):
        yield
        return
    with sole_writer(folder):
        sweep(folder)
        yield


@dataclass
class _Writer:
    """The pieces of a request, in their order.

    Attributes
    ----------
    record : _Record
    passes : list of Pass
    both : Confirming or None
        If there is a better method for the top rows.
    n_rows : int
        Number of training rows.
    progress : Progress
    """

    record: _Record
    passes: Sequence[Pass]
    both: Confirming | None
    n_rows: int
    progress: Progress

    @property
    def n_answers(self) -> int:
        """Number of answers of all passes."""
        return self.passes[-1].answers.stop

    def pieces(self, n_paths: int) -> list[tuple[Pass, slice]]:
        """Return all pieces: some rows of a pass."""
        found = []
        for one in self.passes:
            n_answers = one.answers.stop - one.answers.start
            step = max(1, _PIECE // (n_answers * n_paths * _UNIT)) * _UNIT
            for start in range(0, self.n_rows, step):
                found.append((one, slice(start, min(start + step, self.n_rows))))
        return found

    def missing(
        self, pieces: list[tuple[Pass, slice]], *, paths: bool
    ) -> Iterator[tuple[slice, slice, Iterator[tuple[slice, np.ndarray]]]]:
        """Yield answers, rows and blocks of the pieces that are not on disk."""
        pieces = pieces[self.record.n_done :]
        n_rows = sum(rows.stop - rows.start for _, rows in pieces)
        with self.progress.stage("Influence to a folder", n_rows) as advance:
            for one, rows in pieces:
                yield one.answers, rows, self._blocks(one, rows, paths=paths)
                advance(rows.stop - rows.start)

    def _blocks(
        self, one: Pass, rows: slice, *, paths: bool
    ) -> Iterator[tuple[slice, np.ndarray]]:
        for block, part in one.rows(rows):
            if self.both is not None:
                part = self.both.as_removal(part, block, paths=paths)
            yield block, part

    def all_rows(self, n_paths: int, *, paths: bool) -> Answered:
        """Return the influence of all rows, which stays in the folder."""
        record, folder = self.record, self.record.folder
        shape: tuple[int, ...] = (self.n_answers, self.n_rows)
        shape = (*shape, n_paths) if paths else shape
        pieces = self.pieces(n_paths if paths else 1)
        if record.result is None:
            size = 8 * int(np.prod(shape, dtype=object))
            with room_wanted(folder / VALUES, size, _KEPT):
                values = self._unfinished(shape)
                if "chosen" not in record.arrays:
                    self._check(values, pieces[: record.n_done])
                    self._write(values, pieces, paths=paths)
                self._finish(values, pieces, paths=paths)
        values = self._mapped(VALUES, shape)
        self._check(values, pieces)
        confirmed = record.arrays.get("confirmed")
        assert record.result is not None
        return Answered(record.result["method"], values, confirmed=confirmed)

    def _unfinished(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array that is being written; it is made if nothing was written."""
        folder = self.record.folder
        if (folder / VALUES).exists():  # killed before the record said so
            os.replace(folder / VALUES, folder / _UNFINISHED)
        if not self.record.n_done and not (folder / _UNFINISHED).exists():
            allocate_array(folder / _UNFINISHED, shape)
        return self._mapped(_UNFINISHED, shape, write=True)

    def _write(
        self, values: np.ndarray, pieces: list[tuple[Pass, slice]], *, paths: bool
    ) -> None:
        """Write the pieces that are missing; each is noted when it is on disk."""
        kept = KeepAll(values, paths=paths)
        for answers, rows, blocks in self.missing(pieces, paths=paths):
            for block, part in blocks:
                kept.add(answers, block, part)
            _flush(values)
            self.record.add(checksum(values[answers, rows]))

    def _finish(
        self, values: np.ndarray, pieces: list[tuple[Pass, slice]], *, paths: bool
    ) -> None:
        """Confirm the top rows, and give the file its name."""
        record, method = self.record, self.passes[0].method
        if self.both is not None:
            kept = KeepAll(values, paths=paths)
            if "chosen" not in record.arrays:
                record.save(chosen=self.both.chosen(kept))
            # From here on checksums are not those of the pieces; what follows gives
            # the same bytes however often it is done.
            found = self.both.confirmed(kept, record.arrays["chosen"])
            _flush(values)
            method = found.method
            checks = [checksum(values[one.answers, rows]) for one, rows in pieces]
            record.arrays["checksums"] = np.array(checks, np.int64)
            if found.confirmed is not None:
                record.arrays["confirmed"] = found.confirmed
        os.replace(record.folder / _UNFINISHED, record.folder / VALUES)
        sync_folder(record.folder)
        record.result = {"method": method}
        record.save()

    def _check(self, values: np.ndarray, pieces: list[tuple[Pass, slice]]) -> None:
        """Refuse values that are not what was written."""
        checks = self.record.arrays["checksums"].tolist()
        for (one, rows), expected in zip(pieces, checks, strict=True):
            if checksum(values[one.answers, rows]) != expected:
                raise _damaged(
                    self.record.folder,
                    f"the influence of training rows {rows.start} to {rows.stop - 1} "
                    "is not what was written",
                )

    def _mapped(
        self, name: str, shape: tuple[int, ...], dtype: Any = np.float64, **how: bool
    ) -> np.ndarray:
        folder = self.record.folder
        try:
            return map_array(folder / name, shape, dtype, **how)
        except DataFileError as error:
            raise _damaged(folder, str(error)) from error

    def top_rows(self, top: int, n_paths: int, *, paths: bool) -> Answered:
        """Return the influence of the top rows, which are in the folder."""
        record, folder = self.record, self.record.folder
        n_top = min(top, self.n_rows)
        shape: tuple[int, ...] = (self.n_answers, n_top)
        if record.result is None:
            with room_wanted(folder / VALUES, 16 * int(np.prod(shape)), _KEPT):
                self._write_top(top, n_paths, paths=paths)
        assert record.result is not None
        rows = self._mapped(ROWS, shape, np.int64)
        values = self._mapped(VALUES, (*shape, n_paths) if paths else shape)
        checks = [checksum(values), checksum(rows)]
        if checks != record.arrays["checksums"].tolist():
            raise _damaged(folder, "its numbers are not those that were written")
        return Answered(record.result["method"], values, rows)

    def _write_top(self, top: int, n_paths: int, *, paths: bool) -> None:
        record = self.record
        if self.both is None:
            kept = KeepTop(self.n_answers, self.n_rows, top, n_paths, paths=paths)
        else:
            kept = self.both.proposals(self.n_answers, top)
        if record.n_done:
            kept.resume(record.arrays)
        for answers, _, blocks in self.missing(self.pieces(1), paths=False):
            for block, part in blocks:
                kept.add(answers, block, part)
            record.add(0, **kept.state)
        found = Answered(self.passes[0].method, kept.values, kept.rows)
        if self.both is not None:
            found = self.both.best_of(kept, top)
        assert found.rows is not None
        contents = {VALUES: bytes_of(found.values), ROWS: bytes_of(found.rows)}
        write_together(record.folder, contents)
        checks = np.array([checksum(found.values), checksum(found.rows)], np.int64)
        record.result, record.arrays = {"method": found.method}, {"checksums": checks}
        record.save()


def _flush(values: np.ndarray) -> None:
    assert isinstance(values, np.memmap)
    values.flush()
