"""train: tunes all weights by gradient, from wherever the bundle stands."""

from __future__ import annotations

from typing import Any

from sartor import leaves

TAKES = ("weights",)
GIVES = "weights"
UNEVEN = 10.0  # rows of the largest class over those of the smallest, from which on classes are weighed


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Fills in every size that was left out; bf16 only where the processor has the instructions for it."""
    from sartor.hardware import has_bf16

    exclusive = all(_exclusive(task) for task in ctx.targets.values())
    if "label_smoothing" not in arguments and exclusive:
        ctx.note(
            why_label_smoothing="0.1: validation accuracy was .003 to .008 higher with it on three data sets (docs/log.md)"
        )
    uneven = _unevenness(ctx)
    if "balance" not in arguments and uneven >= UNEVEN:
        ctx.note(
            why_balance=f"the largest class has {uneven:.0f} times the rows of the smallest: weights raised macro F1 "
            "by .003 to .021 on such data, and cost no accuracy (docs/log.md)"
        )
    usual = leaves.load("backbone", ctx.backbone["leaf"]).TRAINING
    given = {**usual, **({} if exclusive else {"label_smoothing": 0.0}), **arguments}
    epochs = int(given.get("epochs", 3))
    return {
        "epochs": epochs,
        "batch_rows": 32,
        "batch_units": 4096,
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup_share": 0.1,
        "clip_norm": 1.0,
        # The rate falls until the last step, and few rows make many epochs and a coarse score: half of them may go by without a better one.
        "patience": max(2, -(-epochs // 2)),
        "label_smoothing": 0.1,
        "balance": uneven >= UNEVEN,
        # A table that was put in codes or made narrow heals.
        "embeddings": any(name in ctx.backbone.get("shape", {}) for name in ("codes", "rank")),
        "augment": True,
        "bf16": has_bf16(),
        "layer_decay": 1.0,
        "average": False,
        "keep_best": True,
        "noise": 0.0,
        "mix": 0.0,
        **given,
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
    weight_decay: float,
    warmup_share: float,
    clip_norm: float,
    patience: int,
    label_smoothing: float,
    balance: bool,
    embeddings: bool,
    augment: bool,
    bf16: bool,
    layer_decay: float,
    average: bool,
    keep_best: bool,
    noise: float,
    mix: float,
) -> dict[str, Any]:
    """The bundle with tuned weights. Returns what changes in `bundle.json`.

    balance: weighs classes by the inverse root of their frequency, where the data is imbalanced; numbers have none. embeddings: tunes the
    tables of a pre-trained body too; they are half of MiniLM's weights, and held fast 32 rows took a fifth less time, so only what `trim` made smaller is tuned unasked. augment: changes inputs at
    random in ways that leave the answer as it is, where the body knows such. layer_decay: of the rate from each block to the one below. average: the
    mean of the weights that the later half of the epochs ended with is a choice too. keep_best: keeps the epoch that validation likes best, and ends where `patience` of them
    went by without a better one; else the last one, after all of them. noise: share of words with slips, drawn anew for every batch. mix: of the
    Beta distribution by which the states of two rows and their losses are mixed.
    """
    from sartor import tuning

    settings = tuning.Settings(
        epochs=epochs,
        batch_rows=batch_rows,
        batch_units=batch_units,
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        weight_decay=weight_decay,
        warmup_share=warmup_share,
        clip_norm=clip_norm,
        patience=patience,
        label_smoothing=label_smoothing,
        balance=balance,
        embeddings=embeddings,
        augment=augment,
        bf16=bf16,
        layer_decay=layer_decay,
        average=average,
        keep_best=keep_best,
        noise=noise,
        mix=mix,
    )
    model, _ = tuning.tune(bundle, ctx, settings)
    return tuning.save(model, bundle, ctx)


def _unevenness(ctx: Any) -> float:
    """The largest class's rows over the smallest's, of the target where they are furthest apart; 1 without classes of which one holds."""
    found = [1.0]
    for target, task in ctx.targets.items():
        if not _exclusive(task):
            continue
        counts = leaves.load("task", task).learn(ctx.examples("train").targets[target]).get("counts", [])
        if len(counts) > 1:
            found.append(max(counts) / max(1, min(counts)))
    return max(found)


def _exclusive(task: str) -> bool:
    return bool(getattr(leaves.load("task", task), "EXCLUSIVE", True))
