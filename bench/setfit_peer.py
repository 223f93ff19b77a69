"""SetFit on the rows of a job. Runs under its own interpreter, `PYTHON bench/setfit_peer.py`, and answers jobs as `bench.climb_process` sends them.

A job: `model`, a folder; `train` and `test`, each {text, label}; `seed`; `settings`, of SetFit's TrainingArguments. The clock runs from the
checkpoint on disk to a model that answers.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

import setfit
import torch
from datasets import Dataset, disable_progress_bars
from setfit import SetFitModel, Trainer, TrainingArguments


def main() -> None:
    """Answers jobs until there are no more."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    disable_progress_bars()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=told, flush=True)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the test rows, and what the training took."""
    torch.manual_seed(job["seed"])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        names = sorted(set(job["train"]["label"]))
        codes = [names.index(label) for label in job["train"]["label"]]
        model = SetFitModel.from_pretrained(job["model"], labels=names)
        arguments = TrainingArguments(
            output_dir=folder,
            seed=job["seed"],
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            show_progress_bar=False,
            **job["settings"],
        )
        rows = Dataset.from_dict({"text": job["train"]["text"], "label": codes})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
        seconds = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        answers = model.predict(job["test"]["text"], show_progress_bar=False)
        steps = trainer.st_trainer.state.global_step
        precision = trainer.st_trainer.accelerator.mixed_precision
    right = [str(answer) == label for answer, label in zip(answers, job["test"]["label"], strict=True)]
    return {
        "accuracy": sum(right) / len(right),
        "right": "".join("01"[one] for one in right),
        "seconds": seconds,
        "batches": steps,
        "precision": precision,
        "peak_mb": peak_mb,
        "version": setfit.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
