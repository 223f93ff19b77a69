"""What is served against what was trained: the server's answers beside those of the weights in PyTorch, on real test rows.

`python -m bench.parity`: of the bundles that `bench.modalities` built, or of those that are named. The graph in float is held to the weights; of one in eight bits the answers that
change are counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.quality import data_of
from bench.record import Row
from bench.serve import ask, difference, started
from sartor import bundle as bundles
from sartor import export, leaves
from sartor.data import store
from sartor.predict import Predictor, portable

TOLERANCE = 1e-4
ROWS = {"image": 1_000, "audio": 300}  # test rows that are asked, by what a bundle reads
CELLS = 5_000  # of a table
CLIENTS = 4
COLUMNS = {
    "bundle": lambda v: v["bundle"],
    "reads": lambda v: v["reads"],
    "rows": lambda v: f"{v['rows']:,}",
    "float, served: off by at most": lambda v: f"{v['worst']:.1e}",
    "equal to 1e-4": lambda v: f"{v['equal']:,} of {v['rows']:,}",
    "served graph": lambda v: v["precision"],
    "answers that it changes": lambda v: f"{v['flips']:,}",
}


def main() -> None:
    """Compares what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE")
    given = parser.parse_args()
    built = sorted(path.parent for path in (record.OUT / "modalities").glob("*/report.json"))
    book = record.book("parity", __file__, *record.SERVER, columns=COLUMNS, short=False)
    for bundle in given.bundles or built:
        name = bundle.resolve().name.rsplit("-", 1)[0]
        case = f"{name} {bundles.load(bundle).digest[:12]}"
        row = book.once(case, 0, lambda b=bundle, n=name: parity(b, n))  # type: ignore[misc]
        print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    print(book.publish())


def parity(path: Path, name: str) -> Row:
    """One bundle."""
    bundle = bundles.load(path)
    head = bundle.meta["heads"][0]
    kinds = sorted({column["kind"] for column in bundle.meta["inputs"]})
    rows = rows_of(path, head, ROWS.get(kinds[0], CELLS))
    wanted = Predictor(bundle, runtime="torch").predict(rows)
    bodies = [json.dumps(portable(row), ensure_ascii=False).encode() for row in rows]
    precision = str(bundle.meta["runtime"].get("precision", "float32"))
    with tempfile.TemporaryDirectory() as folder:
        whole = path if precision == "float32" else export.to_runtime(path, "onnx", Path(folder) / "float").path
        told = [served(one, bodies) for one in dict.fromkeys((whole, path))]
    apart = [difference(*pair) for pair in zip(told[0], wanted, strict=True)]
    same = leaves.load("task", head["task"]).same
    return {
        "bundle": name,
        "reads": " and ".join(kinds),
        "rows": len(rows),
        "worst": max(apart),
        "equal": sum(one <= TOLERANCE for one in apart),
        "precision": precision,
        "flips": sum(not same(*pair) for pair in zip(told[-1], wanted, strict=True)),
    }


def served(bundle: Path, bodies: list[bytes]) -> list[dict[str, Any]]:
    """The answers of the server of a bundle, in order."""
    with started(bundle) as (address, _):
        return ask(address, bodies, clients=CLIENTS)


def rows_of(path: Path, head: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Test rows, spread over all of them."""
    dataset, splits = store.load(data_of(path))
    found = leaves.load("task", head["task"]).examples(dataset, splits.test, head["target"])
    places = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).astype(int))
    return [found.inputs[int(place)] for place in places]


if __name__ == "__main__":
    main()
