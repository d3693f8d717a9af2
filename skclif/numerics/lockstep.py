"""One model fitted to the same rows under many weightings, in lock-step.

The models differ only in their weights. One product with the features serves all
models, and one preconditioner serves all rounds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .blocks import row_blocks, sum_rows
from .bottleneck import Bottleneck, LabelRows, TrainingData
from .bounded import minimise, solve_free
from .heads import HeadsProblem, HeadStack
from .hessians import label_gradient_jacobian
from .products import affine, affine_adjoint, outer
from .solvers import (
    Preconditions,
    preconditioner_of,
    solve_hessian,
)
from .targets import LabelTarget, Target

_TOL = 1e-5
_MAX_ITER = 100
# Most numbers in one array of a fit in lock-step: 32 MiB.
_LARGEST_ARRAY = 2**22


class LockstepModels:
    """One bottleneck, fitted to the same rows under many weightings.

    Parameters
    ----------
    template : Bottleneck
        A fitted bottleneck. All models have its heads, and start from its parameters.
    data : TrainingData
        Its weights are those of rows of weight 1.
    row_weights : Tensor of shape (n_samples,)
        Typical weights, for the preconditioner.
    penalty : float
        ``1 / C``.
    concept_penalties : Tensor of shape (n_concepts,)
        ``1 / concept_C`` of every concept.
    """

    def __init__(
        self,
        template: Bottleneck,
        data: TrainingData,
        row_weights: Tensor,
        *,
        penalty: float,
        concept_penalties: Tensor,
    ):
        self.template, self.data, self.row_weights = template, data, row_weights
        self.penalty = data.features.new_tensor(penalty)
        self.concept_penalties = concept_penalties.to(data.label_weights)
        self.preconditioner = preconditioner_of(data.features, row_weights)

    def fit(self, weights: Tensor, start: list[Bottleneck] | None) -> list[Bottleneck]:
        """Fit a model for each column of weights, (n_samples, n_models)."""
        start = start or [self.template] * weights.shape[1]
        fitted = []
        for block in self._blocks(weights):
            fitted += self._fit_labels(
                weights[:, block], self._fit_concepts(weights[:, block], start[block])
            )
        return fitted

    def harm(
        self,
        fitted: list[Bottleneck],
        weights: Tensor,
        rows: Tensor,
        shares: Tensor,
        kind: str | Sequence[Target] = "loss",
    ) -> Tensor:
        """Differentiate losses in the weight of every row.

        Parameters
        ----------
        fitted : list of Bottleneck
        weights : Tensor of shape (n_samples, n_models)
            Weights that the models were fitted with.
        rows : Tensor of shape (n_targets,)
            Positions of the rows whose losses are differentiated.
        shares : Tensor of shape (n_targets, n_models, n_losses)
            Shares of the rows' losses in each loss.
        kind : {"loss", "error"} or sequence of Target
            Log-loss, or probability of error; or for every model a target of each row.

        Returns
        -------
        harm : Tensor of shape (n_samples, n_models, n_losses)
        """
        if isinstance(kind, str):
            kind = [LabelTarget(kind, self.data.labels[rows])] * len(fitted)
        parts = [
            self._harm(
                fitted[block], weights[:, block], rows, shares[:, block], kind[block]
            )
            for block in self._blocks(weights, shares.shape[2])
        ]
        return torch.cat(parts, dim=1)

    def _blocks(self, weights: Tensor, n_copies: int = 1) -> Iterator[slice]:
        """Yield slices of as many models as fit into memory."""
        label, concepts = self.template.label, self.template.concepts
        columns = (concepts.n_scores if concepts else label.n_values) * n_copies
        at_once = max(1, _LARGEST_ARRAY // (len(weights) * columns))
        return row_blocks(weights.shape[1], at_once)

    def _fit_concepts(
        self, weights: Tensor, start: list[Bottleneck]
    ) -> list[Bottleneck]:
        if not self.template.concepts:
            return start
        parameters, _ = minimise(
            self._concept_problem(weights),
            torch.cat([model.concept_parameters for model in start]),
            tol=_TOL,
            max_iter=_MAX_ITER,
            preconditioner=self.preconditioner,
        )
        parts = parameters.chunk(len(start))
        return [
            replace(model, concept_parameters=part)
            for model, part in zip(start, parts, strict=True)
        ]

    def _fit_labels(self, weights: Tensor, start: list[Bottleneck]) -> list[Bottleneck]:
        fitted = []
        for problem, preconditioner, block in self._label_problems(weights, start):
            parameters, _ = minimise(
                problem,
                torch.cat([model.label_parameters for model in start[block]]),
                tol=_TOL,
                max_iter=_MAX_ITER,
                preconditioner=preconditioner,
            )
            fitted += [
                replace(model, label_parameters=part)
                for model, part in zip(
                    start[block], parameters.chunk(len(problem.stack)), strict=True
                )
            ]
        return fitted

    def _harm(
        self,
        fitted: list[Bottleneck],
        weights: Tensor,
        rows: Tensor,
        shares: Tensor,
        targets: Sequence[Target],
    ) -> Tensor:
        n_losses = shares.shape[2]
        label_right, concept_right = [], []
        for model, about, share in zip(
            fitted, targets, shares.unbind(dim=1), strict=True
        ):
            target = about.derivatives(model, self.data.features[rows])
            label_right.append(
                affine_adjoint(target.activations, outer(share, target.label_scores))
            )
            concept_right.append(
                affine_adjoint(target.features, outer(share, target.concept_scores))
            )
        label_adjoints = self._solve_labels(fitted, weights, label_right, n_losses)
        harms = [
            self._label_harm(model, adjoints)
            for model, adjoints in zip(fitted, label_adjoints, strict=True)
        ]
        if self.template.concepts:
            right = [
                part - self._through_concepts(model, column, adjoints)
                for part, model, column, adjoints in zip(
                    concept_right, fitted, weights.T, label_adjoints, strict=True
                )
            ]
            concept_adjoints = solve_hessian(
                self._concept_problem(weights.repeat_interleave(n_losses, dim=1)),
                _copies([model.concept_parameters for model in fitted], n_losses),
                torch.cat(right),
                tol=_TOL,
                preconditioner=self.preconditioner,
            ).solution.chunk(len(fitted))
            harms = [
                harm + self._concept_harm(model, adjoints)
                for harm, model, adjoints in zip(
                    harms, fitted, concept_adjoints, strict=True
                )
            ]
        return torch.stack(harms, dim=1)

    def _solve_labels(
        self,
        fitted: list[Bottleneck],
        weights: Tensor,
        right: list[Tensor],
        n_losses: int,
    ) -> list[Tensor]:
        """Return label adjoints of every model, (n_losses * n_scores, n_inputs)."""
        adjoints: list[Tensor] = []
        problems = self._label_problems(weights, fitted, n_losses)
        for problem, preconditioner, block in problems:
            solution = solve_free(
                problem,
                _copies([model.label_parameters for model in fitted[block]], n_losses),
                torch.cat(right[block]),
                tol=_TOL,
                preconditioner=preconditioner,
            ).solution
            adjoints += solution.chunk(len(fitted[block]))
        return adjoints

    def _label_harm(self, model: Bottleneck, adjoints: Tensor) -> Tensor:
        """Return harm through the label's terms, (n_samples, n_losses)."""
        rows, label = model.label_rows(self.data), self.template.label
        probabilities = label.probabilities(model.label_scores(rows.activations))
        residual = label.residual(probabilities, rows.labels)
        along = affine(rows.activations, adjoints)
        along = along.reshape(len(along), -1, label.n_scores)
        harm = rows.weights[:, None] * (along @ residual[:, :, None]).squeeze(2)
        return -rows.total(harm)

    def _concept_harm(self, model: Bottleneck, adjoints: Tensor) -> Tensor:
        """Return harm through the annotations' terms, (n_samples, n_losses)."""
        data, stack = self.data, model.concepts
        along = affine(data.features, adjoints)
        along = along.reshape(len(along), -1, stack.n_scores)
        scores = stack.split(model.concept_scores(data.features))
        weighted = []
        for j, (head, part) in enumerate(zip(stack.heads, scores, strict=True)):
            residual = head.residual(head.probabilities(part), data.concepts[:, j])
            weighted.append(data.concept_weights[:, j, None] * residual)
        return -(along @ torch.cat(weighted, dim=1)[:, :, None]).squeeze(2)

    def _through_concepts(
        self, model: Bottleneck, weights: Tensor, adjoints: Tensor
    ) -> Tensor:
        """Return the cross term times label adjoints.

        The result has shape (n_losses * n_concept_scores, n_features + 1).
        """
        label, stack = model.label, model.concepts
        flat = adjoints.reshape(-1, label.n_scores * adjoints.shape[1])
        n_rows = len(flat) * stack.n_scores
        result = flat.new_zeros(n_rows, self.data.features.shape[1] + 1)

        def add(total: Tensor, rows: TrainingData) -> None:
            label_rows = model.label_rows(rows)
            activations = label_rows.activations
            probabilities = label.probabilities(model.label_scores(activations))
            inputs = label.inputs(activations)
            columns = []
            for j, part in enumerate(stack.split(model.concept_scores(rows.features))):
                jacobian = label_gradient_jacobian(
                    model, label_rows, j, part, probabilities, inputs
                )
                columns.append(flat @ jacobian.transpose(2, 3).flatten(1, 2))
            by_loss = torch.cat(columns, dim=2)  # (n_block, n_losses, n_scores)
            total += affine_adjoint(rows.features, by_loss.flatten(1))

        data = replace(self.data, label_weights=self.data.label_weights * weights)
        return sum_rows(add, result, data)

    def _concept_problem(self, weights: Tensor) -> HeadsProblem:
        """Return the concept heads of all models as one problem, in order of models."""
        data, n_models = self.data, weights.shape[1]
        return HeadsProblem(
            HeadStack(self.template.concepts.heads * n_models),
            data.features,
            data.concepts.repeat(1, n_models),
            (weights[:, :, None] * data.concept_weights[:, None, :]).flatten(1),
            self.concept_penalties.repeat(n_models),
        )

    def _label_problems(
        self, weights: Tensor, models: list[Bottleneck], n_copies: int = 1
    ) -> Iterator[tuple[HeadsProblem, Preconditions, slice]]:
        """Yield problems of label heads with equal inputs, and slices of their models.

        A problem has `n_copies` copies of every head.
        """
        weights = weights.repeat_interleave(n_copies, dim=1)
        if not self.template.concepts:
            problem = self._label_problem(self.template.label_rows(self.data), weights)
            yield problem, self.preconditioner, slice(0, len(models))
            return
        for m, model in enumerate(models):
            rows = model.label_rows(self.data)
            own = weights[:, m * n_copies : (m + 1) * n_copies]
            preconditioner = preconditioner_of(
                rows.activations, rows.repeated(self.row_weights)
            )
            yield self._label_problem(rows, own), preconditioner, slice(m, m + 1)

    def _label_problem(self, rows: LabelRows, weights: Tensor) -> HeadsProblem:
        n_heads = weights.shape[1]
        return HeadsProblem(
            HeadStack([self.template.label] * n_heads),
            rows.activations,
            rows.labels[:, None].expand(-1, n_heads),
            rows.repeated(weights) * rows.weights[:, None],
            self.penalty.expand(n_heads),
        )


def _copies(parameters: list[Tensor], n_copies: int) -> Tensor:
    """Stack parameters of all models, each several times."""
    return torch.cat([part.repeat(n_copies, 1) for part in parameters])
