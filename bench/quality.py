"""Quality and honesty: real data sets built by the command line as a user builds them, and what a user would do instead.

`python -m bench.quality --data DIR` takes the folder of data sets. Only a row whose build ended is kept; a build that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import record
from bench.record import Book, Row
from sartor.display import clock

PEER = "TF-IDF + LinearSVC"
SYSTEM = ("latency_p95 <= 10 ms", "size <= 40 MB")
HONEST_TEST_ROWS = 60
LEAKED_ROWS = 200


@dataclass(frozen=True)
class Case:
    """A data set, the accuracy that is asked for, and its files by part; one file is the whole source."""

    name: str
    accuracy: float
    files: dict[str, str]

    def arguments(self, data: Path) -> list[str]:
        """How the command line is told."""
        if list(self.files) == ["source"]:
            return [str(data / self.name / self.files["source"])]
        return [word for part, file in self.files.items() for word in (f"--{part}", str(data / self.name / file))]


CASES = (
    Case("sst2", 0.86, {"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}),
    Case("banking77", 0.90, {"train": "train.csv", "test": "test.csv"}),
    Case("ag_news", 0.88, {"train": "train.csv", "test": "test.csv"}),
    Case("chnsenticorp_hotel", 0.87, {"train": "train.csv", "test": "test.csv"}),
    Case("thucnews_titles", 0.86, {"train": "train.txt", "test": "test.txt"}),
    Case("imdb_reviews", 0.87, {"source": "aclImdb_sample.zip"}),
)

QUALITY = {
    "data set": lambda v: v["case"],
    "asked": lambda v: f"≥ {v['asked']:.2f}",
    "verdict": lambda v: ", ".join(sorted(set(v["verdicts"].values()))) + f" (exit {v['exit']})",
    "accuracy (bound)": lambda v: f"{v['accuracy']:.3f} (≥ {v['accuracy_low']:.3f}, n {v['test_rows']:,})",
    "p95 ms (bound)": lambda v: f"{v['p95_ms']:.2f} (≤ {v['p95_ms_high']:.2f})",
    "MB": lambda v: f"{v['size_mb']:.1f}",
    "chosen": lambda v: v["chosen"],
    "tried": lambda v: f"{v['tried']} of {v['candidates']}",
    "time": lambda v: clock(v["seconds"]),
    PEER: lambda v: f"{v['peer']['accuracy']:.3f}",
    "its time": lambda v: clock(v["peer"]["seconds"]),
}
HONESTY = {
    "case": lambda v: v["case"],
    "exit": lambda v: f"{v['exit']} (wanted {v['wanted_exit']})",
    "verdict": lambda v: v["verdict"],
    "measured": lambda v: v["measured"],
    "what it said": lambda v: v["said"],
}


def main() -> None:
    """Runs what has no row yet, and writes both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--only", action="append", help="a data set or `honesty`; repeatable")
    parser.add_argument("--budget", default="15m", help="of each build; another than 15m is kept apart")
    parser.add_argument("--rows", type=int, help="only so many rows of each file; kept apart, never published")
    parser.add_argument("--backbone", default="auto", help="as of sartor build; another than auto is kept apart")
    parser.add_argument("--out", type=Path, default=record.OUT / "quality", help="where the builds are kept")
    given = parser.parse_args()
    short = given.rows is not None or given.budget != "15m" or given.backbone != "auto"
    books = {
        "quality": record.book("quality", __file__, *record.SERVER, columns=QUALITY, short=short),
        "honesty": record.book("honesty", __file__, *record.SERVER, columns=HONESTY, short=short),
    }
    data = _sliced(given.data, given.rows, given.out) if given.rows else given.data
    suffix = f" ({given.budget}, {given.backbone}, {given.rows} rows)" if short else ""
    os.environ["SARTOR_STATE"] = str(given.out / f"state-{books['quality'].code[:12]}")  # not the user's own looks
    builder = Builder(books["quality"], given.out, given.budget, given.backbone)
    known = [*(case.name for case in CASES), "honesty"]
    if unknown := [name for name in given.only or [] if name not in known]:
        parser.error(f"there is no {', '.join(unknown)}; there is: {', '.join(known)}")
    for case in CASES:
        if not given.only or case.name in given.only:
            row = books["quality"].once(case.name + suffix, 0, lambda case=case: quality(case, data, builder))
            print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    if not given.only or "honesty" in given.only:
        for name, work in honesty(data, builder).items():
            row = books["honesty"].once(name + suffix, 0, work)
            print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    for book in books.values():
        print(f"\n{book.publish()}")


