"""Characters that no one meant to write: text decoded in the wrong way, control characters, and characters that cannot be seen."""

from __future__ import annotations

import re

# UTF-8 that was read as Windows-1252 begins with one of these, and goes on with what bytes 0x80 to 0xBF look like there.
_DOUBLED = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]+"
)
_LOST = re.compile(
    "\ufffd|\u951f\u65a4\u62f7|\u70eb\u70eb\u70eb|(?:\u5c6f){3}"
)  # replaced for good: 锟斤拷 is U+FFFD twice, read as GBK
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Zero-width and direction marks. Joiners inside of emoji and of Arabic or Indic words are spelling, and are kept.
_HIDDEN = re.compile(
    "[\u200b\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069\u00ad]|(?<![\u0600-\u0dff\U0001f000-\U0001faff\u2190-\u2bff\ufe0f])[\u200c\u200d]"
)


def find(text: str) -> set[str]:
    """What is wrong: of "mojibake", "lost characters", "control characters", "hidden characters"."""
    if text.isascii() and not _CONTROL.search(text):
        return set()
    found = set()
    if _undoubled(text) != text:
        found.add("mojibake")
    if _LOST.search(text):
        found.add("lost characters")
    if _CONTROL.search(text) and "mojibake" not in found:
        found.add("control characters")
    if _HIDDEN.search(text):
        found.add("hidden characters")
    return found


def mend(text: str) -> str:
    """The text as it was meant: decoded once more where that is certain, without control and hidden characters. What is lost stays lost."""
    return _HIDDEN.sub("", _CONTROL.sub("", _undoubled(text)))


def _undoubled(text: str) -> str:
    """UTF-8 that was taken for Windows-1252 or Latin-1, taken for UTF-8 again; only pieces that are valid in that reading change."""

    def again(match: re.Match[str]) -> str:
        piece = match.group()
        for encoding in ("cp1252", "latin-1"):
            try:
                return piece.encode(encoding).decode("utf-8")
            except UnicodeError:
                continue
        return piece

    return _DOUBLED.sub(again, text)
