"""Bytes as they arrive from outside: as they are, in base64, as a `data:` URL, or as {"base64": …}. Pictures and recordings are read by it."""

from __future__ import annotations

import base64
import re
from typing import Any

MOST_OF_URL = 200  # characters before the comma of a `data:` URL


class NotBytes(ValueError):
    """Says in words what a value is that holds no bytes; the message completes 'this row has …'."""


def decoded(value: Any, *, most: int) -> bytes:
    """The bytes of a value. most: of them, beyond which a text is not even decoded.

    Raises: NotBytes.
    """
    if isinstance(value, dict):
        if not isinstance(value.get("base64"), str):
            raise NotBytes('an object without "base64"')
        value = value["base64"]
    if isinstance(value, str):
        return _from_base64(value, most)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise NotBytes(_described(value))


def _from_base64(text: str, most: int) -> bytes:
    if len(text) > 2 * most:  # which leaves room for line ends
        raise NotBytes(f"{0.75e-6 * len(text):,.1f} MB, more than the {most / 1e6:.0f} MB that are read")
    text = text.strip()
    name = text
    if text[:5].lower() == "data:":
        comma = text.find(",", 0, MOST_OF_URL)
        if comma < 0 or not re.search(r";\s*base64\s*$", text[:comma], re.IGNORECASE):
            raise NotBytes("a data: URL that is not in base64")
        text = text[comma + 1 :]
    # As URLs are written, in lines, and with or without the padding.
    text = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    if not text:
        raise NotBytes("nothing")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        named = re.fullmatch(r"[^\n]{1,1000}\.\w{2,4}", name) is not None
        raise NotBytes("the name of a file, not what it holds" if named else "text that is not base64") from None


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), type(value).__name__)
