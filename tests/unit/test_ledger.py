"""The ledger: what counts as another look at the same test rows, and how strictly each is judged."""

from __future__ import annotations

import math
from multiprocessing import get_context

import numpy as np
import pytest

from sartor import bounds, ledger
from sartor.data.dataset import Examples


def examples(rows, labels):
    places = np.arange(len(rows))
    return Examples([{"text": row} for row in rows], {"label": list(labels)}, places, places)


def test_models_are_numbered_in_the_order_of_their_first_look():
    assert [ledger.look("rows", model).number for model in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert ledger.looks("rows") == 3
    assert ledger.looks("other rows") == 0


def test_rows_are_known_whatever_their_order_and_by_their_labels():
    one = ledger.fingerprint(examples(["x", "y", "z"], "abc"))
    assert ledger.fingerprint(examples(["z", "x", "y"], "cab")) == one
    assert ledger.fingerprint(examples(["x", "y", "z"], "abd")) != one
    assert ledger.fingerprint(examples(["x", "y"], "ab")) != one


def test_a_line_that_a_kill_cut_short_is_no_look_and_loses_none():
    ledger.look("rows", "a")
    file = ledger.folder() / "rows.jsonl"
    file.write_bytes(file.read_bytes() + b'{"model": "b')
    assert ledger.look("rows", "c").number == 2
    assert ledger.look("rows", "a").number == 1
    assert ledger.looks("rows") == 2


def _look(model):
    return ledger.look("rows", model).number


def test_builds_at_the_same_time_get_numbers_of_their_own():
    with get_context("fork").Pool(4) as pool:
        numbers = pool.map(_look, [f"model {i}" for i in range(24)], chunksize=1)
    assert sorted(numbers) == list(range(1, 25))


def test_a_ledger_that_cannot_be_written_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SARTOR_STATE", str(tmp_path / "file"))
    found = ledger.look("rows", "a")
    assert found.number == 1
    assert "Not a directory" in found.trouble
    assert ledger.looks("rows") == 0


def test_it_stands_in_the_users_state_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SARTOR_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert ledger.folder() == tmp_path / "xdg" / "sartor" / "ledger"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ledger.folder() == tmp_path / ".local" / "state" / "sartor" / "ledger"


def test_the_errors_of_all_looks_together_stay_within_the_one_asked_for():
    spent = [1 - bounds.level_of_look(0.95, k) for k in range(1, 10_000)]
    assert spent[0] == pytest.approx(0.05 * 6 / math.pi**2)
    assert spent == sorted(spent, reverse=True)
    assert 0.0499 < sum(spent) <= 0.05


def test_a_disk_that_is_full_makes_no_look_the_first_one(monkeypatch):
    for model in "abc":
        ledger.look("rows", model)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger.os, "fsync", full)
    told = ledger.look("rows", "d")
    assert "No space left" in told.trouble
    assert told.number == 4
    assert ledger.look("rows", "b").number == 2
