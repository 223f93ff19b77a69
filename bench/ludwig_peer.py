"""Ludwig on the CSV files of a job. Runs under its own interpreter, as `bench.climb_process` sends jobs.

A job: `model`, a folder; `train`, `valid` and `test`, files with the columns text and label; `folder`, for what it makes; `seconds`, after
which training ends; `max_tokens`; `seed`. Answered besides: how long one row takes in this process, and by its own server.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import ludwig
import numpy as np
import pandas as pd
import torch
from ludwig.api import LudwigModel
from ludwig.callbacks import Callback

EPOCHS = 3
ROWS, WARM = 100, 10  # that are timed one by one, and before them
READY_S = 300.0
FORM = "application/x-www-form-urlencoded"


def main() -> None:
    """Answers jobs until there are no more."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=float), file=told, flush=True)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the test rows, seconds of training, and milliseconds of one row."""
    parts = {
        name: pd.read_csv(job[name], keep_default_na=False, dtype=str)
        for name in ("train", "valid", "test")
        if name in job
    }
    began = time.monotonic()
    # Checked four times an epoch, so that the time that is given ends it, and the best of these is what is kept.
    callbacks = [Deadline(began + job["seconds"])]
    model = LudwigModel(config(job), backend="local", callbacks=callbacks)
    model.train(
        training_set=parts["train"],
        validation_set=parts["valid"],
        output_directory=job["folder"],
        random_seed=job["seed"],
        skip_save_processed_input=True,
        skip_save_log=True,
        skip_save_progress=True,
    )
    seconds = time.monotonic() - began
    test = parts["test"]
    answers = [str(answer) for answer in model.predict(test[["text"]])[0]["label_predictions"]]
    right = [answer == label for answer, label in zip(answers, test["label"], strict=True)]
    made = next(Path(job["folder"]).rglob("model_hyperparameters.json")).parent
    texts = test["text"].tolist()[: WARM + ROWS]
    told = {
        "accuracy": float(np.mean(right)),
        "right": "".join("01"[one] for one in right),
        "seconds": seconds,
        "p95_ms": p95_ms([lambda text=text: model.predict(pd.DataFrame({"text": [text]})) for text in texts]),
        "bytes": sum(file.stat().st_size for file in made.rglob("*") if file.is_file()),
        "version": ludwig.__version__,
        "threads": torch.get_num_threads(),
    }
    try:
        told["served_p95_ms"] = served(made, texts)
    except Exception as error:  # whatever it is, it is what a user gets
        told["served_fails"] = (f"{type(error).__name__}: {error}".splitlines() or [""])[0][:300]
    return told


def config(job: dict[str, Any]) -> dict[str, Any]:
    """Fine-tuning of the checkpoint, with its own pooling, to the length of the data, at rates that suit it."""
    return {
        "input_features": [
            {
                "name": "text",
                "type": "text",
                "preprocessing": {"max_sequence_length": job["max_tokens"]},
                "encoder": {
                    "type": "auto_transformer",
                    "pretrained_model_name_or_path": job["model"],
                    "trainable": True,
                    "reduce_output": "mean",
                },
            }
        ],
        "output_features": [{"name": "label", "type": "category"}],
        "trainer": {
            "epochs": EPOCHS,
            "batch_size": 32,
            "learning_rate": 1e-4,
            "optimizer": {"type": "adamw"},
            "learning_rate_scheduler": {"decay": "linear", "warmup_fraction": 0.1},
            "checkpoints_per_epoch": 4,
            "validation_field": "label",
            "validation_metric": "accuracy",
            "early_stop": -1,
        },
    }


class Deadline(Callback):  # type: ignore[misc]
    """Ends training at the first look after the time is over."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def should_early_stop(self, trainer: Any, progress_tracker: Any, is_coordinator: Any, **_: Any) -> bool:
        return time.monotonic() > self.deadline


def p95_ms(calls: list[Any]) -> float:
    """Of one call after the other, after warm-up."""
    took = []
    for call in calls:
        began = time.perf_counter()
        call()
        took.append(1e3 * (time.perf_counter() - began))
    return float(np.quantile(took[WARM:], 0.95))


def served(made: Path, texts: list[str]) -> float:
    """The p95 of `ludwig serve` in milliseconds, one client over loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ludwig.serve", "-m", str(made), "-H", "127.0.0.1", "-p", str(port), "-l", "error"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        until = time.monotonic() + READY_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("`ludwig serve` did not start") from None
                time.sleep(0.5)

        def ask(text: str) -> None:
            connection.request("POST", "/predict", urllib.parse.urlencode({"text": text}), {"Content-Type": FORM})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"it answered {answer.status}: {body[:200]!r}")

        return p95_ms([lambda text=text: ask(text) for text in texts])
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
