"""Tables: cells, what they become, and the bodies that read them, held against what scikit-learn says."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from sartor import leaves
from sartor.backbone import linear, trees
from sartor.data import audit, cells, read, schema
from sartor.errors import RowError
from sartor.modality import category, date, number
from sartor.step.fit import Chooser
from sartor.tables import Table, spread_of
from sartor.task import classify


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1,234.5", 1234.5),
        (" -3e2 ", -300.0),
        (7, 7.0),
        (True, 1.0),
        ("?", None),
        ("", None),
        (None, None),
        ("NaN", None),
    ],
)
def test_a_number_is_read_however_it_is_written(cell, value):
    assert number.read(cell, "x") == value


@pytest.mark.parametrize("cell", ["seven", "1.2.3", [1], {"a": 1}, float("inf")])
def test_what_is_no_number_is_refused_with_its_column(cell):
    with pytest.raises(RowError, match="'x'") as caught:
        number.read(cell, "x")
    assert caught.value.code == "row.bad-value"


@pytest.mark.parametrize(("modality", "digits"), [(number, 400), (date, 400), (category, 1_001), (category, 5_000)])
def test_a_whole_number_beyond_all_bounds_is_refused_like_any_other_cell(modality, digits):
    with pytest.raises(RowError, match="'x'"):
        modality.read(10**digits, "x")


@pytest.mark.parametrize(("modality", "cell"), [(number, "three"), (date, "soon")])
def test_what_the_audit_says_of_odd_cells_is_what_a_model_does(modality, cell):
    good = {number: "1", date: "2024-01-02"}[modality]
    (found,) = modality.audit("x", [good, "2024-01-03" if modality is date else "2", cell], range(3))
    assert "refuses such a row" in found.advice
    with pytest.raises(RowError):
        modality.read(cell, "x")
    assert modality.read(None, "x") is None  # as the advice says, an empty cell is none


def test_seconds_of_no_year_are_shown_as_they_are():
    assert date.show(-9e10) == "-90000000000.0"
    assert date.show(0.0) == "1970-01-01 00:00:00+00:00"


def test_the_same_cell_has_the_same_key():
    assert number.key("1.0") == number.key(1) == number.key("1") != number.key("1.5")
    assert category.key(3.0) == category.key("3") == category.key(3) == category.key("3.0") == category.key(" 3.00 ")
    assert category.key(True) == category.key("True") == category.key("TRUE") == category.key("true")
    assert category.key(False) == category.key("False") != category.key("Falsetto")
    assert category.key("1.05") == "1.05"
    assert category.key("?") is None
    assert date.key("2024-05-31") == date.key("2024/5/31") != date.key("2024-05-31 10:00")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([0] * 30 + [44 + i for i in range(100)], 0),  # a zero among blood pressures
        ([-999] * 10 + list(range(200)), -999),
        ([0] * 30 + [1] * 40 + [2 + i for i in range(100)], None),  # counts: the zero is one of them
        ([0] * 900 + [155 + 30 * i for i in range(100)], None),  # most have none of it
        (list(range(200)), None),
    ],
)
def test_a_code_for_unknown_is_found_where_it_stands_apart(values, code):
    found = [one for one in number.audit("x", values, range(len(values))) if one.code == "audit.missing-code"]
    assert [one.details["value"] for one in found] == ([] if code is None else [code])


def test_constant_columns_and_odd_cells_are_told():
    assert [one.code for one in number.audit("x", ["3"] * 9, range(9))] == ["audit.constant"]
    assert [one.code for one in category.audit("x", ["a"] * 9, range(9))] == ["audit.constant"]
    odd = number.audit("x", ["1", "2", "three", "4"], range(4))
    assert [(one.code, one.rows) for one in odd] == [("audit.not-a-number", (2,))]
    assert [(one.code, one.rows) for one in date.audit("x", ["2024-01-02", "soon"], range(2))] == [
        ("audit.not-a-date", (1,))
    ]


KINDS = {"size": "number", "colour": "category", "day": "date"}


def rows(count: int, seed: int, classes: int = 2) -> tuple[list[dict[str, object]], np.ndarray]:
    """Rows whose class follows from all three columns, with noise and empty cells."""
    rng = np.random.default_rng(seed)
    names = np.array(["red", "green", "blue", "grey", "pink"])
    size, colour = rng.normal(size=count), rng.integers(5, size=count)
    month = rng.integers(1, 13, size=count)
    score = size + np.array([1.5, -1.5, 0.5, 0.0, -0.5])[colour] + 0.8 * (month > 6) + 0.3 * rng.normal(size=count)
    target = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    made: list[dict[str, object]] = []
    for i in range(count):
        row: dict[str, object] = {
            "size": f"{size[i]:.4f}",
            "colour": names[colour[i]],
            "day": f"2024-{month[i]:02d}-11",
        }
        if rng.random() < 0.1:
            row[str(rng.choice(list(KINDS)))] = "?" if rng.random() < 0.5 else None
        made.append(row)
    return made, target


def chooser(count: int, seed: int, classes: int) -> Chooser:
    inputs, targets = rows(count, seed, classes)
    spec = {"classes": [str(i) for i in range(classes)], "counts": [1] * classes}
    return Chooser(classify, spec, inputs, [str(t) for t in targets], seed=0, progress=lambda *a, **k: None)


def fitted(leaf, tmp_path, classes):
    inputs, targets = rows(600, 1, classes)
    choose = chooser(200, 2, classes)
    meta = leaf.start(leaf.__name__, tmp_path, columns=list(KINDS), inputs=inputs, seed=0, kinds=KINDS, outputs=classes)
    module, meta, _ = leaf.fit(tmp_path, meta, inputs, targets, task=classify, spec=choose.spec, choose=choose, seed=0)
    return leaf.processor(tmp_path, meta), module


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("leaf", [linear, trees])
def test_a_body_learns_a_table_and_knows_what_to_do_with_empty_and_unseen_cells(leaf, classes, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    processor, module = fitted(leaf, tmp_path, classes)
    inputs, targets = rows(1000, 3, classes)
    with torch.inference_mode():
        outputs = module(**{name: torch.from_numpy(array) for name, array in processor(inputs).items()}).numpy()
        odd = [{"size": None, "colour": "ultraviolet", "day": "1066-01-01"}, {}, {"size": 1e300}]
        strange = module(**{name: torch.from_numpy(array) for name, array in processor(odd).items()}).numpy()
    assert (outputs.argmax(1) == targets).mean() > {2: 0.85, 4: 0.62}[classes]
    assert np.isfinite(strange).all()


@pytest.fixture
def grown(monkeypatch):
    """(scikit-learn's model, the scale of its outputs) of every fit from here on."""
    kept = []
    made = trees._module
    monkeypatch.setattr(
        trees, "_module", lambda folder, model, scale: kept.append((model, scale)) or made(folder, model, scale)
    )
    return kept


def test_the_tensors_of_trees_answer_as_the_trees_do(tmp_path, grown):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    processor, module = fitted(trees, tmp_path, 2)
    inputs, _ = rows(2000, 4)
    (model, scale), bins = grown[0], processor(inputs)["bins"]
    assert (bins == 0).any(), "no empty cell was tried"
    with torch.inference_mode():
        ours = module(torch.from_numpy(bins)).numpy()
    assert ours[:, 1] - ours[:, 0] == pytest.approx(scale * model.decision_function(trees._nan(bins)), abs=1e-4)


@pytest.mark.parametrize("value", [1.0, None])
def test_trees_split_on_gaps_alone(value, tmp_path, grown):
    """scikit-learn writes such a split as one at infinity. value: of the cells that are there, all the same or each another."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    targets = np.arange(200) % 2
    inputs = [{"size": None if target else value or float(i)} for i, target in enumerate(targets)]
    spec = {"classes": ["0", "1"], "counts": [100, 100]}
    choose = Chooser(classify, spec, inputs[:40], [str(t) for t in targets[:40]], seed=0, progress=lambda *a, **k: None)
    meta = trees.start("trees", tmp_path, columns=["size"], inputs=inputs, seed=0, kinds={"size": "number"})
    module, meta, _ = trees.fit(tmp_path, meta, inputs, targets, task=classify, spec=spec, choose=choose, seed=0)
    assert any(np.isinf(node["num_threshold"]) for step in grown[0][0]._predictors for node in step[0].nodes)
    bins = trees.processor(tmp_path, meta)([*inputs, {"size": -1e9}, {"size": 1e9}])["bins"]
    with torch.inference_mode():
        ours = module(torch.from_numpy(bins)).numpy()
    model, scale = grown[0]
    assert ours[:, 1] - ours[:, 0] == pytest.approx(scale * model.decision_function(trees._nan(bins)), abs=1e-4)
    assert (ours.argmax(1) == [*targets, 0, 0]).all()


def test_trees_of_one_class_answer_it(tmp_path):
    """As a member of a fusion may have to, whose input only rows of one class have."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    inputs, spec = [{"size": float(i)} for i in range(60)], {"classes": ["dear"], "counts": [60]}
    choose = Chooser(classify, spec, inputs[:9], ["dear"] * 9, seed=0, progress=lambda *a, **k: None)
    meta = trees.start("trees", tmp_path, columns=["size"], inputs=inputs, seed=0, kinds={"size": "number"})
    targets = np.zeros(60, dtype=np.int64)
    module, meta, _ = trees.fit(tmp_path, meta, inputs, targets, task=classify, spec=spec, choose=choose, seed=0)
    with torch.inference_mode():
        outputs = module(torch.from_numpy(trees.processor(tmp_path, meta)(inputs)["bins"]))
    assert outputs.shape == (60, 1)
    assert classify.decode(outputs.numpy(), spec)[0]["label"] == "dear"


def test_a_column_that_is_the_same_but_for_rounding_is_not_stretched(tmp_path):
    values = np.full(30, 0.1)
    assert 0 < values.std() < 1e-15
    assert spread_of(values) == spread_of(np.array([0.3, 0.1 + 0.2])) == 1.0
    instants = 1.7e9 + np.arange(3.0)  # seconds since 1970
    assert spread_of(instants) == instants.std()
    assert spread_of(np.array([1e-9, 3e-9])) == pytest.approx(1e-9)
    inputs = [{"size": value} for value in values]
    meta = linear.start("linear", tmp_path, columns=["size"], inputs=inputs, seed=0, kinds={"size": "number"})
    features = linear.processor(tmp_path, meta)([*inputs, {"size": 0.6}])["cells"]
    assert np.abs(features[:-1, 0]).max() < 1e-6
    assert features[-1, 0] == pytest.approx(0.5)


def test_values_of_many_kinds_fall_into_as_many_bins_as_there_are(tmp_path):
    inputs = [{"size": float(i % 7)} for i in range(100)]
    meta = trees.start("trees", tmp_path, columns=["size"], inputs=inputs, seed=0, kinds={"size": "number"})
    bins = trees.processor(tmp_path, meta)([{"size": i} for i in range(7)] + [{"size": -5}, {"size": 99}])["bins"]
    assert bins[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 7]


def test_rare_names_share_a_number_and_come_back_from_their_file(tmp_path):
    inputs = [{"colour": name} for name in ["red"] * 3 + ["blue"] * 2 + ["once"]]
    table = Table.learn(inputs, {"colour": "category"})
    table.save(tmp_path)
    again = Table.load(tmp_path)
    assert again == table
    made = again.matrix([{"colour": name} for name in ("blue", "red", "once", "never", None)])
    assert made[:4, 0].tolist() == [0, 1, 2, 2]
    assert math.isnan(made[4, 0])


def test_a_date_is_an_instant_and_what_repeats_in_it():
    table = Table.learn([{"day": "2024-05-31 14:30"}], {"day": "date"})
    (found,) = table.matrix([{"day": "2024-05-31 14:30"}])
    assert [column.kind for column in table.columns] == ["instant", "month", "weekday", "hour"]
    assert found.tolist() == [cells.instant("2024-05-31 14:30"), 5, 4, 14]


def test_a_table_is_read_and_audited_without_a_word_about_wrong_labels(tmp_path):
    inputs, targets = rows(400, 5)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*KINDS, "outcome"])
        writer.writeheader()
        writer.writerows(
            {**row, "outcome": "yes" if target else "no"} for row, target in zip(inputs, targets, strict=True)
        )
    dataset = read.read(tmp_path / "t.csv", target="outcome")
    assert {column.name: column.kind for column in dataset.schema.inputs} == KINDS
    findings = audit.audit(dataset, target="outcome", task="classify")
    assert not [one.code for one in findings if one.severity != "note"]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_area_under_the_curve_is_that_of_scikit_learn_and_its_bounds_those_of_delong(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    from sartor import bounds

    rng = np.random.default_rng(0)
    names = list("abc")[:classes]
    truth = rng.integers(classes, size=500)
    scores = np.round(
        rng.normal(size=(500, classes)) + 1.2 * np.eye(classes)[truth], 1
    )  # rounded, so that some are equal
    odds = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    answers = [
        {"label": names[row.argmax()], "probabilities": dict(zip(names, row.tolist(), strict=True))} for row in odds
    ]
    metric = classify.METRICS["auroc"]
    stats = metric.stats(answers, [names[t] for t in truth], {"classes": names}, None)
    given = odds[:, 1] if classes == 2 else odds
    expected = metrics.roc_auc_score(truth, given, multi_class="ovr")
    assert float(metric.finish(stats.sum(0))) == pytest.approx(expected, abs=1e-9)
    found = bounds.bootstrap(stats, metric.finish)
    assert found.low < expected < found.high
    if classes == 2:
        own, other = stats[truth == 1, 0], stats[truth == 0, 2]
        error = math.sqrt(own.var(ddof=1) / len(own) + other.var(ddof=1) / len(other))  # DeLong et al. (1988)
        assert found.high - found.low == pytest.approx(2 * 1.645 * error, rel=0.1)


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    metrics = pytest.importorskip("sklearn.metrics")
    truth = list("aaaaaabbbc")
    told = list("aaaabbbbaa")
    metric = classify.METRICS["balanced_accuracy"]
    stats = metric.stats([{"label": one} for one in told], truth, {"classes": list("abc")}, None)
    assert float(metric.finish(stats.sum(0))) == pytest.approx(metrics.balanced_accuracy_score(truth, told))


def test_every_kind_of_cell_is_a_modality_that_says_so():
    assert all(leaves.load("modality", kind).TABULAR for kind in KINDS.values())
    assert [schema.speaks_for_itself(kind) for kind in ("text", "number", "category", "date", "label")] == [
        True,
        *[False] * 4,
    ]
