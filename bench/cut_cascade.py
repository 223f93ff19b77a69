"""Cascades: n-grams answer what they are sure of, the tuned model the rest: accuracy and mean latency beside its parts; what is served against its parts.

`python -m bench.cut --part cascade`.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench import climb_data, climb_told, cut_make, cut_text, record
from bench.cut_make import EXPORT, INT8, Maker
from bench.cut_text import NGRAMS, TUNED, Moves
from bench.record import Book, Row
from bench.serve import ask, started
from sartor import bundle as bundles
from sartor import hardware
from sartor.data.target import examples as examples_of
from sartor.plan import Move
from sartor.predict import Predictor, portable

NAME, TITLE = "cut-cascade", "Cascades"
SETS, SEEDS = ("ag_news", "banking77", "sst2"), (0, 1, 2)
CHEAP, LARGE, BOTH = "n-grams", "MiniLM tuned, int8", "cascade"
WITHIN, WANTED, CLIENTS = 0.3, 0.5, 4  # points; share of the mean latency


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, cut_make.__file__, cut_text.__file__))
    return record.book(
        NAME, __file__, *sources, *record.SERVER, columns={}, short=short, parts=climb_data.steps_alone()
    )


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    parts: dict[str, Moves] = {CHEAP: (NGRAMS, Move("fit", {}), EXPORT), LARGE: (*TUNED, *INT8)}
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed, name in itertools.product(SEEDS, SETS):
            maker = cut_text.of_text(
                book, climb_data.files(given.data, name, rows=given.rows), name, seed, Path(folder), suffix
            )
            both = Move("cascade", {"members": [maker.member(*moves) for moves in parts.values()]})
            for system, moves in (parts | {BOTH: (both,)}).items():

                def work(system: str = system, moves: Moves = moves, name: str = name, maker: Maker = maker) -> Row:
                    told = {"data": name, "system": system} | maker.measured(moves)
                    return told | (as_its_parts(maker, moves, list(parts.values())) if system == BOTH else {})

                climb_told.say(book.once(f"{name}, {system}{suffix}", seed, work))


def as_its_parts(maker: Maker, moves: Moves, parts: list[Moves]) -> Row:
    """What the server answers to every test row, against what the part that the cascade should ask says by itself."""
    made = maker.bundle(moves)
    runtime = made.meta["runtime"]
    test = examples_of(maker.dataset, maker.splits.test, maker.targets)
    cheap, large = (
        Predictor(maker.bundle(part), threads=hardware.cores(), heads={"scale": scale})
        for part, scale in zip(parts, runtime["scales"], strict=True)
    )
    rows = list(test.inputs)
    first, second = cheap.predict(rows), large.predict(rows)
    wanted = [
        one if one["probability"] >= runtime["sure"][0] else other for one, other in zip(first, second, strict=True)
    ]
    bodies = [json.dumps(portable(row), ensure_ascii=False).encode() for row in rows]
    with started(bundles.load(made.path).path) as (address, _):
        served = ask(address, bodies, clients=CLIENTS)
    return {
        "asked_further": float(np.mean([one["probability"] < runtime["sure"][0] for one in first])),
        "as_parts": sum(one["label"] == other["label"] for one, other in zip(served, wanted, strict=True)),
        "apart": max(abs(one["probability"] - other["probability"]) for one, other in zip(served, wanted, strict=True)),
        "n": len(rows),
    }


def table(book: Book) -> str:
    """Cascades beside their parts."""
    rows, lines = book.rows(), []
    for name, each in cut_make.by_case(rows, "system").items():
        large = each.get(LARGE, {})
        for system, runs in each.items():
            seeds = sorted(runs.keys() & large.keys())
            if not seeds:
                continue
            points = [100 * (runs[seed]["accuracy"] - large[seed]["accuracy"]) for seed in seeds]
            share = float(np.mean([runs[seed]["mean_ms"] / large[seed]["mean_ms"] for seed in seeds]))
            told = runs[seeds[0]]
            lines.append(
                [
                    name,
                    system,
                    f"{np.mean([runs[seed]['accuracy'] for seed in seeds]):.4f} (n {len(seeds)})",
                    "" if system == LARGE else climb_told.interval(points),
                    f"{np.mean([runs[seed]['mean_ms'] for seed in seeds]):.2f} ({share:.2f} of the large one's)",
                    f"{np.mean([runs[seed]['p50_ms'] for seed in seeds]):.2f}",
                    f"{np.mean([runs[seed]['p95_ms'] for seed in seeds]):.2f}",
                    f"{told['mb']:.2f}",
                    f"{np.mean([runs[seed]['asked_further'] for seed in seeds]):.0%}" if "n" in told else "",
                    f"{told['as_parts']:,} of {told['n']:,}; {told['apart']:.0e}" if "n" in told else "",
                ]
            )
    titles = (
        "data set",
        "system",
        "test accuracy (seeds)",
        "points over the large one (95 %)",
        "mean ms",
        "p50 ms",
        "p95 ms",
        "MB",
        "asked further",
        "served as its parts answer; probabilities apart by at most",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING
