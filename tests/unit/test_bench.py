"""The record of the benchmarks: which rows count, and how their tables reach the documentation. No benchmark runs here."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import checkpoint, stored

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import (
    climb,
    climb_automl,
    climb_build,
    climb_data,
    climb_few,
    climb_planner,
    climb_process,
    climb_told,
    climb_unlabelled,
    faults,
    kill,
    quality,
    record,
    serve,
    training,
)
from bench.record import Book
from sartor.plan import Move, Plan, keys

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


def test_what_earlier_code_made_is_told_as_such_until_as_much_is_made_again(book, monkeypatch):
    def make(count, figure):
        for seed in range(count):
            book.once(f"case {seed}", seed, lambda: {"figure": figure})

    make(1, 9)
    book.sources[0].write_text("first = 2\n")
    make(3, 1)
    book.sources[0].write_text("first = 3\n")
    assert record.told(book).split(record.EARLIER)[0].strip() == record.NOTHING
    assert record.told(book).count("| 1.0 |") == 3
    assert "9.0" not in record.told(book)  # of the code before that one row alone was made
    make(2, 5)
    now, before = record.told(book).split(record.EARLIER)
    assert (now.count("| 5.0 |"), before.count("| 1.0 |")) == (2, 3)
    make(3, 5)
    assert record.EARLIER not in record.told(book)
    monkeypatch.setattr("bench.record.machine", lambda: "a larger one")
    make(1, 7)
    tables = record.told(book).split("| case | figure |")
    assert ["7.0" in table for table in tables[1:]] == [False, True]


def test_earlier_rows_of_a_form_that_is_no_longer_known_are_left_out(book):
    book.once("a", 0, lambda: {"other": 1})
    book.sources[0].write_text("first = 2\n")
    assert record.told(book, lambda book: str(book.rows()[0]["values"]["figure"])) == record.NOTHING


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
    short.publish(lambda book: "| a |", docs=tmp_path / "page.md")
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


@pytest.mark.parametrize("part", climb.PARTS)
def test_every_part_of_the_climb_has_a_book_of_files_that_are_there(part):
    module = climb.PARTS[part]
    book = module.book(short=True)
    assert all(file.is_file() for file in (*book.sources, *book.parts))
    assert book.name == f"climb-{part}"
    assert module.table(replace(book, folder=Path("nowhere"))) == record.NOTHING


def test_rows_of_steps_alone_outlive_what_only_plans_and_shows():
    parts = climb_data.steps_alone()
    assert {"loop.py", "step/train.py", "task/classify.py", "data/batch.py"} <= set(parts)
    assert not {"line.py", "front.py", "page.py", "serve/app.py"} & set(parts)
    more = set(climb_data.steps_alone(texts=False)) - set(parts)
    assert more == {f"{name}.py" for name in climb_data.NOT_OF_TEXTS}
    every = (*climb_data.BESIDE, *climb_data.NOT_OF_TEXTS)
    assert all((record.ROOT / "sartor" / f"{name}.py").is_file() for name in every)


LOADING = """
import json, sys
from pathlib import Path
import sartor
from sartor import follow
follow.run_steps(json.loads(sys.argv[1]), lambda item: None)
files = [Path(one.__file__) for name, one in sys.modules.items() if name.split(".")[0] == "sartor"]
print(json.dumps([str(file.relative_to(Path(sartor.__file__).parent).with_suffix("")) for file in files]))
"""


def test_texts_are_cut_without_what_benchmarks_of_texts_do_not_go_by(opinions_csv, tmp_path):
    pytest.importorskip("torch")
    dataset, _, settings = stored(opinions_csv, tmp_path)
    source = str(checkpoint(tmp_path / "checkpoint", dataset.table.column("text").to_pylist()))
    whole = (Move("start", {"backbone": source}), Move("fit", {}), Move("train", {"epochs": 1}))
    cut = (*whole[:1], Move("trim", {"codes": 8}), Move("fit", {}), Move("prune", {"blocks": 0.5}))
    few = (Move("start", {"backbone": "ngram", "leaf": "ngram"}),)
    told = Move("distil", {"members": [{"inputs": ["text"], "plan": Plan("whole", whole).as_dict()}], "epochs": 1})
    made: list[list[str]] = []
    for moves in (whole, (*cut, told, Move("export", {}), Move("quantise", {})), (*few, told, Move("export", {}))):
        plan = Plan("made", moves)
        names = keys(plan, made_of=settings["made_of"])
        members = [made[0][-1:] if "members" in move.arguments else [] for move in moves]
        job = {"plan": plan.as_dict(), "keys": names, "first": 0, "members": members, "threads": 2}
        job |= {name: str(settings[name]) for name in ("data", "cache")}
        job |= {name: settings["made_of"][name] for name in ("seed", "inputs", "targets")}
        ran = subprocess.run([sys.executable, "-c", LOADING, json.dumps(job)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        loaded = set(json.loads(ran.stdout.splitlines()[-1]))
        assert {"data/dataset", "step/start"} <= loaded
        assert not loaded & set(climb_data.NOT_OF_TEXTS)
        made.append([str(settings["cache"] / name) for name in names])


ECHO = """
import json, sys
print("a library's own word")
for line in sys.stdin:
    job = json.loads(line)
    if "fails" in job:
        print(job["fails"], file=sys.stderr)
        raise SystemExit(3)
    if "grows" in job:
        held = bytearray(job["grows"])
        held[:] = b"x" * len(held)
        while True: pass
    if "hangs" in job:
        while True: pass
    warm = job.get("warm", globals().get("warm"))
    print(json.dumps({"warm": warm, "text": "x" * 200_000}), flush=True)
