"""The data sets of `bench.climb` as CSV files that every system reads alike, and the rows that are drawn from them.

Judged is on the whole test file, wherever else one of its rows may stand: so is every system.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import record

TEXT, LABEL = "text", "label"
WORKER = (sys.executable, "-m", "bench.climb_worker")  # the program that follows plans
# What of Sartor's source decides nothing that a plan of steps computes, or how fast: it plans, judges, tells or serves.
BESIDE = (
    "abstain",
    "board",
    "bounds",
    "calibrate",
    "cli",
    "cost",
    "curve",
    "cuts",
    "display",
    "errors",
    "events",
    "explain",
    "front",
    "gain",
    "journal",
    "label",
    "ledger",
    "line",
    "measure",
    "needs",
    "package",
    "page",
    "prospect",
    "relax",
    "report",
    "run",
    "verify",
)
# And what no plan of steps that tells the classes of texts ever loads.
NOT_OF_TEXTS = (
    "backbone/classics",
    "backbone/convnet",
    "backbone/fusion",
    "backbone/linear",
    "backbone/melnet",
    "backbone/speech",
    "backbone/trees",
    "backbone/vision",
    "mel",
    "modality/audio",
    "modality/category",
    "modality/date",
    "modality/image",
    "modality/number",
    "pixels",
    "sound",
    "step/fuse",
    "tables",
    "task/multilabel",
    "task/regress",
)


def steps_alone(*, texts: bool = True) -> tuple[str, ...]:
    """The files below `sartor/` that decide what a plan of steps computes, for books of figures that are not those of whole builds.

    texts: a plan that tells the classes of texts.
    """
    root, beside = record.ROOT / "sartor", BESIDE + (NOT_OF_TEXTS if texts else ())
    found = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    return tuple(str(path) for path in found if path.parts[0] != "serve" and path.as_posix()[:-3] not in beside)


def _tabbed(file: Path) -> Iterator[tuple[str, ...]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        text, _, label = line.rpartition("\t")
        yield text, label


def _named(*columns: str, delimiter: str = ",") -> Callable[[Path], Iterator[tuple[str, ...]]]:
    def read(file: Path) -> Iterator[tuple[str, ...]]:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter=delimiter):
                yield tuple(row[column] for column in columns)

    return read


def _news(file: Path) -> Iterator[tuple[str, ...]]:
    with file.open(encoding="utf-8", newline="") as stream:
        for label, title, text in csv.reader(stream):
            yield f"{title} {text}", label


@dataclass(frozen=True)
class Source:
    """A data set as it lies there. files: by part. read: from a file to its rows, in the order of `columns`."""

    files: dict[str, str]
    read: Callable[[Path], Iterable[tuple[str, ...]]]
    columns: tuple[str, ...] = (TEXT, LABEL)


_PARTS = {"train": "train.csv", "test": "test.csv"}
_TITLED = ("productDisplayName", "subCategory", "season")
_PAIRED = ("sentence_A", "sentence_B", "entailment_judgment", "relatedness_score")
SOURCES = {
    "sst2": Source({"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}, _tabbed),
    "banking77": Source(_PARTS, _named("text", "category")),
    "ag_news": Source(_PARTS, _news),
    "thucnews_titles": Source({"train": "train.txt", "test": "test.txt"}, _tabbed),
    "fashion_products": Source(_PARTS, _named(*_TITLED), _TITLED),
    "sick": Source(
        {"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}, _named(*_PAIRED, delimiter="\t"), _PAIRED
    ),
}


def files(data: Path, name: str, *, rows: int | None = None) -> dict[str, Path]:
    """{part: CSV with a header}. rows: only so many of each part, spread over it."""
    source, found = SOURCES[name], {}
    for part, file in source.files.items():
        table = list(source.read(data / name / file))
        kept = table if rows is None else [table[i] for i in spread(len(table), rows)]
        found[part] = write(record.OUT / "climb" / "data" / f"{name}{rows or ''}" / f"{part}.csv", source.columns, kept)
    return found


def minilm() -> str:
    """The folder of the checkpoint that every system starts from."""
    from sartor import leaves

    return str(leaves.load("backbone", "hub").find("minilm"))


def made(folder: Path) -> Path:
    """The same folder, which is there then."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def spread(count: int, most: int) -> list[int]:
    """At most so many places of so many, evenly spread."""
    return list(range(count)) if count <= most else np.linspace(0, count - 1, most).round().astype(int).tolist()


def write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """A CSV file with a header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file


def rows_of(file: Path) -> Iterator[list[str]]:
    """The rows of what `write` wrote."""
    with file.open(encoding="utf-8", newline="") as stream:
        yield from itertools.islice(csv.reader(stream), 1, None)


def read(parts: dict[str, Path]) -> Ground:
    """The rows of these files with a text and a label each, split as a build splits them."""
    from sartor.data import read as reading
    from sartor.data import split

    dataset = reading.read({part: str(file) for part, file in parts.items()}, input=(TEXT,), target=LABEL)
    return Ground(dataset, split.split(dataset, target=LABEL, task="classify"))


@dataclass(frozen=True)
class Ground:
    """Rows with a text and a label each, and their split."""

    dataset: Any
    splits: Any

    def rows(self, part: str) -> dict[str, list[str]]:
        """{text: …, label: …} of the rows of a part, for a peer."""
        from sartor.data.dataset import Rows

        found = Rows(self.dataset.table, [TEXT, LABEL], getattr(self.splits, part))
        return {name: [str(value) for value in found.column(name)] for name in (TEXT, LABEL)}

    def stored(self, folder: Path) -> str:
        """Where a process that follows plans finds it: in this folder."""
        from sartor.data import store

        store.save(self.dataset, self.splits, folder)
        return str(folder)

    def few(self, each: int, seed: int) -> Ground:
        """With so many training rows of every class, drawn from all that are given for training, and nothing held back from them."""
        pool = np.sort(np.concatenate([self.splits.train, self.splits.valid]))
        pool = np.intersect1d(pool, self.dataset.rows_of("train"))
        labels = np.array(self.dataset.table.column(LABEL).to_pylist(), dtype=object)[pool].astype(str)
        rng = np.random.default_rng(seed)
        drawn = [
            rng.choice(pool[labels == label], min(each, int((labels == label).sum())), replace=False)
            for label in np.unique(labels)
        ]
        return self._alone(np.concatenate(drawn))

    def briefly(self, rows: int) -> Ground:
        """Judged by so many test rows only: to warm up, or to take the time."""
        return replace(self, splits=replace(self.splits, test=self.splits.test[:rows]))

    def many(self, count: int) -> Ground:
        """With so many training rows, drawn from all that are given for training, and nothing held back from them."""
        pool = np.intersect1d(np.concatenate([self.splits.train, self.splits.valid]), self.dataset.rows_of("train"))
        return self._alone(np.random.default_rng(0).choice(pool, min(count, len(pool)), replace=False))

    def _alone(self, train: np.ndarray) -> Ground:
        return replace(self, splits=replace(self.splits, train=np.sort(train), valid=train[:0], leaked=train[:0]))
