"""What a cell of a table says: a number, a date, a list, or that nothing is known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

# As pandas reads them (`read_csv`, na_values), and "?", which many files of the UCI repository have.
UNKNOWN = frozenset(("", "?", "-", "--", "n/a", "na", "nan", "-nan", "null", "none", "<na>", "#n/a", "无", "未知"))
_NUMBER = re.compile(r"\s*[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_DATE = r"^\s*(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?"
_QUOTED = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
DATE = re.compile(_DATE + r"(?:[T\s]*(\d{1,2}):(\d{2})(?::(\d{2}))?.*)?\s*$")


def unknown(value: Any) -> bool:
    """Whether a cell holds nothing, or one of the words that stand for it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in UNKNOWN


def is_number(value: Any) -> bool:
    """Whether a cell is a number or writes one; a truth value is none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or bool(_NUMBER.fullmatch(str(value)))


def number(value: Any) -> float:
    """The number that a cell holds or writes, NaN where it holds none. Commas part thousands."""
    if isinstance(value, bool | int | float):
        return float(value)
    if value is None or not _NUMBER.fullmatch(str(value)):
        return math.nan
    return float(str(value).replace(",", ""))


def instant(value: str | None) -> float:
    """Seconds since 1970, in UTC, of a date that begins with the year; NaN where a cell holds none."""
    told = DATE.match(value or "")
    if told is None:
        return math.nan
    year, month, day, hour, minute, second = (int(part or 0) for part in told.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return math.nan


def are_dates(sample: Sequence[str]) -> bool:
    """Whether a column of these texts is one of dates: nearly all of them begin with a year, a month and a day."""
    return bool(sample) and sum(DATE.match(value) is not None for value in sample) >= 0.95 * len(sample)


def items(value: Any) -> list[Any] | None:
    """The list that a cell holds or writes, as JSON or as Python and NumPy print lists of words; None where it is none."""
    if isinstance(value, list | tuple):
        return list(value)
    text = value.strip() if isinstance(value, str) else ""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        return list(json.loads(text))
    except (ValueError, RecursionError):
        inside = text[1:-1]
        return (
            None
            if _QUOTED.sub("", inside).strip(" ,\t\r\n")
            else [one[1:-1] for one in _QUOTED.findall(inside)] or None
        )
