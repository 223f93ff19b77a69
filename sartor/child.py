"""The process in which steps run: `python -m sartor.child JOB.json`, started by `sartor.follow`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import Any


def die_with_parent(parent: int | None = None) -> None:
    """Ends this process when the one that started it dies, however it dies: a killed build leaves no child at work.

    parent: its number, where it is known beforehand. Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere a child ends when it next writes to its closed pipe.
    """
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Stop:
    """What SIGTERM asks of this process: to end at once, or at the next boundary where the work of the moment minds that.

    minded: set by work that looks at `asked` often, and then calls `end`. It may be told twice, as one of a process group and by its parent; a
    parent that will not wait any longer kills it.
    """

    minded: bool = False
    asked: bool = False

    def __call__(self, number: int = signal.SIGTERM, frame: Any = None) -> None:
        if self.minded:
            self.asked = True
        else:
            self.end()

    def end(self) -> None:
        """Ends the process as the signal does, so that whoever started it sees what it was."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def listen(self) -> None:
        """From here on. Ctrl-C goes to the whole group of a terminal, and the parent says what it means."""
        signal.signal(signal.SIGTERM, self)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    die_with_parent()
    from sartor.follow import child_main

    raise SystemExit(child_main(sys.argv[1]))
