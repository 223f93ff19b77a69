"""What the blocks of an encoder cost on this machine, measured with the runtime that serves them. Heavy half of the step `prune`.

One block with fewer heads or units is exported and timed on a row of median length (as in Kurtić et al. 2023, ZipLM, section 3.2, where such a table guides pruning).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sartor import pruning, shaping

SHARES = (0.25, 0.5, 0.75, 1.0)  # of heads and of units, that are timed; what lies between is on a line between
CALLS, ROUNDS = 40, 5  # of each: the least of the medians
BINS = 400  # of the time that is left
LEAST = 0.05  # of a whole block's time, that any block has


@dataclass(frozen=True)
class Table:
    """Milliseconds of a request of one row: `fixed` beside the blocks, and of a block with so many heads and so many units."""

    fixed: float
    block: float
    heads: Mapping[int, float]  # saved (a negative number) over a whole block with all units
    inner: Mapping[int, float]

    def of(self, heads: int, inner: int) -> float:
        """Of one block."""
        saved = _between(self.heads, heads) + _between(self.inner, inner)
        return max(LEAST * self.block, self.block + saved)

    def as_dict(self) -> dict[str, Any]:
        """For the notes of the step."""
        saved = {"heads": self.heads, "inner": self.inner}
        told = {name: {str(n): round(ms, 4) for n, ms in each.items()} for name, each in saved.items()}
        return {"fixed_ms": round(self.fixed, 4), "block_ms": round(self.block, 4), **told}


def measure(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    family: str,
    *,
    heads: int,
    width: int,
    progress: Callable[[int, int], None],
) -> Table:
    """The table of an encoder whose blocks are alike. rows: training rows, of which the one of median length is answered."""
    size, blocks = shaping.head_size(model.body.encoder), model.body.blocks()
    units = int(blocks[0].get_submodule(shaping.layers_of(family, "prune")[4]).out_features)
    lengths = processor.length(rows)
    row = rows[int(np.argsort(lengths, kind="stable")[len(lengths) // 2])]
    shapes = [(2, heads, units), (1, heads, units)]
    shapes += [(1, max(1, round(share * heads)), units) for share in SHARES[:-1]]
    shapes += [(1, heads, max(1, round(share * units))) for share in SHARES[:-1]]
    took: dict[tuple[int, int, int], float] = {}
    for number, shape in enumerate(dict.fromkeys(shapes), start=1):
        took[shape] = _timed(model, processor, row, family, shape, size=size, width=width)
        progress(number, len(shapes))
    one = took[1, heads, units]
    block = max(1e-3, took[2, heads, units] - one)
    return Table(
        fixed=max(0.0, one - block),
        block=block,
        heads={h: ms - one for (count, h, u), ms in took.items() if count == 1 and u == units},
        inner={u: ms - one for (count, h, u), ms in took.items() if count == 1 and h == heads},
    )


def fastest(
    table: Table, importance: Mapping[str, np.ndarray], *, faster: float, step: int
) -> dict[str, list[np.ndarray]]:
    """{"heads": numbers kept in each block, "inner": units kept in each}, none where a block goes: what keeps the most importance at `faster` times the speed.

    importance: as of `pruning.importance`. step: units are kept in multiples of it. By dynamic programming over the blocks, time in BINS parts.
    """
    heads, inner = importance["heads"], importance["inner"]
    count = len(heads)
    whole = table.fixed + sum(table.of(_there(heads[b]), _there(inner[b])) for b in range(count))
    left = whole / faster - table.fixed
    if left <= 0:
        least = whole / table.fixed
        raise ValueError(
            f"what is beside the blocks takes {table.fixed:.2f} ms of {whole:.2f}, so at most {least:.1f} times the speed can be had"
        )
    unit = left / BINS
    best = np.full(BINS + 1, -np.inf)
    best[0] = 0.0
    choices: list[np.ndarray] = []
    options: list[list[tuple[int, int, int, float]]] = []
    for b in range(count):
        of_heads, of_inner = (
            np.concatenate([[0.0], np.cumsum(np.sort(one[~np.isnan(one)])[::-1])]) for one in (heads[b], inner[b])
        )
        mine = [(0, 0, 0, 0.0)] + [
            (h, u, int(np.ceil(table.of(h, u) / unit)), float(of_heads[h] + of_inner[u]))
            for h in range(1, len(of_heads))
            for u in sorted({*range(step, len(of_inner), step), len(of_inner) - 1})
        ]
        after, chosen = np.full(BINS + 1, -np.inf), np.zeros(BINS + 1, dtype=np.int64)
        for number, (_, _, bins, worth) in enumerate(mine):
            if bins > BINS:
                continue
            moved = np.full(BINS + 1, -np.inf)
            moved[bins:] = best[: BINS + 1 - bins] + worth
            better = moved > after
            after[better], chosen[better] = moved[better], number
        best = after
        choices.append(chosen)
        options.append(mine)
    place = int(np.argmax(best))
    kept: dict[str, list[np.ndarray]] = {"heads": [], "inner": []}
    for b in reversed(range(count)):
        h, u, bins, _ = options[b][int(choices[b][place])]
        place -= bins
        for what, scores, most in (("heads", heads[b], h), ("inner", inner[b], u)):
            kept[what].insert(0, pruning.largest(scores, most))
    if not any(map(len, kept["heads"])):
        raise ValueError(f"not one block fits into the {left:.2f} ms that are left")
    return kept


def _timed(
    model: Any,
    processor: Any,
    row: Mapping[str, Any],
    family: str,
    shape: tuple[int, int, int],
    *,
    size: int,
    width: int,
) -> float:
    """Milliseconds of a request by an encoder of so many blocks, with so many heads and units each."""
    from sartor.runtime import onnx

    blocks, heads, units = shape
    small = copy.deepcopy(model).eval()
    shaping.keep_blocks(small.body.encoder, range(blocks))
    for block in small.body.blocks():
        shaping.keep_heads(block, family, torch.arange(heads), size)
        shaping.keep_inner(block, family, torch.arange(units))
    batch = processor([row])
    with TemporaryDirectory() as folder:
        record = onnx.write(small, Path(folder), sample=processor([row, row]))
        source = Path(folder) / record["graphs"]["forward"]
        fused, packed = source.with_name("fused.onnx"), source.with_name("packed.onnx")
        onnx.fuse(source, fused, heads=heads, width=width, sample=batch)
        onnx.quantise_dynamic(fused, packed, reduce_range=False, per_channel=True)
        graphs = onnx.OnnxGraphs({"forward": packed}, threads=torch.get_num_threads())
        medians = []
        for _ in range(ROUNDS):
            times = []
            for _ in range(CALLS):
                began = time.perf_counter()
                graphs.call("forward", batch)
                times.append(time.perf_counter() - began)
            medians.append(float(np.median(times)))
    return 1e3 * min(medians)


def _between(known: Mapping[int, float], at: int) -> float:
    places = sorted(known)
    return float(np.interp(at, places, [known[place] for place in places]))


def _there(scores: np.ndarray) -> int:
    return int((~np.isnan(scores)).sum())
