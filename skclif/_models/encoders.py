"""Trained encoders as arrays and words of a model file."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._text.finetune import ConceptEncoder

_PREFIX = "encoder."
# Parameters that are not kept: where to compute, what to show, and a generator.
_PLACES = ("device", "cache_dir", "verbose", "model")


def take_apart(encoder: ConceptEncoder) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the learned weights, and everything else that vectors depend on."""
    check_is_fitted(encoder)
    params = {n: p for n, p in encoder.get_params().items() if n not in _PLACES}
    if not isinstance(params["random_state"], Integral):
        params["random_state"] = None
    about = {
        "model": str(encoder.model),
        "is_folder": Path(encoder.model).expanduser().is_dir(),
        "fingerprint": encoder.model_fingerprint_,
        "n_epochs": encoder.n_epochs_,
        "n_features": encoder._n_features_out,
        "parameters": {name: _plain(value) for name, value in params.items()},
    }
    return {f"{_PREFIX}{n}": array for n, array in encoder.weights_.items()}, about


def put_together(
    arrays: dict[str, np.ndarray], about: dict[str, Any]
) -> ConceptEncoder:
    """Return a fitted encoder; its arrays are taken out of `arrays`.

    Raises
    ------
    LookupError, TypeError, ValueError
        If the parts are not those of an encoder.
    """
    encoder = ConceptEncoder(about["model"], **about["parameters"])
    if encoder.get_params().keys() != {*about["parameters"], *_PLACES}:
        raise ValueError(f"the parameters {sorted(about['parameters'])}")
    encoder._validate_params()
    names = [name for name in arrays if name.startswith(_PREFIX)]
    weights = {name.removeprefix(_PREFIX): arrays.pop(name) for name in names}
    for name, array in weights.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"weights {name!r} that are not finite, or not in float32")
    for name in ("n_epochs", "n_features"):
        if type(about[name]) is not int or about[name] < 1:
            raise TypeError(f"{about[name]!r} in place of a whole number")
    if not weights or not isinstance(about["fingerprint"], str):
        raise ValueError("an encoder without weights, or without its model")
    encoder.weights_ = weights
    encoder.n_epochs_ = about["n_epochs"]
    encoder._n_features_out = about["n_features"]
    encoder.model_fingerprint_ = about["fingerprint"]
    return encoder


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
