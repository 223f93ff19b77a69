"""DNA: strings over A, C, G, T and N (not read for certain), in either case."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sartor.data.dataset import Finding
from sartor.errors import RowError

EXPECTS = "DNA, the letters ACGTN"
WIDGET = "textarea"
LEAST_LETTERS = 12  # shorter ones may be words: CAT, TAG, ACT
WINDOW = 4  # letters that an explanation masks at once
_OTHER = re.compile(r"[^ACGTN]")


def recognise(column: pa.ChunkedArray) -> float:
    """0.95 where nearly all values are long strings of the five letters, else 0."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return 0.0
    values = [key(value) for value in column.slice(0, 2000).to_pylist() if value and value.strip()]
    fitting = sum(len(value) >= LEAST_LETTERS and not _OTHER.search(value) for value in values)
    return 0.95 if values and fitting >= 0.9 * len(values) else 0.0


def read(value: Any, column: str) -> str:
    """The sequence in upper case, without white space around it. Nothing at all is no sequence.

    Raises: RowError `row.bad-value`.
    """
    if not isinstance(value, str):
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=f"a {type(value).__name__}")
    sequence = key(value)
    if not sequence:
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found="nothing")
    if (other := _OTHER.search(sequence)) is not None:
        found = f"{other.group()!r} at letter {other.start() + 1}"
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=found)
    return sequence


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """Lengths in letters, and the share of G and C."""
    sequences = [key(value) for value in values if value]
    lengths = np.array([len(sequence) for sequence in sequences] or [0])
    strong = sum(sequence.count("G") + sequence.count("C") for sequence in sequences)
    return {
        "characters_median": float(np.median(lengths)),
        "characters_max": int(lengths.max()),
        "gc": strong / max(1, int(lengths.sum())),
    }


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Sequences that hold other letters: they are refused when the model is asked, and count as wrong answers."""
    bad = [row for value, row in zip(values, rows, strict=True) if _OTHER.search(key(value))]
    if not bad:
        return []
    return [
        Finding(
            code="dna.letters",
            severity="warning",
            message=f"{len(bad):,} of {len(values):,} sequences in {column!r} hold letters other than ACGTN.",
            advice="Write N for what was not read for certain.",
            count=len(bad),
            rows=tuple(bad[:1000]),
        )
    ]


def key(value: Any) -> str:
    """Upper case, without white space around it."""
    return str(value or "").strip().upper()


def parts(value: str) -> list[tuple[int, int]]:
    """Windows of four letters, as (begin, end)."""
    return [(begin, min(begin + WINDOW, len(value))) for begin in range(0, len(value), WINDOW)]


def leave_out(value: str, begin: int, end: int) -> str:
    """The sequence with N in place of a part, so that no letters become neighbours that were none."""
    return value[:begin] + "N" * (end - begin) + value[end:]


def show(value: Any) -> str:
    """The sequence, escaped, its first 600 letters."""
    text = str(value)
    return html.escape(text[:600]) + ("…" if len(text) > 600 else "")
