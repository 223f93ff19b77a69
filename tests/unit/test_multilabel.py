"""Several classes of one row: what is a list of names, metrics against scikit-learn's, thresholds that help, and bodies that learn tags."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from sartor import front, leaves, needs
from sartor.backbone import linear, ngram
from sartor.data import audit, read, schema, split
from sartor.errors import InputError
from sartor.explain import _support
from sartor.page import render
from sartor.predict import Predictor
from sartor.step import train
from sartor.step.fit import Chooser
from sartor.task import classify, multilabel

WORDS = {
    "billing": ("invoice", "charge", "card", "refund"),
    "shipping": ("parcel", "courier", "delivery", "address"),
    "account": ("password", "login", "email", "profile"),
    "bug": ("crash", "error", "frozen", "screen"),
}
FILLER = ("please", "could", "you", "tell", "what", "to", "do", "about", "this", "as", "it", "has", "been", "a", "week")


def rows(count: int, seed: int) -> tuple[list[dict[str, str]], list[tuple[str, ...]]]:
    """Texts with a word or two of each of their classes, of which there may be none, among words that say nothing."""
    rng = np.random.default_rng(seed)
    inputs, targets = [], []
    for _ in range(count):
        names = tuple(name for name, share in zip(WORDS, (0.4, 0.3, 0.25, 0.1), strict=True) if rng.random() < share)
        words = [str(word) for name in names for word in rng.choice(WORDS[name], 1 + rng.integers(2))]
        words += [str(word) for word in rng.choice(FILLER, 8)]
        inputs.append({"text": " ".join(rng.permutation(words))})
        targets.append(names)
    return inputs, targets


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (["a", " b ", "a"], ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("['a', 'b, c']", ("a", "b, c")),
        ("['a' 'b']", ("a", "b")),
        ("[2, 17.0]", ("2", "17")),
        ("a|b", ("a", "b")),
        ("a; b;", ("a", "b")),
        ("a, b", ("a", "b")),
        ("returns, refunds|other", ("returns, refunds", "other")),
        ("标签一、标签二", ("标签一", "标签二")),
        ("alone", ("alone",)),
        ([], ()),
        ("[]", ()),
        ("", None),
        (None, None),
        ("n/a", None),
        ('[""]', None),
        ("[0.25, 0.5]", None),
        ('[["a"], ["b"]]', None),
        ('[{"name": "a"}]', None),
        ("|", None),
    ],
)
def test_a_cell_names_the_classes_that_hold(cell, names):
    assert multilabel.parse(cell) == names


def test_a_comma_in_a_name_is_left_alone_where_names_are_parted_otherwise():
    values = ["returns, refunds|other", "returns, refunds", "other"] * 10
    assert multilabel.separator_of(values) == "|"
    assert multilabel.written(values)[:3] == ['["other", "returns, refunds"]', '["returns, refunds"]', '["other"]']
    assert multilabel.written(["b|a", "a|b", "[]", "", None]) == ['["a", "b"]', '["a", "b"]', "[]", None, None]


def tags(count: int = 200, seed: int = 0) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [[f"tag {i}" for i in np.flatnonzero(rng.random(8) < 0.25)] for _ in range(count)]


def test_lists_and_joined_names_suit():
    lists = tags()
    assert multilabel.suits(lists)
    assert multilabel.suits([json.dumps(one) for one in lists])
    for mark in ("|", ";", ", ", "，"):
        joined = [mark.join(one) for one in lists if one]
        assert multilabel.suits(joined), mark
        assert multilabel.suits([*joined, "", None])


CITIES = [f"{city}, {state}" for state in ("TX", "CA", "NY", "WA", "OR") for city in (f"{state}ville", f"Port {state}")]


@pytest.mark.parametrize(
    "values",
    [
        [f"intent_{i % 77}" for i in range(800)],
        [
            ["returns, refunds", "returns, exchanges", "billing, refunds", "billing, invoices", "other"][i % 5]
            for i in range(200)
        ],
        [["lost; stolen", "late", "wrong item"][i % 3] for i in range(200)],
        [CITIES[i % len(CITIES)] for i in range(300)],
        [f"it came late, number {i} was broken, and nobody {i * 7 % 31} answered" for i in range(200)],
        [f"{i},{i % 1000:03d}" for i in range(1, 200)],
        [f"{i / 7:.3f}" for i in range(200)],
        [json.dumps([round(i / 3, 3), 0.5, i * 0.25]) for i in range(200)],
        [["O", "O", "B-PER", "O"] for _ in range(200)],
        [f"the|cat {i}|sat {i + 1}" for i in range(200)],
        ["yes", "no"] * 100,
        [None, ""] * 10,
        [],
    ],
    ids=["names", "commas", "semicolons", "city-state", "prose", "thousands", "numbers", "vectors", "tokens", "unique",
         "two", "empty", "none"],
)  # fmt: skip
def test_what_is_no_set_of_names_does_not_suit(values):
    assert not multilabel.suits(values)


def table(target: list[object], *, nested: bool) -> pa.Table:
    texts = pa.array([f"where is my parcel number {i}, please" for i in range(len(target))], pa.large_string())
    field = pa.field("topics", pa.large_string(), metadata=schema.NESTED if nested else None)
    return pa.table(
        [texts, pa.array(target, pa.large_string())], schema=pa.schema([("text", pa.large_string()), field])
    )


def test_a_column_of_lists_is_a_target_where_nothing_else_is_and_never_an_input():
    made = table([json.dumps(one) for one in tags(60)], nested=True)
    found, task = schema.infer(made)
    assert (task, [(c.name, c.role) for c in found.columns]) == (
        "multilabel",
        [("text", "input"), ("topics", "target")],
    )
    beside = made.append_column("team", pa.array([f"team_{i % 3}" for i in range(60)], pa.large_string()))
    found, task = schema.infer(beside)
    assert (task, found.targets[0].name) == ("classify", "team")
    with pytest.raises(InputError, match="lists or objects") as caught:
        schema.infer(beside, input="topics", target="team")
    assert caught.value.code == "schema.input-kind"
    assert not classify.suits([json.dumps(one) for one in tags(60)])


def test_joined_names_that_are_few_enough_to_be_classes_are_left_to_the_user():
    made = table(["|".join(one) for one in tags(400) if one], nested=False)
    with pytest.raises(InputError, match="classify, multilabel") as caught:
        schema.infer(made, target="topics")
    assert caught.value.code == "schema.ambiguous-task"
    for task in ("classify", "multilabel"):
        assert schema.infer(made, target="topics", task=task)[1] == task
    commas = table([["returns, refunds", "shipping, delivery", "other"][i % 3] for i in range(90)], nested=False)
    assert schema.infer(commas, target="topics")[1] == "classify"
    # Asked for, it may be what would not be guessed: tags of which seldom two stand together.
    seldom = table(["a|b" if i % 20 == 0 else "ab"[i % 2] for i in range(90)], nested=False)
    assert schema.infer(seldom, target="topics")[1] == "classify"
    assert schema.infer(seldom, target="topics", task="multilabel")[1] == "multilabel"


def answers_of(told: np.ndarray, classes: list[str]) -> list[dict[str, object]]:
    return [
        {
            "labels": [name for name, share in zip(classes, row, strict=True) if share >= 0.5],
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
        }
        for row in told
    ]


def named(sides: np.ndarray, classes: list[str]) -> list[tuple[str, ...]]:
    return [tuple(name for name, holds in zip(classes, row, strict=True) if holds) for row in sides]


def drawn(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(which of four classes hold, probabilities that tell something of it) [count, 4]."""
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 4)) < [0.5, 0.3, 0.1, 0.05]
    return truth, 1 / (1 + np.exp(-(3 * truth - 2 + rng.normal(size=truth.shape))))


