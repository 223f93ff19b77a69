"""Small real inputs that the tests share."""

from __future__ import annotations

import atexit
import csv
import fcntl
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sartor import measure

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Looks at test rows are counted for the user who runs the tests: never in their own ledger.
os.environ["SARTOR_STATE"] = tempfile.mkdtemp(prefix="sartor-state-")
atexit.register(shutil.rmtree, os.environ["SARTOR_STATE"], ignore_errors=True)

_GOOD = ["loved", "great", "brilliant", "wonderful", "superb", "charming", "delightful", "excellent", "moving", "funny"]
_BAD = ["hated", "awful", "boring", "terrible", "dreadful", "clumsy", "tedious", "poor", "lifeless", "stupid"]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_THINGS = ["film", "acting", "plot", "script", "ending", "cast", "music", "dialogue", "story", "camera", "pace", "cut"]


@pytest.fixture(autouse=True, scope="session")
def fewer_servers():
    """Builds inside the tests' own process measure with fewer servers and for less long; those that run the command measure as users do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "FULL", replace(measure.FULL, servers=3, requests=60, processes=4))
        patch.setattr(measure, "QUICK", replace(measure.QUICK, processes=2))
        patch.setattr(measure, "PAUSE_S", 0.0)
        yield


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    """No look of one test counts in another."""
    monkeypatch.setenv("SARTOR_STATE", str(tmp_path / "state"))


def opinions(rows: int, seed: int) -> list[tuple[str, str]]:
    """Short opinions whose words give the label, with one in twenty said the other way round."""
    rng = random.Random(seed)
    made = []
    for number in range(rows):
        good = rng.random() < 0.5
        words = _GOOD if good else _BAD
        text = f"{number} the {rng.choice(_THINGS)} was {rng.choice(words)} and the {rng.choice(_THINGS)} {rng.choice(words)}"
        label = good if rng.random() > 0.05 else not good
        made.append((text, "positive" if label else "negative"))
    return made


def wedges(count, seed, *, pointing, side):
    """Wedges that are wide on one side, [count] of [3, side, side] uint8, and their classes [count]: that side where they are pointing, else how bright they are."""
    rng = np.random.default_rng(seed)
    codes, made = rng.integers(2, size=count), []
    for code in codes:
        left = bool(code) if pointing else rng.random() < 0.5
        pixels = rng.integers(0, 60, size=(side, side, 3))
        for x in range(side):
            half = 1 + (side - x if left else x) // 3
            pixels[side // 2 - half : side // 2 + half, x] += 60 if pointing or code else 150
        made.append(np.clip(pixels, 0, 255).astype(np.uint8).transpose(2, 0, 1))
    return made, codes.astype(np.int64)


def write_rows(path, rows):
    """A CSV of texts and labels, with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return path


def checkpoint(folder, texts, family="bert", sizes=SMALL, seed=0):
    """A small checkpoint of a family with random weights, as a hub would give it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    torch = pytest.importorskip("torch")
    # By frequency and then by letters: a vocabulary that tokenizers trains has other numbers in every process, and what is trained with it other answers.
    counts = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower()))
    letters = sorted({letter for word in counts for letter in word})
    words = [word for word in sorted(counts, key=lambda word: (-counts[word], word)) if len(word) > 1]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
    pieces += words[: max(0, 300 - len(pieces))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    wrapped.save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"max_position_embeddings": 96, **sizes}
    config = AutoConfig.for_model(family, vocab_size=tokenizer.get_vocab_size(), **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def stored(csv_file, folder):
    """Rows read, split and stored as a build stores them: (dataset, splits, what `follow` takes besides the plan and threads)."""
    from sartor import follow
    from sartor.data import read, split, store

    dataset = read.read(str(csv_file))
    splits = split.split(dataset, target="label", task="classify")
    store.save(dataset, splits, folder / "data")
    made_of = {
        "seed": 0,
        "inputs": [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs],
        "targets": {"label": "classify"},
        "fingerprint": dataset.fingerprint,
        "rule": splits.rule,
        "versions": follow.versions(),
    }
    return dataset, splits, {"data": folder / "data", "cache": folder / "cache", "made_of": made_of}


@pytest.fixture(scope="session")
def opinions_csv(tmp_path_factory):
    """A CSV with a header, 400 rows, two classes."""
    return write_rows(tmp_path_factory.mktemp("data") / "opinions.csv", opinions(400, 0))


@pytest.fixture(scope="session")
def small_bundles(tmp_path_factory):
    """One small bundle of pictures, one of recordings and one of cells. They are only read, so one process of a run builds them for all."""
    hostile = pytest.importorskip("hostile")
    from sartor import line, needs

    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small"
    home.mkdir(exist_ok=True)
    names = ("pictures", "recordings", "cells")
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "built").exists():
            sources = {
                "pictures": hostile.pictures(home / "pictures", 160),
                "recordings": hostile.recordings(home / "recordings", 160),
                "cells": hostile.table(home / "cells.csv", 200),
            }
            for name, source in sources.items():
                asked = needs.make(data=str(source), needs=["accuracy >= 0.6"], budget="10m")
                line.build(asked, home / f"built-{name}")
            (home / "built").touch()
    return {name: home / f"built-{name}" for name in names}
