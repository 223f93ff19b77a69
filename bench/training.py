"""Training speed: fine-tuning MiniLM on sst2 through the line, against Hugging Face's Trainer on the same rows, in the same run.

Rows per second are those of whole epochs, without loading, tokenising and evaluating; the line's checkpoints are counted. Every
run has a process of its own, the systems take turns seed by seed, and their ratios are paired by seed.
`python -m bench.training --data DIR`.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import record
from bench.record import Book, Row

SEEDS, EPOCHS = (0, 1, 2), 3
# What decides the length of the inputs, the weights that training begins with, its schedule, and the work of every step.
PARTS = (
    "backbone/hub.py",
    "data/batch.py",
    "hardware.py",
    "loop.py",
    "model.py",
    "step/fit.py",
    "step/start.py",
    "step/train.py",
    "task/classify.py",
)
LINE, PROBE = "the line", "probe"
PROBE_ROWS = 768
PROBE_FLAGS = tuple(
    {"batch_rows": rows, "attention": attention}
    for rows, attention in itertools.product((16, 32, 64), ("sdpa", "eager"))
)


@dataclass(frozen=True)
class Flags:
    """How the Trainer is told to run."""

    batch_rows: int
    learning_rate: float  # the one that suits the batch
    bf16: bool = False
    by_length: bool = False
    dropout: bool = True
    attention: str = "sdpa"


DEFAULT = Flags(batch_rows=8, learning_rate=5e-5)  # these are the Trainer's own
SYSTEMS = {
    "Trainer, fp32, batch 8": DEFAULT,
    "Trainer, fp32, batch 32": replace(DEFAULT, batch_rows=32, learning_rate=1e-4),
    "Trainer, its best flags": replace(DEFAULT, batch_rows=32, learning_rate=1e-4, by_length=True, dropout=False),
}
BEST = "Trainer, its best flags"


def main() -> None:
    """Runs what has no row yet, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="another number is kept apart")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--rows", type=int, help="only so many training rows; kept apart, never published")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(run_job(json.loads(given.job.read_text(encoding="utf-8")))))
        return
    if importlib.util.find_spec("accelerate") is None:
        raise SystemExit("bench.training: the Trainer needs accelerate; run: pip install 'accelerate>=1.1'")
    short = given.rows is not None or given.epochs != EPOCHS
    book = record.book("training", __file__, columns={}, short=short, parts=PARTS)
    suffix = f" ({given.epochs} epochs, {given.rows or 'all'} rows)" if short else ""
    with tempfile.TemporaryDirectory(dir=_made(record.OUT)) as folder:
        job = {"data": str(_store(given.data / "sst2", Path(folder), given.rows)), "epochs": given.epochs}
        for seed in given.seeds:
            for name in (LINE, *SYSTEMS):

                def work(name: str = name, seed: int = seed) -> Row:
                    flags = None if name == LINE else vars(SYSTEMS[name])
                    if name == BEST:
                        probe = book.once(
                            PROBE + suffix, 0, lambda: _child(job | {"system": PROBE, "seed": 0}, Path(folder))
                        )
                        flags = flags | probe["values"]["fastest"]  # type: ignore[operator]
                    return _child(job | {"system": name, "seed": seed, "flags": flags}, Path(folder))

                row = book.once(name + suffix, seed, work)
                print(json.dumps({"case": row["case"], "seed": seed, **row["values"]}), flush=True)
    print(book.publish(table))


def table(book: Book) -> str:
    """Each system against the line, paired by seed: the ratio that the line reaches at least, and its median."""
    rows = book.rows()
    runs: dict[str, dict[int, Row]] = {}
    for row in rows:
        if not row["case"].startswith(PROBE):
            runs.setdefault(row["case"], {})[row["seed"]] = row["values"]
    ours = next((each for name, each in runs.items() if name.startswith(LINE)), None)
    if ours is None:
        return record.NOTHING
    lines = []
    for name, each in runs.items():
        seeds = sorted(each.keys() & ours.keys())
        if not seeds:
            continue
        rate, score = ([each[seed][key] for seed in seeds] for key in ("rows_per_s", "accuracy"))
        ratios = [ours[seed]["rows_per_s"] / each[seed]["rows_per_s"] for seed in seeds]
        gaps = [ours[seed]["accuracy"] - each[seed]["accuracy"] for seed in seeds]
        told = [
            f"{np.median(ratios):.2f}× (at least {min(ratios):.2f}×)",
            f"{np.mean(gaps):+.4f} ({min(gaps):+.4f} to {max(gaps):+.4f})",
        ]
        flags = each[seeds[0]]["flags"] if name.startswith(BEST) else None
        lines.append(
            [
                name + (f": {_in_words(flags)}" if flags else ""),
                str(len(seeds)),
                f"{np.median(rate):.1f} ({min(rate):.1f} to {max(rate):.1f})",
                f"{np.mean(score):.4f}",
                *(["", ""] if each is ours else told),
            ]
        )
    titles = [
        "system",
        "seeds",
        "rows/s (range)",
        "test accuracy",
        "the line is faster by",
        "its accuracy is higher by",
    ]
    return record.markdown(titles, lines) + "\n\n" + record.made(rows)


