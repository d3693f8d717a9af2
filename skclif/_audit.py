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
from sklearn.utils import check_random_state

from ._bottleneck import ConceptBottleneckClassifier
from ._concepts import ConceptSchema, format_value
from ._explainer import ConceptInfluenceExplainer
from .exceptions import DataFileError

N_CULPRITS = 5
_HASH_DIGITS = 16
_NAMED = 5
_VALUES_AT_ONCE = 20_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Reviews:
    """Rows to train on, or to evaluate on.

    Attributes
    ----------
    ids, texts, labels : ndarray of shape (n_rows,)
    concepts : DataFrame of shape (n_rows, n_concepts)
        Annotations, NaN = not annotated; no columns if there are no concepts.
    groups : ndarray of shape (n_rows,) or None
    """

    ids: np.ndarray
    texts: np.ndarray
    labels: np.ndarray
    concepts: pd.DataFrame
    groups: np.ndarray | None = None

    @classmethod
    def from_parts(cls, ids, texts, labels, concepts=None, groups=None) -> Reviews:
        """Take what the loaders of `skclif.datasets` return, by position."""
        if concepts is None:
            concepts = pd.DataFrame(index=range(len(ids)))
        return cls(
            np.asarray([str(i) for i in ids], dtype=object),
            np.asarray(texts, dtype=object),
            np.asarray(labels),
            concepts.reset_index(drop=True),
            None if groups is None else np.asarray(groups),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Reviews:
        """Return some of the rows, by position or mask."""
        return Reviews(
            self.ids[rows],
            self.texts[rows],
            self.labels[rows],
            self.concepts.iloc[rows].reset_index(drop=True),
            None if self.groups is None else self.groups[rows],
        )

    def hashes(self) -> np.ndarray:
        """Return the hash of every text."""
        return np.asarray([text_hash(text) for text in self.texts], dtype=object)


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What an audit found.

    Influence is the effect of a training row's presence on a log-loss, in nats:
    positive = harmful, without the row the loss would be lower (to first order).

    Attributes
    ----------
    classes : tuple
        The labels, sorted.
    concepts : tuple of str
        Names of the concepts; empty if the audited model is the black box itself.
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
        Of heads that did not converge.
    """

    explainer: ConceptInfluenceExplainer
    black_box: ConceptBottleneckClassifier | None
    warnings: tuple[str, ...]


def text_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a text in UTF-8.

    64 bits: among a million texts two collide with a chance of 3 in 100 million.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def hold_out(
    reviews: Reviews, test_size: float, random_state
) -> tuple[Reviews, Reviews]:
    """Split at random into rows to train on and rows to evaluate on.

    Every label is split in the same proportion, equal texts stay together, and every
    label keeps a row to train on.

    Raises
    ------
    DataFileError
        If labels are not classes, or nothing is left to evaluate on.
    """
    _check_labels(reviews.labels)
    rng = check_random_state(random_state)
    codes, _ = pd.factorize(reviews.texts)
    _, first = np.unique(codes, return_index=True)
    labels = reviews.labels[first]
    is_held = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels):
        texts = rng.permutation(np.flatnonzero(labels == label))
        n_held = min(int(test_size * len(texts) + 0.5), len(texts) - 1)
        is_held[texts[:n_held]] = True
    # A text may stand there with several labels, one of them nowhere else.
    orphaned = ~np.isin(reviews.labels, reviews.labels[~is_held[codes]])
    is_held[codes[orphaned]] = False
    held = is_held[codes]
    if not held.any():
        raise DataFileError(
            f"No row can be held out: of {len(reviews)} rows with "
            f"{len(np.unique(labels))} labels, --test-size {test_size:g} leaves none "
            "to evaluate on. Give more rows for each label, a larger --test-size, or "
            "a --test file."
        )
    return reviews.take(~held), reviews.take(held)


def same_kinds(train: Reviews, held_out: Reviews) -> tuple[Reviews, Reviews]:
    """Make 5 equal to "5", where one file has only numbers and the other also words."""
    parts = (train, held_out)
    labels = _same_kind(train.labels, held_out.labels)
    groups = (None, None)
    if train.groups is not None:
        groups = _same_kind(train.groups, held_out.groups)
    tables = [part.concepts.copy() for part in parts]
    for name in train.concepts:
        columns = _same_kind(*(table[name].to_numpy() for table in tables))
        for table, column in zip(tables, columns, strict=True):
            table[name] = column
    first, second = (
        Reviews(part.ids, part.texts, labels[k], tables[k], groups[k])
        for k, part in enumerate(parts)
    )
    return first, second


def check_parts(train: Reviews, held_out: Reviews) -> list[str]:
    """Refuse data that cannot be audited, before hours are spent on embedding.

    Returns
    -------
    notes : list of str
        What can be audited, but not without a warning.

    Raises
    ------
    ValueError
        If there are fewer than two labels, labels are not classes, a held-out label
        does not occur in training, or a concept has no two values there.
    """
    classes = _check_labels(train.labels)
    unseen = ~np.isin(held_out.labels, classes)
    if unseen.any():
        raise DataFileError(
            f"The held-out label {_plain(held_out.labels[unseen][0])!r} "
            f"({_ids(held_out, unseen)}) does not occur in the training data, which "
            f"has {_listing(map(_plain, classes))}. Correct it, or add such rows to "
            "the training data."
        )
    notes = []
    if train.concepts.shape[1]:
        schema = ConceptSchema.from_annotations(train.concepts)
        notes += _unseen_values(schema, held_out)
    leaked = np.isin(held_out.texts, train.texts)
    if leaked.any():
        notes.append(
            f"{leaked.sum()} of the {len(held_out)} held-out texts also stand in the "
            f"training data ({_ids(held_out, leaked)}); they flatter every model."
        )
    single = [c for c in classes if not np.isin(c, held_out.labels)]
    if single:
        notes.append(
            f"No held-out row has the label {_listing(map(_plain, single))}: how well "
            "it is predicted remains unknown."
        )
    return notes


def fit_models(
    train: Reviews,
    X: np.ndarray,
    *,
    training: str = "sequential",
    concept_C: float = 1.0,
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
    """
    options["device"] = device
    model = ConceptBottleneckClassifier(
        training=training, concept_C=concept_C, **options
    )
    explainer = ConceptInfluenceExplainer(model, device=device)
    black_box = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
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
    influence = _influence(explainer, known, held_out, X_held_out, mistakes)
    groups = None
    if train.groups is not None:
        groups = _groups(explainer, train, held_out, X_held_out, predictions)
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
        classes=tuple(map(_plain, model.classes_)),
        concepts=tuple(map(str, model.concept_names_in_)),
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
        warnings=models.warnings,
    )


