"""Both stages solved again after an edit of the training rows.

An edit leaves most of the objective as it was, so the new optimum is near. Newton steps
by conjugate gradients start from the current parameters, with the factorised Hessians
from before the edit as preconditioner. Many changed codes are the exception: rows that
were surely right are now surely wrong, line searches shorten the steps, and a fit from
zero is faster. Each head takes the faster way. See Eqs. (41) and (42) of
docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .bottleneck import Bottleneck, TrainingData, concept_problem, solve_heads
from .bounded import minimise
from .first_order import add_adjoints, solve_adjoint
from .heads import HeadsProblem, HeadStack
from .hessians import Factors
from .inverses import Cholesky, Inverse
from .joint import fit_joint, joint_steps
from .joint_hessian import JointHessian, predicted_joint_effect
from .matrix_free import MatrixFree
from .solvers import FactoredHessians
from .sparse import Features
from .steps import Advance, unseen
from .targets import Question

# Where the solution of a head started.
KEPT, CURRENT, ZERO = "kept", "current", "zero"
# Share of a head's weight on changed codes above which a fit from zero is faster.
_MOST_CHANGED = 0.004
# It is faster too if the line search halves the first step twice or more.
_SHORT = 0.3
# With factorised Hessians, exact steps cost little more than rough steps.
_LOOSEST = 0.02


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes
    ----------
    tol : float
        Bound on the gradient norm of every head.
    max_iter : int
        Maximum number of Newton steps per stage.
    n_steps : int or None
        Maximum number of Newton steps per stage, starting from the current parameters.
        None runs to convergence.
    """

    tol: float
    max_iter: int
    n_steps: int | None = None


@dataclass(frozen=True)
class Way:
    """How heads were solved after an edit. Each tuple has one entry per head.

    Attributes
    ----------
    start : tuple of str
        Where each head started: "current" for its parameters before the edit, "zero",
        or "kept" if the edit changed nothing for it.
    n_steps : tuple of int
        Number of Newton steps.
    before, after : tuple of float
        Norm of the gradient on the edited rows, at the parameters from before the edit
        and at the new parameters; 0 for a head that was kept.
    tolerance : tuple of float
        Gradient norm that counts as zero.
    converged : tuple of bool
    """

    start: tuple[str, ...] = ()
    n_steps: tuple[int, ...] = ()
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    tolerance: tuple[float, ...] = ()
    converged: tuple[bool, ...] = ()

    def __add__(self, other: "Way") -> "Way":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Way(*(first + second for first, second in pairs))


@dataclass(frozen=True)
class Edited:
    """Both stages after an edit.

    Attributes
    ----------
    bottleneck : Bottleneck
    way : Way
        The concept heads, and last the label head.
    factors : Factors or None
        The given factors, without those of dropped concepts.
    """

    bottleneck: Bottleneck
    way: Way
    factors: Factors | None


def solve_edit(
    bottleneck: Bottleneck,
    old: TrainingData,
    new: TrainingData,
    factors: Factors | None,
    *,
    penalty: float,
    concept_penalties: Tensor,
    limits: Limits,
    dropped: Sequence[int] = (),
    reshaped: Sequence[int] = (),
    label_reshaped: bool = False,
    label_moved: bool = False,
    settled: bool = True,
    concept_weight: float | None = None,
    advance: Advance = unseen,
) -> Edited:
    """Solve both stages for edited rows.

    Parameters
    ----------
    bottleneck : Bottleneck
        At the optimum for `old`, or near it.
    old, new : TrainingData
        Before and after the edit. Added rows are last.
    factors : Factors or None
        Hessians of these or similar heads on these or similar rows, in the same
        coordinates.
    penalty : float
        ``1 / C``.
    concept_penalties : Tensor of shape (n_concepts,)
        ``1 / concept_C`` of every concept before the edit.
    limits : Limits
    dropped : sequence of int
        Positions of concepts that `new` no longer has.
    reshaped : sequence of int
        Positions of concepts, counted before any is dropped, that have lost values.
        `bottleneck` is already without these values, and is far from the optimum.
    label_reshaped : bool
        Whether the label has lost classes.
    label_moved : bool
        Whether weights of the label head were held, or are held no more.
    settled : bool
        Whether `bottleneck` is at the optimum, so that unchanged heads are too.
    concept_weight : float, default=None
        Of the concepts' losses if both stages are trained together: from the current
        parameters, because there can be several minima. None: one after the other.
    advance : callable
        Called after each Newton step.
    """
    if dropped:
        bottleneck, old, factors = _without(bottleneck, old, factors, dropped)
        left = [j for j in range(len(concept_penalties)) if j not in dropped]
        concept_penalties = concept_penalties[left]
        reshaped = [left.index(j) for j in reshaped]
    stack, old = bottleneck.concepts, _padded(old, new.features)
    changed, share = _changes(
        stack,
        (old.concepts, new.concepts),
        (old.concept_weights, new.concept_weights),
    )
    # Without the lost values, old rows may equal new ones.
    share[list(reshaped)], changed[list(reshaped)] = 1, True
    if concept_weight is not None and stack:
        of_label = old.label_weights != new.label_weights
        of_label |= (old.labels != new.labels) & (new.label_weights > 0)
        anew = bool(dropped) or not settled or label_reshaped or label_moved
        if not (anew or bool(changed.any() or of_label.any())):
            kept = (KEPT, 0, 0.0, 0.0, 0.0, True)
            return Edited(
                bottleneck, Way(*zip(*[kept] * (len(stack) + 1), strict=True)), factors
            )
        return _solve_jointly(
            bottleneck, new, penalty, concept_penalties, concept_weight, limits, advance
        )
    way = Way()
    if stack:
        parameters, way = _solve_again(
            concept_problem(stack, new, concept_penalties),
            bottleneck.concept_parameters,
            changed | (not settled),
            share,
            None if factors is None else factors.concepts,
            limits,
            advance,
        )
        bottleneck = replace(bottleneck, concept_parameters=parameters)
    label_changed, share = _changes(
        HeadStack([bottleneck.label]),
        (old.labels[:, None], new.labels[:, None]),
        (old.label_weights[:, None], new.label_weights[:, None]),
    )
    # What the label head sees moves with the concepts.
    moved = bool(dropped) or not settled or changed.any() or label_reshaped
    moved = moved or label_moved
    if (
        label_reshaped or ZERO in way.start
    ):  # the inputs moved so far that this is a new problem
        share = torch.ones_like(share)
    parameters, label_way = _solve_again(
        bottleneck.label_problem(new, penalty),
        bottleneck.label_parameters,
        label_changed | moved,
        share,
        None if factors is None else [factors.label],
        limits,
        advance,
    )
    bottleneck = replace(bottleneck, label_parameters=parameters)
    return Edited(bottleneck, way + label_way, factors)


