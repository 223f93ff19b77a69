"""Measuring a bundle: quality on examples through the predictor that will serve it, and the size of what is deployed.

Every value carries bounds at the confidence asked for and, in `details["ladder"]`, at the stricter levels that judging several
needs together may want.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sartor import bounds, leaves
from sartor.bundle import Bundle
from sartor.data.dataset import Examples
from sartor.needs import Needs
from sartor.predict import Predictor
from sartor.report import Key, Value


def quality(predictor: Predictor, examples: Examples, needs: Needs) -> tuple[list[Value], list[dict[str, Any]]]:
    """The values of every quality need and of the task's primary metric, and the answers they were counted from.

    An example that cannot be answered counts as a wrong answer, never as none.
    """
    answers = predictor.predict(list(examples.inputs))
    head = predictor.heads[0]
    keys = [need.key for need in needs.needs if need.kind == "quality"]
    primary = Key(leaves.load("task", head["task"]).PRIMARY)
    if primary not in keys:
        keys.append(primary)
    levels = sorted({needs.confidence, *(1 - (1 - needs.confidence) / j for j in range(2, len(needs.needs) + 1))})
    groups = examples.groups if examples.grouped else None
    values = [
        value_of(key, answers, examples.targets[head["target"]], head, levels=levels, groups=groups) for key in keys
    ]
    return values, answers


def value_of(
    key: Key,
    answers: Sequence[dict[str, Any]],
    targets: Sequence[Any],
    head: dict[str, Any],
    *,
    levels: Sequence[float],
    groups: np.ndarray | None = None,
) -> Value:
    """One measure of quality with its bounds: exact for a proportion, by bootstrap for any other."""
    metric = leaves.load("task", head["task"]).METRICS[key.measure]
    stats = metric.stats(answers, targets, head["spec"], key.for_class)
    sums = stats.sum(axis=0)
    measured = float(metric.finish(sums)) if len(stats) else float("nan")
    number = len(stats)
    details: dict[str, Any] = {}
    at_level: Callable[[float], bounds.Bounds | None]
    if metric.proportion:
        number = int(sums[1])
        if groups is None:
            method = "Clopper–Pearson"
            details = {"successes": int(sums[0]), "trials": number}

            def at_level(level: float) -> bounds.Bounds | None:
                return bounds.proportion(sums[0], sums[1], level=level) if number else None

        else:
            method = "Korn–Graubard"

            def at_level(level: float) -> bounds.Bounds | None:
                return bounds.grouped_proportion(stats[:, 0], stats[:, 1], groups, level=level)

    else:
        method = "bootstrap over groups" if groups is not None else "bootstrap"

        def at_level(level: float) -> bounds.Bounds | None:
            return bounds.bootstrap(stats, metric.finish, level=level, groups=groups)

    rungs = [(level, at_level(level)) for level in levels]
    at = rungs[0][1]
    details["ladder"] = [[level, rung.low, rung.high] for level, rung in rungs if rung is not None]
    return Value(
        key=key,
        measured=None if np.isnan(measured) else measured,
        low=at.low if at else None,
        high=at.high if at else None,
        n=number,
        unit=metric.unit,
        confidence=levels[0],
        method=method,
        note="" if at else "There are too few independent examples for a bound.",
        details=details,
    )


def size(bundle: Bundle) -> Value:
    """Megabytes (10⁶ bytes) of the files that are deployed: a fact."""
    megabytes = bundle.deployed_bytes() / 1e6
    return Value(Key("size"), megabytes, megabytes, megabytes, 1, "MB", method="counted")
