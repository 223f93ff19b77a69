"""Texts of which one word is enough to tell the label."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROWS = 5_000  # that are looked at
MOST_CHARACTERS = 2_000  # of a text that are read
FEWEST = 5  # other rows with a word, before it tells anything
SHARE = 0.9  # of the rows that one word must tell
MISSED = 1 / 3  # of the rows that are not in the largest class, that it may leave wrong


@dataclass(frozen=True)
class Told:
    """How many of the rows one word tells, and the words that tell most: (word, code of the label, rows told, rows with it)."""

    share: float
    words: list[tuple[str, int, int, int]]


def telling(texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]], codes: np.ndarray) -> Told | None:
    """Whether the labels `codes` [n] follow from one word of each text, whose words are at `parts` (begin, end).

    None where fewer than SHARE of the rows are guessed right by `guesses`, or hardly more than are of the largest class.
    """
    if not len(codes):
        return None
    guessed, words = guesses(texts, parts, codes)
    share = float((guessed == codes).mean())
    if share < SHARE or 1 - share > MISSED * (1 - np.bincount(codes).max() / len(codes)):
        return None
    shown = []
    within = [_words(text, spans) for text, spans in zip(texts, parts, strict=True)]
    for word, _ in Counter(filter(None, words)).most_common(8):
        own = codes[[word in each for each in within]]
        code = int(np.bincount(own).argmax())
        shown.append((word, code, int(np.count_nonzero(own == code)), len(own)))
    return Told(share, shown)


def guesses(
    texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]], codes: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """(each row's label [n], the word that it is guessed by; "" where none).

    A row is guessed by its one most telling word, as the other rows have it: of the words that at least FEWEST others have, the one with the largest
    share of one label (by Laplace's rule of succession, so that many rows count for more). Where two labels are as many, the row's own is not chosen.
    A row without such a word is guessed to be of the largest class.
    """
    known: dict[str, int] = {}
    within = [
        [known.setdefault(word, len(known)) for word in sorted(_words(text, spans))]
        for text, spans in zip(texts, parts, strict=True)
    ]
    guessed, by = np.full(len(codes), np.bincount(codes).argmax()), [""] * len(codes)
    if not known:
        return guessed, by
    row = np.repeat(np.arange(len(within)), [len(each) for each in within])
    word = np.array([each for every in within for each in every])
    # Of each word: its rows, its first label and how many of its rows have that, the second label and how many have that.
    classes = int(codes.max()) + 1
    pairs, times = np.unique(word * classes + codes[row], return_counts=True)
    of, code = np.divmod(pairs, classes)
    order = np.lexsort((-times, of))
    of, code, times = of[order], code[order], times[order]
    total = np.bincount(of, weights=times)
    first = np.flatnonzero(np.diff(of, prepend=-1))
    follows = np.minimum(first + 1, len(of) - 1)
    rivalled = (follows != first) & (of[follows] == of[first])
    best, most = code[first], times[first]
    second, less = code[follows], np.where(rivalled, times[follows], 0)
    own = best[word] == codes[row]
    falls = own & rivalled[word] & (most[word] - 1 <= less[word])
    guess, right = np.where(falls, second[word], best[word]), np.where(falls, less[word], most[word] - own)
    others = total[word] - 1
    score = np.where(others >= FEWEST, (right + 1) / (others + 2), -1.0)
    order = np.lexsort((-score, row))
    leading = order[np.flatnonzero(np.diff(row[order], prepend=-1))]
    leading = leading[score[leading] > 0]
    guessed[row[leading]] = guess[leading]
    names = list(known)
    for each in leading.tolist():
        by[row[each]] = names[word[each]]
    return guessed, by


def _words(text: str, spans: Sequence[tuple[int, int]]) -> set[str]:
    """The different words of a text, and what two that touch make together: of scripts without spaces the pairs of characters."""
    found = {text[begin:end] for begin, end in spans}
    return found | {
        text[begin:after] for (begin, end), (next_begin, after) in itertools.pairwise(spans) if end == next_begin
    }
