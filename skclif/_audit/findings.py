"""An audit: the quality of a model, the causes of its errors, and possible repairs.

Data in, data out. Other modules read files, embed texts and write pages.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, f1_score, log_loss

from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.shares import influence_on_shares
from .._explain.suggestions.arguments import LEAST_ROWS
from .._inputs.annotations import format_value, plain_value
from .._inputs.pipelines import final_step
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.influence import dominant_paths
from ..exceptions import (
    InfluenceWarning,
    InterventionWarning,
    PenaltyWarning,
    SuggestionWarning,
)
from .corrections import GoldModel, correct, value_codes, what_failed
from .fingerprints import data_fingerprint, model_fingerprint
from .rows import LEAST_PROBABILITY, Reviews, tidy

N_CULPRITS = 5
_VALUES_AT_ONCE = 20_000_000
_ABOUT_NUMBERS = (
    ConvergenceWarning,
    InfluenceWarning,
    InterventionWarning,
    PenaltyWarning,
)


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
        ``p=<class>``, the same of the black box, of the model with all annotations in
        place of its predictions (``corrected_``), and of a model that sees annotations
        alone (``gold_``); failed (the stage that failed in a mistake); and of each
        concept ``annotated:``, ``predicted:``, ``p_annotated:<concept>`` and
        ``label_if_corrected:<concept>``, where it was misread.
    influence : DataFrame
        One line a target and training row. target "all" is the mean loss of the
        held-out rows, on which every training row has a line; target "row" is the
        loss of the row that target_id and target_text_hash name, with its culprits.
        rank 1 is the most harmful; path carries most of the influence; the columns
        ``path:`` add up to it.
    suspects : DataFrame
        Labels and annotations of training rows that may be wrong with a probability of
        at least `LEAST_PROBABILITY`, the most probable first: decision and why (empty,
        for a person to fill in), kind, id, text_hash, path, current, proposed,
        probability_wrong, probability_proposed, loss, margin, self_influence, group,
        text.
    suggestions : DataFrame
        Changes of training rows that would lower the mean loss of the held-out rows,
        the best first: the same columns up to proposed, then effect (nats; negative =
        good), std_error, probability_wrong (of the value that would be replaced; none
        elsewhere), group, text. A value is replaced only where it is believed wrong.
    suggested : dict or None
        Effect of the whole list of suggestions on held-out rows that did not choose the
        list, and its interval (nats; negative = good), None if there are too few rows
        for one; verdict, words (the verdict and reasons to doubt it), helps,
        n_candidates. None if there were too few held-out rows to suggest anything.
    groups : DataFrame or None
        Quality on the held-out rows of each group, and the influence on the mean loss
        of all held-out rows that the training rows of the group have together.
    mistakes : ndarray of shape (n_shown,)
        Positions in `predictions` of the mistakes with culprits, worst first.
    metrics, counts : dict
        Numbers that follow from the tables.
    fingerprints : dict
        SHA-256 of the training data as used and of the fitted coefficients.
    warnings : tuple of str
        Reasons to trust the numbers less.
    """

    classes: tuple[Any, ...]
    concepts: tuple[str, ...]
    method: str
    training: pd.DataFrame
    predictions: pd.DataFrame
    influence: pd.DataFrame
    suspects: pd.DataFrame
    suggestions: pd.DataFrame
    suggested: dict[str, Any] | None
    groups: pd.DataFrame | None
    mistakes: np.ndarray
    metrics: dict[str, Any]
    counts: dict[str, int]
    fingerprints: dict[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Models:
    """The audited model with its explainer, and the black box to compare with.

    Attributes
    ----------
    explainer : ConceptInfluenceExplainer
        Fitted.
    black_box : ConceptBottleneckClassifier or None
        Fitted without concepts; None if the audited model has none either.
    gold : GoldModel or None
        Fitted to annotations alone; None if there are none.
    warnings : tuple of str
        About heads that did not converge, and Hessians that are nearly singular.
    """

    explainer: ConceptInfluenceExplainer
    black_box: ConceptBottleneckClassifier | None
    gold: GoldModel | None
    warnings: tuple[str, ...]

    @property
    def model(self) -> ConceptBottleneckClassifier:
        """The audited model itself."""
        model: ConceptBottleneckClassifier = final_step(self.explainer.estimator_)
        return model


def fit_models(
    train: Reviews,
    model: ConceptBottleneckClassifier | None = None,
    *,
    training: str = "mixed",
    concept_C: float = 1.0,
    method: str = "auto",
    device: str = "cpu",
    **options: Any,
) -> Models:
    """Fit the concept bottleneck to audit, and the black box to compare it with.

    Parameters
    ----------
    train : Reviews
        Rows that `check_parts` accepted, with features.
    model : ConceptBottleneckClassifier, default=None
        Already fitted to these rows, to be audited as it is.
    training, concept_C, device, **options
        Of :class:`ConceptBottleneckClassifier`; `options` are the black box's too.
    method : {"auto", "newton", "leverage", "first_order"}
        Of :class:`ConceptInfluenceExplainer`.
    """
    options["device"] = device
    audited = ConceptBottleneckClassifier(
        training=training, concept_C=concept_C, **options
    )
    if model is not None:
        audited = FrozenEstimator(model)
    explainer = ConceptInfluenceExplainer(audited, method=method, device=device)
    black_box = gold = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = train.features, train.labels, train.weights
        if train.concepts.shape[1]:
            explainer.fit(*data, concepts=train.concepts)
            black_box = ConceptBottleneckClassifier(**options).fit(*data)
            gold = GoldModel.fit(train, options.get("C", 1.0))
        else:
            explainer.fit(*data)
    return Models(explainer, black_box, gold, messages(caught))


def audit(
    models: Models,
    train: Reviews,
    held_out: Reviews,
    *,
    max_mistakes: int = 10,
    seed: int = 0,
) -> Audit:
    """Evaluate models, trace their errors to training rows, and list what could change.

    Parameters
    ----------
    models : Models
        What `fit_models` made of `train`.
    train, held_out : Reviews
        Rows that `check_parts` accepted, with features. Tables hold their texts if the
        rows do.
    max_mistakes : int, default=10
        Number of mistakes that are traced to training rows, the worst first.
    seed : int, default=0
        Of the folds of held-out rows that choose and measure suggestions.

    Returns
    -------
    audit : Audit
        What was found. Influence is on the log-loss (nats); positive = harmful.
    """
    explainer, model = models.explainer, models.model
    with warnings.catch_warnings(record=True) as of_model:
        warnings.simplefilter("always")
        predictions = _predictions(models, held_out)
    is_mistake = predictions["label"] != predictions["predicted"]
    order = np.argsort(-predictions["loss"].to_numpy(), kind="stable")
    mistakes = order[is_mistake.to_numpy()[order]][:max_mistakes]
    known = _known(train)
    kept = train.weights > 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = _trace(explainer, held_out, mistakes)
    influence = _influence(traced, known, kept, held_out, mistakes)
    suspects, suspect_notes = _suspects(explainer, known, train.groups)
    suggestions, suggested = _suggestions(
        explainer, known, held_out, train.groups, seed
    )
    used = train.used()
    groups = None
    if train.groups is not None:
        groups = _groups(
            traced.paths,
            traced.mean[kept],
            train.groups[kept],
            predictions,
            explainer.classes_,
        )
    overall = influence[influence["target"] == "all"]
    counts = {
        "training_rows": len(used),
        "held_out_rows": len(held_out),
        "mistakes": int(is_mistake.sum()),
        "harmful_training_rows": int((overall["influence"] > 0).sum()),
        "held_out_texts_in_training": int(
            predictions["text_hash"].isin(overall["train_text_hash"]).sum()
        ),
    }
    return Audit(
        classes=tuple(map(plain_value, model.classes_)),
        concepts=tuple(map(str, model.concept_names_in_)),
        method=traced.method,
        training=known,
        predictions=predictions,
        influence=influence,
        suspects=suspects,
        suggestions=suggestions,
        suggested=suggested,
        groups=groups,
        mistakes=mistakes,
        metrics=_metrics(models, used, predictions, groups),
        counts=counts,
        fingerprints={
            "training_data": data_fingerprint(train),
            "coefficients": model_fingerprint(model),
        },
        warnings=(
            *models.warnings,
            *messages([*of_model, *caught]),
            *suspect_notes,
        ),
    )


def predicted_table(model: ConceptBottleneckClassifier, rows: Reviews) -> pd.DataFrame:
    """Return predictions for rows, which need no labels.

    Columns: id, text_hash, text, predicted, ``p=<class>``, ``predicted:<concept>``.
    """
    proba = model.predict_proba(rows.features)
    table: dict[str, Any] = {"id": rows.ids, "text_hash": rows.hashes()}
    if rows.texts is not None:
        table["text"] = rows.texts
    table["predicted"] = model.classes_[proba.argmax(axis=1)]
    for k, value in enumerate(model.classes_):
        table[f"p={format_value(value)}"] = proba[:, k]
    if model.n_concepts_:
        predicted = pd.DataFrame(
            model.predict_concepts(rows.features), columns=model.concept_names_in_
        )
        for name, values in predicted.items():
            table[f"predicted:{name}"] = tidy(values)
    return pd.DataFrame(table)


def wrong_probabilities(
    model: ConceptBottleneckClassifier, train: Reviews, device: str
) -> dict[tuple[str, str], float] | None:
    """Return the probability of being wrong by id and path, of every suspect.

    Labels and annotations that are not there have less than `LEAST_PROBABILITY`. None
    if nothing can be said of any of them.
    """
    explainer = ConceptInfluenceExplainer(FrozenEstimator(model), device=device)
    concepts = train.concepts if train.concepts.shape[1] else None
    explainer.fit(train.features, train.labels, train.weights, concepts=concepts)
    table, notes = _suspects(explainer, _known(train), train.groups)
    if notes:
        return None
    columns = (table[column] for column in ("id", "path", "probability_wrong"))
    return {(i, path): float(p) for i, path, p in zip(*columns, strict=True)}


def quality(model: ConceptBottleneckClassifier, held_out: Reviews) -> dict[str, float]:
    """Return accuracy, macro F1 and log-loss (nats) of a model on held-out rows."""
    proba = model.predict_proba(held_out.features)
    columns = _label_columns(model.classes_, proba, held_out, "")
    rows = pd.DataFrame({"label": held_out.labels, **columns})
    return _quality(rows, model.classes_)


# --- Tables ---------------------------------------------------------------------------


def _known(train: Reviews) -> pd.DataFrame:
    known: dict[str, Any] = {"id": train.ids, "text_hash": train.hashes()}
    if train.texts is not None:
        known["text"] = train.texts
    if train.groups is not None:
        known["group"] = train.groups
    known["label"] = train.labels
    for name, values in train.concepts.items():
        known[f"annotated:{name}"] = values
    return pd.DataFrame(known)


def _predictions(models: Models, held_out: Reviews) -> pd.DataFrame:
    model = models.model
    table: dict[str, Any] = {"id": held_out.ids, "text_hash": held_out.hashes()}
    if held_out.groups is not None:
        table["group"] = held_out.groups
    if held_out.texts is not None:
        table["text"] = held_out.texts
    table["label"] = held_out.labels
    classes, X = model.classes_, held_out.features
    proba = model.predict_proba(X)
    table |= _label_columns(classes, proba, held_out, "")
    if models.black_box is None or models.gold is None:
        return pd.DataFrame(table)
    corrected, labels = correct(model, held_out)
    gold = models.gold.predict_proba(held_out)
    for prefix, other in {
        "black_box_": models.black_box.predict_proba(X),
        "corrected_": corrected,
        "gold_": gold,
    }.items():
        table |= _label_columns(classes, other, held_out, prefix)
    table["failed"] = what_failed(held_out.labels, classes, proba, corrected, gold)
    return pd.DataFrame(table | _concept_columns(model, held_out, labels))


def _label_columns(
    classes: np.ndarray, proba: np.ndarray, rows: Reviews, prefix: str
) -> dict[str, np.ndarray]:
    codes = np.searchsorted(classes, rows.labels)
    # The smallest probability that scikit-learn's log_loss knows.
    true = np.clip(proba[np.arange(len(rows)), codes], np.finfo(float).eps, 1)
    columns = {
        f"{prefix}predicted": classes[proba.argmax(axis=1)],
        f"{prefix}loss": -np.log(true),
    }
    for k, value in enumerate(classes):
        columns[f"{prefix}p={format_value(value)}"] = proba[:, k]
    return columns


def _concept_columns(
    model: ConceptBottleneckClassifier, rows: Reviews, labels: pd.DataFrame
) -> dict[str, Any]:
    predicted = model.predict_concepts(rows.features)
    proba = model.predict_concept_proba(rows.features)
    columns: dict[str, Any] = {}
    for name, codes in value_codes(model, rows.concepts).items():
        given = rows.concepts[name]
        p = np.where(codes >= 0, proba[name][np.arange(len(rows)), codes], 0.0)
        columns[f"annotated:{name}"] = given.to_numpy()
        columns[f"predicted:{name}"] = tidy(predicted[name])
        columns[f"p_annotated:{name}"] = np.where(given.notna(), p, np.nan)
        columns[f"label_if_corrected:{name}"] = labels[name]
    return columns


@dataclass(frozen=True)
class _Traced:
    """Influence on the mean loss of the held-out rows, and on the worst mistakes.

    Attributes
    ----------
    method : str
    paths : tuple of str
    mean : ndarray of shape (n_train, n_paths)
    culprits : list of (ndarray, ndarray)
        Of every mistake, positions of training rows, the most harmful first, and their
        influence, (n_culprits, n_paths).
    """

    method: str
    paths: tuple[str, ...]
    mean: np.ndarray
    culprits: list[tuple[np.ndarray, np.ndarray]]


def _trace(
    explainer: ConceptInfluenceExplainer, held_out: Reviews, mistakes: np.ndarray
) -> _Traced:
    """Return influence on the mean and on mistakes: one method, rows removed once."""
    X, labels = held_out.features, held_out.labels
    everywhere = np.full((1, len(X)), 1 / len(X))
    n_values = explainer.n_samples_ * (2 + len(explainer.concept_names_in_))
    step = max(1, _VALUES_AT_ONCE // n_values)
    first = np.concatenate([everywhere, _one_each(mistakes[:step], len(X))])
    method, paths, values = influence_on_shares(explainer, X, labels, first)
    mean, culprits = values[0], [_culprits(part) for part in values[1:]]
    for start in range(step, len(mistakes), step):
        block = mistakes[start : start + step]
        with warnings.catch_warnings():
            # The mistakes are among the rows that the first call has warned of.
            warnings.simplefilter("ignore", InfluenceWarning)
            *_, values = influence_on_shares(
                explainer, X[block], labels[block], np.eye(len(block)), method
            )
        culprits += [_culprits(part) for part in values]
    return _Traced(method, paths, mean, culprits)


def _one_each(rows: np.ndarray, n_rows: int) -> np.ndarray:
    shares = np.zeros((len(rows), n_rows))
    shares[np.arange(len(rows)), rows] = 1
    return shares


def _culprits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = values.sum(axis=1)
    order = np.argsort(-total, kind="stable")[:N_CULPRITS]
    order = order[total[order] > 0]
    return order, values[order]


def _influence(
    traced: _Traced,
    known: pd.DataFrame,
    kept: np.ndarray,
    held_out: Reviews,
    mistakes: np.ndarray,
) -> pd.DataFrame:
    order = np.argsort(-traced.mean.sum(axis=1), kind="stable")
    order = order[kept[order]]
    tables = [_influence_lines(known, order, traced.mean[order], traced.paths)]
    tables[0].insert(0, "target", "all")
    tables[0].insert(1, "target_id", None)
    tables[0].insert(2, "target_text_hash", None)
    hashes = held_out.hashes()
    for row, (culprits, values) in zip(mistakes, traced.culprits, strict=True):
        lines = _influence_lines(known, culprits, values, traced.paths)
        lines.insert(0, "target", "row")
        lines.insert(1, "target_id", held_out.ids[row])
        lines.insert(2, "target_text_hash", hashes[row])
        tables.append(lines)
    return pd.concat(tables, ignore_index=True)


def _influence_lines(
    known: pd.DataFrame, rows: np.ndarray, values: np.ndarray, paths: tuple[str, ...]
) -> pd.DataFrame:
    """Return lines for training rows in order of rank, `values` (n_rows, n_paths)."""
    lines: dict[str, Any] = {"rank": np.arange(1, len(rows) + 1)}
    for name in known.columns.drop("text", errors="ignore"):
        column = name if name.startswith("annotated:") else f"train_{name}"
        lines[column] = known[name].to_numpy()[rows]
    total = values.sum(axis=1)
    lines["influence"] = total
    lines["path"] = np.asarray(paths, dtype=object)[dominant_paths(values)]
    for path, part in zip(paths, values.T, strict=True):
        lines[f"path:{path}"] = part
    return pd.DataFrame(lines)


def _suspects(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    groups: np.ndarray | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return labels and annotations that may be wrong, or the reason for none."""
    columns = ["probability_wrong", "probability_proposed"]
    columns += ["loss", "margin", "self_influence"]
    try:
        found = explainer.suspect_labels(groups=groups)
    except ValueError as error:  # a term that holds a head cannot be left out
        return _decisions(known, [], [], [], [], [], {c: [] for c in columns}), [
            f"Nothing is listed as suspect. {error}"
        ]
    found = found[found["probability_wrong"] >= LEAST_PROBABILITY]
    kinds = np.where(found["path"] == "label", "relabel", "annotate")
    names = ["row", "path", "current", "proposed"]
    row, path, current, proposed = (found[name].to_numpy() for name in names)
    evidence = {name: found[name].to_numpy() for name in columns}
    return _decisions(known, row, kinds, path, current, proposed, evidence), []


def _suggestions(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    held_out: Reviews,
    groups: np.ndarray | None,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """Return changes that would help, and the effect of all of them."""
    columns = ["effect", "std_error", "probability_wrong"]
    if len(held_out) < LEAST_ROWS:
        nothing: dict[str, Any] = {name: [] for name in columns}
        return _decisions(known, [], [], [], [], [], nothing), None
    with warnings.catch_warnings():
        # What it warns of is in `words`, which everything that shows suggestions says.
        warnings.simplefilter("ignore", SuggestionWarning)
        found = explainer.suggest_edits(
            held_out.features, held_out.labels, groups=groups, random_state=seed
        )
    names = ["row", "kind", "path", "current", "proposed"]
    row, kind, path, current, proposed = (found.frame[n].to_numpy() for n in names)
    evidence = {n: found.frame[n].to_numpy() for n in columns}
    worth = {
        "effect": found.effect,
        "interval": None if found.interval is None else list(found.interval),
        "verdict": found.verdict,
        "words": found.in_words(),
        "helps": found.helps,
        "n_candidates": found.n_candidates,
    }
    return _decisions(known, row, kind, path, current, proposed, evidence), worth


def _decisions(
    known: pd.DataFrame,
    row: Any,
    kind: Any,
    path: Any,
    current: Any,
    proposed: Any,
    evidence: dict[str, Any],
) -> pd.DataFrame:
    """Return lines for a person to decide on, texts last."""
    row = np.asarray(row, dtype=int)
    table = {
        "decision": np.full(len(row), "", dtype=object),
        "why": np.full(len(row), "", dtype=object),
        "kind": kind,
        "id": known["id"].to_numpy()[row],
        "text_hash": known["text_hash"].to_numpy()[row],
        "path": path,
        "current": tidy(pd.Series(current, dtype=object)),
        "proposed": tidy(pd.Series(proposed, dtype=object)),
        **evidence,
    }
    for name in ("group", "text"):
        if name in known:
            table[name] = known[name].to_numpy()[row]
    return pd.DataFrame(table)


def _groups(
    paths: tuple[str, ...],
    values: np.ndarray,
    groups: np.ndarray,
    predictions: pd.DataFrame,
    classes: np.ndarray,
) -> pd.DataFrame:
    lines = []
    named = [np.unique(groups), predictions["group"].to_numpy()]
    for group in pd.unique(np.concatenate(named)):
        rows = predictions[predictions["group"] == group]
        of_group = values[groups == group].sum(axis=0)
        lines.append(
            {
                "group": plain_value(group),
                "training_rows": int((groups == group).sum()),
                "held_out_rows": len(rows),
                **_quality(rows, classes),
                "influence": float(of_group.sum()),
                **{
                    f"path:{path}": float(part)
                    for path, part in zip(paths, of_group, strict=True)
                },
            }
        )
    return pd.DataFrame(lines)


# --- Quality --------------------------------------------------------------------------


def _metrics(
    models: Models,
    train: Reviews,
    predictions: pd.DataFrame,
    groups: pd.DataFrame | None,
) -> dict[str, Any]:
    model, black_box = models.model, models.black_box
    label = {"model": _quality(predictions, model.classes_)}
    if black_box is not None:
        for who in ("corrected", "gold", "black_box"):
            label[who] = _quality(predictions, model.classes_, f"{who}_")
    label["majority"] = _majority_quality(train.labels, predictions, model.classes_)
    metrics: dict[str, Any] = {"label": label}
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
    metrics["penalties"] = _penalties(models)
    if groups is not None:
        metrics["groups"] = [
            {k: None if pd.isna(v) else v for k, v in line.items()}
            for line in groups.to_dict("records")
        ]
    return metrics


def _penalties(models: Models) -> dict[str, Any]:
    """Return C of every head, as given or chosen."""
    model = models.model
    names = map(str, model.concept_names_in_)
    found = {
        "label": model.C_,
        "concepts": dict(zip(names, model.concept_C_.tolist(), strict=True)),
    }
    if models.black_box is not None:
        found["black_box"] = models.black_box.C_
    return found


def _quality(
    rows: pd.DataFrame, classes: np.ndarray, prefix: str = ""
) -> dict[str, Any]:
    if not len(rows):
        return {"accuracy": None, "macro_f1": None, "log_loss": None}
    true, predicted = rows["label"], rows[f"{prefix}predicted"]
    proba = rows[[f"{prefix}p={format_value(value)}" for value in classes]]
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
        "log_loss": float(log_loss(true, proba.to_numpy(), labels=classes)),
    }


def _majority_quality(
    labels: np.ndarray, predictions: pd.DataFrame, classes: np.ndarray
) -> dict[str, Any]:
    """Return the quality of predicting the shares of the training labels."""
    shares = np.array([(labels == value).mean() for value in classes])
    rows = pd.DataFrame({"label": predictions["label"]})
    rows["predicted"] = classes[shares.argmax()]
    for value, share in zip(classes, shares, strict=True):
        rows[f"p={format_value(value)}"] = share
    return _quality(rows, classes)


def _concept_quality(
    annotations: pd.Series, predictions: pd.DataFrame, name: str
) -> dict[str, Any]:
    rows = predictions[predictions[f"annotated:{name}"].notna()]
    words = annotations.dropna().map(str).to_numpy(dtype=object)
    values, counts = np.unique(words, return_counts=True)
    true = rows[f"annotated:{name}"].map(str)
    predicted = rows[f"predicted:{name}"].map(str)
    most_common = pd.Series(values[counts.argmax()], index=rows.index)
    return {
        "annotated_held_out_rows": len(rows),
        "model": _agreement(true, predicted),
        "majority": _agreement(true, most_common),
    }


def _agreement(true: pd.Series, predicted: pd.Series) -> dict[str, float | None]:
    if not len(true):
        return {"accuracy": None, "macro_f1": None}
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
    }


def _mean(qualities: list[dict[str, Any]]) -> dict[str, float | None]:
    """Average over the concepts that are annotated on held-out rows."""
    means = {}
    for key in qualities[0]:
        known = [quality[key] for quality in qualities if quality[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means


# --- Small things ---------------------------------------------------------------------


def messages(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return warnings about the numbers, and issue all others again."""
    kept = []
    for warning in caught:
        if issubclass(warning.category, _ABOUT_NUMBERS):
            kept.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return tuple(kept)
