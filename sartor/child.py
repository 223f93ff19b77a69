"""The process in which steps run: `python -m sartor.child JOB.json`, started by `sartor.follow`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from sartor.follow import child_main

    raise SystemExit(child_main(sys.argv[1]))
