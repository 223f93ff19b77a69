"""Pictures, sound, tables, pairs and mixtures: real data sets built by the command line, beside what a user would pick instead.

`python -m bench.modalities --data DIR` takes the folder of data sets. What the others would do is fitted and judged on the very same
rows, and the difference told with its 95 % interval, of the same rows in pairs. Only a row whose build ended is kept.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.quality import data_of
from bench.record import Book, Row
from sartor.display import clock

COLUMNS = {
    "data set": lambda v: v["case"],
    "asked": lambda v: v["asked"],
    "exit": lambda v: f"{v['exit']}" + ("" if v["wanted_exit"] is None else f" (wanted {v['wanted_exit']})"),
    "measured (bounds)": lambda v: f"{v['measure']} {v['measured']:.3f} ({_bounds(v)}; n {v['test_rows']:,})",
    "p95 ms (bound)": lambda v: f"{v['p95_ms']:.2f} ({_at_most(v['p95_ms_high'])})",
    "MB": lambda v: f"{v['size_mb']:.2f}",
    "chosen": lambda v: v["chosen"],
    "time": lambda v: clock(v["seconds"]),
    "instead": lambda v: f"{v['peer']['name']}: {v['peer']['measured']:.3f} in {clock(v['peer']['seconds'])}",
    "difference in points (95 %)": lambda v: _difference(v["difference"]),
}


@dataclass(frozen=True)
class Case:
    """A data set as a user has it. prepare(data, folder) -> arguments of the command; what it writes goes into the folder.

    wanted: the exit; None where only the difference to `peer` counts. peer(learned, judged) -> answers to the judged rows.
    """

    name: str
    needs: tuple[str, ...]
    prepare: Callable[[Path, Path], list[str]]
    peer: tuple[str, Callable[[Rows, Rows], list[dict[str, Any]]]]
    wanted: int | None = None


@dataclass(frozen=True)
class Rows:
    """What a peer sees. kinds: of the inputs by column; inputs: {column: value} of each row; labels: of each row."""

    kinds: dict[str, str]
    inputs: list[dict[str, Any]]
    labels: list[Any]


# Data sets as they are, or in a layout that Sartor reads.


def cifar10(data: Path, folder: Path) -> list[str]:
    """10,000 training and 5,000 test pictures, in a folder for each class."""
    return [str(data / "cifar10" / "cifar10_sample.zip")]


def pneumonia(data: Path, folder: Path) -> list[str]:
    """MedMNIST's arrays as PNG files in folders."""
    from PIL import Image

    given = np.load(data / "pneumonia_xray" / "pneumoniamnist.npz", allow_pickle=False)
    for part, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        labels = given[f"{part}_labels"].ravel().tolist()
        for number, (pixels, label) in enumerate(zip(given[f"{part}_images"], labels, strict=True)):
            file = folder / name / ("pneumonia" if label else "normal") / f"{number:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return [str(folder)]


def spoken_digits(data: Path, folder: Path, *, unseen: str | None = None) -> list[str]:
    """The official split (takes 0 to 4 of each digit and speaker judge), or a speaker of whom nothing is heard in training."""
    import zipfile

    parts: dict[str, list[tuple[str, str, str]]] = {"train": [], "test": []}
    with zipfile.ZipFile(data / "free_spoken_digits" / "recordings.zip") as archive:
        for name in sorted(archive.namelist()):
            if found := re.fullmatch(r"(?:.*/)?(\d)_(\w+)_(\d+)\.wav", name):
                digit, speaker, take = found.groups()
                judges = int(take) < 5 if unseen is None else speaker == unseen
                parts["test" if judges else "train"].append((name, digit, speaker))
    shutil.copyfile(data / "free_spoken_digits" / "recordings.zip", folder / "recordings.zip")
    for part, rows in parts.items():
        _table(folder / f"{part}.csv", ("recording", "digit", "speaker"), rows)
    return [*_parts(folder, "train", "test", suffix="csv"), "--input", "recording", "--target", "digit"]


