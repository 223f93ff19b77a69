"""Adapters: few new weights beside a body that stays as it is. What each method is, how it is attached, and which become part of the weights again.

Low-rank updates and scalings come from `peft`, which changes layers in place; bottlenecks and prompts are hung on the blocks of a body here, as `peft`
has the latter for generating models alone. Heavy half.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sartor.errors import InputError

LOW_RANK = ("lora", "rslora", "dora", "ia3")
OF_PEFT = ("lora_", "ia3_")  # how the names of its tensors begin, below the layer that they change
ATTRIBUTE = "adapters"  # of a body: the module that holds what is ours


class Bottleneck(nn.Module):
    """h + up(gelu(down(h))), nothing at first (Houlsby et al. 2019, section 2.1; one after each block as in Pfeiffer et al. 2021)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)
        nn.init.normal_(self.down.weight, std=1e-3)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[…, size] -> the same."""
        return states + self.up(functional.gelu(self.down(states)))


class Prompts(nn.Module):
    """Learned states that stand before those of the input: at the first block (Lester et al. 2021), or anew at every one (Liu et al. 2022, section 3)."""

    def __init__(self, blocks: int, tokens: int, size: int) -> None:
        super().__init__()
        self.states = nn.Parameter(torch.randn(blocks, tokens, size) * 0.02)

    def before(self, states: torch.Tensor) -> torch.Tensor:
        """[B, T, size] with the first block's states in front: [B, tokens + T, size]."""
        return torch.cat([self._of(0, states), states], dim=1)

    def instead(self, number: int, states: torch.Tensor) -> torch.Tensor:
        """The same with those in front replaced by this block's."""
        return torch.cat([self._of(number, states), states[:, self.states.shape[1] :]], dim=1)

    def _of(self, number: int, states: torch.Tensor) -> torch.Tensor:
        return self.states[number].to(states.dtype).expand(len(states), -1, -1)


def attach(body: Any, adapter: Mapping[str, Any]) -> None:
    """Changes a body in place so that it has an adapter, which changes nothing yet but for prompts.

    adapter: {"method": …} with `rank` and `alpha` (lora, rslora, dora), `width` (bottleneck), `tokens` and `deep` (prompt).
    Raises: InputError `plan.body` where a body has no place for it, `leaf.missing-package`.
    """
    method = adapter["method"]
    if (before := attached(body)) is not None:
        why = f"it has an adapter already ({before['method']}), which cannot become part of its weights"
        raise InputError("plan.body", method=method, why=why)
    if method in LOW_RANK:
        _inject(body, adapter)
    elif method == "bottleneck":
        blocks = blocks_of(body, method)
        adapters = [Bottleneck(_size(body), int(adapter["width"])) for _ in blocks]
        for block, one in zip(blocks, adapters, strict=True):
            block.register_forward_hook(lambda _module, _given, gives, one=one: _on_states(gives, one))
        setattr(body, ATTRIBUTE, nn.ModuleList(adapters))
    else:
        _prompt(body, adapter)
    body.adapter = dict(adapter)


def attached(body: Any) -> dict[str, Any] | None:
    """The adapter that a body has and that is not part of its weights."""
    return getattr(body, "adapter", None)


