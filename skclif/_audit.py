"""An audit: how good a model is, and which training rows stand behind its errors.

Pure data in, pure data out: reading files, embedding texts and writing pages are the
command line's and the report's.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, f1_score, log_loss

from ._audit_data import Reviews, text_hash
from ._bottleneck import ConceptBottleneckClassifier
from ._concepts import format_value, plain_value
from ._explainer import ConceptInfluenceExplainer
from ._results import dominant_paths
from .exceptions import InfluenceWarning

N_CULPRITS = 5
_VALUES_AT_ONCE = 20_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What an audit found.

    Influence is the effect of a training row's presence on a log-loss, in nats:
    positive = harmful, without the row the loss would be lower.

    Attributes
    ----------
    classes : tuple
        The labels, sorted.
    concepts : tuple of str
        Names of the concepts; empty if the audited model is the black box itself.
    method : str
        How influence was computed.
    training : DataFrame
        What is known of each training row: id, text_hash, text, label, group, and
        ``annotated:<concept>``. No text if texts were not to be kept.
    predictions : DataFrame
        The held-out rows: id, text_hash, group, text, label, predicted, loss,
        ``p=<class>``, the same of the black box, and of each concept
        ``annotated:``, ``predicted:`` and ``p_annotated:<concept>``.
    influence : DataFrame
        One line a target and training row. target "all" is the mean loss of the
        held-out rows, on which every training row has a line; target "row" is the
        loss of the row that target_id and target_text_hash name, with its culprits.
        rank 1 is the most harmful; path carries most of the influence; the columns
        ``path:`` add up to it.
    groups : DataFrame or None
        Quality on the held-out rows of each group, and the influence on the mean loss
        of all held-out rows that the training rows of the group have together.
    mistakes : ndarray of shape (n_shown,)
        Positions in `predictions` of the mistakes with culprits, worst first.
    metrics, counts : dict
        Numbers that can be computed again from the tables.
    fingerprints : dict
        SHA-256 of the training data as used and of the fitted coefficients.
    warnings : tuple of str
        What the reader should know before trusting the numbers.
    """

    classes: tuple
    concepts: tuple[str, ...]
    method: str
    training: pd.DataFrame
    predictions: pd.DataFrame
    influence: pd.DataFrame
    groups: pd.DataFrame | None
    mistakes: np.ndarray
    metrics: dict
    counts: dict
    fingerprints: dict
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Models:
    """The audited model with its influence, and the black box beside it.

    Attributes
    ----------
    explainer : ConceptInfluenceExplainer
        Fitted.
    black_box : ConceptBottleneckClassifier or None
        Fitted without concepts; None if the audited model has none either.
    warnings : tuple of str
        Of heads that did not converge, or Hessians that are nearly singular.
    """

    explainer: ConceptInfluenceExplainer
    black_box: ConceptBottleneckClassifier | None
    warnings: tuple[str, ...]


def fit_models(
    train: Reviews,
    X: np.ndarray,
    *,
    training: str = "sequential",
    concept_C: float = 1.0,
    method: str = "auto",
    device: str = "cpu",
    **options,
) -> Models:
    """Fit the concept bottleneck to audit, and the black box to compare it with.

    Parameters
    ----------
    train : Reviews
        Rows that `check_parts` accepted.
    X : ndarray of shape (n_rows, n_features)
        Their features.
    training, concept_C, device, **options
        Of :class:`ConceptBottleneckClassifier`; `options` are the black box's too.
    method : {"auto", "newton", "leverage", "first_order"}
        Of :class:`ConceptInfluenceExplainer`.
    """
    options["device"] = device
    model = ConceptBottleneckClassifier(
        training=training, concept_C=concept_C, **options
    )
    explainer = ConceptInfluenceExplainer(model, method=method, device=device)
    black_box = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if train.concepts.shape[1]:
            explainer.fit(X, train.labels, concepts=train.concepts)
            black_box = ConceptBottleneckClassifier(**options).fit(X, train.labels)
        else:
            explainer.fit(X, train.labels)
    return Models(explainer, black_box, _messages(caught))