def emodb(data: Path, folder: Path) -> list[str]:
    """Emotions by recording; all rows of a speaker stand on one side."""
    source = data / "emodb" / "labels.csv"
    shutil.copyfile(data / "emodb" / "wav.zip", folder / "wav.zip")
    with source.open(encoding="utf-8", newline="") as file:
        rows = [(row["file"], row["emotion"], row["speaker"]) for row in csv.DictReader(file)]
    _table(folder / "labels.csv", ("file", "emotion", "speaker"), rows)
    return [str(folder / "labels.csv"), "--input", "file", "--target", "emotion", "--group", "speaker"]


def adult(data: Path, folder: Path) -> list[str]:
    """The official split; labels of the test file carry a dot that those of the training file have not."""
    for part in ("train", "test"):
        packed = (data / "adult_income" / f"adult-{part}.csv.gz").read_bytes()
        lines = gzip.decompress(packed).decode("utf-8").splitlines()
        told = [re.sub(r"\.$", "", line) for line in lines if line.strip()]
        (folder / f"{part}.csv").write_text("\n".join(told) + "\n", encoding="utf-8")
    return [*_parts(folder, "train", "test", suffix="csv"), "--target", "column_15"]


def german(data: Path, folder: Path) -> list[str]:
    """1,000 applicants, codes as they are."""
    return [str(data / "german_credit" / "german.csv"), "--target", "column_21"]


def pima(data: Path, folder: Path) -> list[str]:
    """768 women, zeros as they are."""
    return [str(data / "pima_diabetes" / "pima-indians-diabetes.csv"), "--target", "column_9"]


def mammography(data: Path, folder: Path) -> list[str]:
    """Without the rows that stand there twice."""
    lines = (data / "mammography" / "mammography.csv").read_text(encoding="utf-8").splitlines()
    (folder / "mammography.csv").write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    return [str(folder / "mammography.csv"), "--target", "column_7"]


def mrpc(data: Path, folder: Path) -> list[str]:
    """Whether two sentences say the same; the given parts."""
    home = data / "mrpc"
    files = [
        word
        for part, name in (("train", "train"), ("valid", "val"), ("test", "test"))
        for word in (f"--{part}", str(home / f"{name}.tsv"))
    ]
    return [*files, "--input", "#1 String", "--input", "#2 String", "--target", "Quality"]


def sick(data: Path, folder: Path) -> list[str]:
    """What follows from one sentence for another; the given parts."""
    home = data / "sick"
    files = [
        word
        for part, name in (("train", "train"), ("valid", "dev"), ("test", "test"))
        for word in (f"--{part}", str(home / f"{name}.tsv"))
    ]
    return [*files, "--input", "sentence_A", "--input", "sentence_B", "--target", "entailment_judgment"]


def fashion(
    data: Path, folder: Path, *, inputs: Sequence[str] = ("image", "productDisplayName", "baseColour")
) -> list[str]:
    """Categories of products from pictures, titles and colours."""
    home = data / "fashion_products"
    files = [word for part in ("train", "test") for word in (f"--{part}", str(home / f"{part}.csv"))]
    return [*files, *(word for name in inputs for word in ("--input", name)), "--target", "subCategory"]


