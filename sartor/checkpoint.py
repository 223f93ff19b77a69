"""A checkpoint from elsewhere, checked before anything of it is used: its weights by their header alone, its files for code.

Only safetensors are read, never a pickle, and nothing that a configuration names is ever imported.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sartor.errors import InputError

MAX_HEADER_BYTES = 4_000_000  # a model of 300 tensors has 40 kB
MAX_TENSORS = 20_000
MAX_AXES = 32
CONFIGURATIONS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "adapter_config.json",
)
MAX_CONFIG_BYTES = 16_000_000  # of a config.json; names of classes make them long
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


def check_safetensors(path: Path) -> None:
    """Refuses a file whose header is not sound, without reading a tensor: too large, not JSON, a name given twice, shapes that
    do not fill their bytes, bytes that overlap, lie outside of the file or belong to no tensor.

    Raises: InputError `weights.broken`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise _Unsound(f"it ends after {size:,} bytes, and its header should end at {length + 8:,}")
            if length > MAX_HEADER_BYTES:
                raise _Unsound(f"its header has {length:,} bytes; the most is {MAX_HEADER_BYTES:,}")
            raw = file.read(length)
        tensors = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
        _check_tensors(tensors, size - 8 - length)
    except OSError as error:
        raise InputError("weights.broken", path=path, why=error.strerror or error) from None
    except json.JSONDecodeError as error:
        why = f"its header is not JSON ({error.msg}, column {error.colno})"
        raise InputError("weights.broken", path=path, why=why) from None
    except UnicodeDecodeError as error:
        raise InputError("weights.broken", path=path, why=f"its header is not UTF-8 (byte {error.start + 9})") from None
    except RecursionError:
        raise InputError("weights.broken", path=path, why="its header is nested too deep") from None
    except ValueError as error:
        raise InputError("weights.broken", path=path, why=error) from None


def config_of(ref: str, folder: Path, families: Sequence[str]) -> dict[str, Any]:
    """The `config.json` of a checkpoint, once nothing in its folder speaks against using it. ref: what the user calls it.

    Raises: InputError `backbone.broken`, `backbone.own-code`, `backbone.family`, `weights.broken`.
    """
    config = _object(ref, folder, "config.json")
    for name in CONFIGURATIONS:
        if (folder / name).is_file() and (key := _own_code(_object(ref, folder, name))):
            raise InputError("backbone.own-code", ref=ref, key=key, file=name, known=", ".join(families))
    family = config.get("model_type")
    if family not in families:
        raise InputError("backbone.family", ref=ref, family=family, known=", ".join(families))
    check_safetensors(folder / "model.safetensors")
    return config


def size_of(ref: str, config: dict[str, Any], *names: str, otherwise: int) -> int:
    """The first of these sizes that a configuration has.

    Raises: InputError `backbone.broken` when it is no size.
    """
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000:
            why = f"has {value!r} as {name}, which is no size"
            raise InputError("backbone.broken", ref=ref, file="config.json", why=why)
        return value
    return otherwise


class _Unsound(ValueError):
    """What is wrong with a header."""


def _check_tensors(tensors: Any, size: int) -> None:
    if not isinstance(tensors, dict):
        raise _Unsound("its header is not an object")
    metadata = tensors.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _Unsound("its metadata is not texts by name")
    if len(tensors) > MAX_TENSORS:
        raise _Unsound(f"it has {len(tensors):,} tensors; the most is {MAX_TENSORS:,}")
    places = []
    for name, entry in tensors.items():
        shown = repr(name[:80])
        try:
            bits, shape, (begin, end) = _BITS[entry["dtype"]], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError, ValueError):
            raise _Unsound(f"its tensor {shown} has no dtype, shape and offsets that are known") from None
        if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(map(_is_count, [*shape, begin, end])):
            raise _Unsound(f"its tensor {shown} has a shape or offsets that are no counts")
        if end < begin or math.prod(shape) * bits != 8 * (end - begin):
            raise _Unsound(f"its tensor {shown} has {end - begin:,} bytes, which is not what its shape takes")
        places.append((begin, end, shown))
    at = 0
    for begin, end, shown in sorted(places):
        if begin != at:
            raise _Unsound(f"its tensor {shown} begins at byte {begin:,} of the data, where {at:,} is expected")
        at = end
    if at != size:
        raise _Unsound(f"its tensors end at byte {at:,} of the data, which has {size:,}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _Unsound(f"its header names {twice[:80]!r} twice")
    return found


def _object(ref: str, folder: Path, name: str) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint."""
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        found = json.loads(data.decode("utf-8")) if len(data) <= MAX_CONFIG_BYTES else None
    except json.JSONDecodeError as error:
        why = f"is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
    except OSError as error:
        why = f"cannot be opened ({error.strerror})"
    except (ValueError, RecursionError) as error:
        why = f"cannot be read ({str(error)[:80]})"
    else:
        if isinstance(found, dict):
            return found
        why = f"is larger than {MAX_CONFIG_BYTES:,} bytes" if len(data) > MAX_CONFIG_BYTES else "is not a JSON object"
    raise InputError("backbone.broken", ref=ref, file=name, why=why)


def _own_code(value: Any) -> str:
    """The key, however deep, by which a configuration names code of its own; nothing when there is none."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key in ("auto_map", "custom_pipelines"):
                if one.get(key):
                    return key
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return ""
