"""Plants the faults of real files into clean rows, at places that it tells."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field

Row = tuple[str, str]  # text, label


@dataclass
class Planted:
    """Rows with faults in them. rows: by part. places: kind -> row numbers from 0, counted over the parts in their order."""

    rows: dict[str, list[Row]]
    places: dict[str, set[int]] = field(default_factory=dict)


def plant(clean: list[Row], *, seed: int = 0, each: int = 12, test_share: float = 0.25) -> Planted:
    """Splits clean rows into train and test and plants `each` of every kind."""
    rng = random.Random(seed)
    rows = clean[:]
    rng.shuffle(rows)
    spare, rows = rows[: each * len(SPOILS)], rows[each * len(SPOILS) :]
    cut = round(len(rows) * (1 - test_share))
    train, test = rows[:cut], rows[cut:]
    labels = sorted({label for _, label in clean})
    sources = rng.sample(
        [place for place, (text, _) in enumerate(train) if len(text) >= 60 or (not text.isascii() and len(text) >= 22)],
        3 * each,
    )
    marked: list[tuple[str, str, Row]] = []  # (part, kind, row)
    for number in range(each):
        text, label = train[sources[number]]
        marked.append(("train", "duplicate", (text, label)))
        torn, its_label = train[sources[each + number]]
        marked.append(("train", "conflict", (torn, rng.choice([one for one in labels if one != its_label]))))
        near_of, near_label = train[sources[2 * each + number]]
        marked.append(
            (
                "train" if number % 2 else "test",
                "near" if number % 2 else "near leak",
                (nearly(near_of, rng), near_label),
            )
        )
        marked.append(("test", "leak", train[sources[number]]))
        marked.append(("train", "empty", (rng.choice(["", "   ", "\t"]), label)))
    for kind, spoil in SPOILS.items():
        for _ in range(each):
            text, label = spare.pop()
            marked.append(("train", kind, (spoil(text, rng), label)))
    rng.shuffle(marked)
    places: dict[str, set[int]] = {}
    for part, kind, row in marked:
        held = train if part == "train" else test
        held.append(row)
        places.setdefault(kind, set()).add(-len(held) if part == "test" else len(held) - 1)
    # Numbers of the test part follow those of train.
    return Planted(
        {"train": train, "test": test},
        {kind: {place if place >= 0 else len(train) - place - 1 for place in found} for kind, found in places.items()},
    )


def nearly(text: str, rng: random.Random) -> str:
    """The text with one character dropped and one doubled, as a hand that types it again would do."""
    drop, double = sorted(rng.sample(range(5, len(text) - 2), 2))
    return text[:drop] + text[drop + 1 : double] + text[double] + text[double:]


def _email(text: str, rng: random.Random) -> str:
    name = "".join(rng.choices(string.ascii_lowercase, k=7))
    return f"{text} {name}.{rng.choice('abc')}@{rng.choice(['mail.example.com', 'example.org'])}"


def _card(text: str, rng: random.Random) -> str:
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    total = sum(2 * d - 9 * (d > 4) if place % 2 == 0 else d for place, d in enumerate(digits))
    number = "".join(map(str, [*digits, -total % 10]))
    return f"{text} {number[:4]} {number[4:8]} {number[8:12]} {number[12:]}"


def _resident(text: str, rng: random.Random) -> str:
    digits = f"{rng.choice(['110105', '310104', '440106'])}19{rng.randrange(50, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}{rng.randrange(1000):03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return text + " " + digits + "10X98765432"[sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11]


def _phone(text: str, rng: random.Random) -> str:
    return text + rng.choice(
        [f" 13{rng.randrange(10**8, 10**9)}", f" +44 20 7{rng.randrange(100, 999)} {rng.randrange(1000, 9999)}"]
    )


SCRIPTS = ((0x61, 26), (0x3B1, 25), (0x430, 32), (0x5D0, 27), (0x627, 36), (0x10D0, 33), (0x561, 38), (0x905, 50))


def _foreign(text: str, rng: random.Random) -> str:
    """Words of no language, in one of several scripts: something that was never meant for this file."""
    begin, letters = rng.choice(SCRIPTS)
    words = ("".join(chr(begin + rng.randrange(letters)) for _ in range(rng.randrange(5, 11))) for _ in range(7))
    return " ".join(words)


SPOILS = {
    "outlier": _foreign,
    "email": _email,
    "phone": _phone,
    "card": _card,
    "resident": _resident,
    "mojibake": lambda text, rng: (
        text + rng.choice([" café", " naïve", " 10 €", " Müller’s"]).encode().decode("cp1252")
    ),
    "control": lambda text, rng: text[:4] + rng.choice("\x05\x07\x08\x1b") + text[4:],
    "hidden": lambda text, rng: text[:4] + rng.choice("\u200b\u2060\u202e") + text[4:],
}
