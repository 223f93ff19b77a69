"""Categories: one column of a table whose few values are names; a cell may be empty."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sartor.data import cells
from sartor.data.dataset import Finding
from sartor.errors import RowError

EXPECTS = "a short text, a whole number or a truth value"
WIDGET = "text"
TABULAR = True
MAX_CHARACTERS = 1_000  # of one value
MOST_NAMES = 4_096  # that stand for themselves where labels are doubted
_WHOLE = re.compile(r"^(-?\d{1,15})\.0+$")  # as whole numbers are written of a column in which one is missing


def recognise(column: pa.ChunkedArray) -> float:
    """0: whether texts are categories is seen by how few differ in the whole column, so the schema decides it."""
    return 0.0


def read(value: Any, column: str) -> str | None:
    """The name without white space around it, or None where nothing is known.

    Raises: RowError `row.bad-value`.
    """
    # Of a whole number of thousands of digits Python writes none.
    endless = isinstance(value, int) and value.bit_length() > 4 * MAX_CHARACTERS
    if not isinstance(value, str | bool | int | float | None) or endless or len(str(value)) > MAX_CHARACTERS:
        found = f"a text of {len(value):,} characters" if isinstance(value, str) else f"a {type(value).__name__}"
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=found)
    return key(value)


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """The share of empty cells, and how many names there are."""
    names = [key(value) for value in values]
    there = [name for name in names if name is not None]
    return {"missing": 1 - len(there) / max(1, len(names)), "names": len(set(there))}


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """A column that never changes."""
    names = {name for value in values if (name := key(value)) is not None}
    if len(names) != 1 or len(values) < 2:
        return []
    count = sum(key(value) is not None for value in values)
    return [
        Finding(
            code="audit.constant",
            severity="note",
            message=f"{column!r} is {next(iter(names))[:40]!r} in all of {count:,} rows that have it.",
            advice="Nothing can be learned from it; leave it out, or look why it never changes.",
            count=count,
            details={"column": column},
        )
    ]


def key(value: Any) -> str | None:
    """The name without white space around it; None for an empty cell. It is the same for 3, 3.0, "3" and "3.0", and for True, "True" and "true"."""
    if cells.unknown(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    name = str(value).strip()
    if name.lower() in ("true", "false"):
        return name.lower()
    return _WHOLE.sub(r"\1", name)


def features(values: Sequence[Any], seen: int) -> Any:
    """Which name it is, of those that the first `seen` values have: one-hot [n, names + 1] float32, sparse. Empty is a name too."""
    from scipy import sparse

    names = [key(value) for value in values]
    number: dict[str | None, int] = {}
    for name in names[:seen]:
        if len(number) < MOST_NAMES:
            number.setdefault(name, len(number))
    place = np.array([number.get(name, len(number)) for name in names], dtype=np.int64)
    ones = np.ones(len(names), dtype=np.float32)
    return sparse.csr_matrix((ones, (np.arange(len(names)), place)), shape=(len(names), len(number) + 1))


def parts(value: Any) -> list[tuple[int, int]]:
    """The cell is one piece."""
    return [] if value is None else [(0, 1)]


def part_text(value: Any, begin: int, end: int) -> str:
    """The cell."""
    return str(value)


def leave_out(value: Any, begin: int, end: int) -> Any:
    """An empty cell."""
    return None


def show(value: Any) -> str:
    """The name, escaped."""
    return html.escape("" if value is None else str(value)[:60])
