"""The two stages by dense Newton steps in extended precision: slow, obvious, exact.

With 64 bits of mantissa in place of 53 it is a reference where double precision ends.
"""

import numpy as np

LONG = np.longdouble
# Some platforms have no float beyond float64; there is nothing to compare with then.
IS_LONGER = np.finfo(LONG).eps < 1e-18


class ExactHead:
    """One head at its optimum: the objective of LogisticRegression, or of Ridge.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    codes : ndarray of shape (n_samples,)
        Positions of the values; numbers if the head is continuous.
    weights : ndarray of shape (n_samples,)
    C : float
    n_values : int
        0 for a continuous head.
    start : ExactHead, default=None
        Where to begin, if the same values have weight.
    """

    def __init__(self, X, codes, weights, C, n_values, start=None):
        counts = weights > 0
        X = X.astype(LONG)
        # The bias is free, so the origin is too; far from it nothing is well posed.
        self.centre = X[counts].mean(axis=0)
        self.X = np.column_stack([X - self.centre, np.ones(len(X))])[counts]
        self.weights, self.penalty = weights.astype(LONG)[counts], 1 / LONG(C)
        self.n_values = n_values
        # Logits of the values that have weight: one score for two, else one a value.
        self.seen = np.arange(n_values)
        self.codes = codes[counts]
        if n_values:
            self.seen = np.unique(self.codes)
            self.codes = np.searchsorted(self.seen, self.codes)
        n_seen = len(self.seen)
        # A head of three values or more keeps the penalty of its kind when only two of
        # them have weight.
        self.one_score = n_values in (0, 2)
        self.to_logits = np.eye(n_seen, dtype=LONG)
        if self.one_score:
            self.to_logits = np.array([[0], [1]], dtype=LONG)[:n_seen]
        n_scores = 1 if self.one_score else n_seen
        shape = (n_scores, self.X.shape[1])
        penalised = np.full(shape, self.penalty)
        penalised[:, -1] = 0
        self.penalised = penalised.ravel()
        # Equal biases do nothing: the first one stays 0.
        self.free = np.ones(shape, dtype=bool)
        self.free[0, -1] = self.one_score
        self.free = self.free.ravel()
        fresh = np.zeros(shape, dtype=LONG)
        same = start is not None and start.seen.tolist() == self.seen.tolist()
        self.parameters = fresh
        if same:  # the origin moves with the rows that count
            self.parameters = start.parameters.copy()
            self.parameters[:, -1] += start.parameters[:, :-1] @ (
                self.centre - start.centre
            )
        if n_seen != 1:
            self._solve()

    def _solve(self):
        unseen = 0  # steps whose fall is below what the objective's digits show
        for _ in range(200):
            if unseen == 3:
                return
            gradient, hessian = self._derivatives()
            step = np.zeros(self.free.shape, dtype=LONG)
            step[self.free] = -solve(
                hessian[np.ix_(self.free, self.free)], gradient[self.free]
            )
            start, before = self.parameters, self.objective()
            decrement, length = -gradient @ step, LONG(1)
            if decrement < 1e-12 * before:
                unseen += 1
                self.parameters = start + step.reshape(start.shape)
                continue
            while True:
                self.parameters = start + length * step.reshape(start.shape)
                if self.objective() <= before - 1e-4 * length * decrement:
                    break
                length /= 2
                if length < 1e-30:
                    raise FloatingPointError("The reference does not descend.")
        raise FloatingPointError("The reference does not converge.")

    def scores(self, X):
        """Return logits of all values, (n, n_values), or predictions, (n,)."""
        X = np.column_stack([X - self.centre, np.ones(len(X))])
        scores = X @ self.parameters.T
        if not self.n_values:
            return scores[:, 0]
        logits = np.full((len(X), self.n_values), -LONG(np.inf))
        logits[:, self.seen] = scores @ self.to_logits.T
        return logits

    def objective(self):
        """Return the penalised sum of losses."""
        return head_objective(
            self.X, self.codes, self.weights, self.penalty, self.parameters, self
        )

    def _derivatives(self):
        scores = self.X @ self.parameters.T
        if not self.n_values:
            residual = scores - self.codes[:, None]
            curvature = np.ones((len(scores), 1, 1), dtype=LONG)
        else:
            p = softmax(scores @ self.to_logits.T)
            own = self.codes[:, None] == np.arange(p.shape[1])
            others = np.where(own, 0, p)
            wrong = others - own * others.sum(axis=1, keepdims=True)
            residual = wrong @ self.to_logits
            spread = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
            curvature = np.einsum(
                "ka,nkl,lb->nab", self.to_logits, spread, self.to_logits
            )
        gradient = ((self.weights[:, None] * residual).T @ self.X).ravel()
        gradient = gradient + self.penalised * self.parameters.ravel()
        k, d = self.parameters.shape
        hessian = np.empty((k, d, k, d), dtype=LONG)
        for a in range(k):
            for b in range(k):
                rows = (self.weights * curvature[:, a, b])[:, None] * self.X
                hessian[a, :, b] = self.X.T @ rows
        return gradient, hessian.reshape(k * d, k * d) + np.diag(self.penalised)


