"""The log-loss of single rows."""

import numpy as np


def log_losses(proba: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the log-loss of every row (nats), clipped as scikit-learn's is.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
    codes : ndarray of shape (n_samples,)
        The columns of the true labels.
    """
    own = proba[np.arange(len(codes)), codes]
    losses: np.ndarray = -np.log(np.clip(own, np.finfo(proba.dtype).eps, 1.0))
    return losses