def _table(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def _parts(folder: Path, *names: str, suffix: str) -> list[str]:
    return [word for name in names for word in (f"--{name}", str(folder / f"{name}.{suffix}"))]


# What a user would pick instead: scikit-learn on features that are at hand.


def trees(learned: Rows, judged: Rows) -> list[dict[str, Any]]:
    """Histogram-based gradient boosting at its defaults, categories as such."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.preprocessing import OrdinalEncoder

    named = [name for name, kind in learned.kinds.items() if kind == "category"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=254
    )

    def cells(rows: Rows, names: Sequence[str]) -> list[list[Any]]:
        return [[row[name] for name in names] for row in rows.inputs]

    def table(rows: Rows) -> np.ndarray:
        numbers = [
            [_number(value) for value in row] for row in cells(rows, [n for n in learned.kinds if n not in named])
        ]
        blocks = [np.array(numbers, dtype=np.float64).reshape(len(rows.inputs), -1)]
        if named:
            told = [[str(value) for value in row] for row in cells(rows, named)]
            blocks.insert(0, encoder.transform(told))
        return np.hstack(blocks)

    if named:
        encoder.fit([[str(value) for value in row] for row in cells(learned, named)])
    model = HistGradientBoostingClassifier(random_state=0, categorical_features=list(range(len(named))) or None)
    return _answers(model.fit(table(learned), learned.labels), table(judged))


def pixels(learned: Rows, judged: Rows) -> list[dict[str, Any]]:
    """Logistic regression on the pixels, at 32 × 32."""
    from PIL import Image

    def table(rows: Rows) -> np.ndarray:
        [name] = learned.kinds
        made = [Image.open(io.BytesIO(row[name])).convert("RGB").resize((32, 32)) for row in rows.inputs]
        return np.stack([np.asarray(one, dtype=np.float32).ravel() / 255 for one in made])

    return _linear(table(learned), learned.labels, table(judged), strength=0.01)


def energies(learned: Rows, judged: Rows) -> list[dict[str, Any]]:
    """Logistic regression on means and spreads over time of log-mel energies and of their differences."""
    from sartor.mel import LogMel
    from sartor.modality import audio

    def one(value: Any, name: str) -> np.ndarray:
        sound = audio.read(value, name)
        made = LogMel(sound.rate, bands=40)(sound.samples)
        moves = np.diff(made, axis=0) if len(made) > 1 else np.zeros_like(made)
        return np.concatenate([made.mean(0), made.std(0), moves.mean(0), moves.std(0)])

    def table(rows: Rows) -> np.ndarray:
        [name] = learned.kinds
        return np.stack([one(row[name], name) for row in rows.inputs])

    return _linear(table(learned), learned.labels, table(judged), strength=1.0)


def overlap(learned: Rows, judged: Rows) -> list[dict[str, Any]]:
    """Logistic regression on how far two texts share words, pairs of words and pieces of four characters, and their negations."""

    def pieces(text: str) -> list[set[Any]]:
        words = re.findall(r"\w+", text.lower())
        plain = text.lower()
        return [
            set(words),
            set(itertools.pairwise(words)),
            {plain[i : i + 4] for i in range(max(1, len(plain) - 3))},
        ]

    def one(row: dict[str, Any]) -> list[float]:
        first, second = (str(row[name] or "") for name in learned.kinds)
        told: list[float] = [len(first) / 100, len(second) / 100, abs(len(first) - len(second)) / 100]
        for ours, theirs in zip(pieces(first), pieces(second), strict=True):
            both = len(ours & theirs)
            told += [both / max(1, len(ours | theirs)), both / max(1, len(ours)), both / max(1, len(theirs))]
        denied = [
            len(re.findall(r"\b(no|not|nobody|none|never|without)\b|n't", text.lower())) for text in (first, second)
        ]
        return [*told, *denied, abs(denied[0] - denied[1])]

    def table(rows: Rows) -> np.ndarray:
        return np.array([one(row) for row in rows.inputs])

    return _linear(table(learned), learned.labels, table(judged), strength=1.0)


def titles(learned: Rows, judged: Rows) -> list[dict[str, Any]]:
    """Logistic regression on TF-IDF of words and pieces of words of the one text."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    name = next(name for name, kind in learned.kinds.items() if kind == "text")
    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LogisticRegression(C=30, max_iter=1000),
    )
    texts = [[str(row[name] or "") for row in rows.inputs] for rows in (learned, judged)]
    return _answers(model.fit(texts[0], learned.labels), texts[1])


