"""Modalities: how one kind of column is recognised, checked, profiled and shown. A file here is a leaf.

A leaf is a module with the functions of `Modality`. It imports no torch: the server uses the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from sartor.data.dataset import Finding


class Modality(Protocol):
    """One kind of column.

    A leaf may also have
    `sketch(values, size) -> (MinHash signatures [n, size] uint32, enough [n bool])` with `likeness(one, other) -> 0 to 1`, from which
    near-duplicates are found, and `joined(values)`, several values of a row as one, where that makes sense;
    `rarity(values) -> (share of its pieces that no other value has [n], pieces [n])`, from which outliers are found;
    `features(values, seen) -> sparse or dense [n, width]`, by which labels are doubted and parts compared;
    `flaws(column, values, rows) -> list[Finding]`, an audit of every value where `audit` sees a sample;
    `part_text(value, begin, end)`, what one of its `parts` is called where it is not text;
    `picture(value) -> data URL` of a small picture that stands for it in the report;
    `smaller(value) -> bytes`, of a picture or recording that is too large for a bundle to keep, with MAX_BYTES, the most that is read of one;
    `varied(value, rng, rate=) -> value` with slips that leave its meaning, of which training may make use;
    `mend(value) -> (value, what was done)`, which takes out of a value what is surely wrong in it.
    A kind that is TABULAR is one of the cells of a table: it may be empty, and is an input only where nothing else is or it is asked for.
    """

    EXPECTS: str  # what a value must be, for error messages: "text"
    WIDGET: str  # the form control on the page: "textarea", "number", "file:image/*", …

    def recognise(self, column: pa.ChunkedArray) -> float:
        """How surely this column is of this kind, 0 to 1, from a sample of its values."""
        ...

    def read(self, value: Any, column: str) -> Any:
        """One value as it arrives (from a row, over HTTP) as the processor takes it.

        Raises: RowError `row.bad-value`.
        """
        ...

    def profile(self, values: Sequence[Any]) -> dict[str, Any]:
        """What the planner wants to know of these values: sizes, languages, …"""
        ...

    def audit(self, column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
        """What is wrong with these values, whatever the task. `rows`: their row numbers in the dataset."""
        ...

    def key(self, value: Any) -> Any:
        """What two values that are the same to a reader have in common; used to find duplicates and leaks."""
        ...

    def parts(self, value: Any) -> list[tuple[int, int]]:
        """The pieces of a value that an explanation leaves out in turn, as (begin, end)."""
        ...

    def leave_out(self, value: Any, begin: int, end: int) -> Any:
        """The value without one of its parts."""
        ...

    def show(self, value: Any) -> str:
        """The value as HTML, escaped, at most a few lines."""
        ...
