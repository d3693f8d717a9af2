"""Texts of a file to vectors in a file, in memory that does not grow with either."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._inputs.devices import resolve_device
from .._inputs.progress import Progress
from .._results.words import how_many
from .._storage.files import sole_writer
from .._version import __version__
from ..exceptions import DataFileError
from ..numerics.steps import Advance
from .encoder import Block
from .readout import VERSION
from .text_file import Contents, TextFile
from .texts import warn_of_cuts
from .vector_file import Record, VectorFile
from .weights import find_model

# What vectors depend on, as an argument and as an option.
_SETTINGS = {
    "dtype": "--dtype",
    "normalize": "",
    "layers": "",
    "layer_pooling": "",
    "pooling": "",
    "long_text": "--long-text",
}


class BlockEmbedder(Protocol):
    """What is asked of a `SentenceEmbedder`."""

    model: str | os.PathLike[str]
    device: str
    normalize: bool
    long_text: str
    cache_dir: str | os.PathLike[str] | None
    verbose: int
    _if_cut: str

    @property
    def _resolved_dtype(self) -> str: ...

    def _check_options(self) -> None: ...

    def _options(self) -> tuple[Any, bool, tuple[str, ...]]: ...

    def _fingerprint(self, folder: Path) -> str: ...

    def _count_features(self) -> int: ...

    def _embedded(
        self,
        texts: list[str],
        find: Callable[[list[str]], Generator[Block, None, None]],
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def _in_one_piece(
        self, texts: list[str], advance: Advance
    ) -> Generator[Block, None, None]: ...


@dataclass(frozen=True)
class Embedded:
    """A whole file of vectors.

    Attributes
    ----------
    record : Record
    n_before : int
        Number of vectors that were there before.
    seconds : float
        Time that the others took; the time to load the model is not in it.
    """

    record: Record
    n_before: int
    seconds: float

    @property
    def texts_a_second(self) -> float | None:
        """How many texts were embedded each second, None if all were before."""
        n_new = self.record.n_texts - self.n_before
        return n_new / max(self.seconds, 1e-9) if n_new else None


def embed_file(embedder: BlockEmbedder, texts: TextFile, out: Path) -> Embedded:
    """Embed the texts of a file, or continue; a file that is whole is left alone.

    Parameters
    ----------
    embedder : BlockEmbedder
    texts : TextFile
    out : Path
        The .npy file.
    """
    embedder._check_options()
    if embedder.device != "cpu":  # it may be there, or not
        resolve_device(embedder.device)
    _check_out(out)
    settings = _settings(embedder)
    progress = Progress(embedder.verbose)
    with _held(out):
        file = VectorFile(out)
        state = texts.state()
        with progress.stage("Reading texts", unit="texts") as advance:
            contents = texts.examine(advance)
        about = {"texts": contents.sha256, **settings}
        if file.record is not None:
            _check_same(file, file.record, about, contents, texts.path)
        if file.is_whole:
            file.verify()
            return _whole(embedder, file, contents.n_texts, 0.0)
        if file.record is None:
            source = {"texts": str(texts.path), "columns": texts.columns}
            source["model"] = str(embedder.model)
            n_features = embedder._count_features()
            file.begin(Record(about, contents.n_texts, n_features, source))
        else:
            file.go_on()
        n_before = file.known.n_done
        start = time.perf_counter()
        with progress.stage(
            "Embedding texts",
            contents.n_texts,
            "texts",
            n_known=n_before,
            with_rate=True,
        ) as advance:
            find = partial(embedder._in_one_piece, advance=advance)
            before = start
            for block in texts.blocks(n_before, contents.n_texts):
                vectors, limits = embedder._embedded(block, find)
                advance(len(block) - len(set(block)))
                if texts.state() != state:
                    raise _changed(texts.path)
                if vectors.shape[1] != file.known.n_features:
                    raise _other_width(embedder, file.known, vectors.shape[1])
                now = time.perf_counter()
                n_cut, limit = int(np.count_nonzero(limits)), int(limits.max())
                file.add(vectors, n_cut, limit, now - before)
                before = now
        file.finish()
        return _whole(embedder, file, n_before, time.perf_counter() - start)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Keep others from writing, except where nobody writes: what is whole is read."""
    if out.exists() and not os.access(out.parent, os.W_OK):
        yield
        return
    with sole_writer(out):
        yield


def _whole(
    embedder: BlockEmbedder, file: VectorFile, n_before: int, seconds: float
) -> Embedded:
    known = file.known
    n_cut, limit = known.n_truncated, known.token_limit
    warn_of_cuts(n_cut, known.n_texts, limit, embedder._if_cut)
    return Embedded(known, n_before, seconds)


def _check_out(out: Path) -> None:
    """Refuse a place where no file of vectors can be, before any work."""
    if out.suffix != ".npy":
        raise DataFileError(
            f"{out} is to hold vectors, and its name has to end in .npy.",
            python="Give another out=.",
            command="Give another --out.",
        )
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder. Name a file in it.")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(out.absolute().parent)!r}. Make it first."
        )


def _settings(embedder: BlockEmbedder) -> dict[str, Any]:
    """Return what vectors depend on beside the texts, as JSON keeps it."""
    layers, concat, pooling = embedder._options()
    return {
        "model": embedder._fingerprint(find_model(embedder.model, embedder.verbose)),
        "dtype": embedder._resolved_dtype,
        "normalize": bool(embedder.normalize),
        "layers": list(layers) if isinstance(layers, tuple) else layers,
        "layer_pooling": "concat" if concat else "mean",
        "pooling": list(pooling),
        "long_text": embedder.long_text,
        "readout": VERSION,
    }


def _check_same(
    file: VectorFile,
    record: Record,
    about: Mapping[str, Any],
    contents: Contents,
    path: Path,
) -> None:
    """Refuse to continue vectors of other texts, or that were made in another way."""
    differ = [name for name in about if record.about.get(name) != about[name]]
    if not differ:
        return
    python, command = [], []
    for name in differ:
        before = record.about.get(name)
        if name == "texts":
            n_now, n_then = contents.n_texts, record.n_texts
            said = f"the texts of {path} are others"
            said += f" ({n_then:,} then, {n_now:,} now)" if n_then != n_now else ""
            python.append(said)
            command.append(said)
        elif name in _SETTINGS:
            python.append(f"{name} was {before!r} and is {about[name]!r}")
            option = _SETTINGS[name] or name
            command.append(f"{option} was {before} and is {about[name]}")
        else:
            said = f"the model is another than {record.source.get('model')!r} was"
            if name == "readout":
                said = f"skclif {__version__} reads layers in another way"
            python.append(said)
            command.append(said)
    rest = f"or remove {file.rows} to begin again."
    raise DataFileError(
        f"{file.rows} was begun in another way:",
        python=f"{'; '.join(python)}. Call it as before, give another out=, {rest}",
        command=f"{'; '.join(command)}. Run it as before, give another --out, {rest}",
    )


def _changed(path: Path) -> DataFileError:
    return DataFileError(
        f"{path} has changed while it was read. The vectors before are kept. Run it "
        "again when nobody writes to the file: it continues if the texts are the same."
    )


def _other_width(
    embedder: BlockEmbedder, record: Record, n_features: int
) -> DataFileError:
    return DataFileError(
        f"The embedding cache in {str(embedder.cache_dir)!r} is damaged: its vectors "
        f"have {how_many(n_features, 'value')} where the model gives "
        f"{record.n_features}. Delete its file; the vectors will be computed again."
    )
