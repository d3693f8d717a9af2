"""The on-disk store of embeddings: one SQLite file that processes can share.

A vector is found by the SHA-256 of everything that it depends on, so that nothing has
to be invalidated: another model, another option or another text is another key.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np

from .._version import __version__
from ..exceptions import DataFileError

FILE_NAME = "embeddings.sqlite"
FORMAT_VERSION = 2

_APPLICATION_ID = 0x736B6366  # "skcf": tells our file from another SQLite database
_BUSY_SECONDS = 60.0
_KEYS_PER_QUERY = 4000  # many, because neighbouring keys share a page
# A row of 4·d + 54 bytes wastes the end of small pages: with pages of 64 KiB the file
# measures 1.06 to 1.08 times 4·d·n bytes for d = 384 to 1024, with the usual 4 KiB up
# to 1.37 times. WITHOUT ROWID, which splits pages of vectors at random: 1.2 to 3 times.
_PAGE_BYTES = 65536
_VECTOR = np.dtype("<f4")
_UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY NOT NULL,
    token_limit INTEGER,
    checksum BLOB NOT NULL,
    vector BLOB NOT NULL
);
INSERT OR IGNORE INTO about VALUES ('skclif_version', '{__version__}');
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
COMMIT;
"""


def text_keys(context: Sequence[str], texts: Iterable[str]) -> list[bytes]:
    """Hash each text together with what else its vector depends on.

    Parameters
    ----------
    context : sequence of str
        Fingerprint of the model, then the options that change a vector. All contexts
        of a store have the same number of parts, so that a text cannot pass for one.
    texts : iterable of str
        The texts.

    Returns
    -------
    keys : list of bytes of length 32
        One SHA-256 digest per text.
    """
    start = hashlib.sha256()
    for part in context:
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        start.update(f"{len(part)}:{part}".encode())
    keys = []
    for text in texts:
        digest = start.copy()
        digest.update(text.encode())
        keys.append(digest.digest())
    return keys


