"""paraphrase: says the training texts in other words, by a sequence-to-sequence model that the user names, and keeps these where validation is no worse for it.

With one model it paraphrases; with `back` it translates there and back (Sennrich et al. 2016; Xie et al. 2020). What is made stands beside the given
examples for the steps that follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves, pretrained
from sartor.data.examples import write_more
from sartor.errors import InputError

TAKES = ("weights",)
GIVES = "weights"
FAMILIES = (
    "t5",
    "mt5",
    "umt5",
    "longt5",
    "bart",
    "mbart",
    "marian",
    "m2m_100",
    "nllb-moe",
    "pegasus",
    "blenderbot",
    "prophetnet",
)
BATCH = 16  # texts
WIDER = 1.5  # times the tokens of a batch's longest text, that an answer may have


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """One copy of each text, drawn from the likeliest words. Raises: InputError `plan.body` for inputs that are no text, `backbone.*`."""
    if any(column["kind"] != "text" for column in ctx.inputs):
        raise InputError("plan.body", method="paraphrase", why="the inputs are not text alone")
    for name in ("model", "back"):
        if arguments.get(name):
            pretrained.folder_of(arguments[name], FAMILIES)
    return {"copies": 1, "back": "", "prefix": "", "top_p": 0.9, "temperature": 1.0, **arguments}


def run(
    bundle: Any, ctx: Any, *, model: str, back: str, copies: int, prefix: str, top_p: float, temperature: float
) -> dict[str, Any]:
    """The same weights, with more examples where they help. Returns what changes in `bundle.json`: nothing.

    model: a hub id or a folder of a sequence-to-sequence checkpoint. back: one that translates back. copies: of each text. prefix: what the model is
    told before each text, such as "paraphrase: ". top_p, temperature: of the words that are drawn (Holtzman et al. 2020).
    """
    train = ctx.examples("train")
    columns = [column["name"] for column in ctx.inputs]
    ctx.checkpoints.mkdir(parents=True, exist_ok=True)
    file = ctx.checkpoints / "made.jsonl"  # what is there when the step is done again is not made again
    made = _read(file)
    ways = [Speaker(ref, prefix if ref == model else "", top_p, temperature) for ref in (model, back) if ref]
    wanted = [(number, copy) for copy in range(copies) for number in range(len(train))][len(made) :]
    with file.open("a", encoding="utf-8") as lines:
        for begin in range(0, len(wanted), BATCH):
            part = wanted[begin : begin + BATCH]
            told: list[dict[str, str]] = [{} for _ in part]
            for column in columns:
                texts = [str(train.inputs[number].get(column) or "") for number, _ in part]
                for way in ways:
                    texts = way.say(texts, seed=ctx.seed * 1_000_003 + len(made))
                for one, text in zip(told, texts, strict=True):
                    one[column] = text
            for (number, _), inputs in zip(part, told, strict=True):
                made.append({"row": int(train.rows[number]), "inputs": inputs})
                lines.write(json.dumps(made[-1], ensure_ascii=False) + "\n")
            lines.flush()
            ctx.progress("paraphrase", done=len(made), total=len(made) + len(wanted) - begin - len(part), unit="texts")
            if ctx.stop.asked:
                ctx.stop.end()
    fresh = list(_fresh(made, train, columns))
    before, after = _scores(bundle, ctx, fresh) if fresh else (0.0, -1.0)
    kept = bool(fresh) and after >= before
    ctx.note(paraphrased={"made": len(made), "new": len(fresh), "without": before, "with": after, "kept": kept})
    if kept:
        write_more(ctx.folder, fresh)
    return {}


class Speaker:
    """A sequence-to-sequence model that says texts in its own way."""

    def __init__(self, ref: str, prefix: str, top_p: float, temperature: float) -> None:
        """Raises: InputError `backbone.*`."""
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        from sartor.device import device

        folder = pretrained.folder_of(ref, FAMILIES)
        safely = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, **safely).eval().to(device())
        self.prefix, self.top_p, self.temperature = prefix, top_p, temperature

    def say(self, texts: Sequence[str], *, seed: int) -> list[str]:
        """One text for each of these, the same for the same seed and neighbours."""
        import torch

        from sartor.device import device

        taken = self.tokenizer(
            [self.prefix + text for text in texts], padding=True, truncation=True, return_tensors="pt"
        )
        torch.manual_seed(seed % 2**63)
        with torch.inference_mode():
            said = self.model.generate(
                input_ids=taken["input_ids"].to(device()),
                attention_mask=taken["attention_mask"].to(device()),
                do_sample=True,
                num_beams=1,
                top_p=self.top_p,
                temperature=self.temperature,
                max_new_tokens=int(WIDER * taken["input_ids"].shape[1]) + 8,
            )
        return [text.strip() for text in self.tokenizer.batch_decode(said, skip_special_tokens=True)]


def _fresh(made: Sequence[dict[str, Any]], train: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is not empty, and neither a training row nor made before."""
    seen = {tuple(str(row.get(column) or "") for column in columns) for row in train.inputs}
    for one in made:
        key = tuple(one["inputs"][column] for column in columns)
        if key not in seen and any(key):
            seen.add(key)
            yield one


def _scores(bundle: Any, ctx: Any, fresh: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """On validation, of a linear layer on the body's embeddings: (without what was made, with it)."""
    from sartor import model as models
    from sartor.data.examples import with_more
    from sartor.step import fit

    meta = bundle.meta
    head = meta["heads"][0]
    task, spec = leaves.load("task", head["task"]), head["spec"]
    write_more(ctx.checkpoints, fresh)
    every = with_more(ctx.examples("train"), ctx.checkpoints)
    body = models.load(bundle.path).eval()
    processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])
    resolved = fit.resolve({}, ctx)
    features, centre, spread = fit.standardised(fit.embed(body, processor, every.inputs, ctx, **resolved))
    codes = task.encode(every.targets[head["target"]], spec)
    valid = fit.judging(ctx.examples("train"), ctx.examples("valid"), head)
    judged = (fit.embed(body, processor, valid.inputs, ctx, **resolved) - centre) / spread
    choose = fit.Chooser(task, spec, valid.inputs, valid.targets[head["target"]], seed=ctx.seed, progress=ctx.progress)
    scores = []
    for count in (len(every) - len(fresh), len(every)):
        weight, bias, _ = choose(features[:count], codes[:count], fit.STRENGTHS, lambda _inputs: judged)
        scores.append(choose.judge(np.asarray(judged @ weight.T) + bias)[0])
    return scores[0], scores[1]


def _read(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file in whole batches; what a kill left of the last one is cut off."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    lines = lines[: len(lines) // BATCH * BATCH]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines]
