"""The examples of `examples/` that make their own data, built as their files say; and what is hostile, at the doors of what was built.

`python -m bench.examples`. Every kind of hostile picture, recording and cell (`tests/hostile.py`) is sent to the server of a bundle, several times, with a good row after it; and put among the files or
rows of a build.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench import record
from bench.record import ROOT, Row
from bench.serve import started
from sartor import measure
from sartor.display import clock

MODALITIES = {"digits": "pictures", "tones": "recordings", "tissue": "cells", "progress": "numbers to foretell"}
TIMES = 5  # that each hostile row is sent
WANTED_S = 180  # that an example takes at most
BUILT = {
    "example": lambda v: f"{v['example']} ({v['of']})",
    "exit": lambda v: v["exit"],
    "needs": lambda v: "; ".join(f"`{need['need']}` {need['verdict']}" for need in v["needs"]),
    "measured (bounds)": lambda v: "; ".join(
        "not measured"
        if need["measured"] is None
        else f"{need['measured']:.4g} "
        + ("(no bound)" if need["low"] is None else f"({need['low']:.4g} to {need['high']:.4g})")
        for need in v["needs"]
    ),
    "time, at most 3 min": lambda v: clock(v["seconds"]),
}
HOSTILE = {
    "hostile": lambda v: v["of"],
    "kinds": lambda v: v["kinds"],
    "refused by the server": lambda v: f"{v['refused']} of {v['kinds']}",
    "slowest": lambda v: f"{v['slowest_s'] * 1e3:.0f} ms ({v['slowest']})",
    "memory that the server grew by": lambda v: f"{v['grown_mb']:.0f} MB",
    "good rows answered after one": lambda v: f"{v['good']} of {v['sent']}",
    "set aside in a build": lambda v: v["set_aside"],
    "exit of that build": lambda v: v["exit"],
}


def main() -> None:
    """Makes the rows that are missing, and writes the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.examples", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(MODALITIES), action="append", help="an example; repeatable")
    given = parser.parse_args()
    hostile = ROOT / "tests" / "hostile.py"
    built = record.book("examples", __file__, *record.SERVER, columns=BUILT, short=False)
    refused = record.book("hostile", __file__, hostile, *record.SERVER, columns=HOSTILE, short=False)
    for name in given.only or MODALITIES:
        row = built.once(name, 0, partial(build, name))
        print(json.dumps(row["values"], ensure_ascii=False), flush=True)
        if name != "progress":
            row = refused.once(name, 0, partial(knock, name))
            print(json.dumps(row["values"], ensure_ascii=False), flush=True)
    print(built.publish())
    print(refused.publish())


def place_of(name: str) -> Path:
    return record.OUT / "examples" / name


def build(name: str) -> Row:
    """One example from nothing, as its first line says."""
    place = place_of(name)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in (ROOT / "examples" / name).glob("*.*"):
        if file.suffix in (".py", ".yaml"):
            shutil.copyfile(file, place / file.name)
    subprocess.run([sys.executable, "make.py"], cwd=place, env=environment(place), check=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sartor", "build", "needs.yaml", "--out", "built"], cwd=place, env=environment(place)
    )
    seconds = time.monotonic() - began
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"bench.examples: {name} ended with {done.returncode}")
    told = json.loads((place / "built" / "report.json").read_text(encoding="utf-8"))
    return {
        "example": name,
        "of": MODALITIES[name],
        "exit": done.returncode,
        "needs": [{key: need[key] for key in ("need", "measured", "low", "high", "verdict")} for need in told["needs"]],
        "seconds": seconds,
        "in_time": seconds <= WANTED_S,
    }


def environment(place: Path) -> dict[str, str]:
    """Of a user who has built nothing before."""
    return os.environ | {"SARTOR_STATE": str(place / "state"), "PYTHONPATH": str(ROOT)}


def knock(name: str) -> Row:
    """Hostile rows at the server of an example's bundle, and among the data of a build."""
    from tests import hostile

    kinds: dict[str, Any] = {
        "digits": hostile.PICTURES,
        "tones": hostile.RECORDINGS,
        "tissue": hostile.CELLS,
    }[name]
    bundle = place_of(name) / "built"
    good = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["examples"][0]
    column = next(iter(good))
    refused, answered, slowest = 0, 0, (0.0, "")
    with started(bundle) as (address, _):
        asked(address, good)
        before = measure._peak_bytes(address.pid)
        for what, value in kinds.items():
            sent = {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
            for time_of in range(TIMES):
                told, seconds = asked(address, good | {column: sent})
                refused += time_of == 0 and "error" in json.dumps(told)[:200]
                slowest = max(slowest, (seconds, what))
                answered += "error" not in asked(address, good)[0]
        grown = (measure._peak_bytes(address.pid) - before) / 1e6
    code, aside = among(name, kinds, column)
    return {
        "of": MODALITIES[name],
        "kinds": len(kinds),
        "refused": refused,
        "slowest_s": slowest[0],
        "slowest": slowest[1],
        "grown_mb": grown,
        "good": answered,
        "sent": TIMES * len(kinds),
        "set_aside": aside,
        "exit": code,
    }


def asked(address: measure.Address, row: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """(the answer, seconds) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    body = json.dumps(row).encode()
    began = time.perf_counter()
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer, time.perf_counter() - began


def among(name: str, kinds: dict[str, Any], column: str) -> tuple[int, int]:
    """(exit, rows set aside) of a build of the example's data with hostile files, or cells, among them."""
    place = place_of(name) / "hostile"
    shutil.rmtree(place, ignore_errors=True)
    if name == "tissue":
        place.mkdir()
        lines = (place_of(name) / "tissue.csv").read_text(encoding="utf-8").splitlines()
        spot = lines[0].split(",").index(column)
        for number, value in enumerate(kinds.values(), start=1):
            cells = lines[number].split(",")
            cells[spot] = f'"{value}"' if isinstance(value, str) else json.dumps(json.dumps(value)).replace('\\"', '""')
            lines[number] = ",".join(cells)
        (place / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        source, more = place / "rows.csv", ["--target", "diagnosis", "--need", "auroc >= 0.5"]
    else:
        shutil.copytree(place_of(name) / name, place)
        classes = sorted(folder for folder in place.iterdir() if folder.is_dir())
        suffix = ".png" if name == "digits" else ".wav"
        for number, value in enumerate(kinds.values()):
            (classes[number % len(classes)] / f"hostile-{number}{suffix}").write_bytes(value)
        source, more = place, ["--need", "accuracy >= 0.2"]
    command = [sys.executable, "-m", "sartor", "build", str(source), *more, "--out", str(place_of(name) / "anyway")]
    done = subprocess.run([*command, "--budget", "2m"], env=environment(place_of(name)))
    told = json.loads((place_of(name) / "anyway" / "report.json").read_text(encoding="utf-8"))
    codes = ("audit.image-corrupt", "audit.audio-broken", "audit.not-a-number")
    return done.returncode, sum(one["count"] for one in told["findings"] if one["code"] in codes)


if __name__ == "__main__":
    main()
