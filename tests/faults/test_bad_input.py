"""Every kind of bad input gets its message: what, where and how to mend it; no traceback, no compute, nothing made or lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bad_input
import pytest
from bad_input import EVERY, KINDS, PAGES, PLAN, Kind, csv_text, folder_for, good, kinds_in, rows, tree, whole_bundle

from sartor import bundle as bundles
from sartor import cli, needs, predict
from sartor.data import read
from sartor.errors import InputError, SartorError

CASES = 50  # of every fuzz
IN_A_PROCESS = (
    "a file that is not there",
    "a name with a line end and a terminal escape",
    "YAML that is broken",
    "bytes that are not UTF-8 in a name",
    "standard input that is not UTF-8",
    "a verb that is misspelt",
)


def test_there_are_at_least_seventy_kinds_each_with_a_name_of_its_own():
    assert len(EVERY) >= 70
    assert len({kind.name for kind in EVERY}) == len(EVERY)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.slug)
def test_bad_input_gets_its_message_and_nothing_else_happens(kind):
    with folder_for(kind) as folder:
        words = kind.make(folder)
        before = tree(folder)
        answer = bad_input.command(words, folder, stdin=kind.stdin, nobody=kind.as_nobody)
        check(kind, answer, folder)
        assert tree(folder) == before


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_in_a_process_of_its_own_it_is_the_same(name):
    kind = next(kind for kind in EVERY if kind.name == name)
    with folder_for(kind) as folder:
        words = kind.make(folder)
        done = subprocess.run(
            [sys.executable, "-m", "sartor.cli", *words],
            cwd=folder,
            input=os.fsencode(kind.stdin),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        answer = bad_input.Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
        check(kind, answer, folder)


def check(kind: Kind, answer: bad_input.Answer, folder: Path) -> None:
    said = answer.stdout + answer.stderr
    assert answer.exit == kind.exit, said
    assert "Traceback" not in said
    assert all(character.isprintable() or character in "\n\t" for character in said)
    message = answer.message(kind)
    for fragment in kind.said:
        assert fragment in message, message
    if kind.exit:
        assert answer.stdout == ""
        assert answer.stderr.count("sartor: ") <= 1  # one message, of one line or more
    assert not list(folder.rglob("*-was-*")), "something in the input was run"


@pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
def test_the_table_for_users_has_every_kind(page):
    text = page.read_text(encoding="utf-8").split(bad_input.MARK)[1]
    found = [name for name in kinds_in(text) if name not in ("what is given", "给出的内容")]
    assert found == [kind.name for kind in EVERY], "run: python -m tests.faults.bad_input"
    assert all(f"## {bad_input.TITLES[group] if page.parent.name == 'zh' else group}\n" in text for group in KINDS)


def test_a_fault_of_ours_is_one_line_that_says_how_to_see_more(tmp_path, monkeypatch):
    monkeypatch.setattr("sartor.data.read.find", lambda source: 1 / 0)
    answer = bad_input.command(["audit", good(tmp_path)], tmp_path)
    assert answer.exit == 1
    assert answer.stderr.startswith("sartor: ZeroDivisionError")
    assert "SARTOR_TRACEBACK=1" in answer.stderr
    monkeypatch.setenv("SARTOR_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        bad_input.command(["audit", good(tmp_path)], tmp_path)


def test_a_full_disk_is_no_fault_of_the_data(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "rows.arrow")

    monkeypatch.setattr("sartor.data.read.save_arrow", full)
    out = tmp_path / "out"
    answer = bad_input.command(["build", good(tmp_path), "--target", "label", "--out", str(out)], tmp_path)
    assert answer.exit == 1
    assert "No space left on device (rows.arrow)" in answer.stderr
    assert "goes on from here" in answer.stderr


def test_ctrl_c_says_that_the_same_command_goes_on_where_it_does(tmp_path, monkeypatch):
    def stopped(source: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sartor.data.read.find", stopped)
    for words, goes_on in (
        (["build", good(tmp_path), "--need", "accuracy >= 0.5"], True),
        (["audit", good(tmp_path)], False),
    ):
        answer = bad_input.command(words, tmp_path)
        assert answer.exit == 130
        assert "sartor: stopped" in answer.stderr
        assert ("the same command goes on" in answer.stderr) == goes_on  # an audit keeps nothing


def test_a_long_text_is_a_text_and_not_the_name_of_a_file(tmp_path):
    answer = bad_input.command(["predict", str(whole_bundle(tmp_path)), "where is my parcel? " * 40], tmp_path)
    assert answer.exit == 0, answer.stderr
    assert answer.stdout == "other\t0.7311\n"


def test_what_a_model_has_no_number_for_is_null_in_json():
    assert cli._json({"a": [float("nan"), float("-inf"), 1.5]}) == '{"a": [null, null, 1.5]}'


def test_a_budget_of_two_weeks_is_written_as_it_is_read(tmp_path):
    found = needs.make(data="a.csv", budget="336h")
    (tmp_path / "needs.yaml").write_text(needs.dump(found), encoding="utf-8")
    assert needs.load(tmp_path / "needs.yaml").budget_s == 336 * 3600


# Fuzzing: whatever is done to a valid file, it is read or refused with a message of the catalogue.


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, left out, doubled or replaced by what breaks parsers."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found)) if found else 0
        kind = rng.randrange(6)
        if kind == 0 and found:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at:]
        elif kind == 2:
            del found[at : at + rng.randint(1, 20)]
        elif kind == 3:
            found[at:at] = found[at : at + rng.randint(1, 200)]
        elif kind == 4:
            found[at:at] = rng.choice(
                [b"\0", b"\xff", b'"', b"[" * 200, b"{", b"\n", b"\r", b"9" * 400, b"null", b"\xef\xbb\xbf"]
            )
        elif found:
            found[at] = rng.randrange(256)
    return bytes(found)


def fuzz(path: Path, use: Callable[[Path], object], *, after: Callable[[], object] = lambda: None) -> None:
    valid = path.read_bytes()
    use(path)
    for seed in range(CASES):
        path.write_bytes(mutated(valid, random.Random(seed)))
        after()
        try:
            use(path)
        except SartorError:
            pass
        except Exception as error:
            raise AssertionError(
                f"seed {seed}: {type(error).__name__}: {error}\n{path.read_bytes()[:300]!r}"
            ) from error


def test_any_csv_is_read_or_refused(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(csv_text(), encoding="utf-8")
    fuzz(path, lambda file: read.read(file, target="label"))


def test_any_json_lines_are_read_or_refused(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows()), encoding="utf-8")
    fuzz(path, lambda file: read.read(file, target="label"))


def test_any_needs_are_read_or_refused(tmp_path):
    path = tmp_path / "needs.yaml"
    good(tmp_path)
    path.write_text(
        "data: {train: good.csv, test: good.csv}\ninput: [text]\ntarget: label\ntask: classify\nneeds:\n"
        "  - accuracy >= 0.9\n  - recall for late >= 80%\n  - latency_p95 <= 10 ms at concurrency 8\nbudget: 20m\n"
        "hardware: cpu:2\nprefer: latency_p95\nbackbone: none\nseed: 3\nconfidence: 0.9\ngroup: label\n",
        encoding="utf-8",
    )
    fuzz(path, needs.load)


def test_any_plan_is_read_or_refused(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN), encoding="utf-8")
    fuzz(path, cli._plan_file)


@pytest.mark.parametrize("name", ["bundle.json", "report.json"])
def test_any_bundle_is_opened_or_refused(tmp_path, name):
    place = whole_bundle(tmp_path)

    def use(path: Path) -> None:
        if name == "report.json":
            from sartor import report

            report.read(bundles.load(path.parent).path)
        else:
            predict.load(path.parent)

    fuzz(place / name, use, after=lambda: bundles.seal(place))


def test_any_manifest_is_taken_or_refused(tmp_path):
    place = whole_bundle(tmp_path)
    fuzz(place / bundles.MANIFEST, lambda path: bundles.load(path.parent))


@pytest.mark.parametrize(
    "text", ["", "accuracy", "accuracy >= 0.9 at at", 'recall for "late >= 1', "size <= 4\tMB at x"]
)
def test_any_need_is_read_or_refused(text):
    rng = random.Random(text)
    for _ in range(CASES):
        with contextlib.suppress(InputError):
            needs.parse(mutated(text.encode() or b"x", rng).decode("utf-8", "replace"))
