"""Fitted concept bottlenecks as files that hold numbers and words, but no code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import isfinite
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from .._inputs.schema import ConceptSchema, n_activations
from .._storage.containers import pack, unpack
from .._storage.files import write_whole
from .._text.embedder import SentenceEmbedder
from .._text.finetune import ConceptEncoder
from .._text.weights import find_model, fingerprint, model_files
from ..exceptions import ModelFileError
from .bottleneck import ConceptBottleneckClassifier
from .encoders import put_together, take_apart
from .label_heads import read_constraints
from .older import UNORDERED

FORMAT_VERSION = 2
# Of files with an encoder that was trained, which older versions would leave out.
_WITH_ENCODER = 3
_READABLE = (1, FORMAT_VERSION, _WITH_ENCODER)
_DTYPES = {"str": str, "int": np.int64, "uint": np.uint64, "float": np.float64}
_DTYPES |= {"bool": bool}
_KINDS = {"U": "str", "i": "int", "u": "uint", "f": "float", "b": "bool"}
# Parameters that are not kept (device, verbose), or are kept as numbers (class_weight).
_PLACES = ("device", "class_weight", "verbose")
_MOST_CHARACTERS = 10_000_000
_OF_EMBEDDER = ("model", "dtype", "normalize", "long_text")
# Files that do not name these are older than they are, and mean this.
_READOUT = {"layers": None, "layer_pooling": "mean", "pooling": "mean"}


@dataclass(frozen=True)
class StoredModel:
    """What a model file holds.

    Attributes
    ----------
    classifier : ConceptBottleneckClassifier
        Fitted.
    embedder : dict or None
        Parameters of the :class:`SentenceEmbedder` before the classifier, and the
        fingerprint of the files of its model. None if the classifier takes features.
    skclif_version : str
        The version of skclif that wrote the file.
    encoder : ConceptEncoder or None
        The fitted encoder before the classifier, if there is one; then `embedder` is
        None.
    encoder_place : dict or None
        Where the model was that the encoder was trained from, and the fingerprint of
        its files.
    """

    classifier: ConceptBottleneckClassifier
    embedder: dict[str, Any] | None
    skclif_version: str
    encoder: ConceptEncoder | None = None
    encoder_place: dict[str, Any] | None = None

    def transformer(
        self, model: str | os.PathLike[str] | None = None, **params: Any
    ) -> SentenceEmbedder | ConceptEncoder | None:
        """Return what embeds texts for the classifier, after a check of its files.

        Parameters
        ----------
        model : str or path-like, default=None
            Name or folder of the embedding model. None is the name in the file.
        **params
            Other parameters, such as `device` and `verbose`.
        """
        if self.encoder is not None:
            assert self.encoder_place is not None
            place = _checked_place(self.encoder_place, model)
            return self.encoder.set_params(model=place, **params)
        if self.embedder is not None:
            return embedder_of(self.embedder, model, **params)
        return None


def save_model(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted concept bottleneck in a file that holds no code.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or Pipeline
        A fitted classifier, or a fitted pipeline of a :class:`SentenceEmbedder` or a
        :class:`ConceptEncoder` and a classifier.
    path : str or path-like
        The file. An existing file is replaced as a whole.

    Raises
    ------
    TypeError
        If the estimator is something else, or a class or a value of a concept is not a
        string, number or bool.
    NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    load_model : Load the file.

    Notes
    -----
    The file has the format safetensors: the arrays of the model, and a header in JSON.
    It keeps the parameters of an embedder and the SHA-256 of its model's files, but not
    its weights. Of a :class:`ConceptEncoder` it keeps the weights that were learned,
    and those of the model below them not. It does not keep `device`.

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
    ['no', 'yes', 'yes']
    """
    classifier, embedder = estimator, None
    if isinstance(estimator, Pipeline) and len(estimator) == 2:
        embedder, classifier = estimator[0], estimator[1]
    # What a subclass adds would be lost.
    if type(classifier) is not ConceptBottleneckClassifier or not isinstance(
        embedder, SentenceEmbedder | ConceptEncoder | None
    ):
        raise TypeError(
            "save_model takes a ConceptBottleneckClassifier, or a pipeline of a "
            "SentenceEmbedder or a ConceptEncoder and a ConceptBottleneckClassifier, "
            f"got {_in_words(estimator)}"
        )
    if isinstance(embedder, ConceptEncoder):
        content = model_bytes(classifier, encoder=embedder)
    else:
        about = None if embedder is None else describe_embedder(embedder)
        content = model_bytes(classifier, about)
    write_whole(Path(path), content)


