"""Killed ten or a hundred times, a build ends with the same bits: an undisturbed build against one that dies at random instants.

Both follow the same plan with caches of their own. Instants are drawn over the timeline of the undisturbed build and hit by
what the build itself tells in events.jsonl, so "while it trains" is a fact and not a guess. `python -m bench.kill`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import record
from bench.record import Row
from sartor import bundle as bundles
from sartor.display import clock

KILLS, IN_TRAINING = (10, 100), 4
GRACE_S = 30.0  # what a kill may cost beside a start: a checkpoint every 15 s, and room
TRAINING = "train"
LATEST = 0.97  # of the timeline: later instants would often find the build already over
FILES = ("model.safetensors", "runtime/onnx/model.onnx")

COLUMNS = {
    "rows, epochs": lambda v: f"{v['rows']:,}, {v['epochs']}",
    "kills (in training)": lambda v: f"{len(v['kills'])} ({sum(one['stage'] == TRAINING for one in v['kills'])})",
    "undisturbed": lambda v: clock(v["undisturbed_s"]),
    "start": lambda v: f"{v['start_s']:.1f} s",
    "killed": lambda v: clock(v["killed_s"]),
    "allowed": lambda v: clock(v["allowed_s"]),
    "weights": lambda v: "bit-equal" if v["bit_equal"] else "DIFFERENT",
    "holds": lambda v: "yes" if v["holds"] else "NO",
}


def main() -> None:
    """Runs what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.kill", description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, default=record.ROOT / "examples" / "support" / "support.csv")
    parser.add_argument("--rows", type=int, default=1200, help="of the file; another number is kept apart")
    parser.add_argument("--epochs", type=int, default=16, help="another number is kept apart")
    parser.add_argument("--kills", type=int, default=KILLS[0], help=f"another number than {KILLS} is kept apart")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--out", type=Path, default=record.OUT / "kill")
    given = parser.parse_args()
    usual = (parser.get_default("rows"), parser.get_default("epochs"))
    short = (given.rows, given.epochs) != usual or given.kills not in KILLS
    book = record.book("kill", __file__, *record.SERVER, columns=COLUMNS, short=short)
    case = f"{given.csv.stem}, {given.rows} rows, {given.epochs} epochs, {given.kills} kills"
    row = book.once(case, given.seed, lambda: compare(given, given.out / book.code[:12]))
    print(json.dumps(row["values"], ensure_ascii=False, indent=1))
    print(book.publish(_page))
    if not row["values"]["holds"]:
        raise SystemExit("bench.kill: it does not hold")


def compare(given: argparse.Namespace, out: Path) -> Row:
    """Builds undisturbed, then again in another folder with kills, and compares."""
    shutil.rmtree(out, ignore_errors=True)  # an interrupted comparison is no measurement: its clock stood still
    out.mkdir(parents=True)
    os.environ["SARTOR_STATE"] = str(out / "state")  # not the user's own looks
    data = _slice(given.csv, out / "rows.csv", given.rows)
    plan = _plan(out / "plan.json", given.epochs)
    build = Build(data, plan, out / "undisturbed")
    print("undisturbed", flush=True)
    began = time.monotonic()
    timeline = list(build.watch())
    undisturbed_s = time.monotonic() - began
    start_s = next(mark.at_s for mark in timeline if mark.step)
    instants = draw(timeline, undisturbed_s, random.Random(given.seed), kills=given.kills)
    print(f"{undisturbed_s:.1f} s; start {start_s:.1f} s", flush=True)

    build = Build(data, plan, out / "killed", order=list(dict.fromkeys(mark.stage for mark in timeline)))
    kills: list[Row] = []
    killed_s = 0.0
    for instant in instants:
        hit = build.kill(instant)
        took_up = _took_up(build.fresh_events())
        if kills:
            kills[-1]["then"] = took_up
        if hit is None:
            break  # it ended before its kill: the count below tells
        killed_s += hit["alive_s"]
        kills.append(hit)
        print(json.dumps(hit | {"took_up": took_up}, ensure_ascii=False), flush=True)
    began = time.monotonic()
    list(build.watch())
    last_s = time.monotonic() - began
    killed_s += last_s
    if kills and "then" not in kills[-1]:
        kills[-1]["then"] = _took_up(build.fresh_events())
    allowed_s = undisturbed_s + given.kills * (start_s + GRACE_S)
    sums = [{name: bundles.sha256(folder / name) for name in FILES} for folder in (out / "undisturbed", out / "killed")]
    wanted_training = min(IN_TRAINING, given.kills)
    found = {
        "rows": given.rows,
        "epochs": given.epochs,
        "undisturbed_s": undisturbed_s,
        "start_s": start_s,
        "killed_s": killed_s,
        "allowed_s": allowed_s,
        "kills": kills,
        "last_start_s": last_s,
        "bit_equal": sums[0] == sums[1],
        "sha256": sums,
        "restarts_told": json.loads((out / "killed" / "report.json").read_text(encoding="utf-8"))["time"]["restarts"],
        "orphans": sum(one["orphans"] for one in kills),
    }
    found["holds"] = (
        found["bit_equal"]
        and killed_s <= allowed_s
        and len(kills) == given.kills
        and sum(one["stage"] == TRAINING for one in kills) >= wanted_training
        and not found["orphans"]
    )
    return found


