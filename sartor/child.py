"""The process in which steps run: `python -m sartor.child JOB.json`, started by `sartor.follow`."""

from __future__ import annotations

import os
import signal
import sys


def die_with_parent() -> None:
    """Ends this process when the one that started it dies, however it dies: a killed build leaves no child at work.

    Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere a child ends when it next writes to its closed pipe.
    """
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    from sartor.follow import child_main

    raise SystemExit(child_main(sys.argv[1]))
