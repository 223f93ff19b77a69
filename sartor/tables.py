"""Rows of a table as a matrix of numbers: what trees and linear models read. The server uses the same code, so it imports no torch.

A column of numbers stays one, a category becomes the rank of its name among those of the training rows, a date becomes the instant and
what repeats in it (month, weekday, hour). What is not known is NaN.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves

KINDS = ("number", "category", "date")
MOST_NAMES = 250  # of a category that stand for themselves, the most frequent ones; the rest share one number
LEAST_ROWS = 2  # of a name that stands for itself
FILE = "table.json"
DATES = ("instant", "month", "weekday", "hour")
ROUNDING = 1e-12  # of the largest value: the mean of 30 times 0.1 is not quite 0.1, and their deviation 2.8e-17


@dataclass(frozen=True)
class Column:
    """One column of the matrix. names: of a category, in the order of their numbers; the number after the last is "any other"."""

    source: str  # the input column
    kind: str  # "number", "category", or one of DATES
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """How rows become a matrix, categories first; learned from the training rows."""

    kinds: dict[str, str]  # input column -> modality
    columns: tuple[Column, ...]

    @staticmethod
    def learn(inputs: Any, kinds: Mapping[str, str]) -> Table:
        """From training rows. inputs: a sequence of {column: value} as they were given. kinds: of each input column."""
        counts: dict[str, Counter[str]] = {name: Counter() for name, kind in kinds.items() if kind == "category"}
        key = leaves.load("modality", "category").key
        for row in inputs:
            for name, seen in counts.items():
                if (found := key(row.get(name))) is not None:
                    seen[found] += 1
        columns: list[Column] = []
        for name, seen in counts.items():
            frequent = [one for one, count in seen.most_common(MOST_NAMES) if count >= LEAST_ROWS]
            columns.append(Column(name, "category", tuple(sorted(frequent))))
        for name, kind in kinds.items():
            if kind == "category":
                continue
            if kind == "date":
                columns += [Column(name, part) for part in DATES]
            else:
                columns.append(Column(name, "number"))
        return Table(dict(kinds), tuple(columns))

    def save(self, folder: Path) -> None:
        """Writes FILE."""
        told = {"kinds": self.kinds, "columns": [asdict(column) for column in self.columns]}
        (folder / FILE).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Table:
        """Reads FILE."""
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Table(told["kinds"], tuple(Column(c["source"], c["kind"], tuple(c["names"])) for c in told["columns"]))

    def matrix(self, inputs: Any) -> np.ndarray:
        """[n, columns] float64, NaN for what is not known. inputs: rows as they were given, or as they were read."""
        number = [{name: place for place, name in enumerate(column.names)} for column in self.columns]
        made = np.full((len(inputs), len(self.columns)), np.nan)
        number_of, instant_of = leaves.load("modality", "number").key, leaves.load("modality", "date").key
        key = leaves.load("modality", "category").key
        for i, row in enumerate(inputs):
            for j, column in enumerate(self.columns):
                value = row.get(column.source)
                if value is None:
                    continue
                if column.kind == "category":
                    if (name := key(value)) is not None:
                        made[i, j] = number[j].get(name, len(column.names))
                    continue
                text = (number_of if column.kind == "number" else instant_of)(value)
                if text is not None:
                    made[i, j] = _part(column.kind, float(text))
        return made


def _part(kind: str, value: float) -> float:
    """A number as it is, or what is asked of an instant."""
    if kind in ("number", "instant"):
        return value if math.isfinite(value) else math.nan
    try:
        when = datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return math.nan
    return float({"month": when.month, "weekday": when.weekday(), "hour": when.hour}[kind])


def spread_of(values: np.ndarray) -> float:
    """The standard deviation of numbers [n], to divide by: 1 where they are all the same but for rounding."""
    found = float(values.std())
    return found if found > ROUNDING * float(np.abs(values).max(initial=0.0)) else 1.0


def sizes(inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Every row of a table costs the same: ones [n]."""
    return np.ones(len(inputs), dtype=np.int64)