class EmbeddingStore:
    """Vectors by key, in one SQLite file.

    A context manager. Each call of `add` is one transaction: a process that is killed
    loses the current batch and nothing else. A key keeps its first vector. If the file
    is read-only, vectors can still be looked up.

    Parameters
    ----------
    directory : str or path-like
        The directory of the file ``embeddings.sqlite``; created if it is missing.

    Attributes
    ----------
    path : pathlib.Path
        The file.

    Raises
    ------
    DataFileError
        If the file is damaged, is not an embedding cache, has another format, is locked
        by another process for too long, or cannot be opened or written.

    Notes
    -----
    SQLite's rollback journal is used, not its write-ahead log: the store is a single
    file, and needs only the locks that network file systems have. Readers and writers
    wait for each other, for the milliseconds that a batch takes.
    """

    def __init__(self, directory: str | PathLike[str]) -> None:
        self.path = Path(directory).expanduser() / FILE_NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataFileError(
                f"cache_dir={str(directory)!r} is not a directory and cannot be made "
                f"one ({error}). Give another directory, or cache_dir=None."
            ) from error
        with self._clear_errors():
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None
            )
        try:
            with self._clear_errors():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "EmbeddingStore":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was added is already in it."""
        self._connection.close()

    def fetch(
        self, keys: Sequence[bytes]
    ) -> Iterator[tuple[list[int], np.ndarray, list[int | None]]]:
        """Look keys up.

        Parameters
        ----------
        keys : sequence of bytes
            The keys, each once.

        Yields
        ------
        positions : list of int
            Positions in `keys` of the keys that were found. Keys without a vector are
            in no block.
        vectors : ndarray of shape (len(positions), d), dtype float32
            Their vectors.
        token_limits : list of int or None
            What `add` was given.
        """
        allowed = self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        step = min(_KEYS_PER_QUERY, allowed)
        for start in range(0, len(keys), step):
            asked = keys[start : start + step]
            rows = self._select(asked)
            if not rows:
                continue
            where = {key: start + i for i, key in enumerate(asked)}
            try:
                positions = [where[row[0]] for row in rows]
                intact = all(_checksum(*row[:3]) == row[3] for row in rows)
            except (KeyError, TypeError):  # bytes can have turned into a number
                intact = False
            if not intact or len({len(row[2]) for row in rows}) > 1:
                raise self._damaged("what is read is not what was stored")
            vectors = np.frombuffer(b"".join(row[2] for row in rows), dtype=_VECTOR)
            yield (
                positions,
                vectors.reshape(len(rows), -1).astype(np.float32, copy=False),
                [row[1] for row in rows],
            )

    def add(
        self,
        keys: Sequence[bytes],
        vectors: np.ndarray,
        token_limits: Sequence[int | None],
    ) -> None:
        """Add one batch; it is on disk when this returns.

        Parameters
        ----------
        keys : sequence of bytes
            One key per vector; a key that is already stored keeps its vector.
        vectors : ndarray of shape (len(keys), d), dtype float32
            The vectors.
        token_limits : sequence of int or None
            The number of tokens that were read of a text that was cut; otherwise None.
        """
        blobs = (vector.tobytes() for vector in np.asarray(vectors, dtype=_VECTOR))
        rows = (
            (key, limit, _checksum(key, limit, blob), blob)
            for key, limit, blob in zip(keys, token_limits, blobs, strict=True)
        )
        with self._clear_errors(), self._connection:
            # IMMEDIATE takes the write lock while waiting for it is still possible.
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", rows
            )

    def _select(
        self, keys: Sequence[bytes]
    ) -> list[tuple[bytes, int | None, bytes, bytes]]:
        query = (
            "SELECT key, token_limit, vector, checksum FROM vectors "
            f"WHERE key IN ({','.join('?' * len(keys))})"
        )
        with self._clear_errors():
            return self._connection.execute(query, keys).fetchall()

    def _prepare(self) -> None:
        with self._connection:
            # One transaction: another process may be creating the file right now.
            self._connection.execute("BEGIN")
            application, version, schema = (
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version", "schema_version")
            )
        if application == _APPLICATION_ID and version != FORMAT_VERSION:
            remedy = "Update skclif" if version > FORMAT_VERSION else "Delete the file"
            raise DataFileError(
                f"The embedding cache {self.path} has format {version}; skclif "
                f"{__version__} reads format {FORMAT_VERSION}. {remedy}, or give "
                "another cache_dir."
            )
        if application != _APPLICATION_ID and (application or version or schema):
            raise DataFileError(
                f"{self.path} is a database, but not an embedding cache of skclif. "
                "Give another cache_dir."
            )
        if application != _APPLICATION_ID:
            self._connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            self._connection.executescript(_SCHEMA)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        # The second, where SQLite quotes a damaged name in its message.
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                message = (
                    f"The embedding cache {self.path} has been locked by another "
                    f"process for {_BUSY_SECONDS:.0f} seconds. Wait for it to end, or "
                    "give another cache_dir."
                )
            elif code in _UNUSABLE:
                message = (
                    f"The embedding cache {self.path} cannot be used ({error}). Check "
                    "that there is room and that you may write there, or give another "
                    "cache_dir; what is stored in it is kept."
                )
            else:
                raise self._damaged(str(error)) from error
            raise DataFileError(message) from error

    def _damaged(self, reason: str) -> DataFileError:
        return DataFileError(
            f"The embedding cache {self.path} is damaged ({reason}). Restore a copy of "
            "it, or delete it: its vectors will be computed again."
        )


def _checksum(key: bytes, token_limit: int | None, vector: bytes) -> bytes:
    """Tie a vector to its key, so that neither can change or be swapped unnoticed."""
    return hashlib.sha256(b"%b%d:%b" % (key, token_limit or 0, vector)).digest()[:8]
