"""Which rows to label next: those from which a model would learn most, of many that nobody labelled yet.

Of the rows that a model of the labelled ones is least sure of (margin sampling: Scheffer, Decomain and Wrobel 2001), those that are
unlike each other are taken (k-means++ seeding: Arthur and Vassilvitskii 2007; used so by Ash et al. 2020, section 3), so that a
batch does not ask the same thing many times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor import leaves
from sartor.data import doubt
from sartor.data.dataset import PARTS, Dataset
from sartor.errors import InputError

AMONG = 10  # times as many rows as are asked for, the least sure, among which the unlike ones are chosen
MOST_AMONG = 20_000  # of those, so that many rows are chosen in minutes
PLANE = 64  # directions that sparse features are reduced to, where distances are taken
LEAST_ROWS = 20  # with a label
STRENGTH = 0.01  # of the regression on embeddings, whose labels are few


@dataclass(frozen=True)
class Wanted:
    """A row to label. row: of the dataset. suggested: the code of the likeliest label, by a model of the labelled rows, and its
    probability."""

    row: int
    suggested: int
    probability: float


def wanted(
    dataset: Dataset,
    keys: np.ndarray,
    codes: np.ndarray,
    count: int,
    *,
    seed: int,
    embed: doubt.Embed | None = None,
) -> list[Wanted]:
    """At most `count` rows of the part 'unlabelled', the most valuable first.

    Of rows that are the same one comes, and none that is the same as a labelled row. keys [n]: equal for inputs that are the same. codes [n]:
    of labels, -1 without one. embed: what the model reads; n-grams when left out.
    Raises: InputError `label.too-few`, `label.no-part`, `label.no-rows`.
    """
    labelled = np.flatnonzero((keys >= 0) & (codes >= 0) & np.isin(dataset.part, [-1, PARTS.index("train")]))
    pool = np.flatnonzero((keys >= 0) & (dataset.part == PARTS.index("unlabelled")))
    known = keys[(keys >= 0) & (codes >= 0) & (dataset.part != PARTS.index("unlabelled"))]  # of parts that judge, too
    pool = pool[~np.isin(keys[pool], known)]
    pool = np.sort(pool[np.unique(keys[pool], return_index=True)[1]])
    classes, given = np.unique(codes[labelled], return_inverse=True)
    different = len(np.unique(keys[labelled]))
    if different < LEAST_ROWS or len(classes) < 2:
        raise InputError("label.too-few", count=different, classes=len(classes), least=LEAST_ROWS)
    if "unlabelled" not in dataset.given_parts:
        raise InputError("label.no-part")
    if not len(pool):
        raise InputError("label.no-rows")
    every = np.concatenate([labelled, pool])
    made = doubt.features(dataset, every, seen=len(every)) if embed is None else embed(every)
    rest = np.arange(len(labelled), len(every))
    probabilities = likely(made, given, keys[labelled], seed=seed)
    picked = choose(probabilities, _plane(made, rest, seed=seed), count, seed=seed)
    best = classes[probabilities.argmax(axis=1)]
    return [Wanted(int(pool[at]), int(best[at]), float(probabilities[at].max())) for at in picked.tolist()]


def likely(made: Any, given: np.ndarray, keys: np.ndarray, *, seed: int) -> np.ndarray:
    """Probabilities [rest, classes] of the rows of `made` [n + rest, width] after the first n, which are labelled.

    given [n]: their classes, each of 0, 1, …; keys [n]: equal for inputs that are the same. Sparse features get naive Bayes. Embeddings get a
    logistic regression: of a hundred labels the discriminant's covariance is too poor for its doubts to be worth more than chance (docs/log.md).
    """
    from scipy import sparse

    first, rest = np.arange(len(given)), np.arange(len(given), made.shape[0])
    classes = int(given.max()) + 1
    if sparse.issparse(made):
        model = doubt.fit(made, given, keys, classes=classes, seed=seed)
        return doubt.softmax(model.factor * model.scores(made, given, first, rest))
    task = leaves.load("task", "classify")
    weight, bias = task.fit_linear(made[first], given, {"classes": list(range(classes))}, strength=STRENGTH, seed=seed)
    return doubt.softmax(made[rest] @ weight.T + bias)


def choose(probabilities: np.ndarray, places: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """`count` of the rows [n], the most valuable first: unsure, and apart from each other.

    probabilities [n, classes]: of the model. places [n, width]: where the rows are; of unit length, so that distance is angle.
    """
    ordered = np.sort(probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    among = np.argsort(margin, kind="stable")[: max(count, min(AMONG * count, MOST_AMONG))]
    if len(among) <= count:
        return among
    weight, where = 1.0 - margin[among], places[among]
    rng = np.random.default_rng(seed)
    picked = [0]  # the least sure
    apart = ((where - where[0]) ** 2).sum(axis=1)
    while len(picked) < count:
        chance = weight * apart
        chance[picked] = 0.0
        if chance.sum() <= 0:  # what is left is the same as something that was picked, or sure
            chance = np.ones(len(among))
            chance[picked] = 0.0
        picked.append(int(rng.choice(len(among), p=chance / chance.sum())))
        apart = np.minimum(apart, ((where - where[picked[-1]]) ** 2).sum(axis=1))
    return np.asarray(among[picked])


def _plane(made: Any, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """These rows of the features as directions of unit length, [rows, width]; sparse ones in the plane of the largest singular values."""
    from scipy import sparse
    from scipy.sparse.linalg import svds

    if sparse.issparse(made):
        width = min(PLANE, min(made.shape) - 1)
        _, _, directions = svds(made.astype(np.float64), k=width, random_state=seed)
        found = np.asarray(made[rows] @ directions.T)
    else:
        found = np.asarray(made[rows], dtype=np.float64)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))