save_model.__module__ = "skclif"


def _in_words(estimator: Any) -> str:
    """Name what save_model does not take, and what to do instead."""
    if not isinstance(estimator, Pipeline):
        return f"{type(estimator).__name__}. Use skops for other estimators."
    steps = " and ".join(
        step if isinstance(step, str) else type(step).__name__
        for _, step in estimator.steps
    )
    if type(estimator[-1]) is not ConceptBottleneckClassifier:
        return f"a pipeline of {steps}. Use skops for other estimators."
    return (
        f"a pipeline of {steps}. Save its last step, pipeline[-1]; steps before it "
        "are kept in another way, for example with skops."
    )


def load_model(
    path: str | os.PathLike[str], *, model: str | os.PathLike[str] | None = None
) -> ConceptBottleneckClassifier | Pipeline:
    """Load what `save_model` saved, without running code from the file.

    Parameters
    ----------
    path : str or path-like
        The file.
    model : str or path-like, default=None
        Name or folder of the embedding model. None is the name that it had when the
        file was written. It must be the same model: its files are compared.

    Returns
    -------
    estimator : ConceptBottleneckClassifier or Pipeline
        The fitted estimator. It predicts exactly what the saved estimator predicted.

    Raises
    ------
    ModelFileError
        If the file is damaged, is something else, has another format, or belongs to
        another embedding model.
    FileNotFoundError
        If the file does not exist.
    OSError
        If the embedding model cannot be found or downloaded.

    See Also
    --------
    save_model : Save a model.
    """
    stored = read_model(path)
    transformer = stored.transformer(model)
    if transformer is None:
        if model is not None:
            raise ModelFileError(
                f"{path} holds a model of features, without an embedder; leave out "
                "model=."
            )
        return stored.classifier
    return make_pipeline(transformer, stored.classifier)


load_model.__module__ = "skclif"


def describe_embedder(embedder: SentenceEmbedder) -> dict[str, Any]:
    """Return everything that vectors depend on."""
    params = embedder.get_params()
    params["model"] = str(params["model"])
    params["dtype"] = embedder._resolved_dtype
    about = {name: _plain(params[name]) for name in _OF_EMBEDDER}
    about |= {name: _plain(params[name]) for name in _READOUT}
    folder = find_model(embedder.model)
    return {
        **about,
        "is_folder": Path(params["model"]).expanduser().is_dir(),
        "fingerprint": fingerprint(model_files(folder)),
    }


def embedder_of(
    about: dict[str, Any],
    model: str | os.PathLike[str] | None = None,
    **params: Any,
) -> SentenceEmbedder:
    """Return the embedder that was described, after a check of its files.

    Parameters
    ----------
    about : dict
        What `describe_embedder` returned.
    model : str or path-like, default=None
        Name or folder of its model. None is the name in the description.
    **params
        Other parameters of :class:`SentenceEmbedder`.
    """
    known = _embedder_params(about)
    known["model"] = _checked_place(about, model)
    return SentenceEmbedder(**known, **params)


def _checked_place(
    about: dict[str, Any], model: str | os.PathLike[str] | None
) -> str | os.PathLike[str]:
    """Return name or folder of a model, if its files are those that were described."""
    place = about["model"] if model is None else model
    if model is None and about["is_folder"] and not Path(place).is_dir():
        raise OSError(
            f"The embedding model {place!r} is a folder that does not exist "
            "here. Give its new place by model= (on the command line --model)."
        )
    if fingerprint(model_files(find_model(place))) != about["fingerprint"]:
        raise ModelFileError(
            f"The embedding model {str(place)!r} is not the model that was "
            "used before: its files differ, so every vector would differ. Give the "
            "model that was used."
        )
    return place


