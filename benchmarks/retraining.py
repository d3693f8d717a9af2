"""Leave-one-out retraining: the slow truth that influence predicts.

`RetrainedBottleneck` takes nothing from skclif: both stages are scikit-learn's
LogisticRegression. `RefittedBottleneck` is the library's own fit, for wide tables.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from skclif.numerics.heads import HeadsProblem, HeadStack, affine
from skclif.numerics.solvers import newton_cg

GRADIENT = 1e-9
_ROWS_AT_ONCE = 10


class RetrainedBottleneck:
    """A sequential concept bottleneck made of scikit-learn's logistic regressions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    concepts : DataFrame of shape (n_samples, n_concepts)
        Missing values are not annotated.
    X_test, y_test : ndarray
        Rows whose log-losses are the targets.
    C, concept_C : float
    """

    def __init__(self, X, y, concepts, X_test, y_test, *, C, concept_C):
        self.X, self.y, self.X_test, self.y_test = X, y, X_test, y_test
        self.annotated = concepts.notna().to_numpy()
        self.values = concepts.to_numpy(dtype=object)
        self.ones = np.ones(len(X))
        self.concept_heads = [
            self._fit_concept(_Head(concept_C), j, self.ones)
            for j in range(concepts.shape[1])
        ]
        self.features = [self._activations(head) for head in self.concept_heads]
        self.label_head = _Head(C).fit(self._stack(self.features, 0), y, self.ones)
        self.losses = self._losses(self.label_head, self.features)

    def without(self, rows):
        """Return the targets without each training row, and without each loss term.

        Parameters
        ----------
        rows : sequence of int

        Returns
        -------
        targets : ndarray of shape (n_targets, n_rows, 2 + n_concepts)
            Without the whole row, without its label's term, without each annotation's.
        """
        return np.stack([self._without(row) for row in rows], axis=1)

    def _without(self, row):
        weights = self.ones.copy()
        weights[row] = 0
        moved, alone = list(self.features), []
        for j in range(len(moved)):
            if self.annotated[row, j]:
                head = self._fit_concept(self.concept_heads[j].copy(), j, weights)
                moved[j] = self._activations(head)
            alone.append([*self.features[:j], moved[j], *self.features[j + 1 :]])
        cases = [(moved, weights), (self.features, weights)]
        cases += [(features, self.ones) for features in alone]
        return np.stack([self._refit_label(*case) for case in cases], axis=1)

    def _refit_label(self, features, weights):
        stacked = self._stack(features, 0)
        head = self.label_head.copy().fit(stacked, self.y, weights)
        return self._losses(head, features)

    def _fit_concept(self, head, j, weights):
        rows = self.annotated[:, j]
        return head.fit(self.X[rows], self.values[rows, j].astype(str), weights[rows])

    def _activations(self, head):
        """Return the probabilities of a head for training and test rows."""
        both = [head.predict_proba(self.X), head.predict_proba(self.X_test)]
        return [p[:, 1:] if p.shape[1] == 2 else p for p in both]

    def _stack(self, features, part):
        return np.hstack([pair[part] for pair in features])

    def _losses(self, head, features):
        proba = head.predict_proba(self._stack(features, 1))
        codes = np.searchsorted(head.classes_, self.y_test)
        return -np.log(proba[np.arange(len(codes)), codes])


class _Head(LogisticRegression):
    """scikit-learn's model, started where it last stood and solved tightly."""

    def __init__(self, C=1.0):
        super().__init__(
            C=C, solver="newton-cg", tol=1e-9, max_iter=1000, warm_start=True
        )

    def copy(self):
        twin = _Head(self.C)
        twin.__dict__.update(self.__dict__)
        twin.coef_, twin.intercept_ = self.coef_.copy(), self.intercept_.copy()
        return twin


