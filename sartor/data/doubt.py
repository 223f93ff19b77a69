"""Doubt: rows whose label is probably wrong, found by models that never saw them.

Out-of-fold probabilities and a model of how labels go wrong give each label the probability that it is right (Bayes' rule); as many as
are estimated to be wrong are doubted, as in confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70). The models have closed forms: naive Bayes on
n-grams and a linear discriminant on embeddings bear wrong labels better than solvers that fit every row, rank planted ones
higher, and take a second (docs/log.md, 2026-11-25). What is read of an input is for its modality to say (`features`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor import leaves
from sartor.data.dataset import Dataset, Rows
from sartor.data.split import folds

Embed = Callable[
    [np.ndarray], np.ndarray
]  # row numbers [n] -> features [n, width] by a body that was trained elsewhere

FOLDS = 10
LEAST_ROWS = 100
LEAST_OF_CLASS = 4  # different inputs
ALPHAS = (0.03, 0.1, 0.3, 1.0)  # added to the counts of naive Bayes; the log loss out of fold chooses
SHRINKAGES = (0.3, 0.5, 0.7, 0.9)  # of the covariance of the discriminant towards a sphere
MOST_CELLS = 20_000_000  # rows times classes; of more, a sample of the rows is judged
MOST_WEIGHTS = 30_000_000  # features times classes; of more, the most frequent features are read
SURE_SHARE = 0.2  # of the rows of each predicted class, the most confident, that tell the rate of errors; or half of that, or half again
LEAST_SURE = 100  # rows that such a half has
PRIORS = (5.0, 50.0)  # rows of errors spread evenly over the classes, that shrink the estimated transitions
RATHER_SURE = 0.7  # probability of a label, from which on it is not doubted
FALLING = 1.64  # standard deviations by which the surer half must be contradicted less, to be taken alone
STANDARD_ERRORS = 2.0  # by which transitions that are not even must explain other rows better, to be believed


@dataclass(frozen=True)
class Doubts:
    """What was found; arrays are aligned with the n rows that were judged.

    rows [n]: of the dataset. given [n]: numbers of `classes`, which are the codes of labels. probabilities [n, classes]: calibrated,
    of models that did not see the row. quality [n]: the probability that the given label is the true one; the ranking is from the
    lowest. suggested [n]: the other class that fits best. wrong [k]: places of the doubtful rows, worst first. rate, low, high: the
    estimated share of wrong labels with its 95 % interval, see `error_rate`.
    """

    rows: np.ndarray
    classes: np.ndarray
    given: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    suggested: np.ndarray
    wrong: np.ndarray
    rate: float
    low: float
    high: float


def doubts(
    dataset: Dataset,
    keys: np.ndarray,
    codes: np.ndarray,
    learning: np.ndarray,
    judging: Mapping[str, np.ndarray],
    *,
    seed: int,
    embed: Embed | None = None,
) -> dict[str, Doubts]:
    """The doubts about the labels of the rows to learn from, as 'train', and of each part that judges, by what the former taught.

    keys [n]: equal for inputs that are the same. codes [n]: of labels. learning, judging: row numbers; no model learns from a
    judging row, thresholds and rates are those of its part. embed: by its features rows are judged as well. Empty where there is nothing to go by: inputs of a modality without `features`, fewer
    than LEAST_ROWS rows, or fewer than two classes of LEAST_OF_CLASS different inputs.
    """
    if not all(hasattr(leaves.load("modality", column.kind), "features") for column in dataset.schema.inputs):
        return {}
    pairs = np.unique(np.column_stack([codes[learning], keys[learning]]), axis=0)
    found, times = np.unique(pairs[:, 0], return_counts=True)
    classes = found[times >= LEAST_OF_CLASS]
    learning = learning[np.isin(codes[learning], classes)]
    if len(classes) < 2 or len(learning) < LEAST_ROWS:
        return {}
    most = MOST_CELLS // max(1, len(classes))
    learning = _at_most(most, learning, seed=seed)
    parts = {name: _at_most(most, rows[np.isin(codes[rows], classes)], seed=seed) for name, rows in judging.items()}
    parts = {name: rows for name, rows in parts.items() if len(rows) >= LEAST_ROWS}
    every = np.concatenate([learning, *parts.values()])
    given = np.searchsorted(classes, codes[every])
    sources = [_frequent(features(dataset, every, seen=len(learning)), most=MOST_WEIGHTS // len(classes))]
    if embed is not None:
        sources.append(embed(every))
    told = {}
    first = np.arange(len(learning))
    models = [fit(made, given[first], keys[learning], classes=len(classes), seed=seed) for made in sources]
    probabilities, share = blended([model.probabilities for model in models], given[first])
    told["train"] = judge(learning, classes, given[first], probabilities)
    if parts:
        rest = np.arange(len(learning), len(every))
        logs = [
            _log_softmax(model.factor * model.scores(made, given, first, rest))
            for model, made in zip(models, sources, strict=True)
        ]
        probabilities = softmax(share * np.sum(logs, axis=0))
    begin = 0
    for name, rows in parts.items():
        mine = slice(begin, begin + len(rows))
        told[name] = judge(rows, classes, given[len(learning) :][mine], probabilities[mine])
        begin += len(rows)
    return told


def _at_most(most: int, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """These rows, or a sample of them."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def features(dataset: Dataset, rows: np.ndarray, *, seen: int) -> Any:
    """What the models read of these rows: a sparse or dense matrix [rows, width] in float32, the inputs beside each other.

    seen: the first so many rows are those to learn from; what only the others have is left out.
    """
    from scipy import sparse

    made: list[Any] = []
    for column in dataset.schema.inputs:
        leaf = leaves.load("modality", column.kind)
        made.append(leaf.features(Rows(dataset.table, [column.name], rows).column(column.name), seen))
    if any(sparse.issparse(block) for block in made):
        return sparse.hstack(made, format="csr", dtype=np.float32)
    return np.hstack(made)


