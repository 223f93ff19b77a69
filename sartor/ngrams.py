"""Hashed n-grams of characters and words: what a linear model reads of a text.

The hashing trick (Weinberger et al. 2009) over code points, vectorised in numpy, because the server runs it on every request: no
tokeniser, no vocabulary of strings, any language. An ideograph or a kana is a word by itself, because these scripts are written
without spaces between words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

BITS = 22
CHARACTERS = (1, 2, 3, 4, 5)
WORDS = (1, 2)
MAX_CHARACTERS = 20_000  # of one text; what follows is not read
# Scripts without spaces between words: kana, ideographs with their extensions, hangul syllables, ideographs beyond the BMP.
ALONE = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x323AF))


def blocks(text: str) -> Iterator[np.ndarray]:
    """The buckets [n] uint32 below 2 ** BITS of every character n-gram, then of every word n-gram."""
    text = " " + " ".join(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).lower().split()) + " "
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    yield _rolled(points, CHARACTERS, salt=0x9E3779B9)
    yield _rolled(_word_hashes(points), WORDS, salt=0x85EBCA6B)


def _rolled(symbols: np.ndarray, sizes: Sequence[int], *, salt: int) -> np.ndarray:
    """Hashes of all runs of `sizes` symbols, as buckets."""
    found = []
    rolling = np.zeros(len(symbols), dtype=np.uint32)
    for size in range(1, max(sizes) + 1):
        if len(symbols) < size:
            break
        rolling = rolling[: len(symbols) - size + 1] * np.uint32(0x01000193) + symbols[size - 1 :] + np.uint32(1)
        if size in sizes:
            found.append(_mixed(rolling + np.uint32((salt * size) & 0xFFFFFFFF)) >> np.uint32(32 - BITS))
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint32)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """MurmurHash3's 32-bit finaliser: every input bit reaches every output bit."""
    hashes = hashes ^ (hashes >> np.uint32(16))
    hashes = hashes * np.uint32(0x85EBCA6B)
    hashes = hashes ^ (hashes >> np.uint32(13))
    hashes = hashes * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def _word_hashes(points: np.ndarray) -> np.ndarray:
    """One hash per word: a run of letters, digits and apostrophes, or a single ideograph, kana or hangul syllable."""
    inside, alone = _kinds(points)
    # A word begins after anything that is not inside one, and at and after each letter that stands alone.
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | alone[1:] | alone[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.empty(0, dtype=np.uint32)
    word = np.cumsum(begins) - 1
    place = np.arange(len(points)) - starts[np.maximum(word, 0)]
    terms = np.where(inside, (points + np.uint32(1)) * _POWERS[np.clip(place, 0, len(_POWERS) - 1)], np.uint32(0))
    sums = np.add.reduceat(terms, starts, dtype=np.uint32)
    return _mixed(sums + np.bincount(word[inside], minlength=len(starts)).astype(np.uint32))


def _kinds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each code point stands in a word, and whether it is a word by itself."""
    inside, alone = _ASCII_INSIDE[np.minimum(points, 127)], np.zeros(len(points), dtype=bool)
    for place in np.flatnonzero(points > 127).tolist():
        inside[place], alone[place] = _kind(int(points[place]))
    return inside, alone


@lru_cache(maxsize=1 << 16)
def _kind(point: int) -> tuple[bool, bool]:
    alone = any(low <= point <= high for low, high in ALONE)
    return chr(point).isalnum(), alone and chr(point).isalnum()


def _powers(count: int) -> np.ndarray:
    powers = np.ones(count, dtype=np.uint32)
    for i in range(1, count):
        powers[i] = (int(powers[i - 1]) * 0x01000193) & 0xFFFFFFFF
    return powers


_POWERS = _powers(64)
_ASCII_INSIDE = np.array([chr(i).isalnum() or chr(i) == "'" for i in range(128)])
