"""How often the verdict is wrong when it is hardest: the truth lies exactly at the limit, so that every *met* is a false one.

Wanted is at most 5 % (5.7 % over 10,000 simulations). Quality and latency are simulated, and judged by the very functions that judge a
build. `python -m bench.verdict`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import signal, stats

from bench import record
from bench.record import Row
from sartor import abstain, bounds, hardware, measure, needs, verify
from sartor import bundle as bundles
from sartor.predict import Predictor
from sartor.report import Key, Report, Value
from sartor.task import classify

ROUNDS, ALPHA, WANTED = 10_000, 0.05, 0.057
RESPLITS, RESPLITS_WANTED = 200, 16 / 200
LIMIT = 0.9
SIZES = (50, 200, 1000, 5000)
PARTS = ("abstain.py", "bounds.py", "needs.py", "report.py")
GROUP = 10  # rows in a group

COLUMNS = {
    "what": lambda v: v["what"],
    "n": lambda v: f"{v['n']:,}",
    "simulations": lambda v: f"{v['rounds']:,}",
    "false *met*": lambda v: f"{v['false_met']:.2%}",
    "wanted": lambda v: f"≤ {v['wanted']:.1%}: " + ("yes" if v["false_met"] <= v["wanted"] else "NO"),
    "no bound, or no promise": lambda v: f"{v['unbounded']:.1%}" if v["unbounded"] else "",
}


def main() -> None:
    """Runs what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.verdict", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="simulations of each case; another number is kept apart"
    )
    parser.add_argument("--only", help="only cases whose name holds this")
    parser.add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        help="a bundle whose answers, and of the first its latencies, are resampled; repeatable",
    )
    given = parser.parse_args()
    short = given.rounds != ROUNDS
    book = record.book("verdict", __file__, columns=COLUMNS, short=short, parts=PARTS)
    found = cases()
    for number, bundle in enumerate(given.bundle):
        found |= abstention(bundle) | (recorded(bundle) if number == 0 else {})
    for name, (what, n, simulate) in found.items():
        if given.only and given.only not in name:
            continue

        def work(name: str = name, what: str = what, n: int = n, simulate: Simulation = simulate) -> Row:
            began = time.perf_counter()
            answers = simulate(np.random.default_rng(0), n, given.rounds)
            said = [answer for answer in answers if answer is not None]
            return {
                "what": what,
                "n": n,
                "rounds": len(answers),
                "false_met": sum(said) / len(answers),  # what was not said is not false
                "wanted": RESPLITS_WANTED if name.startswith("abstain") else WANTED,
                "unbounded": 1 - len(said) / len(answers),
                "seconds": round(time.perf_counter() - began, 1),
            }

        row = book.once(name + (f" ({given.rounds} rounds)" if short else ""), 0, work)
        print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    print(book.publish())


Simulation = Callable[[np.random.Generator, int, int], Sequence[bool | None]]


