"""A tuned MiniLM in transformers' text-classification pipeline, one request at a time: `python -m bench.cut_pipeline` answers jobs of `bench.climb_process`.

The body is the tuned one; the pipeline's own class of models puts its layer for classes above it. The attention that answers faster here is the one that counts.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench import cut_make
from bench.record import Row


def main() -> None:
    """Answers jobs until there are no more."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=float), file=told, flush=True)


def run(job: Row) -> Row:
    """{p50_ms, p95_ms, mean_ms, mb: of its weights, attention, threads}. job: `bundle`, of the tuned model; `texts`."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification, pipeline

    from sartor import hardware
    from sartor import model as models

    torch.set_num_threads(hardware.cores())
    place = Path(job["bundle"])
    tuned = models.load(place)
    [head] = json.loads((place / "bundle.json").read_text(encoding="utf-8"))["heads"]
    found: dict[str, Row] = {}
    for attention in ("sdpa", "eager"):
        config = AutoConfig.from_pretrained(place, num_labels=len(head["spec"]["classes"]), local_files_only=True)
        made: Any = BertForSequenceClassification._from_config(config, attn_implementation=attention).eval()
        made.bert.load_state_dict(tuned.body.encoder.state_dict(), strict=False)
        tokenizer = AutoTokenizer.from_pretrained(place / "processor", local_files_only=True)
        classify = pipeline("text-classification", model=made, tokenizer=tokenizer, device="cpu")
        found[attention] = cut_make.timed(lambda text: classify(text, truncation=True), job["texts"])  # noqa: B023
    attention = min(found, key=lambda name: found[name]["p50_ms"])
    mb = sum(4 * parameter.numel() for parameter in made.parameters()) / 1e6
    return found[attention] | {"attention": attention, "mb": mb, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    main()
