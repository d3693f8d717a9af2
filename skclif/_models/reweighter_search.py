"""The search of a reweighter: whose influence it uses, and what it tries."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._inputs.annotations import Annotations
from .._inputs.checks import error_context
from .._inputs.devices import resolve_device
from .._inputs.features import check_features
from .._inputs.pipelines import final_step, fit_leading, is_frozen
from .._inputs.progress import Progress
from .._inputs.tensors import numbers_of
from .._inputs.training_rows import TrainingRows
from ..numerics import reweighting
from ..numerics.lockstep import LockstepModels
from ..numerics.reweighting import Aim
from ..numerics.sparse import SparseFeatures
from ..numerics.targets import SetTarget
from ..targets._target import Target, bind, check_defined, is_gap, take, undefined
from .bottleneck import ConceptBottleneckClassifier
from .fitted import FittedHeads
from .linear import check_explainable, training_rows
from .reweighter_rows import Rows
from .reweighter_trials import AimedFolds, Folds, Trials


def try_weights(
    reweighter: Any,
    rows: Rows,
    target: Target | None,
    cv: Any,
    *,
    suspecting: bool,
    automatic: bool,
    n_rounds: int,
) -> Trials:
    """Try what was asked for on the rows that have weight.

    Parameters
    ----------
    reweighter : InfluenceReweighter
        Whose estimator has its earlier steps fitted.
    rows : Rows
    target : Target or None
        None is the mean log-loss.
    cv : int, splitter or iterable of splits
    suspecting : bool
        Whether rows may start with less weight for labels that are probably wrong.
    automatic : bool
        Whether folds judge what was tried.
    n_rounds : int
        Maximum number of rounds.
    """
    random_state = check_random_state(reweighter.random_state)
    fold, n_folds, own_fold = rows.folds(cv, random_state)
    kept = rows.weights > 0
    if target is not None:
        target = take(target, rows.given(np.flatnonzero(kept & (fold >= 0))))
    rows, fold = rows.take(kept), fold[kept]
    if reweighter.surrogate is None:
        rows = rows.without_empty_columns()
    counted = fold >= 0
    own_fold = None if own_fold is None else own_fold[kept]
    search, aim = _reweighting(
        reweighter, rows, target, fold, n_folds, own_fold, automatic
    )
    judges = Folds(fold[counted], rows.weights[counted])
    if aim is not None and target is not None:
        codes = numbers_of(search.codes)
        judges = AimedFolds(
            *(judges.fold, judges.weights, target.name, aim.sign),
            number=aim.of_rows(np.arange(len(codes))),
            of_rows=aim.of_rows,
            is_defined=partial(_is_defined, target, codes),
            is_gap=is_gap(target),
        )
    n_trials = 1 + suspecting + n_rounds
    progress = Progress(reweighter.verbose)
    with progress.stage("Learning weights", n_trials) as advance:
        return Trials(
            search,
            judges if automatic else None,
            suspecting=suspecting,
            forced=reweighter.use_suspects is True,
            dose=1.0 if automatic else float(reweighter.strength) / reweighter.n_rounds,
            n_rounds=n_rounds,
            noisy=rows.clean is None,
            advance=advance,
        )


def _reweighting(
    reweighter: Any,
    rows: Rows,
    target: Target | None,
    fold: np.ndarray,
    n_folds: int,
    own_fold: np.ndarray | None,
    evaluate: bool,
) -> tuple[reweighting.Reweighting, reweighting.Aim | None]:
    model, training = _influence_model(reweighter, rows)
    data, heads = training.data(), FittedHeads.of(model)
    device = resolve_device(_device_of(model), data.features)
    data, span = data.to(device), None
    if not isinstance(data.features, SparseFeatures):
        data, span = data.in_row_space()
    weights = torch.tensor(rows.weights, device=device)  # may be read-only
    models = LockstepModels(
        heads.tensors(device, training.shares).inside(span),
        data.per_unit_of(weights),
        weights,
        **heads.penalties,
    )
    parts = reweighting.Rows(
        weights,
        torch.from_numpy(rows.adapted).to(device),
        torch.from_numpy(fold).to(device),
        n_folds,
        None if own_fold is None else torch.from_numpy(own_fold).to(device),
    )
    aim = None if target is None else _aim_of(target, models, parts.targets)
    search = reweighting.Reweighting(
        models,
        parts,
        max_weight=float(reweighter.max_weight),
        evaluate=evaluate,
        keep_clean=reweighter.include_validation,
        aim=aim,
    )
    return search, aim


def _influence_model(reweighter: Any, rows: Rows) -> tuple[Any, TrainingRows]:
    """Return the fitted model whose influence is used, and its training rows."""
    if reweighter.surrogate is not None:
        if is_frozen(reweighter.surrogate):
            raise TypeError(
                "surrogate ends in a FrozenEstimator, but it is fitted to the rows "
                "here; pass the estimator itreweighter. Steps before it may be frozen."
            )
        with error_context("surrogate", "a model with influence"):
            check_explainable(reweighter.surrogate, name="surrogate")
        estimator = clone(reweighter.surrogate)
        features = fit_leading(estimator, rows.X, rows.y)
    elif _has_influence(final_step(reweighter.estimator_)):
        estimator, features = clone(final_step(reweighter.estimator_)), rows.X
    else:
        estimator = ConceptBottleneckClassifier()
        features = rows.standardised()
    model = final_step(estimator)
    if getattr(model, "training", None) == "joint":
        # Many models are fitted in lock-step, which only convex heads can be.
        prob = model.intervention_prob
        prob = 0.0 if prob is None else prob
        model.set_params(training="mixed", intervention_prob=prob)
    given = rows.annotations(model)
    model.fit(features, rows.labels(model), sample_weight=rows.weights, **given)
    features = check_features(model, features, reset=False)
    annotations = Annotations.read(
        given.get("concepts"), given.get("concept_sample_weight"), len(rows.y)
    )
    training = training_rows(model, features, rows.y, rows.weights, annotations)
    return model, training


def _aim_of(target: Target, models: LockstepModels, rows: torch.Tensor) -> Aim:
    """Return the target of the rows whose loss counts, and of parts of them.

    Parameters
    ----------
    target : Target
        Of these rows.
    models : LockstepModels
    rows : Tensor of shape (n_targets,)
        Their positions in the data of the models.
    """
    codes, model = models.data.labels[rows], models.template
    proba = model.label_probabilities(models.data.features[rows])
    device = models.data.features.device

    def of_rows(part: np.ndarray) -> SetTarget:
        labels, there = numbers_of(codes[part]), take(target, part)
        check_defined(there, labels, "the rows whose loss counts")
        found = bind(there, labels, model.label.n_values, proba[part], device)
        found.check_differentiable("InfluenceReweighter")
        return found

    return Aim(of_rows, bool(target.higher_is_better))


def _is_defined(target: Target, codes: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether a target is defined for some of its rows."""
    return not undefined(take(target, rows), codes[rows], "")


def _has_influence(model: Any) -> bool:
    try:
        check_explainable(model)
    except (TypeError, ValueError):
        return False
    return True


def _device_of(model: Any) -> str:
    """Return where a model computes; models of scikit-learn compute on the CPU."""
    return getattr(model, "device", "cpu")
