"""What a build notes of its own work: what steps took, and how long a server is measured."""

from __future__ import annotations

import json

import pytest

from sartor import hardware, line, measure, needs
from sartor.events import event
from sartor.plan import Move, Plan, keys
from sartor.report import Key, Report, Value

FAST = Key("latency_p95", setting=(("concurrency", 1.0),))


def test_a_step_that_was_resumed_tells_nothing_of_what_it_takes():
    steps, passed = {}, []
    listen = line._timing(steps, passed.append)
    told = [
        event("step", step="fit", status="start"),
        event("step", step="fit", status="done", seconds=4.0),
        event("step", step="train", status="start"),
        event("step", step="train minilm", status="resumed", checkpoint="step-7", done=7, total=9),
        event("progress", stage="train", done=8, total=9, unit="rows"),
        event("step", step="train", status="done", seconds=1.0),
        event("step", step="export", status="start"),
        event("step", step="export", status="done", seconds=5.0),
    ]
    for item in told:
        listen(item)
    assert steps == {"fit": 4.0, "export": 5.0}
    assert passed == told


def test_what_a_plan_took_holds_the_plans_that_it_takes_once(tmp_path):
    made_of = {"inputs": [{"name": "text", "kind": "text"}], "seed": 0}
    teacher = Plan("teacher", (Move("start", {"backbone": "minilm", "leaf": "hub"}), Move("train", {})))
    member = {"inputs": ["text"], "plan": teacher.as_dict()}
    student = Plan("student", (*teacher.moves, Move("prune", {}), Move("distil", {"members": [member]})))
    words = Plan(
        "words", (Move("start", {"backbone": "ngram", "leaf": "ngram"}), Move("distil", {"members": [member]}))
    )
    for plan, took in ((teacher, (1.0, 60.0)), (student, (1.0, 60.0, 2.0, 90.0)), (words, (0.5, 3.0))):
        for key, seconds in zip(keys(plan, made_of=made_of), took, strict=True):
            (tmp_path / key).mkdir(exist_ok=True)
            (tmp_path / key / "step.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    assert line._took(student, made_of, tmp_path) == 153.0
    assert line._took(words, made_of, tmp_path) == 64.5
    assert line._took(Plan("other", (Move("start", {}),)), made_of, tmp_path) == 0.0


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        (["accuracy >= 0.9"], 1),
        (["latency_p95 <= 4 ms"], 1),
        (["latency_p95 <= 4 ms", "throughput at concurrency 8 >= 100 rows/s"], 2),
        (["accuracy at coverage >= 0.8 >= 0.9", "latency_p50 at concurrency 4 <= 4 ms"], 2),
    ],
)
def test_a_server_is_measured_as_long_as_the_time_that_is_left_holds(texts, settings):
    asked = needs.make(data="x.csv", needs=texts)
    report = Report([Value(FAST, 50.0, 49.0, 51.0, 2000, "ms")])
    assert line._effort(report, asked, float("inf")) == measure.FULL
    held_s = measure.FULL.windows * 45 * 0.05 * settings  # 45 requests to each window
    effort = line._effort(report, asked, 2 * held_s + 1e-6)
    assert effort.requests == 45
    assert (effort.servers, effort.windows) == (measure.FULL.servers, measure.FULL.windows)


def test_what_serves_is_timed_on_the_processor_with_its_threads(monkeypatch):
    from threadpoolctl import threadpool_info

    import sartor.device

    seen = []
    real = hardware.matrix_gflops

    def timed(**asked):
        seen.append({one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"})
        return real(128, **asked)

    def trains():
        raise AssertionError("the card that trains was asked")

    monkeypatch.setattr(hardware, "accelerator", lambda: "a card")
    monkeypatch.setattr(sartor.device, "device", trains)
    monkeypatch.setattr(hardware, "matrix_gflops", timed)
    assert line._serving_gflops(1) > 0
    assert seen == [{1}]
    with pytest.raises(AssertionError, match="card"):
        real(128)
