"""Wrong labels: how well planted ones are ranked, beside cleanlab, and what removing the doubtful rows is worth.

`python -m bench.labels --data DIR --cleanlab PYTHON`, PYTHON being the interpreter of an environment with cleanlab. Labels are
flipped in training rows. cleanlab is taken at its best: every ranking that it has on the very probabilities that we rank, and
CleanLearning with logistic regression in five folds, on TF-IDF and on the embeddings of MiniLM.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench import record
from bench.record import Book, Row

FILES = {"sst2": "train.tsv", "banking77": "train.csv", "thucnews_titles": "train.txt"}
ENGLISH = ("sst2", "banking77")  # what MiniLM reads
RATES, KINDS = (0.08, 0.25), ("uniform", "confusable")
GAIN_RATE, GAIN_SEEDS = 0.25, (0, 1, 2, 3, 4)
HELD = 0.2  # of the rows, carved out clean, on which the worth of removing rows is measured
CHOOSING = 0.15  # of the rows to learn from, as they are labelled, that choose the strength of the solver
STRENGTHS = {"n-grams": (0.03, 0.3), "MiniLM": (0.003, 0.03)}
PARTS = (
    "backbone/hub.py",
    "data/audit.py",
    "data/doubt.py",
    "modality/text.py",
    "ngrams.py",
    "step/fit.py",
    "task/classify.py",
)

RANKING = {
    "data set": lambda v: v["data"],
    "flips": lambda v: f"{v['rate']:.0%} {v['kind']}",
    "n-grams": lambda v: _told(v, "n-grams"),
    "n-grams and MiniLM": lambda v: _told(v, "n-grams and MiniLM"),
    "cleanlab on TF-IDF": lambda v: _told(v, "cleanlab, TF-IDF"),
    "cleanlab on MiniLM": lambda v: _told(v, "cleanlab, MiniLM"),
    "its best ranking of our probabilities": lambda v: f"{v['ranked_by_peer']:.3f} ({v['ranked_by_peer_how']})",
    "found (right)": lambda v: f"{v['found']:,} ({v['found_right']:.0%})",
    "rate estimated": lambda v: f"{v['rate_estimated']:.1%}",
    "rows doubted without flips": lambda v: f"{v['false_alarms']:.1%}",
}
GAIN_TITLES = (
    "data set",
    "flips",
    "model",
    "accuracy, all rows",
    "doubtful rows removed",
    "relabelled",
    "gain of removing",
    "of relabelling",
)


def main() -> None:
    """Makes the rows that are missing, and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.labels", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--cleanlab", type=Path, required=True, help="the interpreter of an environment with cleanlab")
    parser.add_argument("--only", action="append", choices=list(FILES), help="a data set; repeatable")
    parser.add_argument("--rows", type=int, help="only so many rows of each; kept apart, never published")
    given = parser.parse_args()
    peer = Path(__file__).with_name("cleanlab_peer.py")
    short = given.rows is not None
    book = record.book("labels", __file__, peer, columns=RANKING, short=short, parts=PARTS)
    suffix = f" ({given.rows} rows)" if short else ""
    if given.only is None and not short:
        print(json.dumps(book.once("imdb_reviews, audited test rows", 0, lambda: audited(given.data))["values"]))
    for name in given.only or FILES:
        data = Labelled(given.data / name / FILES[name], given.rows)
        for rate in RATES:
            for kind in KINDS:
                case = f"{name}, {rate:.0%} {kind}{suffix}"
                work = lambda rate=rate, kind=kind, data=data: ranking(data, name, rate, kind, given.cleanlab, peer)  # noqa: B023, E731
                told = book.once(case, 0, work)["values"]
                print(json.dumps({"case": case} | told, ensure_ascii=False), flush=True)
        for model in STRENGTHS if name in ENGLISH else ("n-grams",):
            for kind in KINDS:
                for seed in GAIN_SEEDS:
                    case = f"{name}, {GAIN_RATE:.0%} {kind}, training {model}{suffix}"
                    work = lambda kind=kind, seed=seed, data=data, model=model: gain(data, name, kind, model, seed)  # noqa: B023, E731
                    told = book.once(case, seed, work)["values"]
                    print(json.dumps({"case": case, "seed": seed} | told, ensure_ascii=False), flush=True)
    print(f"\n{book.publish(tables)}")


