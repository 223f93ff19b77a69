"""Text without labels: 5 % of the labels, and masked-language training on all the text before tuning against tuning alone, on the same rows.

For Chinese no checkpoint is at hand (67 % of the characters of the titles are unknown to MiniLM), so a small BERT begins from nothing there, with a
vocabulary of the characters of the training text. n-grams on the same labels stand beside it, as what a build would take.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import climb_data, climb_process, climb_told, climb_worker, record
from bench.record import Book, Row
from sartor.plan import Move, Plan

NAME, TITLE = "climb-unlabelled", "Text without labels"
SETS, SEEDS, SHARE = ("ag_news", "thucnews_titles"), (0, 1, 2), 0.05
FROM_NOTHING = ("thucnews_titles",)
TUNED, READ_ON, NGRAM = "tuned", "read on, then tuned", "n-grams"
SMALL = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 128,
}
# A body that knows nothing learns its tables too, at a higher rate and for longer.
NOTHING_TUNES = {"embeddings": True, "epochs": 20, "learning_rate": 5e-4}
NOTHING_READS = {"embeddings": True, "epochs": 30, "learning_rate": 1e-3}


def book(short: bool) -> Book:
    sources = map(Path, (climb_data.__file__, climb_process.__file__, climb_worker.__file__))
    return record.book(NAME, __file__, *sources, columns={}, short=short, parts=climb_data.steps_alone())


def make(book: Book, given: argparse.Namespace) -> None:
    """The rows that are missing."""
    suffix = f" ({given.rows} rows)" if given.rows else ""
    with TemporaryDirectory(dir=climb_data.made(record.OUT)) as folder:
        for seed in SEEDS:
            for name in SETS:
                parts = labelled(
                    climb_data.files(given.data, name, rows=given.rows), seed, Path(folder) / f"{name}-{seed}"
                )
                ground = climb_data.read(parts)
                sizes = ground.splits.sizes()
                data = ground.stored(Path(folder) / f"{name}-{seed}" / "stored")
                backbone = "minilm"
                if name in FROM_NOTHING:
                    seen = [row[0] for part in ("train", "unlabelled") for row in climb_data.rows_of(parts[part])]
                    backbone = str(small_bert(Path(folder) / f"{name}-{seed}" / "small-bert", seen, seed))
                for system, plan in plans(backbone, nothing=name in FROM_NOTHING).items():

                    def work(
                        system: str = system,
                        plan: Plan = plan,
                        name: str = name,
                        data: str = data,
                        seed: int = seed,
                        sizes: Row = sizes,
                    ) -> Row:
                        job = {"data": data, "plan": plan.as_dict(), "seed": seed, "scratch": folder}
                        told = climb_process.once(climb_data.WORKER, job)
                        return {"data": name, "system": system, "sizes": sizes} | told

                    climb_told.say(book.once(f"{name}, {system}{suffix}", seed, work))


def plans(backbone: str, *, nothing: bool) -> dict[str, Plan]:
    """What is compared. nothing: the body knows nothing yet."""
    start = Move("start", {"backbone": backbone, "leaf": "hub"})
    fit, train = Move("fit", {}), Move("train", NOTHING_TUNES if nothing else {})
    read_on = Move("pretrain", NOTHING_READS if nothing else {})
    found = {TUNED: Plan(TUNED, (start, fit, train)), READ_ON: Plan(READ_ON, (start, read_on, fit, train))}
    if nothing:
        found[NGRAM] = Plan(NGRAM, (Move("start", {"backbone": "ngram", "leaf": "ngram"}), fit))
    return found


def labelled(parts: dict[str, Path], seed: int, folder: Path) -> dict[str, Path]:
    """{part: CSV}: of the training rows a few with their labels and the text of all others, and the test rows."""
    rows = list(climb_data.rows_of(parts["train"]))
    order = np.random.default_rng(seed).permutation(len(rows))
    kept = np.sort(order[: round(SHARE * len(rows))]).tolist()
    rest = np.sort(order[round(SHARE * len(rows)) :]).tolist()
    columns = (climb_data.TEXT, climb_data.LABEL)
    return {
        "train": climb_data.write(folder / "train.csv", columns, [rows[i] for i in kept]),
        "unlabelled": climb_data.write(folder / "unlabelled.csv", columns[:1], [rows[i][:1] for i in rest]),
        "test": parts["test"],
    }


def small_bert(folder: Path, texts: Iterable[str], seed: int) -> Path:
    """A BERT of random weights that reads characters, in the hub's format."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    seen = Counter(character for text in texts for character in text.lower() if not character.isspace())
    # What is of no script that is written without spaces is cut into pieces of words, down to single letters.
    words = [character for character, times in seen.most_common() if times > 1]
    pieces = [f"##{character}" for character in words if character.isascii()]
    vocabulary = {word: number for number, word in enumerate([*special, *words, *pieces])}
    tokenizer: Any = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    named = {f"{name[1:-1].lower()}_token": name for name in special}
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(vocabulary), **SMALL), add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    return folder


def table(book: Book) -> str:
    """Systems by data set, with differences in pairs of one seed each."""
    rows = book.rows()
    runs: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        told = row["values"]
        runs.setdefault(told["data"], {}).setdefault(told["system"], {})[row["seed"]] = told
    lines = []
    for name, systems in runs.items():
        tuned = systems.get(TUNED, {})
        for system, each in systems.items():
            seeds = sorted(each.keys() & tuned.keys())
            one = next(iter(each.values()))
            gains = [100 * (each[seed]["accuracy"] - tuned[seed]["accuracy"]) for seed in seeds]
            read = [one["notes"].get("pretrain", {}) for one in each.values()]
            # Of many epochs it is too long for a row.
            guessed = [told["guessing"] for told in read if "guessing" in told]
            lines.append(
                [
                    name,
                    system + (", a small BERT from nothing" if name in FROM_NOTHING and system != NGRAM else ""),
                    f"{one['sizes']['train']:,} + {one['sizes']['valid']:,}",
                    f"{one['sizes']['unlabelled']:,}",
                    f"{np.mean([one['accuracy'] for one in each.values()]):.4f} (n {len(each)})",
                    "" if system == TUNED or not seeds else climb_told.interval(gains),
                    f"{np.median([one['seconds'] for one in each.values()]):.0f}",
                    f"{guessed[0]['before']:.2f} → {guessed[0]['after']:.2f}" if guessed else "",
                ]
            )
    titles = (
        "data set",
        "system",
        "labelled rows (training + validation)",
        "without a label",
        "test accuracy (seeds)",
        "points over tuning alone (95 %)",
        "s",
        "loss of guessing hidden words",
    )
    return "\n\n".join([record.markdown(titles, lines), record.made(rows)]) if lines else record.NOTHING
