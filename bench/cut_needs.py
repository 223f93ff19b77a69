"""Needs that no uncut model meets: whole builds by the command line, and what they chose. `python -m bench.cut --part needs`.

The accuracy that is asked is two points below the best model that a build without such needs makes of the same rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import climb_build, climb_data, climb_told, modalities, record
from bench.climb_build import Builder
from bench.record import Book, Row
from sartor.display import clock

NAME, TITLE = "cut-needs", "Needs that no uncut model meets"
BUDGET, BELOW = "30m", 0.02
SYSTEM = ("latency_p95 <= 1 ms", "size <= 4 MB")
TEXTS, PICTURES = ("banking77", "ag_news"), ("cifar10",)


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_build.__file__, modalities.__file__))
    return record.book(NAME, __file__, *sources, *record.SERVER, columns={}, short=short)


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    for name in (*TEXTS, *PICTURES):
        asked = _data(book, given, name)
        best = book.once(f"{name}, best{suffix}", 0, lambda name=name, asked=asked: _best(book, name, asked))  # type: ignore[misc]
        climb_told.say(best)
        limit = round(best["values"]["accuracy"] - BELOW, 3)

        def work(name: str = name, asked: Row = asked, limit: float = limit) -> Row:
            needs = asked | {"needs": [f"accuracy >= {limit}", *SYSTEM], "budget": BUDGET, "seed": 0}
            _, told = Builder(book).build(f"{name} cut", needs)
            return {"data": name, "limit": limit} | _of(told)

        climb_told.say(book.once(f"{name}, cut{suffix}", 0, work))


def _data(book: Book, given: argparse.Namespace, name: str) -> Row:
    """What a needs.yaml says of the data."""
    if name in TEXTS:
        parts = climb_build.paths(climb_data.files(given.data, name, rows=given.rows))
        return {"data": parts, "input": [climb_data.TEXT], "target": climb_data.LABEL}
    folder = record.OUT / "climb" / book.name / f"{name}-rows"
    folder.mkdir(parents=True, exist_ok=True)
    [file] = modalities.cifar10(given.data, folder)
    return {"data": str(Path(file).resolve())}


def _best(book: Book, name: str, asked: Row) -> Row:
    """Of a build that asks for nothing but quality: the best accuracy on the test rows."""
    needs = asked | {"needs": [], "prefer": "accuracy", "budget": BUDGET, "seed": 0}
    _, told = Builder(book).build(f"{name} best", needs)
    values = climb_build.values(told)
    return {"name": name, "accuracy": values["accuracy"]["measured"], "chosen": climb_build.chosen(told)}


def _of(told: Row) -> Row:
    """What a build came to, and how near the uncut candidates came to each need."""
    verdicts = {
        one["need"]: {key: one[key] for key in ("verdict", "measured", "low", "high", "limit")} for one in told["needs"]
    }
    tried = [one for one in told["candidates"] if one["status"] == "measured" and one["chance"] is not None]
    uncut = [one for one in tried if not one["parent"]]
    nearest: Any = max(uncut, key=lambda one: one["chance"], default=None)
    return {
        "exit": told["exit"],
        "verdicts": verdicts,
        "chosen": climb_build.chosen(told),
        "tried": len(tried),
        "uncut": None if nearest is None else {"name": nearest["name"], "chance": nearest["chance"]},
        "seconds": told["time"]["total_s"],
        "flips": told["flips"],
    }


def table(book: Book) -> str:
    """Builds by data set."""
    rows, lines = book.rows(), []
    for told in (row["values"] for row in rows if "verdicts" in row["values"]):
        uncut = told["uncut"]
        lines.append(
            [
                told["data"],
                f"accuracy ≥ {told['limit']:.3f}, {', '.join(SYSTEM)}",
                str(told["exit"]),
                told["chosen"],
                "; ".join(f"{one['measured']:.3g} ({one['verdict']})" for one in told["verdicts"].values()),
                str(told["tried"]),
                "" if uncut is None else f"{uncut['name']}: {uncut['chance']:.2f}",
                clock(told["seconds"]),
            ]
        )
    titles = (
        "data set",
        "asked",
        "exit",
        "chosen",
        "measured",
        "tried",
        "the likeliest uncut one to meet all",
        "time",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING
