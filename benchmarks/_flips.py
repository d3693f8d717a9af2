"""The smallest of all sets of a few rows whose removal changes a prediction.

It takes nothing from skclif: all sets are solved together by Newton steps with dense
Hessians, both stages one after the other.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.linalg import helmert

_STEPS, _GRADIENT = 100, 1e-10
N_ROWS, N_FEATURES, MAX_SIZE = 30, 4, 3
_LEADS = 0.02, 0.5  # nats; of the predicted class, before anything is removed


@dataclass(frozen=True)
class Case:
    """Training rows, and the row whose prediction is to change.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
    concepts : ndarray of shape (n_rows, n_concepts)
        0 or 1.
    y : ndarray of shape (n_rows,)
        0, 1 and so on.
    x : ndarray of shape (1, n_features)
    C : float
    share : float
        Weight of the rows at their annotations in the label head.
    """

    X: np.ndarray
    concepts: np.ndarray
    y: np.ndarray
    x: np.ndarray
    C: float = 1.0
    share: float = 0.4

    @classmethod
    def draw(cls, seed, n_rows=N_ROWS):
        """Return a case in which the prediction is not sure."""
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n_rows, N_FEATURES))
        concepts = (X[:, :2] + 0.7 * rng.normal(size=(n_rows, 2)) > 0).astype(int)
        score = X[:, 0] + X[:, 1] + 0.7 * rng.normal(size=n_rows)
        edges = [-0.6, 0.6] if seed % 2 else [0.0]
        y = np.digitize(score, edges)
        rows = rng.normal(size=(100, N_FEATURES))
        lead = _lead(cls(X, concepts, y, rows).log_proba(np.ones((1, n_rows)))[0])
        at = np.abs(lead - rng.uniform(*_LEADS)).argmin()
        return cls(X, concepts, y, rows[[at]])

    def log_proba(self, weights):
        """Return log p(label) with weights of rows, (n_sets, n, n_classes)."""
        ones = np.ones((1, len(self.X), 1))
        inputs = np.concatenate([self.X[None], ones], axis=2)
        new = np.column_stack([self.x, np.ones(len(self.x))])
        predicted, shown = [], []
        for codes in self.concepts.T:
            head = _fit(inputs, codes, weights, 1 / self.C, 2)
            predicted.append(_proba(inputs, head, 2)[..., 1])
            shown.append(_proba(new[None], head, 2)[..., 1])
        activations = np.stack(predicted, axis=2)
        both = np.concatenate(
            [activations, np.broadcast_to(self.concepts, activations.shape)], axis=1
        )
        shares = np.concatenate([(1 - self.share) * weights, self.share * weights], 1)
        n_classes = int(self.y.max()) + 1
        head = _fit(_padded(both), np.tile(self.y, 2), shares, 1 / self.C, n_classes)
        return np.log(_proba(_padded(np.stack(shown, axis=2)), head, n_classes))

    def smallest(self, max_size=MAX_SIZE):
        """Return the size of the smallest set that changes the prediction, or 0."""
        before = self.log_proba(np.ones((1, len(self.X))))[0, 0].argmax()
        for size in range(1, max_size + 1):
            sets = np.array(list(combinations(range(len(self.X)), size)))
            weights = np.ones((len(sets), len(self.X)))
            np.put_along_axis(weights, sets, 0.0, axis=1)
            weights = weights[self._complete(weights)]
            if (self.log_proba(weights)[:, 0].argmax(axis=1) != before).any():
                return size
        return 0

    def _complete(self, weights):
        """Return which sets leave rows of every class and of every value."""
        columns = [self.y, *self.concepts.T]
        left = [weights @ (c[:, None] == np.unique(c)) > 0 for c in columns]
        return np.concatenate(left, axis=1).all(axis=1)


def _padded(activations):
    return np.pad(activations, [(0, 0), (0, 0), (0, 1)], constant_values=1.0)


def _lead(log_proba):
    """Return by how much the most probable class leads, row by row."""
    order = np.sort(log_proba, axis=1)
    return order[:, -1] - order[:, -2]


def _contrasts(n_values):
    return np.array([[0.0, 1.0]]) if n_values == 2 else helmert(n_values)


def _proba(inputs, parameters, n_values):
    logits = inputs @ parameters.mT @ _contrasts(n_values)
    logits = logits - logits.max(axis=2, keepdims=True)
    return np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)


def _fit(inputs, codes, weights, penalty, n_values):
    """Return the heads of all sets, (n_sets, n_scores, n_inputs)."""
    contrasts, own = _contrasts(n_values), np.eye(n_values)[codes]
    shape = len(weights), len(contrasts), inputs.shape[2]
    penalties = np.full(shape[1:], penalty)
    penalties[:, -1] = 0
    inputs = np.broadcast_to(inputs, (len(weights), *inputs.shape[1:]))

    def objective(parameters):
        p = np.take_along_axis(
            _proba(inputs, parameters, n_values), codes[None, :, None], axis=2
        )[..., 0]
        squares = (penalties * parameters**2).sum(axis=(1, 2))
        return squares / 2 - (weights * np.log(p)).sum(axis=1)

    parameters, value = np.zeros(shape), None
    for _ in range(_STEPS):
        p = _proba(inputs, parameters, n_values)
        residual = weights[..., None] * ((p - own) @ contrasts.T)
        gradient = residual.mT @ inputs + penalties * parameters
        if np.abs(gradient).max() < _GRADIENT:
            return parameters
        curved = -p[..., :, None] * p[..., None, :]
        curved[..., range(n_values), range(n_values)] += p
        curved = weights[..., None, None] * (contrasts @ curved @ contrasts.T)
        hessian = np.einsum(
            "bnij,bnk,bnl->bikjl", curved, inputs, inputs, optimize=True
        )
        size = shape[1] * shape[2]
        hessian = hessian.reshape(-1, size, size) + np.diag(penalties.ravel())
        step = -np.linalg.solve(hessian, gradient.reshape(-1, size, 1))
        step = step.reshape(shape)
        value = objective(parameters) if value is None else value
        length = np.ones(len(weights))
        while True:
            trial = parameters + length[:, None, None] * step
            after = objective(trial)
            far = after > value + 1e-12 * np.abs(value)
            if not far.any():
                break
            length[far] /= 2
        parameters, value = trial, after
    raise RuntimeError("A set of rows was not solved.")
