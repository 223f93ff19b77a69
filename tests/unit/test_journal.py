"""A build never decides twice, and knows how long all its starts took."""

from __future__ import annotations

import time

import pytest

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


def test_a_line_without_its_end_was_never_acted_on(tmp_path):
    file = tmp_path / "j.jsonl"
    journal = Journal(file)
    journal.once("a", lambda: 1)
    journal.once("b", lambda: 2)
    file.write_bytes(file.read_bytes()[:-1])
    again = Journal(file)
    assert again.once("b", lambda: 20) == 20
    again.once("c", lambda: 3)
    assert Journal(file).known == {"a": 1, "b": 20, "c": 3}


def test_a_disk_that_takes_a_part_of_a_line_loses_none_before_it(tmp_path):
    file = tmp_path / "j.jsonl"
    journal = Journal(file)
    journal.once("a", lambda: 1)
    whole, real = file.read_bytes(), journal.file

    class Full:
        """Takes ten bytes, and then nothing."""

        taken = 0

        def write(self, data):
            if self.taken:
                raise OSError(28, "No space left on device")
            self.taken = real.write(bytes(data[:10]))
            return self.taken

        def __getattr__(self, name):
            return getattr(real, name)

    journal.file = Full()
    with pytest.raises(OSError, match="No space left"):
        journal.once("b", lambda: 2)
    assert file.read_bytes() == whole
    journal.file = real
    journal.once("c", lambda: 3)
    assert Journal(file).known == {"a": 1, "c": 3}


def test_a_clock_that_is_set_changes_no_time(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j.jsonl")
    before = time.time
    monkeypatch.setattr(time, "time", lambda: before() - 3600)
    assert 0 <= journal.spent_s < 60
    monkeypatch.setattr(time, "time", lambda: before() + 3600)
    assert journal.spent_s < 60
    journal.close()
    assert 0 <= Journal(tmp_path / "j.jsonl").spent_before_s < 60
