"""Priors against search: training as it is by default, our search, and the Trainer of transformers with optuna for the same seconds as our search.

All on the same training and validation rows, judged on the test file, with differences over its rows in pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import climb_data, climb_process, climb_told, climb_worker, record
from bench.climb_data import Ground
from bench.record import Book, Row
from sartor import hardware
from sartor.display import clock
from sartor.plan import Move, Plan

NAME, TITLE = "climb-priors", "Priors against search"
PEER = Path(__file__).with_name("trainer_peer.py")
SETS = ("sst2", "banking77", "ag_news")
PRIORS, SEARCH, TRAINER = "priors", "search", "Trainer + optuna"
OURS = {PRIORS: Move("train", {}), SEARCH: Move("search", {})}


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_process.__file__, climb_worker.__file__, PEER))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone())


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for name in SETS:
            ground = climb_data.read(climb_data.files(given.data, name, rows=given.rows))
            data = ground.stored(Path(folder) / name)
            told: dict[str, Row] = {}
            for system in (PRIORS, SEARCH, TRAINER):

                def work(
                    system: str = system,
                    name: str = name,
                    ground: Ground = ground,
                    data: str = data,
                    told: dict[str, Row] = told,
                ) -> Row:
                    facts = {"data": name, "system": system}
                    if system in OURS:
                        return facts | ours(OURS[system], data, folder)
                    return facts | theirs(ground, told[SEARCH], given.trainer)

                row = book.once(f"{name}, {system}{suffix}", 0, work)
                told[system] = row["values"]
                climb_told.say(row)


def ours(move: Move, data: str, folder: str) -> Row:
    """A plan of ours in a process of its own."""
    plan = Plan(move.step, (Move("start", {"backbone": "minilm", "leaf": "hub"}), Move("fit", {}), move))
    job = {"data": data, "plan": plan.as_dict(), "seed": 0, "scratch": folder}
    told = climb_process.once(climb_data.WORKER, job)
    return told | {"tries": len(told["notes"][move.step].get("tries", [0]))}


def theirs(ground: Ground, search: Row, python: str) -> Row:
    """The peer, with the seconds and the token limit of our search."""
    job = {part: ground.rows(part) for part in ("train", "valid", "test")} | {
        "model": climb_data.minilm(),
        "max_tokens": search["notes"]["start"]["max_tokens"],
        "bf16": hardware.has_bf16(),
        "seed": 0,
        "seconds": search["seconds"],
    }
    told = climb_process.once([python, PEER], job)
    return told | {"tries": told["trials"], "allowed_s": search["seconds"]}


def table(book: Book) -> str:
    """The three by data set."""
    rows = book.rows()
    runs: dict[str, dict[str, Row]] = {}
    for row in rows:
        runs.setdefault(row["values"]["data"], {})[row["values"]["system"]] = row["values"]
    lines = []
    for name, systems in runs.items():
        priors = systems.get(PRIORS)
        for system, told in systems.items():
            known = priors is not None and system != PRIORS
            lines.append(
                [
                    name,
                    system,
                    str(told["tries"]),
                    clock(told["seconds"]),
                    f"{told['accuracy']:.4f}",
                    climb_told.paired(told["right"], priors["right"]) if known and priors else "",
                ]
            )
    titles = ("data set", "system", "tries", "time", "test accuracy", "points over the priors (95 %)")
    if not lines:
        return record.NOTHING
    said = (
        f"{TRAINER}: `hyperparameter_search` in bfloat16 where the processor has it, batches grouped by length, no dropout, pruned by the median, "
        "its time ended at that of our search and its best evaluation's weights kept."
    )
    return "\n\n".join([record.markdown(titles, lines), said, record.made(rows)])
