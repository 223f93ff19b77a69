"""Faults that are injected, and what must hold: each row with its trials, how many passed, and the worst figure.

The trials are tests of the suite, run here once more and counted by what they record: `trials` where one test injects many faults, `passed`
where some of them may fail, and `worst`, a figure. `python -m bench.faults`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import record
from bench.record import ROOT, Row


@dataclass(frozen=True)
class Fault:
    """A row of the table. tests: patterns of `file::test[parameter]` below tests/, without `.py`."""

    name: str
    injected: str
    holds: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "F1",
        "SIGKILL at an instant of a build, and at every operation of a save",
        "the same command ends with the same bits",
        (r"line/test_build::test_killed_at_any_instant", r"faults/test_crash_points::test_training_killed"),
    ),
    Fault(
        "F2",
        "a kill before, in the middle of and after every write, sync, rename and removal",
        "nothing is half there; the newest whole checkpoint is found",
        (r"faults/test_crash_points::",),
    ),
    Fault(
        "F3",
        "SIGTERM and Ctrl-C",
        "a checkpoint after the step, exit 143 or 130, no process left, the same bits",
        (
            r"line/test_build::test_sigterm",
            r"line/test_follow_builds::test_a_build_that_is_stopped",
            r"faults/test_bad_input::test_ctrl_c",
            r"line/test_serve::test_ctrl_c",
        ),
    ),
    Fault(
        "F4",
        "stopped many times, in one epoch and in later ones",
        "every row once in each epoch: losses and weights of an undisturbed run",
        (
            r"unit/test_loop::test_stopped_at_any_batch",
            r"unit/test_loop::test_stopped_before_and_after",
            r"unit/test_batch::",
        ),
    ),
    Fault("F5", "stopped with dropout", "the same random numbers", (r"unit/test_loop::test_random_numbers",)),
    Fault(
        "F6",
        "a bit, half, all or nothing of each file of a checkpoint",
        "never used; the one before is",
        (r"unit/test_loop::test_a_broken_checkpoint",),
    ),
    Fault(
        "F7",
        "a full disk, a folder that cannot be written",
        "said before the first step; a save that fails costs itself alone",
        (
            r"unit/test_loop::test_a_disk_",
            r"faults/test_bad_input::test_a_full_disk",
            r"unit/test_run::test_a_folder_that_cannot_be_written",
        ),
    ),
    Fault(
        "F8",
        "a kill between a save and the removal of older ones",
        "never without a whole checkpoint",
        (r"faults/test_crash_points::test_training_killed", r"unit/test_loop::test_what_a_kill_left"),
    ),
    Fault(
        "F9",
        "a loss that is NaN, once and for good",
        "no step with it, told in the log, back to the epoch; the model is finite",
        (r"unit/test_loop::test_a_loss_that_is_never", r"unit/test_loop::test_after_one_broken"),
    ),
    Fault(
        "F10",
        "rates a thousand times too high",
        "seen, gone back, lower rates, an honest end",
        (r"unit/test_loop::test_a_loss_that_diverges", r"unit/test_loop::test_stopped_before_and_after"),
    ),
    Fault(
        "F11",
        "memory that is too small for a batch, or for a row",
        "the same batch in pieces, told in the log; other errors pass through",
        (r"unit/test_loop::test_a_batch_that_does_not_fit", r"unit/test_loop::test_a_row_that_does_not_fit"),
    ),
    Fault(
        "F13",
        "the worker is killed, or hangs",
        "it goes on from its checkpoint, or ends with a message; no hang",
        (r"line/test_follow_builds::test_a_worker_that",),
    ),
    Fault(
        "F16",
        "no network at all",
        "a build works from what is here; what is missing is named",
        (r"faults/test_no_network::", r"line/test_backbones::test_offline"),
    ),
    Fault(
        "F18",
        "two builds with one folder or one cache",
        "the second is refused",
        (
            r"line/test_build::test_a_second_build",
            r"unit/test_run::test_a_cache_serves",
            r"unit/test_run::test_the_lock",
        ),
    ),
    Fault(
        "F20",
        "a need out of reach, too few test rows",
        "exit 3 or 4 with the best there is; never *met*",
        (
            r"line/test_build::test_an_unreachable",
            r"line/test_build::test_few_test_rows",
            r"line/test_build::test_the_same_file",
            r"line/test_build::test_test_rows_that_training_saw",
        ),
    ),
    Fault(
        "F21",
        "dirt of every kind, planted at known places",
        "found; rows that cannot be read are set aside and counted",
        (r"faults/test_audit_recall::test_planted", r"unit/test_read::"),
    ),
    Fault(
        "F22",
        "one seed twice, another seed, other rows in the batch",
        "the same bits; others; the same answers",
        (
            r"line/test_follow_builds::test_same_plan_and_seed",
            r"line/test_follow_builds::test_another_seed",
            r"line/test_follow_builds::test_answers_do_not_depend",
        ),
    ),
    Fault(
        "F23",
        "an import without torch, and one that is watched",
        "one clear line; no socket, no process, no file",
        (r"faults/test_source::test_importing", r"faults/test_source::test_nor_does", r"contract/test_leaves::.*torch"),
    ),
    Fault(
        "E1",
        "every family exported; empty, short and long inputs",
        "answers of the training side: 1e-4 in float, told in eight bits",
        (r"line/test_backbones::test_a_checkpoint_of_every_family", r"line/test_follow_builds::test_float_graphs"),
    ),
    Fault(
        "E2",
        "an eight-bit child that is no better than its parent",
        "not chosen, by measurement",
        (
            r"unit/test_front::test_int8",
            r"unit/test_front::test_the_float_and_the_int8",
            r"unit/test_front::test_among_those",
        ),
    ),
    Fault(
        "E3",
        "a kill while a bundle is written or placed",
        "whole or absent",
        (r"faults/test_crash_points::test_a_bundle", r"unit/test_bundle::test_interrupted"),
    ),
    Fault(
        "E4",
        "a byte changed, a file added, removed or renamed",
        "refused, and the file named",
        (r"unit/test_bundle::test_changed", r"faults/test_bad_input::test_any_bundle"),
    ),
    Fault(
        "E7",
        "outputs that are no numbers",
        "JSON all the same",
        (r"faults/test_bad_input::test_what_a_model_has_no_number_for",),
    ),
    Fault(
        "S1",
        "weights that would have to be unpickled",
        "refused, with what to do",
        (r"line/test_backbones::test_a_checkpoint_that_would", r"faults/test_bad_input::.*\[.*pickle"),
    ),
    Fault(
        "S2",
        "the source itself: pickle, eval, shells, code of others, asserts that guard",
        "none; and the check finds each of them",
        (
            r"faults/test_source::test_nothing_in",
            r"faults/test_source::test_the_check",
            r"faults/test_source::test_no_assert",
        ),
    ),
    Fault(
        "S3",
        "`auto_map` in a configuration and in a tokeniser's",
        "no module is imported",
        (r"faults/test_bad_input::.*\[.*code-of-its-own",),
    ),
    Fault(
        "S7",
        "headers of safetensors that lie",
        "refused by the header alone",
        (r"faults/test_source::test_hostile_weights",),
    ),
    Fault(
        "S10",
        "tags, aliases and depth in YAML and JSON",
        "refused, with line and column",
        (r"faults/test_bad_input::.*\[.*(Python-tag|alias|deep)", r"faults/test_bad_input::test_any_needs"),
    ),
    Fault(
        "S11",
        "markup, formulas, terminal escapes and paths in names, labels and columns",
        "shown and inert",
        (
            r"unit/test_page::test_what_users_typed",
            r"unit/test_fix::test_what_a_spreadsheet",
            r"unit/test_audit::test_findings_come",
            r"faults/test_bad_input::.*\[.*(escape|outside|zero-byte|control-character)",
        ),
    ),
    Fault(
        "bad input",
        "broken files, configurations and commands",
        "one message that says what, where and what to do; no traceback",
        (r"faults/test_bad_input::test_bad_input_gets", r"faults/test_bad_input::test_in_a_process"),
    ),
)
COLUMNS = {
    "": lambda v: v["case"],
    "injected": lambda v: v["injected"],
    "must hold": lambda v: v["holds"],
    "trials": lambda v: f"{v['trials']:,}",
    "passed": lambda v: f"{v['passed']:,}",
    "worst": lambda v: v["worst"] or "",
}


@dataclass(frozen=True)
class Outcome:
    """How one test ended. name: `file::test[parameter]` without `.py`."""

    name: str
    passed: bool
    trials: int
    good: int
    worst: str
    seconds: float


def main() -> None:
    """Runs the tests that have no rows yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[fault.name for fault in FAULTS], help="a row; repeatable")
    given = parser.parse_args()
    chosen = [fault for fault in FAULTS if given.only is None or fault.name in given.only]
    tests = sorted((ROOT / "tests").rglob("*.py"))
    commands = (ROOT / "sartor" / "cli.py", ROOT / "sartor" / "page.py", *record.SERVER)  # which no build is decided by
    book = record.book("faults", __file__, *tests, *commands, columns=COLUMNS, short=given.only is not None)
    known = {row["case"] for row in book.rows() if row["machine"] == record.machine()}
    missing = [fault for fault in chosen if fault.name not in known]
    outcomes = run({pattern.split("::")[0] for fault in missing for pattern in fault.tests}) if missing else []
    for fault in chosen:
        row = book.once(fault.name, 0, lambda fault=fault: summed(fault, outcomes))  # type: ignore[misc]
        print(f"{fault.name}: {row['values']['passed']:,} of {row['values']['trials']:,}", flush=True)
    print(book.publish())


