"""AutoGluon's MultiModalPredictor and Ludwig, given the same CSV files, checkpoint and time as a build: accuracy, time, and what is left to do for an API.

A system that cannot be installed has a row all the same, which says why.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from bench import climb_build, climb_data, climb_process, climb_told, record
from bench.climb_build import Builder
from bench.climb_process import Ended
from bench.record import Book, Row
from sartor.display import clock

NAME, TITLE = "climb-automl", "Beside AutoGluon and Ludwig"
SETS = ("sst2", "banking77")
SECONDS = 600
API_MS = 10.0
NEEDS = [f"latency_p95 <= {API_MS:g} ms"]  # all that is asked; what is preferred then is accuracy
OURS = "sartor build"
PEERS = {  # name -> (the script, the package that it needs)
    "AutoGluon": (Path(__file__).with_name("autogluon_peer.py"), "autogluon.multimodal"),
    "Ludwig": (Path(__file__).with_name("ludwig_peer.py"), "ludwig"),
}
TOKENS = 64  # which one row in a hundred of these passes: for a peer that pads all rows alike
LIMIT_S = 3 * SECONDS  # of a peer with all that it does besides


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_build.__file__, climb_process.__file__))
    scripts = (script for script, _ in PEERS.values())
    return record.book(NAME, __file__, *sources, *scripts, *record.SERVER, columns={}, short=short)


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    builder = Builder(book)
    for name in SETS:
        parts = climb_data.files(given.data, name, rows=given.rows)
        case = f"{name}, {OURS}{suffix}"
        climb_told.say(book.once(case, 0, partial(ours, builder, case, name, parts)))
        for system in PEERS:
            case, python = f"{name}, {system}{suffix}", Path(vars(given)[system.lower()])
            climb_told.say(book.once(case, 0, partial(theirs, python, system, name, parts, builder.folder(case))))


def ours(builder: Builder, case: str, name: str, parts: dict[str, Path]) -> Row:
    """A build with the same time, and what its bundle says to the rows of the test file."""
    from sartor.predict import load

    needs = {"data": climb_build.paths(parts), "needs": NEEDS, "backbone": "minilm", "budget": f"{SECONDS}s"}
    bundle, told = builder.build(case, needs)
    rows = list(climb_data.rows_of(parts["test"]))
    answers = load(bundle).predict([{climb_data.TEXT: text} for text, _ in rows])
    right = [answer.get("label") == label for answer, (_, label) in zip(answers, rows, strict=True)]
    values = climb_build.values(told)
    return {
        "data": name,
        "system": OURS,
        "exit": told["exit"],
        "accuracy": sum(right) / len(right),
        "right": "".join("01"[one] for one in right),
        "seconds": told["time"]["total_s"],
        "p95_ms": values["latency_p95"]["measured"],
        "p95_ms_high": values["latency_p95"]["high"],
        "bytes": 1e6 * values["size"]["measured"],
        "chosen": climb_build.chosen(told),
    }


def theirs(python: Path, system: str, name: str, parts: dict[str, Path], folder: Path) -> Row:
    """A peer; one that cannot be had or ends without an answer has a row that says why."""
    script, package = PEERS[system]
    facts = {"data": name, "system": system}
    if why := missing(python, package):
        return facts | {"why": why}
    job: dict[str, Any] = climb_build.paths(parts) | {
        "model": climb_data.minilm(),
        "folder": str(folder / "made"),
        "seconds": SECONDS,
        "max_tokens": TOKENS,
        "seed": 0,
    }
    shutil.rmtree(folder / "made", ignore_errors=True)
    try:
        return facts | climb_process.once([python, script], job, limit_s=LIMIT_S)
    except Ended as ended:
        return facts | {"why": str(ended)}


def missing(python: Path, package: str) -> str:
    """Why a package cannot be had in an environment, as the installer said it; nothing where it can."""
    if python.is_file():
        done = subprocess.run([python, "-c", f"import {package}"], capture_output=True, text=True)
        if done.returncode == 0:
            return ""
        said = done.stderr
    else:
        said = f"there is no {python.name} for it"
    log = python.parent.parent / "pip.log"
    told = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else said
    lines = [line for line in told.splitlines() if line.startswith("ERROR")] or told.strip().splitlines()[-1:]
    return "it cannot be installed: " + " ".join(lines)[:600]


def table(book: Book) -> str:
    """Systems by data set, and what is left to do for each."""
    rows = book.rows()
    runs: dict[str, dict[str, Row]] = {}
    for row in rows:
        runs.setdefault(row["values"]["data"], {})[row["values"]["system"]] = row["values"]
    lines = []
    for name, systems in runs.items():
        mine = systems.get(OURS)
        for system, told in systems.items():
            if "why" in told:
                lines.append([name, system, "", "", "", "", told["why"]])
                continue
            version = f" {told['version']}" if "version" in told else ""
            lines.append(
                [
                    name,
                    system + version,
                    f"{told['accuracy']:.4f}",
                    climb_told.paired(mine["right"], told["right"]) if mine and system != OURS else "",
                    clock(told["seconds"]),
                    f"{told['bytes'] / 1e6:.1f}",
                    _left(told),
                ]
            )
    titles = (
        "data set",
        "system",
        "test accuracy",
        "ours is better by points (95 %)",
        "time",
        "MB",
        f"for an API under {API_MS:g} ms",
    )
    if not lines:
        return record.NOTHING
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)])


def _left(told: Row) -> str:
    """What one must still do."""
    if "p95_ms_high" in told:
        return f"nothing: `sartor serve` answers in {told['p95_ms']:.2f} ms (p95, at most {told['p95_ms_high']:.2f})"
    own = f"its `predict` takes {told['p95_ms']:.1f} ms a row (p95)"
    if "optimised_p95_ms" in told:
        own += f", {told['optimised_p95_ms']:.1f} ms after `optimize_for_inference`"
    elif "optimised_fails" in told:
        own += f", and `optimize_for_inference` fails ({told['optimised_fails']})"
    fastest = min(told["p95_ms"], told.get("optimised_p95_ms", told["p95_ms"]))
    if "served_p95_ms" in told:
        own += f", its own server answers in {told['served_p95_ms']:.1f} ms"
        fastest = told["served_p95_ms"]
        return f"{own}: {'nothing' if fastest <= API_MS else f'a model that is {fastest / API_MS:.1f}× as fast, exported by hand, and a server for it'}"
    wanted = (
        "a server"
        if fastest <= API_MS
        else f"a model that is {fastest / API_MS:.1f}× as fast, exported by hand, and a server for it"
    )
    return f"{own}: {wanted}"
