"""Follows a plan: folds its steps, reuses every cached prefix, and runs the rest in one child process.

A child that is killed or runs out of memory is an event to handle, not the end of the build.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sartor import bundle as bundles
from sartor import forkserver, leaves
from sartor.bundle import Bundle
from sartor.child import Stop
from sartor.data import store
from sartor.data.dataset import Dataset, Examples, Rows, Splits
from sartor.data.split import answerable
from sartor.data.target import examples as examples_of
from sartor.errors import SartorError
from sartor.events import Events, event, silent
from sartor.plan import Move, Plan, keys

MOST_ATTEMPTS = 3  # of a child that is killed
GRACE_S = 30.0  # for a child that was told to stop: it ends a training step and writes a checkpoint


@dataclass
class Context:
    """What a step may use."""

    dataset: Dataset
    splits: Splits
    inputs: list[dict[str, str]]
    targets: dict[str, str]  # target column -> task
    seed: int
    folder: Path = Path()  # where the step writes its bundle
    checkpoints: Path = Path()
    events: Events = silent
    pieces: int = 1  # that a batch is done in, where a whole one was too much for the memory
    stop: Stop = field(default_factory=Stop)
    backbone: dict[str, Any] = field(default_factory=dict)  # of the bundle that the step begins with
    runtime: str = ""  # that its graphs are for, where it has such
    members: list[Path] = field(default_factory=list)  # bundles of the plans that the step takes
    ends: float = math.inf  # by `time.monotonic`, when the process is ended
    notes: dict[str, Any] = field(default_factory=dict)
    _examples: dict[str, Examples] = field(default_factory=dict)

    def examples(self, split: str) -> Examples:
        """The examples of a split, each with every target."""
        if split not in self._examples:
            rows = np.asarray(getattr(self.splits, split))
            made = examples_of(self.dataset, rows, self.targets, group=self.splits.group)
            self._examples[split] = self._of_inputs(made)
        return self._examples[split]

    def _of_inputs(self, made: Examples) -> Examples:
        """With the inputs that this plan is about; where these are some of all, the examples that can be answered by them."""
        columns = [column["name"] for column in self.inputs]
        if not isinstance(made.inputs, Rows) or tuple(columns) == made.inputs.columns:
            return made
        rows = Rows(self.dataset.table, columns, made.inputs.numbers)
        return replace(made, inputs=rows)[np.flatnonzero(answerable(rows, self.inputs))]

    def left_s(self) -> float:
        """Seconds until the process is ended, for this step and those after it."""
        return self.ends - time.monotonic()

    def note(self, **facts: Any) -> None:
        """Facts about the step for the journal and the report."""
        self.notes.update(facts)

    def progress(self, stage: str, *, done: int, total: int, unit: str) -> None:
        """Says how far the step is."""
        self.events(event("progress", stage=stage, done=done, total=total, unit=unit))


def follow(
    plan: Plan,
    *,
    data: Path,
    cache: Path,
    made_of: dict[str, Any],
    threads: int,
    events: Events = silent,
    timeout_s: float | None = None,
) -> Bundle:
    """The bundle that a plan makes.

    data: the folder of `sartor.data.store`. cache: bundles by key, and the checkpoints of unfinished steps. timeout_s: of everything, the plans
    that its steps take included.
    Raises: InputError `plan.forms`; SartorError `plan.step-failed` when the child ended without its bundle.
    """
    plan.check()
    began = time.monotonic()

    def left_s() -> float | None:
        return None if timeout_s is None else max(0.0, timeout_s - (time.monotonic() - began))

    names = keys(plan, made_of=made_of)

    def made() -> int:
        """How many steps are done."""
        return max((number for number, name in enumerate(names, start=1) if bundles.whole(cache / name)), default=0)

    done = made()
    if done == len(names):
        events(event("step", plan=plan.name, step=plan.moves[-1].step, status="cached"))
        return bundles.load(cache / names[-1])
    members = [
        [str(path) for path in _members(move, data, cache, made_of, threads, events, left_s)] if place >= done else []
        for place, move in enumerate(plan.moves)
    ]
    job = {
        "plan": plan.as_dict(),
        "keys": names,
        "data": str(data),
        "cache": str(cache),
        "threads": threads,
        "seed": made_of["seed"],
        "inputs": made_of["inputs"],
        "targets": made_of["targets"],
        "members": members,
    }
    cache.mkdir(parents=True, exist_ok=True)
    bundles.sweep(cache)
    pieces = 1
    for attempt in range(1, MOST_ATTEMPTS + 1):
        code, last = _run_child(job | {"pieces": pieces, "first": made()}, cache, events, left_s())
        if code >= 0 or attempt == MOST_ATTEMPTS or left_s() == 0 or made() == len(names):
            break
        # Killed from outside, by the kernel for its memory perhaps: the step that was at work once more, from its last checkpoint, with
        # smaller batches that have the same gradient, but for batch norm.
        pieces *= 2
        message = f"{plan.name}: {_why(code, cache)}; once more, each batch in {pieces} pieces"
        events(event("log", level="error", code="plan.step-failed", message=message))
    if not bundles.whole(cache / names[-1]):
        step = plan.moves[min(last, len(plan.moves) - 1)].step
        raise SartorError("plan.step-failed", step=step, plan=plan.name, why=_why(code, cache))
    return bundles.load(cache / names[-1])


def _members(
    move: Move,
    data: Path,
    cache: Path,
    made_of: dict[str, Any],
    threads: int,
    events: Events,
    left_s: Callable[[], float | None],
) -> list[Path]:
    """The bundles of the plans that a step takes, each of some of the inputs, made where the cache has them not.

    left_s: seconds, of which each plan has what those before it left.
    """
    found = []
    for names, member in move.members():
        inputs = [column for column in made_of["inputs"] if column["name"] in names]
        made = follow(
            member,
            data=data,
            cache=cache,
            made_of=made_of | {"inputs": inputs},
            threads=threads,
            events=events,
            timeout_s=left_s(),
        )
        found.append(made.path)
    return found


def run_steps(job: dict[str, Any], events: Events, stop: Stop | None = None) -> None:
    """The child's work: every step from `first` on, each prefix written whole into the cache."""
    import torch

    ends = math.inf if job.get("time_s") is None else time.monotonic() + job["time_s"]
    dataset, splits = store.load(Path(job["data"]))
    plan, cache = Plan.from_dict(job["plan"]), Path(job["cache"])
    ctx = Context(
        dataset,
        splits,
        job["inputs"],
        job["targets"],
        job["seed"],
        events=events,
        pieces=job.get("pieces", 1),
        stop=stop or Stop(),
        ends=ends,
    )
    before = bundles.load(cache / job["keys"][job["first"] - 1]) if job["first"] else None
    for name in job["keys"][: job["first"]]:  # of a child that was killed when it had just made one
        _tidy(cache, name)
    members = job.get("members") or [[] for _ in plan.moves]
    for move, name, made in list(zip(plan.moves, job["keys"], members, strict=True))[job["first"] :]:
        step = leaves.load("step", move.step)
        events(event("step", plan=plan.name, step=move.step, status="start"))
        began = time.monotonic()
        # So that what a step draws does not depend on which of the steps before it ran in this process.
        torch.manual_seed(job["seed"])
        ctx.notes, ctx.backbone = {}, before.meta["backbone"] if before else {}
        ctx.runtime = before.meta.get("runtime", {}).get("name", "") if before else ""
        ctx.members = [Path(path) for path in made]
        ctx.checkpoints = cache / f"{name}.checkpoints"
        with bundles.writing(cache / name) as ctx.folder:
            changes = step.run(before, ctx, **step.resolve(dict(move.arguments), ctx))
            meta = _meta(before, changes, job)
            if before is not None:
                _inherit(before, ctx.folder, meta)
            bundles.write_json(ctx.folder / "bundle.json", meta)
            seconds = time.monotonic() - began
            bundles.write_json(
                ctx.folder / "step.json", {"move": move.as_dict(), "seconds": seconds, "notes": ctx.notes}
            )
        _tidy(cache, name)
        events(event("step", plan=plan.name, step=move.step, status="done", seconds=round(seconds, 2)))
        before = bundles.load(cache / name, check=False)


