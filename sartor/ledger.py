"""The ledger of looks: how many different models have been judged on the same test rows, over all builds of this user.

Whoever builds, sees *missed*, changes something and builds again lets the test rows choose. So the k-th model that is judged on the same
rows is judged at alpha · 6 / (pi² k²): over ever so many looks these sum to alpha at most. It stands outside the output folder, which
is thrown away too easily. The same model again, a build that is started again, or one that is replayed is no new look.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sartor import bounds
from sartor.data.dataset import Examples


@dataclass(frozen=True)
class Look:
    """One judgement on test rows. number: of this model among those judged on these rows, from 1. of: how many there are so far.
    trouble: why the look could not be written down, else nothing."""

    number: int
    of: int
    trouble: str = ""

    def level(self, confidence: float) -> float:
        """The confidence of each bound at this look, so that all looks together keep the one that was asked for."""
        return bounds.level_of_look(confidence, self.number)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def folder() -> Path:
    """$SARTOR_STATE, else the user's state folder (XDG Base Directory Specification)."""
    if given := os.environ.get("SARTOR_STATE"):
        return Path(given) / "ledger"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "sartor" / "ledger"


def fingerprint(examples: Examples) -> str:
    """sha256 of test examples, inputs and targets, whatever their order and the file that they came from."""
    targets = [examples.targets[name] for name in sorted(examples.targets)]
    rows = [
        hashlib.sha256(json.dumps([row, values], sort_keys=True, default=str).encode()).digest()
        for row, *values in zip(examples.inputs, *targets, strict=True)
    ]
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


def looks(rows: str) -> int:
    """How many different models have been judged on the test rows of this fingerprint. 0 where the ledger cannot be read."""
    return len(_readable(folder() / f"{rows}.jsonl"))


def look(rows: str, model: str, **facts: str) -> Look:
    """Writes down, before it happens, that a model is judged on test rows; a model that was judged on them keeps its number.

    rows: `fingerprint` of the test examples. model: `Bundle.model` of what is judged. facts: what a person may want to know of it later.
    """
    path = folder() / f"{rows}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            held = file.read()
            known = _models(held)
            if model not in known:
                known.append(model)
                begin = b"" if not held or held.endswith(b"\n") else b"\n"  # after a line that a kill cut short
                file.write(begin + json.dumps({"model": model} | facts).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        # What can be read counts all the same: a full disk makes no look the first one.
        known = _readable(path)
        number = known.index(model) + 1 if model in known else len(known) + 1
        return Look(number, max(number, len(known)), f"{error.strerror or error}: {path.parent}")
    return Look(known.index(model) + 1, len(known))


def _readable(path: Path) -> list[str]:
    try:
        return _models(path.read_bytes())
    except OSError:
        return []


def _models(held: bytes) -> list[str]:
    found: dict[str, None] = {}
    for line in held.splitlines():
        try:
            found[str(json.loads(line)["model"])] = None
        except (ValueError, KeyError, TypeError):
            continue
    return list(found)
