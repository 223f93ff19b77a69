"""Gradient-boosted decision trees (Friedman 2001) on histograms, as in LightGBM (Ke et al. 2017), for the rows of a table.

scikit-learn grows them; what is kept are their nodes as tensors, which any runtime of Sartor walks down. Values are cut into bins before,
so that a graph only compares whole numbers and answers exactly as the trees that were grown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card
from sartor.tables import KINDS, Table, sizes

TAKES = KINDS
TRAINS = "fit"
OPENS = ("sklearn.ensemble",)
TASKS = ("classify", "regress")
BINS = 254  # of one column: what fits a byte beside "not known" and one spare
MOST_TREES = 500  # of one class; validation says when to stop
PATIENCE = 25
SETTINGS = (  # (learning rate, leaves, rows in a leaf at least, L2); validation chooses
    (0.1, 31, 20, 0.0),
    (0.05, 31, 20, 1.0),
    (0.05, 15, 10, 1.0),
    (0.05, 7, 20, 1.0),
    (0.03, 4, 20, 1.0),
)
DEPTH = 10  # of a tree at most: a graph walks down so many times
EXACT = 1e-4  # that the tensors may differ from the trees that they hold, in log odds


def cards() -> list[Card]:
    """The one body of this leaf: it is made from the training rows."""
    return [
        Card(
            name="trees",
            leaf="trees",
            takes="table",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=1,  # after the linear model, which is cheaper to make
            note="Gradient-boosted trees: the usual best on tables.",
        )
    ]


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Learns the names of categories and the edges of the bins. options: `kinds`, {column: modality}.

    Writes `processor/table.json`, and `processor/edges.json`: for each column of the matrix the upper edges of its bins, or the
    names of a category that training rows have.
    """
    table = Table.learn(inputs, options["kinds"])
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    table.save(target)
    values = zip(table.columns, table.matrix(inputs).T, strict=True)
    edges = [_names(found) if column.kind == "category" else _edges(found) for column, found in values]
    (target / "edges.json").write_text(json.dumps(edges), encoding="utf-8")
    return {"leaf": "trees", "ref": "trees", "owns_weights": True}


def seconds(profile: Any) -> float:
    """What fitting takes, roughly: of every setting a few hundred trees for each class."""
    trees = len(SETTINGS) * 200 * max(1, profile.classes if profile.classes > 2 else 1)
    return float(trees * (5e-3 + profile.rows * profile.columns * 4e-8))


def processor(folder: Path, meta: Mapping[str, Any]) -> BinProcessor:
    """Opens what `start` wrote."""
    edges = json.loads((folder / "processor" / "edges.json").read_text(encoding="utf-8"))
    return BinProcessor(Table.load(folder / "processor"), [np.asarray(one, dtype=np.float64) for one in edges])


