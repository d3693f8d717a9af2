"""An audit: the quality of a model, the causes of its errors, and possible repairs.

Data in, data out. Other modules read files, embed texts and write pages.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import plain_value
from .evidence import Evidence, evidence
from .fingerprints import data_fingerprint, model_fingerprint
from .honesty import as_json, honesty, more_than_concepts, shares_of_paths
from .influence import N_TRACED, influence_table, most_at_once, trace
from .kinds import LABEL, in_order, orders
from .marks import Marks
from .models import Models, messages
from .predictions import held_out_predictions
from .proposals import suggestions_table, suspects_table, without_paths
from .quality import doubts_of, groups_table, metrics_of, what_was_learned
from .rows import Reviews


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
        alone (``gold_``), these two only if every concept is annotated in some row;
        failed (the stage that failed in a mistake, "unknown" if annotations are missing
        to say it); and of each concept ``annotated:``, ``predicted:``,
        ``p_annotated:<concept>`` and ``label_if_corrected:<concept>``, where it was
        misread.
    influence : DataFrame
        One line a target and training row. target "all" is the mean loss of the
        held-out rows, on which every training row has a line; target "row" is the
        loss of the row that target_id and target_text_hash name, with the rows that
        raise it most and those that lower it most. rank 1 is the most harmful, the
        number of rows the most helpful; path carries most of the influence; the columns
        ``path:`` add up to it.
    suspects : DataFrame
        Labels and annotations of training rows that may be wrong with a probability of
        at least `LEAST_PROBABILITY`, the most probable first: decision and why (empty,
        for a person to fill in), kind, id, text_hash, path, current, proposed,
        probability_wrong, probability_proposed, loss, margin, self_influence, group,
        text.
    suggestions : DataFrame
        Changes of training rows that would lower the mean loss of the held-out rows,
        the best first, and after them missing annotations that a person should be asked
        for: the same columns up to proposed, then guess (of the model, for a missing
        annotation; nothing is proposed for it), effect (nats; negative = good; of the
        guess), std_error, probability_wrong (of the value that would be replaced; none
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
        Positions in `predictions` of the mistakes that were traced, worst first.
    spreads : dict of str to float
        Standard deviation of the annotations of every concept of amounts, beyond which
        a prediction is a misreading.
    metrics, counts : dict
        Numbers that follow from the tables.
    evidence : Evidence
        What the page shows besides.
    fingerprints : dict
        SHA-256 of the training data as used and of the fitted coefficients.
    bottleneck : dict or None
        Whether the concepts carry the predictions: ``verdicts`` (name, question, answer
        and words), ``estimates`` (name, of, value, low, high, unit), as
        :class:`skclif.metrics.BottleneckReport` describes them, and
        ``influence_by_path``, the share of all influence on the mean held-out loss, by
        size. None without concepts or held-out rows.
    nothing_learned : tuple of str
        "label" and concepts of which the model learned nothing. No suspects of these
        are listed, because rare values would be called wrong for being rare.
    warnings : tuple of str
        Reasons to trust the numbers less; what concerns all of them comes first.
    marks : Marks or None
        Which words speak for what the page lists; None if the vectors of the texts are
        no sums over words, or texts were not to be kept.
    machine : DataFrame or None
        Annotations that prompts made or were not sure of, and no person read, as lines
        to decide on: those first that are expected to help most. None without prompts.
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
    spreads: dict[str, float]
    metrics: dict[str, Any]
    counts: dict[str, int]
    evidence: Evidence
    fingerprints: dict[str, str]
    bottleneck: dict[str, Any] | None
    nothing_learned: tuple[str, ...]
    warnings: tuple[str, ...]
    marks: Marks | None = None
    machine: pd.DataFrame | None = None


def audit(
    models: Models,
    train: Reviews,
    held_out: Reviews,
    *,
    max_mistakes: int | None = None,
    seed: int = 0,
    ordinal: Collection[str] | dict[str, list[Any]] = (),
    advice: str = "",
) -> Audit:
    """Evaluate models, trace their errors to training rows, and list what could change.

    Parameters
    ----------
    models : Models
        What `fit_models` made of `train`.
    train, held_out : Reviews
        Rows that `check_parts` accepted, with features. Tables hold their texts if the
        rows do.
    max_mistakes : int, default=None
        Number of mistakes that are traced to training rows, the worst first. None for
        up to `N_TRACED`, as many as one pass over the training rows takes.
    seed : int, default=0
        Of the folds of held-out rows that choose and measure suggestions.
    ordinal : collection of str, or dict of str to list, default=()
        The label and concepts whose values are ordered numbers, if wrong values are
        next to the right ones; a dict gives the values in their order.
    advice : str, default=""
        What to do if nothing was learned.

    Returns
    -------
    audit : Audit
        What was found. Influence is on the log-loss (nats); positive = harmful.
    """
    explainer, model = models.explainer, models.model
    with warnings.catch_warnings(record=True) as of_model:
        warnings.simplefilter("always")
        predictions = held_out_predictions(models, held_out)
    is_mistake = predictions["label"] != predictions["predicted"]
    order = np.argsort(-predictions["loss"].to_numpy(), kind="stable")
    wrong = order[is_mistake.to_numpy()[order]]
    if max_mistakes is None:
        max_mistakes = min(N_TRACED, most_at_once(explainer))
    mistakes = wrong[:max_mistakes]
    known = train.known()
    kept = train.weights > 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = trace(explainer, held_out, mistakes)
    kept &= ~np.isnan(traced.mean).any(axis=1)  # not defined without the row
    influence = influence_table(traced, known, kept, held_out, mistakes)
    used = train.used()
    order_of = ordinal if isinstance(ordinal, dict) else orders(model, ordinal)
    learned = what_was_learned(used, predictions, models.spreads)
    suspects, suspect_notes, unknown = suspects_table(
        explainer, known, train.groups, order_of, models.spreads
    )
    nothing = {
        one.path
        for one in learned
        if one.is_none or (one.can_tell and one.path in unknown)
    }
    suspects = without_paths(suspects, nothing)
    suggestions, suggested = suggestions_table(
        explainer,
        known,
        held_out,
        train.groups,
        seed,
        order_of,
        relabel=LABEL not in nothing,
        spreads=models.spreads,
    )
    groups = None
    if train.groups is not None:
        groups = groups_table(
            traced.paths,
            traced.mean[kept],
            train.groups[kept],
            predictions,
            explainer.classes_,
        )
    report = honesty(models, used, held_out, predictions, seed)
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
        classes=tuple(in_order(map(plain_value, model.classes_))),
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
        spreads=models.spreads,
        metrics=metrics_of(models, used, predictions, groups),
        counts=counts,
        evidence=evidence(models, used, held_out, predictions, wrong, seed),
        fingerprints={
            "training_data": data_fingerprint(train),
            "coefficients": model_fingerprint(model),
        },
        bottleneck=as_json(report, shares_of_paths(traced.paths, traced.mean[kept])),
        nothing_learned=tuple(one.path for one in learned if one.path in nothing),
        warnings=(
            *doubts_of(learned, advice),
            *more_than_concepts(model, predictions),
            *models.warnings,
            *messages([*of_model, *caught]),
            *suspect_notes,
        ),
    )
