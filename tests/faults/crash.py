"""A process that is killed at the k-th thing that it does to the disk, without a process.

Every operation of the file system that Sartor's writers use is counted. At the k-th one a `Killed` is raised, and from then on at every other, so
that no `finally` and no handler mends what a kill would have left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

OPERATIONS = [(os, name) for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "link")]
WRITERS = [(shutil, "copyfile", 1), (Path, "write_text", 0)]  # (where, name, which argument is the file)


class Killed(BaseException):
    """The end of the process."""


@dataclass
class Kill:
    """at: the operation that is not done any more, from 0; None counts only. torn: of a file being written, half is there."""

    at: int | None = None
    torn: bool = False
    done: list[str] = field(default_factory=list)
    dead: bool = False

    def meets(self, name: str) -> bool:
        """Whether the process ends here; it may only be asked before each operation."""
        if self.dead:
            raise Killed(name)
        self.dead = len(self.done) == self.at
        self.done.append(name)
        return self.dead


@contextmanager
def kill(at: int | None = None, *, torn: bool = False) -> Iterator[Kill]:
    """Runs a block that ends at its `at`-th operation; the Killed is caught here."""
    state = Kill(at, torn)
    writers = list(WRITERS)
    try:
        import safetensors.torch

        writers.append((safetensors.torch, "save_file", 1))
    except ImportError:
        pass

    def operation(real: Any, name: str) -> Any:
        def run(*args: Any, **named: Any) -> Any:
            if state.meets(name):
                raise Killed(name)
            return real(*args, **named)

        return run

    def writer(real: Any, name: str, which: int) -> Any:
        def run(*args: Any, **named: Any) -> Any:
            ends = state.meets(name)
            if ends and not torn:
                raise Killed(name)
            state.dead = False
            result = real(*args, **named)
            if ends:
                state.dead = True
                os.truncate(args[which], os.path.getsize(args[which]) // 2)
                raise Killed(name)
            return result

        return run

    patches = [mock.patch.object(owner, name, operation(getattr(owner, name), name)) for owner, name in OPERATIONS]
    patches += [
        mock.patch.object(owner, name, writer(getattr(owner, name), name, which)) for owner, name, which in writers
    ]
    for patch in patches:
        patch.start()
    try:
        yield state
    except Killed:
        pass
    finally:
        for patch in patches:
            patch.stop()
