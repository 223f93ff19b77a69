"""contrast: tunes a pre-trained body on a handful of rows per class, so that rows of a class lie together before a linear layer is fitted.

The loss is that of SetFit (Tunstall et al. 2022, section 3): the cosine of two rows, towards 1 within a class and 0 across. Pairs are those within a batch of a few
rows of each of some classes, so there is no list of them that grows with the square of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("weights",)
GIVES = "weights"
ONE_TARGET = True  # rows that are alike in one target may be unlike in another
OF_A_CLASS = 4  # rows in a batch
MOST_CLASSES = 8  # in a batch
SEEN = 20  # times that each row is looked at, where they are few


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """As many rows as twenty looks at each of a few rows make, and no more than 4,000."""
    from sartor.hardware import has_bf16

    target, name = next(iter(ctx.targets.items()))
    task = leaves.load("task", name)
    classes = task.learn(ctx.examples("train").targets[target]).get("classes", ())
    if not getattr(task, "EXCLUSIVE", True) or len(classes) < 2:
        from sartor.errors import InputError

        raise InputError(
            "plan.task", step="contrast", task=name, why="it compares rows of one class with those of others"
        )
    rows = len(ctx.examples("train"))
    return {
        "rows": looks(rows),
        "learning_rate": 3e-5,
        "embeddings": False,
        "bf16": has_bf16(),
        **arguments,
    }


def run(bundle: Any, ctx: Any, *, rows: int, learning_rate: float, embeddings: bool, bf16: bool) -> dict[str, Any]:
    """The bundle with a tuned body; its heads are as they were. Returns what changes in `bundle.json`.

    rows: that are looked at in all, a row as often as its class comes up. embeddings: tunes the table of a pre-trained body too.
    """
    import torch
    from torch.nn import functional

    from sartor import loop, tuning
    from sartor import model as models
    from sartor.device import device, tensor, tensors

    meta = bundle.meta
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    model = models.load(bundle.path).to(device())
    tuning.only(model, lambda name: True)
    for parameter in model.heads.parameters():
        parameter.requires_grad_(False)
    if not embeddings:
        tuning.hold_embeddings(model.body)
    processor = backbone.processor(bundle.path, meta["backbone"])
    train, head = ctx.examples("train"), meta["heads"][0]
    codes = leaves.load("task", head["task"]).encode(train.targets[head["target"]], head["spec"])
    ids = processor.encode(train.inputs)
    order = drawn(codes, rows, np.random.default_rng(ctx.seed))

    def objective(positions: np.ndarray) -> Any:
        batch = processor.padded([ids[i] for i in positions])
        features = functional.normalize(model.body(**tensors(batch)).float())
        of_row = tensor(codes[positions])
        alike = (of_row[:, None] == of_row[None]).float()
        others = 1 - torch.eye(len(positions), device=alike.device)
        gap = (features @ features.T - alike).square() * others
        # Pairs within classes and across weigh the same, however many there are of each.
        inside, across = alike * others, 1 - alike
        return (gap * inside).sum() / inside.sum().clamp(min=1) + (gap * across).sum() / across.sum().clamp(min=1)

    loop.train(
        model,
        objective,
        processor.costs(ids),
        schedule=loop.Schedule(
            epochs=1,
            batch_rows=OF_A_CLASS * MOST_CLASSES,
            batch_units=processor.batch_units,
            learning_rate=learning_rate,
            head_learning_rate=0.0,
            weight_decay=0.01,
            warmup_share=0.1,
            clip_norm=1.0,
            patience=1,
            bf16=bf16,
        ),
        order=[order],
        pieces=1,  # a batch in pieces would lose the pairs between them
        stop=ctx.stop,
        validate=None,
        checkpoints=ctx.checkpoints,
        seed=ctx.seed,
        events=ctx.events,
        stage=f"contrast {meta['backbone']['ref']}",
    )
    ctx.note(contrasted=sum(map(len, order)))
    # What was compared is the direction of features, so that alone is what the layer above is to see.
    return {"backbone": {**tuning.save(model.cpu(), bundle, ctx)["backbone"], "unit": True}}


def looks(rows: int) -> int:
    """How many rows are looked at of so many, where nobody says."""
    return int(min(max(256, SEEN * rows), 4_000))


def drawn(codes: np.ndarray, rows: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of about `rows` positions in all: a few classes each, in turn, and a few rows of each of them, in turn too.

    codes [n]: classes of the rows; those of none are left out.
    """
    turns = {code: _Turns(np.flatnonzero(codes == code), rng) for code in np.unique(codes[codes >= 0])}
    classes = _Turns(np.array(list(turns)), rng)
    made: list[np.ndarray] = []
    while sum(map(len, made)) < rows:
        chosen = classes.take(min(MOST_CLASSES, len(turns)))
        each = max(2, OF_A_CLASS * MOST_CLASSES // (2 * len(chosen))) if len(chosen) < MOST_CLASSES // 2 else OF_A_CLASS
        made.append(np.concatenate([turns[code].take(min(each, len(turns[code].all))) for code in chosen]))
    return made


class _Turns:
    """Gives things in random order, each once before any comes again."""

    def __init__(self, things: np.ndarray, rng: np.random.Generator) -> None:
        self.all, self.rng, self.left = things, rng, np.empty(0, dtype=things.dtype)

    def take(self, count: int) -> np.ndarray:
        """So many different ones."""
        if len(self.left) < count:
            again = self.rng.permutation(np.setdiff1d(self.all, self.left))
            self.left = np.concatenate([self.left, again])
            taken, rest = self.left[:count], self.left[count:]
        else:
            taken, rest = self.left[:count], self.left[count:]
        self.left = rest
        return taken