def _frequent(made: Any, *, most: int) -> Any:
    """The columns of a sparse matrix that most rows have, at most so many."""
    if made.shape[1] <= most or not hasattr(made, "getnnz"):
        return made
    return made[:, np.sort(np.argsort(-made.getnnz(axis=0), kind="stable")[:most])]


@dataclass(frozen=True)
class Model:
    """A linear model with a closed form, and what it says of the rows that it was made of, each by one that did not see it.

    setting: of ALPHAS or SHRINKAGES. factor: on its scores, that calibrates them. probabilities [n, classes]: out of fold, calibrated.
    """

    classes: int
    setting: float
    factor: float
    probabilities: np.ndarray

    def scores(self, made: Any, given: np.ndarray, learned: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """Scores [judged, classes] of these rows by a model of those; places in `made` [n, width] and `given`."""
        return _scores(made, given, learned, judged, classes=self.classes, setting=self.setting)


def fit(made: Any, given: np.ndarray, keys: np.ndarray, *, classes: int, seed: int) -> Model:
    """The model whose out-of-fold probabilities have the least log loss. made: sparse features or dense ones [≥ n, width].

    A row is judged by a model that saw neither its label nor that of its duplicates.
    """
    from scipy import sparse

    fold = folds(given, keys, seed=seed, count=FOLDS)
    places = np.arange(len(given))

    def tried(setting: float) -> tuple[float, Model]:
        scores = np.zeros((len(given), classes))
        for left in np.unique(fold):
            learned, judged = np.flatnonzero(fold != left), np.flatnonzero(fold == left)
            scores[judged] = _scores(made, given, learned, judged, classes=classes, setting=setting)
        probabilities, factor = calibrated(scores, given)
        loss = float(-np.log(np.maximum(probabilities[places, given], 1e-12)).mean())
        return loss, Model(classes, setting, factor, probabilities)

    first, *others = ALPHAS if sparse.issparse(made) else SHRINKAGES
    best = tried(first)
    for setting in others:  # one at a time: probabilities of all settings would not fit
        best = min(best, tried(setting), key=lambda pair: pair[0])
    return best[1]


def judge(rows: np.ndarray, classes: np.ndarray, given: np.ndarray, probabilities: np.ndarray) -> Doubts:
    """Doubts from probabilities [n, classes] of models that did not see these rows.

    Doubtful are the rows whose label is least likely to be right, as many as the estimated rate of errors says and no row whose label is rather
    sure: a model that is often wrong itself would doubt many right labels.
    """
    places = np.arange(len(given))
    fit = posterior(given, probabilities, transitions(given, probabilities))
    quality = fit[places, given]
    others = fit.copy()
    others[places, given] = -1.0
    rate, low, high = error_rate(given, probabilities)
    order = np.argsort(quality, kind="stable")
    worst = order[: round(rate * len(given))]
    return Doubts(
        rows=rows,
        classes=classes,
        given=given,
        probabilities=probabilities,
        quality=quality,
        suggested=others.argmax(axis=1),
        wrong=worst[quality[worst] < RATHER_SURE],
        rate=rate,
        low=low,
        high=high,
    )


def error_rate(given: np.ndarray, probabilities: np.ndarray) -> tuple[float, float, float]:
    """(share of wrong labels, its 95 % interval), from the most confident rows of each predicted class.

    Where the model is surest, what contradicts it is mostly the label (anchor points: Patrini et al. 2017). Of a model that is good enough the
    share then no longer falls with more confidence; while it surely does, fewer and surer rows are taken, since what a weak model gets wrong
    is no wrong label. The interval of Clopper and Pearson (1934) is about those rows; errors that are commoner in difficult rows are not in it.
    """
    from scipy.stats import beta

    contradicted = probabilities.argmax(axis=1) != given
    share, sure = SURE_SHARE, _sure(probabilities, SURE_SHARE)
    while True:
        surer = _sure(probabilities, share / 2)
        rest = sure & ~surer
        if surer.sum() < LEAST_SURE or not rest.any():  # of small classes one row is taken however small the share
            break
        all_of_them = float(contradicted[sure].mean())
        apart = float(contradicted[rest].mean() - contradicted[surer].mean())
        deviation = np.sqrt(all_of_them * (1 - all_of_them) * (1 / surer.sum() + 1 / rest.sum()))
        if apart <= FALLING * deviation:
            break
        share, sure = share / 2, surer
    trials, wrong = int(sure.sum()), int(contradicted[sure].sum())
    low = float(beta.ppf(0.025, wrong, trials - wrong + 1)) if wrong else 0.0
    high = float(beta.ppf(0.975, wrong + 1, trials - wrong)) if wrong < trials else 1.0
    return wrong / trials, low, high


def transitions(given: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """P(given label | true class) [true, given]: errors spread evenly, or as among the most confident rows.

    The latter where half of those rows explain the labels of the other half surely better by them (cross-validated likelihood).
    """
    number = probabilities.shape[1]
    rate = min(max(error_rate(given, probabilities)[0], 1 / (len(given) + 2)), 0.9)
    even = np.full((number, number), rate / (number - 1))
    np.fill_diagonal(even, 1 - rate)
    sure = np.flatnonzero(_sure(probabilities, SURE_SHARE))
    if number == 2:
        return even  # of two classes it is the one rate that is known well

    def shrunk(rows: np.ndarray, prior: float) -> np.ndarray:
        counts = np.bincount(probabilities[rows].argmax(axis=1) * number + given[rows], minlength=number * number)
        told = counts.reshape(number, number) + prior * even
        return np.asarray(told / told.sum(axis=1, keepdims=True))

    def explained(rows: np.ndarray, transition: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(np.maximum((probabilities[rows] * transition[:, given[rows]].T).sum(axis=1), 1e-12)))

    halves = sure[::2], sure[1::2]
    base = np.concatenate([explained(half, even) for half in halves])
    best, chosen = 0.0, even
    for prior in PRIORS:
        gain = np.concatenate([explained(half, shrunk(other, prior)) for half, other in (halves, halves[::-1])]) - base
        if gain.mean() > best and gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(max(1, len(gain))):
            best, chosen = float(gain.mean()), shrunk(sure, prior)
    return chosen


def posterior(given: np.ndarray, probabilities: np.ndarray, transition: np.ndarray) -> np.ndarray:
    """P(true class | input, given label) [n, classes], by Bayes' rule.

    With errors that are spread evenly it orders rows as the probability of the given label does, and with errors between two
    classes as the margin to the other: the better ranking of the two in either case.
    """
    joint = probabilities * transition[:, given].T
    return np.asarray(joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300))


def _sure(probabilities: np.ndarray, share: float) -> np.ndarray:
    """Which rows are this share of their predicted class, that with the highest probabilities [n bool]."""
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    sure = np.zeros(len(best), dtype=bool)
    for code in np.unique(best):
        rows = np.flatnonzero(best == code)
        sure[rows[np.argsort(-confidence[rows], kind="stable")[: max(1, round(share * len(rows)))]]] = True
    return sure


def _scores(
    made: Any, given: np.ndarray, learned: np.ndarray, judged: np.ndarray, *, classes: int, setting: float
) -> np.ndarray:
    """Scores [judged, classes] of a model of the rows `learned`: naive Bayes on sparse features, a linear discriminant on dense ones."""
    from scipy import sparse

    counts = np.bincount(given[learned], minlength=classes).astype(np.float64)
    prior = np.log(np.maximum(counts, 1e-9) / len(learned))
    member = sparse.csr_matrix(
        (np.ones(len(learned)), (given[learned], np.arange(len(learned)))), shape=(classes, len(learned))
    )
    if sparse.issparse(made):
        # Multinomial naive Bayes on weights in place of counts (Rennie et al. 2003, section 4).
        sums = (member @ made[learned]).toarray() + setting
        weight = np.log(sums) - np.log(sums.sum(axis=1, keepdims=True))
        return np.asarray(made[judged] @ weight.T + prior)
    # Classes as normal clouds of one shape (Hastie et al. 2009, section 4.3), the covariance shrunk.
    means = member @ made[learned] / np.maximum(counts, 1e-9)[:, None]
    apart = made[learned] - means[given[learned]]
    shape = apart.T @ apart / len(learned)
    sphere = np.trace(shape) / len(shape) * np.eye(len(shape))
    weight = np.linalg.solve((1 - setting) * shape + setting * sphere, means.T).T
    return np.asarray(made[judged] @ weight.T - 0.5 * (weight * means).sum(axis=1) + prior)


def calibrated(scores: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, float]:
    """(softmax of scores [n, classes] with the least log loss, the factor on the scores that gives it): Guo et al. 2017."""
    from scipy.optimize import minimize_scalar

    places = np.arange(len(given))
    found = minimize_scalar(
        lambda log: float(-_log_softmax(scores * np.exp(log))[places, given].mean()),
        bounds=(np.log(0.1), np.log(64)),
        method="bounded",
        options={"xatol": 0.02},
    )
    factor = float(np.exp(found.x))
    return softmax(scores * factor), factor


def blended(several: Sequence[np.ndarray], given: np.ndarray) -> tuple[np.ndarray, float]:
    """(one set of probabilities from several: their product, to the power that has the least log loss; that power)."""
    if len(several) == 1:
        return several[0], 1.0
    return calibrated(np.sum([np.log(np.maximum(each, 1e-12)) for each in several], axis=0), given)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] of scores."""
    return np.exp(_log_softmax(scores))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    return np.asarray(log_softmax(scores, axis=1))