def _solve_jointly(
    bottleneck: Bottleneck,
    new: TrainingData,
    penalty: float,
    concept_penalties: Tensor,
    concept_weight: float,
    limits: Limits,
    advance: Advance,
) -> Edited:
    """Train both stages together on edited rows, from the current parameters."""
    most = joint_steps(limits.max_iter)
    bottleneck, fit = fit_joint(
        bottleneck,
        new,
        penalty=penalty,
        concept_penalties=concept_penalties,
        concept_weight=concept_weight,
        tol=limits.tol,
        max_iter=most if limits.n_steps is None else min(limits.n_steps, most),
        advance=advance,
    )
    n_heads = len(fit.gradient_norm)
    way = Way(
        (CURRENT,) * n_heads,
        (fit.n_iter,) * n_heads,
        tuple(fit.first_norm.tolist()),
        tuple(fit.gradient_norm.tolist()),
        tuple(fit.tolerance.tolist()),
        tuple(fit.converged.tolist()),
    )
    return Edited(bottleneck, way, None)


def predicted_effect(
    bottleneck: Bottleneck,
    new: TrainingData,
    factors: Factors | MatrixFree | JointHessian,
    questions: Sequence[Question],
) -> float:
    """Return the first-order effect of an edit on a target: the sum of the questions.

    It is ``target after - target before``: minus the inner product of the adjoint with
    the gradient of the edited rows, at the parameters from before the edit. Eq. (42) of
    docs/mathematics.rst.

    Parameters
    ----------
    bottleneck : Bottleneck
        Before the edit.
    new : TrainingData
        After the edit.
    factors : Factors, MatrixFree or JointHessian
        Before the edit.
    questions : sequence of Question
        Each is combined to one answer.
    """
    stack = bottleneck.concepts
    adjoint = add_adjoints(
        [
            solve_adjoint(
                bottleneck,
                factors,
                question.target.derivatives(bottleneck, question.features),
                question.sums,
            )
            for question in questions
        ]
    )
    if isinstance(factors, JointHessian):
        return predicted_joint_effect(factors, bottleneck, new, adjoint)
    problem = bottleneck.label_problem(new, factors.penalty)
    gradient = _gradient(problem, bottleneck.label_parameters)
    effect = -(adjoint.label[0] @ gradient.flatten())
    if stack:
        problem = concept_problem(stack, new, factors.concept_penalties)
        gradient = _gradient(problem, bottleneck.concept_parameters)
        for columns, part in zip(stack.scores, adjoint.concepts, strict=True):
            effect -= part[0] @ gradient[columns].flatten()
    return float(effect)


def _gradient(problem: HeadsProblem, parameters: Tensor) -> Tensor:
    probabilities = problem.probabilities(problem.scores(parameters))
    return problem.gradient(probabilities, parameters)