def test_metrics_are_those_of_scikit_learn():
    reference = pytest.importorskip("sklearn.metrics")
    classes = list("abcd")
    truth, shares = drawn()
    told = shares >= 0.5
    spec = multilabel.learn(named(truth, classes))
    expected = {
        "micro_f1": reference.f1_score(truth, told, average="micro"),
        "macro_f1": reference.f1_score(truth, told, average="macro"),
        "exact_match": reference.accuracy_score(truth, told),
        "hamming": reference.hamming_loss(truth, told),
        "log_loss": np.mean([reference.log_loss(truth[:, i], shares[:, i]) for i in range(4)]),
        "recall": reference.recall_score(truth[:, 2], told[:, 2]),
        "precision": reference.precision_score(truth[:, 2], told[:, 2]),
    }
    assert set(expected) == set(multilabel.METRICS)
    for name, metric in multilabel.METRICS.items():
        for_class = "c" if metric.per_class else None
        stats = metric.stats(answers_of(shares, classes), named(truth, classes), spec, for_class)
        assert float(metric.finish(stats.sum(0))) == pytest.approx(expected[name], abs=1e-9), name
        assert metric.finish(np.stack([stats.sum(0), stats[:200].sum(0)])).shape == (2,)
        if metric.proportion:
            assert set(np.unique(stats)) <= {0.0, 1.0}