@dataclass
class Labelled:
    """The usable rows of a file, or a sample of them."""

    file: Path
    most: int | None

    @cached_property
    def dataset(self) -> Any:
        from sartor.data import read

        return read.read(str(self.file))

    @cached_property
    def rows(self) -> np.ndarray:
        from sartor.data import split

        kept = split.usable_rows(self.dataset, target=self.dataset.schema.targets[0].name, task="classify")
        if self.most is not None and self.most < len(kept):
            kept = np.sort(np.random.default_rng(0).choice(kept, self.most, replace=False))
        return np.asarray(kept)

    @cached_property
    def inputs(self) -> Any:
        from sartor.data.dataset import Rows

        return Rows(self.dataset.table, [column.name for column in self.dataset.schema.inputs], self.rows)

    @cached_property
    def texts(self) -> list[str]:
        return [" ".join(str(value or "") for value in row.values()) for row in self.inputs]

    @cached_property
    def truth(self) -> np.ndarray:
        from sartor.data.dataset import Rows

        target = self.dataset.schema.targets[0].name
        labels = [str(label).strip() for label in Rows(self.dataset.table, [target], self.rows).column(target)]
        return np.asarray(np.unique(np.array(labels), return_inverse=True)[1])

    @cached_property
    def keys(self) -> np.ndarray:
        from sartor.data import split

        return split.row_keys(self.dataset)

    @property
    def classes(self) -> int:
        return int(self.truth.max()) + 1

    @cached_property
    def embedded(self) -> tuple[np.ndarray, float]:
        """(frozen features of MiniLM, standardised; the seconds that they took)."""
        from sartor.backbone import hub
        from sartor.hardware import has_bf16
        from sartor.step import fit

        began = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            folder, columns = Path(name), self.inputs.columns
            meta = hub.start(hub.EMBEDDED, folder, columns=columns, inputs=self.inputs, seed=0, max_tokens=128)
            body = hub.body(folder, meta).eval()
            body.load_state_dict(hub.base_weights(meta), strict=False)
            quiet = SimpleNamespace(progress=lambda *_, **__: None)
            model = SimpleNamespace(body=body)
            made = fit.embed(model, hub.processor(folder, meta), self.inputs, quiet, bf16=has_bf16())
        return fit.standardised(made)[0], time.monotonic() - began

    @cached_property
    def confusable(self) -> np.ndarray:
        """For each class the other that a plain model, out of fold, finds likeliest in its rows."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_predict

        # Not a model of ours: the flips should not be made to the measure of what looks for them.
        reader = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
        features = reader.fit_transform(self.texts)
        told = cross_val_predict(LogisticRegression(max_iter=100), features, self.truth, cv=3, method="predict_proba")
        means = np.array([told[self.truth == code].mean(axis=0) for code in range(self.classes)])
        np.fill_diagonal(means, -1)
        return np.asarray(means.argmax(axis=1))

    def flipped(self, rate: float, kind: str, seed: int, places: np.ndarray | None = None) -> np.ndarray:
        """The labels [n] with a share of them wrong: any other class, or the one that models confuse it with most.

        places: those that may be flipped; all when left out.
        """
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        places = np.arange(len(self.truth)) if places is None else places
        wrong = places[rng.random(len(places)) < rate]
        given = self.truth.copy()
        if kind == "uniform":
            given[wrong] = (given[wrong] + rng.integers(1, self.classes, len(wrong))) % self.classes
        else:
            given[wrong] = self.confusable[given[wrong]]
        return given

    def doubted(
        self, given: np.ndarray, places: np.ndarray | None = None, seed: int = 0, *, embed: bool = False
    ) -> tuple[Any, float]:
        """(doubts about the labels `given` of the rows at these places, seconds from texts to ranking)."""
        from sartor.data import doubt

        places = np.arange(len(given)) if places is None else places
        codes = np.full(len(self.dataset), -1)
        codes[self.rows] = given
        took = self.embedded[1] if embed else 0.0  # once for all cases; each is charged with it
        began = time.monotonic()
        features = (lambda rows: self.embedded[0][np.searchsorted(self.rows, rows)]) if embed else None
        told = doubt.doubts(self.dataset, self.keys, codes, self.rows[places], {}, seed=seed, embed=features)["train"]
        return told, took + time.monotonic() - began


def ranking(data: Labelled, name: str, rate: float, kind: str, python: Path, peer: Path) -> Row:
    """Average precision of the planted flips, ours and cleanlab's, with the time of each from texts to ranking."""
    from sklearn.metrics import average_precision_score

    given = data.flipped(rate, kind, 0)
    wrong = given != data.truth
    ours = {"n-grams": data.doubted(given)}
    if name in ENGLISH:
        ours["n-grams and MiniLM"] = data.doubted(given, embed=True)
    doubts, _ = list(ours.values())[-1]
    clean, _ = data.doubted(data.truth, embed=name in ENGLISH)
    judged = np.searchsorted(data.rows, doubts.rows)  # without rows of classes that are too small
    embeddings, embedding_s = data.embedded
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "texts.json").write_text(json.dumps([data.texts[i] for i in judged]), encoding="utf-8")
        np.save(place / "given.npy", doubts.given)
        np.save(place / "probabilities.npy", doubts.probabilities)
        np.save(place / "embeddings.npy", embeddings[judged])
        subprocess.run([python, peer, place], check=True, stdout=subprocess.DEVNULL)
        told = json.loads((place / "told.json").read_text(encoding="utf-8"))
        scores = dict(np.load(place / "scores.npz"))

    def precision(score: np.ndarray) -> float:
        return float(average_precision_score(wrong[judged], -score))

    systems = {
        system: {"precision": precision(found.quality), "seconds": seconds} for system, (found, seconds) in ours.items()
    }
    for reader, before in (("TF-IDF", 0.0), ("MiniLM", embedding_s)):
        method = f"CleanLearning, {reader}"
        seconds = before + told["seconds"][method]
        systems[f"cleanlab, {reader}"] = {"precision": precision(scores[method]), "seconds": seconds}
    ranked = {method: precision(score) for method, score in scores.items() if method.startswith("our probabilities")}
    best = max(ranked, key=lambda method: ranked[method])
    return {
        "data": name,
        "rate": rate,
        "kind": kind,
        "rows": len(judged),
        "systems": systems,
        "found": len(doubts.wrong),
        "found_right": float(wrong[judged][doubts.wrong].mean()) if len(doubts.wrong) else 0.0,
        "rate_estimated": doubts.rate,
        "rate_interval": [doubts.low, doubts.high],
        "false_alarms": len(clean.wrong) / len(clean.rows),
        "peer_version": told["version"],
        "ranked_by_peer": ranked[best],
        "ranked_by_peer_how": best.removeprefix("our probabilities, "),
    }


