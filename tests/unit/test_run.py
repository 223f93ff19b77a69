"""The folder of a build: lock, journal and what another build finds there."""

from __future__ import annotations

import io
import json

import pytest

from sartor.board import clock
from sartor.display import Display, instead_lines, verdict_lines
from sartor.errors import InputError
from sartor.events import Recorder, event
from sartor.report import brief
from sartor.run import Run


def test_what_was_decided_stays_decided_after_a_restart(tmp_path):
    with Run(tmp_path / "out", identity={"a": 1}) as run:
        assert run.once("choice", lambda: 7) == 7
    with Run(tmp_path / "out", identity={"a": 1}) as run:
        assert run.once("choice", lambda: 8) == 7
        assert run.journal.restarts == 1


def test_another_build_in_the_same_folder_decides_afresh_and_keeps_the_old_journal(tmp_path):
    with Run(tmp_path / "out", identity={"a": 1}) as run:
        run.once("choice", lambda: 7)
    with Run(tmp_path / "out", identity={"a": 2}) as run:
        assert run.once("choice", lambda: 8) == 8
    assert (tmp_path / "out" / ".build" / "journal-001.jsonl").is_file()


def test_other_rows_under_the_same_name_are_another_build(tmp_path):
    with Run(tmp_path / "out", identity={}) as run:
        run.for_data("one")
        run.once("choice", lambda: 7)
    with Run(tmp_path / "out", identity={}) as run:
        run.for_data("two")
        assert run.once("choice", lambda: 8) == 8


def test_the_lock_goes_with_the_run(tmp_path):
    with Run(tmp_path / "out", identity={}), pytest.raises(InputError, match="Another build"):
        Run(tmp_path / "out", identity={})
    with Run(tmp_path / "out", identity={}):
        pass


def test_a_cache_serves_one_build_at_a_time(tmp_path):
    shared = tmp_path / "shared"
    with Run(tmp_path / "one", identity={}, cache=shared), pytest.raises(InputError, match=r"at work in .*shared"):
        Run(tmp_path / "two", identity={}, cache=shared)
    assert not (tmp_path / "two").exists()
    with Run(tmp_path / "two", identity={}, cache=tmp_path / "shared"):
        pass


def test_what_was_computed_stays_when_something_is_refused_later(tmp_path):
    def refused():
        with Run(tmp_path / "out", identity={}) as run:
            run.once("decide ngram", lambda: True)
            run.once("measured ngram", lambda: 7)
            raise InputError("needs.no-data")

    with pytest.raises(InputError):
        refused()
    with Run(tmp_path / "out", identity={}) as run:
        assert run.once("measured ngram", lambda: 8) == 7


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Nothing can be written"):
        Run(tmp_path / "file" / "out", identity={})


def test_plain_lines_show_every_kind_of_event():
    stream = io.StringIO()
    events = [
        event("stage", name="audit"),
        event("plan", id="a", name="ngram", reason="cheap", forecast_s=12.0),
        event("step", step="train", status="resumed", checkpoint="step-00000040", done=40, total=90),
        event("epoch", stage="train", epoch=1, train_loss=0.5, valid=0.9, rows_per_s=210.0),
        event("epoch", stage="contrast", epoch=1, train_loss=0.5, rows_per_s=210.0),  # nothing to judge by
        event("progress", stage="embed", done=1, total=2, unit="rows"),
        event("finding", severity="warning", code="audit.duplicate", message="5 rows repeat"),
        event("log", level="error", code="plan.step-failed", message="it was killed"),
        event(
            "candidate",
            id="a",
            name="ngram",
            status="measured",
            why="",
            chance=0.5,
            seconds=9.0,
            values={"accuracy": 0.9},
        ),
        event("candidate", id="b", name="big", status="skipped", why="no time", chance=None, seconds=0.0, values={}),
        event("verdict", needs=[]),
        event("done", exit=0, seconds=3.0),
    ]
    with Display(stream=stream) as display:
        for item in events:
            display(item)
    said = stream.getvalue()
    for part in (
        "audit",
        "ngram",
        "resumes from step-00000040",
        "0.9000",
        "5 rows repeat",
        "it was killed",
        "50%",
        "no time",
    ):
        assert part in said, part
    assert "\x1b" not in said


def test_durations_read_as_people_write_them():
    assert [clock(value) for value in (0.2, 59, 65, 3725)] == ["0s", "59s", "1m05s", "1h02m"]


def test_points_that_relax_several_needs_are_told_beside_the_verdicts():
    one = {"measure": "accuracy", "op": ">=", "unit": "", "limit": 0.9, "offer": 0.85}
    other = {"measure": "size", "op": "<=", "unit": "MB", "limit": 5.0, "offer": 23.6}
    point = {"candidate": "a", "name": "tuned", "proven": False, "relax": [one, other], "values": {}}
    alone = point | {"relax": [one]}  # what the advice of the other need says
    assert instead_lines({"points": [alone, point]})[1:] == ["  accuracy >= 0.85 and size <= 23.6 MB: tuned"]
    assert instead_lines({"points": [alone, point | {"proven": True}]}) == instead_lines(None) == []


def test_an_unmeasured_need_is_shown_without_figures():
    need = {
        "verdict": "unproven",
        "need": "memory <= 3 MB",
        "measured": None,
        "low": None,
        "high": None,
        "n": 0,
        "unit": "MB",
        "advice": "It was not measured.",
    }
    text = "\n".join(line for line, _ in verdict_lines([json.loads(json.dumps(need))]))
    assert "None" not in text
    assert "It was not measured." in text


def test_an_event_line_that_a_kill_cut_short_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"t": 1, "event": "stage"}\n{"t": 2, "eve')
    recorder = Recorder(path)
    recorder(event("done", exit=0))
    recorder.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["stage", "done"]


def test_what_somebody_else_put_into_the_folder_is_never_replaced(tmp_path):
    out = tmp_path / "out"
    with Run(out, identity={}) as run:
        run.once("decide 1", lambda: 1)
        (out / "processor").mkdir()  # of a bundle whose placing was killed
        (out / "mine.csv").write_text("a,b\n", encoding="utf-8")
        (out / "notes").mkdir()
        run.set_foreign_aside()
        [aside] = out.glob(".aside-*")
        assert sorted(path.name for path in aside.iterdir()) == ["mine.csv", "notes"]
        assert (out / "processor").is_dir()
    (out / "mine.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds mine\.csv, which no build put there") as caught:
        Run(out, identity={})
    assert caught.value.code == "build.foreign"
    (out / "mine.csv").unlink()
    with pytest.raises(InputError, match="lies in") as caught:
        Run(out, identity={}, cache=out / "cache")
    assert caught.value.code == "build.cache-inside"
    Run(out, identity={}, cache=tmp_path / "cache").__exit__(None, None, None)


def test_a_figure_has_as_many_digits_as_keep_it_off_its_limit():
    assert brief(0.89996) == "0.9"
    assert brief(0.89996, against=0.9) == "0.89996"
    assert brief(0.9, against=0.9) == "0.9"
    assert brief(12345.6) == "12,346"
    assert brief(12345.2, against=12345) == "12,345.2"
    assert brief(0.0000123456) == "1.235e-05"
