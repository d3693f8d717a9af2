"""Where a table is: in a file, compressed or not, or in a folder of Parquet files."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TextIO, cast

from ..exceptions import DataFileError

_LARGEST = 4 * 2**30  # bytes of a table that was compressed
_DENSEST = 200  # times its compressed size; tables reach 20
_SMALL = 2**28  # bytes that are never too many
_PACKED = (".gz", ".zip")
_MARKS = {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


@dataclass(frozen=True)
class Source:
    """One table in a file.

    Attributes
    ----------
    path : Path
        The file, or a folder.
    name : str
        The name of the table, whose suffix says how it is read.
    packed : {"", ".gz", ".zip"}
    """

    path: Path
    name: str
    packed: str = ""

    @classmethod
    def of(cls, path: Path) -> Source:
        """Return the table in a file; look into a zip file for its name."""
        packed = path.suffix.lower()
        if path.is_dir() or packed not in _PACKED:
            return cls(path, path.name)
        if packed == ".gz":
            return cls(path, path.name[: -len(packed)], packed)
        with _whole_archive(path), zipfile.ZipFile(path) as archive:
            return cls(path, _only_table(path, archive), packed)

    @property
    def suffix(self) -> str:
        """The suffix of the table, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    def __str__(self) -> str:
        inner = f" ({self.name})" if self.packed == ".zip" else ""
        return f"{self.path}{inner}"

    @contextmanager
    def bytes(self) -> Iterator[BinaryIO]:
        """Open the table as bytes."""
        if not self.packed:
            with open(self.path, "rb") as stream:
                yield stream
            return
        with _whole_archive(self.path):
            if self.packed == ".zip":
                with zipfile.ZipFile(self.path) as archive:
                    info = archive.getinfo(self.name)
                    check_size(self, info.file_size, info.compress_size)
                    with archive.open(info) as member:
                        yield cast(BinaryIO, member)
            else:
                with gzip.open(self.path) as unpacked:
                    counted = _Counted(self, cast(BinaryIO, unpacked))
                    yield cast(BinaryIO, io.BufferedReader(counted))

    @contextmanager
    def text(self, encoding: str) -> Iterator[TextIO]:
        """Open the table as text; a byte order mark is skipped."""
        if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            encoding = "utf-8-sig"  # skips a byte order mark
        with self.bytes() as stream:
            yield io.TextIOWrapper(stream, encoding=encoding, newline="")

    def encoding_error(self, encoding: str) -> DataFileError:
        """Return the error that the table is not in an encoding."""
        with self.bytes() as stream:
            guess = _MARKS.get(stream.read(2), "")
        advice = "Name the encoding of the file "
        example = "for example cp1252 for files of Windows programs, or utf-16"
        if guess and guess != encoding.lower():
            example = f"which begins like {guess}"
        return DataFileError(
            f"{self}{self._undecodable_line(encoding)} is not written in {encoding!r}.",
            python=f"{advice}with encoding=, {example}.",
            command=f"{advice}with --encoding, {example}.",
        )

    def _undecodable_line(self, encoding: str) -> str:
        """Name the first line that is not in this encoding; the decoder does not."""
        if "\n".encode(encoding) != b"\n":
            return ""  # the bytes of such a file cannot be split into lines
        with self.bytes() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(encoding)
                except UnicodeError:
                    return f", line {number} of the file,"
        return ""


@contextmanager
def _whole_archive(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataFileError(f"{path} is not a whole gzip file: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataFileError(f"{path} is not a whole zip file: {error}") from error
    except RuntimeError as error:  # zipfile has no class of its own for this
        if "password" not in str(error):
            raise
        raise DataFileError(
            f"{path} is protected by a password. Unpack it first."
        ) from error


def _only_table(path: Path, archive: zipfile.ZipFile) -> str:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    # What macOS and hidden folders leave in archives.
    names = [
        name
        for name in names
        if not any(p.startswith((".", "__MACOSX")) for p in name.split("/"))
    ]
    if len(names) != 1:
        holds = ", ".join(map(repr, names[:10])) or "none"
        raise DataFileError(
            f"{path} must hold one file, the table; it holds {len(names)}: {holds}. "
            "Unpack it, and name the file."
        )
    return names[0]


def check_size(source: Source, size: int, compressed: int) -> None:
    """Refuse a small file that would fill the memory."""
    if size > _LARGEST or (size > _SMALL and size > _DENSEST * compressed):
        raise DataFileError(
            f"{source} unpacks to {size / 2**30:.1f} GiB or more, "
            f"{size / max(compressed, 1):.0f} times its size. At most "
            f"{_LARGEST / 2**30:.0f} GiB, and {_DENSEST} times its size, are "
            "unpacked. If that is a table, unpack it first, or save a workbook as CSV."
        )


class _Counted(io.RawIOBase):
    """What a compressed stream holds, as long as it is not too much."""

    def __init__(self, source: Source, stream: BinaryIO) -> None:
        self._source, self._stream, self._size = source, stream, 0
        self._compressed = source.path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        self._size += len(content)
        check_size(self._source, self._size, self._compressed)
        buffer[: len(content)] = content
        return len(content)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    That of a folder is of the names of its files and their own, in order of the names.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(inner for inner in path.iterdir() if inner.is_file())
    lines = "".join(f"{inner.name}\0{digest_of(inner)}\n" for inner in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def state_of(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of change of a file, or of a folder's Parquet files.

    Two equal states mean that nobody wrote to the table in between.
    """
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".parquet")
    found = [(inner.name, inner.stat()) for inner in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]