class RefittedBottleneck:
    """Leave-one-out retraining by the library's own fit, to a gradient of 1e-9.

    Many times faster than `RetrainedBottleneck`, because the heads of many rows are
    fitted side by side; `benchmarks.fidelity` shows that the two agree.

    Parameters
    ----------
    clf : ConceptBottleneckClassifier
        Fitted to the data that follow, by default weights.
    X, y, concepts : training data
    X_test, y_test : rows whose log-losses are the targets
    """

    def __init__(self, clf, X, y, concepts, X_test, y_test):
        self.model = clf._bottleneck()
        self.C, self.concept_C = clf.C, clf.concept_C
        self.data = clf._training_data(X, y, np.ones(len(X)), concepts, None)
        self.annotated = self.data.annotated.numpy()
        self.X_test = torch.from_numpy(X_test)
        self.codes = torch.from_numpy(np.searchsorted(clf.classes_, y_test))
        scores = self._both(self.model.concept_parameters)
        self.activations = self.model.concepts.predict_activations(scores)
        label = self._fit_label(self.activations, self.data.label_weights)
        self.losses = self._losses(label, self.activations)

    def without(self, rows):
        """Return the targets without each training row, and without each loss term.

        Parameters
        ----------
        rows : sequence of int

        Returns
        -------
        targets : ndarray of shape (n_targets, n_rows, 2 + n_concepts)
            Without the whole row, without its label's term, without each annotation's.
        """
        blocks = [
            rows[start : start + _ROWS_AT_ONCE]
            for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        columns = []
        for block in blocks:
            for row, heads in zip(block, self._fit_concepts(block), strict=True):
                columns.append(np.stack(self._without(row, heads), axis=1))
        return np.stack(columns, axis=1)

    def _without(self, row, heads):
        """Return targets by what is removed; `heads` are the concepts' without it."""
        stack = self.model.concepts
        kept = self.data.label_weights
        removed = kept.clone()
        removed[row] = 0
        moved = self.activations.clone()
        alone = []
        for j, (head, parameters) in enumerate(zip(stack.heads, heads, strict=True)):
            shown = head.activations(self._both(parameters.T))
            moved[:, stack.activations[j]] = shown
            alone.append(self.activations.clone())
            alone[j][:, stack.activations[j]] = shown
        cases = [(moved, removed), (self.activations, removed)]
        cases += [(activations, kept) for activations in alone]
        return [self._losses(self._fit_label(*case), case[0]) for case in cases]

    def _fit_concepts(self, rows):
        """Return the parameters of all concept heads without each row."""
        stack, data, n_rows = self.model.concepts, self.data, len(rows)
        weights = data.concept_weights.repeat(1, n_rows)
        for i, row in enumerate(rows):
            weights[row, i * len(stack) : (i + 1) * len(stack)] = 0
        problem = HeadsProblem(
            HeadStack(stack.heads * n_rows),
            data.features,
            data.concepts.repeat(1, n_rows),
            weights,
            1 / self.concept_C,
        )
        parameters = _fit(problem, self.model.concept_parameters.repeat(n_rows, 1))
        return [stack.split(part.T) for part in parameters.split(stack.n_scores)]

    def _fit_label(self, activations, weights):
        n = len(self.data.features)
        codes, weights = self.data.labels[:, None], weights[:, None]
        stack = HeadStack([self.model.label])
        problem = HeadsProblem(stack, activations[:n], codes, weights, 1 / self.C)
        return _fit(problem, self.model.label_parameters)

    def _both(self, parameters):
        """Return the scores of a head for training and test rows."""
        rows = torch.cat([self.data.features, self.X_test])
        return affine(rows, parameters)

    def _losses(self, label, activations):
        scores = affine(activations[len(self.data.features) :], label)
        return self.model.label.loss(scores, self.codes).numpy()


def _fit(problem, start):
    parameters, convergence = newton_cg(problem, start, tol=GRADIENT, max_iter=100)
    if not convergence.converged.all():
        raise RuntimeError(f"a refit stopped at {convergence.gradient_norm.max():.2g}")
    return parameters
