"""The audit: faults planted at known places of real data, what is found of them, and what is found beside; and its speed.

`python -m bench.audit --data DIR`. Rows that the audit finds nothing in are the clean ones; every kind is planted among them by
`tests/faults/plant.py`. Leaks by group and time and shifts are of whole files: they are found or not, in each of several trials,
and files without them are trials too.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import record
from bench.record import ROOT, Book, Row
from tests.faults.plant import plant

FILES = {"sst2": "train.tsv", "banking77": "train.csv", "ag_news": "train.csv", "thucnews_titles": "train.txt"}
EACH = 40  # of every kind in one trial
MOST = 4_000  # clean rows of one trial
SEEDS = (0, 1, 2)
TRIALS = 10  # of what a whole file has or has not
LARGE = 120_000  # rows
CODES = {
    "duplicate": "audit.duplicate",
    "conflict": "audit.conflict",
    "leak": "audit.leak",
    "near": "audit.near-duplicate",
    "near leak": "audit.near-leak",
    "empty": "audit.empty-input",
    "email": "audit.personal",
    "phone": "audit.personal",
    "card": "audit.personal",
    "resident": "audit.personal",
    "mojibake": "audit.mojibake",
    "control": "audit.control-characters",
    "hidden": "audit.hidden-characters",
    "outlier": "audit.outlier",
}
NAMES = {
    "duplicate": "the same row twice",
    "conflict": "the same text under two labels",
    "leak": "a training row in test",
    "near": "nearly the same row",
    "near leak": "nearly a training row in test",
    "empty": "no text",
    "email": "e-mail address",
    "phone": "telephone number",
    "card": "card number",
    "resident": "number of a Chinese identity card",
    "mojibake": "bytes of UTF-8 read as another encoding",
    "control": "control character",
    "hidden": "zero-width character or direction mark",
    "outlier": "text that was never meant for this file",
}
PARTS = (
    *sorted(f"data/{path.name}" for path in (ROOT / "sartor" / "data").glob("*.py")),
    "modality/text.py",
    "ngrams.py",
)
SUPPORT = ROOT / "examples" / "support"


def main() -> None:
    """Makes the rows that are missing, and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--only", action="append", choices=list(FILES), help="a data set; repeatable")
    parser.add_argument("--large", help=argparse.SUPPRESS)  # what a fresh process is started for
    given = parser.parse_args()
    if given.large:
        print(json.dumps(timed(Path(given.large))))
        return
    planting = ROOT / "tests" / "faults" / "plant.py"
    book = record.book("audit", __file__, planting, columns={}, short=given.only is not None, parts=PARTS)
    for name in given.only or FILES:
        for seed in SEEDS:
            work = lambda name=name, seed=seed: planted(given.data / name / FILES[name], seed)  # noqa: E731
            print(json.dumps({"case": name, "seed": seed} | book.once(name, seed, work)["values"]), flush=True)
        for kind, trial in WHOLE.items():
            work = lambda name=name, trial=trial: trials(given.data / name / FILES[name], trial)  # noqa: E731
            told = book.once(f"{name}, {kind}", 0, work)["values"]
            print(json.dumps({"case": f"{name}, {kind}"} | told), flush=True)
    if given.only is None:
        work = lambda: large(given.data / "ag_news" / FILES["ag_news"], given.data)  # noqa: E731
        print(json.dumps(book.once("120,000 rows", 0, work)["values"]), flush=True)
        print(json.dumps(book.once("examples/support", 0, example)["values"]), flush=True)
    print(f"\n{book.publish(tables)}")


def clean_rows(file: Path) -> list[tuple[str, str]]:
    """(text, label) of every row of a file that nothing was found in."""
    from sartor.data import audit, read

    dataset = read.read(str(file))
    column, target = dataset.schema.inputs[0].name, dataset.schema.targets[0].name
    dirty = {row for found in audit.audit(dataset, target=target, task="classify") for row in found.rows}
    values = zip(dataset.table.column(column).to_pylist(), dataset.table.column(target).to_pylist(), strict=True)
    return [(text, str(label)) for place, (text, label) in enumerate(values) if place not in dirty and text and label]