def run_job(job: Row) -> Row:
    """One system with one seed, in this process."""
    import torch

    from sartor import hardware

    torch.set_num_threads(hardware.cores())
    if job["system"] == LINE:
        return run_line(job)
    rows = _rows(job)
    if job["system"] != PROBE:
        return run_trainer(Flags(**job["flags"]), rows, job)
    best = SYSTEMS[BEST]
    rows |= {
        "train": tuple(part[:PROBE_ROWS] for part in rows["train"]),
        "test": tuple(part[:32] for part in rows["test"]),
    }
    tried = [
        {
            **flags,
            "rows_per_s": run_trainer(replace(best, bf16=hardware.has_bf16(), **flags), rows, job | {"epochs": 1})[
                "rows_per_s"
            ],
        }
        for flags in (PROBE_FLAGS[0], *PROBE_FLAGS)  # the first warms up
    ][1:]
    fastest = max(tried, key=lambda one: one["rows_per_s"])
    return {
        "tried": tried,
        "fastest": {
            "bf16": hardware.has_bf16(),
            "batch_rows": fastest["batch_rows"],
            "attention": fastest["attention"],
        },
    }


def run_line(job: Row) -> Row:
    """The steps start, fit and train of the line as a build follows them, with the clock around its loop."""
    import torch

    from sartor import loop
    from sartor.data import store
    from sartor.follow import run_steps
    from sartor.plan import Move, Plan
    from sartor.predict import Predictor

    torch.manual_seed(job["seed"])
    torch.set_deterministic_debug_mode("error")
    told: Row = {}
    loop_train = loop.train

    def timed(model: Any, objective: Any, lengths: Any, *, validate: Any, **rest: Any) -> Any:
        validating_s = 0.0

        def timed_validate() -> Any:
            nonlocal validating_s
            began = time.perf_counter()
            scores = validate()
            validating_s += time.perf_counter() - began
            return scores

        began = time.perf_counter()
        outcome = loop_train(model, objective, lengths, validate=timed_validate, **rest)
        told["seconds"] = time.perf_counter() - began - validating_s
        told["epochs"], told["rows"] = len(outcome.curve), len(lengths)
        told["schedule"] = vars(rest["schedule"])
        return outcome

    loop.train = timed
    dataset, splits = store.load(Path(job["data"]))
    target = dataset.schema.targets[0].name
    moves = (
        Move("start", {"backbone": "minilm", "leaf": "hub"}),
        Move("fit", {}),
        Move("train", {"epochs": job["epochs"]}),
    )
    keys = ["start", "fit", "train"]
    cache = Path(job["folder"]) / "line"
    run_steps(
        {
            "plan": Plan("tuned", moves).as_dict(),
            "keys": keys,
            "first": 0,
            "data": job["data"],
            "cache": str(cache),
            "threads": torch.get_num_threads(),
            "seed": job["seed"],
            "inputs": [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs],
            "targets": {target: "classify"},
        },
        lambda item: None,
    )
    from sartor import bundle as bundles

    predictor = Predictor(bundles.load(cache / keys[-1]), threads=torch.get_num_threads(), runtime="torch")
    test = _examples(dataset, splits, "test")
    answers = predictor.predict(list(test.inputs))
    right = [answer["label"] == label for answer, label in zip(answers, test.targets[target], strict=True)]
    return {
        "rows_per_s": told["rows"] * told["epochs"] / told["seconds"],
        "accuracy": float(np.mean(right)),
        "max_tokens": predictor.processor.max_tokens,
        "threads": torch.get_num_threads(),
        **told,
    }