def audit(
    models: Models,
    train: Reviews,
    held_out: Reviews,
    X_held_out: np.ndarray,
    *,
    max_mistakes: int = 10,
    keep_text: bool = True,
) -> Audit:
    """Evaluate models, and trace their errors to training rows.

    Parameters
    ----------
    models : Models
        What `fit_models` made of `train`.
    train, held_out : Reviews
        Rows that `check_parts` accepted.
    X_held_out : ndarray of shape (n_rows, n_features)
        Features of the held-out rows.
    max_mistakes : int, default=10
        For how many mistakes, the worst first, culprits are sought.
    keep_text : bool, default=True
        Whether the tables hold texts.

    Returns
    -------
    audit : Audit
        What was found. Influence is on the log-loss (nats); positive = harmful.
    """
    explainer, black_box = models.explainer, models.black_box
    model = explainer.estimator_
    predictions = _predictions(model, black_box, held_out, X_held_out)
    is_mistake = predictions["label"] != predictions["predicted"]
    order = np.argsort(-predictions["loss"].to_numpy(), kind="stable")
    mistakes = order[is_mistake.to_numpy()[order]][:max_mistakes]
    known = _known(train)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mean = explainer.influence(
            X_held_out, held_out.labels, reduce="mean", paths=True
        )
    # What one audit says is by one method.
    explainer.set_params(method=mean.method)
    with warnings.catch_warnings():
        # The mistakes are among the rows that the mean has just been warned of.
        warnings.simplefilter("ignore", InfluenceWarning)
        influence = _influence(explainer, mean, known, held_out, X_held_out, mistakes)
    groups = None
    if train.groups is not None:
        groups = _groups(mean, train, held_out, predictions, explainer.classes_)
    overall = influence[influence["target"] == "all"]
    counts = {
        "training_rows": len(train),
        "held_out_rows": len(held_out),
        "mistakes": int(is_mistake.sum()),
        "harmful_training_rows": int((overall["influence"] > 0).sum()),
        "held_out_texts_in_training": int(
            predictions["text_hash"].isin(overall["train_text_hash"]).sum()
        ),
    }
    if not keep_text:
        known = known.drop(columns="text")
        predictions = predictions.drop(columns="text")
    return Audit(
        classes=tuple(map(plain_value, model.classes_)),
        concepts=tuple(map(str, model.concept_names_in_)),
        method=mean.method,
        training=known,
        predictions=predictions,
        influence=influence,
        groups=groups,
        mistakes=mistakes,
        metrics=_metrics(model, black_box, train, predictions, groups),
        counts=counts,
        fingerprints={
            "training_data": _data_fingerprint(train),
            "coefficients": _model_fingerprint(model),
        },
        warnings=(*models.warnings, *_messages(caught)),
    )


# --- Tables ---------------------------------------------------------------------------


def _known(train: Reviews) -> pd.DataFrame:
    known = {"id": train.ids, "text_hash": train.hashes(), "text": train.texts}
    if train.groups is not None:
        known["group"] = train.groups
    known["label"] = train.labels
    for name, values in train.concepts.items():
        known[f"annotated:{name}"] = _tidy(values)
    return pd.DataFrame(known)


def _predictions(model, black_box, held_out: Reviews, X) -> pd.DataFrame:
    table = {"id": held_out.ids, "text_hash": held_out.hashes()}
    if held_out.groups is not None:
        table["group"] = held_out.groups
    table["text"] = held_out.texts
    table["label"] = held_out.labels
    table |= _label_columns(model, held_out.labels, X, "")
    if black_box is not None:
        table |= _label_columns(black_box, held_out.labels, X, "black_box_")
        table |= _concept_columns(model, held_out.concepts, X)
    return pd.DataFrame(table)


