"""The label head that is asked for: softmax or ordinal, with constraints or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.annotations import Annotations
from .._inputs.orders import order_of, sorted_order
from .._inputs.schema import ConceptSchema, n_activations
from .._inputs.values import plain_value, value_code
from ..exceptions import warn_user
from ..numerics.heads import CategoricalHead, OrdinalHead, SoftmaxHead
from ..numerics.heads.cone import steps_of


@dataclass(frozen=True)
class LabelRules:
    """What is known of the label: its order, and how concepts may move it.

    Attributes
    ----------
    kind : {"softmax", "ordinal"}
    order : tuple or None
        The labels from lowest to highest; None if no order is needed.
    monotone : dict of str to (list or int)
        By concept: values along which the label must not fall, or 1 or -1 for a
        continuous concept.
    """

    kind: str = "softmax"
    order: tuple[Any, ...] | None = None
    monotone: Mapping[str, list[Any] | int] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> LabelRules:
        """Return the rules of a fitted bottleneck."""
        order = model.label_order_
        order = None if order is None else tuple(order.tolist())
        return cls(model.label_head, order, model.monotonic_cst_)

    @classmethod
    def read(
        cls,
        model: Any,
        y: Any,
        classes: np.ndarray,
        schema: ConceptSchema,
        annotations: Annotations | None,
    ) -> LabelRules:
        """Check the parameters of a bottleneck that is being fitted.

        Raises
        ------
        ValueError
            If labels have no order that is needed, if an order is not one of all
            labels, or if constraints are not about concepts and values of the data.
        """
        if isinstance(model.label_order, Mapping | Set):
            raise ValueError(
                "label_order must be a list or an array of labels, from lowest to "
                f"highest, got a {type(model.label_order).__name__}."
            )
        is_ordinal = model.label_head == "ordinal"
        constrained = _asked(model.monotonic_cst)
        if constrained and not schema.names:
            raise ValueError(
                "monotonic_cst needs concepts, but concepts=None; pass them to fit, or "
                "leave monotonic_cst=None."
            )
        order = None
        if is_ordinal or constrained:
            order = _label_order(
                model.label_order, y, classes, needed=constrained or len(classes) > 2
            )
        orders = {} if annotations is None else annotations.orders
        monotone = read_constraints(model.monotonic_cst, schema, orders)
        _warn_of_gone(model.monotonic_cst, schema)
        return cls(model.label_head, order, monotone)

    def head(
        self, classes: np.ndarray, schema: ConceptSchema, *, intercept: bool = True
    ) -> CategoricalHead:
        """Return the head. Labels, concepts and values that are gone are left out."""
        chains = self._chains(schema)
        ranks = self.ranks(classes)
        if self.kind == "softmax":
            return SoftmaxHead(
                len(classes), intercept=intercept, ranks=ranks, chains=chains
            )
        return OrdinalHead(len(classes), ranks, chains)

    def ranks(self, classes: np.ndarray) -> tuple[int, ...]:
        """Return the rank of every class; empty if classes are in order."""
        if self.order is None:
            return ()
        listed = classes.tolist()
        left = [label for label in self.order if label in listed]
        ranks = tuple(left.index(label) for label in listed)
        return () if ranks == tuple(range(len(ranks))) else ranks

    def is_latent(self, n_classes: int) -> bool:
        """Whether several classes share one direction of the activations."""
        return self.kind == "ordinal" and n_classes > 2

    def constraints(self, schema: ConceptSchema) -> list[tuple[int, str]]:
        """Return the steps of constraints: columns of their coordinates, and words."""
        words: list[str] = []
        for name, listed in self._left(schema).items():
            if isinstance(listed, list):
                pairs = zip(listed, listed[1:], strict=False)
                words += [f"{name}: {low!r} to {high!r}" for low, high in pairs]
            else:
                words.append(name)
        columns = [c for chain in self._chains(schema) for c in steps_of(chain)]
        return list(zip(columns, words, strict=True))

    def _chains(self, schema: ConceptSchema) -> tuple[tuple[int, ...], ...]:
        """Return columns of activations along which weights must not fall."""
        chains: list[tuple[int, ...]] = []
        start, left = 0, self._left(schema)
        for name, values in zip(schema.names, schema.classes, strict=True):
            listed = left.get(str(name))
            one_column = values is None or len(values) == 2
            if isinstance(listed, int):
                chains.append((-1, start) if listed > 0 else (start, -1))
            elif listed is not None:
                codes = [_code(values, value) for value in listed]
                if one_column:
                    chains.append((-1, start) if codes[0] == 0 else (start, -1))
                else:
                    chains.append(tuple(start + code for code in codes))
            start += n_activations(values)
        return tuple(chains)

    def _left(self, schema: ConceptSchema) -> dict[str, list[Any] | int]:
        """Return the constraints without concepts and values that are gone."""
        left: dict[str, list[Any] | int] = {}
        for name, values in zip(map(str, schema.names), schema.classes, strict=True):
            listed = self.monotone.get(name)
            if isinstance(listed, list):
                listed = [v for v in listed if value_code(values, v) is not None]
                listed = listed if len(listed) > 1 else None
            if listed is not None:
                left[name] = listed
        return left

    def without_gone(self, classes: np.ndarray, schema: ConceptSchema) -> LabelRules:
        """Return the rules for fewer labels, concepts and values."""
        order, listed = self.order, classes.tolist()
        if order is not None:
            order = tuple(label for label in order if label in listed)
        return LabelRules(self.kind, order, self._left(schema))


def _asked(monotonic_cst: Any) -> bool:
    """Whether some concept is constrained: 0 is for one that is not."""
    return bool(monotonic_cst) and any(
        not (_is_number(v) and v == 0) for v in monotonic_cst.values()
    )


def _is_number(asked: Any) -> bool:
    return isinstance(asked, Real) and not isinstance(asked, bool)


def _label_order(
    label_order: Any, y: Any, classes: np.ndarray, *, needed: bool
) -> tuple[Any, ...]:
    """Return the labels from lowest to highest."""
    listed = classes.tolist()
    if label_order is None:
        typed = order_of(y)
        if typed is not None:
            known = [plain_value(value) for value in typed]
            return tuple(value for value in known if value in listed)
        found, is_meant = sorted_order(classes)
        if needed and not is_meant:
            raise ValueError(
                f"label_order=None, but the labels {listed} are words, and their "
                "alphabetical order means nothing. Pass label_order=[...], the labels "
                "from lowest to highest."
            )
        return tuple(found)
    given = [plain_value(value) for value in label_order]
    # Labels that no row has are left out: a fold may lack one. A wrong spelling is seen
    # all the same, because then a label of y is missing.
    if not _are_distinct(given) or not set(given) >= set(listed):
        raise ValueError(
            f"label_order={given} must have each label of y once, from lowest to "
            f"highest; the labels are {listed}."
        )
    return tuple(listed[listed.index(value)] for value in given if value in listed)


def read_constraints(
    monotonic_cst: dict[str, Any] | None,
    schema: ConceptSchema,
    orders: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> dict[str, list[Any] | int]:
    """Return checked constraints by concept, directions as values where there are."""
    found: dict[str, list[Any] | int] = {}
    names = [str(name) for name in schema.names]
    for name, asked in (monotonic_cst or {}).items():
        if name not in names:
            raise ValueError(
                f"monotonic_cst has the concept {name!r}, but the concepts are {names}."
            )
        values = schema.classes[names.index(name)]
        if _is_number(asked):
            direction = _direction(name, asked, values, orders)
        elif values is None:
            raise ValueError(
                f"monotonic_cst[{name!r}]={asked!r}, but {name!r} is continuous: use "
                "1 if the label must not fall as the number rises, or -1."
            )
        else:
            direction = _listed(name, asked, values)
        if direction is not None:
            found[name] = direction
    return found


def _direction(
    name: str, asked: Any, values: np.ndarray | None, orders: Mapping[str, Any]
) -> list[Any] | int | None:
    if asked not in (-1, 0, 1):
        raise ValueError(
            f"monotonic_cst[{name!r}]={asked} must be 1 (the label must not fall as "
            "the value rises), -1 (must not rise) or 0 (no constraint), or a list of "
            "values."
        )
    if asked == 0:
        return None
    asked = int(asked)
    if values is None:
        return asked
    listed, is_meant = sorted_order(values)
    if name in orders:
        typed = [plain_value(value) for value in orders[name]]
        listed, is_meant = [v for v in typed if value_code(values, v) is not None], True
    if not is_meant:
        raise ValueError(
            f"monotonic_cst[{name!r}]={asked}, but the values of {name!r} are words "
            f"without an order: {values.tolist()}. Give the values from the one with "
            f"the lowest label to the highest, for example {values.tolist()[:2]}."
        )
    return listed[::asked]


def _listed(name: str, asked: Any, values: np.ndarray) -> list[Any] | None:
    """Return the values that a concept has, in order; None if they say nothing."""
    known = values.tolist()
    if isinstance(asked, str) or not isinstance(asked, Sequence | np.ndarray):
        raise ValueError(
            f"monotonic_cst[{name!r}] must be a list of values, or 1 or -1, got "
            f"{asked!r}; the values are {known}."
        )
    listed = [plain_value(value) for value in asked]
    if len(listed) < 2 or not _are_distinct(listed):
        raise ValueError(
            f"monotonic_cst[{name!r}]={listed} must have two or more different values, "
            f"in the order in which the label must not fall; the values are {known}."
        )
    unknown = [value for value in listed if value_code(values, value) is None]
    left = [known[_code(values, v)] for v in listed if v not in unknown]
    if unknown and not left:
        raise ValueError(
            f"monotonic_cst[{name!r}]={listed} has no value that concept {name!r} "
            f"has; its values are {known}."
        )
    return left if len(left) > 1 else None


def _warn_of_gone(monotonic_cst: Any, schema: ConceptSchema) -> None:
    """Name values that no row has: a fold may lack one, or its spelling is wrong."""
    for name, values in zip(map(str, schema.names), schema.classes, strict=True):
        asked = (monotonic_cst or {}).get(name)
        if values is None or asked is None or _is_number(asked):
            continue
        for value in map(plain_value, asked):
            if value_code(values, value) is None:
                warn_user(
                    f"monotonic_cst[{name!r}] has the value {value!r}, which concept "
                    f"{name!r} has in no row; it is left out, and nothing is "
                    "constrained if only one value is left. The values are "
                    f"{values.tolist()}.",
                    UserWarning,
                )


def _are_distinct(listed: list[Any]) -> bool:
    """Whether they are values, each once; a list in a list is none."""
    are_values = all(pd.api.types.is_scalar(value) for value in listed)
    return are_values and len(set(listed)) == len(listed)


def _code(values: np.ndarray | None, value: Any) -> int:
    code = value_code(values, value)
    assert code is not None
    return int(code)