@dataclass(frozen=True)
class Builder:
    """Builds by the command line, each into a folder that belongs to the code as it stands."""

    book: Book
    out: Path
    budget: str
    backbone: str

    def folder(self, name: str) -> Path:
        """Of a build; an older code's goes, so that nothing it measured can be mistaken for this code's."""
        folder = self.out / f"{name}-{self.book.code[:12]}"
        for old in self.out.glob(f"{name}-{'?' * 12}"):
            if old != folder:
                shutil.rmtree(old)
        return folder

    def build(
        self, name: str, arguments: Sequence[str], needs: Sequence[str], *more: str
    ) -> tuple[Path, dict[str, Any]]:
        """(its folder, report.json) of a build that ended with a verdict."""
        out = self.folder(name)
        command = [sys.executable, "-m", "sartor.cli", "build", *arguments, "--out", str(out), "--budget", self.budget]
        command += ["--backbone", self.backbone, *(word for need in needs for word in ("--need", need)), *more]
        print(f"\n{name}: sartor build … {' '.join(f'--need {need!r}' for need in needs)}", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 3, 4):
            raise SystemExit(
                f"bench.quality: the build of {name} ended with {done.returncode}; the same command resumes"
            )
        told = json.loads((out / "report.json").read_text(encoding="utf-8"))
        assert told["exit"] == done.returncode
        return out, told


def quality(case: Case, data: Path, builder: Builder) -> Row:
    """One data set: the contract that was asked for, and the peer's accuracy on the same test rows."""
    out, told = builder.build(case.name, case.arguments(data), [f"accuracy >= {case.accuracy}", *SYSTEM])
    needs = {need["measure"]: need for need in told["needs"]}
    chosen = next(one for one in told["candidates"] if one["id"] == told["chosen"])
    return {
        "asked": case.accuracy,
        "exit": told["exit"],
        "verdicts": {need["need"]: need["verdict"] for need in told["needs"]},
        "accuracy": needs["accuracy"]["measured"],
        "accuracy_low": needs["accuracy"]["low"],
        "test_rows": needs["accuracy"]["n"],
        "p95_ms": needs["latency_p95"]["measured"],
        "p95_ms_high": needs["latency_p95"]["high"],
        "size_mb": needs["size"]["measured"],
        "chosen": chosen["name"],
        "tried": sum(one["status"] == "measured" for one in told["candidates"]),
        "candidates": len(told["candidates"]),
        "seconds": told["time"]["total_s"],
        "restarts": told["time"]["restarts"],
        "peer": peer(out),
    }


def data_of(bundle: Path) -> Path:
    """Where a build keeps its rows and their split, all of them: beside it may stand the beginnings that it grew from, named for how many rows they train on."""
    found = [path.parent for path in (bundle / ".build" / "data").glob("*/dataset.json") if "-" not in path.parent.name]
    assert len(found) == 1, found
    return found[0]