@dataclass(frozen=True)
class Mark:
    """Where a build has come to. stage: `start`, a stage of the line, or a step. done: share of the rows, while training."""

    stage: str
    at_s: float  # since this start of the build
    done: float = 0.0
    step: bool = False


@dataclass(frozen=True)
class Instant:
    """When to kill: so long after a stage was entered; while training, once this share of the rows is done."""

    stage: str
    after_s: float
    done: float = 0.0


class Build:
    """One build by the command line, started as often as needed, and what it tells while it runs."""

    def __init__(self, data: Path, plan: Path, out: Path, *, order: Sequence[str] = ()) -> None:
        """order: the stages as an undisturbed build enters them."""
        self.events, self.asked, self.order = out / "events.jsonl", 0, tuple(order)
        self.command = [sys.executable, "-m", "sartor.cli", "build", str(data), "--plan", str(plan), "--out", str(out)]

    def watch(self) -> Iterator[Mark]:
        """Starts it and yields every mark until it has ended by itself."""
        child = self._start()
        try:
            yield from self._marks(child)
            if child.wait() not in (0, 3, 4):
                raise SystemExit(f"bench.kill: the build ended with {child.returncode}")
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    def kill(self, instant: Instant) -> Row | None:
        """Starts it, kills its one process at an instant, and says what was hit; None when it ended before."""
        child = self._start()
        began = time.monotonic()
        marks = self._marks(child)
        last = next(marks)
        while not _reached(last, instant):
            passed = self.order.index(last.stage) > self.order.index(instant.stage)
            if passed and last.stage != "start":  # found finished: an earlier start came further than it was to
                break
            try:
                last = next(marks)
            except StopIteration:
                child.wait()
                return None
        due = time.monotonic() + (instant.after_s if instant.stage != TRAINING else min(1.0, instant.after_s))
        for mark in marks:  # a step that ends meanwhile is seen, so that the stage told is the stage hit
            last = mark
            if time.monotonic() >= due:
                break
        else:
            child.wait()
            return None
        children = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGKILL)
        child.wait()
        alive_s = time.monotonic() - began
        _, left = psutil.wait_procs(children, timeout=5)
        return {
            "stage": last.stage,
            "aimed_at": instant.stage,
            "alive_s": round(alive_s, 2),
            "rows_done": round(last.done, 4),
            "orphans": len(left),
        }

    def fresh_events(self) -> list[Row]:
        """What it told since this was last asked."""
        lines = self.events.read_bytes().splitlines() if self.events.exists() else []
        fresh, self.asked = lines[self.asked :], len(lines)
        return [item for line in fresh if (item := _parsed(line))]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _marks(self, child: subprocess.Popen[bytes]) -> Iterator[Mark]:
        """Marks as they happen, and the last one again and again in between, so that a watcher never sleeps past its instant."""
        began = time.monotonic()
        size = self.events.stat().st_size if self.events.exists() else 0
        last, rest = Mark("start", 0.0), b""
        yield last
        while True:
            over = child.poll() is not None  # asked before reading, so that the last lines are read too
            fresh = b""
            if self.events.exists():
                with self.events.open("rb") as file:
                    file.seek(size)
                    fresh = file.read()
            size += len(fresh)
            *lines, rest = (rest + fresh).split(b"\n")
            for line in lines:
                mark = _mark(_parsed(line), time.monotonic() - began, last)
                if mark is not None:
                    last = mark
                    yield last
            if over:
                return
            time.sleep(0.02)
            yield last


