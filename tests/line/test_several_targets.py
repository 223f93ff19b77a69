"""Two targets on one body through the whole line: a class and a number, judged, served and explained each by its name."""

from __future__ import annotations

import csv
import json
import random

import httpx
import numpy as np
import pytest
from conftest import checkpoint

from sartor import bundle as bundles
from sartor import explain, export, line, measure, needs, predict
from sartor.verify import verify

MOODS = {"glad": ["superb", "lovely", "bright", "warm"], "cross": ["broken", "dull", "late", "cold"]}
STARS = {"lamp": 1.0, "chair": 3.0, "table": 5.0, "clock": 7.0, "mirror": 9.0}
TARGETS = {"mood": "classify", "stars": "regress"}
ASKED = ["mood.accuracy >= 0.8", "mood.accuracy >= baseline + 10 points", "stars.r2 >= 0.3", "size <= 20 MB"]


def notes(count, seed):
    """What was written of a thing: its words tell the mood, the thing the number of stars; some rows lack one of the two."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        mood, thing = rng.choice(list(MOODS)), rng.choice(list(STARS))
        text = f"the {thing} was {' and '.join(rng.sample(MOODS[mood], 2))} again"
        stars = f"{STARS[thing] + rng.gauss(0, 0.3):.2f}"
        made.append(
            {
                "note": f"{text} {number}",
                "mood": "" if number % 97 == 5 else mood,
                "stars": "" if number % 89 == 7 else stars,
            }
        )
    return made


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """(file, rows, a small checkpoint that knows their words)."""
    folder = tmp_path_factory.mktemp("notes")
    told = notes(900, 0)
    with (folder / "notes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(told[0]))
        writer.writeheader()
        writer.writerows(told)
    return folder / "notes.csv", told, checkpoint(folder / "encoder", [row["note"] for row in told])


@pytest.fixture(scope="module")
def built(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "notes"
    file, _, encoder = rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sartor.front._there", lambda step: step != "search")  # which takes minutes
        line.build(needs.make(data=str(file), target=TARGETS, needs=ASKED, backbone=str(encoder)), out)
    return out


@pytest.fixture(scope="module")
def record(built):
    return json.loads((built / "report.json").read_text(encoding="utf-8"))


def test_each_need_is_judged_by_the_answers_to_its_target(record):
    assert [need["verdict"] for need in record["needs"]] == ["met"] * 4, record["needs"]
    assert [need.get("target") for need in record["needs"]] == ["mood", "mood", "stars", None]
    assert [need["name"] for need in record["needs"]] == [
        "mood.accuracy",
        "mood.accuracy over baseline",
        "stars.r2",
        "size",
    ]
    assert {value["name"] for value in record["values"]} >= {"mood.accuracy", "stars.mae", "stars.r2"}


def test_rows_that_lack_a_target_are_told_and_left_out(rows, record):
    lacking = [row for row in rows[1] if not row["mood"] or not row["stars"]]
    assert sum(record["data"]["splits"].values()) == len(rows[1]) - len(lacking)
    told = [one for one in record["findings"] if one["code"] == "audit.missing-target"]
    assert sorted(one["count"] for one in told) == sorted(sum(not row[name] for row in rows[1]) for name in TARGETS)
    assert "stratified by 'mood'" in record["data"]["rule"]


def test_what_is_told_beside_the_verdicts_is_by_target(record):
    assert record["data"]["target"] == TARGETS
    assert record["data"]["classes"]["mood"].keys() == MOODS.keys()
    assert record["figures"].keys() == TARGETS.keys()
    baseline = record["baseline"]["targets"]
    assert {name: one["measure"] for name, one in baseline.items()} == {"mood": "accuracy", "stars": "r2"}
    assert baseline["mood"]["measured"] < 0.65
    chosen = next(one for one in record["candidates"] if one["id"] == record["chosen"])
    assert chosen["calibrated"]["mood"]["scale"] > 0
    assert chosen["calibrated"]["stars"]["interval"] == 0.9
    eight = [one["flips"]["n"] for one in record["candidates"] if one["flips"]]
    assert all(number == 2 * record["data"]["splits"]["valid"] for number in eight)
    tried = {one["id"] for one in record["candidates"]}
    assert "majority" in tried
    assert "ngram" not in tried  # which would be of one target


def test_one_bundle_answers_both_and_its_interval_holds_as_often_as_it_says(built):
    predictor = predict.load(built)
    assert predictor.targets == list(TARGETS)
    fresh = [row for row in notes(400, 1) if row["mood"] and row["stars"]]
    answers = predictor.predict([{"note": row["note"]} for row in fresh])
    assert np.mean([one["mood"]["label"] == row["mood"] for one, row in zip(answers, fresh, strict=True)]) > 0.8
    held = [
        one["stars"]["low"] <= float(row["stars"]) <= one["stars"]["high"]
        for one, row in zip(answers, fresh, strict=True)
    ]
    assert 0.8 < np.mean(held) <= 1.0


def test_answers_are_served_by_target(built):
    given = [{"note": "the lamp was superb and lovely"}, {"nope": 1}, {"note": "the mirror was broken and late"}]
    expected = predict.load(built).predict(given)
    with (
        measure.served(built, threads=1) as address,
        httpx.Client(base_url=f"http://127.0.0.1:{address.port}") as client,
    ):
        alone = client.post("/predict", json=given[0])
        assert alone.status_code == 200
        assert alone.json().keys() == TARGETS.keys()
        told = client.post("/predict", json={"rows": given}).json()["answers"]
        assert told[1]["error"]["code"] == "row.missing-column"
        for one, other in ((told[0], expected[0]), (told[2], expected[2])):
            assert one["mood"]["label"] == other["mood"]["label"]
            assert one["stars"]["value"] == pytest.approx(other["stars"]["value"], abs=1e-4)
        assert client.get("/about").json()["targets"] == list(TARGETS)
        assert [need.get("target") for need in client.get("/needs").json()["needs"]] == ["mood", "mood", "stars", None]
        tensors = {"inputs": [{"name": "note", "datatype": "BYTES", "shape": [1], "data": [given[0]["note"]]}]}
        outputs = client.post("/v2/models/notes/infer", json=tensors).json()["outputs"]
        assert [one["name"] for one in outputs][::3] == ["mood.label", "stars.answer"]


def test_the_contract_is_verified_again_on_the_same_rows_and_on_others(built, record, tmp_path):
    again = verify(built)
    assert [need["verdict"] for need in again["needs"]] == ["met"] * 4
    assert again["needs"][0]["measured"] == pytest.approx(record["needs"][0]["measured"], abs=1e-9)
    told = notes(300, 2)
    (tmp_path / "more.csv").write_text(
        "note,mood,stars\n" + "".join(f"{r['note']},{r['mood']},{r['stars']}\n" for r in told), encoding="utf-8"
    )
    other = verify(built, str(tmp_path / "more.csv"))
    assert other["data"]["rows"] == sum(bool(row["mood"] and row["stars"]) for row in told)
    assert other["needs"][2]["measured"] > 0.3


def test_the_answer_to_each_target_is_explained_by_what_itself_loses_without_a_part(built):
    predictor = predict.Predictor(bundles.load(built))
    whole, part, less = "the mirror was broken and late again", "mirror", "the  was broken and late again"
    before, after = predictor.predict([{"note": whole}, {"note": less}])

    def weight(target):
        told = explain.explain(predictor, whole, target=target)["parts"]
        return next(one["weight"] for one in told if one["text"] == part)

    label = before["mood"]["label"]
    odds = [
        np.log(p / (1 - p))
        for p in np.clip([one["mood"]["probabilities"][label] for one in (before, after)], 1e-9, 1 - 1e-9)
    ]
    assert weight("mood") == pytest.approx(odds[0] - odds[1], abs=1e-3)
    assert weight("stars") == pytest.approx(before["stars"]["value"] - after["stars"]["value"], abs=1e-5)
    assert weight("stars") != 0


def test_page_card_and_deployed_files_tell_of_both(built, tmp_path):
    shown = (built / "report.html").read_text(encoding="utf-8")
    assert "Accuracy of mood" in shown
    assert "variance explained (r²) of stars" in shown.lower()
    assert "`mood` (classify), `stars` (regress)" in (built / "README.md").read_text(encoding="utf-8")
    export.deploy(built, tmp_path / "alone")
    given = [{"note": "the chair was warm and bright"}]
    assert predict.load(tmp_path / "alone").predict(given) == predict.load(built).predict(given)