def merge(body: Any) -> None:
    """Makes an adapter part of the weights where its method can be, in place: the body then is as it was before, with other weights."""
    if (adapter := attached(body)) is None or adapter["method"] not in LOW_RANK:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(body.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(body.get_submodule(parent), leaf, module.get_base_layer())
    body.adapter = None


def apart(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A model's tensors by name: (those that it has without an adapter, under their names then; the adapter's)."""
    plain, beside = {}, {}
    for name, tensor in tensors.items():
        if is_adapter(name):
            beside[name] = tensor
        else:
            plain[name.replace(".base_layer.", ".")] = tensor
    return plain, beside


def is_adapter(name: str) -> bool:
    """Whether a tensor of a model is of an adapter."""
    return any(part.startswith((*OF_PEFT, ATTRIBUTE)) for part in name.split("."))


def blocks_of(body: Any, method: str) -> list[nn.Module]:
    """The blocks of a body. Raises: InputError `plan.body` where it has none."""
    blocks = list(body.blocks()) if hasattr(body, "blocks") else []
    if not blocks:
        raise InputError("plan.body", method=method, why="it has no blocks")
    return blocks


def _inject(body: Any, adapter: Mapping[str, Any]) -> None:
    from sartor.leaves import need_package

    peft = need_package("peft", feature=f"The method {adapter['method']}", extra="train")
    linear = [name for name, module in body.named_modules() if isinstance(module, nn.Linear)]
    inside = [name for name in linear if _within(name, body)]
    if not inside:
        raise InputError("plan.body", method=adapter["method"], why="its blocks have no linear layers")
    if adapter["method"] == "ia3":
        # Keys, values and the inner layer of the feed-forward net (Liu et al. 2022, section 3.3): of the latter what goes in is scaled.
        ends = [name for name in inside if _narrows(body.get_submodule(name))]
        scaled = [name for name in inside if name.rpartition(".")[2].lower() in KEYS_AND_VALUES]
        config = peft.IA3Config(target_modules=[*scaled, *ends], feedforward_modules=ends)
    else:
        config = peft.LoraConfig(
            r=int(adapter["rank"]),
            lora_alpha=float(adapter["alpha"]),
            lora_dropout=0.0,
            target_modules=inside,
            use_rslora=adapter["method"] == "rslora",
            use_dora=adapter["method"] == "dora",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a model that is none of transformers' own
        peft.inject_adapter_in_model(config, body)


# What layers for keys and values are called in the families of transformers.
KEYS_AND_VALUES = (
    "key",
    "value",
    "k_proj",
    "v_proj",
    "k_lin",
    "v_lin",
    "k",
    "v",
    "key_proj",
    "value_proj",
    "wqkv",
    "query_key_value",
)


def _within(name: str, body: Any) -> bool:
    """Whether a module stands in one of the blocks, not in what comes before or after them."""
    inside = {id(module) for block in body.blocks() for module in block.modules()}
    return id(body.get_submodule(name)) in inside


def _narrows(layer: nn.Linear) -> bool:
    return layer.in_features > layer.out_features


def _prompt(body: Any, adapter: Mapping[str, Any]) -> None:
    blocks = blocks_of(body, "prompt")
    if not hasattr(body, "embedded"):
        raise InputError(
            "plan.body", method="prompt", why="only encoders of text take states before those of their input"
        )
    prompts = Prompts(len(blocks) if adapter["deep"] else 1, int(adapter["tokens"]), _size(body))
    setattr(body, ATTRIBUTE, prompts)
    body.ahead = int(adapter["tokens"])
    body.embedded().register_forward_hook(lambda _module, _given, gives: _on_states(gives, prompts.before))
    for number, block in enumerate(blocks[1:] if adapter["deep"] else [], start=1):
        block.register_forward_pre_hook(_replacing(prompts, number), with_kwargs=True)


def _replacing(prompts: Prompts, number: int) -> Any:
    def hook(
        _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if given:
            return (prompts.instead(number, given[0]), *given[1:]), named
        return given, named | {"hidden_states": prompts.instead(number, named["hidden_states"])}

    return hook


def _on_states(gives: Any, change: Any) -> Any:
    """What a block gives, with its states changed: a tensor, or the first of several things."""
    return (change(gives[0]), *gives[1:]) if isinstance(gives, tuple) else change(gives)


def _size(body: Any) -> int:
    """Of the states between blocks: of what the first norm in them works on."""
    first = next((module for module in body.blocks()[0].modules() if isinstance(module, nn.LayerNorm)), None)
    return int(first.normalized_shape[-1]) if first is not None else int(body.width)


def parameters(body: Any) -> Iterator[nn.Parameter]:
    """Those of the adapter that is attached."""
    return (parameter for name, parameter in body.named_parameters() if is_adapter(name))
