"""More rows: whether learning curves forecast what happens, and how many labels `sartor label` saves against drawing at random.

`python -m bench.growth --data DIR`. A forecast is made from a quarter of the training rows (scores on a 32nd, a 16th, an eighth and a
quarter of them) and held against the score on all of them, by the same candidates and functions as a build. Labels are bought in
batches, by what the command chooses and at random, and a linear layer on frozen embeddings is trained on what was bought.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import record
from bench.record import Book, Row

FILES = {
    "sst2": ("train.tsv", "test.tsv"),
    "banking77": ("train.csv", "test.csv"),
    "ag_news": ("train.csv", "test.csv"),
    "thucnews_titles": ("train.txt", "test.txt"),
    "chnsenticorp_hotel": ("train.csv", "test.csv"),
}
CASES = [(name, "ngram") for name in FILES] + [
    ("sst2", "frozen"),
    ("banking77", "frozen"),
    ("ag_news", "frozen"),
    ("sst2", "tuned"),
    ("banking77", "tuned"),
]
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
WANTED_INSIDE, WANTED_WIDTH = 0.8, 0.04
BOUGHT = {"banking77": (100, 50, 1000), "ag_news": (40, 20, 400)}  # labels at first, in a batch, at last
SEEDS = (0, 1, 2, 3, 4)
STRENGTH = 0.03  # of the layer that is trained on what was bought
WANTED_SHARE = 0.7
PARTS = (
    "backbone/hub.py",
    "backbone/ngram.py",
    "curve.py",
    "data/doubt.py",
    "embed.py",
    "label.py",
    "modality/text.py",
    "ngrams.py",
    "step/fit.py",
    "step/train.py",
    "task/classify.py",
)


def main() -> None:
    """Makes the rows that are missing, and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--only", help="only cases whose name holds this; kept apart, never published")
    given = parser.parse_args()
    book = record.book("growth", __file__, columns={}, short=given.only is not None, parts=PARTS)
    for name, kind in CASES:
        case = f"forecast, {name}, {kind}"
        if given.only is None or given.only in case:
            work = lambda name=name, kind=kind: forecast(given.data / name, *FILES[name], name, kind)  # noqa: E731
            print(json.dumps(book.once(case, 0, work)["values"]), flush=True)
    for name in BOUGHT:
        case = f"labels, {name}"
        if given.only is None or given.only in case:
            work = lambda name=name: bought(given.data / name, *FILES[name], name)  # noqa: E731
            print(json.dumps(book.once(case, 0, work)["values"]), flush=True)
    print(f"\n{book.publish(tables)}")


def forecast(folder: Path, train: str, test: str, name: str, kind: str) -> Row:
    """What a quarter of the rows foretold of the score on all of them, and that score, both on the rows of the test file."""
    from sartor import curve, line, needs
    from sartor.front import Front
    from sartor.run import Run

    # The test file serves as validation: what a forecast is of, and large enough to see whether it holds.
    parts = {"train": str(folder / train), "valid": str(folder / test)}
    asked = needs.make(data=parts, backbone="none" if kind == "ngram" else "minilm")
    with tempfile.TemporaryDirectory(dir=_made(record.OUT)) as out, Run(Path(out) / "run", identity={}) as run:
        ground = line.prepare(asked, run)
        front = Front(asked, line.profile(ground, run), task=ground.task, test_rows=ground.clean_test_rows)
        plan = next(one.plan for one in front.possible() if one.kind == ("linear" if kind == "ngram" else kind))
        plan = plan.without(line.PACKING)
        full = len(ground.splits.train)
        sizes = [round(share * full) for share in SHARES]
        scores = [line.score_with(size, plan, ground, asked, run) for size in sizes]
        found = curve.fit(sizes, scores, trials=len(ground.splits.valid)).score(full)
        real = line.score_with(full, plan, ground, asked, run)
    return {
        "data": name,
        "kind": kind,
        "rows": full,
        "trials": len(ground.splits.valid),
        "scores": scores,
        "forecast": found.as_dict(),
        "real": real,
        "inside": bool(found.low <= real <= found.high),
    }