def gain(data: Labelled, name: str, kind: str, model: str, seed: int) -> Row:
    """Accuracy on clean rows that were held back, of training on all rows, without the doubtful, and with them relabelled."""
    rng = np.random.default_rng(seed)
    units, unit = np.unique(data.keys[data.rows], return_inverse=True)
    held = (rng.random(len(units)) < HELD)[unit.reshape(-1)]
    learning, judged = np.flatnonzero(~held), np.flatnonzero(held)
    given = data.flipped(GAIN_RATE, kind, seed, learning)
    found, seconds = data.doubted(given, learning, seed, embed=name in ENGLISH)
    doubtful = np.searchsorted(data.rows, found.rows[found.wrong])
    mended = given.copy()
    mended[doubtful] = found.classes[found.suggested[found.wrong]]
    if model == "MiniLM":
        made: Any = data.embedded[0]
    else:
        from sartor.data import doubt

        order = np.concatenate([learning, judged])
        made = doubt.features(data.dataset, data.rows[order], seen=len(learning))[np.argsort(order)]
    choosing = learning[rng.random(len(learning)) < CHOOSING]
    ways = {
        "all": (learning, given),
        "removed": (np.setdiff1d(learning, doubtful), given),
        "relabelled": (learning, mended),
    }
    accuracy = {}
    for way, (rows, labels) in ways.items():
        fitted = np.setdiff1d(rows, choosing)
        strength = max(STRENGTHS[model], key=lambda c: _right(made, labels, fitted, given, choosing, model, c, seed))
        accuracy[way] = _right(made, labels, rows, data.truth, judged, model, strength, seed)
    return {
        "data": name,
        "rate": GAIN_RATE,
        "kind": kind,
        "model": model,
        "gain": accuracy,
        "doubted": len(found.wrong),
        "seconds": seconds,
    }


def _right(
    made: Any,
    labels: np.ndarray,
    rows: np.ndarray,
    truth: np.ndarray,
    judged: np.ndarray,
    model: str,
    strength: float,
    seed: int,
) -> float:
    """Accuracy of a linear model of these rows: support vectors on n-grams, logistic regression on embeddings."""
    from sklearn.svm import LinearSVC

    from sartor.task import classify

    if model == "MiniLM":
        spec = {"classes": list(range(int(truth.max()) + 1))}
        weight, bias = classify.fit_linear(made[rows], labels[rows], spec, strength=strength, seed=seed)
        return float(((made[judged] @ weight.T + bias).argmax(axis=1) == truth[judged]).mean())
    solver = LinearSVC(C=strength, tol=0.01, random_state=seed)
    return float((solver.fit(made[rows], labels[rows]).predict(made[judged]) == truth[judged]).mean())


