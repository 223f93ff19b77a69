"""Pictures and sound: a convolutional net that was trained from nothing, and every cut of it: accuracy, size, latency. `python -m bench.cut --part media`."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import climb_data, climb_told, cut_make, modalities, record
from bench.cut_make import FLOAT, INT8, Maker
from bench.record import Book, Row
from sartor.plan import Move

NAME, TITLE = "cut-media", "Smaller and faster: pictures and sound"
SETS: dict[str, tuple[str, str]] = {"cifar10": ("convnet", "convnet"), "free_spoken_digits": ("melnet", "melnet")}
SEEDS, WITHIN, SMALLER, FASTER = (0, 1, 2), 1.0, 4.0, 2.0
WHOLE = "whole, float"
Moves = tuple[Move, ...]


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, cut_make.__file__, modalities.__file__))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone(texts=False))


def techniques(maker: Maker, start: Move) -> dict[str, Moves]:
    """{name: steps}."""
    trained = (start, Move("train", {}))
    taught = Move("distil", {"members": [maker.member(*trained)]})
    again = Move("train", {})
    half, quarter = (Move("prune", {"channels": share}) for share in (0.5, 0.25))
    return {
        WHOLE: (*trained, *FLOAT),
        "whole, int8": (*trained, *INT8),
        "half of the channels, not taught": (*trained, half, *FLOAT),
        "half of the channels, trained again": (*trained, half, again, *FLOAT),
        "half of the channels, taught": (*trained, half, taught, *FLOAT),
        "half of the channels, taught, int8": (*trained, half, taught, *INT8),
        "a quarter of the channels, taught, int8": (*trained, quarter, taught, *INT8),
    }


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed, (name, (backbone, leaf)) in itertools.product(SEEDS, SETS.items()):
            maker = of_media(book, given.data, name, seed, Path(folder))
            for technique, moves in techniques(maker, Move("start", {"backbone": backbone, "leaf": leaf})).items():

                def work(
                    technique: str = technique, moves: Moves = moves, name: str = name, maker: Maker = maker
                ) -> Row:
                    return {"data": name, "technique": technique} | maker.measured(moves)

                climb_told.say(book.once(f"{name}, {technique}", seed, work))


def of_media(book: Book, data: Path, name: str, seed: int, folder: Path) -> Maker:
    """What follows plans on a data set of pictures or recordings, as a build reads and splits it."""
    from sartor import needs
    from sartor.data import read, split, store

    place = folder / name
    place.mkdir(exist_ok=True)
    prepare = {"cifar10": modalities.cifar10, "free_spoken_digits": modalities.spoken_digits}[name]
    words = prepare(data, place)
    asked: dict[str, Any] = {"data": words[0]} if not words[0].startswith("--") else {"data": {}}
    for flag, value in itertools.pairwise(words):
        if flag in ("--train", "--valid", "--test"):
            asked["data"][flag[2:]] = value
        elif flag in ("--input", "--target"):
            asked[flag[2:]] = value
    wanted = needs.make(**asked, seed=seed)
    dataset = read.read(wanted.data, input=wanted.input, target=wanted.target)
    targets = dict(dataset.schema.tasks)
    splits = split.for_needs(dataset, wanted, target=targets)
    stored = folder / f"{name}-{seed}"
    store.save(dataset, splits, stored)
    inputs = tuple((column.name, column.kind) for column in dataset.schema.inputs)
    return Maker(dataset, splits, str(stored), inputs, targets, seed, cut_make.home(book) / stored.name)


def table(book: Book) -> str:
    """Cuts by data set, over the whole net in float."""
    rows, lines = book.rows(), []
    for name, each in cut_make.by_case(rows, "technique").items():
        whole = each.get(WHOLE, {})
        for technique, runs in each.items():
            seeds = sorted(runs.keys() & whole.keys())
            if not seeds:
                continue
            points = [100 * (runs[s]["accuracy"] - whole[s]["accuracy"]) for s in seeds]
            smaller = float(np.mean([whole[s]["mb"] / runs[s]["mb"] for s in seeds]))
            faster = float(np.mean([whole[s]["p50_ms"] / runs[s]["p50_ms"] for s in seeds]))
            there = np.mean(points) >= -WITHIN and smaller >= SMALLER and faster >= FASTER
            packed = runs[seeds[0]]["packed"]
            lines.append(
                [
                    name,
                    technique,
                    f"{np.mean([runs[s]['accuracy'] for s in seeds]):.4f} (n {len(seeds)})",
                    "" if technique == WHOLE else climb_told.interval(points),
                    f"{np.mean([runs[s]['mb'] for s in seeds]):.2f} ({smaller:.1f}×)",
                    f"{np.mean([runs[s]['p50_ms'] for s in seeds]):.2f} ({faster:.1f}×)",
                    "" if packed is None else f"{packed['flips']} of {packed['n']:,}; {packed['alone']}",
                    "yes" if there else "",
                ]
            )
    titles = (
        "data set",
        "cut",
        "test accuracy (seeds)",
        "points over the whole (95 %)",
        "MB (times smaller)",
        "p50 ms (times faster)",
        "flips; alone",
        f"within {WITHIN:.0f} point, {SMALLER:.0f}× smaller, {FASTER:.0f}× faster",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING
