"""Few labels: eight rows of every class, tuned contrastively by our steps and by SetFit, on the same rows and from the same checkpoint.

Both run in processes that are warm, and take turns draw by draw. SetFit is taken at its defaults, which train on all pairs, where these are
not too many, and at twenty iterations, the setting of its paper (Tunstall et al. 2022, section 3); the one that answers better is the one that counts.
Nothing is held back for validation from so few rows, so that both learn from all of them.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import climb_data, climb_process, climb_told, climb_worker, record
from bench.climb_data import Ground
from bench.climb_process import Ended, Program
from bench.record import Book, Row
from sartor import hardware
from sartor.plan import Move, Plan

NAME, TITLE = "climb-few", "Few labels"
PEER = Path(__file__).with_name("setfit_peer.py")
SETS, EACH, DRAWS = ("sst2", "ag_news", "banking77"), 8, 10
# Without an export, as a peer has none: from the checkpoint on disk to a model that answers by torch.
PLAN = Plan("contrasted", (Move("start", {"backbone": "minilm", "leaf": "hub"}), Move("contrast", {}), Move("fit", {})))
OURS = "contrasted"
SETFIT: dict[str, dict[str, Any]] = {
    "SetFit, all pairs": {"batch_size": 16, "num_epochs": 1, "body_learning_rate": 2e-5},
    "SetFit, 20 iterations": {"batch_size": 16, "num_epochs": 1, "body_learning_rate": 2e-5, "num_iterations": 20},
}
ALL_PAIRS = "SetFit, all pairs"
BOUNDED = {"SetFit, 500 steps": SETFIT["SetFit, all pairs"] | {"max_steps": 500}}  # as one would bound it by hand
MOST_PAIRS = 20_000  # of one draw: banking77 has 374,528, an hour of training for each of ten draws
MANY_OF, MANY = "banking77", 10_000
LIMIT_S, LIMIT_MB = 1200.0, 16_000.0  # of a peer with many rows
WANTED_RATIO = 3.0


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_process.__file__, climb_worker.__file__, PEER))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone())


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    model = climb_data.minilm()
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        place = Path(folder)

        def ours(ground: Ground, seed: int, name: str) -> Row:
            return {"data": ground.stored(place / name), "plan": PLAN.as_dict(), "seed": seed, "scratch": folder}

        def theirs(ground: Ground, seed: int, system: str) -> Row:
            rows = {part: ground.rows(part) for part in ("train", "test")}
            return rows | {"model": model, "seed": seed, "settings": (SETFIT | BOUNDED)[system]}

        grounds = {name: climb_data.read(climb_data.files(given.data, name, rows=given.rows)) for name in SETS}
        warming = grounds["sst2"].few(2, DRAWS).briefly(32)
        speeds = partial(
            precisions,
            theirs(grounds["sst2"].few(EACH, DRAWS).briefly(32), 0, "SetFit, 20 iterations"),
            given.setfit,
        )
        warm = {"ours": ours(warming, 0, "warming"), "theirs": theirs(warming, 0, ALL_PAIRS)}
        fastest = {"ACCELERATE_MIXED_PRECISION": book.once(f"precision{suffix}", 0, speeds)["values"]["fastest"]}
        with (
            Program(climb_data.WORKER, warm=warm["ours"]) as worker,
            Program([given.setfit, PEER], warm=warm["theirs"], environment=fastest) as peer,
        ):
            for name, ground in grounds.items():
                for draw in range(given.draws or DRAWS):
                    few = ground.few(EACH, draw)
                    for system in (OURS, *SETFIT):
                        pairs = _pairs(few)
                        if system == ALL_PAIRS and pairs > MOST_PAIRS:
                            continue

                        def work(few: Ground = few, draw: int = draw, system: str = system, name: str = name) -> Row:
                            told = (
                                worker.ask(ours(few, draw, f"{name}-{draw}"))
                                if system == OURS
                                else peer.ask(theirs(few, draw, system))
                            )
                            return {"data": name, "system": system, "train_rows": len(few.splits.train)} | told

                        climb_told.say(book.once(f"{name}, {system}{suffix}", draw, work))
        many = grounds[MANY_OF].many(given.rows or MANY)
        for system, job in (
            (OURS, lambda: ours(many, 0, "many")),
            *((name, partial(theirs, many, 0, name)) for name in (*SETFIT, *BOUNDED)),
        ):
            command = climb_data.WORKER if system == OURS else [given.setfit, PEER]
            environment = {} if system == OURS else fastest

            def work(
                system: str = system, job: Any = job, command: Any = command, environment: Any = environment
            ) -> Row:
                facts = {"data": MANY_OF, "system": system, "many": len(many.splits.train)}
                try:
                    told = climb_process.once(
                        command, job(), environment=environment, limit_s=LIMIT_S, limit_mb=LIMIT_MB
                    )
                except Ended as ended:
                    if system == OURS:
                        raise
                    told = {"ended": str(ended)}
                return facts | told

            climb_told.say(book.once(f"{MANY_OF}, {MANY:,} rows, {system}{suffix}", 0, work))


def precisions(job: Row, python: str) -> Row:
    """At which precision the peer trains faster, where the processor has both."""
    took = {}
    for precision in ("no", "bf16") if hardware.has_bf16() else ("no",):
        environment = {"ACCELERATE_MIXED_PRECISION": precision}
        with Program([python, PEER], warm=job, environment=environment) as peer:
            took[precision] = peer.ask(job)["seconds"]
    return {"seconds": took, "fastest": min(took, key=lambda name: took[name])}


def table(book: Book) -> str:
    """Accuracy and time by data set, with differences in pairs of one draw each; then many rows."""
    rows = book.rows()
    runs: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        if "train_rows" in row["values"]:
            told = row["values"]
            runs.setdefault(told["data"], {}).setdefault(told["system"], {})[row["seed"]] = told
    lines, body = [], []
    for name, systems in runs.items():
        ours = systems.get(OURS, {})
        for system, each in systems.items():
            draws = sorted(each.keys() & ours.keys())
            if not draws:
                continue
            difference = [100 * (ours[draw]["accuracy"] - each[draw]["accuracy"]) for draw in draws]
            ratio = float(np.median([each[draw]["seconds"] / ours[draw]["seconds"] for draw in draws]))
            lines.append(
                [
                    name,
                    system,
                    str(len(draws)),
                    f"{each[draws[0]]['train_rows']}",
                    f"{np.mean([each[draw]['accuracy'] for draw in draws]):.4f}",
                    f"{np.median([each[draw]['seconds'] for draw in draws]):.1f}",
                    *(["", ""] if system == OURS else [climb_told.interval(difference), f"{ratio:.1f}×"]),
                ]
            )
    if lines:
        titles = (
            "data set",
            "system",
            "draws",
            "rows",
            "mean accuracy",
            "median s",
            "ours is better by points (95 %)",
            "ours is faster by (median)",
        )
        precision = next((row["values"] for row in rows if "fastest" in row["values"]), None)
        told = {"no": "float32", "bf16": "bfloat16"}
        chosen = f" SetFit trains in {told[precision['fastest']]}, the faster one here." if precision else ""
        body += [
            f"{EACH} rows of every class; the whole test file judges. Times are from the checkpoint on disk to a model that answers, in a warm process.{chosen}",
            record.markdown(titles, lines),
        ]
    many = [row["values"] for row in rows if "many" in row["values"]]
    if many:
        titles = ("rows", "system", "time", "peak memory MB", "test accuracy")
        body += [
            f"Many rows ({MANY_OF}); a peer is ended after {LIMIT_S / 60:.0f} minutes or at {LIMIT_MB:,.0f} MB:",
            record.markdown(titles, [_many(told) for told in many]),
        ]
    return "\n\n".join([*body, record.made(rows)]) if body else record.NOTHING


def _many(told: Row) -> list[str]:
    head = [f"{told['many']:,}", told["system"]]
    if "ended" in told:
        return [*head, told["ended"], "", ""]
    return [*head, f"{told['seconds']:.0f} s", f"{told['peak_mb']:,.0f}", f"{told['accuracy']:.4f}"]


def _pairs(ground: Ground) -> int:
    """That SetFit trains on by default: every pair of one class or every pair of two, whichever are more, and as many of the others."""
    labels = np.array(ground.rows("train")["label"])
    sizes = np.unique(labels, return_counts=True)[1].tolist()
    alike = sum(size * (size + 1) // 2 for size in sizes)
    apart = sum(one * other for one, other in combinations(sizes, 2))
    return 2 * max(alike, apart)
