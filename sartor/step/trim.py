"""trim: takes words that are hardly used out of a text encoder's table, and can put the table in codes or make it narrower.

The table is half of a small encoder. Single characters always stay, so every text can still be read; a word that was taken out is read in smaller pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.errors import InputError

TAKES = ("weights",)
GIVES = "weights"
FEWEST = 2  # rows that use a word, for it to stay
# Words that stay whether these data use them or not: the first of a tokenizer's list, which is in order of how common they are. What is read later has words that the training
# rows lack: sst2, .8852 without these, .8880 with so many, .8929 with 16,000, .8951 with all 30,522 (docs/log.md, 2026-11-27).
COMMON = 10_000
BATCH = 2_000  # texts


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Every word that is common or that two rows use, labelled or not; the table as it was. Raises: InputError `plan.argument`, `plan.body`."""
    if not ctx.backbone.get("family"):
        raise InputError("plan.body", method="trim", why="it is no encoder of text of transformers")
    given = {"words": 0, "common": COMMON, "rank": 0, "codes": 0, "rows": FEWEST, **arguments}
    for name in ("words", "common", "rank", "codes", "rows"):
        if given[name] < 0:
            raise InputError("plan.argument", step="trim", name=name, expected="0 or more", found=given[name])
    if given["codes"] and given["rank"]:
        raise InputError(
            "plan.argument", step="trim", name="codes", expected="no `rank` beside it", found=given["codes"]
        )
    return given


def run(bundle: Any, ctx: Any, *, words: int, common: int, rank: int, codes: int, rows: int) -> dict[str, Any]:
    """The bundle with a smaller table. Returns what changes in `bundle.json`.

    words: at most so many, the most used ones; 0 for no end. common: the first of the tokenizer's list, that stay beside those that enough rows use. codes: bytes that a word
    becomes, by product quantisation. rank: width of a narrow table whose rows one layer widens, by singular values. Of both 0 leaves the table's rows as they were. rows: that
    must use a word.
    """
    import torch

    from sartor import model as models
    from sartor import shaping

    meta = bundle.meta
    processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])
    model = models.load(bundle.path)
    encoder = model.body.encoder
    table = encoder.get_input_embeddings()
    shape: dict[str, Any] = {}
    if not isinstance(table, torch.nn.Embedding):
        raise InputError("plan.body", method="trim", why="its table was made smaller already")
    if codes and table.embedding_dim % codes:
        expected = f"a number that divides the width of the table, {table.embedding_dim}"
        raise InputError("plan.argument", step="trim", name="codes", expected=expected, found=codes)
    folder = bundle.path / "processor"
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    used = _used(ctx, processor)
    kept = words_kept(told, used, fewest=rows, most=words, common=common, fixed=processor.special_ids)
    weight = table.weight.data[torch.from_numpy(kept)]
    (ctx.folder / "processor").mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (ctx.folder / "processor" / file.name).write_bytes(file.read_bytes())
    _write(ctx.folder, told, kept)
    shape["words"] = len(kept)
    ctx.note(words=[int(table.num_embeddings), len(kept)])
    uses = torch.tensor([used[int(word)] + 1.0 for word in kept])
    made: torch.nn.Module
    if codes:
        shape["codes"] = codes
        made = shaping.coded(weight, codes, uses=uses, seed=ctx.seed)
    elif rank and rank < weight.shape[1]:
        shape["rank"] = rank
        narrow, wide = shaping.factorise(weight, rank, uses=uses)
        made = shaping.Factorised(len(kept), rank, weight.shape[1], None)
        made.narrow.weight.data, made.wide.weight.data = narrow.contiguous(), wide.contiguous()
    else:
        made = torch.nn.Embedding(len(kept), weight.shape[1], _weight=weight.clone())
    if codes or "rank" in shape:
        with torch.inference_mode():
            lost = made(torch.arange(len(kept))) - weight
        ctx.note(lost=float(lost.square().sum() / weight.square().sum()))
    encoder.set_input_embeddings(made)
    _configured(ctx.folder, bundle.path, kept, shape)
    backbone = {**meta["backbone"], "shape": {**meta["backbone"].get("shape", {}), **shape}}
    return {"backbone": models.save(model, ctx.folder, backbone, whole=True)}


def words_kept(
    told: Mapping[str, Any], used: Mapping[int, int], *, fewest: int, most: int, fixed: Sequence[int], common: int = 0
) -> np.ndarray:
    """The numbers of the words that stay, ascending: special ones, single characters, what enough rows use, and the first of the list.

    told: the tokenizer as `tokenizers` writes it. used: rows by number. most: so many in all, the most used ones; 0 for no end. common: so many of the list.
    Raises: InputError `plan.body` for a kind of tokenizer that is not known.
    """
    model = told["model"]
    names = _names(model)
    always = {*fixed, *(int(one["id"]) for one in told.get("added_tokens", []))}
    for name, number in names.items():
        plain = name.removeprefix(model.get("continuing_subword_prefix") or "##")
        if len(plain) <= 1 or name == model.get("unk_token") or (name.startswith("<0x") and name.endswith(">")):
            always.add(number)
    if model.get("unk_id") is not None:
        always.add(int(model["unk_id"]))
    wanted = [number for number, rows in sorted(used.items(), key=lambda one: (-one[1], one[0])) if rows >= fewest]
    wanted += sorted(number for number in names.values() if number < common)
    kept = set(always)
    parts = _parts(model)
    for number in wanted:
        needed = _closure(number, parts, kept)
        if most and len(kept) + len(needed) > max(most, len(always)):
            break
        kept |= needed
    return np.array(sorted(kept), dtype=np.int64)


