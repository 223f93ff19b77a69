"""Numbers: one column of measured values in a table; a cell may be empty."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sartor.data import cells
from sartor.data.dataset import Finding
from sartor.errors import RowError

EXPECTS = "a number"
WIDGET = "number"
TABULAR = True
BINS = 16  # of equal size, by which labels are doubted and parts compared
LEAST_CODES, LEAST_SHARE = 5, 0.003  # rows that hold a value that may stand for "unknown"; as a share of all
MOST_SHARE = 0.6  # beyond which the value is what is usual: no loss, no children
APART = 3.0  # usual gaps between values, by which such a value is further from the next
REACH = 0.03  # of the values' range, that this gap is at least


def recognise(column: pa.ChunkedArray) -> float:
    """0: whether numbers are measured values or names is seen by their column as a whole, so the schema decides it."""
    return 0.0


def read(value: Any, column: str) -> float | None:
    """The number, or None where nothing is known.

    Raises: RowError `row.bad-value`.
    """
    if cells.unknown(value):
        return None
    found = cells.number(value) if isinstance(value, bool | int | float | str) else math.nan
    if not math.isfinite(found):
        shown = f"{value[:40]!r}" if isinstance(value, str) else f"a {type(value).__name__}"
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=shown)
    return found


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """The share of empty cells, and the median."""
    found = _numbers(values)
    there = found[np.isfinite(found)]
    return {
        "missing": 1 - len(there) / max(1, len(found)),
        "median": float(np.median(there)) if len(there) else None,
    }


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """A column that never changes, cells that are no numbers, and a value that may stand for "unknown"."""
    found = _numbers(values)
    there = np.isfinite(found)
    findings = []
    odd = [i for i, value in enumerate(values) if not there[i] and not cells.unknown(value)]
    if odd:
        findings.append(
            Finding(
                code="audit.not-a-number",
                severity="warning",
                message=f"{len(odd):,} of {len(values):,} cells of {column!r} are no numbers, such as {str(values[odd[0]])[:40]!r}.",
                advice="In training they count as empty; a model that is asked refuses such a row. Write numbers as 1234.5, or leave the cell empty.",
                count=len(odd),
                rows=tuple(rows[i] for i in odd),
                details={"column": column},
            )
        )
    if there.sum() > 1 and np.ptp(found[there]) == 0:
        findings.append(_constant(column, f"{found[there][0]:g}", int(there.sum())))
    code = _code(found[there])
    if code is not None:
        places = np.flatnonzero(found == code)
        findings.append(
            Finding(
                code="audit.missing-code",
                severity="note",
                message=f"{len(places):,} of {len(values):,} cells of {column!r} are {code:g}, far from all other values: it may stand for "
                '"unknown".',
                advice="If it does, leave these cells empty; a model handles empty cells, and takes this for a measured value.",
                count=len(places),
                rows=tuple(rows[i] for i in places.tolist()),
                details={"column": column, "value": code},
            )
        )
    return findings


def key(value: Any) -> str | None:
    """The number, however it is written; None for an empty cell."""
    found = cells.number(value)
    return None if math.isnan(found) else repr(found + 0.0)


def features(values: Sequence[Any], seen: int) -> Any:
    """Which of BINS bins of equal size the value lies in, or that it is empty: one-hot [n, BINS + 1] float32, sparse."""
    from scipy import sparse

    found = _numbers(values)
    known = found[:seen][np.isfinite(found[:seen])]
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else np.empty(0)
    place = np.where(np.isfinite(found), np.searchsorted(edges, found, side="left"), BINS)
    ones = np.ones(len(found), dtype=np.float32)
    return sparse.csr_matrix((ones, (np.arange(len(found)), place)), shape=(len(found), BINS + 1))


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
    """The number as it was written, escaped."""
    return html.escape("" if value is None else str(value)[:60])


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([math.nan if cells.unknown(value) else cells.number(value) for value in values], dtype=np.float64)


def _constant(column: str, value: str, count: int) -> Finding:
    return Finding(
        code="audit.constant",
        severity="note",
        message=f"{column!r} is {value} in all of {count:,} rows that have it.",
        advice="Nothing can be learned from it; leave it out, or look why it never changes.",
        count=count,
        details={"column": column},
    )


def _code(found: np.ndarray) -> float | None:
    """The smallest or largest value, where it is frequent and stands apart: 0 among weights, -999, 9999."""
    values, counts = np.unique(found, return_counts=True)
    least = max(LEAST_CODES, LEAST_SHARE * len(found))
    if len(values) < 10:
        return None
    for code, count, inner in ((values[0], counts[0], values[1:]), (values[-1], counts[-1], values[:-1][::-1])):
        looks = code == 0 or _nines(code)
        gap = abs(inner[0] - code)
        if (
            looks
            and least <= count <= MOST_SHARE * len(found)
            and gap > APART * np.median(np.abs(np.diff(inner)))
            and gap > REACH * np.ptp(inner)
        ):
            return float(code)
    return None


def _nines(value: float) -> bool:
    """Whether a value is made of nines, as codes for "unknown" are: -9, 99, -999, 9999; or -1."""
    digits = f"{abs(value):g}"
    return value == -1 or set(digits) == {"9"}