def peer(out: Path) -> Row:
    """What a user would pick instead: TF-IDF of words and character n-grams with a linear SVM, all rows that are not test rows.

    It is judged on the very test rows that judged the build in `out`: those that stand in no other part.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    from sartor import leaves
    from sartor.data import store

    dataset, splits = store.load(data_of(out))
    target = dataset.schema.targets[0].name
    task = leaves.load("task", "classify")

    def rows(index: Any) -> tuple[list[str], list[str]]:
        found = task.examples(dataset, index, target)
        return [" ".join(str(value or "") for value in row.values()) for row in found.inputs], found.targets[target]

    learning = splits.train if "valid" in dataset.given_parts else np.concatenate([splits.train, splits.valid])
    train, train_labels = rows(learning)
    test, test_labels = rows(splits.test[~np.isin(splits.test, splits.leaked)])
    began = time.monotonic()
    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LinearSVC(random_state=0),
    )
    model.fit(train, train_labels)
    fitted = time.monotonic()
    right = float(np.mean(model.predict(test) == np.array(test_labels)))
    return {
        "name": PEER,
        "accuracy": right,
        "seconds": fitted - began,
        "predict_s": time.monotonic() - fitted,
        "train_rows": len(train),
        "test_rows": len(test),
    }


def honesty(data: Path, builder: Builder) -> dict[str, Any]:
    """The work of each case that cannot be claimed, by its name."""
    case = CASES[0]
    folder = data / case.name

    def files(**parts: Path) -> list[str]:
        return [word for part, file in parts.items() for word in (f"--{part}", str(file))]

    def cached() -> list[str]:
        return ["--cache", str(builder.folder(case.name) / ".build")]

    def unreachable() -> Row:
        _, told = builder.build("missed", case.arguments(data), ["accuracy >= 0.999"], *cached())
        scores = [
            (accuracy_of(one["values"]), one["name"]) for one in told["candidates"] if one["status"] == "measured"
        ]
        best = sorted(((score, name) for score, name in scores if score is not None), reverse=True)[:3]
        row = _judged(told, wanted_exit=3)
        listed = ", ".join(f"{name} {score:.3f}" for score, name in best)
        return row | {
            "best": [{"name": name, "valid": score} for score, name in best],
            "said": f"{row['said']} Best on validation: {listed}.",
        }

    def few_rows() -> Row:
        lines = (folder / case.files["test"]).read_text(encoding="utf-8").splitlines(keepends=True)
        few = builder.out / "few-test-rows.tsv"
        few.parent.mkdir(parents=True, exist_ok=True)
        few.write_text("".join(lines[:: max(1, len(lines) // HONEST_TEST_ROWS)][:HONEST_TEST_ROWS]), encoding="utf-8")
        parts = files(train=folder / case.files["train"], valid=folder / case.files["valid"], test=few)
        return _judged(builder.build("unproven", parts, ["accuracy >= 0.88"], *cached())[1], wanted_exit=4)

    def same_file() -> Row:
        parts = files(train=folder / case.files["train"], test=folder / case.files["train"])
        out, told = builder.build("same-file", parts, ["accuracy >= 0.86"], "--backbone", "none")
        return _judged(told, wanted_exit=4) | _leak(out, told)

    def some_leaked() -> Row:
        train = (folder / case.files["train"]).read_text(encoding="utf-8").splitlines(keepends=True)
        test = (folder / case.files["test"]).read_text(encoding="utf-8")
        mixed = builder.out / "leaked-test-rows.tsv"
        mixed.parent.mkdir(parents=True, exist_ok=True)
        mixed.write_text(test + "".join(train[:LEAKED_ROWS]), encoding="utf-8")
        parts = files(train=folder / case.files["train"], valid=folder / case.files["valid"], test=mixed)
        out, told = builder.build("leaked", parts, ["accuracy >= 0.70"], "--backbone", "none")
        return _judged(told, wanted_exit=0) | _leak(out, told)

    return {
        "sst2, accuracy >= 0.999": unreachable,
        "sst2, 60 test rows, accuracy >= 0.88": few_rows,
        "sst2, one file as train and as test": same_file,
        f"sst2, {LEAKED_ROWS} training rows among the test rows": some_leaked,
    }


def accuracy_of(values: Sequence[Row], *, leaked: bool = False) -> float | None:
    """The accuracy among the values of a report, without or with the test rows that training saw."""
    for value in values:
        if value["key"]["measure"] == "accuracy" and bool(value["key"].get("where")) == leaked:
            return value["measured"]  # type: ignore[no-any-return]
    return None


def _judged(told: dict[str, Any], *, wanted_exit: int) -> Row:
    need = told["needs"][0]
    figure = "nothing" if need["measured"] is None else f"{need['measured']:.3f}"
    bounds = "" if need["low"] is None else f" ({need['low']:.3f} to {need['high']:.3f})"
    return {
        "exit": told["exit"],
        "wanted_exit": wanted_exit,
        "verdict": need["verdict"],
        "accuracy": need["measured"],
        "low": need["low"],
        "high": need["high"],
        "test_rows": need["n"],
        "measured": f"{figure}{bounds}, n {need['n']:,}",
        "said": need["advice"] or "—",
        "more_rows": [int(found.replace(",", "")) for found in re.findall(r"([\d,]+) more test rows", need["advice"])],
        "seconds": told["time"]["total_s"],
    }


def _leak(out: Path, told: dict[str, Any]) -> Row:
    """Whether the leak was named before anything was planned, and accuracy without and with the leaked rows."""
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    planned = next(place for place, item in enumerate(events) if item["event"] == "plan")
    found = [item for item in told["findings"] if item["code"] in ("audit.leak", "audit.same-rows")]
    named = [item["code"] for item in events[:planned] if item["event"] == "finding"]
    clean, dirty = accuracy_of(told["values"]), accuracy_of(told["values"], leaked=True)
    shown = ", ".join(
        f"{'with' if which else 'without'} them {'nothing to judge' if value is None else f'{value:.3f}'}"
        for which, value in ((False, clean), (True, dirty))
    )
    return {
        "named_before_training": bool(found) and all(item["code"] in named for item in found),
        "findings": [item["code"] for item in found],
        "accuracy_without": clean,
        "accuracy_with": dirty,
        "measured": shown,
        "said": " ".join(item["message"] for item in found) or "nothing about a leak",
    }


def _sliced(data: Path, rows: int, out: Path) -> Path:
    """Copies of the data sets with about so many rows of each file, spread over it: to try the script, never to report."""
    folder = out / f"slices-{rows}"
    for case in CASES:
        for name in case.files.values():
            source, copy = data / case.name / name, folder / case.name / name
            if copy.exists() or not source.is_file():
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".zip":
                _slice_zip(source, copy, rows)
                continue
            header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.count('"') % 2 == 0]
            copy.write_text(header + "".join(kept[:: max(1, len(kept) // rows)][:rows]), encoding="utf-8")
    return folder


def _slice_zip(source: Path, copy: Path, rows: int) -> None:
    import zipfile

    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as part:
        names = [name for name in whole.namelist() if not name.endswith("/")]
        for name in names[:: max(1, len(names) // (2 * rows))]:
            part.writestr(name, whole.read(name))


if __name__ == "__main__":
    main()
