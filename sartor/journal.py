"""The journal of a build: every decision and every measurement, written and synced before it is acted on.

A build that is started again asks the same questions and gets the answers that stand here, so it never decides twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Answers by key, in a file of JSON lines; and the wall-clock of every start until now."""

    def __init__(self, path: Path, *, clock: Callable[[], float] | None = None) -> None:
        """clock: seconds since the epoch; when left out one that goes on evenly from now, whatever is done to the machine's."""
        clock = clock or _even_clock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.clock = path, clock
        self.known: dict[str, Any] = {}
        self.spent_before_s = 0.0
        self.restarts = -1
        begun = last = None
        whole = 0
        for entry, length in _entries(path) if path.exists() else ():
            whole += length
            if entry["key"] == "start":
                self.spent_before_s += 0.0 if begun is None or last is None else max(0.0, last - begun)
                begun = entry["t"]
                self.restarts += 1
            elif entry["key"] != "beat":
                self.known[entry["key"]] = entry["value"]
            last = entry["t"]
        self.spent_before_s += 0.0 if begun is None or last is None else max(0.0, last - begun)
        self.file = path.open("ab", buffering=0)
        if path.stat().st_size > whole:
            self.file.truncate(whole)
        self.restarts += 1
        self.begun = self.clock()
        self._last_beat = self.begun
        self._write("start", None)

    @staticmethod
    def peek(path: Path) -> dict[str, Any]:
        """What a journal knows, without starting it."""
        return {entry["key"]: entry["value"] for entry, _ in _entries(path)}

    def once(self, key: str, decide: Callable[[], Any]) -> Any:
        """The answer that stands under this key; decided, and written down, when there is none yet."""
        if key not in self.known:
            answer = json.loads(json.dumps(decide(), default=str))
            self._write(key, answer)
            self.known[key] = answer
        return self.known[key]

    def beat(self, every_s: float = 1.0) -> None:
        """Says that the build is alive, so that the time of a start that was killed is known to about a second."""
        if self.clock() - self._last_beat >= every_s:
            self._last_beat = self.clock()
            self._write("beat", None, sync=False)

    @property
    def spent_s(self) -> float:
        """Wall-clock seconds of this build, summed over its starts."""
        return self.spent_before_s + self.clock() - self.begun

    def close(self) -> None:
        """Writes the last sign of life."""
        self._write("beat", None)
        self.file.close()

    def _write(self, key: str, value: Any, *, sync: bool = True) -> None:
        line = json.dumps({"t": self.clock(), "key": key, "value": value}, ensure_ascii=False, default=str) + "\n"
        before, rest = os.fstat(self.file.fileno()).st_size, memoryview(line.encode())
        try:
            while rest:  # a disk that is nearly full takes a part of it
                rest = rest[self.file.write(rest) :]
        except OSError:
            self.file.truncate(before)
            raise
        if sync:
            os.fsync(self.file.fileno())


def _entries(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """(entry, its bytes) of every whole line, up to the one that a kill cut short, its line break alone even: it was never acted on."""
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        yield entry, len(line)


def _even_clock() -> Callable[[], float]:
    """Seconds since the epoch as of now, and from then on by a clock that nobody sets."""
    apart = time.time() - time.monotonic()
    return lambda: apart + time.monotonic()
