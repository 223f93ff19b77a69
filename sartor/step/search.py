"""search: tunes all weights several times and keeps the best, with rates, sizes and regularisation drawn by optuna (Akiba et al. 2019).

The first try has the priors of `train`, so that on validation the search is never behind them; later ones are drawn by a tree-structured Parzen estimator (Bergstra et al.
2011) and given up where an epoch's score is below the median of those before at the same share of their epochs. What takes longer than forecast
ends with the best of the tries that there was time for.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sartor import leaves
from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides: those of the first try
TRIALS = 10
STEPS = 12  # parts of a training at which tries are compared
AFTER_S = 15.0  # that the best weights are written in, exported and quantised
SPREAD = 5.0  # times the prior's rate, up and down


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Ten tries; the first as `train` would do it."""
    given = {"trials": TRIALS, **arguments}
    return {"trials": given.pop("trials")} | train.resolve(given, ctx)


def run(bundle: Any, ctx: Any, *, trials: int, **training: Any) -> dict[str, Any]:
    """The bundle with the weights of the best of so many tries. Returns what changes in `bundle.json`.

    A try that was finished before a restart is not made again, and the next is drawn as it would have been.
    """
    optuna = leaves.need_package("optuna", feature="The step search", extra="train")
    from sartor import tuning

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ctx.checkpoints.mkdir(parents=True, exist_ok=True)
    book, best = ctx.checkpoints / "trials.jsonl", ctx.checkpoints / "best"
    told = _read(book)
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=STEPS // 4)
    )
    choices = space(optuna.distributions, training, ctx)
    for one in told:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[one["state"]],
                params=one["params"],
                distributions=choices,
                value=one["score"],
                intermediate_values={int(step): score for step, score in one["scores"].items()},
            )
        )
    clock = _Clock(ctx)
    for number in range(len(told), trials):
        if told and clock.over():
            break
        # Drawn anew for each: what is drawn then hangs on the tries before and on nothing else.
        study.sampler = optuna.samplers.TPESampler(seed=ctx.seed + number, n_startup_trials=4, multivariate=True)
        if number == 0:
            study.enqueue_trial({name: training[name] for name in choices})
        trial = study.ask(choices)
        settings = tuning.Settings(**training | dict(trial.params) | _patience(trial.params))
        scores: dict[int, float] = {}
        model, outcome = tuning.tune(
            bundle,
            replace(ctx, checkpoints=ctx.checkpoints / f"trial-{number}"),
            settings,
            watch=lambda record, trial=trial, scores=scores, settings=settings: (  # type: ignore[misc]
                _given_up(record, trial, scores, settings.epochs) or clock.over()
            ),
        )
        pruned = len(outcome.curve) < settings.epochs and trial.should_prune()
        if outcome.best_score > max((one["score"] for one in told), default=-float("inf")):
            shutil.rmtree(best, ignore_errors=True)
            best.mkdir()
            record = tuning.save(model, bundle, replace(ctx, folder=best))
            (best / "told.json").write_text(json.dumps(record), encoding="utf-8")
        state = "PRUNED" if pruned else "COMPLETE"
        study.tell(trial, None if pruned else outcome.best_score, state=optuna.trial.TrialState[state])
        told.append(
            {
                "params": trial.params,
                "score": outcome.best_score,
                "scores": scores,
                "state": state,
                "curve": outcome.curve,
            }
        )
        with book.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(told[-1]) + "\n")
        shutil.rmtree(ctx.checkpoints / f"trial-{number}", ignore_errors=True)
        ctx.progress("search", done=number + 1, total=trials, unit="tries")
        if ctx.stop.asked:
            ctx.stop.end()
    chosen = max(range(len(told)), key=lambda i: told[i]["score"])
    ctx.note(
        curve=told[chosen]["curve"],
        chosen=told[chosen]["params"],
        tries=[{name: one[name] for name in ("params", "score", "state")} for one in told],
    )
    changes: dict[str, Any] = json.loads((best / "told.json").read_text(encoding="utf-8"))
    for file in best.iterdir():
        if file.name != "told.json":
            shutil.copyfile(file, ctx.folder / file.name)
    return changes


def space(distributions: Any, training: Mapping[str, Any], ctx: Any) -> dict[str, Any]:
    """What is drawn from, around the priors."""
    rate, epochs = float(training["learning_rate"]), int(training["epochs"])
    choices = {
        "learning_rate": distributions.FloatDistribution(rate / SPREAD, rate * SPREAD, log=True),
        "head_learning_rate": distributions.FloatDistribution(
            training["head_learning_rate"] / SPREAD, training["head_learning_rate"] * SPREAD, log=True
        ),
        "batch_rows": distributions.CategoricalDistribution(sorted({16, 32, 64, int(training["batch_rows"])})),
        "epochs": distributions.IntDistribution(max(1, epochs // 2), 2 * epochs),
        "weight_decay": distributions.FloatDistribution(
            min(1e-3, training["weight_decay"]), max(0.1, training["weight_decay"]), log=training["weight_decay"] > 0
        ),
        "layer_decay": distributions.FloatDistribution(0.7, 1.0),
        "label_smoothing": distributions.FloatDistribution(0.0, max(0.2, training["label_smoothing"])),
        "mix": distributions.CategoricalDistribution(sorted({0.0, 0.2, float(training["mix"])})),
    }
    if any(hasattr(leaves.load("modality", column["kind"]), "varied") for column in ctx.inputs):
        choices["noise"] = distributions.CategoricalDistribution(sorted({0.0, 0.05, 0.1, float(training["noise"])}))
    if not training["label_smoothing"]:
        del choices["label_smoothing"]
    return choices


class _Clock:
    """Whether the time does not hold another epoch."""

    def __init__(self, ctx: Any) -> None:
        self.ctx, self.before, self.longest = ctx, ctx.left_s(), 0.0

    def over(self) -> bool:
        left = self.ctx.left_s()
        if not math.isinf(left):
            self.longest = max(self.longest, self.before - left)
        self.before = left
        return bool(left < AFTER_S + self.longest)


def _patience(params: Mapping[str, Any]) -> dict[str, int]:
    return {"patience": max(2, -(-int(params["epochs"]) // 2))}


def _given_up(record: Mapping[str, Any], trial: Any, scores: dict[int, float], epochs: int) -> bool:
    """Takes an epoch's score down for every part of the training that it ended; whether the try is to be given up."""
    for step in range(len(scores) + 1, STEPS * int(record["epoch"]) // epochs + 1):
        scores[step] = float(record["valid"])
        trial.report(scores[step], step)
    return bool(trial.should_prune())


def _read(book: Path) -> list[dict[str, Any]]:
    """The tries that were finished; what a kill left of a line is cut off."""
    if not book.is_file():
        return []
    lines = book.read_text(encoding="utf-8").split("\n")[:-1]
    book.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines]
