"""Graphs of tasks: one for each shard, and trees that join their results.

A large function travels once for all of its tasks, as a task of its own. Data that are
scattered would be lost with the worker that holds them; a task is computed again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

# How many results one task of a tree joins.
_FAN_IN = 8
# Bytes of a pickled function from which on it is a task of its own.
_LARGE = 2**14

Graph = dict[str, Any]


def tasks_of(
    function: Callable[..., Any],
    keys: Sequence[str],
    name: str,
    *,
    literals: Sequence[tuple[Any, ...]] | None = None,
) -> tuple[Graph, list[str]]:
    """Return a task for each key, which takes its result, and their keys.

    Parameters
    ----------
    function : callable
        It is pickled.
    keys : sequence of str
        Of tasks that the cluster knows.
    name : str
        What the tasks are called on Dask's dashboard.
    literals : sequence of tuple, default=None
        More arguments of each task. They are small.
    """
    import cloudpickle
    from dask.task_spec import Task, TaskRef

    stem = f"{name}-{uuid.uuid4().hex}"
    more: Sequence[tuple[Any, ...]] = [()] * len(keys) if literals is None else literals
    graph: Graph = {}
    called: Any = function
    if len(keys) > 1 and len(cloudpickle.dumps(function)) > _LARGE:
        graph[stem], called = Task(stem, _Given(function)), TaskRef(stem)
    made = [f"{stem}-{i}" for i in range(len(keys))]
    for key, of, args in zip(made, keys, more, strict=True):
        graph[key] = Task(key, _call, called, TaskRef(of), *args)
    return graph, made


def tree_of(keys: Sequence[str], join: Callable[..., Any]) -> tuple[Graph, str]:
    """Return tasks that join results in order, a few at a time, and the last one's key.

    The tree depends on the number of keys alone, so that equal parts give equal bits.

    Parameters
    ----------
    keys : sequence of str
        One or more.
    join : callable
        Takes results of `keys` and of itself. It does not change what it takes.
    """
    from dask.task_spec import Task, TaskRef

    graph: Graph = {}
    stem, left = f"join-{uuid.uuid4().hex}", list(keys)
    while len(left) > 1:
        groups = [left[i : i + _FAN_IN] for i in range(0, len(left), _FAN_IN)]
        left = [f"{stem}-{len(graph) + i}" for i in range(len(groups))]
        for key, group in zip(left, groups, strict=True):
            graph[key] = Task(key, join, *map(TaskRef, group))
    return graph, left[0]


class _Given:
    """A task that returns what it was made with."""

    def __init__(self, value: Any):
        self.value = value

    def __call__(self) -> Any:
        return self.value


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
