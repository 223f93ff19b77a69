"""Dates: one column of a table with days or instants; a cell may be empty."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sartor.data import cells
from sartor.data.dataset import Finding
from sartor.errors import RowError
from sartor.modality import number

EXPECTS = "a date that begins with the year, such as 2024-05-31 or 2024-05-31 14:30"
WIDGET = "text"
TABULAR = True


def recognise(column: pa.ChunkedArray) -> float:
    """0.9 where nearly all texts are dates."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return 0.0
    values = [value for value in column.slice(0, 2000).to_pylist() if not cells.unknown(value)]
    return 0.9 if cells.are_dates(values) else 0.0


def read(value: Any, column: str) -> float | None:
    """Seconds since 1970 in UTC, or None where nothing is known. A number is such seconds already.

    Raises: RowError `row.bad-value`.
    """
    if cells.unknown(value):
        return None
    found = _instant(value)
    if not math.isfinite(found):
        shown = f"{value[:40]!r}" if isinstance(value, str) else f"a {type(value).__name__}"
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=shown)
    return found


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """The share of empty cells."""
    return {"missing": sum(cells.unknown(value) for value in values) / max(1, len(values))}


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Cells that are no dates."""
    odd = [i for i, value in enumerate(values) if not cells.unknown(value) and (key(value) is None)]
    if not odd:
        return []
    return [
        Finding(
            code="audit.not-a-date",
            severity="warning",
            message=f"{len(odd):,} of {len(values):,} cells of {column!r} are no dates, such as {str(values[odd[0]])[:40]!r}.",
            advice="In training they count as empty; a model that is asked refuses such a row. Write dates as 2024-05-31, or leave the cell empty.",
            count=len(odd),
            rows=tuple(rows[i] for i in odd),
            details={"column": column},
        )
    ]


def key(value: Any) -> str | None:
    """The instant, however it is written; None for an empty cell or one that is no date."""
    found = math.nan if cells.unknown(value) else _instant(value)
    return repr(found) if math.isfinite(found) else None


def features(values: Sequence[Any], seen: int) -> Any:
    """Which of equally full stretches of time it lies in: one-hot [n, bins + 1] float32, sparse."""
    return number.features([None if cells.unknown(value) else _instant(value) for value in values], seen)


def parts(value: Any) -> list[tuple[int, int]]:
    """The cell is one piece."""
    return [] if value is None else [(0, 1)]


def part_text(value: Any, begin: int, end: int) -> str:
    """The cell."""
    return show(value)


def leave_out(value: Any, begin: int, end: int) -> Any:
    """An empty cell."""
    return None


def show(value: Any) -> str:
    """The date as it was written, escaped; of seconds since 1970 the day and time."""
    if isinstance(value, float):
        with suppress(OverflowError, ValueError, OSError):  # a year that no calendar has
            value = datetime.fromtimestamp(value, UTC).isoformat(sep=" ")
    return html.escape("" if value is None else str(value)[:60])


def _instant(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return cells.number(value)
    return cells.instant(value) if isinstance(value, str) else math.nan