def _tidy(cache: Path, name: str) -> None:
    """Removes what a step that is made had kept to go on with."""
    for kind in ("checkpoints", "taught"):
        shutil.rmtree(cache / f"{name}.{kind}", ignore_errors=True)


def child_main(job_file: str) -> int:
    """Entry of the child process: events go to standard output, one JSON object a line."""
    import torch

    stop = Stop()
    stop.listen()
    # Asked for by CUDA's products, to sum in the same order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    torch.set_deterministic_debug_mode(
        "error"
    )  # as `use_deterministic_algorithms`, which opens all of torch's compiler
    # Every tensor here is written before it is read; filling it with NaN first cost a tenth of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # The loop's own threads are enough, and a pool that forks warns on every build.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    def emit(item: dict[str, Any]) -> None:
        print(json.dumps(item, ensure_ascii=False, default=str), flush=True)

    try:
        run_steps(job, emit, stop)
    except SartorError as error:
        emit(event("log", level="error", code=error.code, message=str(error)))
        return error.exit_code
    return 0


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what a step computes."""
    found = {}
    for name in (
        "torch",
        "transformers",
        "tokenizers",
        "peft",
        "optuna",
        "onnx",
        "onnxruntime",
        "openvino",
        "scikit-learn",
        "scipy",
        "numpy",
        "pillow",
        "soundfile",
        "safetensors",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _run_child(job: dict[str, Any], cache: Path, events: Events, timeout_s: float | None) -> tuple[int, int]:
    """Runs the child and passes its events on; returns its exit code and the number of the last step that began."""
    began = time.monotonic()
    file = cache / f"{job['keys'][-1]}.job.json"
    bundles.write_json(file, job | {"time_s": timeout_s})
    last = int(job["first"])
    listen: Callable[[dict[str, Any]], None] = events
    with (cache / f"{job['keys'][-1]}.stderr").open("wb") as errors:
        # Threads that spin long at every barrier lose a time slice each time another process wants the core: beside one
        # such on two cores, training fell below 10 rows/s. Spinning for some 10 µs costs 6 % of the speed on a quiet machine.
        environment = {"GOMP_SPINCOUNT": "10000", **os.environ}
        child, watchdog = None, None
        try:
            child = forkserver.start(
                file, opens=_opens(job), errors=errors, environment=environment, timeout_s=timeout_s
            )
            assert child.stdout is not None
            # A child that says nothing must end too.
            if timeout_s is not None:
                watchdog = threading.Timer(max(0.0, timeout_s - (time.monotonic() - began)), child.kill)
                watchdog.start()
            for line in child.stdout:
                try:
                    item = json.loads(line)
                except ValueError:
                    continue  # a library's own print
                if item.get("event") == "step" and item.get("status") == "start":
                    last += 1
                listen(item)
            return child.wait(), max(0, last - 1)
        except BaseException:
            if child is not None:
                child.terminate()
                try:
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(GRACE_S)
                finally:  # a second signal, or too long
                    child.kill()
                    child.wait()
            raise
        finally:
            if watchdog is not None:
                watchdog.cancel()
            file.unlink(missing_ok=True)


def _opens(job: Mapping[str, Any]) -> list[str]:
    """The modules that the bodies of a job's steps are made with."""
    moves = job["plan"]["steps"]
    bodies = {str(one["arguments"].get("leaf", "hub")) for one in moves if "backbone" in one.get("arguments", {})}
    return sorted({name for body in bodies for name in getattr(leaves.load("backbone", body), "OPENS", ())})


def _why(code: int, cache: Path) -> str:
    newest = max(cache.glob("*.stderr"), key=lambda path: path.stat().st_mtime, default=None)
    lines = newest.read_text(encoding="utf-8", errors="replace").strip().splitlines() if newest else []
    said = lines[-1] if lines else "it said nothing"
    if code < 0:
        return f"it was killed by signal {-code} (the time that was left, or memory, ran out)"
    return f"exit {code}, {said}"


def _meta(before: Bundle | None, changes: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    meta = {"schema": bundles.SCHEMA, "threads": job["threads"]} if before is None else dict(before.meta)
    return meta | changes


def _inherit(before: Bundle, folder: Path, meta: Mapping[str, Any]) -> None:
    """Carries over what the step did not write anew; graphs that it replaced stay behind, and an adapter that is part of the weights now."""
    runtime = [name for name in before.manifest["files"] if name.startswith("runtime/")]
    merged = [] if "adapter" in meta["backbone"] else ["adapter.safetensors"]
    bundles.link(before, folder, leave=["bundle.json", "step.json", *runtime, *merged])