def test_a_row_that_is_not_answered_is_wrong_and_an_unseen_class_is_missed():
    spec = multilabel.learn([("a",), ("a", "b"), ()])
    refused = [{"error": {"code": "row.bad-value", "message": ""}}] * 2
    worst = {"micro_f1": 0.0, "macro_f1": 0.0, "exact_match": 0.0, "hamming": 1.0}
    for name, value in worst.items():
        metric = multilabel.METRICS[name]
        assert metric.finish(metric.stats(refused, [("a",), ()], spec, None).sum(0)) == value, name
    metric = multilabel.METRICS["micro_f1"]
    stats = metric.stats(answers_of(np.array([[0.9, 0.1]]), ["a", "b"]), [("a", "new")], spec, None)
    assert metric.finish(stats.sum(0)) == pytest.approx(2 / 3)


def test_encoding_decoding_and_the_constant_answer():
    targets = [("b", "a"), ("a",), (), ("a", "c")]
    spec = multilabel.learn(targets)
    assert spec == {"classes": ["a", "b", "c"], "counts": [3, 1, 1], "rows": 4}
    encoded = multilabel.encode([*targets, ("never seen", "c")], spec)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1]]
    assert multilabel.known(encoded).all()
    (told,) = multilabel.decode(np.array([[0.2, -3.0, 4.0]]), spec)
    assert told["labels"] == ["c", "a"]
    assert told["probabilities"]["b"] == pytest.approx(1 / (1 + np.exp(3)))
    (always,) = multilabel.decode(multilabel.trivial(spec)[None], spec)
    assert always["labels"] == ["a"]
    assert multilabel.decode(np.array([[-1e9, 1e9, 0.0]]), spec)[0]["labels"] == ["b", "c"]
    assert multilabel.same(told, {"labels": ["a", "c"]})
    assert not multilabel.same(told, {"labels": ["a"]})