def _label_columns(model, labels, X, prefix: str) -> dict:
    proba = model.predict_proba(X)
    codes = np.searchsorted(model.classes_, labels)
    # The smallest probability that scikit-learn's log_loss knows.
    true = np.clip(proba[np.arange(len(X)), codes], np.finfo(float).eps, 1)
    columns = {
        f"{prefix}predicted": model.classes_[proba.argmax(axis=1)],
        f"{prefix}loss": -np.log(true),
    }
    for k, value in enumerate(model.classes_):
        columns[f"{prefix}p={format_value(value)}"] = proba[:, k]
    return columns


def _concept_columns(model, concepts: pd.DataFrame, X) -> dict:
    predicted, proba = model.predict_concepts(X), model.predict_concept_proba(X)
    columns = {}
    for name, values in zip(
        model.concept_names_in_, model.concept_classes_, strict=True
    ):
        given = concepts[name]
        codes = pd.Index(values).get_indexer(pd.Index(given.to_numpy(dtype=object)))
        p = np.where(codes >= 0, proba[name][np.arange(len(X)), codes], 0.0)
        columns[f"annotated:{name}"] = _tidy(given)
        columns[f"predicted:{name}"] = _tidy(predicted[name])
        columns[f"p_annotated:{name}"] = np.where(given.notna(), p, np.nan)
    return columns


def _influence(explainer, mean, known, held_out: Reviews, X, mistakes) -> pd.DataFrame:
    order = np.argsort(-mean.totals[0], kind="stable")
    tables = [_influence_lines(known, order, mean.values[0, order], mean.paths)]
    tables[0].insert(0, "target", "all")
    tables[0].insert(1, "target_id", None)
    tables[0].insert(2, "target_text_hash", None)
    step = max(1, _VALUES_AT_ONCE // mean.values[0].size)
    for start in range(0, len(mistakes), step):
        block = mistakes[start : start + step]
        result = explainer.influence(X[block], held_out.labels[block], paths=True)
        for held_row, values in zip(block, result.values, strict=True):
            total = values.sum(axis=1)
            order = np.argsort(-total, kind="stable")[:N_CULPRITS]
            order = order[total[order] > 0]
            lines = _influence_lines(known, order, values[order], result.paths)
            lines.insert(0, "target", "row")
            lines.insert(1, "target_id", held_out.ids[held_row])
            lines.insert(2, "target_text_hash", text_hash(held_out.texts[held_row]))
            tables.append(lines)
    return pd.concat(tables, ignore_index=True)


def _influence_lines(known, rows, values, paths) -> pd.DataFrame:
    """Return lines for training rows in order of rank, `values` (n_rows, n_paths)."""
    lines = {"rank": np.arange(1, len(rows) + 1)}
    for name in known.columns.drop("text"):
        column = name if name.startswith("annotated:") else f"train_{name}"
        lines[column] = known[name].to_numpy()[rows]
    total = values.sum(axis=1)
    lines["influence"] = total
    lines["path"] = np.asarray(paths, dtype=object)[dominant_paths(values)]
    for path, part in zip(paths, values.T, strict=True):
        lines[f"path:{path}"] = part
    return pd.DataFrame(lines)


def _groups(mean, train: Reviews, held_out: Reviews, predictions, classes):
    lines = []
    named = [np.unique(train.groups), held_out.groups]
    for group in pd.unique(np.concatenate(named)):
        rows = predictions[predictions["group"] == group]
        values = mean.values[0, train.groups == group].sum(axis=0)
        lines.append(
            {
                "group": plain_value(group),
                "training_rows": int((train.groups == group).sum()),
                "held_out_rows": len(rows),
                **_quality(rows, classes),
                "influence": float(values.sum()),
                **{
                    f"path:{path}": float(part)
                    for path, part in zip(mean.paths, values, strict=True)
                },
            }
        )
    return pd.DataFrame(lines)


# --- Quality --------------------------------------------------------------------------


def _metrics(model, black_box, train: Reviews, predictions, groups) -> dict:
    label = {"model": _quality(predictions, model.classes_)}
    if black_box is not None:
        label["black_box"] = _quality(predictions, model.classes_, "black_box_")
    label["majority"] = _majority_quality(train.labels, predictions, model.classes_)
    metrics: dict = {"label": label}
    if black_box is not None:
        concepts = {
            name: _concept_quality(train.concepts[name], predictions, name)
            for name in model.concept_names_in_
        }
        metrics["concepts"] = concepts
        metrics["concepts_mean"] = {
            who: _mean([quality[who] for quality in concepts.values()])
            for who in ("model", "majority")
        }
    if groups is not None:
        metrics["groups"] = [
            {k: None if pd.isna(v) else v for k, v in line.items()}
            for line in groups.to_dict("records")
        ]
    return metrics


def _quality(rows: pd.DataFrame, classes, prefix: str = "") -> dict:
    if not len(rows):
        return {"accuracy": None, "macro_f1": None, "log_loss": None}
    true, predicted = rows["label"], rows[f"{prefix}predicted"]
    proba = rows[[f"{prefix}p={format_value(value)}" for value in classes]]
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
        "log_loss": float(log_loss(true, proba.to_numpy(), labels=classes)),
    }


