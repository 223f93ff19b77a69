"""Fusion: members that learned of other rows than the whole, inputs that are missing or broken, and weights near nothing."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from sartor import follow, predict
from sartor import model as models
from sartor.backbone import fusion
from sartor.data import store
from sartor.data.dataset import Column, Dataset, Schema, Splits
from sartor.errors import InputError
from sartor.plan import Move, Plan, keys
from sartor.runtime import onnx
from sartor.step import fuse
from sartor.task import classify, multilabel, regress

torch = pytest.importorskip("torch")
TYPES = {"text": pa.large_string(), "image": pa.large_binary(), "number": pa.float64()}
BODIES = {"text": "ngram", "number": "linear", "image": "convnet"}


def fused(rows, kinds, task, folder):
    """The folder of a fusion of a model for each kind of input, made in this process. rows: with a `target`; every fourth validates."""
    columns = {name: pa.array([row[name] for row in rows], TYPES[kind]) for name, kind in kinds.items()}
    schema = Schema(
        (*(Column(name, kind, "input") for name, kind in kinds.items()), Column("target", "label", "target"))
    )
    table = pa.table(columns | {"target": pa.array([row["target"] for row in rows])})
    valid = np.arange(0, len(rows), 4)
    splits = Splits(np.setdiff1d(np.arange(len(rows)), valid), valid, valid[:1])
    store.save(Dataset(table, schema, np.full(len(rows), -1, np.int8), "x", "memory"), splits, folder / "data")
    paths = {"data": str(folder / "data"), "cache": str(folder / "cache")}

    def made(plan, inputs, members=None):
        names = keys(plan, made_of={"inputs": inputs})
        settings = {"plan": plan.as_dict(), "keys": names, "first": 0, "threads": 1, "seed": 0, "members": members}
        follow.run_steps(paths | settings | {"inputs": inputs, "targets": {"target": task}}, lambda item: None)
        return folder / "cache" / names[-1]

    inputs = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    told, found = [], []
    for kind in dict.fromkeys(kinds.values()):
        mine = [one for one in inputs if one["kind"] == kind]
        learn = Move("train", {"epochs": 1, "bf16": False}) if kind == "image" else Move("fit", {})
        plan = Plan(kind, (Move("start", {"backbone": BODIES[kind], "leaf": BODIES[kind]}), learn))
        found.append(str(made(plan, mine)))
        told.append({"inputs": [one["name"] for one in mine], "plan": plan.as_dict()})
    return made(Plan("fused", (Move("fuse", {"members": told}),)), inputs, [found])


def check_exported(folder, rows):
    """The graph answers as the model does, whatever is missing."""
    model = models.load(folder).eval()
    processor = predict.load(folder).processor
    onnx._export(model, folder.parent / "m.onnx", processor(rows), axes=processor.axes, dynamo=False)
    assert onnx.parity(model, folder.parent / "m.onnx", [processor(rows), *(processor([row]) for row in rows)]) < 1e-4


def test_a_member_that_saw_dear_items_alone_tells_prices_in_the_units_of_all(tmp_path):
    """Only what is dear has been weighed, and its weight tells its price; titles tell roughly what is dear."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(240):
        dear, weight = number % 3 == 0, float(rng.normal())
        price = 1_000 + 100 * weight if dear else 20.0 + rng.normal()
        title = "a ring of gold" if dear else "a piece of string"
        rows.append({"title": title, "weight": weight if dear else None, "target": price})
    folder = fused(rows, {"title": "text", "weight": "number"}, "regress", tmp_path)
    asked = [{"weight": 1.0}, {"weight": -1.0}, {"title": "a piece of string"}]
    assert [one["value"] for one in predict.load(folder).predict(asked)] == pytest.approx([1_100, 900, 20], abs=15)
    check_exported(folder, [*asked, {"title": "a ring of gold", "weight": 0.5}])