def test_the_loss_is_the_mean_over_classes_and_smoothing_draws_to_even_odds():
    torch = pytest.importorskip("torch")
    spec = multilabel.learn([("a",), ("b",)])
    outputs, targets = torch.tensor([[2.0, -1.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = multilabel.loss(outputs, targets, spec, smoothing=0.0, class_weights=torch.tensor([9.0, 9.0]))
    assert found.tolist() == pytest.approx([(np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2, np.log(2)], rel=1e-5)
    smooth = multilabel.loss(outputs, targets, spec, smoothing=0.1, class_weights=None)
    assert smooth[0] > found[0]
    assert smooth[1] == pytest.approx(float(found[1]))
    layer = multilabel.head(5, multilabel.learn([("a",), ("a", "b"), ("a", "b")]))
    assert layer(torch.ones(1, 5))[0].tolist() == pytest.approx([np.log(7), np.log(2.5 / 1.5)], rel=1e-5)


def test_thresholds_raise_f1_on_other_rows_and_stay_near_even_for_a_rare_class():
    classes = list("abcd")
    (truth, shares), (other, unseen) = drawn(1000, 1), drawn(1000, 2)
    shares, unseen = shares**2, unseen**2  # too careful
    truth[5:, 3] = False
    learned = multilabel.settle(answers_of(shares, classes), named(truth, classes))
    limits = learned["thresholds"]
    assert learned["rows"] == 1000
    assert limits["a"] < 0.45
    metric = multilabel.METRICS["micro_f1"]
    spec = multilabel.learn(named(truth, classes))
    before = answers_of(unseen, classes)
    after = [multilabel.settled(answer, learned) for answer in before]
    scores = [
        float(metric.finish(metric.stats(told, named(other, classes), spec, None).sum(0))) for told in (before, after)
    ]
    assert scores[1] > scores[0] + 0.02
    # The same ordering of few rows moves a threshold less.
    odds = np.linspace(-5, 1, 400)
    truth_of = odds > -2
    few = np.r_[np.flatnonzero(~truth_of), np.flatnonzero(truth_of)[::60]]
    assert multilabel._cut(odds, truth_of) < -1.8 < multilabel._cut(odds[few], truth_of[few]) < 0
    assert multilabel._cut(odds, np.zeros(400, dtype=bool)) == 0
    assert multilabel.settle(before[:20], named(other, classes)[:20]) is None
    assert multilabel.settled({"error": {}}, learned) == {"error": {}}
    held = front.Candidate("x", front.Plan("x", ()), "linear", calibrated=learned | {"part": "calib"})
    assert held.settled == {"thresholds": limits}
    # The predictor answers by what the head holds.
    head = {"spec": {"classes": classes}, "thresholds": {"a": 0.2, "b": 0.9}}
    (answer,) = Predictor._decode(multilabel, head, np.array([[-1.0, 1.0, 1.0, -1.0]]))
    assert answer["labels"] == ["c", "a"]


@pytest.mark.parametrize("leaf", [ngram, linear])
def test_a_body_learns_which_classes_hold(leaf, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    (inputs, targets), (valid, truth), (test, right) = rows(700, 1), rows(200, 2), rows(400, 3)
    if leaf is linear:  # of the words a table of yes and no
        every = [word for words in WORDS.values() for word in words]
        cells_of = [
            [{word: float(word in row["text"]) for word in every} for row in some] for some in (inputs, valid, test)
        ]
        (inputs, valid, test), kinds = cells_of, dict.fromkeys(every, "number")
    else:
        kinds = {"text": "text"}
    spec = multilabel.learn(targets)
    choose = Chooser(multilabel, spec, valid, truth, seed=0, progress=lambda *a, **k: None)
    meta = leaf.start("", tmp_path, columns=list(kinds), inputs=inputs, seed=0, kinds=kinds, outputs=4)
    encoded = multilabel.encode(targets, spec)
    module, meta, chosen = leaf.fit(tmp_path, meta, inputs, encoded, task=multilabel, spec=spec, choose=choose, seed=0)
    with torch.inference_mode():
        batch = leaf.processor(tmp_path, meta)(test)
        outputs = module(**{name: torch.from_numpy(array) for name, array in batch.items()}).numpy()
    answers = multilabel.decode(outputs, spec)
    scores = {
        name: float(metric.finish(metric.stats(answers, right, spec, None).sum(0)))
        for name, metric in multilabel.METRICS.items()
        if not metric.per_class
    }
    assert scores["micro_f1"] > 0.97
    assert scores["exact_match"] > 0.9
    assert scores["log_loss"] < 0.1, chosen  # outputs are log odds, not margins as they came


def test_a_class_that_always_holds_is_answered_by_its_frequency():
    sparse = pytest.importorskip("scipy.sparse")
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    features = sparse.csr_matrix(rng.random((60, 12)) * (rng.random((60, 12)) < 0.4))
    targets = [("always", "some") if row[0] > 0 else ("always",) for row in features.toarray()]
    spec = multilabel.learn(targets)
    weight, bias = multilabel.fit_linear(features, multilabel.encode(targets, spec), spec, strength=1.0, seed=0)
    assert weight.shape == (2, 12)
    assert not weight[0].any()
    assert bias[0] > 4
    assert ((features @ weight[1] + bias[1] > 0) == (features.toarray()[:, 0] > 0)).mean() > 0.9


def test_rare_and_constant_classes_are_told():
    targets = [json.dumps(["all", *(["rare"] if i < 4 else []), *(["half"] if i % 2 else [])]) for i in range(60)]
    found = {one.code: one for one in multilabel.audit(targets, range(100, 160))}
    assert found["audit.rare-class"].details["classes"] == {"rare": 4}
    assert found["audit.rare-class"].rows == (100, 101, 102, 103)
    assert found["audit.constant-class"].details["classes"] == ["all"]
    assert not multilabel.audit([*targets[20:], "[]", *targets[20:]], range(81))


def test_rows_are_read_audited_and_split_so_that_every_part_has_each_class(tmp_path):
    inputs, targets = rows(600, 5)
    lines = [{"text": row["text"], "tags": sorted(names)} for row, names in zip(inputs, targets, strict=True)]
    lines[0]["tags"] = None
    lines[1]["tags"] = [{"name": "billing"}]
    lines[2] |= {"text": lines[3]["text"], "tags": ["bug", "billing"]}
    lines[3]["tags"] = ["billing", "bug"]  # the same, written otherwise
    (tmp_path / "tickets.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    dataset = read.read(tmp_path / "tickets.jsonl", target="tags")
    assert schema.infer(dataset.table, target="tags")[1] == "multilabel"
    findings = {one.code: one for one in audit.audit(dataset, target="tags", task="multilabel")}
    assert findings["audit.missing-target"].rows == (0, 1)
    assert "audit.conflict" not in findings
    splits = split.split(dataset, target="tags", task="multilabel")
    share = {}
    for part in ("train", "valid", "test"):
        examples = multilabel.examples(dataset, getattr(splits, part), "tags")
        spec = multilabel.learn(examples.targets["tags"])
        assert spec["classes"] == sorted(WORDS)
        share[part] = spec["counts"][spec["classes"].index("bug")] / spec["rows"]
    assert share["test"] == pytest.approx(share["train"], rel=0.1)
    assert () in examples.targets["tags"]


def test_strata_are_the_rarest_classes_whatever_the_order_of_rows():
    values = ["a|b", "a", "a|c", "", "[]", "b|a"]
    found = multilabel.strata(values)
    assert found.tolist() == [3, 2, 4, 0, 1, 3]
    assert multilabel.strata(values[::-1]).tolist() == found.tolist()[::-1]


def test_needs_tell_the_task():
    made = needs.make(data="x.csv", needs=["micro_f1 >= 0.8", "recall for bug >= 0.5", "hamming <= 5 %"])
    assert made.task == "multilabel"
    assert needs.make(data="x.csv", needs=["exact_match >= 0.8", "macro_f1 >= 0.7"]).task == "multilabel"
    assert needs.make(data="x.csv", needs=["macro_f1 >= 0.8"]).task is None
    assert needs.make(data="x.csv", needs=["accuracy >= 0.8", "macro_f1 >= 0.7"]).task is None


def test_bodies_that_cannot_answer_so_are_not_offered():
    made = needs.make(data="x.csv")
    profile = front.Profile(
        500, 4, 0.0, {}, 100.0, columns=1, kinds=frozenset({"number"}), inputs=(("size", "number"),)
    )
    offered = {task: {body.leaf for body in front._bodies(made, profile, task)} for task in ("classify", "multilabel")}
    assert "trees" in offered["classify"] - offered["multilabel"]
    assert "linear" in offered["multilabel"]


def test_classes_that_hold_together_are_neither_weighed_nor_smoothed():
    class Context:
        targets = {"tags": "multilabel"}  # noqa: RUF012
        backbone = {"leaf": "convnet"}  # noqa: RUF012

        def examples(self, part):
            raise AssertionError("their frequencies do not matter")

        def note(self, **told):
            raise AssertionError(told)

    told = train.resolve({"bf16": False}, Context())
    assert (told["balance"], told["label_smoothing"]) == (False, 0.0)


def test_what_an_answer_rests_on_is_measured_on_the_classes_that_it_names():
    answer = multilabel.decode(np.array([[2.0, -1.0, 1.0]]), {"classes": list("abc")})[0]
    other = multilabel.decode(np.array([[1.5, 5.0, 0.0]]), {"classes": list("abc")})[0]
    assert _support(multilabel, answer, answer) - _support(multilabel, answer, other) == pytest.approx(1.5)
    none = multilabel.decode(np.array([[-2.0, -1.0]]), {"classes": list("ab")})[0]
    more = multilabel.decode(np.array([[-2.0, 3.0]]), {"classes": list("ab")})[0]
    assert _support(multilabel, none, none) - _support(multilabel, none, more) == pytest.approx(4.0)


def test_the_report_shows_each_class_and_the_worst_rows_first():
    classes, (truth, shares) = list("abcd"), drawn(200)
    inputs = [{"text": f"row <{i}>"} for i in range(200)]
    names = named(truth, classes)
    examples = multilabel.Examples(inputs, {"tags": names}, np.arange(200), np.arange(200))
    answers = answers_of(shares, classes)
    answers[7] = {"error": {"code": "row.bad-value", "message": ""}}
    drawn_of = multilabel.figures(examples, answers, "tags", multilabel.learn(names))
    kept = np.arange(200) != 7
    told = shares >= 0.5
    assert drawn_of["by_class"][1] == {
        "class": "b",
        "rows": int(truth[kept, 1].sum()),
        "hits": int((truth & told)[kept, 1].sum()),
        "false_alarms": int((told & ~truth)[kept, 1].sum()),
    }
    off = np.where(((truth != told).any(1)) & kept, np.abs(truth - shares).sum(1), -1.0)
    assert [one["row"] for one in drawn_of["mistakes"][:5]] == np.argsort(-off)[:5].tolist()
    assert {one["expected"] for one in drawn_of["mistakes"]} <= {", ".join(one) or "–" for one in names}
    page = render({"figures": {"tags": json.loads(json.dumps(drawn_of))}})
    assert "Class by class" in page
    assert "逐类结果" in page
    assert "row &lt;" in page


def test_the_server_half_names_no_single_label():
    from sartor.serve import app

    class Fake:
        heads = [{"target": "tags", "task": "multilabel", "spec": {"classes": ["a"]}}]  # noqa: RUF012

    assert [one["name"] for one in app._v2_outputs(Fake())] == ["tags.answer"]
    assert leaves.load("task", "multilabel").EXCLUSIVE is False
