"""The shape of an encoder that was cut: which blocks it has, how many heads and inner units each of them, how many words its table and how narrow it is. Heavy half.

A shape is plain numbers in `bundle.json`; `apply` makes a body of a checkpoint's configuration have it, before weights are loaded into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sartor.backbone import hub
from sartor.errors import InputError

# How the layers of a block are called in the families of transformers whose attention reads the number of heads off its states: (queries, keys, values, what they
# become, the inner layer, what it becomes).
LAYERS: Mapping[str, tuple[str, ...]] = {
    "bert": (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    "distilbert": (
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
    ),
}
LAYERS = {family: LAYERS.get(family, LAYERS["bert"]) for family in hub.CUT}
CODES, ROUNDS = 256, 20  # codes of a part of a row: of one byte; rounds of k-means, after which little moves
STACKS = ("encoder.layer", "transformer.layer", "layers")  # where a body of transformers has its blocks


def stack_of(encoder: nn.Module) -> tuple[nn.Module, str]:
    """(the module that holds the list of blocks, under which name). Raises: LookupError."""
    for path in STACKS:
        parent, _, name = path.rpartition(".")
        try:
            home = encoder.get_submodule(parent)
        except AttributeError:
            continue
        if isinstance(getattr(home, name, None), nn.ModuleList):
            return home, name
    raise LookupError("no list of blocks")


def layers_of(family: str, what: str) -> tuple[str, ...]:
    """The names of a block's layers. Raises: InputError `plan.body` for a family whose blocks are not known."""
    if family not in LAYERS:
        raise InputError(
            "plan.body", method=what, why=f"blocks of the family {family!r} are not cut; {', '.join(LAYERS)} are"
        )
    return LAYERS[family]


