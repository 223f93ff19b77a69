"""Real wrong labels of pictures and recordings: how the audit ranks what people labelled wrongly, beside cleanlab on the same features.

`python -m bench.annotators --data DIR --cleanlab PYTHON`, PYTHON being the interpreter of an environment with cleanlab. cifar10's training labels as single
annotators gave them (CIFAR-10N: one in 11, one in 6, two in 5 wrong), and emodb's as a repository published them, with two classes permuted.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.record import Row

ANNOTATORS = ("aggre", "random1", "worse")
SYNONYMS = {"anxiety": "fear"}  # the published file has another name for a class
PARTS = (
    "data/audit.py",
    "data/doubt.py",
    "mel.py",
    "modality/audio.py",
    "modality/image.py",
    "pixels.py",
    "sound.py",
    "step/fit.py",
    "task/classify.py",
)
COLUMNS = {
    "labels": lambda v: v["case"],
    "rows": lambda v: f"{v['rows']:,}",
    "wrong": lambda v: f"{v['wrong']:,} ({v['wrong'] / v['rows']:.1%})",
    "audit: average precision": lambda v: f"{v['precision']:.3f} ({v['seconds']:.1f} s)",
    "cleanlab on the same features": lambda v: f"{v['peer']:.3f} ({v['peer_seconds']:.1f} s)",
    "its best ranking of our probabilities": lambda v: f"{v['ranked_by_peer']:.3f} ({v['ranked_by_peer_how']})",
    "rate estimated": lambda v: f"{v['rate']:.1%} ({v['low']:.1%} to {v['high']:.1%})",
    "named (right)": lambda v: f"{v['found']:,} ({v['found_right']:.0%})",
    "told as": lambda v: v["severity"],
    "named of the right labels": lambda v: f"{v['false_alarms']:.1%}",
}


def main() -> None:
    """Makes the rows that are missing, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.annotators", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds cifar10 and emodb")
    parser.add_argument("--cleanlab", type=Path, required=True, help="the interpreter of an environment with cleanlab")
    given = parser.parse_args()
    peer = Path(__file__).with_name("cleanlab_peer.py")
    book = record.book("annotators", __file__, peer, columns=COLUMNS, short=False, parts=PARTS)
    cases: dict[str, tuple[str, str]] = {f"cifar10, {name}": ("cifar10", name) for name in ANNOTATORS}
    cases["emodb, as published"] = ("emodb", "published")
    for case, (data, labels) in cases.items():
        row = book.once(
            case, 0, lambda data=data, labels=labels: ranking(given.data, data, labels, given.cleanlab, peer)
        )  # type: ignore[misc]
        print(json.dumps({"case": case} | row["values"], ensure_ascii=False), flush=True)
    print(f"\n{book.publish()}")


def ranking(folder: Path, data: str, labels: str, python: Path, peer: Path) -> Row:
    """Average precision of what people got wrong, ours and cleanlab's, each with its seconds from pictures or recordings to ranking."""
    from sklearn.metrics import average_precision_score

    from sartor.data import audit, doubt

    dataset, keys, truth, names = rows_of(folder, data)
    given = labels_of(folder, data, labels)
    codes = np.array([names.index(label) for label in given])
    wrong = codes != truth
    every = np.arange(len(dataset))
    began = time.monotonic()
    told = doubt.doubts(dataset, keys, codes, every, {}, seed=0)["train"]
    seconds = time.monotonic() - began
    clean = doubt.doubts(dataset, keys, truth, every, {}, seed=0)["train"]
    finding = audit._doubtful(dataset, audit.Labels(codes, names), "train", told) if len(told.wrong) else None
    began = time.monotonic()
    features = np.asarray(doubt.features(dataset, told.rows, seen=len(told.rows)))
    reading_s = time.monotonic() - began
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place) / "given.npy", told.given)
        np.save(Path(place) / "probabilities.npy", told.probabilities)
        np.save(Path(place) / "features.npy", features)
        subprocess.run([python, peer, place], check=True, stdout=subprocess.DEVNULL)
        said = json.loads((Path(place) / "told.json").read_text(encoding="utf-8"))
        scores = dict(np.load(Path(place) / "scores.npz"))

    def precision(score: np.ndarray) -> float:
        return float(average_precision_score(wrong[told.rows], -score))

    ranked = {method: precision(score) for method, score in scores.items() if method.startswith("our probabilities")}
    best = max(ranked, key=lambda method: ranked[method])
    return {
        "rows": len(told.rows),
        "wrong": int(wrong[told.rows].sum()),
        "precision": precision(told.quality),
        "seconds": seconds,
        "peer": precision(scores["CleanLearning, features"]),
        "peer_seconds": reading_s + said["seconds"]["CleanLearning, features"],
        "peer_version": said["version"],
        "ranked_by_peer": ranked[best],
        "ranked_by_peer_how": best.removeprefix("our probabilities, "),
        "rate": told.rate,
        "low": told.low,
        "high": told.high,
        "found": len(told.wrong),
        "found_right": float(wrong[told.rows][told.wrong].mean()) if len(told.wrong) else 0.0,
        "severity": finding.severity if finding else "nothing",
        "false_alarms": len(clean.wrong) / len(clean.rows),
    }


@lru_cache(maxsize=1)
def rows_of(folder: Path, data: str) -> tuple[Any, np.ndarray, np.ndarray, list[str]]:
    """(dataset, keys, the true class of each row [n], names of classes), the rows in the order of the file that labels them."""
    from sartor.data import read, split

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        archive = {"cifar10": "cifar10_sample.zip", "emodb": "wav.zip"}[data]
        shutil.copyfile(folder / data / archive, place / archive)
        files, truth = _column(folder, data, "file"), labels_of(folder, data, "clean")
        with (place / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "label"), *zip(files, truth, strict=True)])
        dataset = read.read(place / "rows.csv", target="label")
    assert len(dataset) == len(files)
    names = sorted(set(truth))
    return dataset, split.row_keys(dataset), np.array([names.index(label) for label in truth]), names


def labels_of(folder: Path, data: str, labels: str) -> list[str]:
    """The labels of one annotator, or the clean ones."""
    if data == "emodb":
        name = "labels.csv" if labels == "clean" else "labels_as_published_in_repo.csv"
        with (folder / data / name).open(encoding="utf-8", newline="") as file:
            told = {row["file"]: SYNONYMS.get(row["emotion"], row["emotion"]) for row in csv.DictReader(file)}
        return [told[name] for name in _column(folder, data, "file")]
    return _column(folder, data, labels)


def _column(folder: Path, data: str, name: str) -> list[str]:
    table = {"cifar10": "train_human_noisy_labels.csv", "emodb": "labels.csv"}[data]
    with (folder / data / table).open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
