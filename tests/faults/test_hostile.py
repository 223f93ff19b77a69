"""Hostile pictures, recordings and cells: set aside or refused clearly, quickly and without taking the memory, at both doors."""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys

import hostile
import pytest

from sartor import line, measure, needs
from sartor import report as reports

MOST_MB = 400  # that a request may add: twice what the largest picture that is read takes


def refused(address, row):
    """(status, what the answer says) of one request; the server must live."""
    import http.client

    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    body = json.dumps(row).encode()
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    told = json.loads(response.read())
    connection.close()
    return response.status, told


def sent(value):
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("name", "column", "hostiles"),
    [
        ("pictures", "image", hostile.PICTURES),
        ("recordings", "audio", hostile.RECORDINGS),
        ("cells", "weight", hostile.CELLS),
    ],
)
def test_what_is_hostile_is_refused_by_the_server_and_the_next_row_is_answered(small_bundles, name, column, hostiles):
    good = {
        "pictures": hostile.packed(hostile.stripes(500, across=True)),
        "recordings": hostile.recorded(hostile.tone(500, 880)),
        "cells": "0.4",
    }[name]
    beside = {"height": 0.1} if name == "cells" else {}
    with measure.served(small_bundles[name], threads=1) as address:
        assert refused(address, {column: sent(good)} | beside)[0] == 200
        before = measure._peak_bytes(address.pid)
        for what, value in hostiles.items():
            status, told = refused(address, {column: sent(value)} | beside)
            said = json.dumps(told)
            assert status in (200, 400, 413, 422), (what, told)
            assert "error" in told, (what, told)
            assert "Traceback" not in said, what
            assert len(said) < 1_000, what
        assert (measure._peak_bytes(address.pid) - before) / 1e6 < MOST_MB
        assert refused(address, {column: sent(good)} | beside)[0] == 200


@pytest.mark.parametrize(
    ("make", "column", "hostiles"),
    [(hostile.pictures, "image", hostile.PICTURES), (hostile.recordings, "audio", hostile.RECORDINGS)],
)
def test_what_is_hostile_among_good_files_is_counted_and_named(make, column, hostiles, tmp_path):
    folder = make(tmp_path / "rows", 80)
    suffix = {"image": ".png", "audio": ".wav"}[column]
    names = []
    for place, (what, data) in enumerate(hostiles.items()):
        name = f"{hostile.CLASSES[place % 2]}/{what.replace(' ', '-').replace(',', '')}{suffix}"
        (folder / name).write_bytes(data)
        names.append(name)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(
        [sys.executable, "-m", "sartor", "audit", str(folder), "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"SARTOR_STATE": str(tmp_path / "state")},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    broken = next(
        one for one in json.loads(done.stdout) if one["code"] in ("audit.image-corrupt", "audit.audio-broken")
    )
    assert broken["count"] == len(hostiles)
    assert sorted(broken["details"]["files"]) == sorted(names)
    assert max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e3 < 1_500


def test_a_build_goes_on_without_what_is_broken(tmp_path):
    folder = hostile.pictures(tmp_path / "rows", 120)
    for place, data in enumerate(hostile.PICTURES.values()):
        (folder / hostile.CLASSES[place % 2] / f"bad-{place}.png").write_bytes(data)
    line.build(needs.make(data=str(folder), needs=["accuracy >= 0.6"], budget="10m"), tmp_path / "out")
    record = reports.read(tmp_path / "out")
    sizes = record["data"]["splits"]
    assert sum(sizes[part] for part in ("train", "valid", "test")) == 120
    assert record["exit"] in (0, 4)
