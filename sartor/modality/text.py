"""Text: sentences and documents in any language.

Languages are told apart by script, and Latin-script ones by their commonest words: enough to choose a backbone and to
notice a mix, not a language identifier.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sartor import ngrams
from sartor.data import characters, personal
from sartor.data.dataset import Finding
from sartor.errors import RowError

EXPECTS = "text"
WIDGET = "textarea"
MAX_CHARACTERS = 1_000_000  # one value; more is a file, not a text

_SCRIPTS = (  # (language, first, last code point); Han is judged after kana and hangul, which mix with it
    ("ja", 0x3040, 0x30FF),
    ("ko", 0xAC00, 0xD7AF),
    ("zh", 0x3400, 0x9FFF),
    ("ru", 0x0400, 0x04FF),
    ("ar", 0x0600, 0x06FF),
    ("hi", 0x0900, 0x097F),
    ("th", 0x0E00, 0x0E7F),
    ("el", 0x0370, 0x03FF),
    ("he", 0x0590, 0x05FF),
)
_WORDS = {
    "en": frozenset(
        [
            "the",
            "a",
            "an",
            "and",
            "of",
            "to",
            "in",
            "is",
            "it",
            "i",
            "you",
            "that",
            "my",
            "for",
            "on",
            "with",
            "not",
            "have",
            "this",
            "be",
            "are",
            "was",
        ]
    ),
    "de": frozenset(
        [
            "der",
            "die",
            "das",
            "und",
            "ist",
            "nicht",
            "ich",
            "ein",
            "eine",
            "zu",
            "mit",
            "auf",
            "für",
            "den",
            "von",
            "es",
            "sie",
            "auch",
            "wir",
        ]
    ),
    "fr": frozenset(
        [
            "le",
            "la",
            "les",
            "et",
            "est",
            "pas",
            "je",
            "un",
            "une",
            "des",
            "du",
            "que",
            "pour",
            "dans",
            "ce",
            "il",
            "vous",
            "en",
            "ne",
            "au",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "la",
            "los",
            "las",
            "y",
            "es",
            "no",
            "un",
            "una",
            "que",
            "de",
            "en",
            "por",
            "con",
            "para",
            "mi",
            "se",
            "lo",
            "su",
            "como",
        ]
    ),
    "it": frozenset(
        [
            "il",
            "la",
            "che",
            "di",
            "e",
            "non",
            "un",
            "una",
            "per",
            "con",
            "sono",
            "mi",
            "lo",
            "si",
            "come",
            "ho",
            "del",
            "della",
            "i",
            "gli",
        ]
    ),
    "pt": frozenset(
        [
            "o",
            "a",
            "os",
            "as",
            "e",
            "não",
            "um",
            "uma",
            "que",
            "de",
            "em",
            "por",
            "com",
            "para",
            "meu",
            "se",
            "do",
            "da",
            "eu",
            "no",
            "na",
        ]
    ),
    "nl": frozenset(
        [
            "de",
            "het",
            "een",
            "en",
            "is",
            "niet",
            "ik",
            "van",
            "op",
            "te",
            "dat",
            "voor",
            "met",
            "zijn",
            "mijn",
            "je",
            "er",
            "aan",
        ]
    ),
}


def recognise(column: pa.ChunkedArray) -> float:
    """Near 1 for strings that read as prose, near 0 for codes, categories and numbers."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return 0.0
    values = [value for value in column.slice(0, 2000).to_pylist() if value and value.strip()]
    if not values:
        return 0.0
    distinct = len(set(values)) / len(values)
    numeric = sum(bool(re.fullmatch(r"[-+\d.,eE:/ %T]+", value)) for value in values) / len(values)
    spaced = sum(1 for value in values if " " in value.strip() or (_has_cjk(value) and len(value) > 4)) / len(values)
    return max(0.0, min(1.0, 0.25 * distinct + 0.75 * spaced) - numeric) * (1.0 if distinct > 0.05 else distinct / 0.05)


