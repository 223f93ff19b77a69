"""Killed at every write, sync, rename and removal of a save: nothing is ever half there, and the same work ends with the same bits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sartor import bundle as bundles
from sartor.errors import InputError
from sartor.journal import Journal
from tests.faults.crash import kill

ROWS = 96
SAVED = [0, 1, 2, 3, 3, 4, 5, 6]  # steps done at every checkpoint of `train`: before each epoch, and after each step


def train(folder, heard=None):
    """Six steps with a checkpoint after each; the weights, as bytes."""
    import torch

    from sartor import loop

    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(ROWS, 4)).astype(np.float32))
    y = (x[:, 0] > 0).long()
    model = torch.nn.Linear(4, 2)
    schedule = loop.Schedule(
        epochs=2,
        batch_rows=32,
        batch_units=1000,
        learning_rate=0.1,
        head_learning_rate=0.1,
        weight_decay=0.0,
        warmup_share=0.2,
        clip_norm=1.0,
        patience=9,
        bf16=False,
    )
    loop.train(
        model,
        lambda positions: torch.nn.functional.cross_entropy(model(x[positions]), y[positions]),
        np.ones(ROWS, dtype=int),
        schedule=schedule,
        validate=lambda: {"valid": float((model(x).argmax(1) == y).float().mean())},
        checkpoints=folder,
        seed=0,
        save_every_s=0.0,
        events=(heard if heard is not None else []).append,
    )
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def points(work, *, writers=("save_file", "write_text", "copyfile")):
    """(at, torn) of every operation that a piece of work does, and again torn for those that write a file."""
    with kill() as counted:
        work()
    assert len(counted.done) > 5
    return [(at, False) for at in range(len(counted.done))] + [
        (at, True) for at, name in enumerate(counted.done) if name in writers
    ]


def test_training_killed_at_any_point_of_a_save_resumes_from_the_newest_whole_checkpoint(tmp_path, record_property):
    pytest.importorskip("torch")
    expected = train(tmp_path / "whole")
    tried = points(lambda: train(tmp_path / "counted"))
    assert len(tried) > 100
    record_property("trials", len(tried))
    for at, torn in tried:
        folder = tmp_path / f"{at}-{torn}"
        with kill(at, torn=torn) as state:
            train(folder)
        renamed = state.done[:at].count("rename")  # each makes a checkpoint whole
        heard = []
        assert train(folder, heard) == expected, (at, torn, state.done[-1])
        resumed = [item["done"] for item in heard if item.get("status") == "resumed"]
        assert resumed == SAVED[:renamed][-1:], (at, torn, state.done[-1])
        assert not list(folder.glob(".writing-*"))
        # Two of each kind are kept; one more of each where a later one had been saved before the kill.
        assert 1 <= len(list(folder.glob("step-*/MANIFEST.json"))) <= 3
        assert 1 <= len(list(folder.glob("epoch-*/MANIFEST.json"))) <= 3


def write(target, text):
    with bundles.writing(target) as folder:
        (folder / "runtime").mkdir()
        (folder / "runtime" / "model.txt").write_text(text, encoding="utf-8")
        bundles.write_json(folder / "bundle.json", {"schema": bundles.SCHEMA, "text": text})


def held(target):
    """The text of a bundle that is whole, and None where there is none; a half one is refused by `load`, which raises."""
    try:
        found = bundles.load(target)
    except InputError as error:
        if error.code != "bundle.not-found":
            raise
        return None
    text = (target / "runtime" / "model.txt").read_text(encoding="utf-8")
    assert found.meta["text"] == text
    return text


@pytest.mark.parametrize("before", [None, "old"])
def test_a_bundle_killed_at_any_point_of_its_writing_is_whole_or_absent(tmp_path, before, record_property):
    def fresh(folder):
        folder.mkdir()
        if before is not None:
            write(folder / "bundle", before)
        return folder / "bundle"

    counted = fresh(tmp_path / "counted")
    tried = points(lambda: write(counted, "new"))
    record_property("trials", len(tried))
    for at, torn in tried:
        target = fresh(tmp_path / f"{at}-{torn}")
        with kill(at, torn=torn):
            write(target, "new")
        assert held(target) in (before, None, "new")
        write(target, "new")
        assert held(target) == "new"
        bundles.sweep(target.parent)
        assert [path.name for path in target.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_bundle_killed_at_any_point_of_its_placing_is_whole_or_absent(tmp_path, before, record_property):
    write(tmp_path / "source", "new")

    def fresh(folder):
        folder.mkdir()
        (folder / ".build").mkdir()
        if before is not None:
            write(tmp_path / "earlier", before)
            bundles.place(tmp_path / "earlier", folder)
        return folder

    counted = fresh(tmp_path / "counted")
    tried = points(lambda: bundles.place(tmp_path / "source", counted))
    record_property("trials", len(tried))
    for at, torn in tried:
        target = fresh(tmp_path / f"{at}-{torn}")
        with kill(at, torn=torn):
            bundles.place(tmp_path / "source", target)
        assert held(target) in (before, None, "new")
        bundles.place(tmp_path / "source", target)
        assert held(target) == "new"


def test_a_journal_killed_at_any_sync_knows_all_that_was_acted_on(tmp_path, record_property):
    def work(path, acted):
        journal = Journal(path)
        for number in range(6):
            acted.append(journal.once(f"key {number}", lambda number=number: number))
        journal.close()

    record_property("trials", 9)
    for at in range(9):
        acted = []
        path = tmp_path / f"{at}" / "journal.jsonl"
        with kill(at):
            work(path, acted)
        known = Journal.peek(path) if path.exists() else {}
        assert [known[f"key {number}"] for number in range(len(acted))] == acted
        again = []
        work(path, again)
        assert again == list(range(6))
        assert json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["key"] == "beat"
