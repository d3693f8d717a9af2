"""What several people say of the same texts, weighed by how each of them errs.

Every annotator has a matrix that says how he or she takes one value for another. Texts
that several people annotated tell these matrices, and the matrices tell the true values
(Dawid and Skene, 1979). Few annotations tell a matrix only vaguely, so it is shrunk to
the matrix of all annotators together.

These are arrays of NumPy, because files are read without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# How many true values of each kind the common matrix counts for in that of an
# annotator, and how many right and wrong annotations of each value the prior of the
# common matrix counts for.
_COMMON = 4.0
_RIGHT, _WRONG = 4.0, 1.0
_MAX_ITER = 1000
_TOL = 1e-6  # of the largest change of a probability


@dataclass(frozen=True, eq=False)
class Votes:
    """Values that people chose, as codes.

    Attributes
    ----------
    texts, annotators, values : ndarray of shape (n_votes,), int
        Of each vote, from 0.
    n_texts, n_annotators, n_values : int
    """

    texts: np.ndarray
    annotators: np.ndarray
    values: np.ndarray
    n_texts: int
    n_annotators: int
    n_values: int

    def counts(self) -> np.ndarray:
        """Return how many people chose each value, (n_texts, n_values)."""
        counts = np.zeros((self.n_texts, self.n_values))
        np.add.at(counts, (self.texts, self.values), 1.0)
        return counts

    def shares(self) -> np.ndarray:
        """Return the share of votes of each value; NaN for a text without votes."""
        counts = self.counts()
        return _shares(counts, counts.sum(axis=1) > 0)

    def agreement(self) -> np.ndarray:
        """Return how often each annotator chose what the others did, (n_annotators,).

        It is the mean share of the other annotators of a text who chose the same value;
        NaN for whoever annotated no text that others annotated, too.
        """
        counts = self.counts()
        others = counts.sum(axis=1)[self.texts] - 1
        same = counts[self.texts, self.values] - 1
        is_shared = others > 0
        who = self.annotators[is_shared]
        total = np.bincount(
            who, same[is_shared] / others[is_shared], minlength=self.n_annotators
        )
        n = np.bincount(who, minlength=self.n_annotators)
        return np.where(n > 0, total / np.maximum(n, 1), np.nan)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the annotations of several people say of the true values.

    Attributes
    ----------
    shares : ndarray of shape (n_texts, n_values)
        Probability of each value; NaN for a text without votes.
    prior : ndarray of shape (n_values,)
        Probability of each value before anybody annotates.
    confusions : ndarray of shape (n_annotators, n_values, n_values)
        Probability that an annotator chooses a value (last axis), given the true one.
    values : list of float
        The objective after each iteration, which never falls.
    is_converged : bool
    """

    shares: np.ndarray
    prior: np.ndarray
    confusions: np.ndarray
    values: list[float]
    is_converged: bool

    @property
    def accuracy(self) -> np.ndarray:
        """Probability that an annotator chooses the true value, (n_annotators,)."""
        right = np.diagonal(self.confusions, axis1=1, axis2=2)
        found: np.ndarray = right @ self.prior
        return found


def dawid_skene(
    votes: Votes,
    *,
    common: float = _COMMON,
    max_iter: int = _MAX_ITER,
    tol: float = _TOL,
) -> Truth:
    """Estimate the true values, and how each annotator confuses them.

    Expectation and maximisation, from the shares of votes: first as if all annotators
    had one matrix, then with a matrix for each, shrunk to that one.

    Parameters
    ----------
    votes : Votes
    common : float
        How many true values of each kind the common matrix counts for in that of an
        annotator.
    max_iter : int
        Maximum number of iterations of each of the two.
    tol : float
        They end if no probability changes by more.
    """
    m = votes.n_values
    together = np.full((1, m, m), _WRONG / max(m - 1, 1))
    together[0, range(m), range(m)] = _RIGHT
    nobody = np.zeros_like(votes.annotators)
    has_votes = votes.counts().sum(axis=1) > 0
    start = np.nan_to_num(votes.shares())
    as_one = Votes(votes.texts, nobody, votes.values, votes.n_texts, 1, votes.n_values)
    first = _iterate(as_one, start, together, has_votes, max_iter, tol)
    prior = np.repeat(common * first.confusions, votes.n_annotators, axis=0)
    start = np.nan_to_num(first.shares)
    return _iterate(votes, start, prior, has_votes, max_iter, tol)


def _iterate(
    votes: Votes,
    shares: np.ndarray,
    pseudo: np.ndarray,
    has_votes: np.ndarray,
    max_iter: int,
    tol: float,
) -> Truth:
    """Maximise the probability of the votes, with a prior of every matrix.

    `pseudo` has the annotations that the prior counts for, by annotator, true value and
    chosen value.
    """
    values: list[float] = []
    is_converged = False
    while True:
        prior, confusions = _matrices(votes, shares, pseudo)
        if is_converged or len(values) == max_iter:
            break
        log_joint = np.tile(np.log(prior), (votes.n_texts, 1))
        likelihood = np.log(confusions)[votes.annotators, :, votes.values]
        np.add.at(log_joint, votes.texts, likelihood)
        top = log_joint.max(axis=1, keepdims=True)
        joint = np.where(has_votes[:, None], np.exp(log_joint - top), 0.0)
        total = np.log(joint.sum(axis=1), where=has_votes, out=np.zeros(len(joint)))
        values.append(
            float((total + top[:, 0])[has_votes].sum())
            + float((pseudo * np.log(confusions)).sum())
            + float(np.log(prior).sum() / votes.n_values)
        )
        new = np.nan_to_num(_shares(joint, has_votes))
        is_converged = bool(np.abs(new - shares).max(initial=0.0) < tol)
        shares = new
    shares = np.where(has_votes[:, None], shares, np.nan)
    return Truth(shares, prior, confusions, values, is_converged)


def _matrices(
    votes: Votes, shares: np.ndarray, pseudo: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the prior of values and the matrices that are most probable."""
    counts = np.zeros((votes.n_annotators, votes.n_values, votes.n_values))
    np.add.at(counts, (votes.annotators, votes.values), shares[votes.texts])
    confusions = counts.transpose(0, 2, 1) + pseudo
    # One text more, which has every value with the same probability.
    prior = shares.sum(axis=0) + 1 / votes.n_values
    return prior / prior.sum(), confusions / confusions.sum(axis=2, keepdims=True)


def _shares(counts: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(
        counts, total, where=is_known[:, None], out=np.full_like(counts, np.nan)
    )
    return shares
