"""Which rows to label next: the unsure ones, apart from each other, each text once."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from sartor import label
from sartor.cli import app
from sartor.data import audit
from sartor.data.read import read
from sartor.data.split import row_keys
from sartor.errors import InputError

THINGS = {"late": ["parcel", "courier", "tracking", "delivery"], "refund": ["money", "card", "charged", "refund"]}


def write(path, rows, header):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def sentence(rng, *kinds):
    words = [rng.choice(THINGS[kind]) for kind in kinds for _ in range(3)]
    return " ".join([*rng.permutation(words), f"since day {rng.integers(1000)}"])


@pytest.fixture
def parts(tmp_path):
    """40 labelled rows; of the others 40 are plain, 10 are of both kinds, and some stand there twice or are labelled already."""
    rng = np.random.default_rng(0)
    labelled = [[sentence(rng, kind), kind] for kind in THINGS for _ in range(20)]
    pool = [[sentence(rng, kind)] for kind in THINGS for _ in range(20)] + [[sentence(rng, *THINGS)] for _ in range(10)]
    pool += [[labelled[0][0]], pool[0], [""]]
    return {
        "train": write(tmp_path / "train.csv", labelled, ["text", "label"]),
        "unlabelled": write(tmp_path / "pool.csv", pool, ["text"]),
    }


def chosen(parts, count, **options):
    dataset = read(parts, target="label", input="text", task="classify")
    codes = audit.labels_of(dataset, "label").codes
    return label.wanted(dataset, row_keys(dataset), codes, count, seed=0, **options), dataset


def test_the_rows_between_two_classes_come_first(parts):
    wanted, _ = chosen(parts, 1)
    assert 40 + 40 <= wanted[0].row < 40 + 50
    # Of ten times as many as are asked for, the ones apart are taken: with one row asked for those are the ten between.
    rows = {one.row for seed in range(5) for one in chosen(parts, 1)[0]}
    assert rows <= set(range(80, 90))


def test_each_text_comes_once_and_none_that_is_labelled(parts):
    wanted, _ = chosen(parts, 1_000)
    assert len(wanted) == 50
    assert len({one.row for one in wanted}) == 50
    assert max(one.row for one in wanted) < 90
    assert all(0.5 <= one.probability <= 1 for one in wanted)


def test_the_same_seed_chooses_the_same_rows(parts):
    assert chosen(parts, 4)[0] == chosen(parts, 4)[0]


def test_what_is_embedded_is_read_instead_of_n_grams(parts):
    seen = []

    def embed(rows):
        seen.extend(rows.tolist())
        return np.random.default_rng(1).standard_normal((len(rows), 6))

    assert len(chosen(parts, 5, embed=embed)[0]) == 5
    assert seen == list(range(90))


def test_a_batch_is_spread_over_what_is_unsure():
    # Two heaps of equally unsure rows, one of 15 and one of 5: by margin alone the first two are of one heap.
    probabilities = np.full((20, 2), 0.5)
    places = np.zeros((20, 2))
    places[:15, 0], places[15:, 1] = 1.0, 1.0
    picked = label.choose(probabilities, places, 2, seed=0)
    assert sorted(picked >= 15) == [False, True]


def test_too_little_that_is_labelled_and_nothing_to_choose_from(tmp_path, parts):
    rows = [["a parcel", "late"], ["a card", "refund"]] * 5
    few = {**parts, "train": write(tmp_path / "few.csv", rows, ["text", "label"])}
    with pytest.raises(InputError) as caught:
        chosen(few, 5)
    assert caught.value.code == "label.too-few"
    same = {**parts, "unlabelled": write(tmp_path / "none.csv", [[""], ["  "]], ["text"])}
    with pytest.raises(InputError) as caught:
        chosen(same, 5)
    assert caught.value.code in ("label.no-rows", "data.no-rows")


def test_the_command_writes_a_file_for_a_person_and_writes_over_none(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("sartor.embed.embedder", lambda dataset, **_: None)
    out = tmp_path / "next.csv"
    words = ["label", parts["train"], "--unlabelled", parts["unlabelled"], "-n", "3", "--target", "label"]
    done = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    with out.open(encoding="utf-8-sig", newline="") as file:
        told = list(csv.DictReader(file))
    assert list(told[0]) == ["row", "text", "suggested", "probability", "label_is"]
    with open(parts["unlabelled"], encoding="utf-8", newline="") as file:
        pool = list(csv.DictReader(file))
    assert all(pool[int(row["row"]) - 1]["text"] == row["text"] for row in told)
    again = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert again.exception.code == "export.exists"


def test_pictures_are_told_by_their_files(tmp_path):
    hostile = pytest.importorskip("hostile")
    folder = hostile.pictures(tmp_path / "rows", 90)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    labelled = [[name, name.split("/")[0]] for name in files[::3] + files[1::3]]
    write(folder / "train.csv", labelled, ["picture", "way"])
    write(folder / "rest.csv", [[name] for name in files[2::3]], ["picture"])
    out = tmp_path / "next.csv"
    words = ["label", str(folder / "train.csv"), "--unlabelled", str(folder / "rest.csv"), "-n", "3", "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--target", "way"])
    assert done.exit_code == 0, (done.output, done.exception)
    with out.open(encoding="utf-8-sig", newline="") as file:
        told = list(csv.DictReader(file))
    assert {row["picture"] for row in told} <= set(files[2::3])
    assert len(told) == 3


def test_rows_are_chosen_for_classes_alone(tmp_path, parts):
    rng = np.random.default_rng(3)
    rows = [[sentence(rng, "late"), f"{rng.normal():.4f}"] for _ in range(60)]
    numbers = write(tmp_path / "numbers.csv", rows, ["text", "days"])
    words = [
        "label",
        numbers,
        "--unlabelled",
        parts["unlabelled"],
        "--target",
        "days",
        "--out",
        str(tmp_path / "n.csv"),
    ]
    assert CliRunner().invoke(app, words).exception.code == "label.task"


def test_few_labels_beside_many_rows_and_a_needs_yaml(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("sartor.embed.embedder", lambda dataset, **_: None)
    rng = np.random.default_rng(2)
    many = write(tmp_path / "many.csv", [[sentence(rng, *THINGS) + f" {place}"] for place in range(20_000)], ["text"])
    (tmp_path / "needs.yaml").write_text("data: train.csv\ninput: text\ntarget: label\n", encoding="utf-8")
    words = [
        "label",
        str(tmp_path / "needs.yaml"),
        "--unlabelled",
        many,
        "-n",
        "2",
        "--out",
        str(tmp_path / "next.csv"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    done = CliRunner().invoke(app, ["label", parts["train"], "--target", "label", "--out", str(tmp_path / "other.csv")])
    assert done.exception.code == "label.no-part"


def test_rows_of_a_part_that_judges_are_not_chosen(parts, tmp_path):
    with open(parts["unlabelled"], encoding="utf-8", newline="") as file:
        pool = list(csv.reader(file))[1:]
    test = write(tmp_path / "test.csv", [[row[0], "late"] for row in pool[:90:3]], ["text", "label"])
    wanted, dataset = chosen({**parts, "test": test}, 1_000)
    held = set(dataset.table.column("text").take(dataset.rows_of("test")).to_pylist())
    assert len(wanted) == 50 - len({row[0] for row in pool[:50:3]})
    assert not held & {dataset.table.column("text")[one.row].as_py() for one in wanted}