"""


@pytest.fixture
def program():
    with climb_process.Program([sys.executable, "-c", ECHO], warm={"warm": True}) as program:
        yield program


def test_a_program_is_warmed_once_and_answers_jobs_whatever_it_prints_beside(program):
    for _ in range(2):
        told = program.ask({})
        assert told["warm"] is True
        assert len(told["text"]) == 200_000


def test_a_program_that_wants_too_much_is_ended_and_the_next_job_has_a_new_one(program):
    with pytest.raises(climb_process.Ended, match="ended at 150 MB"):
        program.ask({"grows": 300_000_000}, limit_mb=150)
    with pytest.raises(climb_process.Ended, match="ended after 0 s"):
        program.ask({"hangs": True}, limit_s=0.3)
    assert program.ask({})["warm"] is True


def test_a_program_that_fails_says_why(program):
    with pytest.raises(climb_process.Ended, match="it ended with 3: no room"):
        program.ask({"fails": "no room"})


@pytest.fixture
def texts(tmp_path):
    """{part: CSV} of three classes."""
    rows = {
        part: [(f"{part} {number} of {number % 3}", f"c{number % 3}") for number in range(120)]
        for part in ("train", "test")
    }
    return {part: climb_data.write(tmp_path / f"{part}.csv", ("text", "label"), each) for part, each in rows.items()}


def test_a_draw_has_so_many_rows_of_every_class_and_no_others(texts):
    ground = climb_data.read(texts)
    first, again, other = ground.few(8, 0), ground.few(8, 0), ground.few(8, 1)
    assert sorted(first.rows("train")["label"]) == sorted(["c0", "c1", "c2"] * 8)
    assert all(text.startswith("train") for text in first.rows("train")["text"])
    assert len(first.splits.valid) == 0
    assert len(first.splits.test) == 120
    assert (first.splits.train == again.splits.train).all()
    assert (first.splits.train != other.splits.train).any()
    assert len(ground.many(100).splits.train) == 100


def test_what_has_no_label_is_the_rest_of_the_rows(texts, tmp_path):
    parts = climb_unlabelled.labelled(texts, 0, tmp_path / "few")
    kept, rest = (list(climb_data.rows_of(parts[part])) for part in ("train", "unlabelled"))
    assert len(kept) == round(climb_unlabelled.SHARE * 120)
    assert sorted([row[0] for row in kept] + [row[0] for row in rest]) == sorted(
        row[0] for row in climb_data.rows_of(texts["train"])
    )
    assert all(len(row) == 1 for row in rest)


def test_a_part_of_a_data_set_is_spread_over_it():
    assert climb_data.spread(3, 5) == [0, 1, 2]
    assert climb_data.spread(9, 3) == [0, 4, 8]


def test_differences_have_intervals_of_pairs():
    assert climb_told.interval([1.0, 1.0, 1.0]) == "+1.00 (+1.00 to +1.00)"
    assert climb_told.interval([2.0]) == "+2.00 (one seed)"
    assert climb_told.interval([0.0, 2.0]) == "+1.00 (-11.71 to +13.71)"
    assert climb_told.paired("1110", "1000").startswith("+50.00 (")


def test_few_labels_are_compared_draw_by_draw(book):
    for draw, (ours, theirs) in enumerate([(0.80, 0.78), (0.82, 0.78)]):
        facts = {"data": "sst2", "train_rows": 16, "rows": 320}
        book.once("a", draw, lambda ours=ours: facts | {"system": climb_few.OURS, "accuracy": ours, "seconds": 2})  # noqa: B023
        book.once("b", draw, lambda theirs=theirs: facts | {"system": "SetFit", "accuracy": theirs, "seconds": 8})  # noqa: B023
    book.once(
        "many",
        0,
        lambda: {"many": 10_000, "rows": 4_000, "system": "SetFit", "ended": "ended at 16,000 MB, after 20 s"},
    )
    text = climb_few.table(book)
    assert "| sst2 | SetFit | 2 | 16 | 0.7800 | 8.0 | +3.00 (-9.71 to +15.71) | 4.0× |" in text
    assert "| 10,000 | SetFit | ended at 16,000 MB, after 20 s |" in text


def single(name, seconds, right, milliseconds, megabytes):
    """Values of a candidate that was built alone, of 1,000 test rows."""
    from sartor import bounds
    from sartor.report import Key, Value

    right = round(1000 * right)
    rungs = [(level, bounds.proportion(right, 1000, level=level)) for level in (0.95, 0.975, 0.99)]
    ladder = [[level, rung.low, rung.high] for level, rung in rungs]
    accuracy = Value(Key("accuracy"), right / 1000, *ladder[0][1:], 1000, details={"ladder": ladder})
    fast = Key("latency_p95", setting=(("concurrency", 1.0),))
    facts = [
        Value(fast, milliseconds, milliseconds, milliseconds, 1, "ms"),
        Value(Key("size"), megabytes, megabytes, megabytes, 1, "MB"),
    ]
    steps = [{"step": "start", "arguments": {}}, {"step": name, "arguments": {}}]
    return {
        "candidate": name,
        "steps": steps,
        "ran": {name: 1.0},
        "seconds": seconds,
        "values": [value.as_dict() for value in (accuracy, *facts)],
    }


def test_the_exhaustive_search_knows_the_fastest_candidate_that_meets_a_contract():
    singles = [single("small", 30, 0.80, 1, 3), single("slow", 400, 0.92, 4, 90), single("able", 200, 0.91, 4, 23)]
    found = climb_planner.oracle(("accuracy >= 0.7",), singles)
    assert (found.exit, found.name, found.seconds) == (0, "small", 30)
    found = climb_planner.oracle(("accuracy >= 0.88", "size <= 100 MB"), singles)
    assert (found.exit, found.name, found.seconds) == (0, "able", 200)
    singles[2]["ran"]["start"] = 5.0  # which the others found in the cache
    assert climb_planner.oracle(("accuracy >= 0.7",), singles).seconds == 35
    assert climb_planner.oracle(("accuracy >= 0.92",), singles).exit == 4
    assert climb_planner.oracle(("accuracy >= 0.99", "size <= 40 MB"), singles).exit == 3


def test_what_cannot_be_installed_says_what_the_installer_said(tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    assert climb_automl.missing(python, "ludwig") == "it cannot be installed: there is no python for it"
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pip.log").write_text("Collecting ludwig\nERROR: ResolutionImpossible\n")
    assert climb_automl.missing(python, "ludwig") == "it cannot be installed: ERROR: ResolutionImpossible"
    assert climb_automl.missing(Path(sys.executable), "json") == ""


def test_values_of_a_report_are_those_of_all_unseen_rows():
    def value(measure, measured, **key):
        return {"key": {"measure": measure} | key, "measured": measured}

    told = {
        "values": [
            value("accuracy", 0.9),
            value("accuracy", 0.8, where=["leaked", "included"]),
            value("mae", 2.0, target="price"),
        ]
    }
    assert {name: one["measured"] for name, one in climb_build.values(told).items()} == {
        "accuracy": 0.9,
        "price.mae": 2.0,
    }
