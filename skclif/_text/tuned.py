"""An embedder with weights of its own in some layers, and where they are put."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._storage.digests import sha256_of
from .embedder import SentenceEmbedder
from .encoder import Encoder
from .weights import (
    find_model,
    fingerprint,
    load_model,
    model_files,
    progress_bars,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TunedEmbedder(SentenceEmbedder):
    """Embed texts with a model some of whose weights were learned.

    Vectors are found in stores and in memory by the files of the model and by these
    weights.

    Parameters
    ----------
    model : str or path-like
        The model that was fine-tuned.
    trained_on : str
        The fingerprint of its files then.
    weights : dict of str to ndarray
        Learned weights, by their names in the model.
    **params
        Other parameters of :class:`SentenceEmbedder`.
    """

    _if_cut = "Use a model that reads longer texts."

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        trained_on: str,
        weights: Mapping[str, np.ndarray],
        **params: Any,
    ) -> None:
        # As they come: the text of a model is read out as it was in training.
        super().__init__(model, layers=None, **params)
        self.trained_on = trained_on
        self.weights = weights
        self._digest = digest_of(weights)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return SentenceEmbedder._get_param_names()

    def checked_folder(self) -> Path:
        """Return the folder of the model, if it is the one that was fine-tuned."""
        folder = find_model(self.model, self.verbose)
        _check_model(self.model, folder, self.trained_on)
        return folder

    def _fingerprint(self, folder: Path) -> str:
        _check_model(self.model, folder, self.trained_on)
        return hashlib.sha256(f"{self.trained_on} {self._digest}".encode()).hexdigest()

    def _identity(self, folder: Path) -> object:
        return model_files(folder), self._digest

    def _load(self, folder: Path, device: Any, dtype: str) -> Encoder:
        _check_model(self.model, folder, self.trained_on)
        model = load_model(folder, device, "float32", self.verbose)
        put_weights(model, self.weights)
        return Encoder(model)


def digest_of(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of weights and their names."""
    return sha256_of(
        (f"{name} {array.dtype.str}", array) for name, array in sorted(weights.items())
    )


def _check_model(model: str | os.PathLike[str], folder: Path, trained_on: str) -> None:
    """Refuse a model that is not the one whose layers were trained."""
    if fingerprint(model_files(folder)) != trained_on:
        raise OSError(
            f"The model {str(model)!r} is not the model that was fine-tuned: its files "
            "differ, so that the learned weights do not fit. Give the model that was "
            "used, or fit again."
        )


def put_weights(model: SentenceTransformer, weights: Mapping[str, np.ndarray]) -> None:
    """Put learned weights into a model.

    Raises
    ------
    ValueError
        If they are not weights of this model.
    """
    import torch

    parameters = dict(model.named_parameters())
    for name, array in weights.items():
        if name not in parameters or parameters[name].shape != array.shape:
            raise ValueError(
                f"The learned weights {name!r} of shape {array.shape} do not fit the "
                "model. Load the file that the encoder was saved in, or fit again."
            )
    with torch.no_grad():
        for name, array in weights.items():
            parameters[name].copy_(torch.from_numpy(np.array(array)))


def write_model(
    source: Path, weights: Mapping[str, np.ndarray], folder: Path, verbose: int
) -> None:
    """Write a model with learned weights into a folder that is new."""
    if folder.exists():
        raise FileExistsError(
            f"folder={str(folder)!r} exists. Give the name of a new folder, or remove "
            "it."
        )
    model = load_model(source, "cpu", "float32", verbose)
    put_weights(model, weights)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with progress_bars(verbose):
                # Without a card, which would be written with the help of the network.
                model.save_pretrained(str(draft / "model"), create_model_card=False)
            (draft / "model").replace(folder)
        finally:
            shutil.rmtree(draft)
    except OSError as error:
        raise OSError(
            f"folder={str(folder)!r} cannot be written ({error}). Give the name of a "
            "new folder where you may write and there is room."
        ) from error
