"""Follows plans, each a job of `bench.climb_process`, and judges what they make on the test rows: `python -m bench.climb_worker`.

The steps run in this very process, as in the child of a build; the clock is around them alone.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.climb_data import LABEL
from bench.record import Row


def main() -> None:
    """Answers jobs until there are no more."""
    import torch

    from sartor import hardware

    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    torch.set_num_threads(hardware.cores())
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=float), file=told, flush=True)


def run(job: Row) -> Row:
    """What a plan made. job: `data`, a folder of `sartor.data.store`; `plan`, as in plan.json; `seed`; and `keep`, a folder for the last bundle, if wanted."""
    import torch

    from sartor import bundle as bundles
    from sartor.follow import run_steps
    from sartor.predict import Predictor

    torch.manual_seed(job["seed"])
    keys = [f"{place}-{move['step']}" for place, move in enumerate(job["plan"]["steps"])]
    with TemporaryDirectory(dir=job.get("scratch")) as scratch, watched() as seen:
        cache = Path(job.get("keep") or scratch)
        began = time.perf_counter()
        run_steps(
            {
                "plan": job["plan"],
                "keys": keys,
                "first": 0,
                "data": job["data"],
                "cache": str(cache),
                "threads": torch.get_num_threads(),
                "seed": job["seed"],
                "inputs": [{"name": "text", "kind": "text"}],
                "targets": {LABEL: "classify"},
            },
            lambda item: None,
        )
        seconds = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        made = cache / keys[-1]
        steps = [json.loads((cache / key / "step.json").read_text(encoding="utf-8")) for key in keys]
        bundle = bundles.load(made)
        # What is trained and not exported yet is judged by torch.
        predictor = Predictor(
            bundle, threads=torch.get_num_threads(), runtime=None if bundle.form == "graphs" else "torch"
        )
        inputs, labels = _test(job["data"])
        answers = predictor.predict(inputs)
        right = [answer.get("label") == label for answer, label in zip(answers, labels, strict=True)]
        return {
            "accuracy": sum(right) / len(right),
            "right": "".join("01"[one] for one in right),
            "seconds": seconds,
            "steps": {step["move"]["step"]: step["seconds"] for step in steps},
            "notes": {step["move"]["step"]: _short(step["notes"]) for step in steps},
            "peak_mb": peak_mb,
            "bundle_bytes": sum(file.stat().st_size for file in made.rglob("*") if file.is_file()),
            "weights_bytes": sum(file.stat().st_size for file in made.glob("*.safetensors")),
            **seen,
        }


@contextmanager
def watched() -> Iterator[Row]:
    """Within, what the training loop does is seen: {trained: numbers that it may change, loop_s without validating, validate_s, rows: over all epochs}."""
    from sartor import loop

    seen: Row = {"trained": 0, "loop_s": 0.0, "validate_s": 0.0, "rows": 0}
    loop_train = loop.train

    def train(model: Any, objective: Any, lengths: Any, *, validate: Any = None, **rest: Any) -> Any:
        validating_s, rows = 0.0, 0

        def timed() -> Any:
            nonlocal validating_s
            began = time.perf_counter()
            scores = validate()
            validating_s += time.perf_counter() - began
            return scores

        def counted(positions: Any) -> Any:
            nonlocal rows
            rows += len(positions)
            return objective(positions)

        seen["trained"] = sum(one.numel() for one in model.parameters() if one.requires_grad)
        began = time.perf_counter()
        outcome = loop_train(model, counted, lengths, validate=None if validate is None else timed, **rest)
        seen["loop_s"] += time.perf_counter() - began - validating_s
        seen["validate_s"] += validating_s
        seen["rows"] += rows
        return outcome

    loop.train = train
    try:
        yield seen
    finally:
        loop.train = loop_train


def _test(folder: str) -> tuple[list[Row], list[str]]:
    from sartor import leaves
    from sartor.data import store

    dataset, splits = store.load(Path(folder))
    found = leaves.load("task", "classify").examples(dataset, splits.test, LABEL)
    return list(found.inputs), found.targets[LABEL]


def _short(notes: Row) -> Row:
    """Without what is long: a row of a benchmark holds figures."""
    return {name: value for name, value in notes.items() if len(json.dumps(value, default=str)) < 2_000}


if __name__ == "__main__":
    main()