def test_a_class_that_a_member_never_saw_can_still_be_told_by_the_others(tmp_path):
    """No toy has been weighed. The member for weights does not know toys, and rules none out of hand."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(240):
        kind = ("book", "lamp", "toy")[number % 3]
        weight = None if kind == "toy" else {"book": 1.0, "lamp": 3.0}[kind] + rng.normal(0, 0.3)
        rows.append({"title": f"a fine {kind}", "weight": weight, "target": kind})
    folder = fused(rows, {"title": "text", "weight": "number"}, "classify", tmp_path)
    asked = [{"weight": 3.0}, {"title": "a fine toy"}, {"title": "a fine book", "weight": 1.0}]
    answers = predict.load(folder).predict(asked)
    assert [one["label"] for one in answers] == ["lamp", "toy", "book"]
    assert set(answers[0]["probabilities"]) == {"book", "lamp", "toy"}
    assert answers[0]["probabilities"]["toy"] < 0.05
    check_exported(folder, asked)


@pytest.mark.parametrize("task", [classify, multilabel])
def test_outputs_for_other_classes_find_their_places(task):
    """Those of a class that was never seen are the log of one row more than were seen."""
    names = [["b"], ["d"], ["b"]] if task is multilabel else ["b", "d", "b"]
    whole = task.learn([*names, *([["a"], ["c"]] if task is multilabel else ["a", "c"])])
    fits = fusion.fits(task.learn(names), whole)
    assert fits["places"] == [1, 3]
    assert fits["floor"] == pytest.approx(-np.log(4))
    assert fusion._order(fits["places"], 4) == [2, 0, 2, 1]
    assert fusion.fits(whole, whole) == {}


def test_numbers_are_the_same_under_both_specs():
    own, whole = regress.learn([900.0, 1_000.0, 1_130.0]), regress.learn([900.0, 1_000.0, 1_130.0, 5.0, 9.0])
    fits = fusion.fits(own, whole)
    outputs = np.array([[-1.0], [0.3]])
    fitted = outputs * fits["stretch"] + fits["shift"]
    for one, other in zip(regress.decode(outputs, own), regress.decode(fitted, whole), strict=True):
        assert one["value"] == pytest.approx(other["value"])


def test_a_member_that_weighs_next_to_nothing_is_heard_where_it_is_alone(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(160):
        kind = ("book", "lamp")[number % 2]
        weight = {"book": 1.0, "lamp": 3.0}[kind] + rng.normal(0, 0.3)
        rows.append({"title": f"a fine {kind}", "weight": weight, "target": kind})
    folder = fused(rows, {"title": "text", "weight": "number"}, "classify", tmp_path)
    model, processor = models.load(folder).eval(), predict.load(folder).processor
    batch = {name: torch.from_numpy(array) for name, array in processor([{"title": "a fine lamp"}]).items()}
    spec = classify.learn([row["target"] for row in rows])
    shares = []
    for little in (1.0, 1e-6):
        model.body.weights.data = torch.tensor([little, 1.0])
        with torch.inference_mode():
            (answer,) = classify.decode(model(**batch)["output_0"].numpy(), spec)
        shares.append(answer["probabilities"]["lamp"])
    assert min(shares) > 0.8, shares


def picture(seed, shade):
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 80, size=(16, 16, 3)) + shade
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory):
    """(folder, rows): offers with a title and two pictures, of which some are missing and some broken, the first of all and of those that validate too."""
    pytest.importorskip("PIL")
    rows = []
    for number in range(48):
        kind = number // 2 % 2
        front, back = picture(number, 100 * kind), picture(number + 100, 100 * kind)
        rows.append({"title": f"number {kind}", "front": front, "back": back, "target": ("dark", "light")[kind]})
    rows[0]["front"] = rows[1]["back"] = rows[4]["back"] = b"\x89PNG\r\n\x1a\n no more"
    rows[2]["front"] = rows[5]["back"] = None
    rows[3]["title"] = None
    kinds = {"title": "text", "front": "image", "back": "image"}
    return fused(rows, kinds, "classify", tmp_path_factory.mktemp("pictures")), rows


def test_pictures_that_are_missing_or_broken_neither_stop_a_fusion_nor_stand_in_for_others(of_pictures):
    folder, _ = of_pictures
    member = predict.load(folder).meta["backbone"]["members"][1]
    assert member["sufficient"] == [["front", "back"]]
    (filler,) = predict.load(folder).processor([member["filler"]])["present"]
    assert filler.tolist() == [0.0, 1.0]
    assert set(member["filler"]) == {"front", "back"}


def test_of_two_pictures_one_is_not_enough_for_the_member_that_reads_both(of_pictures):
    folder, rows = of_pictures
    predictor = predict.load(folder)
    title, front, back = (rows[7][name] for name in ("title", "front", "back"))
    asked = [
        {"title": title, "front": front, "back": back},
        {"title": title, "front": front},
        {"title": " ", "front": front, "back": back},
        {"title": title},
    ]
    present = predictor.processor([predictor.prepare(row) for row in asked])["present"]
    assert present.tolist() == [[1, 1], [1, 0], [0, 1], [1, 0]]
    whole, one, _, none = predictor.predict(asked)
    assert one == none != whole
    assert predictor.processor.length(asked).tolist() == [
        len(title) + 1,
        len(title) + 1,
        1 + len("number 0"),
        len(title) + 1,
    ]


def test_a_row_to_stand_in_is_one_that_can_be_read():
    inputs = [{"name": "size", "kind": "number"}, {"name": "colour", "kind": "category"}]
    rows = [{"size": "?", "colour": None}, {"size": "seven", "colour": "red"}, {"size": 1.0, "colour": "blue"}]
    assert fuse._filler(rows, inputs) == {"size": None, "colour": "red"}
    with pytest.raises(InputError, match=r"Only 0 rows .* what reads size \+ colour"):
        fuse._filler(rows[:1], inputs)