def _used(ctx: Any, processor: Any) -> Counter[int]:
    """Rows, with or without a label, that use each word."""
    from sartor.data.dataset import Rows

    columns = [column["name"] for column in ctx.inputs]
    found: Counter[int] = Counter()
    for inputs in (ctx.examples("train").inputs, Rows(ctx.dataset.table, columns, ctx.splits.unlabelled)):
        for begin in range(0, len(inputs), BATCH):
            for ids in processor.encode([inputs[i] for i in range(begin, min(begin + BATCH, len(inputs)))]):
                found.update(set(ids))
    return found


def _names(model: Mapping[str, Any]) -> dict[str, int]:
    """{word: number}. Raises: InputError `plan.body`."""
    if model.get("type") in ("WordPiece", "BPE"):
        return {str(name): int(number) for name, number in model["vocab"].items()}
    if model.get("type") == "Unigram":
        return {str(name): number for number, (name, _) in enumerate(model["vocab"])}
    raise InputError("plan.body", method="trim", why=f"its tokenizer is of the kind {model.get('type')}")


def _parts(model: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """{word: the two that it is merged from}, of byte pairs."""
    if model.get("type") != "BPE":
        return {}
    names = _names(model)
    found: dict[int, tuple[int, int]] = {}
    for merge in model["merges"]:
        one, other = _sides(merge)
        if one + other in names and one in names and other in names:
            found.setdefault(names[one + other], (names[one], names[other]))
    return found


def _sides(merge: Any) -> tuple[str, str]:
    one, other = merge.split(" ", 1) if isinstance(merge, str) else merge
    return one, other


def _closure(number: int, parts: Mapping[int, tuple[int, int]], kept: set[int]) -> set[int]:
    """A word and all that it is merged from, as far as they are not kept yet."""
    found, left = set(), [number]
    while left:
        one = left.pop()
        if one not in kept and one not in found:
            found.add(one)
            left += parts.get(one, ())
    return found


def _write(folder: Path, told: dict[str, Any], kept: np.ndarray) -> None:
    """The tokenizer and its settings, with the words' new numbers."""
    new = {int(old): number for number, old in enumerate(kept)}
    model = told["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[int(model["unk_id"])]
    else:
        model["vocab"] = {name: new[number] for name, number in _names(model).items() if number in new}
    if model["type"] == "BPE":
        names = model["vocab"]
        model["merges"] = [
            merge for merge in model["merges"] if all(one in names for one in (*_sides(merge), "".join(_sides(merge))))
        ]
    for one in told.get("added_tokens", []):
        one["id"] = new[int(one["id"])]
    _renumber(told.get("post_processor"), new)
    target = folder / "processor"
    (target / "tokenizer.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    settings = json.loads((target / "sartor.json").read_text(encoding="utf-8"))
    for name in ("pad_id", "sep_id", "mask_id"):
        if settings.get(name) is not None:
            settings[name] = new[int(settings[name])]
    settings["special_ids"] = sorted(new[int(one)] for one in settings.get("special_ids", []))
    (target / "sartor.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    more = target / "tokenizer_config.json"
    if more.is_file():
        config = json.loads(more.read_text(encoding="utf-8"))
        if isinstance(config.get("added_tokens_decoder"), dict):
            config["added_tokens_decoder"] = {
                str(new[int(old)]): one for old, one in config["added_tokens_decoder"].items() if int(old) in new
            }
            more.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")


def _configured(folder: Path, source: Path, kept: np.ndarray, shape: Mapping[str, Any]) -> None:
    """The checkpoint's configuration, with the words' new numbers."""
    from sartor import shaping

    new = {int(old): number for number, old in enumerate(kept)}
    config = shaping.configured(json.loads((source / "config.json").read_text(encoding="utf-8")), shape)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if isinstance(config.get(name), int) and config[name] in new:
            config[name] = new[config[name]]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _renumber(step: Any, new: Mapping[int, int]) -> None:
    """The numbers in what puts special words around a text, in place: lists of `ids`, and pairs of a word and its number."""
    if isinstance(step, dict):
        for name, value in step.items():
            if name == "ids" and isinstance(value, list):
                step[name] = [new[int(one)] for one in value]
            elif name in ("sep", "cls") and isinstance(value, list) and len(value) == 2 and isinstance(value[1], int):
                step[name] = [value[0], new[value[1]]]
            else:
                _renumber(value, new)
    elif isinstance(step, list):
        for one in step:
            _renumber(one, new)
