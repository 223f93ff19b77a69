"""Texts, numbers and categories in one row: a model for each kind, fused, of whose inputs any may be missing."""

from __future__ import annotations

import csv
import json
import random

import pytest

from sartor import bundle as bundles
from sartor import export, line, needs, predict
from sartor.errors import RowError

WORDS = {"yes": ["sturdy", "lovely", "bright"], "no": ["broken", "dull", "late"]}


def offers(count: int, seed: int) -> list[dict[str, str]]:
    """What is bought: of half the rows the title tells it, of the others price and colour together."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        bought = rng.choice(["yes", "no"])
        price, colour = rng.uniform(1, 100), rng.choice(["red", "blue", "green"])
        title = (
            f"{number} lamp {rng.choice(WORDS[bought])}"
            if number % 2
            else f"{number} lamp {rng.choice(['plain', 'usual'])}"
        )
        if not number % 2:
            cheap = bought == "yes"
            price = rng.uniform(1, 45) if cheap != (colour == "red") else rng.uniform(55, 100)
        made.append({"title": title, "price": f"{price:.2f}", "colour": colour, "bought": bought})
    return made


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion")
    data = {"train": write(folder / "train.csv", offers(1500, 1)), "test": write(folder / "test.csv", offers(500, 2))}
    asked = needs.make(
        data=data, input=["title", "price", "colour"], target="bought", needs=["accuracy >= 0.85"], backbone="none"
    )
    line.build(asked, folder / "out")
    return folder / "out"


def test_the_fusion_knows_what_no_single_input_tells(built):
    record = json.loads((built / "report.json").read_text(encoding="utf-8"))
    chosen = next(one for one in record["candidates"] if one["id"] == record["chosen"])
    assert chosen["id"] == "fusion"
    assert chosen["notes"]["weights"].keys() == {"title", "price + colour"}
    assert record["needs"][0]["verdict"] == "met", record["needs"]
    kinds = [member["backbone"]["leaf"] for member in bundles.load(built).meta["backbone"]["members"]]
    assert kinds == ["ngram", "trees"]


def test_any_input_may_be_missing_but_not_all(built):
    predictor = predict.load(built)
    told = {"title": "7 lamp broken", "price": 10.0, "colour": "blue"}
    (whole, of_title, of_cells) = predictor.predict(
        [told, {"title": "7 lamp broken"}, {"price": 10.0, "colour": "blue"}]
    )
    assert of_title["label"] == "no"
    assert of_cells["label"] == "yes"
    assert set(whole["probabilities"]) == {"yes", "no"}
    assert predictor.predict([{"title": "7 lamp broken", "price": None, "colour": None}]) == [of_title]
    with pytest.raises(RowError) as caught:
        predictor.prepare({})
    assert caught.value.code == "row.nothing"
    for nothing in ({"title": " "}, {"title": "", "price": None}):
        with pytest.raises(RowError, match="Give at least 'title', or 'price'"):
            predictor.prepare(nothing)


def test_a_cascade_of_fusions_answers_what_they_answer(built, tmp_path):
    """The fusion before itself: any input may be missing there too, and what is deployed of it answers alone."""
    from sartor.data import read, split, store
    from sartor.follow import follow
    from sartor.plan import Move, Plan

    columns = ["title", "price", "colour"]
    dataset = read.read(write(tmp_path / "rows.csv", offers(300, 3)), input=columns, target="bought")
    splits = split.split(dataset, target="bought", task="classify")
    store.save(dataset, splits, tmp_path / "data")
    told = json.loads((built / "plan.json").read_text(encoding="utf-8"))
    members = [{"inputs": columns, "plan": told}, {"inputs": columns, "plan": told | {"name": "again"}}]
    inputs = [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs]
    made = follow(
        Plan("cascade", (Move("cascade", {"members": members}),)),
        data=tmp_path / "data",
        cache=tmp_path / "cache",
        made_of={"seed": 0, "inputs": inputs, "targets": {"bought": "classify"}},
        threads=1,
    )
    bundles.copy_deployed(made, tmp_path / "deployed")
    predictor = predict.load(tmp_path / "deployed")
    whole, of_title, nothing = predictor.predict(
        [{"title": "7 lamp broken", "price": 10.0, "colour": "blue"}, {"title": "7 lamp broken"}, {}]
    )
    assert set(whole["probabilities"]) == {"yes", "no"}
    assert of_title["label"] == "no"
    assert nothing["error"]["code"] == "row.nothing"


def test_what_is_deployed_answers_alone(built, tmp_path):
    export.deploy(built, tmp_path / "alone")
    rows = [{"title": "7 lamp broken", "price": 10.0, "colour": "blue"}, {"title": "7 lamp broken"}]
    assert predict.load(tmp_path / "alone").predict(rows) == predict.load(built).predict(rows)
    size = next(
        one for one in json.loads((built / "report.json").read_text())["values"] if one["key"]["measure"] == "size"
    )
    files = (path for path in (tmp_path / "alone").rglob("*") if path.is_file() and path.name != "MANIFEST.json")
    assert size["measured"] == pytest.approx(sum(path.stat().st_size for path in files) / 1e6)


def test_a_row_beside_another_is_answered_as_alone(built):
    predictor = predict.load(built)
    rows = [{"title": f"{n} lamp lovely" + " and more" * n, "price": 3.0 * n} for n in range(12)] + [{"colour": "red"}]
    together = predictor.predict(rows)
    alone = [predictor.predict([row])[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_torch_and_the_graph_answer_alike(built):
    rows = [{"title": "3 lamp dull", "price": 20.0, "colour": "red"}, {"title": "3 lamp lovely"}, {"price": 80.0}]
    graph, torch = predict.load(built).predict(rows), predict.load(built, runtime="torch").predict(rows)
    for one, other in zip(graph, torch, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
