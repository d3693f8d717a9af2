"""Leave-one-out retraining: the slow truth that influence predicts.

It takes nothing from skclif: both stages are scikit-learn's LogisticRegression.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression


class RetrainedBottleneck:
    """A concept bottleneck made of scikit-learn's logistic regressions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    concepts : DataFrame of shape (n_samples, n_concepts)
        Missing values are not annotated.
    X_test, y_test : ndarray
        Rows whose log-losses are the targets.
    C, concept_C : float
    intervention_prob : float
        Share of every row's weight in the label head at its true annotations, 0 to 1.
    """

    def __init__(
        self, X, y, concepts, X_test, y_test, *, C, concept_C, intervention_prob
    ):
        self.share = intervention_prob
        self.X, self.y, self.X_test, self.y_test = X, y, X_test, y_test
        self.annotated = concepts.notna().to_numpy()
        self.values = concepts.to_numpy(dtype=object)
        self.ones = np.ones(len(X))
        self.concept_heads = [
            self._fit_concept(_Head(concept_C), j, self.ones)
            for j in range(concepts.shape[1])
        ]
        self.features = [self._activations(head) for head in self.concept_heads]
        self.label_head = self._fit_label(_Head(C), self.features, self.ones)
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
        head = self._fit_label(self.label_head.copy(), features, weights)
        return self._losses(head, features)

    def _fit_label(self, head, features, weights):
        predicted = self._stack(features, 0)
        if not self.share:
            return head.fit(predicted, self.y, weights)
        both = np.concatenate([predicted, self._known(features)])
        weights = np.concatenate([(1 - self.share) * weights, self.share * weights])
        counted = weights > 0
        return head.fit(both[counted], np.tile(self.y, 2)[counted], weights[counted])

    def _known(self, features):
        """Return activations of training rows, true where they are annotated."""
        parts = []
        for j, (head, pair) in enumerate(
            zip(self.concept_heads, features, strict=True)
        ):
            true = self.values[:, j].astype(str)[:, None] == head.classes_
            true = true[:, 1:] if len(head.classes_) == 2 else true
            parts.append(np.where(self.annotated[:, [j]], true, pair[0]))
        return np.hstack(parts)

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