def draw(timeline: Sequence[Mark], total_s: float, rng: random.Random, *, kills: int = KILLS[0]) -> list[Instant]:
    """Instants spread at random over a timeline, in order, at least IN_TRAINING of them while it trains.

    Drawn uniformly over all of it, again and again until enough fall into training, so nothing else is favoured.
    """
    entered = [mark for place, mark in enumerate(timeline) if place == 0 or mark.stage != timeline[place - 1].stage]
    training = [mark for mark in timeline if mark.stage == TRAINING]
    assert training, "the plan does not train"

    def at(moment_s: float) -> Instant:
        stage = max((mark for mark in entered if mark.at_s <= moment_s), key=lambda mark: mark.at_s)
        if stage.stage != TRAINING:
            return Instant(stage.stage, moment_s - stage.at_s)
        seen = [mark.done for mark in training if mark.at_s <= moment_s]
        return Instant(TRAINING, rng.random(), max(seen))

    wanted = min(IN_TRAINING, kills)
    for _ in range(10_000):
        found = [at(moment) for moment in sorted(rng.uniform(0, LATEST * total_s) for _ in range(kills))]
        if sum(instant.stage == TRAINING for instant in found) >= wanted:
            return found
    raise SystemExit("bench.kill: training is too small a part of this build; give more --epochs")


def _reached(mark: Mark, instant: Instant) -> bool:
    return mark.stage == instant.stage and mark.done >= instant.done


def _mark(item: Row, at_s: float, last: Mark) -> Mark | None:
    """What an event says of where the build is; None when nothing."""
    if item.get("event") == "stage":
        return Mark(str(item["name"]), at_s)
    if item.get("event") == "step" and item.get("status") == "start":
        return Mark(str(item["step"]), at_s, step=True)
    if item.get("event") == "step" and item.get("status") in ("done", "cached") and item.get("step") == "quantise":
        return Mark("measure", at_s)
    if item.get("event") == "progress" and last.stage == TRAINING and item.get("unit") == "rows":
        return Mark(TRAINING, at_s, item["done"] / max(1, item["total"]))
    return None


def _parsed(line: bytes) -> Row:
    try:
        return json.loads(line)  # type: ignore[no-any-return]
    except ValueError:
        return {}


def _took_up(items: Sequence[Row]) -> str:
    """What a start took up, in words from its own events."""
    for item in items:
        if item["event"] == "step" and item.get("status") == "resumed":
            return f"resumed {item['step']} from {item['checkpoint']} ({item['done']} of {item['total']} steps)"
    for item in items:
        if item["event"] == "step" and item.get("status") in ("start", "cached"):
            return f"{'began' if item['status'] == 'start' else 'found cached'}: {item['step']}"
    return "got no further than " + str(
        next((item["name"] for item in reversed(items) if item["event"] == "stage"), "its start")
    )


def _page(book: record.Book) -> str:
    """The table, and every kill of the row with the fewest."""
    rows = book.rows()
    if not rows:
        return book.table()
    kills = min((row["values"]["kills"] for row in rows), key=len)
    lines = [
        [
            str(number),
            one["stage"] + (f", {one['rows_done']:.0%} of the rows" if one["stage"] == TRAINING else ""),
            f"{one['alive_s']:.1f} s",
            one.get("then", ""),
        ]
        for number, one in enumerate(kills, start=1)
    ]
    return book.table() + "\n\n" + record.markdown(["kill", "hit", "after its start", "the next start"], lines)


def _slice(source: Path, target: Path, rows: int) -> Path:
    with source.open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines[:rows]])
    return target


def _plan(target: Path, epochs: int) -> Path:
    """A fine-tuning plan that does not stop early, so that its length is known."""
    steps: list[dict[str, Any]] = [
        {"step": "start", "arguments": {"backbone": "minilm", "leaf": "hub"}},
        {"step": "fit", "arguments": {}},
        {"step": TRAINING, "arguments": {"epochs": epochs, "patience": epochs}},
        {"step": "export", "arguments": {"runtime": "onnx"}},
        {"step": "quantise", "arguments": {"precision": "float32"}},
    ]
    target.write_text(json.dumps({"name": "minilm tuned", "reason": "", "steps": steps}), encoding="utf-8")
    return target


if __name__ == "__main__":
    main()
