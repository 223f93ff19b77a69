"""Quality measured from answers, with the bounds that belong to it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from sartor import bounds, measure, needs
from sartor.data.dataset import Examples
from sartor.errors import SartorError
from sartor.report import Key
from sartor.task import classify

HEAD = {"task": "classify", "target": "label", "spec": {"classes": ["a", "b"], "counts": [5, 5]}}


def answers_of(labels, probability=0.9):
    other = {"a": "b", "b": "a"}
    return [
        {"label": x, "probability": probability, "probabilities": {x: probability, other[x]: 1 - probability}}
        for x in labels
    ]


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    targets = rng.choice(["a", "b"], 300).tolist()
    right = rng.random(300) < 0.85
    return answers_of([t if r else {"a": "b", "b": "a"}[t] for t, r in zip(targets, right, strict=True)]), targets


def test_accuracy_has_the_exact_bounds(drawn):
    answers, targets = drawn
    value = measure.value_of(Key("accuracy"), answers, targets, HEAD, levels=[0.95, 0.975])
    hits = sum(a["label"] == t for a, t in zip(answers, targets, strict=True))
    assert (value.measured, value.n) == (hits / 300, 300)
    assert (value.low, value.high) == tuple(vars(bounds.proportion(hits, 300)).values())
    assert value.details["ladder"][1][1] < value.low


def test_metrics_agree_with_scikit_learn(drawn):
    metrics = pytest.importorskip("sklearn.metrics")
    answers, targets = drawn
    named = [a["label"] for a in answers]

    def measured(name, for_class=None):
        return measure.value_of(Key(name, for_class=for_class), answers, targets, HEAD, levels=[0.95]).measured

    assert measured("macro_f1") == pytest.approx(metrics.f1_score(targets, named, average="macro"))
    assert measured("recall", "a") == pytest.approx(metrics.recall_score(targets, named, pos_label="a"))
    assert measured("precision", "a") == pytest.approx(metrics.precision_score(targets, named, pos_label="a"))
    table = [[a["probabilities"]["a"], a["probabilities"]["b"]] for a in answers]
    assert measured("log_loss") == pytest.approx(metrics.log_loss(targets, table, labels=["a", "b"]))
    share = np.mean([a == t for a, t in zip(named, targets, strict=True)])
    assert measured("calibration_error") == pytest.approx(abs(0.9 - share))


def test_a_row_without_an_answer_counts_as_wrong():
    answers = [*answers_of(["a"] * 9), {"error": {"code": "row.bad-value", "message": ""}}]
    assert measure.value_of(Key("accuracy"), answers, ["a"] * 10, HEAD, levels=[0.95]).measured == 0.9


def test_a_class_without_test_rows_has_no_value():
    value = measure.value_of(Key("recall", for_class="b"), answers_of(["a"] * 30), ["a"] * 30, HEAD, levels=[0.95])
    assert (value.measured, value.low, value.n) == (None, None, 0)


def test_few_groups_give_a_value_and_no_bound(drawn):
    answers, targets = drawn
    groups = np.repeat(np.arange(10), 30)
    value = measure.value_of(Key("accuracy"), answers, targets, HEAD, levels=[0.95], groups=groups)
    assert value.low is None
    assert value.note


def test_every_metric_of_the_task_is_finite(drawn):
    answers, targets = drawn
    for name, metric in classify.METRICS.items():
        key = Key(name, for_class="a" if metric.per_class else None)
        value = measure.value_of(key, answers, targets, HEAD, levels=[0.95])
        assert value.low <= value.measured <= value.high or name == "calibration_error"


def quality_of(answers, targets, texts, prefer=None, **given):
    """`measure.quality` without a bundle: its predictor only tells the head."""
    places = np.arange(len(targets))
    rows = Examples([{"text": "x"}] * len(targets), {"label": targets}, places, places)
    asked = needs.make(data="x.csv", needs=texts, prefer=prefer)
    values = measure.quality(SimpleNamespace(heads=[HEAD]), rows, answers, asked, **given)
    return {str(value.key): value for value in values}


def test_a_slice_is_judged_on_its_rows_alone(drawn):
    answers, targets = drawn
    languages = ["zh" if i % 3 == 0 else "en" for i in range(300)]
    found = quality_of(answers, targets, ["accuracy where lang == zh >= 0.8"], slices={"lang": languages})
    value = found["accuracy where lang == zh"]
    hits = sum(answers[i]["label"] == targets[i] for i in range(0, 300, 3))
    assert (value.n, value.measured) == (100, hits / 100)
    assert value.low == bounds.proportion(hits, 100).low
    assert value.details["of"] == 300
    assert found["accuracy"].n == 300


def test_a_slice_without_rows_has_no_value(drawn):
    answers, targets = drawn
    found = quality_of(answers, targets, ["accuracy where lang == zh >= 0.8"], slices={"lang": [None] * 300})
    assert found["accuracy where lang == zh"].measured is None


def test_a_difference_to_the_baseline_is_that_of_the_same_rows(drawn):
    answers, targets = drawn
    head = HEAD | {"spec": {"classes": ["a", "b"], "counts": [6, 4]}}
    found = quality_of(answers, targets, ["accuracy >= baseline + 2 points"])
    assert HEAD["spec"]["counts"] == [5, 5]  # equal odds: the first class wins
    ours = np.array([a["label"] == t for a, t in zip(answers, targets, strict=True)])
    theirs = np.array([t == "a" for t in targets])
    value = found["accuracy over baseline"]
    assert value.measured == pytest.approx(100 * (ours.mean() - theirs.mean()))
    tango = bounds.paired_difference(int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), 300)
    assert (value.low, value.high) == (pytest.approx(100 * tango.low), pytest.approx(100 * tango.high))
    reference = [{"label": "a", "probability": 0.6, "probabilities": {"a": 0.6, "b": 0.4}}] * 300
    key = Key("log_loss", against="baseline")
    loss = measure.value_of(key, answers, targets, head, levels=[0.95], reference=reference)
    alone = [
        measure.value_of(Key("log_loss"), each, targets, head, levels=[0.95]).measured for each in (answers, reference)
    ]
    assert loss.measured == pytest.approx(alone[0] - alone[1])
    assert loss.low < loss.measured < loss.high


def test_what_a_difference_is_over_is_measured_as_well(drawn):
    found = quality_of(*drawn, ["macro_f1 >= baseline + 2 points"])
    # So that the planner knows how much the baseline has of it, and the reader how good it is.
    assert set(found) == {"macro_f1 over baseline", "macro_f1", "accuracy"}
    assert found["macro_f1"].measured == measure.value_of(Key("macro_f1"), *drawn, HEAD, levels=[0.95]).measured


@pytest.mark.parametrize("prefer", ["macro_f1", "accuracy", "latency_p99", "memory"])
def test_what_is_preferred_is_measured_though_no_need_names_it(drawn, prefer):
    asked = needs.make(data="x.csv", needs=["calibration_error <= 0.5"], prefer=prefer)
    found = {value.key for value in quality_of(*drawn, ["calibration_error <= 0.5"], prefer=prefer).values()}
    found |= set(measure._of_server(SimpleNamespace(meta={"heads": [HEAD]}), asked))
    assert needs.preference(asked, "classify", {})[0] in found


def test_a_later_look_widens_the_bounds_of_quality_and_keeps_holms_rungs(drawn):
    answers, targets = drawn
    texts = ["accuracy >= 0.8", "macro_f1 >= 0.7"]
    first = quality_of(answers, targets, texts)["accuracy"]
    level = bounds.level_of_look(0.95, 3)
    third = quality_of(answers, targets, texts, confidence=level)["accuracy"]
    assert third.confidence == level
    assert third.low < first.low < first.high < third.high
    assert [rung[0] for rung in third.details["ladder"]] == [level, 1 - (1 - level) / 2]


def drawn_servers(rng, *, servers, apart, windows=2, requests=100):
    """Log-normal latencies of servers that lie apart by a factor each [servers, windows, requests]."""
    factors = np.exp(apart * rng.standard_normal((servers, 1, 1)))
    return factors * rng.lognormal(0.0, 0.3, (servers, windows, requests))


@pytest.mark.parametrize("apart", [0.02, 0.05, 0.1])
def test_one_more_server_keeps_the_bound_of_a_latency(apart):
    rng = np.random.default_rng(3)
    broken = alone = 0
    for _ in range(400):
        servers = drawn_servers(rng, servers=13, apart=apart)
        measured, more = servers[:12], servers[12]
        found = measure._of_servers(list(map(list, measured)), q=0.95, level=0.95)
        pooled = bounds.quantile(list(measured.reshape(24, -1)), q=0.95)
        broken += np.quantile(more, 0.95) > found.high
        alone += np.quantile(more, 0.95) > pooled.high
        assert found.low <= np.median(np.quantile(measured.reshape(12, -1), 0.95, axis=1)) <= found.high
    assert broken <= 32  # 5 % of 400, and three standard deviations
    assert alone > broken  # what the windows alone would have promised


def test_servers_that_are_alike_leave_the_bound_of_all_requests():
    rng = np.random.default_rng(4)
    servers = [list(one) for one in drawn_servers(rng, servers=12, apart=0.0, requests=1000)]
    same = [servers[0]] * 12
    found = measure._of_servers(same, q=0.95, level=0.95)
    assert found == bounds.quantile([window for one in same for window in one], q=0.95)
    assert measure._of_servers(servers[:5], q=0.95, level=0.95) is None  # ten windows
    few = [list(one) for one in drawn_servers(rng, servers=2, apart=0.3, windows=10)]
    assert measure._of_servers(few, q=0.95, level=0.95) == bounds.quantile([*few[0], *few[1]], q=0.95)


@pytest.mark.parametrize(
    ("busy", "claim", "servers", "found"),
    [
        (0, 2.0, 12, True),
        (12, 2.0, 36, True),  # after 24 it lies between the halves
        (40, 2.0, 36, False),
        (40, None, 12, False),  # a build claims nothing yet
    ],
)
def test_a_claim_about_latency_that_is_not_found_is_measured_again_over_all_servers(
    monkeypatch, busy, claim, servers, found
):
    rng = np.random.default_rng(9)
    started = []

    @contextmanager
    def served(path, *, threads):
        started.append(path)
        yield None

    def drive(address, bodies, *, clients, requests, offset):
        return rng.lognormal(1.5 if len(started) <= busy else 0.0, 0.1, requests), 1.0

    monkeypatch.setattr(measure, "served", served)
    monkeypatch.setattr(measure, "drive", drive)
    monkeypatch.setattr(measure, "PAUSE_S", 0.0)
    key = Key("latency_p95", setting=(("concurrency", 1.0),))
    (value,) = measure.load_values(
        "bundle",
        [b"{}"],
        [key],
        clients=1,
        needs=needs.Needs(data="", needs=()),
        effort=measure.Effort(servers=12, windows=24, requests=200, processes=20),
        claimed={} if claim is None else {key: claim},
    )
    assert (len(started), value.measured <= 2.0) == (servers, found)
    assert value.low <= value.measured <= value.high
    assert value.n == len(started) * 400


@pytest.mark.parametrize(("apart", "better"), [(0.0, 0), (0.2, 60)])
def test_a_difference_of_calibration_errors_is_not_proven_by_chance(apart, better):
    rng = np.random.default_rng(5)
    false = proven = 0
    for _ in range(100):
        told = rng.uniform(0.75, 0.99, 240)
        right = rng.random(240) < told
        targets = ["a" if yes else "b" for yes in right]
        ours, theirs = (
            [{"label": "a", "probability": one, "probabilities": {"a": one, "b": 1 - one}} for one in probabilities]
            for probabilities in (told, told - apart)
        )
        key = Key("calibration_error", against="baseline")
        value = measure.value_of(key, ours, targets, HEAD, levels=[0.95], reference=theirs)
        assert value.low <= value.high
        proven += value.high < 0
        false += value.low > 0
    assert false == 0
    assert proven >= better
    assert apart or proven <= 5


def two_classes(rng, positives, negatives, chances):
    """Answers to two classes of which shares `chances` are right, and the targets."""
    targets = ["a"] * positives + ["b"] * negatives
    right = rng.random(len(targets)) < np.where(np.array(targets) == "a", *chances)
    return answers_of([t if r else {"a": "b", "b": "a"}[t] for t, r in zip(targets, right, strict=True)]), targets


@pytest.mark.parametrize("positives", [3, 5, 10, 30])
def test_a_mean_over_classes_is_not_proven_by_a_class_of_few_examples(positives):
    rng = np.random.default_rng(6)
    above = 0
    for _ in range(60):
        answers, targets = two_classes(rng, positives, 200, (0.9, 0.95))
        value = measure.value_of(Key("balanced_accuracy"), answers, targets, HEAD, levels=[0.95])
        above += value.low > 0.925
    assert above <= 8  # 5 %, and three standard deviations


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy", "auroc"])
def test_a_perfect_model_has_a_bound(name):
    answers, targets = two_classes(np.random.default_rng(7), 500, 500, (1.0, 1.0))
    value = measure.value_of(Key(name), answers, targets, HEAD, levels=[0.95])
    assert 0.98 < value.low < value.measured == value.high == 1.0


def test_the_bound_of_a_mean_over_one_class_is_that_of_clopper_and_pearson():
    stats = classify.METRICS["balanced_accuracy"].stats
    answers, targets = two_classes(np.random.default_rng(8), 40, 0, (0.8, 0.8))
    hits = sum(answer["label"] == "a" for answer in answers)
    worse = stats([*answers, {}], [*targets, "a"], HEAD["spec"], None)
    low = bounds.with_failures(worse, classify.METRICS["balanced_accuracy"].finish, level=0.95)
    assert low == pytest.approx(bounds.proportion(hits, 40).low, abs=0.01)


def test_withheld_and_failed_answers_are_no_better_calibrated_than_others():
    sure = [{"label": "a", "probability": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}] * 10
    withheld = [{"abstained": True, "reason": "", "probabilities": {"a": 0.6, "b": 0.4}}] * 10
    targets = ["a"] * 9 + ["b"] + ["a"] * 6 + ["b"] * 4
    value = measure.value_of(Key("calibration_error"), [*sure, *withheld], targets, HEAD, levels=[0.95])
    assert value.measured == pytest.approx(0.0)
    failed = [{"error": {"code": "row.bad-value", "message": ""}}] * 10
    value = measure.value_of(Key("calibration_error"), [*sure, *failed], targets, HEAD, levels=[0.95])
    assert value.measured == pytest.approx(0.5)


def test_a_server_that_breaks_off_is_a_failure_and_no_latency():
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            with one:
                heard = b""
                while not heard.endswith(b"{}"):
                    heard += one.recv(65536)
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    threading.Thread(target=serve, daemon=True).start()
    address = measure.Address("127.0.0.1", listener.getsockname()[1], 0)
    try:
        for clients in (1, 4):
            with pytest.raises(SartorError, match="IncompleteRead"):
                measure.drive(address, [b"{}"], clients=clients, requests=8, offset=0)
    finally:
        listener.close()
