"""Labels and annotations side by side: noise in them, models of them, scores of them.

An *item* is one label or one annotation: a cell of a table with the column "label",
then one for each concept. These columns are the paths of influence.
"""

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .noise import pollute

LABEL = "label"


def table(part):
    """Return the items of a part of a task."""
    items = part.concepts.reset_index(drop=True).astype(object)
    items.insert(0, LABEL, part.y)
    return items


def plant(items, rate, rng):
    """Return items of which a share, column by column, has any other of its values."""
    noisy = items.copy()
    for path in items:
        noisy[path] = pollute(items[path].to_numpy(), "uniform", rate, rng)
    return noisy


def shift(values, known):
    """Return the value that follows each in a cycle of the known ones."""
    codes = np.searchsorted(known, values)
    return known[(codes + 1) % len(known)]


def explain(X, items):
    """Return a fitted explainer, to first order: for sums over many rows it is enough.

    What it answers to other questions than influence does not depend on the method.
    """
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    return explainer.fit(X, items[LABEL], concepts=items.drop(columns=LABEL))


def retrain(X, items, weights=None):
    """Return a classifier fitted from zero."""
    clf = ConceptBottleneckClassifier()
    return clf.fit(X, items[LABEL], weights, concepts=items.drop(columns=LABEL))


def differences(items, new, weights=None):
    """Return what `edit` takes to make new items, and weights, of items of weight 1."""
    changed = {path: {} for path in items}
    for row, column in zip(*np.nonzero((new != items).to_numpy()), strict=True):
        changed[items.columns[column]][int(row)] = new.iat[row, column]
    edits = {"y": changed.pop(LABEL), "concepts": changed}
    if weights is not None:
        rows = np.flatnonzero(weights != 1)
        edits["sample_weight"] = {int(row): float(weights[row]) for row in rows}
    return edits


def probabilities(clf, X):
    """Return probabilities of all values of every path, by path, as tables."""
    names, values = clf.concept_names_in_, clf.concept_classes_
    found = {LABEL: pd.DataFrame(clf.predict_proba(X), columns=clf.classes_)}
    proba = clf.predict_concept_proba(X)
    for name, known in zip(names, values, strict=True):
        found[name] = pd.DataFrame(proba[name], columns=known)
    return found


def out_of_fold(X, items, seed, more=None):
    """Return probabilities from models that were fitted without the row, by path.

    All of them may also be fitted to more features and items, which are in no fold.
    """
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    parts = []
    for train, test in folds.split(X, items[LABEL]):
        rows = X[train], items.iloc[train]
        if more is not None:
            rows = np.concatenate([rows[0], more[0]]), pd.concat([rows[1], more[1]])
        found = probabilities(retrain(*rows), X[test])
        parts.append({path: part.set_index(test) for path, part in found.items()})
    return {
        path: pd.concat([part[path] for part in parts]).sort_index().fillna(0.0)
        for path in items
    }


def judge(clf, X, items):
    """Return accuracy and log-loss of every path, by path."""
    return {
        path: _judge(proba, items[path])
        for path, proba in probabilities(clf, X).items()
    }


def judge_label(clf, X, items):
    """Return accuracy and log-loss of the label."""
    proba = pd.DataFrame(clf.predict_proba(X), columns=clf.classes_)
    return _judge(proba, items[LABEL])


def _judge(proba, truth):
    values = proba.to_numpy()
    hits = proba.columns[values.argmax(axis=1)] == truth
    loss = log_loss(truth, values, labels=list(proba.columns))
    return {"accuracy": float(hits.mean()), "log-loss": float(loss)}


def suspects(explainer, items, column):
    """Return a column of what `suspect_labels` says, as a table like the items."""
    found = explainer.suspect_labels()
    return found.pivot(index="row", columns="path", values=column)[items.columns]


# --- Scores: an array (n_rows, n_paths), the higher, the more suspicious --------------


def harm_to_label(X, items, dev_X, dev_items):
    """Score items by their influence on the label's loss on clean rows."""
    explainer = explain(X, items)
    result = explainer.influence(dev_X, dev_items[LABEL], paths=True, reduce="mean")
    return result.values[0]


def harm_to_itself(X, items, dev_X, dev_items):
    """Score items by influence on the loss, on clean rows, of what they are about.

    That of an annotation is taken on its concept's loss: a concept head by itself is a
    logistic regression of the annotations on the features.
    """
    scores = harm_to_label(X, items, dev_X, dev_items)
    for column, path in enumerate(items):
        if path == LABEL:
            continue
        head = ConceptInfluenceExplainer(
            ConceptBottleneckClassifier(), method="first_order"
        ).fit(X, items[path])
        seen = dev_items[path].isin(head.classes_)
        result = head.influence(dev_X[seen], dev_items[path][seen], reduce="mean")
        scores[:, column] = result.values[0]
    return scores


def self_confidence(items, proba):
    """Score items as cleanlab does: by how improbable their value is out of fold."""
    scores = np.empty(items.shape)
    for column, path in enumerate(items):
        codes = proba[path].columns.get_indexer(items[path])
        quality = get_label_quality_scores(
            codes, proba[path].to_numpy(), method="self_confidence"
        )
        scores[:, column] = 1 - quality
    return scores


# --- Groups of rows -------------------------------------------------------------------


def by_group(scores, groups, paths):
    """Return how far the sum of every group and path is above that of random rows.

    In standard deviations of the sum over as many rows drawn at random, so that neither
    a group's size nor how much a path's scores vary decides.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_paths)
    groups : ndarray of shape (n_rows,)
    paths : sequence of str
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, codes, scores - scores.mean(axis=0))
    share = sizes / len(scores)
    spread = np.sqrt(sizes * (1 - share) * len(scores) / (len(scores) - 1))
    spread = spread[:, None] * scores.std(axis=0)
    # There is no spread of one group, or of scores that are all the same.
    above = np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0)
    return pd.DataFrame(above, index=names, columns=paths)


def rank_of(scores, group, path):
    """Return the place of one group and path among all, ties against it."""
    return int((scores.to_numpy() >= scores.loc[group, path]).sum())
