"""The planner against an exhaustive search over its own candidates: six contracts from trivial to impossible, on two data sets.

Every candidate that `sartor plan` names is built alone, judged on the test rows, and held against every contract afterwards: the best possible search is one
that knew which candidate to make. Its time is that of the whole build of this one from nothing, reading and judging included, as the planner's is: what
candidates share is made once, and its seconds are added to each.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import climb_build, climb_data, climb_told, record
from bench.climb_build import Builder
from bench.record import Book, Row
from sartor.display import clock

NAME, TITLE = "climb-planner", "The planner's choice"
BUDGET, BUDGET_S = "15m", 900.0
SYSTEM = ("latency_p95 <= 10 ms", "size <= 40 MB")
WANTED_RATIO, WANTED_SHARE = 2.0, 0.6
# From trivial to impossible; the fifth asks for the best quality in the least size, the sixth for what nothing reaches.
CONTRACTS = {
    "sst2": (
        ("accuracy >= 0.6",),
        ("accuracy >= 0.8", "latency_p95 <= 5 ms"),
        ("accuracy >= 0.86", *SYSTEM),
        ("accuracy >= 0.87", *SYSTEM),
        ("accuracy >= 0.86", "size <= 10 MB"),
        ("accuracy >= 0.97", *SYSTEM),
    ),
    "banking77": (
        ("accuracy >= 0.5",),
        ("accuracy >= 0.85", "latency_p95 <= 5 ms"),
        ("accuracy >= 0.9", *SYSTEM),
        ("accuracy >= 0.92", *SYSTEM),
        ("accuracy >= 0.92", "size <= 10 MB"),
        ("accuracy >= 0.99", *SYSTEM),
    ),
}
# Met by everything, so that the build of one candidate ends when it is judged; as many as a contract has, so that its bounds are those that judging so many wants.
EASIEST = ("accuracy >= 0.001", "latency_p95 <= 10000 ms", "size <= 10000 MB")
WORDS = {0: "met", 3: "missed", 4: "unproven"}
BEST = (0, 4, 3)  # exits from the best verdict to the worst


@dataclass(frozen=True)
class Oracle:
    """What an exhaustive search finds of one contract. seconds: of the fastest candidate that meets it; None where none does."""

    exit: int
    name: str
    seconds: float | None
    tried: int


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_build.__file__))
    return record.book(NAME, __file__, *sources, *record.SERVER, columns={}, short=short)


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing: the planner's own builds first."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    builder = Builder(book)
    for name, contracts in CONTRACTS.items():
        data = climb_build.paths(climb_data.files(given.data, name, rows=given.rows))
        common = {"data": data, "budget": BUDGET}
        for number, contract in enumerate(contracts, start=1):
            case = f"{name}, contract {number}{suffix}"
            needs = common | {"needs": list(contract)}
            climb_told.say(book.once(case, 0, partial(planned, builder, case, needs, name)))
        case = f"{name}, candidates{suffix}"
        hardest = common | {"needs": list(contracts[-1])}
        listed = book.once(case, 0, partial(candidates, builder, case, hardest))["values"]["plans"]
        for candidate in listed:
            case = f"{name}, alone: {candidate['name']}{suffix}"
            easiest = {"data": data, "needs": list(EASIEST)}
            climb_told.say(book.once(case, 0, partial(alone, builder, case, easiest, candidate, name)))


def candidates(builder: Builder, case: str, needs: Row) -> Row:
    """What the planner would consider, in its order."""
    return {"plans": builder.candidates(case, needs)}


def planned(builder: Builder, case: str, needs: Row, name: str) -> Row:
    """A build that the planner leads."""
    _, told = builder.build(case, needs)
    return {
        "data": name,
        "contract": needs["needs"],
        "exit": told["exit"],
        "verdicts": {need["need"]: need["verdict"] for need in told["needs"]},
        "seconds": told["time"]["total_s"],
        "stages": told["time"]["stages"],
        "chosen": climb_build.chosen(told),
        "tried": sum(one["status"] == "measured" for one in told["candidates"]),
        "candidates": len(told["candidates"]),
        "reason": told["reason"],
    }


def alone(builder: Builder, case: str, needs: Row, candidate: Row, name: str) -> Row:
    """A build that follows one candidate's plan, without a budget."""
    plan = {part: candidate["plan"][part] for part in ("name", "reason", "steps")}
    bundle, told = builder.build(case, needs, plan=plan, cache=builder.folder(f"{name}, cache"))
    kept = ("accuracy", "latency_p95", "size")
    return {
        "data": name,
        "candidate": candidate["name"],
        "steps": [{"step": move["step"], "arguments": move["arguments"]} for move in plan["steps"]],
        "ran": climb_build.ran(bundle),
        "seconds": told["time"]["total_s"],
        "values": [value for measure, value in climb_build.values(told).items() if measure.split(".")[-1] in kept],
    }


