"""Texts: every way to make a tuned MiniLM smaller and faster, alone and together, beside the same model in transformers' pipeline.

The teacher is MiniLM with all weights tuned; accuracy is that of the served graphs on the whole test file. `python -m bench.cut --part text`.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import climb_data, climb_process, climb_told, cut_make, record
from bench.cut_make import EXPORT, FLOAT, INT8, Maker
from bench.record import Book, Row
from sartor.plan import Move

NAME, TITLE = "cut-text", "Smaller and faster: texts"
SETS, SEEDS = ("sst2", "banking77", "ag_news"), (0, 1, 2)
ALL_WAYS = ("sst2", "banking77")  # on which every technique is measured by itself
PIPELINE, TEACHER = "transformers' pipeline", "tuned, float"
WITHIN, WANTED = 1.5, (10.0, 20.0)  # points of accuracy; times faster and times smaller
START = Move("start", {"backbone": "minilm", "leaf": "hub"})
TUNED = (START, Move("fit", {}), Move("train", {}))
NGRAMS = Move("start", {"backbone": "ngram", "leaf": "ngram"})
TRIM, CODED = Move("trim", {}), Move("trim", {"codes": 64})
ALL_CODED = {"codes": 64, "common": 1_000_000}  # more than any table has
Moves = tuple[Move, ...]


def _prune(**shares: float) -> Move:
    return Move("prune", shares)


def _quantised(**given: Any) -> Moves:
    return (EXPORT, Move("quantise", given))


def _openvino(**given: Any) -> Moves:
    return (Move("export", {"runtime": "openvino"}), Move("quantise", given))


def techniques(member: Callable[..., dict[str, Any]]) -> dict[str, tuple[Moves, str]]:
    """{name: (steps, what for)}. member: makes a plan one that a step takes. What for: `alone`, `together`, or `front` of those that count for the line."""

    def taught(**given: Any) -> Move:
        return Move("distil", {"members": [member(*TUNED)], **given})

    def tuned(**given: Any) -> dict[str, Any]:
        return member(START, Move("fit", {}), Move("train", given))

    # Of the same body, but other weights: at half and at twice the rate.
    three = {"members": [member(*TUNED), tuned(learning_rate=5e-5), tuned(learning_rate=2e-4)]}

    def depth(blocks: int, trim: Move = TRIM, *, pieces: int = 2, epochs: int = 4, **shares: float) -> Moves:
        # As the planner has it: the teacher reads the same tokens.
        words = {name: value for name, value in trim.arguments.items() if name not in ("codes", "rank")}
        told = {"members": [member(*TUNED, Move("trim", words))], "hidden": 1.0, "pieces": pieces, "epochs": epochs}
        return (*TUNED, trim, _prune(blocks=blocks / 6, **shares), Move("distil", told))

    found: dict[str, tuple[Moves, str]] = {
        TEACHER: ((*TUNED, *FLOAT), "front"),
        "int8, dynamic": ((*TUNED, *INT8), "front"),
        "int8, static": ((*TUNED, *_quantised(precision="int8", activations="static")), "alone"),
        "int8, weights only": ((*TUNED, *_quantised(precision="int8", activations="float")), "alone"),
        "int4, weights only": ((*TUNED, *_quantised(precision="int4")), "alone"),
        "words trimmed": ((*TUNED, TRIM, *FLOAT), "alone"),
        "words trimmed, none for being common": ((*TUNED, Move("trim", {"common": 0}), *FLOAT), "alone"),
        "words trimmed, table of rank 128": ((*TUNED, Move("trim", {"rank": 128}), *FLOAT), "alone"),
        "all words in codes": ((*TUNED, Move("trim", ALL_CODED), *FLOAT), "alone"),
        "words trimmed, the others in codes": ((*TUNED, CODED, *FLOAT), "alone"),
        "3 blocks, not taught": ((*TUNED, _prune(blocks=0.5), *FLOAT), "alone"),
        "3 blocks, tuned again": ((*TUNED, _prune(blocks=0.5), Move("train", {}), *FLOAT), "alone"),
        "3 blocks, taught": ((*TUNED, _prune(blocks=0.5), taught(), *FLOAT), "alone"),
        "3 blocks, taught, hidden states": ((*TUNED, _prune(blocks=0.5), taught(hidden=1.0), *FLOAT), "alone"),
        "3 blocks, taught, relations": ((*TUNED, _prune(blocks=0.5), taught(relations=1.0), *FLOAT), "alone"),
        "3 blocks, taught on copies": ((*TUNED, _prune(blocks=0.5), taught(copies=2, epochs=3), *FLOAT), "alone"),
        "3 blocks, taught on pieces": ((*TUNED, _prune(blocks=0.5), taught(pieces=2, epochs=3), *FLOAT), "alone"),
        "3 blocks, taught by three": ((*TUNED, _prune(blocks=0.5), Move("distil", three), *FLOAT), "alone"),
        "half of the heads, taught": ((*TUNED, _prune(blocks=1.0, heads=0.5), taught(), *FLOAT), "alone"),
        "half of the units, taught": ((*TUNED, _prune(blocks=1.0, inner=0.5), taught(), *FLOAT), "alone"),
        "twice as fast by the table, taught": ((*TUNED, _prune(faster=2.0), taught(), *FLOAT), "alone"),
        "n-grams": ((NGRAMS, Move("fit", {}), EXPORT), "front"),
        "n-grams, taught on copies": ((NGRAMS, taught(copies=4), EXPORT), "alone"),
        "n-grams, taught on pieces": ((NGRAMS, taught(pieces=8), EXPORT), "alone"),
        "trimmed, int8": ((*TUNED, TRIM, *INT8), "together"),
        "2 blocks, trimmed, int8": ((*depth(2), *INT8), "together"),
        "3 blocks, trimmed, table of rank 128, int8": (
            (*depth(3, Move("trim", {"rank": 128})), *INT8),
            "together",
        ),
        "3 blocks, trimmed, codes, int8": ((*depth(3, CODED), *INT8), "together"),
        "4 blocks of half the units, all words in codes, int8": (
            (*depth(4, Move("trim", ALL_CODED), inner=0.5), *INT8),
            "front",
        ),
        "3 blocks of a third of the units, trimmed, 48 codes, int8": (
            (*depth(3, Move("trim", {"codes": 48}), inner=1 / 3), *INT8),
            "together",
        ),
        "2 blocks of half the units, trimmed, 48 codes, int8": (
            (*depth(2, Move("trim", {"codes": 48}), inner=0.5), *INT8),
            "together",
        ),
        "2 blocks of half the units, trimmed, 48 codes, taught longer, int8": (
            (*depth(2, Move("trim", {"codes": 48}), pieces=4, epochs=6, inner=0.5), *INT8),
            "front",
        ),
        "1 block, trimmed, codes, int8": ((*depth(1, CODED), *INT8), "together"),
    }
    if importlib.util.find_spec("openvino") is not None:
        found["OpenVINO, float"] = ((*TUNED, *_openvino(precision="float32")), "alone")
        found["OpenVINO, int8"] = ((*TUNED, *_openvino(precision="int8")), "alone")
        found["2 blocks, trimmed, OpenVINO int8"] = ((*depth(2), *_openvino(precision="int8")), "together")
    return found


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, cut_make.__file__, climb_process.__file__))
    pipeline = Path(__file__).with_name("cut_pipeline.py")
    return record.book(NAME, __file__, *sources, pipeline, columns={}, short=short, parts=climb_data.steps_alone())


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        # What counts for the line first.
        for front, seed, name in itertools.product((True, False), SEEDS, SETS):
            if not front and (seed != SEEDS[0] or name not in ALL_WAYS):
                continue
            maker = of_text(book, climb_data.files(given.data, name, rows=given.rows), name, seed, Path(folder), suffix)
            wanted = {
                technique: moves
                for technique, (moves, why) in techniques(maker.member).items()
                if (why == "front") == front
            }
            for technique, moves in wanted.items():

                def work(
                    technique: str = technique, moves: Moves = moves, name: str = name, maker: Maker = maker
                ) -> Row:
                    return {"data": name, "technique": technique} | maker.measured(moves)

                climb_told.say(book.once(f"{name}, {technique}{suffix}", seed, work))
                if technique == TEACHER:

                    def pipeline(name: str = name, maker: Maker = maker) -> Row:
                        return {"data": name, "technique": PIPELINE} | in_pipeline(maker)

                    climb_told.say(book.once(f"{name}, {PIPELINE}{suffix}", seed, pipeline))


def of_text(book: Book, files: dict[str, Path], name: str, seed: int, folder: Path, suffix: str) -> Maker:
    """What follows plans on a data set of texts."""
    ground = climb_data.read(files)
    place = folder / f"{name}{suffix}-{seed}"
    data = str(place) if place.is_dir() else ground.stored(place)
    inputs, targets = ((climb_data.TEXT, "text"),), {climb_data.LABEL: "classify"}
    return Maker(ground.dataset, ground.splits, data, inputs, targets, seed, cut_make.home(book) / place.name)


def in_pipeline(maker: Maker) -> Row:
    """The teacher in transformers' pipeline, in a process of its own."""
    table = maker.dataset.table.column(climb_data.TEXT).to_pylist()
    test = [table[i] for i in maker.splits.test]
    job = {
        "bundle": str(maker.bundle(TUNED).path),
        "texts": [test[i] for i in cut_make.spread(len(test), cut_make.TIMED)],
    }
    return climb_process.once((sys.executable, "-m", "bench.cut_pipeline"), job)


