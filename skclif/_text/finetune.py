"""A sentence encoder that learns the concepts, as a scikit-learn transformer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import orthogonal_procrustes
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._inputs.annotations import Annotations
from .._inputs.checks import (
    all_or_nothing,
    check_labels,
    check_row_order,
    check_weights,
)
from .._inputs.devices import available_memory, resolve_device
from .._inputs.documentation import DocumentedMixin
from .._inputs.learning import learn
from .._inputs.progress import Progress
from .._inputs.sklearn import Interval, StrOptions, _fit_context
from .._inputs.soft import Shares
from .._results.words import how_many
from .embedder import warn_truncated
from .encoder import Encoder
from .precision import PRECISIONS, resolve_precision
from .texts import TakesTextsMixin, as_texts
from .tuned import TunedEmbedder, write_model
from .weights import DEFAULT_MODEL, find_model, fingerprint, load_model, model_files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from .layers import LastLayers
    from .training import Targets

__all__ = ["ConceptEncoder"]

# Of the alignment of encoders, towards no change: what few texts leave open stays.
_STAYS = 1e-2
# Training is in single precision, which holds hardly more.
_LARGEST = 1e30


class ConceptEncoder(
    TakesTextsMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Fine-tune a sentence-transformers model on concepts and label, and embed texts.

    The last layers of the model are trained until linear heads read the label and all
    annotated concepts from a text's vector. The heads are then thrown away: convex
    heads, those of a :class:`ConceptBottleneckClassifier`, are fitted to the vectors.

    `fit_transform` does not return what ``fit(...).transform(...)`` returns: it returns
    vectors of the training rows *out of fold*, by encoders that were not trained on
    them. A pipeline calls it, so that the heads that follow see training rows as they
    will see new ones.

    Parameters
    ----------
    model : str or path-like, default="sentence-transformers/all-MiniLM-L6-v2"
        The model to begin with: a local directory, or a name on the Hugging Face Hub.
        See :class:`SentenceEmbedder`.
    n_trainable_layers : int or None, default=3
        Number of layers that are trained, the last ones. None trains the whole model.
    epochs : int, default=4
        Largest number of passes over the training rows, up to 1000.
    learning_rate : float, default=1e-4
        Of the layers, at its peak: it rises over the first tenth of the steps, then
        falls to 0. That of the heads is 20 times as large.
    batch_size : int, default=16
        Number of texts in a step of training.
    concept_weight : float, default=2.0
        Weight of the mean loss of the concepts, against 1 for that of the label.
    concept_kinds : dict of str to {"categorical", "continuous"}, default=None
        Kinds of concepts by name, where they differ from the default, which is that of
        :class:`ConceptBottleneckClassifier`.
    validation_fraction : float or None, default=0.15
        About which share of the rows is held out at first, to find out after how many
        epochs to stop. Then all rows are trained on for so long. None: always `epochs`.
    patience : int, default=1
        Number of epochs without progress on rows held out before training stops.
    n_splits : int or None, default=5
        Number of parts for the vectors of `fit_transform`; each is embedded by an
        encoder that was trained on the others. None returns vectors of the encoder that
        has seen them, which is faster; heads then take training rows for easier than
        new ones.
    dtype : {"auto", "float32", "bfloat16"}, default="float32"
        Precision of products in training. "bfloat16" needs a GPU or a processor that
        has it, and "auto" uses it there. Weights and vectors are float32.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for a GPU if there is one.
    cache_dir : str or path-like, default=None
        Directory of a store of vectors on disk, for `transform`. They are found by the
        model's files and the learned weights.
    random_state : int, RandomState instance or None, default=None
        Of the parts of the rows and of the order of training. An int gives the same
        weights again, on one machine with one number of threads.
    verbose : int, default=0
        If positive, show progress on stderr, as soon as a call has taken two seconds.

    Attributes
    ----------
    weights_ : dict of str to ndarray
        The learned weights, float32, by their names in the model.
    n_epochs_ : int
        Number of passes over the training rows.
    model_fingerprint_ : str
        SHA-256 of the files of the model that was trained. Only the learned weights are
        kept here, and they fit no other model.

    See Also
    --------
    SentenceEmbedder : Vectors of a model as it is.
    ConceptBottleneckClassifier : Texts to concepts to labels, on these vectors.

    Notes
    -----
    *Influence.* Only the last step of a pipeline is explained: influence, edits and
    suspects are of the heads, with the vectors as they are. What a row did to the
    encoder is not in it.

    *Out of fold.* Encoders of different parts have different coordinates. Each is
    turned to those of the final encoder by the orthogonal matrix that brings their
    vectors of the rows that it was trained on nearest (orthogonal Procrustes problem).
    Equal texts are in one part. Rows of weight 0 are never trained on; the final
    encoder embeds them.

    *Loss.* The sum of the cross-entropy of the label and `concept_weight` times that of
    the concepts, averaged over annotations; half the squared error of a continuous
    concept, in units of its standard deviation. What is not annotated has no loss.
    AdamW, without dropout, so that nothing depends on a global random state. The
    outputs of the layers below those that are trained are computed once and kept.

    *Long texts.* Only as much of a text is read as the model reads, with a warning.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skclif import ConceptBottleneckClassifier, ConceptEncoder
    >>> clf = make_pipeline(ConceptEncoder(random_state=0),
    ...                     ConceptBottleneckClassifier())
    >>> clf.fit(texts, y, conceptencoder__concepts=concepts,
    ...         conceptbottleneckclassifier__concepts=concepts)  # doctest: +SKIP
    """

    __module__ = "skclif"
    __metadata_request__fit = {"concepts": True, "concept_sample_weight": True}

    _parameter_constraints: dict[str, Any] = {
        "model": [str, os.PathLike],
        "n_trainable_layers": [Interval(Integral, 1, None, closed="left"), None],
        "epochs": [Interval(Integral, 1, 1000, closed="both")],
        "learning_rate": [Interval(Real, 0, _LARGEST, closed="right")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "concept_weight": [Interval(Real, 0, _LARGEST, closed="both")],
        "concept_kinds": [dict, None],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="right"), None],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "n_splits": [Interval(Integral, 2, None, closed="left"), None],
        "dtype": [StrOptions({"auto", *PRECISIONS} - {"float16"})],
        "device": [str],
        "cache_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        n_trainable_layers: int | None = 3,
        epochs: int = 4,
        learning_rate: float = 1e-4,
        batch_size: int = 16,
        concept_weight: float = 2.0,
        concept_kinds: dict[str, str] | None = None,
        validation_fraction: float | None = 0.15,
        patience: int = 1,
        n_splits: int | None = 5,
        dtype: str = "float32",
        device: str = "cpu",
        cache_dir: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.n_trainable_layers = n_trainable_layers
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.concept_weight = concept_weight
        self.concept_kinds = concept_kinds
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.n_splits = n_splits
        self.dtype = dtype
        self.device = device
        self.cache_dir = cache_dir
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        concepts: Any = None,
        concept_sample_weight: Any = None,
    ) -> ConceptEncoder:
        """Train the encoder.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows. None is 1.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            Annotations, plain or soft, as for :class:`ConceptBottleneckClassifier`;
            NaN, None and ``pandas.NA`` mean *not annotated*. Without `concepts` the
            encoder learns the label alone.
        concept_sample_weight : array-like of shape (n_samples, n_concepts), \
                default=None
            Non-negative weights of the annotations, which multiply `sample_weight`.
            None is 1.

        Returns
        -------
        self : ConceptEncoder
            The fitted encoder.

        Raises
        ------
        TypeError, ValueError
            If texts, labels, annotations or weights cannot be used, if there are too
            few different texts, if the model has too few layers or needs a prompt, if
            its last layers cannot be trained alone, or if `learning_rate` is so large
            that training diverges.
        OSError
            If the model cannot be found, downloaded or loaded.
        MemoryError
            If there is not enough memory; the message says what to lower.

        Warns
        -----
        TruncatedTextWarning
            If texts are longer than the model reads.
        ConstantConceptWarning, ManyValuesWarning
            As for :class:`ConceptBottleneckClassifier`.
        """
        rows = self._read(X, y, sample_weight, concepts, concept_sample_weight)
        self._train(rows, out_of_fold=False)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit_transform(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        concepts: Any = None,
        concept_sample_weight: Any = None,
    ) -> np.ndarray:
        """Train the encoder, and return vectors of the training rows out of fold.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            As for `fit`.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            As for `fit`.
        concept_sample_weight : array-like of shape (n_samples, n_concepts), \
                default=None
            As for `fit`.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features), dtype float32
            The vector of each row by an encoder that was not trained on it. With
            ``n_splits=None``, by the encoder that `transform` uses.

        Raises
        ------
        TypeError, ValueError, OSError, MemoryError
            As for `fit`; also if there are fewer different texts than `n_splits`.
        """
        rows = self._read(X, y, sample_weight, concepts, concept_sample_weight)
        vectors = self._train(rows, out_of_fold=self.n_splits is not None)
        return self.transform(X) if vectors is None else vectors

    def transform(self, X: Any) -> np.ndarray:
        """Embed texts with the trained encoder.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features), dtype float32
            One row per text.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.
        TypeError, ValueError, OSError, DataFileError
            As for :class:`SentenceEmbedder`; also if the files of the model are not
            those that it had in `fit`.

        Warns
        -----
        TruncatedTextWarning
            If texts are longer than the model reads.
        """
        check_is_fitted(self)
        return self._embedder().transform(X)

    def save_encoder(self, folder: str | os.PathLike[str]) -> None:
        """Write the trained model as a folder of sentence-transformers.

        ``SentenceEmbedder(folder, layers=None)`` then gives the same vectors, and so do
        other programs. Weights are written as safetensors.

        Parameters
        ----------
        folder : str or path-like
            A new folder.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.
        FileExistsError
            If the folder exists.
        OSError
            If it cannot be written, or the model that was trained is not here.
        """
        check_is_fitted(self)
        source = self._embedder().checked_folder()
        write_model(source, self.weights_, Path(folder).expanduser(), self.verbose)

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        concepts: Any,
        concept_sample_weight: Any,
    ) -> _Rows:
        """Check the arguments of a fit."""
        check_row_order(
            X=X,
            y=y,
            sample_weight=sample_weight,
            concepts=concepts,
            concept_sample_weight=concept_sample_weight,
        )
        texts = as_texts(X)
        if not texts:
            raise ValueError("X has no rows; give texts to train on.")
        y = check_labels(y, len(texts), warn=True)
        weights = check_weights(sample_weight, texts)
        annotations = Annotations.read(concepts, concept_sample_weight, len(texts))
        codes, sizes = np.empty((len(texts), 0)), []
        own = codes
        shares: Shares = {}
        if annotations is not None:
            schema, coded = learn(annotations, weights, self.concept_kinds)
            codes, shares = coded
            own = annotations.weights * weights[:, None]
            sizes = [1 if known is None else len(known) for known in schema.classes]
        counted = np.flatnonzero(weights)
        classes, labels = np.unique(y[counted], return_inverse=True)
        if len(classes) < 2:
            with_weight = " with weight" if len(counted) < len(texts) else ""
            raise ValueError(
                f"y needs at least 2 classes, but the {how_many(len(counted), 'row')}"
                f"{with_weight} have only one class: {classes.tolist()[0]!r}."
            )
        weights = np.column_stack([weights, np.where(np.isnan(codes), 0.0, own)])
        return _Rows(
            texts,
            counted,
            (len(classes), *sizes),
            np.column_stack([labels, codes[counted]]),
            weights[counted],
            shares,
        )

    def _train(self, rows: _Rows, out_of_fold: bool) -> np.ndarray | None:
        """Train on all rows; return their vectors out of fold if asked for."""
        from .layers import LastLayers

        rng = check_random_state(self.random_state)
        apart = _Parts(rows, rng)
        seeds = rng.randint(2**31, size=3)
        held_out = None
        if self.validation_fraction is not None:
            n_parts = round(1 / self.validation_fraction)
            held_out = apart.deal(n_parts, "validation_fraction") == 0
        folds = apart.deal(self.n_splits, "n_splits") if out_of_fold else None
        folder = find_model(self.model, self.verbose)
        model = self._load(folder)
        dtype = resolve_precision(self.dtype, model.device.type, self.device)
        texts = [rows.texts[row] for row in rows.counted]
        with (
            self._memory(),
            LastLayers(model, texts, self.n_trainable_layers, dtype) as layers,
        ):
            warn_truncated(layers.limits, TunedEmbedder._if_cut)
            self._check_memory(layers)
            run = _Run(self, layers, rows.targets(self.concept_weight), seeds)
            run.prepare()
            self.n_epochs_ = run.find_epochs(held_out)
            own = run.final(self.n_epochs_)
            self.weights_ = {n: w.cpu().numpy() for n, w in layers.weights().items()}
            self.model_fingerprint_ = fingerprint(model_files(folder))
            self._n_features_out = own.shape[1]
            if folds is None:
                return None
            return self._in_place(rows, run.out_of_fold(folds, own))

    def _load(self, folder: Path) -> SentenceTransformer:
        """Return the model that is trained, if it can be."""
        device = resolve_device(self.device)
        model = load_model(folder, device, "float32", self.verbose)
        if not Encoder(model).reads_tokens:
            raise ValueError(
                f"model={str(self.model)!r} cannot be fine-tuned: it is no "
                "transformer with a fast tokenizer, or puts a prompt before each text. "
                "Use another model."
            )
        return model

    def _in_place(self, rows: _Rows, vectors: np.ndarray) -> np.ndarray:
        """Return vectors of all rows, given those of the rows with weight."""
        found = np.empty((len(rows.texts), vectors.shape[1]), np.float32)
        found[rows.counted] = vectors
        others = np.setdiff1d(np.arange(len(rows.texts)), rows.counted)
        if len(others):
            found[others] = self.transform([rows.texts[row] for row in others])
        return found

    def _embedder(self) -> TunedEmbedder:
        """Return the embedder with the learned weights; it keeps the loaded model."""
        params = {
            "device": self.device,
            "cache_dir": self.cache_dir,
            "verbose": self.verbose,
        }
        self._validate_params()
        key = (self.model, self.model_fingerprint_, id(self.weights_))
        if self.__dict__.get("_made", (None,))[0] != key:
            embedder = TunedEmbedder(
                self.model, trained_on=self.model_fingerprint_, weights=self.weights_
            )
            self._made = (key, embedder)
        return self._made[1].set_params(**params)

    def _check_memory(self, layers: LastLayers) -> None:
        free = available_memory()
        if layers.device.type == "cpu" and free is not None and layers.n_bytes > free:
            raise MemoryError(
                f"Training needs about {layers.n_bytes / 1e9:.1f} GB beside the model, "
                f"and {free / 1e9:.1f} GB are free. Give fewer or shorter texts, a "
                "smaller model, or lower n_trainable_layers."
            )

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Say what to lower if memory does not suffice."""
        import torch

        try:
            yield
        except (MemoryError, RuntimeError) as error:
            is_ours = isinstance(error, MemoryError) and str(error)
            of_torch = isinstance(error, torch.OutOfMemoryError)
            on_cpu = "DefaultCPUAllocator" in str(error)
            if is_ours or not (of_torch or on_cpu or isinstance(error, MemoryError)):
                raise
            raise MemoryError(
                f"Training ran out of memory on device={self.device!r}. Lower "
                f"batch_size={self.batch_size} or n_trainable_layers="
                f"{self.n_trainable_layers}, or give shorter texts or a smaller model."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_made"}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class _Rows(NamedTuple):
    """Checked arguments of a fit.

    Attributes
    ----------
    texts : list of str
        Of all rows.
    counted : ndarray of int
        The rows with weight; what follows is of them.
    sizes : tuple of int
        Number of values of the label and of each concept; 1 for numbers.
    codes : ndarray of shape (n_counted, 1 + n_concepts)
        NaN where not annotated.
    weights : ndarray of shape (n_counted, 1 + n_concepts)
        0 where not annotated.
    shares : Shares
        What codes of soft annotations stand for.
    """

    texts: list[str]
    counted: np.ndarray
    sizes: tuple[int, ...]
    codes: np.ndarray
    weights: np.ndarray
    shares: Shares

    def targets(self, concept_weight: float) -> Targets:
        """Return what heads learn of the rows with weight: means over rows are 1."""
        from .training import Targets

        codes, weights = self.codes.copy(), self.weights.copy()
        for j, size in enumerate(self.sizes):
            known = weights[:, j] > 0
            # A constant has no loss: one value by name, or one number.
            if size == 1 and np.ptp(codes[known, j]) > 0 and j:
                mean = np.average(codes[known, j], weights=weights[known, j])
                codes[:, j] = (codes[:, j] - mean) / np.std(codes[known, j])
            elif size == 1:
                weights[:, j] = 0
            codes[weights[:, j] == 0, j] = 0
        weights[:, 0] /= weights[:, 0].mean()
        total = weights[:, 1:].sum()
        if total > 0:
            weights[:, 1:] *= concept_weight * len(weights) / total
        return Targets(self.sizes, codes, weights, self.shares)


class _Parts:
    """Rows with weight in parts alike in labels; equal texts are in one part."""

    def __init__(self, rows: _Rows, rng: np.random.RandomState) -> None:
        texts = [rows.texts[row] for row in rows.counted]
        self._labels = rows.codes[:, 0]
        places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        self._of_row = np.array([places[text] for text in texts])
        self._first = np.unique(self._of_row, return_index=True)[1]
        self._rng = rng

    def deal(self, n_parts: int | None, name: str) -> np.ndarray:
        """Return the part of each row, from 0 on."""
        assert n_parts is not None
        n_texts = len(self._first)
        if n_texts < n_parts:
            is_splits = name == "n_splits"
            instead = "lower n_splits" if is_splits else f"use {name}=None"
            raise ValueError(
                f"X has {how_many(n_texts, 'different text')} with weight, too few for "
                f"{name}, which makes {n_parts} parts of them. Give more rows, or "
                f"{instead}."
            )
        order = np.lexsort([self._rng.permutation(n_texts), self._labels[self._first]])
        parts = np.empty(n_texts, dtype=int)
        parts[order] = np.arange(n_texts) % n_parts
        of_rows: np.ndarray = parts[self._of_row]
        return of_rows


class _Run:
    """The trainings of one fit, on the same kept outputs."""

    def __init__(
        self,
        encoder: ConceptEncoder,
        layers: LastLayers,
        targets: Targets,
        seeds: np.ndarray,
    ) -> None:
        from .training import Settings

        self._layers, self._targets, self._seeds = layers, targets, seeds
        self._settings = Settings(
            encoder.epochs, encoder.learning_rate, encoder.batch_size, encoder.patience
        )
        self._progress = Progress(encoder.verbose)
        self._rows = np.arange(len(layers.lengths))

    def prepare(self) -> None:
        """Compute what all trainings share."""
        with self._progress.stage("Reading texts", len(self._rows), "texts") as advance:
            self._layers.prepare(advance)

    def find_epochs(self, held_out: np.ndarray | None) -> int:
        """Return after how many epochs the loss on rows held out is least."""
        if held_out is None:
            return self._settings.epochs
        rows = self._rows[~held_out]
        total = len(rows) * self._settings.epochs
        with self._progress.stage("Choosing epochs", total, "texts") as advance:
            return self._fit(rows, 0, advance, held_out=self._rows[held_out].tolist())

    def final(self, n_epochs: int) -> np.ndarray:
        """Train on all rows, and return their vectors."""
        total = len(self._rows) * n_epochs
        with self._progress.stage("Training", total, "texts") as advance:
            self._fit(self._rows, 1, advance, n_epochs=n_epochs)
        self._n_epochs = n_epochs
        return self._layers.embed(self._rows.tolist())

    def out_of_fold(self, folds: np.ndarray, final: np.ndarray) -> np.ndarray:
        """Return each row's vector by an encoder of the other parts, turned to `final`.

        Parameters
        ----------
        folds : ndarray of int
            The part of each row.
        final : ndarray of shape (n_samples, n_features)
            The vectors of the encoder that was trained on all rows.
        """
        vectors = np.empty_like(final)
        n_folds = folds.max() + 1
        total = len(self._rows) * (n_folds - 1) * self._n_epochs
        with self._progress.stage("Training out of fold", total, "texts") as advance:
            for fold in range(n_folds):
                is_own = folds == fold
                self._fit(self._rows[~is_own], 2, advance, n_epochs=self._n_epochs)
                found = self._layers.embed(self._rows.tolist())
                turn = _turn(found[~is_own], final[~is_own])
                vectors[is_own] = found[is_own] @ turn
        return vectors

    def _fit(self, rows: np.ndarray, stage: int, advance: Any, **options: Any) -> int:
        from .training import train

        seed = int(self._seeds[stage])
        return train(
            self._layers,
            self._targets,
            rows.tolist(),
            self._settings,
            seed,
            advance,
            **options,
        )


def _turn(vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix that brings vectors nearest to others.

    Directions that few vectors have are kept as they are.
    """
    vectors, to = vectors.astype(np.float64), to.astype(np.float64)
    stays = _STAYS * np.linalg.norm(to) / np.sqrt(to.shape[1])
    same = stays * np.eye(to.shape[1])
    turn: np.ndarray = orthogonal_procrustes(
        np.vstack([vectors, same]), np.vstack([to, same])
    )[0]
    return turn