def from_nothing_s(told: Row, singles: list[Row]) -> float:
    """Seconds of a candidate's build if nothing had been made before: its own, and those of its steps that another's build ran.

    singles: values of rows of `alone`, `told` among them.
    """
    known = {
        _prefix(one, place): one["ran"][move["step"]]
        for one in singles
        for place, move in enumerate(one["steps"])
        if move["step"] in one["ran"]
    }
    found = [
        known.get(_prefix(told, place), 0.0)
        for place, move in enumerate(told["steps"])
        if move["step"] not in told["ran"]
    ]
    return float(told["seconds"] + sum(found))


def _prefix(told: Row, place: int) -> str:
    return json.dumps(told["steps"][: place + 1], sort_keys=True)


def oracle(contract: tuple[str, ...], singles: list[Row]) -> Oracle:
    """Which verdict can be had at best, by which candidate, and how soon.

    singles: the values of rows of `alone`.
    """
    from sartor import needs as needing
    from sartor.report import Report, exit_code

    needs = needing.make(data="rows.csv", target=climb_data.LABEL, needs=list(contract))
    judged = [(exit_code(needing.verdicts(needs, Report.from_dict(told))), told) for told in singles]
    best = min((code for code, _ in judged), key=BEST.index)
    seconds, name = min((from_nothing_s(told, singles), told["candidate"]) for code, told in judged if code == best)
    return Oracle(best, name, seconds if best == 0 else None, len(judged))


def table(book: Book) -> str:
    """Contracts, with the verdict, the time and the choice of the planner and of the exhaustive search."""
    rows = book.rows()
    builds: dict[tuple[str, tuple[str, ...]], Row] = {}
    singles: dict[str, list[Row]] = {}
    for told in (row["values"] for row in rows):
        if "contract" in told:
            builds[told["data"], tuple(told["contract"])] = told
        elif "candidate" in told:
            singles.setdefault(told["data"], []).append(told)
    lines: list[list[str]] = []
    for (name, contract), told in builds.items():
        found = oracle(contract, singles[name]) if singles.get(name) else None
        lines.append(
            [
                name,
                "; ".join(f"`{need}`" for need in contract),
                WORDS[told["exit"]],
                f"{told['chosen']} ({told['tried']} of {told['candidates']} tried)",
                f"{clock(told['seconds'])} ({told['seconds'] / BUDGET_S:.0%} of the budget)",
                *_compared(told, found),
            ]
        )
    titles = (
        "data set",
        "asked",
        "verdict",
        "chosen",
        "time",
        "exhaustive: verdict",
        "its fastest candidate",
        "the planner took",
    )
    if not lines:
        return record.NOTHING
    counts = ", ".join(f"{len(each)} on {name}" for name, each in singles.items())
    return "\n\n".join(
        [
            record.markdown(titles, lines),
            f"Budget {BUDGET}. Candidates that were built alone: {counts or 'none'}.",
            record.made(rows),
        ]
    )


def _compared(told: Row, found: Oracle | None) -> list[Any]:
    if found is None:
        return ["", "", ""]
    same = "the same" if WORDS[found.exit] == WORDS[told["exit"]] else f"**{WORDS[found.exit]}**"
    if found.seconds is None:
        return [same, "", ""]
    ratio = f"{told['seconds'] / found.seconds:.2f}× its time" if told["exit"] == 0 else ""
    return [same, f"{found.name} in {clock(found.seconds)}", ratio]
