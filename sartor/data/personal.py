"""Personal data in texts: what should not stand in a training file, found by its form and, where there is one, by its checksum.

Precision before recall: an order number, a price or a date must not be taken for a telephone. Names and addresses have no form and are
not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_DIGITS = re.compile(r"\D")


def _card(text: str) -> bool:
    """A payment card: an issuer's first digits with its length, and the checksum (ISO/IEC 7812-1, annex B)."""
    plain = _DIGITS.sub("", text)
    if not _ISSUED.fullmatch(plain):
        return False
    digits = [int(digit) for digit in plain]
    doubled = [
        digit if place % 2 == 0 else (2 * digit - 9 if digit > 4 else 2 * digit)
        for place, digit in enumerate(digits[::-1])
    ]
    return sum(doubled) % 10 == 0


# Visa, Mastercard, American Express, Discover, UnionPay.
_ISSUED = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|6(?:011|5\d\d)\d{12}|62\d{14,17}"
)


def _resident(text: str) -> bool:
    """A Chinese resident identity number: a date of birth in it and its check character (GB 11643-1999)."""
    month, day = int(text[10:12]), int(text[12:14])
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = "10X98765432"[sum(int(digit) * weight for digit, weight in zip(text, weights, strict=False)) % 11]
    return 1 <= month <= 12 and 1 <= day <= 31 and check == text[-1].upper()


def _iban(text: str) -> bool:
    """An international bank account number (ISO 13616), modulo 97."""
    plain = re.sub(r"\s", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _telephone(text: str) -> bool:
    """International with a plus and 8 to 15 digits (ITU-T E.164), or in a national grouping of 10 or 11."""
    digits = _DIGITS.sub("", text)
    return 8 <= len(digits) <= 15 and len(set(digits)) > 2


def _always(text: str) -> bool:
    return True


# (kind, pattern, whether a match is one), the surest first: what one of them took the next does not see.
_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        "email",
        re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])", re.ASCII),
        _always,
    ),
    (
        "iban",
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"),
        _iban,
    ),
    (
        "id",
        re.compile(r"(?<![\dA-Za-z])[1-9]\d{5}(?:18|19|20)\d{2}[01]\d[0-3]\d{4}[\dXx](?![\dA-Za-z])"),
        _resident,
    ),
    ("id", re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"), _always),
    ("card", re.compile(r"(?<![\d.,-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\d-])"), _card),
    ("card", re.compile(r"(?<![\d.,-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\d-])"), _card),
    ("phone", re.compile(r"(?<![0-9A-Za-z])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\d)"), _telephone),
    ("phone", re.compile(r"(?<![0-9A-Za-z.-])1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\d-]|\.\d)"), _telephone),
    ("phone", re.compile(r"(?<![0-9A-Za-z.-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-.]\d{4}(?![\d-]|\.\d)"), _telephone),
)


def find(text: str) -> list[tuple[str, int, int]]:
    """(kind, begin, end) of every piece, in the order of the text. Kinds: email, phone, card, iban, id."""
    if not maybe(text):
        return []
    found: list[tuple[str, int, int]] = []
    for kind, pattern, holds in _KINDS:
        for match in pattern.finditer(text):
            free = all(match.end() <= begin or match.start() >= end for _, begin, end in found)
            if free and holds(match.group()):
                found.append((kind, match.start(), match.end()))
    return sorted(found, key=lambda piece: piece[1])


def maybe(text: str) -> bool:
    """A cheap first look: whether there can be anything."""
    return "@" in text or sum(map(str.isdigit, text)) >= 7


def mask(text: str) -> str:
    """The text with `[email]`, `[phone]`, … in the places of what was found."""
    for kind, begin, end in reversed(find(text)):
        text = f"{text[:begin]}[{kind}]{text[end:]}"
    return text