def head_objective(X, codes, weights, penalty, parameters, head):
    """Return ``sum w * loss + penalty / 2 * ||W||^2`` at given parameters."""
    scores = X @ parameters.T
    if not head.n_values:
        losses = (scores[:, 0] - codes) ** 2 / 2
    else:
        logits = scores @ head.to_logits.T
        losses = -log_softmax(logits)[np.arange(len(codes)), codes]
    return weights @ losses + penalty / 2 * (parameters[:, :-1] ** 2).sum()


class ExactBottleneck:
    """Concept heads, then a label head on their activations.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of int of shape (n_samples,)
    concepts : ndarray of shape (n_samples, n_concepts)
        Codes or numbers, NaN where not annotated.
    sizes : list of int
        Values of every concept, 0 if it is continuous.
    weights : ndarray of shape (n_samples, 1 + n_concepts)
        Of the label's loss term, then the concepts'.
    n_classes : int
    C : float
        Of both stages.
    intervention_prob : float, default=0.0
        Share of true annotations in the label head.
    activation : {"soft", "logit", "hard"}, default="soft"
    start : ExactBottleneck, default=None
        A model of nearly the same data.
    """

    def __init__(
        self,
        X,
        y,
        concepts,
        sizes,
        weights,
        n_classes,
        *,
        C,
        intervention_prob=0.0,
        activation="soft",
        start=None,
    ):
        self.activation = activation
        self.sizes = sizes
        self.heads = [
            ExactHead(
                X,
                concepts[:, j] if m == 0 else np.nan_to_num(concepts[:, j]).astype(int),
                np.where(np.isnan(concepts[:, j]), 0, weights[:, 1 + j]),
                C,
                m,
                None if start is None else start.heads[j],
            )
            for j, m in enumerate(sizes)
        ]
        predicted = self.activations(X)
        share = intervention_prob if self.heads else 0.0
        copies = [(1 - share, predicted)]
        if share:
            copies.append((share, self._substituted(predicted, concepts)))
        copies = [copy for copy in copies if copy[0]]
        self.label = ExactHead(
            np.concatenate([inputs for _, inputs in copies]),
            np.concatenate([y for _ in copies]),
            np.concatenate([share * weights[:, 0] for share, _ in copies]),
            C,
            n_classes,
            None if start is None else start.label,
        )

    def activations(self, X):
        """Return what the label head sees of rows."""
        if not self.heads:
            return X
        parts = []
        for head, m in zip(self.heads, self.sizes, strict=True):
            scores = head.scores(X)
            if m == 0:
                parts.append(scores[:, None])
            elif self.activation == "logit":
                centred = scores - scores.mean(axis=1, keepdims=True)
                parts.append(2 * centred[:, 1:] if m == 2 else centred)
            else:
                p = softmax(scores)
                if self.activation == "hard":
                    p = np.eye(m)[p.argmax(axis=1)]
                parts.append(p[:, 1:] if m == 2 else p)
        return np.concatenate(parts, axis=1)

    def _substituted(self, inputs, concepts):
        inputs, start = inputs.copy(), 0
        for j, m in enumerate(self.sizes):
            given = ~np.isnan(concepts[:, j])
            known = concepts[given, j]
            truth = np.eye(m)[known.astype(int)] if m else known[:, None]
            truth = truth[:, 1:] if m == 2 else truth
            inputs[given, start : start + truth.shape[1]] = truth
            start += truth.shape[1]
        return inputs

    def proba(self, X):
        """Return probabilities of the classes."""
        return softmax(self.label.scores(self.activations(X)))

    def target(self, X, codes, kind):
        """Evaluate a target at rows; `kind` as the explainer's, concepts by number."""
        if not isinstance(kind, str):
            scores = self.heads[kind[0]].scores(X)
            return softmax(scores)[:, kind[1]] if self.sizes[kind[0]] else scores
        logits = self.label.scores(self.activations(X))
        rows = np.arange(len(X))
        if kind in ("loss", "log_proba"):
            log_p = log_softmax(logits)[rows, codes]
            return log_p if kind == "log_proba" else -log_p
        own = logits[rows, codes]
        if kind == "margin":
            others = logits.copy()
            others[rows, codes] = -np.inf
            return own - others.max(axis=1)
        if logits.shape[1] == 2:  # the decision function is the whole log-odds
            return own - logits[rows, 1 - codes]
        return own - logits.mean(axis=1)


def solve(matrix, right):
    """Solve a linear system by elimination with row pivots."""
    matrix, x = matrix.copy(), right.copy()
    n = len(x)
    for i in range(n):
        pivot = i + np.abs(matrix[i:, i]).argmax()
        matrix[[i, pivot]], x[[i, pivot]] = matrix[[pivot, i]], x[[pivot, i]]
        factors = matrix[i + 1 :, i] / matrix[i, i]
        matrix[i + 1 :, i:] -= factors[:, None] * matrix[i, i:]
        x[i + 1 :] -= factors * x[i]
    for i in range(n)[::-1]:
        x[i] = (x[i] - matrix[i, i + 1 :] @ x[i + 1 :]) / matrix[i, i]
    return x


def log_softmax(logits):
    """Return the logarithm of `softmax`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(logits):
    """Return probabilities of rows of logits."""
    return np.exp(log_softmax(logits))
