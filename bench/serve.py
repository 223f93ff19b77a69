"""Serving: what a client of `sartor serve` gets, against the same predictor called directly in a process of the same kind.

`python -m bench.serve BUNDLE`: the rows are the bundle's own test rows, or those of --rows FILE.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.record import Row
from sartor import bundle as bundles
from sartor import export, measure
from sartor import needs as need_files
from sartor.measure import Address
from sartor.predict import Predictor

STARTS = 5
CLIENTS = 16
WINDOWS = 6  # each way, in turns: what else the machine does hits both alike
ANSWERS, WINDOW_ROWS = 1_000, 200
TOLERANCE = 1e-5

COLUMNS = {
    "bundle": lambda v: f"{v['bundle']} ({v['runtime']}, {v['size_mb']:.1f} MB)",
    "ready s (median, worst)": lambda v: f"{v['ready_s']:.2f}, {v['ready_worst_s']:.2f}",
    "torch in it": lambda v: {True: "YES", False: "no", None: "unknown"}[v["torch_loaded"]],
    "equal answers of 16 clients": lambda v: f"{v['equal']:,} of {v['answers']:,} (off by {v['worst_difference']:.1e})",
    "p50 ms served, direct": lambda v: (
        f"{v['p50_ms']:.2f}, {v['direct_p50_ms']:.2f} (+{v['p50_ms'] - v['direct_p50_ms']:.2f})"
    ),
    "requests/s at 1, 16": lambda v: f"{v['requests_per_s_1']:,.0f}, {v['requests_per_s_16']:,.0f}",
    "deployed alone": lambda v: "the same answers" if v["deployed_equal"] == v["answers"] else "DIFFERENT",
    "holds": lambda v: "yes" if v["holds"] else "NO",
}


def main() -> None:
    """Measures a bundle that has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rows", type=Path, help="a file of rows instead of the bundle's own test rows")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="another number is kept apart")
    given = parser.parse_args()
    short = given.answers != ANSWERS
    book = record.book("serve", __file__, *record.SERVER, columns=COLUMNS, short=short)
    bundle = bundles.load(given.bundle)
    case = f"{bundle.meta.get('name', 'model')} {bundle.digest[:12]}" + (f" ({given.answers} answers)" if short else "")
    row = book.once(case, 0, lambda: serving(bundle, rows_of(bundle, given.rows), given.answers))
    print(json.dumps(row["values"], ensure_ascii=False, indent=1))
    print(book.publish())
    if not row["values"]["holds"]:
        raise SystemExit("bench.serve: it does not hold")


def serving(bundle: bundles.Bundle, rows: Sequence[Any], count: int) -> Row:
    """Everything of one bundle."""
    rows = list(itertools.islice(itertools.cycle(rows), count))
    predictor = Predictor(bundle)
    wanted = [predictor.predict([row])[0] for row in rows]
    ready_s = []
    for _ in range(STARTS):
        with started(bundle.path) as (_, seconds):
            ready_s.append(seconds)
    bodies = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    with started(bundle.path) as (address, _):
        torch_loaded = loads_torch(address.pid)
        differences = [difference(*pair) for pair in zip(ask(address, bodies, clients=CLIENTS), wanted, strict=True)]
        served: list[np.ndarray] = []
        direct: list[np.ndarray] = []
        rates: dict[int, list[float]] = {1: [], CLIENTS: []}
        window = min(WINDOW_ROWS, count)
        for number in range(WINDOWS + 1):
            begin = number * window
            called = time_direct(predictor, [rows[(begin + i) % count] for i in range(window)])
            took, seconds = measure.drive(address, bodies, clients=1, requests=window, offset=begin)
            crowd, crowd_s = measure.drive(address, bodies, clients=CLIENTS, requests=window, offset=begin)
            if number:  # the first of each warms up
                direct.append(called)
                served.append(took)
                rates[1].append(len(took) / seconds)
                rates[CLIENTS].append(len(crowd) / crowd_s)
    with tempfile.TemporaryDirectory() as folder:
        alone = export.deploy(bundle.path, Path(folder) / "deployed")
        with started(alone.path) as (address, _):
            answers = ask(address, bodies, clients=CLIENTS)
        deployed = sum(difference(*pair) <= TOLERANCE for pair in zip(answers, wanted, strict=True))
        size_mb = alone.deployed_bytes() / 1e6
    p50_ms, direct_p50_ms = (float(np.median(np.concatenate(each))) for each in (served, direct))
    equal = sum(one <= TOLERANCE for one in differences)
    return {
        "bundle": bundle.meta.get("name", "model"),
        "digest": bundle.digest,
        "runtime": " ".join(str(bundle.meta["runtime"].get(key, "")) for key in ("name", "precision")).strip(),
        "size_mb": size_mb,
        "threads": predictor.threads,
        "ready_s": float(np.median(ready_s)),
        "ready_worst_s": max(ready_s),
        "torch_loaded": torch_loaded,
        "answers": count,
        "equal": equal,
        "worst_difference": max(differences),
        "p50_ms": p50_ms,
        "direct_p50_ms": direct_p50_ms,
        "requests_per_s_1": float(np.median(rates[1])),
        "requests_per_s_16": float(np.median(rates[CLIENTS])),
        "deployed_equal": deployed,
        "holds": float(np.median(ready_s)) < 2.0
        and torch_loaded is not True
        and equal == count == deployed
        and p50_ms - direct_p50_ms <= 1.0,
    }