def shape_of(encoder: nn.Module, family: str) -> dict[str, Any]:
    """{blocks, heads: of each block, inner: units of each} of an encoder as it is."""
    home, name = stack_of(encoder)
    blocks = list(getattr(home, name))
    query, *_, inner, _ = layers_of(family, "prune")
    size = head_size(encoder)
    return {
        "blocks": len(blocks),
        "heads": [block.get_submodule(query).out_features // size for block in blocks],
        "inner": [block.get_submodule(inner).out_features for block in blocks],
    }


def head_size(encoder: Any) -> int:
    """Of the states of one attention head."""
    config = encoder.config
    return int(config.hidden_size // config.num_attention_heads)


def apply(encoder: Any, shape: Mapping[str, Any], family: str) -> None:
    """Makes an encoder have a shape, in place; what its weights are then is not said.

    shape: any of `blocks`, `heads` and `inner` (one number for each block), `words` (rows of the table), `rank` (width of a table whose rows are widened by a second), `codes` (parts of
    which a row is put together).
    """
    home, name = stack_of(encoder)
    if "blocks" in shape:
        setattr(home, name, nn.ModuleList(list(getattr(home, name))[: int(shape["blocks"])]))
    blocks = list(getattr(home, name))
    size = head_size(encoder)
    for number, block in enumerate(blocks):
        if "heads" in shape:
            keep_heads(block, family, torch.arange(int(shape["heads"][number])), size)
        if "inner" in shape:
            keep_inner(block, family, torch.arange(int(shape["inner"][number])))
    encoder.config.num_hidden_layers = len(blocks)
    table = encoder.get_input_embeddings()
    words = int(shape.get("words", table.num_embeddings))
    if "codes" in shape:
        encoder.set_input_embeddings(Coded(words, int(shape["codes"]), table.embedding_dim))
    elif "rank" in shape:
        encoder.set_input_embeddings(Factorised(words, int(shape["rank"]), table.embedding_dim, table.padding_idx))
    elif words != table.num_embeddings:
        encoder.set_input_embeddings(nn.Embedding(words, table.embedding_dim, padding_idx=_within(table, words)))
    encoder.config.vocab_size = words


def configured(config: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's configuration that says what a shape is, as far as transformers has words for it: blocks and words, and units where all blocks have as many."""
    told = dict(config)
    inner = set(shape.get("inner", ()))
    new = {
        ("num_hidden_layers", "n_layers"): shape.get("blocks"),
        ("vocab_size",): shape.get("words"),
        ("intermediate_size", "hidden_dim"): inner.pop() if len(inner) == 1 else None,
    }
    for names, value in new.items():
        told |= {name: int(value) for name in names if name in told and value is not None}
    return told


class Factorised(nn.Module):
    """A table of narrow rows that one layer widens (Lan et al. 2020, section 3.1): [words, rank] · [rank, size]."""

    def __init__(self, words: int, rank: int, size: int, padding: int | None = None) -> None:
        super().__init__()
        self.narrow = nn.Embedding(
            words, rank, padding_idx=padding if padding is not None and padding < words else None
        )
        self.wide = nn.Linear(rank, size, bias=False)
        self.num_embeddings, self.embedding_dim = words, size

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[…] -> […, size]."""
        return self.wide(self.narrow(ids))  # type: ignore[no-any-return]


def factorise(table: torch.Tensor, rank: int, *, uses: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """(narrow [words, rank], wide [size, rank]) whose product is nearest to a table [words, size] in the sum of squares (Eckart and Young 1936).

    uses [words]: how often each word is read; its row counts so often (Hsu et al. 2022, section 4, with uses in place of Fisher's information).
    """
    weights = torch.ones(len(table), 1) if uses is None else uses.float().clamp(min=1e-3).sqrt()[:, None]
    left, values, right = torch.linalg.svd(table.float() * weights, full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root / weights, right[:rank].T * root


class Coded(nn.Module):
    """A table whose rows are put together of parts, each of which is one of `CODES` (Jégou et al. 2011, section II-B): a word is a byte for each part."""

    def __init__(self, words: int, parts: int, size: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(words, parts, dtype=torch.uint8))
        self.register_buffer("first", CODES * torch.arange(parts), persistent=False)
        self.books = nn.Embedding(CODES * parts, size // parts)
        self.num_embeddings, self.embedding_dim = words, size

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[…] -> […, size]."""
        return self.books(self.codes[ids].long() + self.first).flatten(-2)  # type: ignore[no-any-return, operator]


def coded(table: torch.Tensor, parts: int, *, uses: torch.Tensor, seed: int) -> Coded:
    """The table of codes that is near to a table [words, size]: of each part the means of k-means (Jégou et al. 2011, section II-C).

    parts: of a row, into which its size can be divided. uses [words]: how often each word is read; its row counts by the root of that, as words that are read later are
    others too.
    """
    from sklearn.cluster import KMeans

    made = Coded(len(table), parts, table.shape[1])
    width, weights = table.shape[1] // parts, uses.float().clamp(min=1.0).sqrt().numpy()
    books = torch.zeros(parts, CODES, width)
    for part, values in enumerate(table.float().split(width, dim=1)):
        means = KMeans(min(CODES, len(table)), n_init=1, max_iter=ROUNDS, random_state=seed)
        made.codes[:, part] = torch.from_numpy(means.fit_predict(values.contiguous().numpy(), sample_weight=weights))
        books[part, : len(means.cluster_centers_)] = torch.from_numpy(means.cluster_centers_)
    made.books.weight.data = books.flatten(0, 1)
    return made


def keep_blocks(encoder: Any, chosen: Sequence[int]) -> None:
    """Takes all blocks but these out of an encoder."""
    home, name = stack_of(encoder)
    blocks = getattr(home, name)
    setattr(home, name, nn.ModuleList([blocks[place] for place in chosen]))
    encoder.config.num_hidden_layers = len(chosen)


def keep_heads(block: nn.Module, family: str, heads: torch.Tensor, size: int) -> None:
    """Takes all attention heads but these out of a block. heads: their numbers. size: of one head."""
    query, key, value, out, *_ = layers_of(family, "prune")
    units = (heads[:, None] * size + torch.arange(size)).reshape(-1)
    for name in (query, key, value):
        _rows(block, name, units)
    _columns(block, out, units)
    for module in block.modules():  # what some families read besides
        for attribute in ("num_attention_heads", "n_heads"):
            if isinstance(getattr(module, attribute, None), int):
                setattr(module, attribute, len(heads))
        if isinstance(getattr(module, "all_head_size", None), int):
            module.all_head_size = len(units)


def keep_inner(block: nn.Module, family: str, units: torch.Tensor) -> None:
    """Takes all units of the feed-forward net but these out of a block."""
    *_, inner, out = layers_of(family, "prune")
    _rows(block, inner, units)
    _columns(block, out, units)


def _rows(block: nn.Module, name: str, kept: torch.Tensor) -> None:
    """A layer of a block with these of its outputs."""
    old = block.get_submodule(name)
    assert isinstance(old, nn.Linear)
    if len(kept) == old.out_features:
        return
    new = nn.Linear(old.in_features, len(kept), bias=old.bias is not None)
    new.weight.data = old.weight.data[kept].clone()
    if old.bias is not None:
        new.bias.data = old.bias.data[kept].clone()
    _set(block, name, new)


def _columns(block: nn.Module, name: str, kept: torch.Tensor) -> None:
    """A layer of a block with these of its inputs."""
    old = block.get_submodule(name)
    assert isinstance(old, nn.Linear)
    if len(kept) == old.in_features:
        return
    new = nn.Linear(len(kept), old.out_features, bias=old.bias is not None)
    new.weight.data = old.weight.data[:, kept].clone()
    if old.bias is not None:
        new.bias.data = old.bias.data.clone()
    _set(block, name, new)


def _set(block: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(block.get_submodule(parent), leaf, layer)


def _within(table: nn.Embedding, words: int) -> int | None:
    return table.padding_idx if table.padding_idx is not None and table.padding_idx < words else None
