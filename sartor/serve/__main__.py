"""`python -m sartor.serve BUNDLE`: the server process that is measured and that `sartor serve` runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sartor.child import die_with_parent
from sartor.errors import SartorError
from sartor.serve import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m sartor.serve")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--owned", action="store_true", help="end when the process that started this one ends")
    arguments = parser.parse_args()
    if arguments.owned:
        die_with_parent()
    try:
        serve(
            arguments.bundle,
            host=arguments.host,
            port=arguments.port,
            threads=arguments.threads,
            insecure=arguments.insecure,
        )
    except SartorError as error:
        print(f"sartor: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if os.environ.get("SARTOR_TRACEBACK"):
            raise
        fault = SartorError("command.fault", what=f"{type(error).__name__}: {error}")
        print(f"sartor: {fault}", file=sys.stderr)
        raise SystemExit(fault.exit_code) from None
