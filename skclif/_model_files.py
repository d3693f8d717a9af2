"""Fitted concept bottlenecks as files that hold numbers and words, and no code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from ._bottleneck import ConceptBottleneckClassifier
from ._containers import pack, unpack
from ._embedding import SentenceEmbedder
from ._embedding_models import find_model, fingerprint, model_files
from ._files import write_whole
from .exceptions import ModelFileError

FORMAT_VERSION = 1
_DTYPES = {"str": str, "int": np.int64, "float": np.float64, "bool": bool}
_KINDS = {"U": "str", "i": "int", "u": "int", "f": "float", "b": "bool"}
_PLACES = ("device", "class_weight")  # parameters that are not kept, or kept as numbers
_MOST_CHARACTERS = 10_000_000
_OF_EMBEDDER = ("model", "dtype", "normalize", "long_text")


@dataclass(frozen=True)
class StoredModel:
    """What a model file holds.

    Attributes
    ----------
    classifier : ConceptBottleneckClassifier
        Fitted.
    embedder : dict or None
        Parameters of the :class:`SentenceEmbedder` before it, and the fingerprint of
        its model's files; None if the classifier takes features.
    skclif_version : str
        What wrote the file.
    """

    classifier: ConceptBottleneckClassifier
    embedder: dict[str, Any] | None
    skclif_version: str


def save_model(estimator, path: str | os.PathLike[str]) -> None:
    """Save a fitted concept bottleneck in a file that holds no code.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or Pipeline
        Fitted; or a pipeline of a :class:`SentenceEmbedder` and one.
    path : str or path-like
        The file; an earlier one is replaced, whole.

    Raises
    ------
    TypeError
        If it is something else, or a class or value is no string, number or bool.
    NotFittedError
        If it is not fitted.

    See Also
    --------
    load_model : The way back.

    Notes
    -----
    The file is safetensors: the arrays of the model, and JSON about them in the header.
    Of an embedder, its parameters and the SHA-256 of its model's files are kept, not
    its weights. Where to compute is not kept.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclif import ConceptBottleneckClassifier, load_model, save_model
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], ["no", "yes", "yes"]
    >>> clf = ConceptBottleneckClassifier().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(clf, Path(folder, "model.safetensors"))
    ...     loaded = load_model(Path(folder, "model.safetensors"))
    >>> loaded.predict(X).tolist()
    ['yes', 'yes', 'yes']
    """
    classifier, embedder = estimator, None
    if isinstance(estimator, Pipeline) and len(estimator) == 2:
        embedder, classifier = estimator[0], estimator[1]
    if not isinstance(classifier, ConceptBottleneckClassifier) or not isinstance(
        embedder, SentenceEmbedder | None
    ):
        raise TypeError(
            "save_model takes a ConceptBottleneckClassifier, or a pipeline of a "
            f"SentenceEmbedder and one, got {type(estimator).__name__}. For others use "
            "skops."
        )
    about = None if embedder is None else describe_embedder(embedder)
    write_whole(Path(path), model_bytes(classifier, about))


def load_model(path: str | os.PathLike[str], *, model=None):
    """Load what `save_model` saved, without running code from the file.

    Parameters
    ----------
    path : str or path-like
        The file.
    model : str or path-like, default=None
        Where the embedding model is now; None for what it was called when the file was
        written. It has to be the same: its files are compared.

    Returns
    -------
    estimator : ConceptBottleneckClassifier or Pipeline
        Fitted, predicting bit for bit what was saved predicted.

    Raises
    ------
    ModelFileError
        If the file is damaged, is something else, has another format, or belongs to
        another embedding model.
    FileNotFoundError
        If there is none.
    OSError
        If the embedding model is not to be had.

    See Also
    --------
    save_model : The way there.
    """
    stored = read_model(path)
    if stored.embedder is None:
        if model is not None:
            raise ModelFileError(
                f"{path} holds a model of features, without an embedder; leave out "
                "model=."
            )
        return stored.classifier
    return make_pipeline(embedder_of(stored.embedder, model), stored.classifier)


def describe_embedder(embedder: SentenceEmbedder) -> dict[str, Any]:
    """Return what has to be the same for the same vectors."""
    params = embedder.get_params()
    params["model"] = str(params["model"])
    about = {name: params[name] for name in _OF_EMBEDDER}
    folder = find_model(embedder.model)
    return {**about, "fingerprint": fingerprint(model_files(folder))}


def embedder_of(about: dict[str, Any], model=None, **params) -> SentenceEmbedder:
    """Return the embedder that was described, seen to be the same.

    Parameters
    ----------
    about : dict
        What `describe_embedder` returned.
    model : str or path-like, default=None
        Where its model is now; None for what it was called.
    **params
        Other parameters of :class:`SentenceEmbedder`.
    """
    known = {name: about[name] for name in _OF_EMBEDDER}
    known["model"] = about["model"] if model is None else model
    try:
        folder = find_model(known["model"])
    except NotADirectoryError as error:
        raise OSError(
            f"The embedding model {known['model']!r} is a folder that is not here. Say "
            "where it is now with model= (on the command line --model)."
        ) from error
    if fingerprint(model_files(folder)) != about["fingerprint"]:
        raise ModelFileError(
            f"The embedding model {str(known['model'])!r} is not the one that this was "
            "made with: its files differ, and so would every vector. Give that one."
        )
    return SentenceEmbedder(**known, **params)


def model_bytes(classifier, embedder: dict[str, Any] | None = None) -> bytes:
    """Return the content of a model file."""
    check_is_fitted(classifier)
    arrays = {"coef": classifier.coef_, "intercept": classifier.intercept_}
    for j in range(classifier.n_concepts_):
        arrays[f"concept_coef.{j}"] = classifier.concept_coef_[j]
        arrays[f"concept_intercept.{j}"] = classifier.concept_intercept_[j]
    arrays["class_weight"] = classifier.class_weight_
    params = classifier.get_params()
    about = {
        "parameters": {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in params.items()
            if name not in _PLACES
        },
        "balanced": params["class_weight"] == "balanced",
        "classes": _values(classifier.classes_),
        "concepts": [
            {"name": name, "values": None if values is None else _values(values)}
            for name, values in zip(
                classifier.concept_names_in_, classifier.concept_classes_, strict=True
            )
        ],
        "concepts_as_frame": classifier._concepts_as_frame,
        "feature_names": getattr(classifier, "feature_names_in_", np.empty(0)).tolist(),
        "n_features": classifier.n_features_in_,
        "n_iter": classifier.n_iter_,
        "embedder": embedder,
    }
    return pack("model", FORMAT_VERSION, arrays, about)


def read_model(path: str | os.PathLike[str]) -> StoredModel:
    """Return what a model file holds, after seeing that it can be a model."""
    path = Path(path)
    arrays, about, version = unpack(path, "model", FORMAT_VERSION)
    try:
        classifier = _classifier(arrays, about)
        embedder = about["embedder"]
        if embedder is not None:
            embedder = {n: embedder[n] for n in (*_OF_EMBEDDER, "fingerprint")}
            params = {n: embedder[n] for n in _OF_EMBEDDER}
            SentenceEmbedder(**params)._validate_params()
    # Whatever is not as it was written: a name that lacks, another type, another shape.
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"{path} does not hold a model that can be used: its parts do not fit "
            f"({type(error).__name__}: {error})."
        ) from error
    return StoredModel(classifier, embedder, version)


def _classifier(arrays, about) -> ConceptBottleneckClassifier:
    params = dict(about["parameters"])
    clf = ConceptBottleneckClassifier(**params)
    clf._validate_params()
    clf.classes_ = _array(about["classes"])
    if about["balanced"]:
        clf.class_weight = "balanced"
    names, n_features = [], _whole(about["n_features"])
    clf.concept_classes_, clf.concept_coef_, clf.concept_intercept_ = [], [], []
    n_activations = 0
    for j, concept in enumerate(about["concepts"]):
        names.append(str(concept["name"]))
        values = concept["values"]
        values = None if values is None else _array(values)
        n_scores = 1 if values is None else _n_scores(values)
        clf.concept_classes_.append(values)
        clf.concept_coef_.append(
            _numbers(arrays.pop(f"concept_coef.{j}"), n_scores, n_features)
        )
        clf.concept_intercept_.append(
            _numbers(arrays.pop(f"concept_intercept.{j}"), n_scores)
        )
        n_activations += n_scores
    clf.concept_names_in_ = np.asarray(names, dtype=object)
    clf.n_concepts_ = len(names)
    n_inputs = n_activations if names else n_features
    clf.coef_ = _numbers(arrays.pop("coef"), _n_scores(clf.classes_), n_inputs)
    clf.intercept_ = _numbers(arrays.pop("intercept"), _n_scores(clf.classes_))
    clf.class_weight_ = _numbers(arrays.pop("class_weight"), len(clf.classes_))
    if not about["balanced"] and (clf.class_weight_ != 1).any():
        clf.class_weight = dict(
            zip(clf.classes_.tolist(), clf.class_weight_.tolist(), strict=True)
        )
    if arrays:
        raise ValueError(f"{min(arrays)!r} belongs to no part")
    clf.n_features_in_, clf.n_iter_ = n_features, _whole(about["n_iter"])
    if about["feature_names"]:
        named = [str(name) for name in about["feature_names"]]
        if len(named) != n_features:
            raise ValueError(f"{len(named)} names of {n_features} features")
        clf.feature_names_in_ = np.asarray(named, dtype=object)
    clf._concepts_as_frame = bool(about["concepts_as_frame"])
    return clf


def _values(values: np.ndarray) -> dict[str, Any]:
    """Return classes or values of a concept as JSON has them."""
    listed = values.tolist()
    kind = _KINDS.get(values.dtype.kind, "object")
    if kind == "object" and not all(
        isinstance(value, str | int | float) for value in listed
    ):
        raise TypeError(
            f"A model with the values {listed} cannot be saved: they must be strings, "
            "numbers or bools."
        )
    return {"kind": kind, "values": listed}


def _array(about: dict[str, Any]) -> np.ndarray:
    kind, listed = about["kind"], list(about["values"])
    known = {"object": str | int | float, "float": float, "str": str}
    known |= {"int": int, "bool": bool}
    if not all(isinstance(value, known[kind]) for value in listed):
        raise TypeError(f"values that are not of kind {kind!r}")
    if len(listed) < 2 or sorted(set(listed)) != listed:
        raise ValueError("values that are not two or more different ones in order")
    if kind == "str" and len(listed) * max(map(len, listed)) > _MOST_CHARACTERS:
        raise ValueError("values of such number and length")  # NumPy pads all to one
    return np.asarray(listed, dtype=_DTYPES.get(kind, object))


def _n_scores(values) -> int:
    return 1 if len(values) == 2 else len(values)


def _numbers(array: np.ndarray, *shape: int) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(f"an array of shape {array.shape} in place of {shape}")
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError("numbers that are not finite, or not in double precision")
    return array


def _whole(value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} in place of a whole number")
    return value