def _majority_quality(labels, predictions, classes) -> dict:
    """Return the quality of always saying what the training labels are like."""
    shares = np.array([(labels == value).mean() for value in classes])
    rows = pd.DataFrame({"label": predictions["label"]})
    rows["predicted"] = classes[shares.argmax()]
    for value, share in zip(classes, shares, strict=True):
        rows[f"p={format_value(value)}"] = share
    return _quality(rows, classes)


def _concept_quality(annotations: pd.Series, predictions, name: str) -> dict:
    rows = predictions[predictions[f"annotated:{name}"].notna()]
    values, counts = np.unique(
        _tidy(annotations.dropna()).astype(str), return_counts=True
    )
    true = rows[f"annotated:{name}"].astype(str)
    predicted = rows[f"predicted:{name}"].astype(str)
    most_common = pd.Series(values[counts.argmax()], index=rows.index)
    return {
        "annotated_held_out_rows": len(rows),
        "model": _agreement(true, predicted),
        "majority": _agreement(true, most_common),
    }


def _agreement(true, predicted) -> dict:
    if not len(true):
        return {"accuracy": None, "macro_f1": None}
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
    }


def _mean(qualities: list[dict]) -> dict:
    """Average over the concepts that are annotated on held-out rows."""
    means = {}
    for key in qualities[0]:
        known = [quality[key] for quality in qualities if quality[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means


# --- Fingerprints ---------------------------------------------------------------------


def _data_fingerprint(train: Reviews) -> str:
    digest = hashlib.sha256()
    groups = [None] * len(train) if train.groups is None else train.groups
    annotations = [_tidy(values) for _, values in train.concepts.items()]
    digest.update(json.dumps(list(train.concepts)).encode())
    for row in zip(
        train.ids, train.texts, train.labels, groups, *annotations, strict=True
    ):
        digest.update(
            json.dumps([plain_value(value) for value in row]).encode() + b"\n"
        )
    return digest.hexdigest()


def _model_fingerprint(model) -> str:
    digest = hashlib.sha256()
    arrays = [model.coef_, model.intercept_]
    arrays += [*model.concept_coef_, *model.concept_intercept_]
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


# --- Small things ---------------------------------------------------------------------


def _tidy(values: pd.Series) -> np.ndarray:
    """Return annotations as objects: None where there is none, 1 for 1.0."""
    tidy = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        tidy[i] = None if pd.isna(value) else plain_value(value)
    return tidy


def _messages(caught) -> tuple[str, ...]:
    """Keep what tells how far to trust the numbers; warn again of all else."""
    messages = []
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning | InfluenceWarning):
            messages.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return tuple(messages)