def read(value: Any, column: str) -> str:
    """The text itself; anything else is refused. An empty text is a text.

    Raises: RowError `row.bad-value`.
    """
    if not isinstance(value, str):
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=_describe(value))
    if len(value) > MAX_CHARACTERS:
        raise RowError(
            "row.bad-value",
            column=column,
            expected=f"text of at most {MAX_CHARACTERS:,} characters",
            found=f"{len(value):,} characters",
        )
    # A lone surrogate can travel in JSON but cannot be encoded; it stands for nothing, so it becomes U+FFFD.
    return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """Lengths in characters, and the share of each language, from at most 2,000 values."""
    sample = [value for value in _thin(values, 2000) if value]
    lengths = np.array([len(value) for value in sample] or [0])
    languages = Counter(language(value) for value in sample)
    total = max(1, sum(languages.values()))
    return {
        "characters_median": float(np.median(lengths)),
        "characters_p95": float(np.quantile(lengths, 0.95)),
        "characters_max": int(lengths.max()),
        "languages": {name: count / total for name, count in languages.most_common()},
    }


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """The mix of languages, and texts that are far longer than the rest."""
    findings = []
    told = [(name, row) for value, row in zip(values, rows, strict=True) if value and (name := language(value)) != "?"]
    counts = Counter(name for name, _ in told)
    if len(counts) > 1:
        main, main_count = counts.most_common(1)[0]
        others = {name: count for name, count in counts.most_common() if name != main}
        count = sum(others.values())
        # A handful of short texts is always misjudged; only a real share is a mix.
        if count > 0.02 * len(told):
            shares = ", ".join(f"{name} {number / len(told):.1%}" for name, number in list(others.items())[:4])
            findings.append(
                Finding(
                    code="audit.language-mix",
                    severity="note",
                    message=f"Column {column!r} is mostly {main} ({main_count / len(told):.1%}), with {shares}.",
                    advice="If the other languages matter, check the score on them; a multilingual backbone may serve them better.",
                    count=count,
                    rows=tuple(row for name, row in told if name != main),
                    details={"languages": dict(counts)},
                )
            )
    return findings


def flaws(column: str, values: Iterable[Any], rows: Sequence[int]) -> list[Finding]:
    """Personal data, and characters that no one meant to write."""
    personal_rows: dict[str, list[int]] = {}
    odd_rows: dict[str, list[int]] = {}
    for value, row in zip(values, rows, strict=True):
        if not value:
            continue
        for kind in {kind for kind, _, _ in personal.find(value)}:
            personal_rows.setdefault(kind, []).append(row)
        for what in characters.find(value):
            odd_rows.setdefault(what, []).append(row)
    found = []
    if personal_rows:
        held = sorted({row for kind_rows in personal_rows.values() for row in kind_rows})
        told = ", ".join(f"{kind} in {len(kind_rows):,}" for kind, kind_rows in sorted(personal_rows.items()))
        found.append(
            Finding(
                code="audit.personal",
                severity="warning",
                message=f"{len(held):,} {'text' if len(held) == 1 else 'texts'} in {column!r} may hold personal data: {told}.",
                advice="A model can repeat what it was trained on, and the report shows mistakes. `sartor audit --fix` masks them.",
                count=len(held),
                rows=tuple(held),
                details={
                    "column": column,
                    "kinds": {kind: len(kind_rows) for kind, kind_rows in personal_rows.items()},
                },
            )
        )
    for what, held in sorted(odd_rows.items()):
        code, why, advice = _ODD[what]
        found.append(
            Finding(
                code=code,
                severity="warning" if len(held) > 0.01 * len(rows) else "note",
                message=f"{len(held):,} {'text' if len(held) == 1 else 'texts'} in {column!r} {'holds' if len(held) == 1 else 'hold'} {why}.",
                advice=advice,
                count=len(held),
                rows=tuple(held),
                details={"column": column},
            )
        )
    return found


