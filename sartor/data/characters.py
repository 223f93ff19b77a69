"""Characters that no one meant to write: text decoded in the wrong way, control characters, and characters that cannot be seen.

Only what is certain is mended: a text in which a letter and a quotation mark happen to look like two bytes of UTF-8 stays as it is.
"""

from __future__ import annotations

import re


def _as_windows_1252() -> dict[str, int]:
    """Character -> byte; the five bytes that Windows-1252 leaves open and the C1 controls stand for themselves, as browsers have it."""
    found = {chr(byte): byte for byte in range(256)}
    for byte in range(0x80, 0xA0):
        try:
            found[bytes([byte]).decode("cp1252")] = byte
        except UnicodeDecodeError:
            continue
    return found


_BYTE = _as_windows_1252()
_WINDOWS = {byte: char for char, byte in _BYTE.items() if 0x80 <= byte < 0xA0 and ord(char) > 0xFF}
_RUN = re.compile(f"[{re.escape(''.join(_BYTE))}]+")
_LOST = re.compile("\ufffd|\u951f\u65a4\u62f7")  # replaced for good: 锟斤拷 is U+FFFD twice, read as GBK
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_C1 = re.compile("[\x80-\x84\x86-\x9f]")
# Marks that no script needs; and those that are spelling beside the scripts which use them (word breaks of Thai and its neighbours,
# directions of Arabic and Hebrew, joiners of Arabic, Indic and emoji).
_HIDDEN = re.compile("[\u2060\ufeff\u202d\u202e\u00ad]")
_USED = re.compile("[\u200b-\u200f\u202a-\u202c\u2066-\u2069]")
_USERS = re.compile("[\u0590-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff\ufb1d-\ufdff\ufe70-\ufefc]")
_JOINER, _EMOJI = "\u200d", re.compile("[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]")  # which use no other mark


def find(text: str) -> set[str]:
    """What is wrong: of "mojibake", "lost characters", "control characters", "hidden characters"."""
    if text.isascii():
        return {"control characters"} if _CONTROL.search(text) else set()
    found = set()
    meant = _decoded_again(text)
    if meant != text:
        found.add("mojibake")
    if _LOST.search(text):
        found.add("lost characters")
    if _CONTROL.search(text) or _C1.search(meant):
        found.add("control characters")
    if _hidden(meant) != meant:
        found.add("hidden characters")
    return found


def mend(text: str) -> str:
    """The text as it was meant: decoded once more where that is certain, without control and hidden characters. What is lost stays lost."""
    text = _CONTROL.sub("", _decoded_again(text))
    if not any("\u00c2" <= character <= "\u00f4" or character == "\u20ac" for character in text):
        # Of Windows-1252, read as Latin-1. Beside such letters it may be a piece of something else, and stays.
        text = _C1.sub(lambda match: _WINDOWS.get(ord(match.group()), ""), text)
    return _hidden(text)


def _decoded_again(text: str) -> str:
    """UTF-8 that was taken for Windows-1252, taken for UTF-8: every run of characters that Windows-1252 has, where all of it reads so."""
    return text if text.isascii() else _RUN.sub(lambda match: _run_again(match.group()), text)


def _run_again(text: str) -> str:
    """A run decoded once more; the run itself unless all of it reads so and that is no coincidence."""
    if text.isascii():
        return text
    try:
        meant = bytes([_BYTE[character] for character in text]).decode("utf-8")
    except UnicodeDecodeError:
        return text
    # Ã, Â and â begin nearly all mojibake of Latin text and of its punctuation. Any other letter may be itself before a quotation
    # mark (Spaß“, NESCAFÉ™); three of them in one run, all valid, are not.
    usual = [
        "\u0080" <= character <= "\u00ff" or "\u2000" <= character <= "\u22ff" or character >= "\U00010000"
        for character in meant
        if not character.isascii()
    ]
    return meant if all(usual) or usual.count(False) >= 3 else text


def _hidden(text: str) -> str:
    text = _HIDDEN.sub("", text)
    if _USERS.search(text):
        return text
    emoji = _EMOJI.search(text) is not None
    return _USED.sub(lambda mark: mark[0] if emoji and mark[0] == _JOINER else "", text)
