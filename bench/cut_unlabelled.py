"""Few labels and much text: a student that a tuned model teaches on the rows without a label, against the same student on the labelled rows alone.

5 % of the labels of ag_news; the other training rows are text without a label. `python -m bench.cut --part unlabelled`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench import climb_data, climb_told, climb_unlabelled, cut_make, cut_text, record
from bench.cut_make import EXPORT, FLOAT, INT8
from bench.cut_text import NGRAMS, TRIM, TUNED, Moves
from bench.record import Book, Row
from sartor.plan import Move

NAME, TITLE = "cut-unlabelled", "Taught on rows without a label"
SETS, SEEDS, WANTED = ("ag_news",), (0, 1, 2), 2.0
TEACHER = "teacher: MiniLM, tuned on the labelled rows"
STUDENTS = ("n-grams", "2 blocks of MiniLM, int8")


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_unlabelled.__file__, cut_make.__file__, cut_text.__file__))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone())


def systems(member: dict[str, object]) -> dict[str, Moves]:
    """{name: steps}: each student as it learns from the labelled rows alone, and from all."""

    def blocks(unlabelled: bool) -> Moves:
        epochs = 6 if unlabelled else 12
        taught = Move("distil", {"members": [member], "unlabelled": unlabelled, "epochs": epochs})
        return (*TUNED, TRIM, Move("prune", {"blocks": 1 / 3}), taught, *INT8)

    taught = Move("distil", {"members": [member], "unlabelled": True})
    return {
        TEACHER: (*TUNED, *FLOAT),
        f"{STUDENTS[0]}, on the labelled rows": (NGRAMS, Move("fit", {}), EXPORT),
        f"{STUDENTS[0]}, taught on all": (NGRAMS, taught, EXPORT),
        f"{STUDENTS[1]}, taught on the labelled rows": blocks(False),
        f"{STUDENTS[1]}, taught on all": blocks(True),
    }


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed in SEEDS:
            for name in SETS:
                whole = climb_data.files(given.data, name, rows=given.rows)
                parts = climb_unlabelled.labelled(whole, seed, Path(folder) / f"{name}-{seed}-rows")
                maker = cut_text.of_text(book, parts, name, seed, Path(folder), suffix)
                for system, moves in systems(maker.member(*TUNED)).items():

                    def work(system: str = system, moves: Moves = moves, name: str = name) -> Row:
                        return {"data": name, "system": system, "sizes": maker.splits.sizes()} | maker.measured(moves)  # noqa: B023

                    climb_told.say(book.once(f"{name}, {system}{suffix}", seed, work))


def table(book: Book) -> str:
    """Students by how they were taught, with the gain of the rows without a label in pairs of seeds."""
    rows, lines = book.rows(), []
    for name, each in cut_make.by_case(rows, "system").items():
        for system, runs in each.items():
            alone = next(
                (other for other in each if other.startswith(system.rsplit(",", 1)[0]) and other != system), None
            )
            seeds = sorted(runs.keys() & each.get(alone or "", {}).keys()) if system.endswith("on all") else []
            gains = [100 * (runs[seed]["accuracy"] - each[alone][seed]["accuracy"]) for seed in seeds] if alone else []
            one = next(iter(runs.values()))
            lines.append(
                [
                    name,
                    system,
                    f"{one['sizes']['train'] + one['sizes']['valid']:,} + {one['sizes']['unlabelled']:,}",
                    f"{np.mean([run['accuracy'] for run in runs.values()]):.4f} (n {len(runs)})",
                    climb_told.interval(gains) if gains else "",
                    f"{one['mb']:.2f}",
                    f"{np.mean([run['p50_ms'] for run in runs.values()]):.2f}",
                ]
            )
    titles = (
        "data set",
        "system",
        "rows with + without a label",
        "test accuracy (seeds)",
        "points over the same student without them (95 %)",
        "MB",
        "p50 ms",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING
