"""What an audit mends by itself, what it leaves to a person, and that it says so of every row."""

from __future__ import annotations

import csv

import pytest

from sartor.data import audit, fix, read
from sartor.errors import InputError

ROWS = [
    ("the parcel came late and the box was open", "delivery"),
    ("i want my money back for the broken lamp", "refund"),
    ("the parcel came late and the box was open", "delivery"),  # again
    ("", "delivery"),
    ("where do i change my password please", ""),
    ("caf\u200bé tables are out of stock\x07 again", "stock"),
    ("write to ann.miller@example.com about the invoice", "billing"),
    ("the invoice shows the wrong address", "billing"),
    ("the invoice shows the wrong address", "account"),  # in conflict with the one above
    ("=cmd()|' /C calc'!A0 is what my form shows", "account"),
]
MORE = [
    (f"{number} {word} ordered {thing} and it never arrived", "delivery" if number % 2 else "refund")
    for number, (word, thing) in enumerate(
        [
            ("ann", "a lamp"),
            ("bob", "two chairs"),
            ("cem", "a desk"),
            ("dee", "the red rug"),
            ("eli", "an oven"),
            ("fay", "a tap"),
        ]
    )
]


def write(path, rows, header=("text", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def rows_of(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def audited(tmp_path):
    dataset = read.read(str(write(tmp_path / "dirty.csv", ROWS + MORE)), target="label")
    return dataset, audit.audit(dataset, target="label", task="classify")


def test_the_cleaned_file_lacks_what_is_surely_wrong_and_nothing_else(audited, tmp_path):
    dataset, findings = audited
    cleaned, touches = fix.clean(dataset, findings)
    files = fix.write(cleaned, touches, tmp_path / "clean.csv")
    assert [file.name for file in files] == ["clean.csv", "clean.log.csv"]
    kept = [(row["text"], row["label"]) for row in rows_of(files[0])]
    expected = [row for place, row in enumerate(ROWS + MORE) if place not in (2, 3, 4)]
    expected[2] = ("café tables are out of stock again", "stock")
    expected[3] = ("write to [email] about the invoice", "billing")
    assert kept == expected
    log = rows_of(files[1])
    assert [(int(row["row"]), row["why"].split(":")[0]) for row in log] == [
        (3, "removed"),
        (4, "removed"),
        (5, "removed"),
        (6, "mended"),
        (7, "mended"),
    ]
    assert log[3]["after"] == "café tables are out of stock again"


def test_cleaning_what_is_clean_changes_nothing(audited, tmp_path):
    dataset, findings = audited
    cleaned, touches = fix.clean(dataset, findings)
    fix.write(cleaned, touches, tmp_path / "clean.csv")
    again = read.read(str(tmp_path / "clean.csv"), target="label")
    _, touches = fix.clean(again, audit.audit(again, target="label", task="classify"))
    assert touches == []


def test_training_rows_that_also_judge_are_taken_out_of_training(tmp_path):
    parts = {
        "train": str(write(tmp_path / "train.csv", [*MORE, ROWS[1], *ROWS[5:8]])),
        "test": str(write(tmp_path / "test.csv", [ROWS[0], ROWS[1]])),
    }
    dataset = read.read(parts, target="label")
    findings = audit.audit(dataset, target="label", task="classify")
    cleaned, touches = fix.clean(dataset, findings)
    files = fix.write(cleaned, touches, tmp_path / "clean.csv")
    assert [file.name for file in files] == ["clean.train.csv", "clean.test.csv", "clean.log.csv"]
    assert ROWS[1][0] not in [row["text"] for row in rows_of(files[0])]
    assert [row["text"] for row in rows_of(files[1])] == [ROWS[0][0], ROWS[1][0]]
    assert [(one.part, one.row, one.why) for one in touches if "stands" in one.why] == [
        ("train", 7, "removed: it also stands in test")
    ]


def test_a_person_gets_the_conflicts_first_and_a_column_to_answer_in(audited, tmp_path):
    dataset, findings = audited
    rows = fix.to_label(dataset, findings, target="label")
    assert [row["row"] for row in rows][:2] == [8, 9]
    fix.write_to_label(rows, tmp_path / "suspects.csv")
    told = rows_of(tmp_path / "suspects.csv")
    assert told[0]["label_is"] == ""
    assert told[0]["text"] == ROWS[7][0]


def test_what_a_spreadsheet_would_run_is_made_inert_where_people_look(audited, tmp_path):
    dataset, _ = audited
    touch = fix.Touch("", 1, "mended", "text", "=1+1", "+1")
    fix.write(dataset, [touch], tmp_path / "clean.csv")
    assert rows_of(tmp_path / "clean.log.csv")[0]["before"] == "'=1+1"
    assert any(row["text"].startswith("=cmd") for row in rows_of(tmp_path / "clean.csv"))  # data stays data


def test_nothing_is_written_over(audited, tmp_path):
    dataset, _ = audited
    (tmp_path / "clean.log.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        fix.write(dataset, [], tmp_path / "clean.csv")
    assert caught.value.code == "export.exists"
    assert not (tmp_path / "clean.csv").exists()


def test_the_command_line_writes_both_files_and_writes_over_none(tmp_path):
    from typer.testing import CliRunner

    from sartor.cli import app

    source = write(tmp_path / "dirty.csv", ROWS + MORE)
    options = ["--fix", str(tmp_path / "clean.csv"), "--to-label", str(tmp_path / "suspects.csv")]
    done = CliRunner().invoke(app, ["audit", str(source), "--target", "label", *options])
    assert done.exit_code == 0, done.output
    assert sorted(file.name for file in tmp_path.glob("*.csv")) == [
        "clean.csv",
        "clean.log.csv",
        "dirty.csv",
        "suspects.csv",
    ]
    again = CliRunner().invoke(app, ["audit", str(source), "--target", "label", *options])
    assert isinstance(again.exception, InputError)
    assert again.exception.code == "export.exists"
