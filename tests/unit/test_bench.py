"""The record of the benchmarks: which rows count, and how their tables reach the documentation. No benchmark runs here."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import faults, kill, quality, record, serve, training
from bench.record import Book

COLUMNS = {"case": lambda v: v["case"], "figure": lambda v: f"{v['figure']:.1f}"}


@pytest.fixture
def book(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("first = 1\n")
    return Book("speed", (script,), COLUMNS, tmp_path / "results")


def never():
    raise AssertionError("it was made again")


def test_a_row_stands_while_the_code_is_unchanged(book):
    made = book.once("a", 0, lambda: {"figure": 1.5})
    assert book.once("a", 0, never) == made
    assert made["values"] == {"figure": 1.5}
    assert {"bench", "case", "seed", "code", "commit", "machine", "when"} <= made.keys()


def test_another_seed_or_case_is_another_row(book):
    book.once("a", 0, lambda: {"figure": 1})
    book.once("a", 1, lambda: {"figure": 2})
    book.once("b", 0, lambda: {"figure": 3})
    assert [(row["case"], row["seed"]) for row in book.rows()] == [("a", 0), ("a", 1), ("b", 0)]


def test_a_row_is_made_again_when_the_script_changed_and_again_stands_when_it_is_undone(book):
    first = book.once("a", 0, lambda: {"figure": 1})
    before = book.sources[0].read_text()
    book.sources[0].write_text("first = 2\n")
    assert book.rows() == []
    assert book.once("a", 0, lambda: {"figure": 2})["values"] == {"figure": 2}
    assert len(book.file.read_text().splitlines()) == 2
    book.sources[0].write_text(before)
    assert book.once("a", 0, never) == first


def test_a_row_of_a_part_of_sartor_stands_until_that_part_changes(book, tmp_path, monkeypatch):
    part = tmp_path / "part.py"
    part.write_text("rate = 1\n")
    narrow = replace(book, parts=(part,))
    narrow.once("a", 0, lambda: {"figure": 1})
    monkeypatch.setattr(record, "source_digest", lambda: "other")
    assert len(narrow.rows()) == 1
    part.write_text("rate = 2\n")
    assert narrow.rows() == []


@pytest.mark.parametrize("name", training.PARTS)
def test_the_parts_that_training_is_timed_by_are_there(name):
    assert (record.ROOT / "sartor" / name).is_file()


@pytest.mark.parametrize(
    ("name", "value"), [("source_digest", lambda: "other"), ("follow.versions", lambda: {"torch": "0"})]
)
def test_a_row_is_made_again_when_sartor_or_a_library_changed(book, monkeypatch, name, value):
    book.once("a", 0, lambda: {"figure": 1})
    monkeypatch.setattr(f"bench.record.{name}", value)
    assert book.once("a", 0, lambda: {"figure": 2})["values"] == {"figure": 2}


def test_a_row_of_another_machine_is_told_but_does_not_stand_for_this_one(book, monkeypatch):
    book.once("a", 0, lambda: {"figure": 1})
    monkeypatch.setattr("bench.record.machine", lambda: "a larger one")
    book.once("a", 0, lambda: {"figure": 2})
    assert [row["values"]["figure"] for row in book.rows()] == [1, 2]
    assert "Made on a larger one" in book.table()


def test_work_that_fails_leaves_no_row(book):
    with pytest.raises(AssertionError):
        book.once("a", 0, never)
    assert not book.file.exists()


def test_a_line_that_was_cut_short_harms_no_other(book):
    book.once("a", 0, lambda: {"figure": 1})
    with book.file.open("a") as file:
        file.write('{"bench": "spe')
    assert len(book.rows()) == 1
    book.once("b", 0, lambda: {"figure": 2})
    assert [row["case"] for row in book.rows()] == ["a", "b"]


def test_the_table_shows_only_rows_that_count(book):
    book.once("old", 0, lambda: {"figure": 1})
    book.sources[0].write_text("first = 2\n")
    book.once("new", 0, lambda: {"figure": 2})
    lines = book.table().splitlines()
    assert lines[:3] == ["| case | figure |", "| --- | --- |", "| new | 2.0 |"]
    assert "old" not in book.table()
    assert record.machine() in lines[-1]


def test_a_table_without_rows_says_so(book):
    assert book.table() == record.NOTHING


def test_no_path_of_this_machine_is_kept(book):
    book.once(
        "a", 0, lambda: {"figure": 1, "said": "see /home/me/runs/model (12 rows/s, 1/2)", "at": Path("/home/me/x")}
    )
    text = book.file.read_text()
    assert "/home" not in text
    assert json.loads(text)["values"]["said"] == "see model (12 rows/s, 1/2)"


def test_the_page_is_made_with_every_section(tmp_path):
    page = tmp_path / "docs" / "benchmarks.md"
    record.write_section(page, "kill", "| a |")
    text = page.read_text()
    assert text.startswith("# Benchmarks")
    places = [text.index(f"## {title}") for title in record.SECTIONS.values()]
    assert places == sorted(places)
    assert "<!-- bench:kill -->\n| a |\n<!-- /bench:kill -->" in text


def test_a_section_is_replaced_in_place_and_what_stands_around_it_stays(tmp_path):
    page = tmp_path / "benchmarks.md"
    record.write_section(page, "quality", "| first |")
    page.write_text(page.read_text().replace("## Quality\n", "## Quality\n\nA word of ours.\n") + "\nThe end.\n")
    record.write_section(page, "serve", "| served |")
    record.write_section(page, "quality", "| second |")
    text = page.read_text()
    assert "first" not in text
    assert text.index("A word of ours.") < text.index("| second |") < text.index("| served |") < text.index("The end.")
    assert text.count("<!-- bench:quality -->") == text.count("<!-- /bench:quality -->") == 1
    record.write_section(page, "quality", "| second |")
    assert page.read_text() == text


def test_rows_of_a_run_cut_short_are_kept_apart_and_never_published(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "OUT", tmp_path / "out")
    short = record.book("kill", record.__file__, columns={}, short=True)
    assert short.file == tmp_path / "out" / "results" / "kill.jsonl"
    short.publish("| a |", docs=tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


TIMELINE = [
    kill.Mark("start", 0.0),
    kill.Mark("read", 1.0),
    kill.Mark("fit", 10.0, step=True),
    kill.Mark("train", 20.0, step=True),
    *(kill.Mark("train", 20.0 + second, second / 40) for second in range(1, 41)),
    kill.Mark("judge", 61.0),
]


def test_kills_come_in_order_and_at_least_four_hit_training():
    order = ["start", "read", "fit", "train", "judge"]
    for seed in range(50):
        instants = kill.draw(TIMELINE, 100.0, random.Random(seed))
        assert len(instants) == 10
        assert sum(instant.stage == "train" for instant in instants) >= 4
        places = [(order.index(i.stage), i.done, 0 if i.stage == "train" else i.after_s) for i in instants]
        assert places == sorted(places)
    assert {i.stage for seed in range(50) for i in kill.draw(TIMELINE, 100.0, random.Random(seed))} == set(order)


def test_what_a_start_took_up_is_told_from_its_events():
    resumed = {
        "event": "step",
        "step": "train minilm",
        "status": "resumed",
        "checkpoint": "step-7",
        "done": 7,
        "total": 9,
    }
    began = {"event": "step", "step": "train", "status": "start"}
    assert kill._took_up([began, resumed]) == "resumed train minilm from step-7 (7 of 9 steps)"
    assert kill._took_up([began]) == "began: train"
    assert kill._took_up([{"event": "stage", "name": "read"}]) == "got no further than read"


def test_answers_differ_by_their_numbers_or_altogether():
    one = {"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}
    assert serve.difference(one, {"label": "a", "probabilities": {"a": 0.59, "b": 0.41}}) == pytest.approx(0.01)
    assert serve.difference(one, {"label": "b", "probabilities": {"a": 0.6, "b": 0.4}}) == float("inf")
    assert serve.difference(one, {"error": {}}) == float("inf")


def test_speed_is_compared_seed_by_seed(book):
    for seed, (ours, theirs) in enumerate([(100, 20), (90, 30), (120, 20)]):
        book.once(training.LINE, seed, lambda ours=ours: {"rows_per_s": ours, "accuracy": 0.9})
        book.once("Trainer", seed, lambda theirs=theirs: {"rows_per_s": theirs, "accuracy": 0.89})
    line = next(line for line in training.table(book).splitlines() if line.startswith("| Trainer"))
    assert "5.00× (at least 3.00×)" in line
    assert "+0.0100" in line


def test_accuracy_is_found_with_and_without_leaked_rows():
    values = [
        {"key": {"measure": "accuracy", "where": ["leaked", "included"]}, "measured": 0.9},
        {"key": {"measure": "accuracy", "where": None}, "measured": 0.8},
    ]
    assert (quality.accuracy_of(values), quality.accuracy_of(values, leaked=True)) == (0.8, 0.9)


def test_every_row_of_the_faults_names_tests_that_there_are():
    tests = Path(__file__).parent.parent
    for fault in faults.FAULTS:
        for pattern in fault.tests:
            name, _, begin = pattern.partition("::")
            file = tests / f"{name}.py"
            assert file.is_file(), pattern
            plain = re.match(r"\w*", begin)[0]
            assert f"def {plain}" in file.read_text(encoding="utf-8"), pattern
