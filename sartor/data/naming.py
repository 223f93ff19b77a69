"""What the names of files say of their labels: who recorded or collected them often wrote it there, and wrote it first.

No model reads a name. A sign in it that goes with the labels is told, with what it stands for: classes that were permuted, which no model can see, stand out there to
whoever knows the signs; and a file that is labelled otherwise than all others of its sign is probably labelled wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

MOST_PLACES = 6  # words of a name, from either end
MOST_CHARACTERS = 32
LEAST_NAMED = 0.95  # share of the names that have a sign at a place
LEAST_TOLD = 0.9  # share of the rows whose label is that of most rows of their sign
LEAST_ROWS = 5  # of a sign, on average
MOST_MAJORITY = 0.8  # share of one label, beyond which signs agree by chance


@dataclass(frozen=True)
class Naming:
    """A place in the names whose signs go with the labels.

    place: in words. signs: (sign, the code of its label, rows that have it, how many of them under that label), the commonest first. share: of the rows that are
    labelled as their sign says. otherwise [k]: places of the rows that are not.
    """

    place: str
    signs: tuple[tuple[str, int, int, int], ...]
    share: float
    otherwise: np.ndarray


def naming(names: Sequence[str | None], codes: np.ndarray) -> Naming | None:
    """The place in these names [n] whose signs tell the labels [n] best; None where none does."""
    stems = [PurePosixPath(name).stem if name else None for name in names]
    if len(stems) < 2 * LEAST_ROWS or np.bincount(codes).max() > MOST_MAJORITY * len(codes):
        return None
    found = [told for place, signs in _places(stems) if (told := _told(place, signs, codes)) is not None]
    return max(found, key=lambda one: (one.share, -len(one.signs)), default=None)


def _places(stems: Sequence[str | None]) -> Iterator[tuple[str, list[str | None]]]:
    """(a place in words, what stands there in each name): runs of letters or digits from either end, and letters of names of one length."""
    words = [re.findall(r"[^\W\d_]+|\d+", stem) if stem else [] for stem in stems]
    for place in range(MOST_PLACES):
        yield f"part {place + 1}", [each[place] if len(each) > place else None for each in words]
        last = "the last part" if place == 0 else f"part {place + 1} from the end"
        yield last, [each[-1 - place] if len(each) > place else None for each in words]
    lengths = np.array([len(stem or "") for stem in stems])
    usual = int(np.bincount(lengths).argmax())
    for place in range(min(usual, MOST_CHARACTERS)):
        # A digit of a number is none: files are often numbered class by class.
        signs = [stem[place] if stem and len(stem) == usual and stem[place].isalpha() else None for stem in stems]
        yield f"character {place + 1}", signs


def _told(place: str, signs: Sequence[str | None], codes: np.ndarray) -> Naming | None:
    rows = np.array([row for row, sign in enumerate(signs) if sign is not None], dtype=np.int64)
    if len(rows) < LEAST_NAMED * len(signs):
        return None
    known, sign = np.unique([signs[row] for row in rows], return_inverse=True)
    if len(known) < 2 or len(rows) < LEAST_ROWS * len(known):
        return None
    table = np.zeros((len(known), int(codes.max()) + 1), dtype=np.int64)
    np.add.at(table, (sign, codes[rows]), 1)
    best, right = table.argmax(axis=1), table.max(axis=1)
    share = float(right.sum() / len(rows))
    if share < LEAST_TOLD or len(np.unique(best)) < 2:
        return None
    order = np.argsort(-table.sum(axis=1), kind="stable")
    told = tuple((str(known[i]), int(best[i]), int(table[i].sum()), int(right[i])) for i in order)
    return Naming(place, told, share, rows[codes[rows] != best[sign]])
