"""A build never decides twice, and knows how long all its starts took."""

from __future__ import annotations

from sartor.journal import Journal


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_an_answer_is_decided_once_and_survives_a_restart(tmp_path):
    asked = []

    def decide():
        asked.append(1)
        return {"plan": "ngram", "n": len(asked)}

    first = Journal(tmp_path / "j.jsonl")
    assert first.once("choice", decide) == first.once("choice", decide)
    again = Journal(tmp_path / "j.jsonl")
    assert again.once("choice", decide) == {"plan": "ngram", "n": 1}
    assert len(asked) == 1
    assert again.restarts == 1


def test_a_line_cut_short_by_a_kill_was_never_acted_on(tmp_path):
    file = tmp_path / "j.jsonl"
    journal = Journal(file)
    journal.once("a", lambda: 1)
    journal.once("b", lambda: 2)
    raw = file.read_bytes()
    file.write_bytes(raw[:-7])
    again = Journal(file)
    assert again.once("a", lambda: 10) == 1
    assert again.once("b", lambda: 20) == 20
    assert Journal(file).once("b", lambda: 30) == 20


def test_time_is_summed_over_starts_and_not_over_the_pause_between(tmp_path):
    clock = Clock()
    first = Journal(tmp_path / "j.jsonl", clock=clock)
    clock.now += 10
    first.beat()
    clock.now += 0.5  # killed here: the half second after the last sign of life is lost
    clock.now += 3600
    second = Journal(tmp_path / "j.jsonl", clock=clock)
    assert second.spent_s == 10
    clock.now += 5
    second.close()
    clock.now += 100
    third = Journal(tmp_path / "j.jsonl", clock=clock)
    clock.now += 1
    assert third.spent_s == 16