def model_bytes(
    classifier: ConceptBottleneckClassifier,
    embedder: dict[str, Any] | None = None,
    encoder: ConceptEncoder | None = None,
) -> bytes:
    """Return the content of a model file."""
    check_is_fitted(classifier)
    arrays = {"coef": classifier.coef_, "intercept": classifier.intercept_}
    for j in range(classifier.n_concepts_):
        arrays[f"concept_coef.{j}"] = classifier.concept_coef_[j]
        arrays[f"concept_intercept.{j}"] = classifier.concept_intercept_[j]
    arrays["class_weight"] = classifier.class_weight_
    arrays["C"] = np.array([classifier.C_], dtype=float)
    if classifier.residual_coef_ is not None:
        arrays["residual_coef"] = classifier.residual_coef_
        arrays["residual_C"] = np.array([classifier.residual_C_], dtype=float)
    arrays["concept_C"] = classifier.concept_C_
    arrays["intervention_prob"] = np.array([classifier.intervention_prob_])
    if classifier.concept_weight_ is not None:
        arrays["concept_weight"] = np.array([classifier.concept_weight_], dtype=float)
    if classifier._correction is not None:
        arrays["correction"] = classifier._correction
    params = classifier.get_params()
    # Files of models without an order are what they were before there was one.
    left_out = {name for name, default in UNORDERED.items() if params[name] is default}
    left_out |= {"label_head"} if params["label_head"] == "softmax" else set()
    left_out |= {"residual_C"} if params["residual_C"] is None else set()
    has_weight = params["training"] == "joint" or params["concept_weight"] != 1
    left_out |= set() if has_weight else {"concept_weight"}
    left_out |= set(_PLACES)
    about = {
        "parameters": {
            name: _plain(value)
            for name, value in params.items()
            if name not in left_out
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
    if classifier.label_order_ is not None:
        about["label_order"] = _values(classifier.label_order_)["values"]
        about["monotonic_cst"] = _plain_constraints(classifier.monotonic_cst_)
    if classifier.held_concepts_:
        about["held_concepts"] = dict(classifier.held_concepts_)
    if encoder is None:
        return pack("model", FORMAT_VERSION, arrays, about)
    learned, about["encoder"] = take_apart(encoder)
    return pack("model", _WITH_ENCODER, arrays | learned, about)


def read_model(path: str | os.PathLike[str]) -> StoredModel:
    """Return what a model file holds, after a check that it can be a model."""
    path = Path(path)
    content = unpack(path, "model", *_READABLE)
    arrays, about = content.arrays, content.about
    try:
        if content.format_version == 1:
            _upgrade(arrays, about)
        encoder = place = None
        if content.format_version == _WITH_ENCODER:
            place = about["encoder"]
            encoder = put_together(arrays, place)
        classifier = _classifier(arrays, about)
        embedder = about["embedder"]
        if embedder is not None:
            params = _embedder_params(embedder)
            SentenceEmbedder(**params)._check_options()
            places = {name: embedder[name] for name in ("is_folder", "fingerprint")}
            embedder = params | places
    # Anything that differs from what was written: a missing name, a type, a shape.
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ModelFileError(
            f"{path} does not hold a model that can be used: its parts do not fit "
            f"({type(error).__name__}: {error})."
        ) from error
    return StoredModel(classifier, embedder, content.skclif_version, encoder, place)


def _upgrade(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Add, in place, what files of format 1 do not say: it was in the parameters."""
    params, n_concepts = about["parameters"], len(about["concepts"])
    params["intervention_prob"] = None
    arrays["C"] = np.array([params["C"]], dtype=float)
    arrays["concept_C"] = np.full(n_concepts, params["concept_C"], dtype=float)
    is_independent = params["training"] == "independent"
    arrays["intervention_prob"] = np.array([float(is_independent)])


def _classifier(
    arrays: dict[str, np.ndarray], about: dict[str, Any]
) -> ConceptBottleneckClassifier:
    params = dict(about["parameters"])
    clf = ConceptBottleneckClassifier(**params)
    # What a model does not have is not named, as before there was such a thing.
    known = {*params, *UNORDERED, "residual_C", "concept_weight"}
    if known != clf.get_params().keys() - set(_PLACES):
        raise ValueError(f"the parameters {sorted(params)}")
    clf._validate_params()
    _check_padding([about["classes"], *(c["values"] for c in about["concepts"])])
    clf.classes_ = _array(about["classes"])
    if about["balanced"]:
        clf.class_weight = "balanced"
    names, n_features = [], _whole(about["n_features"], least=1)
    clf.concept_classes_, clf.concept_coef_, clf.concept_intercept_ = [], [], []
    n_label_inputs = 0
    for j, concept in enumerate(about["concepts"]):
        names.append(concept["name"])
        values = concept["values"]
        values = None if values is None else _array(values, least=1, is_sorted=False)
        n_scores = 1 if values is None else _n_scores(values)
        clf.concept_classes_.append(values)
        clf.concept_coef_.append(
            _numbers(arrays.pop(f"concept_coef.{j}"), n_scores, n_features)
        )
        clf.concept_intercept_.append(
            _numbers(arrays.pop(f"concept_intercept.{j}"), n_scores)
        )
        n_label_inputs += n_activations(values)
    clf.concept_names_in_ = _names(names)
    clf.n_concepts_ = len(names)
    n_inputs = n_label_inputs if names else n_features
    clf.label_order_, clf.monotonic_cst_ = _rules(about, clf)
    n_scores = n_rows = _n_scores(clf.classes_)
    if clf._is_latent():
        n_rows, n_scores = 1, len(clf.classes_) - 1
    clf.coef_ = _numbers(arrays.pop("coef"), n_rows, n_inputs)
    clf.intercept_ = _numbers(arrays.pop("intercept"), n_scores)
    if clf._is_latent() and (np.diff(clf.intercept_) >= 0).any():
        raise ValueError("thresholds that are not in order")
    clf.class_weight_ = _numbers(arrays.pop("class_weight"), len(clf.classes_))
    if not about["balanced"] and (clf.class_weight_ != 1).any():
        clf.class_weight = dict(
            zip(clf.classes_.tolist(), clf.class_weight_.tolist(), strict=True)
        )
    clf.residual_coef_ = clf.residual_C_ = None
    if "residual_coef" in arrays:
        clf.residual_coef_ = _numbers(arrays.pop("residual_coef"), n_rows, n_features)
        clf.residual_C_ = float(_positive(_numbers(arrays.pop("residual_C"), 1))[0])
    clf.concept_weight_ = None
    if "concept_weight" in arrays:
        weight = _positive(_numbers(arrays.pop("concept_weight"), 1))
        clf.concept_weight_ = float(weight[0])
    clf.C_ = float(_positive(_numbers(arrays.pop("C"), 1))[0])
    clf.concept_C_ = _positive(_numbers(arrays.pop("concept_C"), len(names)))
    prob = float(_numbers(arrays.pop("intervention_prob"), 1)[0])
    if not 0 <= prob <= 1:
        raise ValueError(f"an intervention probability of {prob}")
    clf.intervention_prob_, clf._correction = prob, None
    if "correction" in arrays:
        clf._correction = _numbers(arrays.pop("correction"), 2, 2)
    if arrays:
        raise ValueError(f"{min(arrays)!r} belongs to no part")
    clf.n_features_in_, clf.n_iter_ = n_features, _whole(about["n_iter"])
    if about["feature_names"]:
        clf.feature_names_in_ = _names(about["feature_names"])
        if len(clf.feature_names_in_) != n_features:
            named = len(clf.feature_names_in_)
            raise ValueError(f"{named} names of {n_features} features")
    clf._concepts_as_frame = bool(about["concepts_as_frame"])
    clf.held_concepts_ = _held(about.get("held_concepts", {}), names)
    return clf


def _held(factors: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Return the factors of concepts whose weights are held."""
    for name, factor in factors.items():
        if name not in names or not 0 <= float(factor) < np.inf:
            raise ValueError(f"a factor {factor!r} of concept {name!r}")
    return {name: float(factor) for name, factor in factors.items()}


def _rules(
    about: dict[str, Any], clf: ConceptBottleneckClassifier
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Return the order of labels and the constraints of a model."""
    order, constraints = about.get("label_order"), about.get("monotonic_cst", {})
    if order is None:
        if clf.label_head == "ordinal" or constraints:
            raise ValueError("an ordinal label without an order")
        return None, {}
    listed = clf.classes_.tolist()
    if sorted(order) != listed or not isinstance(constraints, dict):
        raise ValueError("an order of other labels")
    schema = ConceptSchema(
        tuple(clf.concept_names_in_), tuple(clf.concept_classes_), False
    )
    if read_constraints(constraints, schema) != constraints:
        raise ValueError("constraints on other values")
    return clf.classes_[[listed.index(label) for label in order]], constraints


def _embedder_params(about: dict[str, Any]) -> dict[str, Any]:
    known = {name: about[name] for name in _OF_EMBEDDER}
    return known | {name: about.get(name, old) for name, old in _READOUT.items()}


def _plain_constraints(constraints: dict[str, Any]) -> dict[str, Any]:
    """Return constraints in the form that JSON can hold."""
    return {
        name: [_plain(v) for v in listed] if isinstance(listed, list) else listed
        for name, listed in constraints.items()
    }


def _values(values: np.ndarray) -> dict[str, Any]:
    """Return classes or values of a concept in the form that JSON can hold."""
    listed = values.tolist()
    kind = _KINDS.get(values.dtype.kind, "object")
    if values.dtype.kind in "mM" or not all(
        isinstance(value, str | int | float) for value in listed
    ):
        raise TypeError(
            f"A model with the values {listed} cannot be saved: they must be strings, "
            "numbers or bools."
        )
    return {"kind": kind, "values": listed}


def _array(
    about: dict[str, Any], *, least: int = 2, is_sorted: bool = True
) -> np.ndarray:
    """Return classes, which are sorted, or values, which may have their own order."""
    kind, listed = about["kind"], about["values"]
    known = {"object": str | int | float, "float": float, "str": str}
    known |= {"int": int, "uint": int, "bool": bool}
    if not isinstance(listed, list) or not all(
        isinstance(value, known[kind]) for value in listed
    ):
        raise TypeError(f"values that are not of kind {kind!r}")
    if any(isinstance(value, float) and not isfinite(value) for value in listed):
        raise ValueError("values that are not finite")
    in_order = sorted(set(listed))
    if not least <= len(in_order) == len(listed) or (is_sorted and in_order != listed):
        raise ValueError(f"values that are not {least} or more different ones in order")
    return np.asarray(listed, dtype=_DTYPES.get(kind, object))


def _check_padding(several: list[dict[str, Any] | None]) -> None:
    """Refuse strings that would take far more memory than their file does.

    NumPy pads all strings of an array to the length of the longest.
    """
    texts = [a["values"] for a in several if a is not None and a["kind"] == "str"]
    longest = [max((len(v) for v in t if isinstance(v, str)), default=0) for t in texts]
    if sum(map(mul, map(len, texts), longest)) > _MOST_CHARACTERS:
        raise ValueError("values of such number and length")


def _names(listed: list[str]) -> np.ndarray:
    if not isinstance(listed, list) or not all(isinstance(n, str) for n in listed):
        raise TypeError("names that are not strings")
    if len(set(listed)) < len(listed):
        raise ValueError("names that are not different")
    return np.asarray(listed, dtype=object)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _n_scores(values: np.ndarray) -> int:
    return 1 if len(values) <= 2 else len(values)


def _numbers(array: np.ndarray, *shape: int) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(f"an array of shape {array.shape} in place of {shape}")
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError("numbers that are not finite, or not in double precision")
    return array


def _positive(numbers: np.ndarray) -> np.ndarray:
    if not (numbers > 0).all():
        raise ValueError("penalties that are not positive")
    return numbers


def _whole(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TypeError(f"{value!r} in place of a whole number")
    return value
