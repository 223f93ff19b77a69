"""What a cell of a table says: a number, a date, a list, or that nothing is known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

# As pandas reads them (`read_csv`, na_values), and "?", which many files of the UCI repository have.
UNKNOWN = frozenset(("", "?", "-", "--", "n/a", "na", "nan", "-nan", "null", "none", "<na>", "#n/a", "无", "未知"))
# A comma parts thousands where three digits follow and no zero leads: 0,250 has a decimal comma. Arrow reads these patterns too.
NUMBER = r"\s*[-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*"
DECIMAL_COMMA = r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*"
EITHER = r"\s*[-+]?[1-9]\d{0,2},\d{3}(?:[eE][-+]?\d+)?\s*"  # a comma for thousands or for decimals
THOUSANDS = r"\s*[-+]?[1-9]\d{0,2}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,})\s*"  # a comma for thousands beyond doubt
MOST_OF_NUMBER, MOST_OF_DATE = 400, 64  # characters: the longest float has 309 digits before its point
_NUMBER, _DECIMAL_COMMA = re.compile(NUMBER), re.compile(DECIMAL_COMMA)
_DATE = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?"
    r"(?:(?:T|\s+|(?<=日))(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([AaPp])[Mm])?(?:\s*(Z|UTC|GMT|[-+]\d{2}:?\d{2}))?)?"
)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]|$)")  # Python also reads eight digits, and any character before the time
_QUOTED = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")


def unknown(value: Any) -> bool:
    """Whether a cell holds nothing, or one of the words that stand for it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in UNKNOWN


def is_number(value: Any) -> bool:
    """Whether a cell is a number or writes one; a truth value is none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or _written(value) is not None


def number(value: Any) -> float:
    """The number that a cell holds or writes, NaN where it holds none or one beyond all floats.

    Commas part thousands where they can (1,234 and 1,234.5); one that cannot is the decimal comma (1,5 and 0,250). Of a column that writes 1,234
    for 1.234 only the column as a whole tells so: it is mended when it is read (`read.read`).
    """
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:  # a whole number of JSON may have any number of digits
            return math.nan
    written = _written(value)
    return math.nan if written is None else float(written)


def _written(value: Any) -> str | None:
    """The number that a cell writes, as Python writes it; None where it writes none."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > MOST_OF_NUMBER:
        return None
    if _NUMBER.fullmatch(text):
        return text.replace(",", "")
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else None


def instant(value: str | None) -> float:
    """Seconds since 1970 of a date that begins with the year, with a time of day perhaps; NaN where a cell holds none.

    A time is one of 24 hours, or of 12 with AM or PM. It is in UTC unless an offset follows (Z, +08:00).
    """
    text = value.strip() if value and len(value) <= MOST_OF_DATE else ""
    try:
        found = datetime.fromisoformat(text) if _ISO.match(text) else _as_told(text)
    except ValueError:
        found = _as_told(text)
    if found is None:
        return math.nan
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _as_told(text: str) -> datetime | None:
    """A date as people write it, such as 2024/5/31 2:30 PM, or 2024年5月31日."""
    told = _DATE.fullmatch(text)
    if told is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in told.groups()[:6])
    fraction, half, offset = told.groups()[6:]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    zone = UTC
    if offset and offset[0] in "+-":
        away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
        if away >= timedelta(days=1):
            return None
        zone = timezone(-away if offset[0] == "-" else away)
    try:
        return datetime(year, month, day, hour, minute, second, int(f"{fraction or 0:0<6}"[:6]), tzinfo=zone)
    except ValueError:
        return None


def are_dates(sample: Sequence[str]) -> bool:
    """Whether a column of these texts is one of dates: nearly all of them are."""
    return bool(sample) and sum(not math.isnan(instant(value)) for value in sample) >= 0.95 * len(sample)


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