def run(files: Iterable[str]) -> list[Outcome]:
    """Every test of these files, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={told}",
        ]
        began = time.monotonic()
        subprocess.run([*command, *(f"tests/{name}.py" for name in sorted(files))], cwd=ROOT, env=dict(os.environ))
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        return [_outcome(case) for case in ElementTree.parse(told).iter("testcase")]  # noqa: S314, written by the line above


def _outcome(case: ElementTree.Element) -> Outcome:
    noted = {one.get("name"): one.get("value") or "" for one in case.iter("property")}
    passed = not any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
    trials = int(noted.get("trials", 1))
    return Outcome(
        f"{str(case.get('classname')).removeprefix('tests.').replace('.', '/')}::{case.get('name')}",
        passed,
        trials,
        int(noted.get("passed", trials)) if passed else 0,
        noted.get("worst", ""),
        float(case.get("time", 0)),
    )


def summed(fault: Fault, outcomes: Sequence[Outcome]) -> Row:
    """One row of the table. Raises SystemExit where a pattern names no test: a row without trials proves nothing."""
    hits: dict[str, Outcome] = {}
    for pattern in fault.tests:
        found = {one.name: one for one in outcomes if re.match(pattern, one.name)}
        if not found:
            raise SystemExit(f"bench.faults: {fault.name}: no test is called {pattern!r}")
        hits |= found
    return {
        "case": fault.name,
        "injected": fault.injected,
        "holds": fault.holds,
        "tests": len(hits),
        "trials": sum(one.trials for one in hits.values()),
        "passed": sum(one.good for one in hits.values()),
        "worst": "; ".join(dict.fromkeys(one.worst for one in hits.values() if one.worst)),
        "failed": [one.name for one in hits.values() if not one.passed],
        "seconds": round(sum(one.seconds for one in hits.values()), 1),
    }


if __name__ == "__main__":
    main()