def _check_labels(labels: np.ndarray) -> np.ndarray:
    """Return the distinct labels; refuse what a classifier cannot learn."""
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        raise DataFileError(
            f"Labels are numbers that are not whole, such as "
            f"{labels[labels % 1 != 0][0]:g}; a classifier needs classes. Round or bin "
            "them."
        )
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DataFileError(
            f"All {len(labels)} rows to train on have the same label, "
            f"{_plain(classes[0])!r}; a classifier needs at least two."
        )
    return classes


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


def _influence(explainer, known, held_out: Reviews, X, mistakes) -> pd.DataFrame:
    result = explainer.influence(X, held_out.labels, reduce="mean", paths=True)
    order = np.argsort(-result.totals[0], kind="stable")
    tables = [_influence_lines(known, order, result.values[0, order], result.paths)]
    tables[0].insert(0, "target", "all")
    tables[0].insert(1, "target_id", None)
    tables[0].insert(2, "target_text_hash", None)
    step = max(1, _VALUES_AT_ONCE // result.values[0].size)
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
    values = values + 0.0  # no -0.0 in the tables
    lines = {"rank": np.arange(1, len(rows) + 1)}
    for name in known.columns.drop("text"):
        column = name if name.startswith("annotated:") else f"train_{name}"
        lines[column] = known[name].to_numpy()[rows]
    total = values.sum(axis=1)
    # The path that goes furthest in the direction of the total.
    main = (np.sign(total)[:, None] * values).argmax(axis=1)
    lines["influence"] = total
    lines["path"] = np.asarray(paths, dtype=object)[main]
    for path, part in zip(paths, values.T, strict=True):
        lines[f"path:{path}"] = part
    return pd.DataFrame(lines)


def _groups(explainer, train: Reviews, held_out: Reviews, X, predictions):
    result = explainer.influence(
        X, held_out.labels, reduce="mean", paths=True, groups=train.groups
    )
    influence = dict(zip(result.groups, result.values[0], strict=True))
    nothing = np.zeros(len(result.paths))
    lines = []
    for group in pd.unique(np.concatenate([result.groups, held_out.groups])):
        rows = predictions[predictions["group"] == group]
        values = influence.get(group, nothing)
        lines.append(
            {
                "group": _plain(group),
                "training_rows": int((train.groups == group).sum()),
                "held_out_rows": len(rows),
                **_quality(rows, explainer.classes_),
                "influence": float(values.sum()),
                **{
                    f"path:{path}": float(part)
                    for path, part in zip(result.paths, values, strict=True)
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
        digest.update(json.dumps([_plain(value) for value in row]).encode() + b"\n")
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


def _same_kind(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kinds = {
        isinstance(value, str)
        for values in (first, second)
        for value in values[~pd.isna(values)]
    }
    if len(kinds) < 2:
        return first, second
    return _as_words(first), _as_words(second)


def _as_words(values: np.ndarray) -> np.ndarray:
    words = [None if pd.isna(value) else format_value(value) for value in values]
    return np.asarray(words, dtype=object)


def _tidy(values: pd.Series) -> np.ndarray:
    """Return annotations as objects: None where there is none, 1 for 1.0."""
    tidy = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        tidy[i] = None if pd.isna(value) else _plain(value)
    return tidy


def _plain(value):
    """Return a Python number or string; a whole number if it is one."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _messages(caught) -> tuple[str, ...]:
    """Keep what tells of convergence; warn again of everything else."""
    messages = []
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            messages.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return tuple(messages)


def _unseen_values(schema: ConceptSchema, held_out: Reviews) -> list[str]:
    notes = []
    for name, values in zip(schema.names, schema.classes, strict=True):
        given = held_out.concepts[name].dropna()
        unseen = given[~given.isin(values)]
        if len(unseen):
            notes.append(
                f"Concept {name!r} has the value {_plain(unseen.iloc[0])!r} in "
                "held-out rows but never in training; it cannot be predicted and "
                f"counts as a mistake of the concept ({len(unseen)} rows)."
            )
    return notes


def _ids(reviews: Reviews, mask) -> str:
    ids = [str(i) for i in reviews.ids[mask]]
    word = "id" if len(ids) == 1 else "ids"
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{word} {', '.join(ids[:_NAMED])}{more}"


def _listing(values) -> str:
    values = [repr(value) for value in values]
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return ", ".join(values[:10]) + more
