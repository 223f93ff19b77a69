"""What a verdict rests on: slices, the baseline, and how often the same test rows were looked at."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import opinions
from scipy.special import softmax

from sartor import bounds, ledger, line, needs, predict, report
from sartor.errors import InputError
from sartor.verify import verify

ASKED = [
    "accuracy >= 0.6",
    "accuracy where lang == zh >= 0.5",
    "recall for positive >= 0.5 where lang == en",
    "accuracy >= baseline + 2 points",
]


def rows_of(count, seed):
    return [
        (text, "zh" if number % 4 == 0 else "en", label) for number, (text, label) in enumerate(opinions(count, seed))
    ]


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "lang", "label"])
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return {"train": write(folder / "train.csv", rows_of(300, 1)), "test": write(folder / "test.csv", rows_of(240, 2))}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def shared_ledger(own_ledger, state, monkeypatch):
    """The tests of this file count looks together, in their order."""
    monkeypatch.setenv("SARTOR_STATE", str(state))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def build(parts, out, cache, **more):
    asked = needs.make(**{"data": parts, "target": "label", "input": "text", "needs": ASKED, "backbone": "none"} | more)
    line.build(asked, out, cache=cache)
    return json.loads((Path(out) / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("builds")


def test_slices_and_the_baseline_are_judged_at_the_level_of_a_first_look(parts, folder, cache):
    record = build(parts, folder / "first", cache)
    assert record["exit"] == 0, record["needs"]
    assert record["look"] == {"number": 1, "of": 1, "trouble": ""}
    told = {need["need"]: need for need in record["needs"]}
    assert {need["confidence"] for need in told.values()} == {bounds.level_of_look(0.95, 1)}
    assert told[ASKED[0]]["n"] == 240
    assert (told[ASKED[1]]["n"], told[ASKED[1]]["setting"]) == (60, "where lang == zh")
    assert told[ASKED[2]]["n"] < 180
    difference = told[ASKED[3]]
    assert (difference["unit"], difference["method"]) == ("points", "Tango, paired")
    of_baseline = (
        record["baseline"]["measured"]["measured"]
        if isinstance(record["baseline"]["measured"], dict)
        else record["baseline"]["measured"]
    )
    assert difference["measured"] == pytest.approx(100 * (told[ASKED[0]]["measured"] - of_baseline))
    page = (folder / "first" / "report.html").read_text(encoding="utf-8")
    assert "where lang == zh" in page
    assert "This was look" not in page


def test_the_same_model_in_another_folder_is_no_new_look(parts, folder, cache):
    assert build(parts, folder / "same", cache)["look"]["number"] == 1


def test_another_model_on_the_same_test_rows_is_judged_more_strictly(parts, folder, cache, tmp_path):
    fewer = parts | {"train": write(tmp_path / "fewer.csv", rows_of(200, 1))}
    record = build(fewer, folder / "second", cache)
    assert record["look"] == {"number": 2, "of": 2, "trouble": ""}
    assert {need["confidence"] for need in record["needs"]} == {bounds.level_of_look(0.95, 2)}
    assert "This was look 2 at these test rows" in (folder / "second" / "report.html").read_text(encoding="utf-8")
    assert "look 2" in (folder / "second" / "README.md").read_text(encoding="utf-8")


def test_verify_keeps_the_look_of_the_build_and_counts_those_at_other_rows(parts, folder, tmp_path):
    again = verify(folder / "second")
    assert again["look"]["number"] == 2
    claimed = json.loads((folder / "second" / "report.json").read_text(encoding="utf-8"))["needs"]
    assert [(need["measured"], need["low"]) for need in again["needs"]] == [
        (need["measured"], need["low"]) for need in claimed
    ]
    other = write(tmp_path / "other.csv", rows_of(200, 5))
    assert [verify(folder / name, other)["look"]["number"] for name in ("first", "second", "first")] == [1, 2, 1]


def test_a_ledger_that_cannot_be_written_is_said_and_stops_nothing(parts, folder, cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SARTOR_STATE", str(tmp_path / "file"))
    heard = []
    asked = needs.make(data=parts, target="label", input="text", needs=ASKED[:1], backbone="none")
    line.build(asked, folder / "unwritten", cache=cache, events=heard.append)
    assert "ledger.unwritten" in [item.get("code") for item in heard]
    assert ledger.looks("anything") == 0


def test_a_model_that_may_abstain_does_so_when_served_and_is_judged_on_what_it_answers(parts, folder, cache):
    record = build(parts, folder / "abstains", cache, needs=["accuracy >= 0.9 at coverage >= 0.5"])
    (need,) = record["needs"]
    chosen = next(one for one in record["candidates"] if one["id"] == record["chosen"])
    below = chosen["abstains"]["below"]
    predictor = predict.load(folder / "abstains")
    assert predictor.heads[0]["abstain_below"] == below
    rows = [{"text": text} for text, _, _ in rows_of(240, 2)]
    answers = predictor.predict(rows)
    answered = [answer for answer in answers if "abstained" not in answer]
    assert need["n"] == len(answered)
    assert all(answer["probability"] >= below for answer in answered)
    assert f"{len(answered) / 240:.1%} of the rows" in need["advice"]
    # Asked to answer everything, it says of the others what it was not sure of.
    free = predict.Predictor(predictor.bundle, heads={"abstain_below": 0.0}).predict(rows)
    assert [answer["probability"] < below for answer in free] == ["abstained" in answer for answer in answers]
    assert verify(folder / "abstains")["needs"][0]["n"] == need["n"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("accuracy where lnag == zh >= 0.5", "schema.unknown-column", "'lang'"),
        ("accuracy where lang == zn >= 0.5", "need.no-slice", "'zh'"),
    ],
)
def test_a_slice_that_is_not_there_is_said_before_any_compute(parts, tmp_path, text, code, said):
    asked = needs.make(data=parts, target="label", input="text", needs=[text], backbone="none")
    with pytest.raises(InputError, match=said) as caught:
        line.build(asked, tmp_path / "out")
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_what_is_served_was_calibrated_on_validation_rows(parts, folder, cache):
    record = json.loads((folder / "first" / "report.json").read_text(encoding="utf-8"))
    told = next(one for one in record["candidates"] if one["id"] == record["chosen"])["calibrated"]
    predictor = predict.load(folder / "first")
    assert predictor.heads[0]["scale"] == told["scale"] != 1
    assert (told["part"], told["rows"]) == ("valid", record["data"]["splits"]["valid"])
    assert told["after"] < told["before"]
    row = {"text": rows_of(1, 3)[0][0]}
    (answer,) = predictor.predict([row])
    (output,) = predictor.outputs([predictor.prepare(row)])["label"]
    assert list(answer["probabilities"].values()) == pytest.approx(softmax(told["scale"] * output).tolist())
    assert "divided by" in (folder / "first" / "report.html").read_text(encoding="utf-8")


def test_rows_whose_label_is_doubted_are_told_beside_and_judge_all_the_same(folder, cache, tmp_path):
    test = rows_of(300, 6)
    flipped = {"positive": "negative", "negative": "positive"}
    test[:60] = [(text, lang, flipped.get(label, label)) for text, lang, label in test[:60]]
    parts = {"train": write(tmp_path / "train.csv", rows_of(600, 1)), "test": write(tmp_path / "test.csv", test)}
    record = build(parts, tmp_path / "out", cache, needs=ASKED[:1])
    found = next(one for one in record["findings"] if one["code"] == "audit.wrong-label-test")
    assert sum(row - 600 < 60 for row in found["rows"]) > 0.8 * len(found["rows"])
    told = {value["name"]: value for value in record["values"]}
    judged, beside = told["accuracy"], told["accuracy without the doubtful rows"]
    assert judged["n"] == 300 > beside["n"]
    assert beside["measured"] > judged["measured"]
    assert record["needs"][0]["measured"] == judged["measured"]
    assert "without the doubtful rows" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_need_that_is_missed_is_told_how_many_more_rows_it_may_take(cache, tmp_path):
    parts = {
        "train": write(tmp_path / "train.csv", rows_of(700, 1)),
        "test": write(tmp_path / "test.csv", rows_of(400, 2)),
    }
    record = build(parts, tmp_path / "out", cache, needs=["accuracy >= 0.999", "size <= 40 MB"])
    assert record["exit"] == 3
    growth, train = record["growth"], record["data"]["splits"]["train"]
    sizes = [point["rows"] for point in growth["points"]]
    assert sizes == [round(share * train) for share in (0.0625, 0.125, 0.25, 0.5, 1)]
    chosen = next(one for one in record["candidates"] if one["id"] == record["chosen"])
    accuracy = next(value for value in chosen["values"] if value["name"] == "accuracy")
    assert growth["points"][-1]["score"] == accuracy["measured"]
    assert all(one["low"] <= one["mid"] <= one["high"] for one in growth["forecast"])
    assert "By the learning curve" in record["needs"][0]["advice"]
    assert "learning curve" not in record["needs"][1]["advice"]
    assert "Would more rows help?" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    # A score that is there lacks proof, not training rows.
    need = report.Verdict(**record["needs"][0])
    assert len(line.advised([replace(need, advice="")], growth)[0].advice) > 0
    assert line.advised([replace(need, advice="", measured=0.9995)], growth)[0].advice == ""
    # What is met needs no curve.
    assert build(parts, tmp_path / "met", cache, needs=["accuracy >= 0.6"])["growth"] is None