_ODD = {
    "mojibake": (
        "audit.mojibake",
        "text that was decoded in the wrong way, such as 'Ã©' for 'é'",
        "Read the source as UTF-8. `sartor audit --fix` decodes what is certain.",
    ),
    "lost characters": (
        "audit.lost-characters",
        "characters that were replaced for good when they were decoded (U+FFFD, 锟斤拷)",
        "Export these rows again from their source: nothing can be mended here.",
    ),
    "control characters": (
        "audit.control-characters",
        "control characters",
        "Remove them; `sartor audit --fix` does.",
    ),
    "hidden characters": (
        "audit.hidden-characters",
        "characters that cannot be seen (zero-width, direction marks), so that texts that look alike differ",
        "Remove them; `sartor audit --fix` does.",
    ),
}


def mend(value: str) -> tuple[str, list[str]]:
    """The text without what is surely wrong in it, and what was done: characters as they were meant, personal data masked."""
    reasons = sorted(characters.find(value) - {"lost characters"})
    mended = characters.mend(value) if reasons else value
    if personal.find(mended):
        return personal.mask(mended), [*reasons, "personal data"]
    return mended, reasons


def key(value: Any) -> str:
    """Unicode-normalised (NFKC), lower case, runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", value or "").lower().split())


PIECE, DENSE_PIECE = 4, 2  # characters of a shingle; of scripts without spaces
RARE_CHARACTERS = 1_000
DENSE = "\u3040-\u9fff\uac00-\ud7af"  # scripts without spaces between words
SCRIPTS = re.compile(f"(?P<dense>[{DENSE}]+)|[^{DENSE}]+")
ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,255}|https?://[!-~]{1,2000}", re.ASCII)
MOST_READ = 10_000_000  # characters of all texts together; of more, `features` are of words alone
LEAST_PIECES = 12  # shorter texts are the same or they are not


def sketch(values: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """MinHash signatures of texts [n, size] uint32 over their shingles, and which texts have shingles enough for one [n bool]."""
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 2**63, size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = [key(value or "") for value in values]
    points = [np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64) for text in keys]
    hashes = [
        _shingles(point, DENSE_PIECE if _dense(text) else PIECE) for point, text in zip(points, keys, strict=True)
    ]
    lengths = np.array([len(each) for each in hashes], dtype=np.int64)
    enough = lengths >= LEAST_PIECES
    found = np.full((len(keys), size), np.iinfo(np.uint32).max, dtype=np.uint32)
    if not enough.any():
        return found, enough
    kept = np.flatnonzero(enough)
    every = np.concatenate([hashes[i] for i in kept])
    starts = np.concatenate([[0], np.cumsum(lengths[kept])[:-1]])
    for number, factor in enumerate(factors):
        mixed = ((every * factor) >> np.uint64(32)).astype(np.uint32)
        found[kept, number] = np.minimum.reduceat(mixed, starts)
    return found, enough


def joined(values: Sequence[Any]) -> str:
    """Several texts of one row as one."""
    return "\n".join(str(value or "") for value in values)


def likeness(one: Any, other: Any) -> float:
    """The share of common shingles of two texts (Jaccard), from 0 to 1."""
    dense = _dense(str(one)) or _dense(str(other))
    sides = [_pieces(key(value), DENSE_PIECE if dense else PIECE) for value in (one, other)]
    return len(sides[0] & sides[1]) / max(1, len(sides[0] | sides[1]))


def _dense(text: str) -> bool:
    """Whether most of a text is in a script without spaces between words."""
    if text.isascii():
        return False
    return 3 * sum(len(run[0]) for run in SCRIPTS.finditer(text) if run["dense"]) > len(text)


def _pieces(text: str, length: int) -> set[str]:
    return {text[begin : begin + length] for begin in range(len(text) - length + 1)}


def _shingles(points: np.ndarray, length: int) -> np.ndarray:
    """A well-mixed hash of every run of so many code points [m] uint64."""
    if len(points) < length:
        return np.empty(0, dtype=np.uint64)
    hashed = np.zeros(len(points) - length + 1, dtype=np.uint64)
    for place in range(length):
        hashed = hashed * np.uint64(0x100000001B3) + points[place : len(points) - length + 1 + place]
    hashed ^= hashed >> np.uint64(31)
    hashed *= np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(hashed ^ (hashed >> np.uint64(29)), dtype=np.uint64)


def rarity(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(the share of its pieces that no other value has [n], how many different pieces it has [n]).

    Pieces are four characters; where a script without spaces between words is written, one and two. Every digit counts as the same, and so does every
    address of mail or of a page: that nobody else has it says nothing of a message. Of each value at most RARE_CHARACTERS are read.
    """
    found = []
    for value in values:
        text = " ".join(unicodedata.normalize("NFKC", (value or "")[:RARE_CHARACTERS]).lower().split())
        text = re.sub(r"\d", "0", ADDRESS.sub("@", text))
        found.append(np.unique(np.concatenate(_rare_pieces(text)) >> np.uint64(64 - ngrams.BITS)).astype(np.uint32))
    times = np.zeros(1 << ngrams.BITS, dtype=np.int32)
    for pieces in found:
        times[pieces] += 1
    alone = np.array([(times[pieces] == 1).mean() if len(pieces) else 0.0 for pieces in found])
    return alone, np.array([len(pieces) for pieces in found])


