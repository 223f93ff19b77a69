"""pretrain: goes on with masked-language training on the user's own text, the rows without a label too, before anything is tuned (Gururangan et al. 2020).

A sentence encoder has lost the head that guesses words, so a new one is learned on the way: a transform, and the embedding table as its output layer (Devlin et al. 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves
from sartor.errors import InputError

TAKES = ("weights",)
GIVES = "weights"
MASKED = (
    0.15  # of the tokens; of these 80 % are hidden, 10 % others, 10 % as they are (Devlin et al. 2019, section 3.1)
)
HELD_BACK = 0.05  # of the rows, by whose loss the best epoch is known
MOST_HELD_BACK = 500


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """As many epochs as make about 60,000 rows, three at most. Raises: InputError `plan.body` where the body reads no text."""
    from sartor.hardware import has_bf16

    if any(column["kind"] != "text" for column in ctx.inputs):
        raise InputError("plan.body", method="pretrain", why="it guesses words, and the inputs are not text alone")
    rows = len(ctx.examples("train")) + len(ctx.splits.unlabelled)
    return {
        "epochs": int(np.clip(round(60_000 / max(1, rows)), 1, 3)),
        "batch_rows": 32,
        "batch_units": 4096,
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "embeddings": False,
        "bf16": has_bf16(),
        **arguments,
    }


def run(
    bundle: Any,
    ctx: Any,
    *,
    epochs: int,
    batch_rows: int,
    batch_units: int,
    learning_rate: float,
    head_learning_rate: float,
    embeddings: bool,
    bf16: bool,
) -> dict[str, Any]:
    """The bundle with a body that knows more of such text; its heads are as they were. Returns what changes in `bundle.json`.

    embeddings: trains the table of words too, which is the output layer as well; a body that knows nothing needs it.
    Raises: InputError `plan.body` for a body that has no table of words or no word that stands for a hidden one.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from sartor import loop, tuning
    from sartor import model as models
    from sartor.device import autocast, device, tensor, tensors

    meta = bundle.meta
    model = models.load(bundle.path)
    processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])
    hidden = getattr(processor, "mask_id", None)
    if not hasattr(model.body, "states") or hidden is None:
        raise InputError("plan.body", method="pretrain", why="the body was not trained to guess hidden words")
    mask: int = hidden
    inputs = _inputs(ctx)
    ids = [row for row in processor.encode(inputs) if len(row) > 2]
    rng = np.random.default_rng(ctx.seed)
    order = rng.permutation(len(ids))
    held = order[: min(MOST_HELD_BACK, max(1, round(HELD_BACK * len(ids))))]
    kept = np.setdiff1d(order, held)
    fixed = np.array(sorted(processor.special_ids), dtype=np.int64)
    table = model.body.encoder.get_input_embeddings()
    words = int(table.weight.shape[0])

    class Guessing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = int(table.weight.shape[1])
            self.model = model
            self.head = nn.Sequential(nn.Linear(model.body.width, width), nn.GELU(), nn.LayerNorm(width))
            self.bias = nn.Parameter(torch.zeros(words))

        def losses(self, rows: list[Any], drawn: np.random.Generator) -> Any:
            batch, places, truth = masked(processor.padded(rows), fixed, mask, words, drawn)
            states = model.body.states(**tensors(batch))
            chosen = states[tensor(places[0]), tensor(places[1])]
            guessed = functional.linear(self.head(chosen), table.weight, self.bias)
            return functional.cross_entropy(guessed.float(), tensor(truth))

    for parameter in model.heads.parameters():
        parameter.requires_grad_(False)
    if not embeddings:
        tuning.hold_embeddings(model.body)
    torch.manual_seed(ctx.seed)
    guessing = Guessing().to(device())

    def objective(positions: np.ndarray) -> Any:
        drawn = np.random.default_rng(int(torch.randint(1 << 62, (1,))))
        return guessing.losses([ids[kept[i]] for i in positions], drawn)

    def validate() -> dict[str, float]:
        drawn, losses = np.random.default_rng(0), []
        for begin in range(0, len(held), batch_rows):
            with autocast(bf16):
                losses.append(float(guessing.losses([ids[i] for i in held[begin : begin + batch_rows]], drawn)))
        return {"valid": -float(np.mean(losses))}

    guessing.eval()
    with torch.inference_mode():
        before = -validate()["valid"]
    outcome = loop.train(
        guessing,
        objective,
        processor.costs([ids[i] for i in kept]),
        schedule=loop.Schedule(
            epochs=epochs,
            batch_rows=batch_rows,
            batch_units=batch_units,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            weight_decay=0.01,
            warmup_share=0.1,
            clip_norm=1.0,
            patience=epochs,
            bf16=bf16,
        ),
        rates=lambda name: learning_rate if name.startswith("model.") else head_learning_rate,
        pieces=ctx.pieces,
        stop=ctx.stop,
        validate=validate,
        checkpoints=ctx.checkpoints,
        seed=ctx.seed,
        events=ctx.events,
        stage=f"pretrain {meta['backbone']['ref']}",
    )
    ctx.note(read=len(ids), guessing={"before": before, "after": -outcome.best_score, "epochs": outcome.curve})
    return tuning.save(model.cpu(), bundle, ctx)


def masked(
    batch: dict[str, np.ndarray], fixed: np.ndarray, hidden: int, words: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """A batch with hidden tokens: (batch, (rows, places) of those to guess, what stood there).

    fixed: tokens that are never hidden, such as separators. At least one token of the batch is.
    """
    ids = batch["input_ids"]
    able = (batch["attention_mask"] > 0) & ~np.isin(ids, fixed)
    chosen = able & (rng.random(ids.shape) < MASKED)
    if not chosen.any():
        rows, places = np.nonzero(able if able.any() else batch["attention_mask"] > 0)
        one = int(rng.integers(len(rows)))
        chosen[rows[one], places[one]] = True
    truth = ids[chosen]
    changed, draw = ids.copy(), rng.random(ids.shape)
    changed[chosen & (draw < 0.8)] = hidden
    others = chosen & (draw >= 0.8) & (draw < 0.9)
    changed[others] = rng.integers(words, size=int(others.sum()))
    found, where = np.nonzero(chosen)
    return batch | {"input_ids": changed}, (found, where), truth


def _inputs(ctx: Any) -> list[dict[str, Any]]:
    """Of the training rows and those without a label."""
    from sartor.data.dataset import Rows

    columns = [column["name"] for column in ctx.inputs]
    return [*ctx.examples("train").inputs, *Rows(ctx.dataset.table, columns, ctx.splits.unlabelled)]
