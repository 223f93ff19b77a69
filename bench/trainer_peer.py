"""The Trainer of transformers with optuna, at its best, on the rows of a job. Runs under its own interpreter, as `bench.climb_process` sends jobs.

A job: `model`, a folder; `train`, `valid` and `test`, each {text, label}; `max_tokens`; `bf16`; `seed`; `seconds`, of everything from the
texts to the chosen weights. `hyperparameter_search` as its documentation has it, but the weights of the best evaluation are kept, so that
none of the time goes into training them again, and the run that the time ends is judged by what it came to.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

import numpy as np
import optuna
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


def main() -> None:
    """Answers jobs until there are no more."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    transformers.logging.set_verbosity_error()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=float), file=told, flush=True)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the test rows of the weights that did best on the validation rows, and what was tried."""
    began = time.monotonic()
    transformers.set_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    names = sorted(set(job["train"]["label"]))

    def tokenised(rows: dict[str, list[str]]) -> list[dict[str, Any]]:
        encoded = tokenizer(rows["text"], truncation=True, max_length=job["max_tokens"])
        known = [names.index(label) if label in names else -100 for label in rows["label"]]
        return [{name: encoded[name][i] for name in encoded} | {"labels": code} for i, code in enumerate(known)]

    def fresh(_trial: Any = None) -> Any:
        # Without dropout, eager: the fastest of what was tried on such a machine (bench.training), and as good.
        config = AutoConfig.from_pretrained(
            job["model"], num_labels=len(names), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        return AutoModelForSequenceClassification.from_pretrained(
            job["model"], config=config, attn_implementation="eager"
        )

    best = Best(began + job["seconds"])
    collator = DataCollatorWithPadding(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model_init=fresh,
            args=TrainingArguments(
                output_dir=folder,
                per_device_eval_batch_size=32,
                warmup_steps=0.1,  # a share; as a float, for what the search puts in its place is cast to its type
                bf16=job["bf16"],
                train_sampling_strategy="group_by_length",
                seed=job["seed"],
                use_cpu=True,
                eval_strategy="epoch",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=tokenised(job["train"]),
            eval_dataset=tokenised(job["valid"]),
            data_collator=collator,
            compute_metrics=lambda told: {"accuracy": float((told.predictions.argmax(-1) == told.label_ids).mean())},
            callbacks=[best],
        )
        trainer.hyperparameter_search(
            hp_space=space,
            compute_objective=lambda told: told["eval_accuracy"],
            n_trials=1_000,
            direction="maximize",
            backend="optuna",
            timeout=max(1.0, job["seconds"] - (time.monotonic() - began)),
            sampler=optuna.samplers.TPESampler(seed=job["seed"]),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        )
    seconds = time.monotonic() - began
    model = fresh()
    model.load_state_dict(best.weights)
    right = judged(model.eval(), tokenised(job["test"]), collator)
    return {
        "accuracy": float(np.mean(right)),
        "right": "".join("01"[one] for one in right),
        "valid": best.score,
        "chosen": best.settings,
        "evaluations": best.evaluations,
        "trials": best.trials,
        "seconds": seconds,
        "versions": {"transformers": transformers.__version__, "optuna": optuna.__version__},
        "threads": torch.get_num_threads(),
    }


def space(trial: Any) -> dict[str, Any]:
    """What is searched, around what is usual for an encoder of this size."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [16, 32, 64]),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 2, 6),
        "weight_decay": trial.suggest_float("weight_decay", 0.0, 0.1),
        "warmup_steps": trial.suggest_float("warmup_steps", 0.0, 0.2),
        "label_smoothing_factor": trial.suggest_float("label_smoothing_factor", 0.0, 0.2),
    }


class Best(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights of the best evaluation, and ends training when there is time for one more evaluation only."""

    def __init__(self, deadline: float) -> None:
        self.deadline, self.evaluate_s, self.score = deadline, 0.0, -1.0
        self.weights: dict[str, torch.Tensor] = {}
        self.settings: dict[str, Any] = {}
        self.evaluations = self.trials = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trials += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if time.monotonic() + self.evaluate_s > self.deadline:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, *, metrics: Any, model: Any, **_: Any) -> None:
        self.evaluate_s, self.evaluations = float(metrics["eval_runtime"]), self.evaluations + 1
        if metrics["eval_accuracy"] > self.score:
            self.score = float(metrics["eval_accuracy"])
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            self.settings = dict(state.trial_params or {}) | {"epoch": state.epoch}


def judged(model: Any, rows: list[dict[str, Any]], collator: Any) -> list[bool]:
    """Whether each row is answered rightly, in the order of the rows, which the Trainer's own `predict` does not keep when it groups by length."""
    right = []
    with torch.inference_mode():
        for begin in range(0, len(rows), 32):
            batch = collator(rows[begin : begin + 32])
            labels = batch.pop("labels")
            right += (model(**batch).logits.argmax(-1) == labels).tolist()
    return right


if __name__ == "__main__":
    main()
