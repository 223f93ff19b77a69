"""Several targets on one model: answers, settings, measures and figures nest by target, and what is for one target says so."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from sartor import abstain, bundle, explain, front, line, measure, needs, package, page, predict
from sartor.data.audit import audit, doubted
from sartor.data.dataset import Examples, Splits
from sartor.data.fix import to_label
from sartor.data.read import read
from sartor.errors import InputError
from sartor.plan import Move, Plan
from sartor.report import Key, Report, Value
from sartor.serve.app import _v2_outputs, _v2_tensors
from sartor.task import classify, regress

TEAM = {"classes": ["parcel", "refund"], "counts": [10, 30]}
PRICE = {"mean": 10.0, "spread": 2.0, "median": 9.0, "outputs": 1}
HEADS = [
    {"target": "team", "task": "classify", "output": "output_0", "spec": TEAM},
    {"target": "price", "task": "regress", "output": "output_1", "spec": PRICE},
]
TARGETS = {"team": "classify", "price": "regress"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole bundle of two heads that always answer the same, made without training: refund at 0.7311, and 9."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors, outputs = [], [], []
    for head, values in zip(HEADS, ([0.0, 1.0], [-0.5]), strict=True):
        name = head["output"]
        tensors.append(numpy_helper.from_array(np.zeros((1, len(values)), dtype=np.float32), f"{name}_w"))
        tensors.append(numpy_helper.from_array(np.array(values, dtype=np.float32), f"{name}_b"))
        nodes.append(helper.make_node("MatMul", ["rows", f"{name}_w"], [f"{name}_x"]))
        nodes.append(helper.make_node("Add", [f"{name}_x", f"{name}_b"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(values)]))
    given = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 1])]
    graph = helper.make_graph(nodes, "constant", given, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    meta = {
        "schema": bundle.SCHEMA,
        "form": "graphs",
        "name": "constant",
        "inputs": [{"name": "text", "kind": "text"}],
        "heads": HEADS,
        "backbone": {"leaf": "trivial", "ref": "trivial", "owns_weights": True},
        "runtime": {"name": "onnx", "graphs": {"forward": "runtime/onnx/model.onnx"}, "batch_invariant": True},
        "examples": [{"text": "where is my parcel"}],
    }
    place = tmp_path_factory.mktemp("two") / "bundle"
    with bundle.writing(place) as folder:
        (folder / "runtime" / "onnx").mkdir(parents=True)
        (folder / "runtime" / "onnx" / "model.onnx").write_bytes(model.SerializeToString())
        bundle.write_json(folder / "bundle.json", meta)
    return bundle.load(place)


# ---------------------------------------------------------------- the predictor


def test_answers_nest_by_target_and_a_bad_row_has_one_error(made):
    good, bad = predict.load(made.path).predict([{"text": "hello"}, {"txt": "hello"}])
    assert list(good) == ["team", "price"]
    assert good["team"]["label"] == "refund"
    assert good["team"]["probability"] == pytest.approx(0.7311, abs=1e-4)
    assert good["price"] == {"value": pytest.approx(9.0)}
    assert bad["error"]["code"] == "row.missing-column"
    assert predict.of_target([good, bad], "price", ["team", "price"]) == [good["price"], bad]


def test_what_heads_have_is_told_by_target_and_one_may_abstain_alone(made):
    settled = {"team": {"abstain_below": 0.9}, "price": {"half_width": 2.0, "interval": 0.9}}
    (answer,) = predict.Predictor(made, heads=settled).predict([{"text": "hello"}])
    assert answer["team"]["abstained"] is True
    assert answer["price"] == {"value": pytest.approx(9.0), "low": pytest.approx(7.0), "high": pytest.approx(11.0)}
    (scaled,) = predict.Predictor(made, heads={"team": {"scale": 3.0}}).predict([{"text": "hello"}])
    assert scaled["team"]["probability"] > 0.95
    assert scaled["price"] == {"value": pytest.approx(9.0)}


def test_one_answer_of_several_is_explained_and_must_be_named(made):
    predictor = predict.load(made.path)
    found = explain.explain(predictor, "my parcel", target="price")
    assert found["target"] == "price"
    assert found["answer"] == {"value": pytest.approx(9.0)}
    assert [(part["text"], part["weight"]) for part in found["parts"]] == [("my", 0.0), ("parcel", 0.0)]
    for target, said in ((None, "None is named"), ("prize", "Did you mean 'price'")):
        with pytest.raises(InputError, match=said) as caught:
            explain.explain(predictor, "my parcel", target=target)
        assert caught.value.code == "explain.target"


def test_tensors_of_the_inference_protocol_are_named_by_target(made):
    predictor = predict.load(made.path)
    outputs = _v2_outputs(predictor)
    assert [one["name"] for one in outputs] == ["team.label", "team.probability", "team.probabilities", "price.answer"]
    tensors = {one["name"]: one for one in _v2_tensors(predictor.predict(["a", "b"]), outputs, predictor)}
    assert tensors["team.label"]["data"] == ["refund", "refund"]
    assert json.loads(tensors["price.answer"]["data"][1]) == {"value": pytest.approx(9.0)}


# ---------------------------------------------------------------- measures


def answers_of(labels, values):
    other = {"parcel": "refund", "refund": "parcel"}
    return [
        {
            "team": {"label": one, "probability": 0.8, "probabilities": {one: 0.8, other[one]: 0.2}},
            "price": {"value": value},
        }
        for one, value in zip(labels, values, strict=True)
    ]


def test_each_target_is_measured_by_its_own_answers():
    rng = np.random.default_rng(0)
    labels, values = rng.choice(TEAM["classes"], 200).tolist(), rng.normal(10, 2, 200).tolist()
    answers = answers_of(labels, [value + 0.5 for value in values])
    answers[0] = {"error": {"code": "row.bad-value", "message": ""}}
    places = np.arange(200)
    rows = Examples([{"text": "x"}] * 200, {"team": labels, "price": values}, places, places)
    asked = needs.make(data="x.csv", target=TARGETS, needs=["team.recall for refund >= 0.5", "price.mae <= 3"])
    found = measure.quality(SimpleNamespace(heads=HEADS), rows, answers, asked)
    told = {str(value.key): value for value in found}
    assert list(told) == ["team.recall for refund", "team.accuracy", "price.mae"]
    assert told["team.accuracy"].measured == 199 / 200  # what cannot be answered is wrong
    assert told["price.mae"].measured == pytest.approx((199 * 0.5 + abs(10.0 - values[0])) / 200)
    assert {value.key.target for value in found} == {"team", "price"}


def test_a_right_to_abstain_is_that_of_one_target():
    asked = needs.make(
        data="x.csv", target=TARGETS | {"mood": "classify"}, needs=["mood.accuracy >= 0.9 at coverage >= 0.8"]
    )
    assert abstain.asked(asked, "mood") == [(0.9, 0.8)]
    assert abstain.asked(asked, "team") == []
    alone = needs.make(data="x.csv", target="mood", needs=["accuracy >= 0.9 at coverage >= 0.8"])
    assert abstain.asked(alone) == [(0.9, 0.8)]


# ---------------------------------------------------------------- the audit


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """400 rows of a text, a team and a price; row 5 has no price, row 7 no team, and the text of row 9 stands twice with other teams."""
    rng = np.random.default_rng(0)
    nouns, words = ["parcel", "refund"], ["late", "broken", "lost", "fine", "blue", "heavy", "light", "new"]
    told = []
    for i in range(400):
        code = int(rng.integers(2))
        text = f"{' '.join(rng.choice(words, 3))} {nouns[code]} number {i} came today"
        told.append([text, ["courier", "bank"][code], f"{10 + 5 * code + rng.normal():.2f}"])
    told[5][2], told[7][1] = "", ""
    told[10][0], told[10][1] = told[9][0], "courier" if told[9][1] == "bank" else "bank"
    file = tmp_path_factory.mktemp("audit") / "rows.csv"
    file.write_text("text,team,price\n" + "".join(",".join(row) + "\n" for row in told), encoding="utf-8")
    return read(file, target=TARGETS)


def test_the_inputs_are_audited_once_and_each_target_by_itself(rows):
    findings = audit(rows, target=TARGETS)
    missing = {finding.rows: finding.message for finding in findings if finding.code == "audit.missing-target"}
    assert {places: "'team'" in said for places, said in missing.items()} == {(5,): False, (7,): True}
    torn = {finding.details["target"]: finding for finding in findings if finding.code == "audit.conflict"}
    assert torn["team"].rows == (9, 10)
    assert torn["team"].message.startswith("team: ")
    of_inputs = [
        finding.code
        for finding in findings
        if "target" not in finding.details and finding.code != "audit.missing-target"
    ]
    assert max(Counter(of_inputs).values(), default=1) == 1
    assert {9, 10} <= set(doubted(findings).tolist())
    asked = to_label(rows, findings, target=TARGETS)
    assert {"team", "price"} <= set(asked[0])
    assert asked[0]["why"].startswith("team: ")


# ---------------------------------------------------------------- planning


def front_of(*limits, rows=4000, **given):
    profile = front.Profile(rows=rows, classes=3, characters=100.0, languages={"en": 1.0}, gflops=150.0)
    asked = needs.make(data="x.csv", target=TARGETS, needs=list(limits), **given)
    return front.Front(asked, profile, task="classify", test_rows=800, targets=TARGETS)


def test_only_bodies_that_learn_several_targets_are_tried():
    known = {"trivial", "frozen", "last blocks", "LoRA", "tuned", "searched", "cut"}
    for rows in (4000, 24):  # of one target n-grams are tried as well, and of few rows what draws classes together
        kinds = {one.id: one.kind for one in front_of("team.accuracy >= 0.9", rows=rows).possible()}
        assert next(iter(kinds)) == "majority"
        assert set(kinds.values()) == known


def test_a_backbone_of_one_target_is_refused_and_so_is_having_none():
    with pytest.raises(InputError, match=r"'ngram'.*'team', 'price'") as caught:
        front_of(backbone="ngram")
    assert caught.value.code == "backbone.one-target"
    with pytest.raises(InputError, match="'team', 'price'") as caught:
        front_of(backbone="none").check_bodies()
    assert caught.value.code == "backbone.several-targets"
    front_of(backbone="minilm").check_bodies()


def test_candidates_are_compared_by_the_first_target_that_a_need_is_of():
    assert front_of().primary == Key("accuracy", "team")
    assert front_of("price.mae <= 3").primary == Key("mae", "price")
    preferring = front_of("team.accuracy >= 0.9", prefer="price.mae")
    assert (preferring.prefer, preferring.prefers_low) == (Key("mae", "price"), True)
    with pytest.raises(InputError, match=r"Did you mean 'team.accuracy'"):
        front_of(prefer="accuracy")


def test_chances_are_of_the_value_of_the_right_target():
    tried = front_of("team.accuracy >= 0.8", "price.mae <= 3")
    details = {"successes": 950, "trials": 1000, "of": 1000}
    values = [
        Value(Key("accuracy", "team"), 0.95, 0.935, 0.96, 1000, details=details),
        Value(Key("mae", "price"), 9.0, 8.8, 9.2, 1000),
    ]
    candidate = front.Candidate("x", Plan("x", ()), "frozen", status="measured", report=Report(values))
    tried.add(candidate)
    assert candidate.chances["team.accuracy >= 0.8"] > 0.99
    assert candidate.chances["price.mae <= 3"] < 0.01


def test_a_candidate_of_several_targets_has_settled_what_each_head_has():
    told = {"team": {"scale": 0.5, "rows": 100}, "price": {"half_width": 2.0, "interval": 0.9, "rows": 100}}
    held = front.Candidate("x", Plan("x", ()), "frozen", calibrated=told, targets=("team", "price"))
    assert held.settled == {"team": {"scale": 0.5}, "price": {"half_width": 2.0, "interval": 0.9}}
    held.abstains = {"team": {"below": 0.6}, "price": None}
    assert held.settled["team"] == {"scale": 0.5, "abstain_below": 0.6}
    held.calibrated = held.abstains = None
    assert held.settled == {"team": {}, "price": {}}


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (Move("start", {"backbone": "ngram", "leaf": "ngram"}), "the backbone 'ngram'"),
        (Move("fuse", {"members": []}), "the step 'fuse'"),
        (Move("contrast", {}), "the step 'contrast'"),
    ],
)
def test_a_plan_for_one_target_is_refused_for_several(move, said):
    plan = Plan("x", (move, Move("export", {})))
    plan.check_targets(["team"])
    with pytest.raises(InputError, match=said) as caught:
        plan.check_targets(["team", "price"])
    assert caught.value.code == "plan.one-target"
    Plan("y", (Move("start", {"backbone": "minilm"}), Move("fit", {}))).check_targets(["team", "price"])


def test_the_trivial_baseline_has_the_best_constant_of_each_target(tmp_path):
    torch = pytest.importorskip("torch")
    from sartor import model as models
    from sartor.backbone import trivial

    meta = trivial.start("trivial", tmp_path, columns=["text"], inputs=[], seed=0, outputs=3)
    body, modules, meta = trivial.fit_heads(tmp_path, meta, HEADS)
    fitted = models.Model(body, modules)
    again = models.make(tmp_path, {"backbone": meta, "heads": HEADS})
    again.load_state_dict(fitted.state_dict())
    rows = torch.from_numpy(trivial.processor(tmp_path, meta)([{"text": "a"}] * 3)["rows"])
    for model in (fitted, again):
        told = {name: output.detach().numpy() for name, output in model(rows=rows).items()}
        assert told["output_0"] == pytest.approx(np.tile(classify.trivial(TEAM), (3, 1)))
        assert [one["value"] for one in regress.decode(told["output_1"], PRICE)] == pytest.approx([9.0] * 3)


# ---------------------------------------------------------------- what is kept and shown


def test_the_command_that_makes_it_again_names_every_target(tmp_path):
    asked = needs.make(data="a.csv", target={"team": "classify", "my price": None}, needs=["team.accuracy >= 0.9"])
    command = package.command_of(asked, tmp_path)
    assert "--target team:classify --target 'my price'" in command
    from sartor.cli import _targets

    assert _targets(["team:classify", "my price"]) == {"target": {"team": "classify", "my price": None}}
    assert _targets(["a:b"]) == {"target": "a:b"}  # no task is called b
    assert _targets(["team:classify"]) == {"target": {"team": "classify"}}
    assert _targets(["team"]) == {"target": "team"}
    assert _targets(None) == {}


RECORD = {
    "exit": 3,
    "name": "two",
    "reason": "It came closest.",
    "chosen": "x",
    "needs": [
        {"need": "team.accuracy >= 0.9", "measure": "accuracy", "target": "team", "op": ">=", "limit": 0.9, "unit": "", "measured": 0.95}
        | {"low": 0.93, "high": 0.97, "n": 200, "confidence": 0.95, "setting": "", "verdict": "met", "advice": "", "name": "team.accuracy"},
        {"need": "price.mae <= 3", "measure": "mae", "target": "price", "op": "<=", "limit": 3.0, "unit": "", "measured": 3.4}
        | {"low": 3.2, "high": 3.6, "n": 200, "confidence": 0.95, "setting": "", "verdict": "missed", "advice": "", "name": "price.mae"},
    ],
    "candidates": [
        {
            "id": "x",
            "name": "x",
            "status": "measured",
            "values": [
                Value(Key("mae", "price"), 3.3, 3.1, 3.5, 200).as_dict(),
                Value(Key("accuracy", "team"), 0.961, 0.93, 0.97, 200).as_dict(),
            ],
            "calibrated": {"team": {"scale": 0.5, "rows": 90, "before": 0.6, "after": 0.4, "part": "valid"}, "price": {"half_width": 7.25, "interval": 0.9}},
            "abstains": None,
        }
    ],
    "baseline": {"name": "majority", "targets": {"team": {"measure": "accuracy", "measured": 0.55}, "price": {"measure": "mae", "measured": 5.75}}},
    "data": {"target": TARGETS, "classes": {"team": {"parcel": 10, "refund": 30}, "price": {}}, "inputs": ["text"], "rows": 40},
    "values": [],
    "figures": {
        "team": {"confusion": {"labels": ["parcel", "refund"], "matrix": [[9, 1], [2, 28]]}, "reliability": [{"low": 0.6, "high": 0.7, "n": 40, "confidence": 0.65, "accuracy": 0.7}]},
        "price": {"scatter": [[1.0, 2.0], [3.0, 2.5]]},
    },
}  # fmt: skip


def test_the_page_tells_targets_apart():
    shown = page.render(RECORD)
    assert "Accuracy of team" in shown
    assert "team 的准确率" in shown
    assert "accuracy of team 0.550" in shown  # the baseline's
    assert "mean absolute error of price 5.75" in shown
    assert "7.25" in shown  # the interval of the one
    assert "divided by 2.00" in shown  # and the temperature of the other
    assert "0.961" in shown  # the candidates are compared by the first need's target
    assert shown.count("<h3><bdi>team</bdi></h3>") >= 3
    assert "(classify)" in shown


def test_a_ground_keeps_of_one_target_what_it_has_and_of_several_by_name():
    nothing = np.empty(0, dtype=np.int64)
    splits = Splits(nothing, nothing, nothing)
    one = line.Ground(None, {"team": "classify"}, [], splits, None)
    assert (one.several, one.named("team"), one.by_target({"team": None})) == (False, None, None)
    two = line.Ground(None, TARGETS, [], splits, None)
    assert (two.target, two.task, two.named("price")) == ("team", "classify", "price")
    assert two.by_target({"team": {"a": 1}, "price": None}) == {"team": {"a": 1}, "price": None}
    assert two.by_target({"team": None, "price": None}) is None