def run_trainer(flags: Flags, rows: Row, job: Row) -> Row:
    """Hugging Face's Trainer on the same token limit, with padding to the longest of a batch."""
    import torch
    import transformers
    from transformers import (
        AutoConfig,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from sartor import leaves

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source = leaves.load("backbone", "hub").find("minilm")
    tokenizer = AutoTokenizer.from_pretrained(source)
    transformers.set_seed(job["seed"])
    dropout = {} if flags.dropout else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = AutoConfig.from_pretrained(source, num_labels=rows["classes"], **dropout)
    model = AutoModelForSequenceClassification.from_pretrained(
        source, config=config, attn_implementation=flags.attention
    )

    def tokenised(part: Sequence[Any]) -> list[dict[str, Any]]:
        texts, labels = part
        encoded = tokenizer(list(texts), truncation=True, max_length=rows["max_tokens"])
        return [{name: encoded[name][i] for name in encoded} | {"labels": int(labels[i])} for i in range(len(texts))]

    took: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            took.append(-time.perf_counter())

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            took[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=flags.batch_rows,
                per_device_eval_batch_size=32,
                learning_rate=flags.learning_rate,
                num_train_epochs=job["epochs"],
                bf16=flags.bf16,
                train_sampling_strategy="group_by_length" if flags.by_length else "random",
                seed=job["seed"],
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=tokenised(rows["train"]),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Clock()],
        )
        trainer.train()
        told = trainer.predict(tokenised(rows["test"]))
    count = len(rows["train"][0])
    return {
        "rows_per_s": count * job["epochs"] / sum(took),
        "accuracy": float(np.mean(np.argmax(told.predictions, axis=1) == told.label_ids)),  # in an order of its own
        "seconds": sum(took),
        "epochs": job["epochs"],
        "rows": count,
        "max_tokens": rows["max_tokens"],
        "threads": torch.get_num_threads(),
        "flags": vars(flags),
    }


def _store(source: Path, folder: Path, rows: int | None) -> Path:
    """The data set with its own parts, read as a build reads it; rows: only so many of the training rows, spread over them."""
    from sartor.data import read, split, store

    dataset = read.read(
        {part: str(source / f"{file}.tsv") for part, file in (("train", "train"), ("valid", "dev"), ("test", "test"))}
    )
    splits = split.split(dataset, target=dataset.schema.targets[0].name, task="classify")
    if rows is not None:
        kept = np.linspace(0, len(splits.train) - 1, rows).astype(int)
        splits = replace(splits, train=splits.train[kept], valid=splits.valid[:rows], test=splits.test[:rows])
    store.save(dataset, splits, folder / "data")
    return folder / "data"


def _rows(job: Row) -> Row:
    """Texts and class numbers of the very examples that the line learns from and is tested on, and its token limit."""
    from sartor import leaves
    from sartor.data import store
    from sartor.follow import Context

    dataset, splits = store.load(Path(job["data"]))
    target, column = dataset.schema.targets[0].name, dataset.schema.inputs[0]
    task = leaves.load("task", "classify")
    ctx = Context(dataset, splits, [{"name": column.name, "kind": column.kind}], {target: "classify"}, job["seed"])
    spec = task.learn(ctx.examples("train").targets[target])
    start = leaves.load("step", "start").resolve({"backbone": "minilm", "leaf": "hub"}, ctx)
    found: Row = {"classes": len(spec["classes"]), "max_tokens": start["max_tokens"]}
    for part in ("train", "test"):
        examples = ctx.examples(part)
        found[part] = ([row[column.name] or "" for row in examples.inputs], task.encode(examples.targets[target], spec))
    return found


def _examples(dataset: Any, splits: Any, part: str) -> Any:
    from sartor import leaves

    return leaves.load("task", "classify").examples(dataset, getattr(splits, part), dataset.schema.targets[0].name)


def _child(job: Row, folder: Path) -> Row:
    """Runs a job in a process of its own."""
    work = Path(tempfile.mkdtemp(dir=folder))
    file = work / "job.json"
    file.write_text(json.dumps(job | {"folder": str(work)}), encoding="utf-8")
    print(f"{job['system']}, seed {job['seed']}", flush=True)
    command = [sys.executable, "-m", "bench.training", "--data", ".", "--job", str(file)]
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=record.ROOT, env=os.environ | quiet)
    shutil.rmtree(work)
    if done.returncode != 0:
        raise SystemExit(f"bench.training: {job['system']}, seed {job['seed']} failed; the same command resumes")
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def _in_words(flags: Row) -> str:
    known = Flags(**flags)
    told = [
        f"batch {known.batch_rows}",
        "bf16" if known.bf16 else "fp32",
        *(["by length"] if known.by_length else []),
        *([] if known.dropout else ["no dropout"]),
        f"{known.attention} attention",
        f"rate {known.learning_rate:g}",
    ]
    return ", ".join(told)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
