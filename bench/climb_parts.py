"""Parameter-efficient tuning: every method on all rows, each in a fresh process, with what it trains, how well, how fast, in how much memory and to what size.

The last two blocks are tuned with the activations below them kept and without, by one row, so that their weights can be compared.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import climb_data, climb_process, climb_told, climb_worker, record
from bench.record import Book, Row
from sartor.plan import Move, Plan

NAME, TITLE = "climb-parts", "Parameter-efficient tuning"
SETS, SEEDS = ("sst2", "banking77"), (0, 1, 2)
ALL, LORA = "all weights", "LoRA"
CACHED, UNCACHED = "last 2 blocks, activations kept", "last 2 blocks, computed anew"
METHODS = {
    ALL: Move("train", {}),
    CACHED: Move("freeze", {"keep": "last", "blocks": 2, "cached": True}),
    UNCACHED: Move("freeze", {"keep": "last", "blocks": 2, "cached": False}),
    "biases": Move("freeze", {"keep": "biases"}),
    LORA: Move("lora", {"method": "lora"}),
    "rsLoRA": Move("lora", {"method": "rslora"}),
    "DoRA": Move("lora", {"method": "dora"}),
    "IA³": Move("lora", {"method": "ia3"}),
    "prompt": Move("prompt", {"deep": False}),
    "prefix": Move("prompt", {"deep": True}),
    "bottleneck": Move("bottleneck", {}),
}
SEVERAL = (ALL, LORA)  # that are compared closely enough to want every seed; the others have the first
WANTED_POINTS, WANTED_RATIO = 1.0, 3.0


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_process.__file__, climb_worker.__file__))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone())


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed, name in itertools.product(SEEDS, SETS):
            ground = climb_data.read(climb_data.files(given.data, name, rows=given.rows))
            data = ground.stored(Path(folder) / name)
            job = {"data": data, "seed": seed, "scratch": folder}
            for method in METHODS if seed == SEEDS[0] else SEVERAL:
                if method in (CACHED, UNCACHED):
                    continue

                def work(method: str = method, name: str = name, job: Row = job) -> Row:
                    return {"data": name, "method": method} | run(METHODS[method], job)

                climb_told.say(book.once(f"{name}, {method}{suffix}", seed, work))
            if seed == SEEDS[0]:

                def both(name: str = name, job: Row = job) -> Row:
                    return {"data": name} | kept_and_not(job)

                climb_told.say(book.once(f"{name}, last 2 blocks both ways{suffix}", seed, both))


def run(move: Move, job: Row, **more: Any) -> Row:
    """What a method makes, in a process of its own: what `bench.climb_worker` tells, with the rows per second of its step."""
    plan = Plan(move.step, (Move("start", {"backbone": "minilm", "leaf": "hub"}), Move("fit", {}), move))
    told = climb_process.once(climb_data.WORKER, job | {"plan": plan.as_dict()} | more)
    step_s = told["steps"][move.step]
    return told | {
        "step_s": step_s,
        # All that the step does is counted, filling a cache too; only validating is not.
        "rows_per_s": told["rows"] / max(1e-9, step_s - told["validate_s"]),
        "loop_rows_per_s": told["rows"] / max(1e-9, told["loop_s"]),
    }


def kept_and_not(job: Row) -> Row:
    """The last two blocks with kept activations and without: both, and how far apart their weights are."""
    from safetensors.numpy import load_file

    ways: dict[str, Row] = {}
    tensors = {}
    with TemporaryDirectory(dir=job["scratch"]) as folder:
        for method in (CACHED, UNCACHED):
            place = Path(folder) / str(len(ways))
            ways[method] = run(METHODS[method], job, keep=str(place))
            tensors[method] = load_file(next(place.glob("*-freeze")) / "model.safetensors")
    one, other = tensors[CACHED], tensors[UNCACHED]
    assert one.keys() == other.keys()
    return {
        "ways": ways,
        "equal": all(np.array_equal(one[name], other[name]) for name in one),
        "apart": max(float(np.abs(one[name] - other[name]).max()) for name in one),
        "largest": max(float(np.abs(other[name]).max()) for name in other),
        "faster": ways[CACHED]["rows_per_s"] / ways[UNCACHED]["rows_per_s"],
        "loop_faster": ways[CACHED]["loop_rows_per_s"] / ways[UNCACHED]["loop_rows_per_s"],
    }


def table(book: Book) -> str:
    """Methods by data set, then what keeping activations is worth."""
    rows = book.rows()
    runs: dict[str, dict[str, dict[int, Row]]] = {}
    for name, method, seed, told in _runs(rows):
        runs.setdefault(name, {}).setdefault(method, {})[seed] = told
    lines = []
    for name, methods in runs.items():
        for method in METHODS:
            each = methods.get(method, {})
            if not each:
                continue
            whole = methods.get(ALL, {})
            seeds = sorted(each.keys() & whole.keys())
            lines.append(
                [
                    name,
                    method,
                    f"{next(iter(each.values()))['trained']:,}",
                    f"{np.mean([one['accuracy'] for one in each.values()]):.4f} (n {len(each)})",
                    ""
                    if method == ALL or not seeds
                    else climb_told.interval(
                        [100 * (each[seed]["accuracy"] - whole[seed]["accuracy"]) for seed in seeds]
                    ),
                    f"{np.median([one['step_s'] for one in each.values()]):.0f}",
                    f"{np.median([one['rows_per_s'] for one in each.values()]):.0f}",
                    f"{max(one['peak_mb'] for one in each.values()):,.0f}",
                    f"{next(iter(each.values()))['bundle_bytes'] / 1e6:.2f}",
                ]
            )
    titles = (
        "data set",
        "method",
        "trained numbers",
        "test accuracy (seeds)",
        "points over all weights (95 %)",
        "s of the step",
        "rows/s",
        "peak memory MB",
        "cached bundle MB",
    )
    body = [record.markdown(titles, lines)] if lines else []
    for told in (row["values"] for row in rows if "ways" in row["values"]):
        weights = (
            "bit-equal"
            if told["equal"]
            else f"at most {told['apart']:.1e} apart, of weights up to {told['largest']:.1f}"
        )
        body.append(
            f"{told['data']}, last 2 blocks with kept activations against without: weights {weights}; {told['faster']:.1f}× the rows/s "
            f"with filling the cache counted, {told['loop_faster']:.1f}× in the loop alone."
        )
    return "\n\n".join([*body, record.made(rows)]) if body else record.NOTHING


def _runs(rows: list[Row]) -> Iterator[tuple[str, str, int, Row]]:
    """(data set, method, seed, what was told) of every run."""
    for row in rows:
        told = row["values"]
        if "method" in told:
            yield told["data"], told["method"], row["seed"], told
        for method, way in told.get("ways", {}).items():
            yield told["data"], method, row["seed"], way
