"""AutoGluon's MultiModalPredictor on the CSV files of a job. Runs under its own interpreter, as `bench.climb_process` sends jobs.

A job: `model`, a folder; `train` and `test`, and `valid` where it is given, files with the columns text and label; `folder`, for what it
makes; `seconds`, of `fit`; `seed`. Answered besides: how long one row takes by the predictor as it is, and by the ONNX that it can make of itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import autogluon.multimodal
import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor

EPOCHS = 3  # what the time is enough for here: its own 20 would leave the rate high when the time is over
ROWS, WARM = 100, 10  # that are timed one by one, and before them


def main() -> None:
    """Answers jobs until there are no more."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=float), file=told, flush=True)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the test rows, seconds of `fit`, and milliseconds of one row."""
    parts = {
        name: pd.read_csv(job[name], keep_default_na=False, dtype=str)
        for name in ("train", "valid", "test")
        if name in job
    }
    predictor = MultiModalPredictor(label="label", path=job["folder"], eval_metric="accuracy", warn_if_exist=False)
    began = time.monotonic()
    predictor.fit(
        parts["train"],
        tuning_data=parts.get("valid"),
        time_limit=job["seconds"],
        seed=job["seed"],
        column_types={"text": "text"},
        hyperparameters={
            "model.names": ["hf_text"],
            "model.hf_text.checkpoint_name": job["model"],
            "model.hf_text.pooling_mode": "mean",  # as the checkpoint is made for
            "env.num_gpus": 0,
            "env.per_gpu_batch_size": 32,
            "env.batch_size": 32,
            "optim.max_epochs": EPOCHS,
        },
    )
    seconds = time.monotonic() - began
    test = parts["test"]
    answers = [str(answer) for answer in predictor.predict(test[["text"]])]
    right = [answer == label for answer, label in zip(answers, test["label"], strict=True)]
    told = {
        "accuracy": float(np.mean(right)),
        "right": "".join("01"[one] for one in right),
        "seconds": seconds,
        "p95_ms": p95_ms(predictor, test),
        "bytes": sum(file.stat().st_size for file in Path(job["folder"]).rglob("*") if file.is_file()),
        "version": autogluon.multimodal.__version__,
        "threads": torch.get_num_threads(),
    }
    try:
        predictor.optimize_for_inference(providers=["CPUExecutionProvider"])
        told["optimised_p95_ms"] = p95_ms(predictor, test)
    except Exception as error:  # whatever it is, it is what a user gets
        told["optimised_fails"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return told


def p95_ms(predictor: Any, test: Any) -> float:
    """Of one row at a time, in this process, after warm-up."""
    took = []
    for place in range(WARM + ROWS):
        row = test[["text"]].iloc[[place % len(test)]]
        began = time.perf_counter()
        predictor.predict(row, realtime=True)  # without its data loaders, which cost more than a row
        took.append(1e3 * (time.perf_counter() - began))
    return float(np.quantile(took[WARM:], 0.95))


if __name__ == "__main__":
    main()