def bought(folder: Path, train: str, test: str, name: str) -> Row:
    """Accuracy after each batch, chosen and drawn, mean over seeds; and the share of labels that choosing takes for the accuracy of the draw."""
    from sklearn.linear_model import LogisticRegression

    from sartor import embed, label
    from sartor.data import audit, read, split

    dataset = read.read({"train": str(folder / train), "test": str(folder / test)})
    target = dataset.schema.targets[0].name
    keys, codes = split.row_keys(dataset), audit.labels_of(dataset, target).codes
    usable = np.flatnonzero((keys >= 0) & (codes >= 0))
    pool, judged = (np.intersect1d(usable, dataset.rows_of(part)) for part in ("train", "test"))
    pool = np.sort(pool[np.unique(keys[pool], return_index=True)[1]])
    made = embed.embedder(dataset)(np.concatenate([pool, judged]))
    inside, outside = made[: len(pool)], made[len(pool) :]
    truth = codes[pool]
    places = inside / np.linalg.norm(inside, axis=1, keepdims=True)
    begin, batch, end = BOUGHT[name]
    began = time.monotonic()
    curves: dict[str, list[list[float]]] = {"chosen": [], "drawn": []}
    for seed in SEEDS:
        first = np.random.default_rng(seed).permutation(len(pool))[:begin]
        for way, told in curves.items():
            have, rng = first, np.random.default_rng(seed + 100)
            told.append([])
            while True:
                layer = LogisticRegression(C=STRENGTH, max_iter=200).fit(inside[have], truth[have])
                told[-1].append(float((layer.predict(outside) == codes[judged]).mean()))
                if len(have) >= end:
                    break
                rest = np.setdiff1d(np.arange(len(pool)), have)
                if way == "drawn":
                    picked = rng.choice(len(rest), batch, replace=False)
                else:
                    _, given = np.unique(truth[have], return_inverse=True)
                    likely = label.likely(np.vstack([inside[have], inside[rest]]), given, have, seed=seed)
                    picked = label.choose(likely, places[rest], batch, seed=seed)
                have = np.concatenate([have, rest[picked]])
    sizes = list(range(begin, end + 1, batch))
    mean = {way: np.mean(told, axis=0) for way, told in curves.items()}
    reached = np.flatnonzero(mean["chosen"] >= mean["drawn"][-1])
    return {
        "data": name,
        "sizes": sizes,
        "chosen": mean["chosen"].tolist(),
        "drawn": mean["drawn"].tolist(),
        "of_seeds": curves,
        "labels": sizes[reached[0]] if len(reached) else None,
        "share": sizes[reached[0]] / end if len(reached) else None,
        "seconds": time.monotonic() - began,
    }


def tables(book: Book) -> str:
    """The forecasts, then the labels."""
    from sartor import curve

    rows = book.rows()
    if not rows:
        return record.NOTHING
    foretold = [row["values"] for row in rows if "forecast" in row["values"]]
    body = []
    if foretold:
        lines = [
            [
                told["data"],
                told["kind"],
                f"{told['rows']:,}",
                " ".join(f"{score:.3f}" for score in told["scores"]),
                f"{told['forecast']['mid']:.3f} ({told['forecast']['low']:.3f} – {told['forecast']['high']:.3f})",
                f"{told['real']:.3f}",
                "yes" if told["inside"] else "no",
            ]
            for told in foretold
        ]
        titles = ("data set", "model", "rows", "score on 1/32, 1/16, 1/8, 1/4", "forecast for all", "real", "inside")
        width = float(np.median([told["forecast"]["high"] - told["forecast"]["low"] for told in foretold]))
        inside = sum(told["inside"] for told in foretold)
        body.append(f"What a quarter of the rows foretells, with an interval of {curve.COVERAGE:.0%}:")
        body.append(record.markdown(titles, lines))
        body.append(f"{inside} of {len(foretold)} lie inside; the median interval is {100 * width:.1f} points wide.")
    for told in (row["values"] for row in rows if "drawn" in row["values"]):
        head = ("labels", *(f"{size:,}" for size in told["sizes"]))
        lines = [
            [way, *(f"{value:.3f}" for value in told[key])]
            for way, key in (("chosen", "chosen"), ("at random", "drawn"))
        ]
        share = "not reached" if told["share"] is None else f"{told['labels']:,} chosen labels, {told['share']:.0%}"
        body.append(
            f"{told['data']}: accuracy by labels bought, mean of {len(SEEDS)} seeds. What {told['sizes'][-1]:,} at random reach takes {share}."
        )
        body.append(record.markdown(head, lines))
    return "\n\n".join([*body, record.made(rows)])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
