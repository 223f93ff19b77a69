"""`sartor verify` of finished bundles, each in a fresh process, on the whole install and on the light one: does it find what the build claimed?

`python -m bench.verify --light PYTHON BUNDLE …`, PYTHON being the interpreter of an environment with Sartor's base install alone. Shares and
sizes must lie inside the interval that the build claimed, latencies at or below its bound.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import record
from bench.record import ROOT, Row

INSTALLS = ("whole", "light")
COLUMNS = {
    "bundle": lambda v: v["bundle"],
    "install": lambda v: v["install"],
    "torch": lambda v: "there" if v["torch"] else "not there",
    "exit (of the build)": lambda v: f"{v['exit']} ({v['built_exit']})",
    "measured again (claimed)": lambda v: "; ".join(_told(one) for one in v["needs"]),
    "inside": lambda v: "yes" if v["inside"] else "NO",
}


def main() -> None:
    """Verifies what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--light", type=Path, required=True, help="the interpreter of an environment without torch")
    given = parser.parse_args()
    book = record.book("verify", __file__, *record.SERVER, columns=COLUMNS, short=False)
    for bundle in given.bundles:
        name = bundle.resolve().name.split("-")[0]
        for install, python in zip(INSTALLS, (Path(sys.executable), given.light), strict=True):
            row = book.once(f"{name}, {install}", 0, lambda b=bundle, i=install, p=python, n=name: again(b, n, i, p))  # type: ignore[misc]
            print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    print(book.publish(page))


def page(book: record.Book) -> str:
    """The table under a line that counts."""
    rows = [row["values"] for row in book.rows()]
    inside = sum(row["inside"] for row in rows)
    return (
        f"{inside} of {len(rows)} verifications found what the build claimed.\n\n{book.table()}"
        if rows
        else book.table()
    )


def again(bundle: Path, name: str, install: str, python: Path) -> Row:
    """One verification in a fresh process, beside what the build's own report says."""
    with tempfile.TemporaryDirectory() as state:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"SARTOR_STATE": state} | ({"PYTHONPATH": str(ROOT)} if install == "whole" else {})
        has = subprocess.run(
            [python, "-c", "import importlib.util as u; print(u.find_spec('torch') is not None)"],
            env=environment,
            cwd=state,
            capture_output=True,
            text=True,
            check=True,
        )
        command = [str(python), "-m", "sartor", "verify", str(bundle.resolve()), "--json"]
        done = subprocess.run(command, env=environment, cwd=state, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"bench.verify: {name} on the {install} install ended with {done.returncode}")
    told = json.loads(done.stdout)
    claimed = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    known = {need["need"]: need for need in claimed["needs"]}
    needs = [
        {
            "measure": need["measure"],
            "unit": need["unit"],
            "measured": need["measured"],
            "low": known[need["need"]]["low"],
            "high": known[need["need"]]["high"],
        }
        for need in told["needs"]
        if known[need["need"]]["measured"] is not None
    ]
    return {
        "bundle": name,
        "install": install,
        "torch": has.stdout.strip() == "True",
        "exit": told["exit"],
        "built_exit": claimed["exit"],
        "needs": needs,
        "inside": bool(needs) and all(map(_inside, needs)),
    }


def _inside(one: dict[str, Any]) -> bool:
    if one["measured"] is None or one["high"] is None:
        return False
    faster = one["measure"].startswith("latency")  # a build claims "at most"
    return bool((faster or one["low"] <= one["measured"]) and one["measured"] <= one["high"])


def _told(one: dict[str, Any]) -> str:
    unit = f" {one['unit']}" if one["unit"] else ""
    claimed = "no bound" if one["low"] is None else f"{one['low']:.4g} – {one['high']:.4g}"
    return f"{one['measure']} {one['measured']:.4g}{unit} ({claimed})"


if __name__ == "__main__":
    main()