def audited(folder: Path) -> Row:
    """How the test reviews of imdb rank that people audited: their labels as published, by what the training reviews teach."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    from sartor.data import audit, doubt, read, split

    source = folder / "imdb_reviews"
    dataset = read.read(str(source / "aclImdb_sample.zip"))
    target = dataset.schema.targets[0].name
    keys, codes = split.row_keys(dataset), audit.labels_of(dataset, target).codes
    usable = np.flatnonzero((keys >= 0) & (codes >= 0))
    parts = {name: np.intersect1d(usable, dataset.rows_of(name)) for name in ("train", "test")}
    began = time.monotonic()
    told = doubt.doubts(dataset, keys, codes, parts["train"], {"test": parts["test"]}, seed=0)["test"]
    seconds = time.monotonic() - began
    said = _people_said(source / "label_audit.csv", dataset, told.rows)
    wrong, either = said == "wrong", np.isin(said, ["wrong", "ambiguous"])
    rank = np.empty(len(told.rows), dtype=int)
    rank[np.argsort(told.quality, kind="stable")] = np.arange(len(told.rows))
    return {
        "rows": len(told.rows),
        "wrong": int(wrong.sum()),
        "ambiguous": int(either.sum() - wrong.sum()),
        "precision_wrong": float(average_precision_score(wrong, -told.quality)),
        "auc_wrong": float(roc_auc_score(wrong, -told.quality)),
        "auc_either": float(roc_auc_score(either, -told.quality)),
        "median_rank_wrong": float(np.median(rank[wrong])),
        "median_rank_ambiguous": float(np.median(rank[either & ~wrong])),
        "wrong_in_first_tenth": float((rank[wrong] < len(rank) / 10).mean()),
        "found": len(told.wrong),
        "seconds": seconds,
    }


def _people_said(table: Path, dataset: Any, rows: np.ndarray) -> np.ndarray:
    """The verdict on each row that people looked at, '' for the others. Files are found again by what they say."""
    from sartor.modality import text

    with zipfile.ZipFile(table.with_name("aclImdb_sample.zip")) as held, table.open(encoding="utf-8") as file:
        verdicts = {text.key(held.read(line["file"]).decode("utf-8")): line["verdict"] for line in csv.DictReader(file)}
    column = dataset.table.column(dataset.schema.inputs[0].name)
    return np.array([verdicts.get(text.key(column[int(row)].as_py()), "") for row in rows])


def tables(book: Book) -> str:
    """The ranking of planted flips, then what acting on it gains, with t intervals over the seeds, then the audited reviews."""
    rows = book.rows()
    if not rows:
        return record.NOTHING
    ranked = [row["values"] for row in rows if "systems" in row["values"]]
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if "gain" in row["values"]:
            key = (row["values"]["data"], row["values"]["kind"], row["values"]["model"])
            found.setdefault(key, []).append(row["values"]["gain"])
    body = []
    if ranked:
        body.append("Average precision of the planted flips, and the seconds from texts to ranking:")
        body.append(record.markdown(RANKING, [[cell(values) for cell in RANKING.values()] for values in ranked]))
    if found:
        body.append(
            f"Training with {GAIN_RATE:.0%} flips: accuracy on clean rows held back, mean over seeds, paired gain with its 95 % interval. "
            "MiniLM: a linear layer on its frozen embeddings."
        )
        body.append(record.markdown(GAIN_TITLES, [_gain_line(*key, gains) for key, gains in found.items()]))
    for told in (row["values"] for row in rows if "auc_wrong" in row["values"]):
        body.append(
            f"imdb_reviews: of {told['rows']:,} test reviews people found {told['wrong']} labelled wrongly and {told['ambiguous']} ambiguous. "
            f"The wrong ones have a median rank of {told['median_rank_wrong']:,.0f}, the ambiguous of {told['median_rank_ambiguous']:,.0f}; "
            f"{told['wrong_in_first_tenth']:.0%} of the wrong stand in the first tenth. Average precision {told['precision_wrong']:.3f} (by chance "
            f"{told['wrong'] / told['rows']:.3f}), AUC {told['auc_wrong']:.3f}, of both kinds {told['auc_either']:.3f}; {told['seconds']:.0f} s."
        )
    return "\n\n".join([*body, record.made(rows)])


def _gain_line(name: str, kind: str, model: str, gains: list[Row]) -> list[str]:
    from scipy.stats import t

    means = [f"{np.mean([each[way] for each in gains]):.3f}" for way in ("all", "removed", "relabelled")]
    told = []
    for way in ("removed", "relabelled"):
        paired = np.array([each[way] - each["all"] for each in gains])
        error = t.ppf(0.975, len(paired) - 1) * paired.std(ddof=1) / np.sqrt(len(paired)) if len(paired) > 1 else np.nan
        told.append(f"{paired.mean():+.3f} ± {error:.3f} (n {len(paired)})")
    return [name, f"{GAIN_RATE:.0%} {kind}", model, *means, *told]


def _told(values: Row, system: str) -> str:
    told = values["systems"].get(system)
    return f"{told['precision']:.3f} ({told['seconds']:.1f} s)" if told else "–"


if __name__ == "__main__":
    main()
