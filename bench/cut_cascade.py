"""Cascades: a cheap model answers what it is sure of, a larger one the rest: accuracy and mean latency beside their parts; what is served against the parts.

The parts are those of `cut_text`, and its cache is used: nothing is trained twice.

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
from bench.cut_make import Maker
from bench.cut_text import Moves
from bench.record import Book, Row
from bench.serve import ask, started
from sartor import bundle as bundles
from sartor import hardware
from sartor.data.target import examples as examples_of
from sartor.plan import Move
from sartor.predict import Predictor, portable

NAME, TITLE = "cut-cascade", "Cascades"
SETS, SEEDS = ("ag_news", "banking77", "sst2"), (0, 1, 2)
NGRAM, THIN = "n-grams", "2 blocks of half the units, trimmed, 48 codes, taught longer, int8"
INT8, LARGE = "int8, dynamic", cut_text.TEACHER
PAIRS = {  # {cascade: (the cheap model, the larger one)}
    "cascade: n-grams, int8": (NGRAM, INT8),
    "cascade: 2 thin blocks, int8": (THIN, INT8),
    "cascade: 2 thin blocks, float": (THIN, LARGE),
}
WITHIN, WANTED, CLIENTS = 0.3, 0.5, 4  # points; share of the mean latency


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, cut_make.__file__, cut_text.__file__))
    return record.book(
        NAME, __file__, *sources, *record.SERVER, columns={}, short=short, parts=climb_data.steps_alone()
    )


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    cached = cut_text.book(given.rows is not None)
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed, name in itertools.product(SEEDS, SETS):
            maker = cut_text.of_text(
                cached, climb_data.files(given.data, name, rows=given.rows), name, seed, Path(folder), suffix
            )
            made = cut_text.techniques(maker.member)
            parts = {system: made[system][0] for system in (LARGE, INT8, THIN, NGRAM)}
            for system in (*parts, *PAIRS):
                pair = [parts[part] for part in PAIRS.get(system, ())]
                moves = parts.get(system) or (Move("cascade", {"members": [maker.member(*one) for one in pair]}),)

                def work(
                    system: str = system,
                    moves: Moves = moves,
                    pair: list[Moves] = pair,
                    name: str = name,
                    maker: Maker = maker,
                ) -> Row:
                    told = {"data": name, "system": system} | maker.measured(moves)
                    return told | (as_its_parts(maker, moves, pair) if pair else {})

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
    """Cascades beside their parts, over the tuned model in float and over the larger of their two members."""
    rows, lines = book.rows(), []
    for name, each in cut_make.by_case(rows, "system").items():
        large = each.get(LARGE, {})
        for system, runs in each.items():
            seeds = sorted(runs.keys() & large.keys())
            if not seeds:
                continue
            points, share = _over(runs, large, seeds)
            member = each.get(PAIRS[system][1], {}) if system in PAIRS else {}
            beside = _over(runs, member, both) if (both := sorted(runs.keys() & member.keys())) else None
            told = runs[seeds[0]]
            lines.append(
                [
                    name,
                    system,
                    f"{np.mean([runs[seed]['accuracy'] for seed in seeds]):.4f} (n {len(seeds)})",
                    "" if system == LARGE else climb_told.interval(points),
                    f"{np.mean([runs[seed]['mean_ms'] for seed in seeds]):.2f} ({share:.2f})",
                    f"{np.mean(beside[0]):+.1f}, {beside[1]:.2f}" if beside else "",
                    "yes" if system in PAIRS and np.mean(points) >= -WITHIN and share <= WANTED else "",
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
        "points over the tuned model in float (95 %)",
        "mean ms (of its)",
        "over its larger member: points, mean ms",
        f"within {WITHIN} points at {WANTED} of the mean",
        "p50 ms",
        "p95 ms",
        "MB",
        "asked further",
        "served as its parts answer; probabilities apart by at most",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING


def _over(runs: dict[int, Row], others: dict[int, Row], seeds: list[int]) -> tuple[list[float], float]:
    """Points of accuracy by seed, and the mean share of the mean latency."""
    points = [100 * (runs[seed]["accuracy"] - others[seed]["accuracy"]) for seed in seeds]
    return points, float(np.mean([runs[seed]["mean_ms"] / others[seed]["mean_ms"] for seed in seeds]))