def written(folder: Path, parts: dict[str, list[Any]], header: list[str]) -> Any:
    """The parts as CSV files, read again."""
    from sartor.data import read

    files = {}
    for part, rows in parts.items():
        files[part] = str(folder / f"{part}.csv")
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    source: Any = files["train"] if list(files) == ["train"] else files
    return read.read(source, input="text", target="label", task="classify")


def found_in(folder: Path, parts: dict[str, list[Any]], header: list[str] | None = None) -> tuple[Any, list[Any]]:
    """(the dataset, what the audit found)."""
    from sartor.data import audit

    dataset = written(folder, parts, header or ["text", "label"])
    return dataset, audit.audit(dataset, target="label", task="classify")


def planted(file: Path, seed: int) -> Row:
    """Recall of every kind, and the rows that are found beside it, as a share of all."""
    rows = clean_rows(file)
    random.Random(seed).shuffle(rows)
    # What is planted twice must stand there once: the rest is made of texts that are long enough to be nearly the same as another.
    made = plant(rows[:MOST], seed=seed, each=EACH)
    with tempfile.TemporaryDirectory() as folder:
        dataset, findings = found_in(Path(folder), made.rows)
    texts = dataset.table.column("text").to_pylist()
    kinds = {}
    for kind, code in CODES.items():
        hit = {row for finding in findings for row in finding.rows if finding.code == code}
        meant = set().union(*(made.places[other] for other in CODES if CODES[other] == code))
        if code == "audit.conflict":  # both sides of a conflict are told of
            torn = {texts[row] for row in meant}
            meant |= {place for place, text in enumerate(texts) if text in torn}
        kinds[kind] = {
            "planted": len(made.places[kind]),
            "found": len(made.places[kind] & hit),
            "beside": len(hit - meant),
        }
    return {"rows": len(dataset), "kinds": kinds}


# ---------------------------------------------------------------- what a whole file has or has not


def _numbered(
    rows: list[tuple[str, str]], rng: random.Random, *, fault: bool
) -> tuple[dict[str, list[Any]], list[str]]:
    """Customers who write four times about one matter in much the same words, in both parts. Without the fault each stands in one part, or
    the column is one of numbers that repeat and mean nothing.
    """
    made: list[list[str]] = []
    long = [row for row in rows if len(row[0]) >= 20][:400]
    for number, (text, label) in enumerate(long):
        for _ in range(4):
            words = list(text) if " " not in text else text.split()
            place = rng.randrange(len(words))
            again = words[:place] + words[place + 1 :]
            made.append([(" " if " " in text else "").join(again), f"C{number:05d}", label])
    name, apart = "customer", not fault and rng.random() < 0.5
    if not fault and not apart:
        name = "ticket"
        for row in made:
            row[1] = f"C{rng.randrange(400):05d}"
    if not apart:  # else those of one customer stay together
        rng.shuffle(made)
    return {"train": made[:1200], "test": made[1200:]}, ["text", name, "label"]


