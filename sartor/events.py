"""What happens during a build, as JSON lines that the live display, `--json`, the report and any tracker read.

An event is `{"t": unix seconds, "event": kind, …}`. Kinds: `stage` (name), `decision` (number, id or null at the end, why, and what is expected: chance,
forecast_s, values {measure: {low, mid, high}}; the same of every candidate that is `waiting`), `finding` (severity, code, message), `plan` (id, name, reason, forecast_s),
`step` (plan, step, status: start|done|cached|resumed), `progress` (stage, done, total, unit, rate, left_s),
`epoch` (plan, epoch, train_loss, valid, …), `candidate` (id, name, status, why, chance, values, seconds), `verdict` (needs), `log` (level, code, message),
`done` (exit, seconds).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Event = dict[str, Any]
Events = Callable[[Event], None]


def silent(event: Event) -> None:
    """Hears nothing."""


def event(kind: str, **fields: Any) -> Event:
    """An event that happens now."""
    return {"t": round(time.time(), 3), "event": kind, **fields}


class Recorder:
    """Appends events to a file, one JSON object a line, and hands each on to another listener."""

    def __init__(self, path: Path, then: Events = silent) -> None:
        self.then = then
        if path.exists() and (held := path.read_bytes()) and not held.endswith(b"\n"):
            os.truncate(path, held.rfind(b"\n") + 1)  # the line that a kill cut short
        self.file: TextIO = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, item: Event) -> None:
        self.file.write(json.dumps(item, ensure_ascii=False, default=str) + "\n")
        self.then(item)

    def close(self) -> None:
        self.file.close()