def _rare_pieces(text: str) -> list[np.ndarray]:
    """Hashes of what a text is made of, each script cut in its own way."""
    found = [np.empty(0, dtype=np.uint64)]
    for run in SCRIPTS.finditer(text):
        points = np.frombuffer(run[0].encode("utf-32-le", "replace"), dtype="<u4")
        found += [_shingles(points, length) for length in ((1, 2) if run["dense"] else (4,))]
    return found


def features(values: Sequence[Any], seen: int) -> Any:
    """Sublinear tf-idf of hashed n-grams as CSR [n, n-grams] float32; per text each kind of n-gram has unit length.

    seen: n-grams of fewer than two of the first so many texts are left out: of a text that a model did not learn from, it knows
    no others. Each text is hashed once.
    """
    from scipy import sparse

    words_only = sum(len(value or "") for value in values) > MOST_READ
    every: list[list[np.ndarray]] = [[], []]
    for value in values:
        for kind, buckets in enumerate(ngrams.blocks(value or "")):
            if kind == 1 or not words_only:
                every[kind].append(buckets)
    blocks = [_weighed(buckets, seen) for buckets in every if buckets]
    return sparse.hstack(blocks, format="csr", dtype=np.float32)


def _weighed(buckets: Sequence[np.ndarray], seen: int) -> Any:
    """One kind of n-gram as tf-idf rows of unit length, CSR [n, n-grams]."""
    from scipy import sparse

    count, width = len(buckets), 1 << ngrams.BITS
    ends = np.concatenate([[0], np.cumsum([len(each) for each in buckets])])
    indices = np.concatenate(buckets).astype(np.int32)
    raw = sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, ends), shape=(count, width))
    raw.sum_duplicates()
    times = np.bincount(raw.indices[: raw.indptr[seen]], minlength=width)
    kept = np.flatnonzero(times >= 2)
    number = np.full(width, -1, dtype=np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    inside = number[raw.indices] >= 0
    starts = np.concatenate([[0], np.cumsum(inside)])[raw.indptr]
    columns = number[raw.indices[inside]]
    # Smoothed idf as in scikit-learn's TfidfTransformer.
    idf = (np.log((1 + seen) / (1 + times[kept])) + 1).astype(np.float32)
    values = (1 + np.log(raw.data[inside])) * idf[columns]
    row = np.repeat(np.arange(count), np.diff(starts))
    length = np.sqrt(np.bincount(row, weights=np.square(values, dtype=np.float64), minlength=count))
    values = (values / length[row]).astype(np.float32)
    return sparse.csr_matrix((values, columns, starts), shape=(count, len(kept)))


def parts(value: str) -> list[tuple[int, int]]:
    """Words, and single characters of scripts without spaces, as (begin, end) in the text."""
    return [
        found.span()
        for found in re.finditer(
            r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]+", value
        )
    ]