def _dated(rows: list[tuple[str, str]], rng: random.Random, *, fault: bool) -> tuple[dict[str, list[Any]], list[str]]:
    """Labels that change with time and a random split; without the fault the same rows are split by time."""
    labels = sorted({label for _, label in rows})
    order = {label: rng.random() for label in labels}
    drifting = sorted(rows[:1600], key=lambda row: order[row[1]] + rng.gauss(0, 0.5))
    first = datetime.date(2022, 1, 1)
    made = [
        [text, (first + datetime.timedelta(days=place // 2)).isoformat(), label]
        for place, (text, label) in enumerate(drifting)
    ]
    made.sort(key=lambda row: row[1])
    if fault:
        rng.shuffle(made)
    return {"train": made[:1200], "test": made[1200:]}, ["text", "created", "label"]


def _moved(rows: list[tuple[str, str]], rng: random.Random, *, fault: bool) -> tuple[dict[str, list[Any]], list[str]]:
    """Test texts that passed through another system, which writes a line of its own around each."""
    made = [[text, label] for text, label in rows[:1600]]
    if fault:
        made[1200:] = [
            [f"[web form #{rng.randrange(10_000)}] {text} (sent from a phone)", label] for text, label in made[1200:]
        ]
    return {"train": made[:1200], "test": made[1200:]}, ["text", "label"]


def _telling(rows: list[tuple[str, str]], rng: random.Random, *, fault: bool) -> tuple[dict[str, list[Any]], list[str]]:
    """A column that was filled in after the label was known, one time in two hundred wrongly; without the fault it means nothing."""
    queues = {label: f"Q{place}" for place, label in enumerate(sorted({label for _, label in rows}))}
    every = list(queues.values())
    made = [
        [text, queues[label] if fault and rng.random() > 0.005 else rng.choice(every), label]
        for text, label in rows[:1600]
    ]
    return {"train": made[:1200], "test": made[1200:]}, ["text", "queue", "label"]


WHOLE: dict[str, tuple[str, Callable[..., Any]]] = {
    "a group on both sides": ("audit.group-leak", _numbered),
    "training on the future": ("audit.time-leak", _dated),
    "test unlike train": ("audit.shift", _moved),
    "a column that gives the label away": ("audit.gives-away", _telling),
}


def trials(file: Path, kind: tuple[str, Callable[..., Any]]) -> Row:
    """How often a fault of the whole file is found where it is, and where it is not."""
    code, make = kind
    rows = clean_rows(file)
    told = {"trials": TRIALS, "found": 0, "false": 0}
    for seed in range(TRIALS):
        for fault, name in ((True, "found"), (False, "false")):
            rng = random.Random(seed)
            picked = rows[:]
            rng.shuffle(picked)
            parts, header = make(picked, rng, fault=fault)
            with tempfile.TemporaryDirectory() as folder:
                _, findings = found_in(Path(folder), parts, header)
            told[name] += any(finding.code == code for finding in findings)
    return told


# ---------------------------------------------------------------- speed, and the example


def large(file: Path, data: Path) -> Row:
    """Seconds and memory of auditing LARGE rows made from a real set, in a fresh process: with wrong labels and without."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "large.csv"
        with made.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([["text", "label"], *_perturbed(file)])
        command = [sys.executable, "-m", "bench.audit", "--data", str(data), "--large", str(made)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _perturbed(file: Path) -> Iterator[list[str]]:
    """LARGE rows: real ones drawn again, half of their words from another row of the same label."""
    from sartor.data import read

    dataset = read.read(str(file))
    column, target = dataset.schema.inputs[0].name, dataset.schema.targets[0].name
    texts, labels = dataset.table.column(column).to_pylist(), dataset.table.column(target).to_pylist()
    rng = random.Random(0)
    of: dict[Any, list[int]] = {}
    for place, label in enumerate(labels):
        of.setdefault(label, []).append(place)
    for _ in range(LARGE):
        one = rng.randrange(len(texts))
        words, others = texts[one].split(), texts[rng.choice(of[labels[one]])].split()
        mixed = [rng.choice((word, rng.choice(others or words))) for word in words]
        yield [" ".join(mixed), str(labels[one])]


def timed(file: Path) -> Row:
    """Seconds of the audit with wrong labels and without, and the most memory of the process in GB."""
    from sartor.data import audit, read

    began = time.monotonic()
    dataset = read.read(str(file), input="text", target="label")
    read_s = time.monotonic() - began
    spent = {"doubt": 0.0}
    inner = audit.doubt.doubts

    def clocked(*words: Any, **named: Any) -> Any:
        start = time.monotonic()
        try:
            return inner(*words, **named)
        finally:
            spent["doubt"] = time.monotonic() - start

    audit.doubt.doubts = clocked
    began = time.monotonic()
    audit.audit(dataset, target="label", task="classify")
    whole = time.monotonic() - began
    return {
        "rows": len(dataset),
        "read_s": read_s,
        "wrong_labels_s": spent["doubt"],
        "rest_s": whole - spent["doubt"],
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def example() -> Row:
    """What the audit finds of the dirt that is planted in examples/support, by its list."""
    from sartor.data import audit, fix, read

    dataset = read.read(str(SUPPORT / "support.csv"))
    target = dataset.schema.targets[0].name
    findings = audit.audit(dataset, target=target, task="classify")
    listed = json.loads((SUPPORT / "planted.json").read_text(encoding="utf-8"))

    def hit(code: str) -> set[int]:
        return {row for finding in findings for row in finding.rows if finding.code == code}

    def both(name: str) -> list[set[int]]:
        return [{line - 2 for line in lines} for lines in listed[name]]  # the first row is line 2

    doubtful = fix.to_label(dataset, findings, target=target)
    wrong = {told["line"] - 1 for told in listed["wrong_labels"]}  # rows from 1
    return {
        # Of a pair one repeats the other; which one is called the repeat does not matter.
        "duplicates": [
            sum(bool(pair & hit("audit.duplicate")) for pair in both("duplicates")),
            len(listed["duplicates"]),
        ],
        "near-duplicates": [
            sum(
                bool(pair & (hit("audit.duplicate") | hit("audit.near-duplicate"))) for pair in both("near_duplicates")
            ),
            len(listed["near_duplicates"]),
        ],
        "conflicts": [sum(pair <= hit("audit.conflict") for pair in both("conflicts")), len(listed["conflicts"])],
        "empty messages": [
            len({line - 2 for line in listed["empty_message"]} & hit("audit.empty-input")),
            len(listed["empty_message"]),
        ],
        "empty labels": [
            len({line - 2 for line in listed["empty_intent"]} & hit("audit.missing-target")),
            len(listed["empty_intent"]),
        ],
        "wrong labels": [len(wrong & {row["row"] for row in doubtful}), len(wrong)],
        "asked": len(doubtful),
        "rows": len(dataset),
    }


def tables(book: Book) -> str:
    """What was found of what was planted, of whole files, of the example; and the speed."""
    rows = book.rows()
    if not rows:
        return record.NOTHING
    values = {row["case"]: row["values"] for row in rows}
    every: dict[str, list[Row]] = {}
    looked = 0
    for row in rows:
        looked += row["values"]["rows"] if "kinds" in row["values"] else 0
        for kind, told in row["values"].get("kinds", {}).items():
            every.setdefault(kind, []).append(told)
    body = []
    if every:
        lines = []
        for kind, told in every.items():
            planted, found, beside = (sum(each[name] for each in told) for name in ("planted", "found", "beside"))
            worst = min(each["found"] / each["planted"] for each in told)
            share = f"{beside / looked:.2%}"
            lines.append([NAMES[kind], f"{planted:,}", f"{found:,}", f"{found / planted:.3f}", f"{worst:.3f}", share])
        trial = len(next(iter(every.values())))
        body.append(
            f"Faults of single rows, planted into clean rows of {', '.join(FILES)}; {trial} files with {looked:,} rows. Beside: rows that "
            "the same finding names and nothing was planted in; kinds of one finding share them."
        )
        body.append(
            record.markdown(("fault", "planted", "found", "recall", "worst file", "beside, of all rows"), lines)
        )
    lines = []
    for kind in WHOLE:
        told = [each for case, each in values.items() if case.endswith(f", {kind}")]
        if told:
            trials, found, false = (sum(each[name] for each in told) for name in ("trials", "found", "false"))
            lines.append([kind, str(trials), str(found), str(false)])
    if lines:
        body.append("Faults of whole files:")
        body.append(record.markdown(("fault", "files with it", "found", "said of as many files without it"), lines))
    if told := values.get("examples/support"):
        kinds = [f"{name} {told[name][0]} of {told[name][1]}" for name in told if isinstance(told[name], list)]
        body.append(
            f"examples/support: {', '.join(kinds)}; {told['asked']} of {told['rows']:,} rows are put before a person."
        )
    if told := values.get("120,000 rows"):
        body.append(
            f"{told['rows']:,} rows of news-like text, in a fresh process: read in {told['read_s']:.0f} s, wrong labels in "
            f"{told['wrong_labels_s']:.0f} s, everything else in {told['rest_s']:.0f} s; {told['memory_gb']:.2f} GB at most."
        )
    return "\n\n".join([*body, record.made(rows)])


if __name__ == "__main__":
    main()
