"""A table through the whole line: scikit-learn's breast cancer data, with a category, a date and empty cells beside them."""

from __future__ import annotations

import csv
import json

import httpx
import numpy as np
import pytest

from sartor import explain, line, measure, needs, predict
from sartor.errors import RowError
from sartor.verify import verify

ASKED = ["auroc >= 0.85", "latency_p95 <= 200 ms", "size <= 2 MB"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """(file, rows): 569 rows of 30 numbers, of which some are empty."""
    datasets = pytest.importorskip("sklearn.datasets")
    given = datasets.load_breast_cancer()
    rng = np.random.default_rng(0)
    names = [name.replace(" ", "_") for name in given.feature_names]
    rows = []
    for values, target in zip(given.data, given.target, strict=True):
        row = {name: f"{value:g}" if rng.random() > 0.03 else "?" for name, value in zip(names, values, strict=True)}
        row |= {"ward": f"ward {rng.integers(4)}", "seen": f"2024-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"}
        rows.append(row | {"diagnosis": ["malignant", "benign"][target]})
    file = tmp_path_factory.mktemp("table") / "cells.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file, rows


@pytest.fixture(scope="module")
def built(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "cells"
    line.build(needs.make(data=str(table[0]), target="diagnosis", needs=ASKED), out)
    return out


def test_a_table_is_built_from_judged_and_verified(built):
    record = json.loads((built / "report.json").read_text(encoding="utf-8"))
    tried = {one["id"]: one["status"] for one in record["candidates"]}
    assert tried["linear"] == "measured"
    assert "trees" in tried
    assert [need["verdict"] for need in record["needs"]] == ["met", "met", "met"], record["needs"]
    assert "Area under the ROC curve" in (built / "report.html").read_text(encoding="utf-8")
    again = verify(built)
    assert again["needs"][0]["measured"] == pytest.approx(record["needs"][0]["measured"], abs=1e-9)


def test_a_row_may_leave_cells_out_but_not_misspell_them(built, table):
    predictor = predict.load(built)
    row = {name: value for name, value in table[1][0].items() if name != "diagnosis"}
    whole, typed, without = predictor.predict(
        [row, row | {"mean_radius": float(table[1][0]["mean_radius"])}, {k: v for k, v in row.items() if k != "ward"}]
    )
    assert whole == typed
    assert "label" in without
    with pytest.raises(RowError, match="mean_radius"):
        predictor.prepare({("mean_raduis" if name == "mean_radius" else name): value for name, value in row.items()})
    (refused,) = predictor.predict([row | {"mean_radius": "wide"}])
    assert refused["error"]["code"] == "row.bad-value"


def test_what_is_served_is_what_is_predicted(built, table):
    rows = [{name: value for name, value in row.items() if name != "diagnosis"} for row in table[1][:40]]
    expected = predict.load(built).predict(rows)
    with measure.served(built, threads=1) as address:
        told = httpx.post(f"http://{address.host}:{address.port}/predict", json={"rows": rows}, timeout=60)
        served = told.json()["answers"]
    for one, other in zip(served, expected, strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_an_answer_is_explained_by_its_cells(built, table):
    row = {name: value for name, value in table[1][0].items() if name != "diagnosis"}
    parts = explain.explain(predict.load(built), row)["parts"]
    known = {name for name, value in row.items() if value != "?"}
    assert {part["column"] for part in parts} == known
    assert any(abs(part["weight"]) > 0.01 for part in parts)
