"""Two targets at once: one bundle against two of one target each, by the same steps on the same rows: quality, size, latency."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import climb_build, climb_data, climb_told, record
from bench.climb_build import Builder
from bench.record import Book, Row
from sartor.display import clock
from sartor.plan import Move, Plan

NAME, TITLE = "climb-targets", "Two targets at once"
BUDGET = "15m"
SYSTEM = ("latency_p95 <= 10 ms", "size <= 40 MB")
PLAN = Plan(
    "tuned, int8",
    (
        Move("start", {"backbone": "minilm", "leaf": "hub"}),
        Move("fit", {}),
        Move("train", {}),
        Move("export", {"runtime": "onnx"}),
        Move("quantise", {"precision": "int8"}),
    ),
)
# data set: (inputs, {target: (task, its measure, the need on it)})
CASES: dict[str, tuple[list[str], dict[str, tuple[str, str, str]]]] = {
    "fashion_products": (
        ["productDisplayName"],
        {
            "subCategory": ("classify", "accuracy", "subCategory.accuracy >= 0.93"),
            "season": ("classify", "accuracy", "season.accuracy >= 0.75"),
        },
    ),
    "sick": (
        ["sentence_A", "sentence_B"],
        {
            "entailment_judgment": ("classify", "accuracy", "entailment_judgment.accuracy >= 0.78"),
            "relatedness_score": ("regress", "mae", "relatedness_score.mae <= 0.5"),
        },
    ),
}
BOTH = "both"


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_build.__file__))
    return record.book(NAME, __file__, *sources, *record.SERVER, columns={}, short=short)


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    for name, (inputs, targets) in CASES.items():
        data = climb_build.paths(climb_data.files(given.data, name, rows=given.rows))
        for asked in (BOTH, *targets):
            wanted = dict(targets) if asked == BOTH else {asked: targets[asked]}
            needs = {
                "data": data,
                "input": inputs,
                "target": {target: task for target, (task, _, _) in wanted.items()},
                "needs": [*(need for _, _, need in wanted.values()), *SYSTEM],
                "budget": BUDGET,
            }
            case = f"{name}, {asked}{suffix}"

            def work(case: str = case, needs: Row = needs, name: str = name, asked: str = asked) -> Row:
                return build(Builder(book), case, needs, name, asked)

            climb_told.say(book.once(case, 0, work))


def build(builder: Builder, case: str, needs: dict[str, Any], name: str, asked: str) -> Row:
    """One build, by the steps that all have in common."""
    _, told = builder.build(case, needs, plan=PLAN.as_dict())
    return {
        "data": name,
        "asked": asked,
        "exit": told["exit"],
        "verdicts": {need["need"]: need["verdict"] for need in told["needs"]},
        "seconds": told["time"]["total_s"],
        "values": {
            measure: {part: value[part] for part in ("measured", "low", "high", "n", "unit")}
            for measure, value in climb_build.values(told).items()
        },
    }


def table(book: Book) -> str:
    """Each target by the one bundle and by its own, then size and latency of one against both others together."""
    rows = book.rows()
    runs: dict[str, dict[str, Row]] = {}
    for row in rows:
        runs.setdefault(row["values"]["data"], {})[row["values"]["asked"]] = row["values"]
    quality, system = [], []
    for name, builds in runs.items():
        _, targets = CASES[name]
        both = builds.get(BOTH)
        for target, (_, measure, need) in targets.items():
            alone = builds.get(target)
            one, two = _of(both, target, measure), _of(alone, target, measure)
            verdicts = [build["verdicts"].get(need, "–") if build else "–" for build in (both, alone)]
            quality.append(
                [
                    name,
                    f"{target}.{measure}",
                    _shown(one),
                    _shown(two),
                    f"{one['measured'] - two['measured']:+.4f}" if one and two else "",
                    f"`{need}`: {verdicts[0]}, {verdicts[1]}",
                ]
            )
        singles = [builds[target] for target in targets if target in builds]
        for what, each in (("one bundle", [both] if both else []), ("two bundles", singles)):
            if not each or (what != "one bundle" and len(each) < len(targets)):
                continue
            system.append(
                [
                    name,
                    what,
                    f"{sum(build['values']['size']['measured'] for build in each):.1f}",
                    " + ".join(f"{build['values']['latency_p95']['measured']:.2f}" for build in each),
                    clock(sum(build["seconds"] for build in each)),
                    ", ".join(str(build["exit"]) for build in each),
                ]
            )
    if not quality:
        return record.NOTHING
    titles = ("data set", "measure", "one bundle (bounds)", "alone (bounds)", "difference", "need: one bundle, alone")
    return "\n\n".join(
        [
            f"All by {' → '.join(move.step for move in PLAN.moves)} from MiniLM.",
            record.markdown(titles, quality),
            record.markdown(("data set", "made", "MB", "p95 ms of one request", "time of the builds", "exit"), system),
            record.made(rows),
        ]
    )


def _of(build: Row | None, target: str, measure: str) -> Row | None:
    """A value of a target, whether or not its name is told where there is one alone."""
    found = build["values"] if build else {}
    return found.get(f"{target}.{measure}") or found.get(measure)  # type: ignore[no-any-return]


def _shown(value: Row | None) -> str:
    if value is None:
        return ""
    bounds = (
        "no bounds" if value["low"] is None or value["high"] is None else f"{value['low']:.4f} to {value['high']:.4f}"
    )
    return f"{value['measured']:.4f} ({bounds}; n {value['n']:,})"