def _solve_again(
    problem: HeadsProblem,
    parameters: Tensor,
    changed: Tensor,
    share: Tensor,
    factors: Sequence[Inverse] | None,
    limits: Limits,
    advance: Advance,
) -> tuple[Tensor, Way]:
    """Solve changed heads, each from the start that is faster."""
    few = share <= _MOST_CHANGED if limits.n_steps is None else torch.ones_like(changed)
    near = (changed & few).nonzero()[:, 0].tolist()
    far = (changed & ~few).nonzero()[:, 0].tolist()
    parameters, stack = parameters.clone(), problem.stack
    way = [(KEPT, 0, 0.0, 0.0, 0.0, True)] * len(stack)
    if far:  # the other heads measure this gradient when they start
        part = problem.of_heads(far)
        norm = part.by_head(_gradient(part, parameters[stack.columns(far)]) ** 2).sqrt()
        for j, before in zip(far, norm.tolist(), strict=True):
            way[j] = (ZERO, 0, before, before, 0.0, False)

    def solve(heads: list[int], begin: str, most: int) -> list[bool]:
        if not heads:
            return []
        part, columns = problem.of_heads(heads), stack.columns(heads)
        if begin == ZERO:
            found, fit = solve_heads(
                part,
                part.only_held(parameters[columns]),
                tol=limits.tol,
                max_iter=most,
                advance=advance,
            )
        else:
            nearby = None
            if factors is not None:
                nearby = FactoredHessians([factors[j] for j in heads])
            found, fit = minimise(
                part,
                parameters[columns],
                tol=limits.tol,
                max_iter=most,
                preconditioner=nearby,
                loosest=_LOOSEST,
                advance=advance,
            )
        parameters[columns] = found
        for i, j in enumerate(heads):
            _, steps, before, *_ = way[j]
            way[j] = (
                begin,
                steps + fit.n_iter,
                before or float(fit.first_norm[i]),
                float(fit.gradient_norm[i]),
                float(fit.tolerance[i]),
                bool(fit.converged[i]),
            )
        return (fit.step_length < _SHORT).tolist()

    if limits.n_steps is not None:
        solve(near, CURRENT, min(limits.n_steps, limits.max_iter))
    else:
        short = solve(near, CURRENT, 1)
        far += [j for j, is_short in zip(near, short, strict=True) if is_short]
        solve([j for j in near if j not in far], CURRENT, limits.max_iter)
        solve(sorted(far), ZERO, limits.max_iter)
    return parameters, Way(*zip(*way, strict=True))


def _changes(
    stack: HeadStack, codes: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return which heads changed, and the share of their weight on changed codes."""
    old, new = weights
    other = (codes[0] != codes[1]) & (old > 0) & (new > 0)
    changed = (other | (old != new)).any(dim=0)
    share = (new * other).sum(dim=0) / new.sum(dim=0)
    # If the curvature is constant, one step is enough, whatever the codes are.
    share[[head.is_quadratic for head in stack.heads]] = 0
    return changed, share


def _padded(data: TrainingData, features: Features) -> TrainingData:
    """Return the data with rows of weight 0 below, one for each row of features."""
    parts = vars(data).copy()
    missing = len(features) - len(parts.pop("features"))
    padded = (
        torch.cat([part, part.new_zeros(missing, *part.shape[1:])])
        for part in parts.values()
    )
    return TrainingData(features, *padded)


def _without(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors | None,
    dropped: Sequence[int],
) -> tuple[Bottleneck, TrainingData, Factors | None]:
    """Return the model, data and factors without some concepts."""
    stack = bottleneck.concepts
    kept = [j for j in range(len(stack)) if j not in dropped]
    n_inputs = bottleneck.n_label_inputs
    positions = torch.arange(n_inputs)
    inputs = torch.cat(
        [positions[stack.activations[j]] for j in kept]
        + [positions[stack.n_activations :]]  # of the residual, and the constant
    )
    rest = replace(
        bottleneck,
        concepts=HeadStack(stack.heads[j] for j in kept),
        label=bottleneck.label.of_inputs(inputs[:-1].tolist()),
        concept_parameters=bottleneck.concept_parameters[stack.columns(kept)],
        label_parameters=bottleneck.label_parameters[:, inputs],
    )
    data = replace(
        data,
        concepts=data.concepts[:, kept],
        annotated=data.annotated[:, kept],
        concept_weights=data.concept_weights[:, kept],
    )
    if factors is None or not isinstance(factors.label, Cholesky):
        return rest, data, None
    flat = torch.arange(bottleneck.label.n_scores)[:, None] * n_inputs + inputs
    label = factors.label.factor.tril()
    flat = flat.flatten().to(label.device)
    label = torch.linalg.cholesky((label @ label.T)[flat][:, flat])
    factors = replace(
        factors,
        label=Cholesky(label, bottleneck.label.n_scores),
        concepts=tuple(factors.concepts[j] for j in kept),
        cross=tuple(factors.cross[j][flat] for j in kept),
        concept_penalties=factors.concept_penalties[kept],
    )
    return rest, data, factors
