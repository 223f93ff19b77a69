"""Near-duplicates: inputs that differ by a few characters, found by MinHash and locality-sensitive hashing.

Broder (1997), "On the resemblance and containment of documents"; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3.
The modality of the inputs sketches values and says how alike two are; every pair that hashing proposes is compared as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sartor import leaves
from sartor.data.dataset import Dataset, Rows, rows_at_once

ALIKE = 0.8  # share of common pieces (Jaccard) from which on two inputs are nearly the same
BANDS, BAND = 16, 4  # a pair at 0.8 shares a band with probability 0.9998
ERRORS = 4  # standard errors of a sketch's likeness, by which a pair may look less alike than it is
MOST_COMPARED = 50
MOST_HELD = 4_096  # values, which may be pictures
SKETCHED_ROWS = 2_048  # at once
MOST_SEEN = 2_000_000  # pairs that are remembered as compared, so that memory stays bounded
PARTNERS = 4  # that each member of a bucket is compared with, so that one huge bucket does not cost its square


def sketches(dataset: Dataset) -> bool:
    """Whether nearly the same inputs can be found: all are of one modality, it sketches, and several of it can be taken as one."""
    kinds = [column.kind for column in dataset.schema.inputs]
    if len(set(kinds)) != 1:
        return False
    leaf = leaves.load("modality", kinds[0])
    return hasattr(leaf, "sketch") and (len(kinds) == 1 or hasattr(leaf, "joined"))


def groups(dataset: Dataset, rows: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """Groups of rows [≥ 2] whose inputs are nearly, but not all exactly, the same; ascending, in the order of their first rows.

    rows: those to look at. keys: of every row of the dataset, equal for inputs that are the same. Inputs of one modality that
    sketches are looked at, several of them as one; of others there are no groups.
    """
    if not sketches(dataset) or not len(rows):
        return []
    inputs = dataset.schema.inputs
    leaf = leaves.load("modality", inputs[0].kind)
    _, first = np.unique(keys[rows], return_index=True)
    ones = rows[np.sort(first)]  # one row of each key
    values = Rows(dataset.table, [column.name for column in inputs], ones)
    sketched, enough = _sketched(leaf, values)
    leader = np.arange(len(ones))

    def top(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = int(leader[place])
        return place

    seen: set[tuple[int, int]] = set()
    held: dict[int, Any] = {}

    def value(place: int) -> Any:
        if place not in held:
            if len(held) >= MOST_HELD:
                held.clear()
            held[place] = _whole(leaf, values[place])
        return held[place]

    for one, other in _proposed(sketched, enough):
        pair = (min(one, other), max(one, other))
        if pair in seen or top(one) == top(other):
            continue
        if len(seen) >= MOST_SEEN:
            seen.clear()
        seen.add(pair)
        if (sketched[one] == sketched[other]).mean() < ALIKE - ERRORS * np.sqrt(ALIKE * (1 - ALIKE) / (BANDS * BAND)):
            continue  # hardly alike, by the sketches alone
        if leaf.likeness(value(one), value(other)) >= ALIKE:
            low, high = sorted((top(one), top(other)))
            leader[high] = low
    tops = np.array([top(place) for place in range(len(ones))])
    of_key = {int(keys[row]): int(tops[place]) for place, row in enumerate(ones)}
    members: dict[int, list[int]] = {}
    crowded = {int(place) for place in np.flatnonzero(np.bincount(tops, minlength=len(ones)) > 1)}
    for row in rows.tolist():
        if (group := of_key[int(keys[row])]) in crowded:
            members.setdefault(group, []).append(row)
    return [np.array(found) for found in members.values()]


def pairs(dataset: Dataset, rows: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """(row, one of the others that it is nearly the same as), for the rows that have such; each is compared with MOST_COMPARED of them."""
    inputs = dataset.schema.inputs
    leaf = leaves.load("modality", inputs[0].kind)
    columns = [column.name for column in inputs]
    others = others[:MOST_COMPARED]
    there = list(zip(others.tolist(), wholes(leaf, Rows(dataset.table, columns, others)), strict=True))
    found = []
    for number, row in zip(rows.tolist(), Rows(dataset.table, columns, rows), strict=True):
        value = _whole(leaf, row)
        twin = next((other for other, held in there if leaf.likeness(value, held) >= ALIKE), None)
        if twin is not None:
            found.append((number, twin))
    return found


def wholes(leaf: Any, rows: Rows) -> list[Any]:
    """All inputs of each row as one value of their modality."""
    return [_whole(leaf, row) for row in rows]


def _whole(leaf: Any, row: Mapping[str, Any]) -> Any:
    values = list(row.values())
    return values[0] if len(values) == 1 else leaf.joined(values)


def _sketched(leaf: Any, values: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(sketches [n, BANDS · BAND] uint32, which of them have pieces enough [n bool])."""
    size = rows_at_once(values.table, most=SKETCHED_ROWS)
    found, enough = [], []
    for begin in range(0, len(values), size):
        sketch, told = leaf.sketch(wholes(leaf, values[begin : begin + size]), BANDS * BAND)
        found.append(sketch)
        enough.append(told)
    return np.concatenate(found), np.concatenate(enough)


def _proposed(sketches: np.ndarray, enough: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of places that share a band."""
    places = np.flatnonzero(enough)
    for band in range(BANDS):
        piece = np.ascontiguousarray(sketches[places, band * BAND : (band + 1) * BAND])
        whole = piece.view([("", piece.dtype)] * BAND).ravel()
        _, number = np.unique(whole, return_inverse=True)
        order = np.argsort(number, kind="stable")
        ordered = number[order]
        for step in range(1, PARTNERS + 1):
            near = np.flatnonzero(ordered[step:] == ordered[:-step])
            for at in near.tolist():
                yield int(places[order[at]]), int(places[order[at + step]])