def _linear(learned: np.ndarray, labels: Sequence[Any], judged: np.ndarray, *, strength: float) -> list[dict[str, Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    return _answers(model.fit(learned, labels), judged)


def _answers(model: Any, judged: Any) -> list[dict[str, Any]]:
    """What scikit-learn says, in the form of Sartor's answers."""
    names = [str(name) for name in model.classes_]
    told = []
    for row in model.predict_proba(judged):
        best = int(np.argmax(row))
        chances = dict(zip(names, map(float, row), strict=True))
        told.append({"label": names[best], "probability": float(row[best]), "probabilities": chances})
    return told


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


TREES = ("gradient-boosted trees of scikit-learn", trees)
ENERGIES = ("logistic regression on log-mel statistics", energies)
OVERLAP = ("logistic regression on overlap", overlap)
SYSTEM = ("latency_p95 <= 50 ms", "size <= 100 MB")
CASES = (
    Case("cifar10", ("accuracy >= 0.72", *SYSTEM), cifar10, ("logistic regression on pixels", pixels), 0),
    Case("pneumonia_xray", ("accuracy >= 0.88", *SYSTEM), pneumonia, ("logistic regression on pixels", pixels), 0),
    Case("free_spoken_digits, official split", ("accuracy >= 0.95", *SYSTEM), spoken_digits, ENERGIES, 0),
    Case("adult_income", ("auroc >= 0.92", *SYSTEM), adult, TREES, 0),
    Case("sick, pairs", ("accuracy >= 0.78", *SYSTEM), sick, OVERLAP, 0),
    Case("german_credit", ("accuracy >= 0.7",), german, TREES),
    Case("pima_diabetes", ("accuracy >= 0.7",), pima, TREES),
    Case("mammography, without duplicates", ("auroc >= 0.85",), mammography, TREES),
    Case("mrpc, pairs", ("accuracy >= 0.7",), mrpc, OVERLAP),
    Case("emodb, by speaker", ("accuracy >= 0.5",), emodb, ENERGIES),
    Case(
        "free_spoken_digits, unseen speaker",
        ("accuracy >= 0.7",),
        lambda data, folder: spoken_digits(data, folder, unseen="theo"),
        ENERGIES,
    ),
    Case(
        "fashion_products, title and picture and colour", ("accuracy >= 0.9",), fashion, ("TF-IDF of the title", titles)
    ),
    Case(
        "fashion_products, title alone",
        ("accuracy >= 0.9",),
        lambda data, folder: fashion(data, folder, inputs=("productDisplayName",)),
        ("TF-IDF of the title", titles),
    ),
    Case(
        "fashion_products, picture alone",
        ("accuracy >= 0.8",),
        lambda data, folder: fashion(data, folder, inputs=("image",)),
        ("logistic regression on pixels", pixels),
    ),
)


def main() -> None:
    """Runs what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.modalities", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds cifar10, adult_income, …")
    parser.add_argument("--only", action="append", help="the beginning of a case's name; repeatable")
    parser.add_argument("--budget", default="20m", help="of each build; another than 20m is kept apart")
    given = parser.parse_args()
    short = given.budget != "20m"
    book = record.book("modalities", __file__, *record.SERVER, columns=COLUMNS, short=short)
    out = record.OUT / (f"modalities-{given.budget}" if short else "modalities")
    os.environ["SARTOR_STATE"] = str(out / f"state-{book.code[:12]}")  # not the user's own looks
    for case in CASES:
        if not given.only or case.name.startswith(tuple(given.only)):
            row = book.once(case.name, 0, lambda case=case: build(case, given.data, out, given.budget, book))  # type: ignore[misc]
            print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    print(f"\n{book.publish()}")


def build(case: Case, data: Path, out: Path, budget: str, book: Book) -> Row:
    """One data set: what was asked for, and the peer on the same rows."""
    slug = re.sub(r"[^\w]+", "-", case.name).strip("-")
    source, bundle = out / "data" / slug, out / f"{slug}-{book.code[:12]}"
    for old in out.glob(f"{slug}-*"):  # what an older code built is not to be mistaken for this one's
        if re.fullmatch(rf"{slug}-[0-9a-f]{{12}}", old.name) and old != bundle:
            shutil.rmtree(old)
    source.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "sartor",
        "build",
        *case.prepare(data, source),
        "--out",
        str(bundle),
        "--budget",
        budget,
    ]
    command += [word for need in case.needs for word in ("--need", need)]
    print(f"\n{case.name}: sartor build … {' '.join(f'--need {need!r}' for need in case.needs)}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 3, 4):
        raise SystemExit(
            f"bench.modalities: the build of {case.name} ended with {done.returncode}; the same command resumes"
        )
    told = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    need = told["needs"][0]
    values = {value["key"]["measure"]: value for value in told["values"] if not value["key"].get("where")}
    chosen = next(one for one in told["candidates"] if one["id"] == told["chosen"])
    return {
        "asked": case.needs[0],
        "wanted_exit": case.wanted,
        "exit": told["exit"],
        "verdicts": {one["need"]: one["verdict"] for one in told["needs"]},
        "measure": need["measure"],
        "measured": need["measured"],
        "low": need["low"],
        "high": need["high"],
        "test_rows": need["n"],
        "p95_ms": values["latency_p95"]["measured"],
        "p95_ms_high": values["latency_p95"]["high"],
        "size_mb": values["size"]["measured"],
        "chosen": chosen["name"],
        "seconds": told["time"]["total_s"],
        "restarts": told["time"]["restarts"],
        "findings": sorted({finding["code"] for finding in told["findings"]}),
        **compared(case, bundle, need["measure"]),
    }


def compared(case: Case, bundle: Path, measure: str) -> Row:
    """The peer, fitted on all rows that do not judge, and the difference to it on those that do, in pairs."""
    from sartor import bundle as bundles
    from sartor import leaves
    from sartor import measure as measuring
    from sartor.data import store
    from sartor.predict import Predictor
    from sartor.report import Key

    dataset, splits = store.load(data_of(bundle))
    opened = bundles.load(bundle)
    head = opened.meta["heads"][0]
    task = leaves.load("task", head["task"])
    kinds = {column.name: column.kind for column in dataset.schema.inputs}

    def rows(index: np.ndarray) -> Rows:
        found = task.examples(dataset, index, head["target"])
        return Rows(kinds, list(found.inputs), found.targets[head["target"]])

    learning = np.concatenate([splits.train, splits.calib, *([] if "valid" in dataset.given_parts else [splits.valid])])
    test = rows(splits.test[~np.isin(splits.test, splits.leaked)])
    name, peer = case.peer
    began = time.monotonic()
    theirs = peer(rows(np.sort(learning)), test)
    seconds = time.monotonic() - began
    ours = measuring.answer(
        Predictor(opened),
        measuring.Examples(test.inputs, {head["target"]: test.labels}, *[np.arange(len(test.labels))] * 2),
    )
    # One-sided bounds at 97.5 % on either side.
    alone = measuring.value_of(Key(measure), theirs, test.labels, head, levels=[0.975])
    value = measuring.value_of(Key(measure, against="peer"), ours, test.labels, head, levels=[0.975], reference=theirs)
    return {
        "peer": {"name": name, "measured": alone.measured, "seconds": seconds, "train_rows": len(learning)},
        "difference": {
            "points": value.measured,
            "low": value.low,
            "high": value.high,
            "method": value.method,
            "rows_as_independent": splits.group is not None,
        },
    }


def _difference(told: Row) -> str:
    bounds = "no bounds" if told["low"] is None else f"{told['low']:+.1f} to {told['high']:+.1f}"
    return f"{told['points']:+.1f} ({bounds}{', rows of a group as if independent' if told['rows_as_independent'] else ''})"


def _at_most(high: float | None) -> str:
    return "no bound" if high is None else f"≤ {high:.2f}"


def _bounds(v: Row) -> str:
    return "no bounds" if v["low"] is None else f"{v['low']:.3f} to {v['high']:.3f}"


if __name__ == "__main__":
    main()