@contextmanager
def started(bundle: Path) -> Iterator[tuple[Address, float]]:
    """`sartor serve` on a free port, and the seconds from its spawn to the line that says it is ready."""
    began = time.monotonic()
    command = [sys.executable, "-m", "sartor.cli", "serve", str(bundle), "--port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        line = child.stdout.readline()
        seconds = time.monotonic() - began
        if not line.startswith("serving http://"):
            child.kill()
            raise SystemExit(f"bench.serve: the server did not start: {line}{child.stderr.read()[-500:]}")
        host, port = line.split("//")[1].split()[0].rsplit(":", 1)
        yield Address(host, int(port), child.pid), seconds
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
        child.stderr.close()


def ask(address: Address, bodies: Sequence[bytes], *, clients: int) -> list[dict[str, Any]]:
    """The answers to all bodies, in order, asked by clients at once, each with a connection of its own."""
    answers: list[dict[str, Any]] = [{}] * len(bodies)
    faults: list[BaseException] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
        try:
            for place in range(number, len(bodies), clients):
                connection.request("POST", "/predict", bodies[place], {"Content-Type": "application/json"})
                response = connection.getresponse()
                answers[place] = json.loads(response.read())
                assert response.status == 200, answers[place]
        except Exception as fault:  # told by the thread that waits
            faults.append(fault)
        finally:
            connection.close()

    crowd = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    if faults:
        raise faults[0]
    return answers


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference between two answers' numbers; infinite where anything else differs."""
    if one.keys() != other.keys():
        return float("inf")
    worst = 0.0
    for name, value in one.items():
        if isinstance(value, dict) and isinstance(other[name], dict):
            worst = max(worst, difference(value, other[name]))
        elif isinstance(value, int | float) and isinstance(other[name], int | float):
            worst = max(worst, abs(value - other[name]))
        elif value != other[name]:
            return float("inf")
    return worst


def time_direct(predictor: Predictor, rows: Sequence[Any]) -> np.ndarray:
    """Milliseconds of each row, one after the other, in this process."""
    took = []
    for row in rows:
        began = time.perf_counter()
        predictor.predict([row])
        took.append((time.perf_counter() - began) * 1e3)
    return np.array(took)


def loads_torch(pid: int) -> bool | None:
    """Whether a process has a library of torch mapped; None where that cannot be read."""
    try:
        return "/torch/" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    except OSError:
        return None


def rows_of(bundle: bundles.Bundle, file: Path | None) -> list[dict[str, Any]]:
    """The rows to ask: those of a file, or the test rows of the data that the bundle was built from."""
    from sartor import leaves
    from sartor.data import read, split

    names = [column["name"] for column in bundle.meta["inputs"]]
    if file is not None:
        return [{name: row[name] for name in names} for row in read.read(str(file)).table.to_pylist()]
    needs = need_files.load(bundle.path / "needs.yaml")
    head = bundle.meta["heads"][0]
    dataset = read.read(needs.data, input=needs.input, target=needs.target, task=needs.task)
    splits = split.for_needs(dataset, needs, target=head["target"], task=head["task"])
    return list(leaves.load("task", head["task"]).examples(dataset, splits.test, head["target"]).inputs)


if __name__ == "__main__":
    main()
