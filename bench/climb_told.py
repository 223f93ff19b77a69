"""How the figures of `bench.climb` are told: differences with their intervals, seconds, lines on the screen."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from bench.record import Row
from sartor import bounds

LONG = ("right", "values", "plans", "notes", "stages", "steps")  # of a row, and nobody's to read on a screen


def say(row: Row) -> None:
    """Prints a row that was made or stands."""
    values = {name: value for name, value in row["values"].items() if name not in LONG}
    print(json.dumps({"case": row["case"], "seed": row["seed"]} | values, ensure_ascii=False), flush=True)


def interval(values: Sequence[float]) -> str:
    """Their mean with its 95 % interval by Student's t, as of draws or seeds."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return f"{mean:+.2f} (one seed)"
    reach = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return f"{mean:+.2f} ({mean - reach:+.2f} to {mean + reach:+.2f})"


def paired(ours: str, theirs: str) -> str:
    """By how many points the first is right more often than the second on the same rows, with its 95 % interval.

    Both as texts of 0 and 1 for each row.
    """
    apart = [int(one) - int(other) for one, other in zip(ours, theirs, strict=True)]
    found = bounds.paired_difference(apart.count(1), apart.count(-1), len(apart), level=0.975)
    return f"{100 * np.mean(apart):+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