class BinProcessor:
    """Rows to the numbers of their bins."""

    axes: Mapping[str, Mapping[int, str]] = {"bins": {0: "batch"}}

    def __init__(self, table: Table, edges: list[np.ndarray]) -> None:
        self.table = table
        self.edges = edges

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """bins [B, columns] int64, 0 for what is not known and the first bin as 1."""
        return {"bins": self.bins(inputs)}

    def bins(self, inputs: Any) -> np.ndarray:
        """As in a batch, of all rows."""
        values = self.table.matrix(inputs)
        made = np.zeros(values.shape, dtype=np.int64)
        for j, (column, edges) in enumerate(zip(self.table.columns, self.edges, strict=True)):
            there = np.isfinite(values[:, j])
            found = values[there, j]
            if column.kind == "category":  # one that no training row has says nothing
                made[there, j] = np.where(np.isin(found, edges), found + 1, 0)
            else:
                made[there, j] = 1 + np.searchsorted(edges, found, side="left")
        return made

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Ones [n]."""
        return sizes(inputs)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """All trees side by side as a module: bins [B, columns] -> log odds, or the number that is told [B, outputs]; no parameter is tuned."""
    import torch
    from torch import nn

    trees, outputs, nodes, sets = (int(meta[name]) for name in ("trees", "outputs", "nodes", "sets"))
    depth, binary = int(meta["depth"]), bool(meta["binary"])

    class Trees(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = outputs

            def held(*shape: int, kind: torch.dtype = torch.int64) -> nn.Parameter:
                return nn.Parameter(torch.zeros(*shape, dtype=kind), requires_grad=False)

            self.root = held(trees)
            self.column, self.edge, self.left, self.right, self.unknown, self.set = (held(nodes) for _ in range(6))
            self.value = held(nodes, kind=torch.float32)
            self.inside = held(
                sets * (BINS + 2), kind=torch.uint8
            )  # whether a bin goes left, of the nodes that split a category
            self.bias = held(outputs, kind=torch.float32)

        def forward(self, bins: torch.Tensor) -> torch.Tensor:
            place = self.root.unsqueeze(0) + bins[:, :1] * 0  # [B, trees]
            for _ in range(depth):
                found = torch.gather(bins, 1, self.column[place])
                below = (found <= self.edge[place]).to(torch.int64)
                if sets > 1:
                    kind = self.set[place]
                    below = torch.where(kind > 0, self.inside[kind * (BINS + 2) + found].to(torch.int64), below)
                below = torch.where(found == 0, self.unknown[place], below)
                place = torch.where(below > 0, self.left[place], self.right[place])
            value = self.value[place]  # [B, trees]
            if binary:
                odds = value.sum(1, keepdim=True)
                return torch.cat([-odds, odds], 1) * 0.5 + self.bias
            return value.reshape(value.shape[0], trees // outputs, outputs).sum(1) + self.bias

        def blocks(self) -> list[nn.Module]:
            return []

    return Trees()


def fit(
    folder: Path,
    meta: dict[str, Any],
    inputs: Any,
    targets: np.ndarray,
    *,
    task: Any,
    spec: dict[str, Any],
    choose: Any,
    seed: int,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Grows trees under each of SETTINGS until validation no longer gains, and keeps those that validation likes best.

    Returns the body, the bundle's backbone record with its sizes, and what was chosen.
    """
    import torch
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    grows = HistGradientBoostingClassifier if "classes" in spec else HistGradientBoostingRegressor
    reader = processor(folder, meta)
    made = reader.bins(inputs)
    valid = reader.bins(choose.inputs)
    known = choose.targets >= 0 if "classes" in spec else np.isfinite(choose.targets)
    # scikit-learn puts columns of categories before the others, and numbers their names from 0 without a gap: so does `Table`.
    categories = [column.kind == "category" for column in reader.table.columns]
    tried: list[tuple[tuple[float, float], Any, dict[str, Any]]] = []
    for number, (rate, most_leaves, rows, penalty) in enumerate(SETTINGS, start=1):
        model = grows(
            learning_rate=rate,
            max_iter=MOST_TREES,
            max_leaf_nodes=most_leaves,
            max_depth=DEPTH,
            min_samples_leaf=min(rows, max(1, len(made) // 20)),
            l2_regularization=penalty,
            max_bins=255,
            categorical_features=categories if any(categories) else None,
            early_stopping=True,
            n_iter_no_change=PATIENCE,
            tol=0.0,
            random_state=seed,
        )
        model.fit(_nan(made), targets, X_val=_nan(valid[known]), y_val=choose.targets[known])
        score, log_loss, scale = choose.judge(_outputs(model, valid))
        settings = {
            "learning_rate": rate,
            "leaves": most_leaves,
            "trees": int(model.n_iter_),
            "l2": penalty,
            "scale": scale,
        }
        tried.append(((score, -log_loss), model, settings))
        choose.progress("grow", done=number, total=len(SETTINGS), unit="forests")
    _, model, chosen = max(tried, key=lambda one: one[0])
    scale = chosen["scale"]
    module, sized = _module(folder, model, scale)
    with torch.inference_mode():
        ours = module(torch.from_numpy(valid)).numpy()
    apart = float(np.abs(ours - _outputs(model, valid) * scale).max(initial=0.0))
    if apart > EXACT * max(1.0, scale):
        raise ValueError(f"the tensors of the trees answer otherwise than the trees, by {apart:.2g}")
    return module, {**meta, **sized}, chosen


def _edges(values: np.ndarray) -> list[float]:
    """Upper edges of at most BINS bins: between each two values where they are few, else of bins of equal size."""
    found = np.unique(values[np.isfinite(values)])
    if len(found) > BINS:
        found = np.unique(np.quantile(values[np.isfinite(values)], np.linspace(0, 1, BINS), method="lower"))
    return ((found[:-1] + found[1:]) / 2).tolist()


def _names(values: np.ndarray) -> list[float]:
    return np.unique(values[np.isfinite(values)]).tolist()  # type: ignore[no-any-return]


def _nan(bins: np.ndarray) -> np.ndarray:
    """Bins as scikit-learn takes them: from 0 on, NaN where nothing is known."""
    return np.where(bins > 0, bins - 1.0, np.nan)


def _outputs(model: Any, bins: np.ndarray) -> np.ndarray:
    """Log odds of every class [n, classes], or the one number that is told [n, 1]."""
    if not hasattr(model, "classes_"):
        return np.asarray(model.predict(_nan(bins)))[:, None]
    told = np.asarray(model.decision_function(_nan(bins)))
    return np.stack([-told, told], axis=1) / 2 if len(model.classes_) == 2 else told.reshape(len(told), -1)


def _module(folder: Path, model: Any, scale: float) -> tuple[Any, dict[str, Any]]:
    """The nodes of a grown model as the tensors of `body`, outputs scaled; and the sizes that `body` asks for."""
    import torch

    told = np.ravel(model._baseline_prediction) * scale
    binary = len(getattr(model, "classes_", ())) == 2
    held: dict[str, list[Any]] = {
        name: [] for name in ("root", "column", "edge", "left", "right", "unknown", "set", "value")
    }
    inside = [np.zeros(BINS + 2, dtype=np.uint8)]  # set 0 is no set
    depth = 1
    for tree in (tree for step in model._predictors for tree in step):
        begin = len(held["column"])
        held["root"].append(begin)
        depth = max(depth, int(tree.nodes["depth"].max()))
        for place, node in enumerate(tree.nodes):
            leaf, named = bool(node["is_leaf"]), bool(node["is_categorical"])
            if named and not leaf:
                bits = tree.raw_left_cat_bitsets[node["bitset_idx"]]
                goes_left = [(int(bits[name // 32]) >> (name % 32)) & 1 for name in range(BINS + 1)]
                inside.append(np.array([0, *goes_left], dtype=np.uint8))
            held["column"].append(0 if leaf else int(node["feature_idx"]))
            # Its trees compare numbers of bins that begin at 0; ours begin at 1.
            # A split on the gaps alone is written as one at infinity: every bin goes left.
            most = min(float(node["num_threshold"]), BINS + 1.0)
            held["edge"].append(0 if leaf or named else int(np.floor(most)) + 1)
            held["left"].append(begin + (place if leaf else int(node["left"])))
            held["right"].append(begin + (place if leaf else int(node["right"])))
            held["unknown"].append(int(node["missing_go_to_left"]))
            held["set"].append(len(inside) - 1 if named and not leaf else 0)
            held["value"].append(float(node["value"]) * scale if leaf else 0.0)
    sized = {
        "trees": len(held["root"]),
        "outputs": 2 if binary else len(told),
        "nodes": len(held["column"]),
        "sets": len(inside),
        "depth": depth,
        "binary": binary,
    }
    module = body(folder, sized)
    for name, values in held.items():
        parameter = getattr(module, name)
        parameter.data = torch.tensor(values, dtype=parameter.dtype)
    module.inside.data = torch.from_numpy(np.concatenate(inside))
    module.bias.data = torch.tensor([-told[0] / 2, told[0] / 2] if binary else told, dtype=torch.float32)
    return module, sized
