"""Follows plans and judges what they make on the test rows, for `bench.cut`: what a step was given before is taken from a cache, as in a build.

Quality is that of the served graphs. Latency is that of single requests in this process, on as many threads as the peer beside it has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.record import Row
from sartor import bundle as bundles
from sartor import hardware, leaves
from sartor.data.target import examples as examples_of
from sartor.follow import follow
from sartor.plan import Move, Plan, keys
from sartor.predict import Predictor

TIMED, ROUNDS = 300, 5  # requests, of which the quietest of so many rounds counts
APART_S = 3.0  # between two rounds: what disturbs a shared machine lasts for seconds, and made 1.3 ms of .76
EXPORT = Move("export", {"runtime": "onnx"})
FLOAT, INT8 = (EXPORT, Move("quantise", {"precision": "float32"})), (EXPORT, Move("quantise", {"precision": "int8"}))


@dataclass(frozen=True)
class Maker:
    """What plans are followed on. data: the folder of `sartor.data.store`. targets: {column: task}, of which there is one."""

    dataset: Any
    splits: Any
    data: str
    inputs: tuple[tuple[str, str], ...]  # (column, kind)
    targets: Mapping[str, str]
    seed: int
    cache: Path

    @property
    def columns(self) -> list[str]:
        return [name for name, _ in self.inputs]

    def member(self, *moves: Move) -> dict[str, Any]:
        """A plan as a step takes it."""
        return {"inputs": self.columns, "plan": Plan("member", moves).as_dict()}

    def made_of(self) -> dict[str, Any]:
        """As of a build: what beside a plan decides what it makes."""
        inputs = [{"name": name, "kind": kind} for name, kind in self.inputs]
        return {"data": Path(self.data).name, "seed": self.seed, "inputs": inputs, "targets": dict(self.targets)}

    def bundle(self, moves: Sequence[Move]) -> bundles.Bundle:
        """What a plan makes."""
        return follow(
            Plan("measured", tuple(moves)),
            data=Path(self.data),
            cache=self.cache,
            made_of=self.made_of(),
            threads=hardware.cores(),
        )

    def measured(self, moves: Sequence[Move]) -> Row:
        """What it is worth on the test rows, how fast and how large it is, and what fewer bits changed."""
        made = self.bundle(moves)
        test = examples_of(self.dataset, self.splits.test, self.targets)
        [target] = self.targets
        predictor = Predictor(made, threads=hardware.cores())
        answers = predictor.predict(list(test.inputs))
        same = leaves.load("task", self.targets[target]).same
        right = [same(answer, {"label": label}) for answer, label in zip(answers, test.targets[target], strict=True)]
        names = keys(Plan("measured", tuple(moves)), made_of=self.made_of())
        steps = [json.loads((self.cache / name / "step.json").read_text(encoding="utf-8")) for name in names]
        return {
            "accuracy": sum(right) / len(right),
            "right": "".join("01"[one] for one in right),
            "mb": made.deployed_bytes() / 1e6,
            "steps": {step["move"]["step"]: step["seconds"] for step in steps},
            "notes": {step["move"]["step"]: record_notes(step["notes"]) for step in steps},
            "packed": self._packed(made, moves, names, answers, test, same, predictor),
            **timed(lambda row: predictor.predict([row]), [test.inputs[i] for i in spread(len(test), TIMED)]),
            "threads": hardware.cores(),
        }

    def _packed(
        self,
        made: bundles.Bundle,
        moves: Sequence[Move],
        names: Sequence[str],
        answers: Sequence[Row],
        test: Any,
        same: Any,
        predictor: Predictor,
    ) -> Row | None:
        """Flips against the float graph of the same plan, and answers that change when rows are answered one at a time."""
        if moves[-1].step != "quantise" or moves[-1].arguments.get("precision") == "float32":
            return None
        parent = Predictor(bundles.load(self.cache / names[-2], check=False), threads=hardware.cores())
        before = parent.predict(list(test.inputs))
        alone = [predictor.predict([row])[0] for row in test.inputs]
        return {
            "n": len(answers),
            "flips": sum(not same(one, other) for one, other in zip(answers, before, strict=True)),
            "alone": sum(not same(one, other) for one, other in zip(answers, alone, strict=True)),
            "invariant": bool(predictor.batch_invariant),
        }


def timed(answer: Callable[[Any], Any], requests: Sequence[Any]) -> Row:
    """{p50_ms, p95_ms, mean_ms} of single requests, of the round with the least median."""
    for request in requests[:30]:
        answer(request)
    rounds = []
    for number in range(ROUNDS):
        if number:
            time.sleep(APART_S)
            answer(requests[0])
        took = []
        for request in requests:
            began = time.perf_counter()
            answer(request)
            took.append(1e3 * (time.perf_counter() - began))
        rounds.append(took)
    best = min(rounds, key=lambda one: float(np.median(one)))
    return {
        "p50_ms": float(np.median(best)),
        "p95_ms": float(np.percentile(best, 95)),
        "mean_ms": float(np.mean(best)),
    }


def spread(count: int, most: int) -> list[int]:
    """At most so many places of so many."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()  # type: ignore[no-any-return]


def record_notes(notes: Row) -> Row:
    """Without what is long: a row of a benchmark holds figures."""
    return {name: value for name, value in notes.items() if len(json.dumps(value, default=str)) < 1_000}


def home(book: record.Book) -> Path:
    """Where the bundles of a book are kept: of its code as it stands, so that nothing of an older one is taken for it."""
    folder = record.OUT / "cut" / f"{book.name}-{book.code[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def by_case(rows: Sequence[Row], of: str) -> dict[str, dict[str, dict[int, Row]]]:
    """{data set: {what `of` says of a row: {seed: its values}}}."""
    runs: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        told = row["values"]
        if of in told:
            runs.setdefault(told["data"], {}).setdefault(told[of], {})[row["seed"]] = told
    return runs