def cases() -> dict[str, tuple[str, int, Simulation]]:
    """name -> (what is told of it, n, the simulation); it yields whether *met* was said, None where no bound could be given."""
    found: dict[str, tuple[str, int, Simulation]] = {}
    for n in SIZES:
        found[f"share {n}"] = ("accuracy", n, share)
        found[f"winner {n}"] = ("accuracy of the best of 30 on validation rows", n, winner)
        found[f"looks {n}"] = (
            "accuracy, five models one after the other on the same rows, *met* by any",
            n,
            five_looks,
        )
        found[f"three {n}"] = (
            "three needs at once, exit 0: accuracy and two recalls, all at their limits",
            n,
            three_needs,
        )
        found[f"one of three {n}"] = ("three needs at once, exit 0: one at its limit, two far above", n, one_of_three)
        found[f"macro f1 {n}"] = ("macro F1 of 5 classes", n, macro_f1)
        rare = max(3, n // 100)
        found[f"rare {n}"] = (f"balanced accuracy of 2 classes, {rare} rows of one", n, rare_class)
        found[f"calibration {n}"] = ("calibration error of 5 points", n, calibration_error)
        found[f"difference {n}"] = ("accuracy over the baseline, 20 points", n, over_baseline)
        for correlation in (0.1, 0.5):
            what = f"accuracy, rows in groups of {GROUP}, correlation {correlation} inside a group"
            found[f"groups {correlation} {n}"] = (what, n, grouped(correlation))
    for correlation in (0.0, 0.5, 0.9):
        for windows, requests in ((24, 200), (20, 60)):
            what = f"p95 of latency, {windows} windows of {requests}, AR(1) correlation {correlation}"
            found[f"p95 {correlation} {windows}x{requests}"] = (
                what,
                windows * requests,
                latency(correlation, windows, requests),
            )
    return found


def recorded(bundle: Path) -> dict[str, tuple[str, int, Simulation]]:
    """Latencies of a real server, one client, as they came one after the other; windows begin at random places of the record.

    The truth is the p95 of all of them.
    """
    rows = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["examples"]
    bodies = [json.dumps(row).encode() for row in rows]
    took = []
    for _ in range(3):
        with measure.served(bundle, threads=hardware.cores()) as address:
            measure.drive(address, bodies, clients=1, requests=200, offset=0)
            took.append(measure.drive(address, bodies, clients=1, requests=20_000, offset=0)[0])
    record_of = np.concatenate(took)
    truth = float(np.quantile(record_of, 0.95))
    print(f"recorded {len(record_of):,} latencies, p95 {truth:.3f} ms", flush=True)

    def simulate(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
        need = needs.parse(f"latency_p95 <= {truth:.12f} ms")
        answers: list[bool | None] = []
        for begin in rng.integers(0, len(record_of) - 200, size=(rounds, 24)):
            windows = [record_of[place : place + 200] for place in begin]
            found = bounds.quantile(windows, q=0.95, level=1 - ALPHA)
            answers.append(None if found is None else met([(need, value(need, truth, found, n, 1 - ALPHA))]))
        return answers

    return {"p95 recorded": ("p95 of recorded latencies, 24 windows of 200", 24 * 200, simulate)}


def abstention(bundle: Path) -> dict[str, tuple[str, int, Simulation]]:
    """Real answers to a bundle's test rows, split in halves again and again: a threshold is chosen on one, and its promise kept or broken on
    the other. One promise is what the surest 80 % of all rows just keep, so that it is often out of reach, and one two points less.
    """
    found = bundles.load(bundle)
    asked, head = needs.load(bundle / "needs.yaml"), found.meta["heads"][0]
    examples, *_ = verify.rows_to_judge(found, None, asked)
    answers = Predictor(found, threads=hardware.cores(), heads={"abstain_below": 0.0}).predict(list(examples.inputs))
    probabilities = np.array([answer["probability"] for answer in answers])
    right = np.array(
        [answer["label"] == label for answer, label in zip(answers, examples.targets[head["target"]], strict=True)]
    )
    surest = np.argsort(-probabilities)[: round(0.8 * len(right))]
    hard, coverage = int(np.floor(100 * right[surest].mean())), 0.7
    number = len(right)

    def broken_by(limit: float, rng: np.random.Generator) -> list[bool | None]:
        broken: list[bool | None] = []
        for _ in range(RESPLITS):
            order = rng.permutation(number)
            one, other = order[: number // 2], order[number // 2 :]
            chosen = abstain.choose(
                probabilities[one],
                right[one],
                [(limit, coverage)],
                confidence=1 - ALPHA,
                level=bounds.level_of_look(1 - ALPHA, 1),
                test_rows=len(other),
            )
            answered = probabilities[other] >= chosen.below
            kept = right[other][answered].mean() >= limit and answered.mean() >= coverage
            broken.append(not kept if chosen.controlled else None)
        return broken

    name = bundle.resolve().name.split("-")[0]
    told: dict[str, tuple[str, int, Simulation]] = {}
    for percent in (hard, hard - 2):
        what = f"{name}: right on {percent} % of what is answered, at least {coverage:.0%} of the rows; *broken* on the other half"

        def simulate(rng: np.random.Generator, n: int, rounds: int, limit: float = percent / 100) -> list[bool | None]:
            return broken_by(limit, rng)

        told[f"abstain {name} {percent}"] = (what, number, simulate)
    return told


def share(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Independent rows, each right with the probability of the limit."""
    need = needs.parse(f"accuracy >= {LIMIT}")
    return [met([(need, proportion(need, int(k), n, look=1))]) for k in rng.binomial(n, LIMIT, rounds)]


def winner(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Thirty candidates as good as one another, which answer alike on 70 % of the rows; the best on 500 validation rows is judged."""
    need = needs.parse(f"accuracy >= {LIMIT}")

    def hits(rows: int) -> np.ndarray:
        """Of each candidate on the same rows [rounds, 30]."""
        alike = round(0.7 * rows)
        return rng.binomial(alike, LIMIT, (rounds, 1)) + rng.binomial(rows - alike, LIMIT, (rounds, 30))

    chosen = hits(500).argmax(axis=1)
    judged = hits(n)[np.arange(rounds), chosen]
    return [met([(need, proportion(need, int(k), n, look=1))]) for k in judged]


def five_looks(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Five models at the limit, judged on the same rows one after the other; rows are hard for all alike (latent correlation 0.5)."""
    need = needs.parse(f"accuracy >= {LIMIT}")
    edge = stats.norm.ppf(LIMIT)
    answers: list[bool | None] = []
    for _ in range(rounds):
        latent = np.sqrt(0.5) * rng.standard_normal(n) + np.sqrt(0.5) * rng.standard_normal((5, n))
        counts = (latent < edge).sum(axis=1)
        answers.append(
            any(met([(need, proportion(need, int(k), n, look=look))]) for look, k in enumerate(counts, start=1))
        )
    return answers


def three_needs(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Accuracy and the recalls of both of two even classes, so that all three stand on the same rows."""
    return _three(rng, n, rounds, truths=(LIMIT, LIMIT))


def one_of_three(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """The recall of one class at its limit, and the other so good that it and accuracy are met."""
    return _three(rng, n, rounds, truths=(LIMIT, 1.0))


def _three(rng: np.random.Generator, n: int, rounds: int, *, truths: tuple[float, float]) -> list[bool | None]:
    asked = [needs.parse(f"{text} >= {LIMIT}") for text in ("accuracy", "recall for a", "recall for b")]
    answers: list[bool | None] = []
    for _ in range(rounds):
        of_a = int(rng.binomial(n, 0.5))
        hits = [int(rng.binomial(of_a, truths[0])), int(rng.binomial(n - of_a, truths[1]))]
        counts = [(sum(hits), n), (hits[0], of_a), (hits[1], n - of_a)]
        answers.append(
            met([(need, proportion(need, k, of, look=1, of=3)) for need, (k, of) in zip(asked, counts, strict=True)])
        )
    return answers


def grouped(correlation: float) -> Simulation:
    """Groups with an accuracy of their own, drawn from a beta distribution around the limit."""

    def simulate(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
        need = needs.parse(f"accuracy >= {LIMIT}")
        level = bounds.level_of_look(1 - ALPHA, 1)
        number = n // GROUP
        groups = np.repeat(np.arange(number), GROUP)
        weight = 1 / correlation - 1
        answers: list[bool | None] = []
        for _ in range(rounds):
            own = rng.beta(LIMIT * weight, (1 - LIMIT) * weight, number)
            right = (rng.random(n) < own[groups]).astype(float)
            found = bounds.grouped_proportion(right, np.ones(n), groups, level=level)
            answers.append(None if found is None else met([(need, value(need, right.mean(), found, n, level))]))
        return answers

    return simulate


def macro_f1(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Five classes of 40, 30, 15, 10 and 5 % of the rows, answered with accuracies of their own; the limit is the true macro F1."""
    frequency = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    right = np.array([0.95, 0.9, 0.85, 0.8, 0.7])
    table = np.zeros((5, 5))
    for i in range(5):
        table[i] = (1 - right[i]) * np.delete(frequency, i).sum() ** -1 * frequency
        table[i, i] = right[i]
    joint = (frequency[:, None] * table).ravel()
    metric = classify.METRICS["macro_f1"]
    names = list("abcde")
    spec = {"classes": names, "counts": [1] * 5}
    one = [{"label": told, "probability": 1.0, "probabilities": {told: 1.0}} for _ in names for told in names]
    cells = metric.stats(one, [true for true in names for _ in names], spec, None)  # [25, s]
    unanswered = metric.stats([{}] * 5, names, spec, None)
    truth = float(metric.finish(joint @ cells))
    need = needs.parse(f"macro_f1 >= {truth:.12f}")
    level = bounds.level_of_look(1 - ALPHA, 1)
    answers: list[bool | None] = []
    for _ in range(rounds if n <= 50 else min(rounds, max(500, rounds * 50 // n))):
        drawn = rng.choice(25, n, p=joint / joint.sum())
        sample = cells[drawn]
        failed = unanswered[np.unique(drawn // 5)]
        found = bounds.resampled(sample, metric.finish, level=level, worse=np.concatenate([sample, failed]))
        measured = float(metric.finish(sample.sum(axis=0)))
        answers.append(None if found is None else met([(need, value(need, measured, found, n, level))]))
    return answers


def rare_class(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """A hundredth of the rows, three at the least, are of a class answered rightly in 90 %; the others in 95 %."""
    metric = classify.METRICS["balanced_accuracy"]
    spec = {"classes": ["a", "b"], "counts": [1, 1]}
    rare = max(3, n // 100)
    targets = ["a"] * rare + ["b"] * (n - rare)
    chance = np.repeat([0.9, 0.95], [rare, n - rare])
    truth = 0.925
    need = needs.parse(f"balanced_accuracy >= {truth}")
    level = bounds.level_of_look(1 - ALPHA, 1)
    sides = [
        metric.stats([{"label": one} for one in told], targets, spec, None)
        for told in (targets, [{"a": "b", "b": "a"}[one] for one in targets])
    ]
    failed = metric.stats([{}, {}], ["a", "b"], spec, None)
    answers: list[bool | None] = []
    for _ in range(rounds if n <= 50 else min(rounds, max(500, rounds * 50 // n))):
        sample = np.where((rng.random(n) < chance)[:, None], *sides)
        found = bounds.resampled(sample, metric.finish, level=level, worse=np.concatenate([sample, failed]))
        measured = float(metric.finish(sample.sum(axis=0)))
        answers.append(None if found is None else met([(need, value(need, measured, found, n, level))]))
    return answers


def calibration_error(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """Probabilities that are five points too high, of two classes."""
    metric = classify.METRICS["calibration_error"]
    truth = 0.05
    need = needs.parse(f"calibration_error <= {truth}")
    level = bounds.level_of_look(1 - ALPHA, 1)
    grid = np.linspace(0.55, 0.99, 45)
    one = [{"label": "a", "probability": told, "probabilities": {"a": told, "b": 1 - told}} for told in grid]
    cells = [metric.stats(one, [target] * len(grid), {"classes": ["a", "b"]}, None) for target in "ba"]  # wrong, right
    answers: list[bool | None] = []
    for _ in range(rounds if n <= 50 else min(rounds, max(500, rounds * 50 // n))):
        told = rng.integers(0, len(grid), n)
        right = rng.random(n) < grid[told] - truth
        sample = np.where(right[:, None], cells[1][told], cells[0][told])
        found = bounds.bootstrap(sample, metric.finish, level=level, noise=metric.noise)
        measured = float(metric.finish(sample.sum(axis=0)))
        answers.append(None if found is None else met([(need, value(need, measured, found, n, level))]))
    return answers


def over_baseline(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
    """The model right on 90 % and the baseline on 70 % of the same rows, which it gets right besides on nine of ten."""
    need = needs.parse("accuracy >= baseline + 20 points")
    level = bounds.level_of_look(1 - ALPHA, 1)
    both = 0.9 * 0.7
    answers: list[bool | None] = []
    for counts in rng.multinomial(n, [0.9 - both, 0.7 - both, both, 0.1 - (0.7 - both)], size=rounds):
        gained, lost = int(counts[0]), int(counts[1])
        found = bounds.paired_difference(gained, lost, n, level=level)
        scaled = bounds.Bounds(100 * found.low, 100 * found.high)
        answers.append(met([(need, value(need, 100 * (gained - lost) / n, scaled, n, level))]))
    return answers


def latency(correlation: float, windows: int, requests: int) -> Simulation:
    """Log-normal latencies of which each remembers the one before; the limit is the true p95."""

    def simulate(rng: np.random.Generator, n: int, rounds: int) -> list[bool | None]:
        truth = float(np.exp(0.3 * stats.norm.ppf(0.95)))
        need = needs.parse(f"latency_p95 <= {truth:.12f} ms")
        answers: list[bool | None] = []
        for _ in range(rounds):
            noise = rng.standard_normal((windows, requests)) * np.sqrt(1 - correlation**2)
            noise[:, 0] = rng.standard_normal(windows)
            took = np.exp(0.3 * signal.lfilter([1.0], [1.0, -correlation], noise, axis=1))
            found = bounds.quantile(list(took), q=0.95, level=1 - ALPHA)
            answers.append(
                None
                if found is None
                else met([(need, value(need, float(np.quantile(took, 0.95)), found, n, 1 - ALPHA))])
            )
        return answers

    return simulate


def met(judged: Sequence[tuple[needs.Need, Value]]) -> bool:
    """Whether every need is *met*, by the rule that builds are judged by."""
    asked = needs.Needs(data="", needs=tuple(need for need, _ in judged), confidence=1 - ALPHA)
    said = needs.verdicts(asked, Report([one for _, one in judged]))
    return all(verdict.verdict == "met" for verdict in said)


@lru_cache(maxsize=200_000)
def _exact(successes: int, trials: int, level: float) -> bounds.Bounds:
    return bounds.proportion(successes, trials, level=level)


def proportion(need: needs.Need, successes: int, trials: int, *, look: int, of: int = 1) -> Value:
    """The value of a share as it is measured: exact bounds at the level of its look, and Holm's rungs for `of` needs."""
    level = bounds.level_of_look(1 - ALPHA, look)
    levels = [level, *(1 - (1 - level) / j for j in range(2, of + 1))]
    rungs = [(one, _exact(successes, trials, one)) for one in levels]
    ladder = [[one, found.low, found.high] for one, found in rungs]
    return Value(
        need.key,
        successes / max(1, trials),
        rungs[0][1].low,
        rungs[0][1].high,
        trials,
        confidence=level,
        details={"ladder": ladder},
    )


def value(need: needs.Need, measured: float, found: bounds.Bounds, n: int, level: float) -> Value:
    return Value(Key(**vars(need.key)), measured, found.low, found.high, n, need.unit, level)


if __name__ == "__main__":
    main()
