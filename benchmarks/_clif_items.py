"""Labels and annotations side by side: noise in them, models of them, scores of them.

An *item* is one label or one annotation: a cell of a table with the column "label",
then one for each concept. These columns are the paths of influence. An annotation can
be missing: it is None, and no item.
"""

from functools import cache

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .noise import pollute
from .tasks import load_task

LABEL = "label"


@cache
def load(task, part):
    """Return a part of a task, embedded once for all rates and seeds."""
    return load_task(task, part, 4)


def table(part):
    """Return the items of a part of a task."""
    items = part.concepts.reset_index(drop=True).astype(object)
    items = items.where(items.notna(), None)
    items.insert(0, LABEL, part.y)
    return items


def differ(items, others):
    """Return where items differ; missing ones do not differ from each other."""
    return (items != others) & ~(items.isna() & others.isna())


def plant(items, rate, rng):
    """Return items of which a share, column by column, has any other of its values."""
    noisy = items.copy()
    for path in items:
        given = items[path].notna()
        values = items.loc[given, path].to_numpy()
        noisy.loc[given, path] = pollute(values, "uniform", rate, rng)
    return noisy


def shift(values, known):
    """Return the value that follows each in a cycle of the known ones."""
    shifted, given = np.array(values, dtype=object), pd.notna(values)
    codes = np.searchsorted(known, shifted[given])
    shifted[given] = known[(codes + 1) % len(known)]
    return shifted


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
    for row, column in zip(*np.nonzero(differ(new, items).to_numpy()), strict=True):
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


def judge_all(clf, X, items):
    """Return accuracy and log-loss of the label, and their means over concepts."""
    found = judge(clf, X, items)
    label = found.pop(LABEL)
    means = pd.DataFrame(found.values()).mean()
    return label | {f"concepts: {name}": float(mean) for name, mean in means.items()}


def judge_label(clf, X, items):
    """Return accuracy and log-loss of the label."""
    proba = pd.DataFrame(clf.predict_proba(X), columns=clf.classes_)
    return _judge(proba, items[LABEL])


def _judge(proba, truth):
    # What was not annotated cannot be judged, nor a value that no training row has.
    known = truth.isin(proba.columns).to_numpy()
    truth, values = truth[known], proba.to_numpy()[known]
    hits = proba.columns[values.argmax(axis=1)] == truth
    loss = log_loss(truth, values, labels=list(proba.columns))
    return {"accuracy": float(hits.mean()), "log-loss": float(loss)}


def suspects(explainer, items, column):
    """Return a column of what `suspect_labels` says, as a table like the items."""
    found = explainer.suspect_labels()
    return by_item(found, items, column)


def by_item(lines, items, column):
    """Return a column of suspects as a table like the items; missing where they are."""
    cells = lines.pivot(index="row", columns="path", values=column)
    return cells.reindex(index=items.index, columns=items.columns)


# --- Scores: an array (n_rows, n_paths), the higher, the more suspicious --------------


def harm_to_label(X, items, dev_X, dev_items):
    """Score items by their influence on the label's loss on clean rows."""
    explainer = explain(X, items)
    result = explainer.influence(dev_X, dev_items[LABEL], paths=True, reduce="mean")
    return result.values[0]


def harm_to_concepts(X, items, dev_X, dev_items):
    """Score annotations by influence on their concept's loss on clean rows.

    A concept head by itself is a logistic regression of the annotations on the
    features. Labels are no part of it: they score 0.
    """
    scores = np.zeros(items.shape)
    for column, path in enumerate(items):
        if path == LABEL:
            continue
        given = items[path].notna().to_numpy()
        head = ConceptInfluenceExplainer(
            ConceptBottleneckClassifier(), method="first_order"
        ).fit(X[given], items[path][given])
        seen = dev_items[path].isin(head.classes_)
        result = head.influence(dev_X[seen], dev_items[path][seen], reduce="mean")
        scores[given, column] = result.values[0]
    return scores


def harm_to_itself(X, items, dev_X, dev_items):
    """Score items by influence on the loss, on clean rows, of what they are about."""
    scores = harm_to_concepts(X, items, dev_X, dev_items)
    scores[:, 0] = harm_to_label(X, items, dev_X, dev_items)[:, 0]
    return scores


def self_confidence(items, proba):
    """Score items as cleanlab does: by how improbable their value is out of fold."""
    scores = np.full(items.shape, -np.inf)  # of what is missing
    for column, path in enumerate(items):
        given = items[path].notna().to_numpy()
        codes = proba[path].columns.get_indexer(items[path][given])
        quality = get_label_quality_scores(
            codes, proba[path].to_numpy()[given], method="self_confidence"
        )
        scores[given, column] = 1 - quality
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
