"""Parquet: a file, or a folder of files with the same columns."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..exceptions import DataFileError
from .layout import AT_ONCE, Choose, Columns, Layout, gathered, refuse_names
from .sources import Source

_BUFFER = 2**20  # bytes that are read at once of a file that is read in blocks

_Read = Callable[[Any, Choose], Iterator[Columns]]


def read_parquet(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of Parquet."""
    return gathered(_blocks(source, layout, choose, notes, _whole))


def stream_parquet(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Iterator[Columns]:
    """Yield the chosen columns of Parquet, some rows at a time."""
    return _blocks(source, layout, choose, notes, _in_parts)


def _blocks(
    source: Source, layout: Layout, choose: Choose, notes: list[str], read: _Read
) -> Iterator[Columns]:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow: pip install "skclif[parquet]"'
        ) from error
    refuse_names(source, layout)
    if source.path.is_dir():
        yield from _folder(source, choose, notes, read)
        return
    with _named(source), source.bytes() as stream:
        content = io.BytesIO(stream.read()) if source.packed else stream
        yield from read(content, choose)


@contextmanager
def _named(source: Source | Path) -> Iterator[None]:
    """Name the file in errors of pyarrow."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        raise DataFileError(f"{source} is not a Parquet file: {error}") from error


def _whole(file: Any, choose: Choose) -> Iterator[Columns]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        found = choose(opened.schema_arrow.names)
        yield cast(Columns, opened.read(columns=found).to_pydict())


def _in_parts(file: Any, choose: Choose) -> Iterator[Columns]:
    import pyarrow.parquet

    # With a buffer made before, pyarrow keeps all that it has read until the end.
    options = {"buffer_size": _BUFFER, "pre_buffer": False}
    with pyarrow.parquet.ParquetFile(file, **options) as opened:
        found = choose(opened.schema_arrow.names)
        for batch in opened.iter_batches(AT_ONCE, columns=found, use_threads=False):
            yield cast(Columns, batch.to_pydict())


def _folder(
    source: Source, choose: Choose, notes: list[str], read: _Read
) -> Iterator[Columns]:
    import pyarrow.parquet

    files = _files(source.path)
    notes.append(f"from {', '.join(path.name for path in files)}")
    schema = None
    for path in files:
        with _named(path):
            arrow = pyarrow.parquet.read_schema(path)
            names = replace(choose, source=Source(path, path.name))(arrow.names)
            found = {name: str(arrow.field(name).type) for name in names}
            if schema is not None and found != schema:
                odd = next(n for n in schema | found if schema.get(n) != found.get(n))
                raise DataFileError(
                    f"{path}: the column {odd!r} is {found.get(odd, 'missing')}, but "
                    f"{schema.get(odd, 'missing')} in {files[0]}. The files of a "
                    "folder must have the same columns."
                )
            schema = found
            yield from read(path, replace(choose, source=Source(path, path.name)))


def _files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, by name; refuse what is no such folder."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    files = [p for p in entries if p.suffix.lower() == ".parquet"]
    others = [p.name for p in entries if p not in files]
    if files and not any((folder / name).is_dir() for name in others):
        return files
    if any((folder / name).is_dir() and "=" in name for name in others):
        raise DataFileError(
            f"{folder} is divided by values of a column ({others[0]!r}). Name one of "
            "its folders, or write all of it as one Parquet file, or a folder of them."
        )
    raise DataFileError(
        f"{folder} is a folder; name a file in it. A folder is read if it holds "
        "Parquet files, and no folders."
    )
