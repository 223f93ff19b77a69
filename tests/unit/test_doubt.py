"""Doubt: planted wrong labels come first, by models that never saw them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sartor.data import audit, doubt, fix
from sartor.data.read import read
from sartor.data.split import row_keys
from sartor.modality import text

SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support" / "support.csv"
RATE = 0.08


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """(the support rows with RATE of their labels flipped, which rows those are)."""
    with SUPPORT.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["intent"] and row["message"].strip()]
    names = sorted({row["intent"] for row in rows})
    rng = np.random.default_rng(0)
    wrong = set(rng.choice(len(rows), round(RATE * len(rows)), replace=False).tolist())
    path = tmp_path_factory.mktemp("planted") / "support.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["message", "intent"])
        for place, row in enumerate(rows):
            label = row["intent"]
            if place in wrong:
                label = names[(names.index(label) + int(rng.integers(1, len(names)))) % len(names)]
            writer.writerow([row["message"], label])
    return read(str(path), target="intent"), wrong


def looked(dataset, target="intent", **options):
    labels = audit.labels_of(dataset, target)
    keys = row_keys(dataset)
    usable = (keys >= 0) & (labels.codes >= 0)
    learning = np.flatnonzero(usable & np.isin(dataset.part, [-1, 0]))
    judging = {name: np.intersect1d(np.flatnonzero(usable), dataset.rows_of(name)) for name in dataset.given_parts[1:]}
    return doubt.doubts(dataset, keys, labels.codes, learning, judging, seed=0, **options)


@pytest.fixture(scope="module")
def doubted(planted):
    return looked(planted[0])["train"]


def test_planted_wrong_labels_come_first(planted, doubted):
    worst = doubted.rows[np.argsort(doubted.quality, kind="stable")]
    most = set(worst[: round(1.5 * len(planted[1]))].tolist())
    assert len(most & planted[1]) >= 0.8 * len(planted[1])


def test_most_of_what_is_found_is_wrong_and_the_rate_is_near(planted, doubted):
    found = set(doubted.rows[doubted.wrong].tolist())
    assert len(found & planted[1]) >= 0.5 * len(found)
    assert doubted.low <= doubted.rate <= doubted.high
    assert abs(doubted.rate - RATE) < 0.05


def test_the_finding_names_rows_worst_first_with_a_suggestion_each(planted, doubted):
    findings = audit.audit(planted[0], target="intent", task="classify")
    (finding,) = [one for one in findings if one.code == "audit.wrong-label"]
    assert finding.severity == "warning"
    assert finding.count == len(finding.rows) == len(finding.details["suggested"])
    assert finding.rows[0] == doubted.rows[doubted.quality.argmin()]
    assert finding.details["pairs"][0][2] == max(times for *_, times in finding.details["pairs"])
    listed = fix.to_label(planted[0], [finding], target="intent")
    assert [row["suggested"] for row in listed] == finding.details["suggested"]
    assert all(row["suggested"] != row["intent"] for row in listed)


def test_the_same_rows_and_seed_give_the_same_doubts(planted, doubted):
    again = looked(planted[0])["train"]
    assert np.array_equal(again.quality, doubted.quality)
    assert np.array_equal(again.wrong, doubted.wrong)


def test_labels_of_clean_rows_are_left_alone():
    found = looked(read(str(SUPPORT), target="intent"))["train"]
    assert len(found.wrong) <= 0.05 * len(found.rows)


def test_no_row_is_judged_by_a_model_that_saw_it_or_its_duplicate():
    # Labels are drawn by chance and every text stands there three times: whoever saw a copy knows the label.
    rng = np.random.default_rng(0)
    labels, keys = np.repeat(rng.integers(0, 2, 200), 3), np.repeat(np.arange(200), 3)
    texts = [f"{'qwertzuiopasdfghjkl'[key % 19]}{key * 7919} mnb{key * 104729} words" for key in keys]
    told = doubt.fit(text.features(texts, len(texts)), labels, keys, classes=2, seed=0).probabilities
    assert np.mean(told.argmax(1) == labels) < 0.65


def test_as_many_are_doubted_as_the_rate_says_and_none_that_is_rather_sure():
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, 2000)
    given = np.where(rng.random(2000) < 0.2, (truth + 1) % 4, truth)
    probabilities = np.full((2000, 4), 0.02)
    probabilities[np.arange(2000), truth] = 0.94
    told = doubt.judge(np.arange(2000), np.arange(4), given, probabilities)
    assert set(told.wrong.tolist()) == set(np.flatnonzero(given != truth).tolist())
    # Of a model that knows nothing as many seem wrong, and no label is unlikely enough to be doubted for it.
    blind = doubt.judge(np.arange(2000), np.arange(4), given, np.full((2000, 4), 0.25) + 1e-3 * rng.random((2000, 4)))
    assert (blind.quality[blind.wrong] < doubt.RATHER_SURE).all()
    assert len(blind.wrong) <= round(blind.rate * 2000)


@pytest.mark.parametrize(("strength", "flipped"), [(1.0, 0.0), (1.0, 0.2), (6.0, 0.0), (6.0, 0.2)])
def test_what_a_weak_model_gets_wrong_is_no_wrong_label(strength, flipped):
    rng = np.random.default_rng(0)
    rows, classes = 8000, 5
    probabilities = doubt.softmax(strength * rng.gumbel(size=(rows, classes)) * rng.random((rows, 1)))
    given = (probabilities.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)  # as often right as the model says
    flips = rng.random(rows) < flipped
    given[flips] = (given[flips] + rng.integers(1, classes, int(flips.sum()))) % classes
    surest = doubt._sure(probabilities, doubt.SURE_SHARE)
    contradicted = (probabilities.argmax(axis=1)[surest] != given[surest]).mean()
    rate, low, high = doubt.error_rate(given, probabilities)
    assert low <= rate <= high
    assert rate <= contradicted
    if strength < 6:  # the surest answers of a weak model are still often wrong
        assert contradicted > flipped + 0.25
        assert rate < contradicted - 0.1
    else:
        assert low - 0.02 < flipped < high + 0.02


def test_many_small_classes_have_a_rate_too():
    classes, rows = 150, 6
    given = np.repeat(np.arange(classes), rows)
    probabilities = np.full((len(given), classes), 0.05 / (classes - 1))
    probabilities[np.arange(len(given)), given] = 0.95
    rate, low, high = doubt.error_rate(given, probabilities)
    assert (rate, low) == (0.0, 0.0)
    assert 0 < high < 0.05


def test_with_even_errors_the_ranking_is_that_of_the_given_labels_probability():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(5), 50)
    given = rng.integers(0, 5, 50)
    even = np.full((5, 5), 0.05) + 0.75 * np.eye(5)
    own = doubt.posterior(given, probabilities, even)[np.arange(50), given]
    assert np.array_equal(np.argsort(own), np.argsort(probabilities[np.arange(50), given]))


@pytest.mark.parametrize("concentrated", [False, True])
def test_errors_between_two_classes_are_told_from_errors_that_are_spread(concentrated):
    rng = np.random.default_rng(3)
    true = rng.integers(0, 5, 4_000)
    wrong = rng.random(4_000) < 0.2
    other = (true + 1) % 5 if concentrated else (true + rng.integers(1, 5, 4_000)) % 5
    given = np.where(wrong, other, true)
    logits = 3.0 * np.eye(5)[true] + rng.standard_normal((4_000, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = doubt.transitions(given, probabilities)
    apart = found[np.arange(5), (np.arange(5) + 1) % 5]
    assert np.allclose(found.sum(1), 1)
    if concentrated:
        assert (apart > 0.1).all()
    else:
        assert np.allclose(apart, apart[0])


def test_naive_bayes_and_the_discriminant_are_those_of_scikit_learn():
    from scipy import sparse
    from scipy.special import log_softmax
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.naive_bayes import MultinomialNB

    rng = np.random.default_rng(4)
    given, every = rng.integers(0, 3, 300), np.arange(300)
    dense = rng.standard_normal((300, 8)) + given[:, None]
    made = sparse.csr_matrix(np.abs(dense) * (rng.random((300, 8)) < 0.5))
    scores = doubt._scores(made, given, every[:200], every[200:], classes=3, setting=0.1)
    theirs = MultinomialNB(alpha=0.1).fit(made[:200], given[:200]).predict_log_proba(made[200:])
    assert np.allclose(log_softmax(scores, axis=1), theirs)
    scores = doubt._scores(dense, given, every[:200], every[200:], classes=3, setting=0.0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(dense[:200], given[:200]).decision_function(dense[200:])
    assert np.allclose(log_softmax(scores, axis=1), log_softmax(theirs, axis=1))


def test_a_class_of_one_row_is_not_judged_and_few_rows_are_not_at_all(tmp_path):
    rows = [[f"the parcel number {i} is late", "late"] for i in range(80)]
    rows += [[f"order number {i} was refunded", "refund"] for i in range(80)] + [["only once", "rare"]]
    for name, kept in (("train", rows), ("test", [*rows[:10], *rows[80:90]])):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *kept])
    both = read({name: str(tmp_path / f"{name}.csv") for name in ("train", "test")})
    told = looked(both, "label")
    assert list(told) == ["train"]
    assert len(told["train"].rows) == 160
    assert not len(told["train"].wrong)
    assert looked(read(str(tmp_path / "test.csv"), input="text", target="label", task="classify"), "label") == {}


def test_no_label_of_a_judging_row_has_a_say_in_what_is_thought_of_another(planted, tmp_path):
    table = planted[0].table.to_pylist()
    rows = [[row["message"] or "", row["intent"]] for row in table]
    names = sorted({label for _, label in rows if label})
    told = []
    for turn in (0, 1):
        test = [[one, names[(names.index(label) + turn) % len(names)] if label else label] for one, label in rows[900:]]
        for name, kept in (("train", rows[:900]), ("test", test)):
            with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["message", "intent"], *kept])
        told.append(looked(read({name: str(tmp_path / f"{name}.csv") for name in ("train", "test")})))
    assert np.array_equal(told[0]["train"].quality, told[1]["train"].quality)
    # Labels are numbered in the order in which they come, which the test rows do not change.
    assert np.allclose(told[0]["test"].probabilities, told[1]["test"].probabilities)
    assert len(told[1]["test"].wrong) > 0.6 * len(told[1]["test"].rows)
