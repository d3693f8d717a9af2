"""Parquet: a file, or a folder of files with the same columns."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..exceptions import DataFileError
from .layout import Choose, Columns, Layout, refuse_names
from .sources import Source


def read_parquet(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of Parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow: pip install "skclif[parquet]"'
        ) from error
    refuse_names(source, layout)
    try:
        if source.path.is_dir():
            return _read_folder(source, choose, notes)
        with source.bytes() as stream:
            content = io.BytesIO(stream.read()) if source.packed else stream
            return _read(content, choose)
    except pyarrow.ArrowException as error:
        raise DataFileError(f"{source} is not a Parquet file: {error}") from error


def _read(file: Any, choose: Choose) -> Columns:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        found = choose(opened.schema_arrow.names)
        return cast(Columns, opened.read(columns=found).to_pydict())


def _read_folder(source: Source, choose: Choose, notes: list[str]) -> Columns:
    import pyarrow
    import pyarrow.parquet

    files = _files(source.path)
    notes.append(f"from {', '.join(path.name for path in files)}")
    columns: Columns = {}
    schema = None
    for path in files:
        try:
            found = pyarrow.parquet.read_schema(path)
            part = _read(path, replace(choose, source=Source(path, path.name)))
        except pyarrow.ArrowException as error:
            raise DataFileError(f"{path} is not a Parquet file: {error}") from error
        found = {name: str(found.field(name).type) for name in part}
        if schema is not None and found != schema:
            odd = next(n for n in schema | found if schema.get(n) != found.get(n))
            raise DataFileError(
                f"{path}: the column {odd!r} is {found.get(odd, 'missing')}, but "
                f"{schema.get(odd, 'missing')} in {files[0]}. The files of a folder "
                "must have the same columns."
            )
        schema = found
        for name, values in part.items():
            columns.setdefault(name, []).extend(values)
    return columns


def _files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, by name; refuse what is no such folder."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    files = [p for p in entries if p.suffix.lower() == ".parquet"]
    others = [p.name for p in entries if p not in files]
    if files and not any((folder / name).is_dir() for name in others):
        return files
    if any((folder / name).is_dir() and "=" in name for name in others):
        raise DataFileError(
            f"{folder} is divided by values of a column ({others[0]!r}); write it as "
            "one Parquet file."
        )
    raise DataFileError(
        f"{folder} is a folder; name a file in it. A folder is read if it holds "
        "Parquet files, and no folders."
    )
