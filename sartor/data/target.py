"""Targets: one column or several, each with its task, and the examples that have them all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from sartor import leaves
from sartor.data.dataset import Dataset, Examples, Schema

Target = str | Mapping[str, str]  # a column, whose task is told beside it; or {column: task}


def tasks_of(target: Target, task: str = "classify") -> dict[str, str]:
    """The task of each target by its column. task: of the one that is given by its name alone."""
    return dict(target) if isinstance(target, Mapping) else {target: task}


def leading(targets: Mapping[str, str], schema: Schema) -> str:
    """The target that rows are stratified and compared by: the first with classes, else the first."""
    return next((name for name in targets if schema.has_classes(name)), next(iter(targets)))


def examples(dataset: Dataset, rows: np.ndarray, targets: Mapping[str, str], *, group: str | None = None) -> Examples:
    """The examples of these rows, each with every target; of several targets, those of the rows that have them all.

    group: the column whose equal values make examples dependent.
    """
    made = [leaves.load("task", task).examples(dataset, rows, target, group=group) for target, task in targets.items()]
    if len(made) == 1:
        return made[0]  # type: ignore[no-any-return]
    if any(len(np.unique(one.rows)) < len(one) for one in made):
        raise NotImplementedError("a task that makes several examples of a row has none that belong to another's")
    whole = reduce(np.intersect1d, [one.rows for one in made])
    first, *others = [one[np.flatnonzero(np.isin(one.rows, whole))] for one in made]
    told = {name: values for one in (first, *others) for name, values in one.targets.items()}
    return Examples(inputs=first.inputs, targets=told, rows=first.rows, groups=first.groups)
