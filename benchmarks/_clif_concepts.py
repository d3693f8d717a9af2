"""Concepts ranked by each of the four meanings of their influence, and taken away."""

import numpy as np
from scipy.special import softmax
from sklearn.metrics import log_loss

from ._clif_items import LABEL, explain, load, shift, table

_SHARE = 0.8  # of the training rows, that a seed draws


# --- The four meanings: an array (n_concepts,), the higher, the more important --------


def effect(explainer, X, items):
    """Rank by what setting a concept to its average does to log p, on average."""
    return np.abs(explainer.transform(X)).mean(axis=0)


def contribution(explainer, X, items):
    """Rank by how far what passes through a concept to the logits varies over rows."""
    parts = explainer.estimator_.contributions(X).values[:, :, :-1]
    return np.abs(parts - parts.mean(axis=0)).mean(axis=(0, 1))


def path(explainer, X, items):
    """Rank by the influence of all annotations of a concept on the loss, unsigned."""
    result = explainer.influence(X, items[LABEL], paths=True, reduce="mean")
    return np.abs(result.values[0]).sum(axis=0)[1:]


def removal(explainer, X, items):
    """Rank by how much higher the loss is of a model that never had the concept."""
    losses = []
    for name in explainer.concept_names_in_:
        without = explainer.edit(drop_concepts=[name]).estimator
        losses.append(_loss(without.predict_proba(X), items, without.classes_))
    full = _loss(explainer.predict_proba(X), items, explainer.classes_)
    return np.array(losses) - full


MEANINGS = {
    "effect": effect,
    "contribution": contribution,
    "path": path,
    "removal": removal,
}


# --- Changes of a concept on rows to predict: probabilities of labels -----------------


def set_to_average(explainer, X, name):
    """Predict with a concept's activations at their training average."""
    clf = explainer.estimator_
    own = [str(n).startswith(f"{name}=") for n in clf.get_feature_names_out()]
    activations = clf.transform(X)
    activations[:, own] = explainer.mean_activations_[own]
    logits = activations @ clf.coef_.T + clf.intercept_
    if logits.shape[1] == 1:  # of two classes, that of the second over the first
        logits = np.hstack([np.zeros_like(logits), logits])
    return softmax(logits, axis=1)


def set_wrong(explainer, X, name):
    """Predict with a concept at the value after the predicted one, in a cycle."""
    clf = explainer.estimator_
    known = clf.concept_classes_[list(clf.concept_names_in_).index(name)]
    predicted = clf.predict_concepts(X)[[name]]
    return clf.intervene(X, predicted.apply(lambda column: shift(column, known)))


CHANGES = {"average": set_to_average, "wrong value": set_wrong}


def measure(task, seed):
    """Yield a record for every meaning, change, and concept: the top and the bottom."""
    train, dev, test = (load(task, part) for part in ("train", "dev", "test"))
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(train.y), int(_SHARE * len(train.y)), replace=False)
    explainer = explain(train.X[rows].astype(np.float32), table(train).iloc[rows])
    dev_items, test_items = table(dev), table(test)
    before = explainer.predict_proba(test.X)
    loss = _loss(before, test_items, explainer.classes_)
    for meaning, rank in MEANINGS.items():
        order = np.argsort(-rank(explainer, dev.X, dev_items), kind="stable")
        names = explainer.concept_names_in_[order]
        for change, predict in CHANGES.items():
            for place, name in (("top", names[0]), ("bottom", names[-1])):
                after = predict(explainer, test.X, name)
                moved = before.argmax(axis=1) != after.argmax(axis=1)
                yield {
                    "task": task,
                    "seed": seed,
                    "meaning": meaning,
                    "change": change,
                    "place": place,
                    "concept": str(name),
                    "predictions changed": float(moved.mean()),
                    "log-loss": _loss(after, test_items, explainer.classes_) - loss,
                }


def _loss(proba, items, classes):
    return log_loss(items[LABEL], proba, labels=classes)