def leave_out(value: str, begin: int, end: int) -> str:
    """The text without one of its parts."""
    return value[:begin] + value[end:]


def varied(value: str, rng: np.random.Generator, *, rate: float) -> str:
    """The text with slips: of about `rate` of its words each is left out, swapped with the next, or has a letter left out, doubled or swapped.

    Words as in Wei and Zou (2019, section 2), letters as in Belinkov and Bisk (2018, section 3). Where words are not parted by spaces, each
    character is one. At least one word stays.
    """
    spaced = not _dense(value)
    words = value.split() if spaced else list(value)
    chosen = np.flatnonzero(rng.random(len(words)) < rate)
    kinds = rng.integers(5 if spaced else 2, size=len(chosen))
    for place, kind in zip(chosen.tolist(), kinds.tolist(), strict=True):
        word = words[place]
        at = int(rng.integers(max(1, len(word) - 1)))
        if kind == 0:
            words[place] = "" if sum(map(bool, words)) > 1 else word
        elif kind == 1 and place + 1 < len(words):
            words[place], words[place + 1] = words[place + 1], word
        elif kind == 2:
            words[place] = word[:at] + word[at + 1 :] if len(word) > 1 else word
        elif kind == 3:
            words[place] = word[: at + 1] + word[at:]
        elif kind == 4:
            words[place] = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    return (" " if spaced else "").join(filter(None, words))


def pieced(value: str, other: str, rng: np.random.Generator) -> str:
    """A stretch of one text, in half of the cases with a stretch of another after it: what a teacher is asked about beside whole texts (stretches as in Tang et al. 2019,
    section 3.2). Where words are not parted by spaces, each character is one."""
    made = _stretch(value, rng)
    if rng.random() < 0.5:
        made += ("" if _dense(value) else " ") + _stretch(other, rng)
    return made


def _stretch(value: str, rng: np.random.Generator) -> str:
    """Words that follow each other, at least one."""
    spaced = not _dense(value)
    words = value.split() if spaced else list(value)
    if len(words) < 2:
        return value
    length = int(rng.integers(1, len(words) + 1))
    begin = int(rng.integers(0, len(words) - length + 1))
    return (" " if spaced else "").join(words[begin : begin + length])


def show(value: Any) -> str:
    """The text, escaped, its first 600 characters."""
    text = str(value)
    return html.escape(text[:600]) + ("…" if len(text) > 600 else "")


def language(text: str) -> str:
    """A BCP 47 language by script, or by common words for Latin script; "?" when there is too little to tell."""
    text = text[:2000]
    if not text.isascii():
        points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
        letters = max(1, sum(character.isalpha() for character in text))
        for name, first, last in _SCRIPTS:
            share = np.count_nonzero((points >= first) & (points <= last)) / letters
            if share > (0.1 if name == "ja" else 0.3):
                return name
    words = re.findall(r"[^\W\d_]+", text.lower())
    if not words:
        return "?"
    scores = {name: sum(word in common for word in words) for name, common in _WORDS.items()}
    best = max(scores, key=lambda name: scores[name])
    ranked = sorted(scores.values(), reverse=True)
    return best if ranked[0] >= 2 and ranked[0] > ranked[1] else "?"


def _has_cjk(text: str) -> bool:
    return not text.isascii() and any(
        "\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af" for character in text
    )


def _thin(values: Sequence[Any], most: int) -> Sequence[Any]:
    """At most `most` of the values, spread evenly."""
    if len(values) <= most:
        return values
    return [values[int(i)] for i in np.linspace(0, len(values) - 1, most)]


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    return {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), type(value).__name__
    )