def table(book: Book) -> str:
    """Techniques by data set: quality, size and latency over the teacher in the pipeline; then which candidates come within the line."""
    rows = book.rows()
    runs = cut_make.by_case(rows, "technique")
    body: list[str] = []
    for name, systems in runs.items():
        pipeline, teacher = systems.get(PIPELINE, {}), systems.get(TEACHER, {})
        lines, front = [], []
        for technique, each in systems.items():
            seeds = sorted(each.keys() & teacher.keys() & pipeline.keys())
            if not seeds or technique == PIPELINE:
                continue
            points = [100 * (each[s]["accuracy"] - teacher[s]["accuracy"]) for s in seeds]
            faster = float(np.mean([pipeline[s]["p50_ms"] / each[s]["p50_ms"] for s in seeds]))
            smaller = float(np.mean([pipeline[s]["mb"] / each[s]["mb"] for s in seeds]))
            lines.append(
                [
                    technique,
                    f"{np.mean([each[s]['accuracy'] for s in seeds]):.4f} (n {len(seeds)})",
                    "" if technique == TEACHER else climb_told.interval(points),
                    f"{np.mean([each[s]['mb'] for s in seeds]):.2f} ({smaller:.1f}×)",
                    f"{np.mean([each[s]['p50_ms'] for s in seeds]):.2f} ({faster:.1f}×)",
                    f"{np.mean([each[s]['p95_ms'] for s in seeds]):.2f}",
                    flips_of(each[seeds[0]]["packed"]),
                    f"{np.mean([sum(each[s]['steps'].values()) for s in seeds]):.0f}",
                ]
            )
            front.append((technique, float(np.mean(points)), faster, smaller))
        if not lines:
            continue
        beside = [pipeline[s] for s in sorted(pipeline)]
        body.append(
            f"**{name}**: {PIPELINE} {np.mean([one['p50_ms'] for one in beside]):.2f} ms per request (p50, {beside[0]['threads']} threads, the faster of its attentions), "
            f"{np.mean([one['mb'] for one in beside]):.1f} MB. In brackets: times smaller, times faster."
        )
        titles = (
            "technique",
            "test accuracy (seeds)",
            "points over tuned (95 %)",
            "MB",
            "p50 ms",
            "p95 ms",
            "flips; alone",
            "s of its steps",
        )
        body.append(record.markdown(titles, lines))
        body += [reached(front, times) for times in WANTED]
    return "\n\n".join([*body, record.made(rows)]) if body else record.NOTHING


def reached(front: list[tuple[str, float, float, float]], times: float) -> str:
    """Which candidates are within the points and so many times smaller and faster; else the nearest."""
    near = [one for one in front if one[1] >= -WITHIN]
    there = [one for one in near if min(one[2], one[3]) >= times]
    if there:
        told = ", ".join(
            f"{name} ({points:+.2f} points, {faster:.0f}× and {smaller:.0f}×)"
            for name, points, faster, smaller in there
        )
        return f"Within {WITHIN} points and at least {times:.0f}× faster and smaller: {told}."
    best = max(near, key=lambda one: min(one[2], one[3]), default=None)
    told = (
        ""
        if best is None
        else f" Of those within the points the nearest is {best[0]}: {best[2]:.1f}× and {best[3]:.1f}×."
    )
    return f"Within {WITHIN} points and at least {times:.0f}× faster and smaller: none.{told}"


def flips_of(packed: Row | None) -> str:
    """Answers that fewer bits changed, and that differ when rows are answered one at a time."""
    if packed is None:
        return ""
    alone = f"{packed['alone']}" if packed["invariant"] else "always so"
    return f"{packed['flips']} of {packed['n']:,}; {alone}"
