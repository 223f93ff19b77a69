"""Splits: the parts that were given, and those that are missing made from them by a rule that is told in words.

Rows that are the same to a reader never stand on both sides of a split that is made here, nor do nearly the same ones unless they are
many. Parts that were given are not
touched: test rows that also stand in the training part stay, and are named in `Splits.leaked`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from sartor import leaves
from sartor.bounds import fewest_that_meet, level_of_look
from sartor.data import cells, near
from sartor.data.dataset import Dataset, Finding, Rows, Splits, as_text, rows_at_once
from sartor.data.schema import speaks_for_itself
from sartor.data.target import Target, examples, leading, tasks_of
from sartor.errors import InputError

LEAST_ROWS = 10
TEST_SHARES = tuple(share / 100 for share in range(15, 36))
DEFAULT_TEST_SHARE = 0.20
LEAST_TO_CALIBRATE = 1_000
OF_PROBABILITIES = ("log_loss", "calibration_error")  # measures that hang on how sure a model says it is
VALID_SHARE, LEAST_VALID, MOST_VALID = 0.13, 200, 2_000
POWER = 0.9
# Larger groups of nearly the same rows are templates, which would leave a part without the others: as a share of the rows, and at least.
MOST_ALIKE, LEAST_ALIKE = 0.01, 10


def split(
    dataset: Dataset,
    *,
    target: Target,
    task: str = "classify",
    keep: np.ndarray | None = None,
    findings: Sequence[Finding] = (),
    limits: Sequence[float] = (),
    seed: int = 0,
    group: str | None = None,
    confidence: float = 0.95,
    calibrate: bool = False,
) -> Splits:
    """Row numbers of each split; a function of the rows' fingerprint, the seed and these arguments.

    target: a column of the task, or {column: its task} of several; those made here are stratified by the first with classes. keep: the rows to use, those of `usable_rows` when left out. limits: the proportions that will have to be proven on
    the test rows, such as 0.9 for `accuracy >= 0.9`; a test split made here is sized for them. group: a column whose
    rows belong together. confidence: at which they will have to be proven, at a first look. calibrate: whether
    calibration rows are needed; where few rows are left, validation rows serve for both.
    Raises: InputError `split.no-train`, `split.too-few`, `split.one-class`.
    """
    targets = tasks_of(target, task)
    strata = leading(targets, dataset.schema)
    keep = usable_rows(dataset, target=targets) if keep is None else np.asarray(keep, dtype=np.int64)
    labelled = [name for name in dataset.given_parts if name != "unlabelled"]
    given = {name: np.intersect1d(keep, dataset.rows_of(name)) for name in labelled}
    pool = np.intersect1d(keep, np.flatnonzero(dataset.part == -1))
    pool = pool if len(pool) else given.get("train", pool)
    if "train" not in given and not (dataset.part == -1).any():
        raise InputError("split.no-train", found=", ".join(dataset.given_parts))
    if len(pool) < LEAST_ROWS:
        raise InputError("split.too-few", count=len(pool), part="training", least=LEAST_ROWS)

    keys = row_keys(dataset)
    made = {"test", "valid"} - set(given) or (calibrate and "calib" not in given)
    alike = near.groups(dataset, keep, keys) if made else []
    most = max(LEAST_ALIKE, MOST_ALIKE * len(keep))
    templates = sum(len(rows) for rows in alike if len(rows) > most)
    units = _units(dataset, keys, group, [rows for rows in alike if len(rows) <= most])
    codes = _codes(dataset, strata, targets[strata])
    rng = _rng(dataset.fingerprint, seed)
    empty = np.empty(0, dtype=np.int64)
    rules = [_given_rule(given)] if given else []
    together = "duplicates and near-duplicates" if near.sketches(dataset) else "duplicates"
    together += f" kept together, but for {templates:,} rows of templates" if templates else " kept together"
    together += f", as are rows with the same {group!r}" if group else ""

    if "test" in given:
        test, train = given["test"], pool
        if any(finding.code == "audit.same-rows" for finding in findings):
            rules.append("the test rows are the training rows again")
    else:
        share, why = _test_share(limits, len(pool), level_of_look(confidence, 1))
        test, train = _draw(pool, round(share * len(pool)), units, codes, _touched(units, given, "valid", "calib"), rng)
        rules.append(f"test: {len(test):,} of {len(pool):,} rows, {why}; stratified by {strata!r}, {together}")
    if "valid" in given:
        valid = given["valid"]
    else:
        rest = len(train)
        count = min(MOST_VALID, max(round(VALID_SHARE * rest), min(LEAST_VALID, round(0.3 * rest))))
        valid, train = _draw(train, count, units, codes, _touched(units, given, "test", "calib"), rng)
        rules.append(f"valid: {len(valid):,} of the {rest:,} rows left; stratified by {strata!r}, {together}")
    calib = given.get("calib", empty)
    if calibrate and "calib" not in given and len(train) >= LEAST_TO_CALIBRATE:
        rest = len(train)
        calib, train = _draw(train, len(valid), units, codes, _touched(units, given, "test", "valid"), rng)
        rules.append(f"calib: {len(calib):,} of the {rest:,} rows left; stratified by {strata!r}, {together}")
    if "test" not in given or "valid" not in given or len(calib):
        rules.append(f"drawn from the fingerprint {dataset.fingerprint[:12]} and seed {seed}")

    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        if not len(rows):
            raise InputError("split.too-few", count=0, part=name, least=1)
    _check_classes(dataset, train, targets)
    seen = np.unique(keys[np.concatenate([train, valid, calib])])
    leaked = test[np.isin(keys[test], seen)]
    if len(leaked):
        rules.append(f"{len(leaked):,} test rows also stand in another part; they stay and are counted apart")
    splits = Splits(
        train=train,
        valid=valid,
        test=test,
        calib=calib,
        unlabelled=dataset.rows_of("unlabelled"),
        group=group,
        rule=". ".join(rule[0].upper() + rule[1:] for rule in rules) + ".",
        leaked=leaked,
    )
    used = np.concatenate([splits.train, splits.valid, splits.test, splits.calib, splits.unlabelled])
    assert len(np.unique(used)) == len(used)
    return splits


def for_needs(
    dataset: Dataset, needs: Any, *, target: Target, task: str = "classify", findings: Sequence[Finding] = ()
) -> Splits:
    """The splits that these needs get, at every time: sized for the proportions that they must prove."""
    targets = tasks_of(target, task)
    tasks = {name: leaves.load("task", of) for name, of in targets.items()}
    of_one = next(iter(tasks.values()))
    limits = [
        need.limit
        for need in needs.needs
        if need.kind == "quality" and need.op[0] == ">"
        if tasks.get(need.key.target, of_one).METRICS[need.key.measure].proportion
        if need.key.where is None and need.key.against is None
    ]
    return split(
        dataset,
        target=targets,
        findings=findings,
        limits=limits,
        seed=needs.seed,
        group=needs.group,
        confidence=needs.confidence,
        calibrate=any(hasattr(leaf, "settle") for leaf in tasks.values())
        or any("coverage" in dict(need.key.setting) or need.key.measure in OF_PROBABILITIES for need in needs.needs),
    )


def usable_rows(dataset: Dataset, *, target: Target, task: str = "classify") -> np.ndarray:
    """Rows outside the unlabelled part that have every target and inputs to answer by, see `answerable`; ascending."""
    labelled = np.setdiff1d(np.arange(len(dataset)), dataset.rows_of("unlabelled"))
    rows = examples(dataset, labelled, tasks_of(target, task)).rows
    inputs = [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs]
    there = answerable(Rows(dataset.table, [column["name"] for column in inputs], rows), inputs)
    return np.unique(rows[there])


def answerable(rows: Iterable[Mapping[str, Any]], inputs: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Which of these rows have all columns of one of the sets that `sufficient` tells [n bool]; what cannot be read is not there."""
    key_of = {column["name"]: leaves.load("modality", column["kind"]).key for column in inputs}
    sets = sufficient(inputs)

    def there(row: Mapping[str, Any], name: str) -> bool:
        return key_of[name](row[name]) not in (None, "")  # of an empty text the key is one too

    return np.array([any(all(there(row, name) for name in names) for names in sets) for row in rows], dtype=bool)


def sufficient(inputs: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Sets of input columns each of which is enough to answer a row by, the ones first that are quickly looked at.

    Any one text or cell will do, as what reads them reads gaps. Of pictures, of recordings and the like every column has to be there.
    """
    single: list[list[str]] = []
    together: dict[str, list[str]] = {}
    for column in inputs:
        if column["kind"] == "text" or not speaks_for_itself(column["kind"]):
            single.append([column["name"]])
        else:
            together.setdefault(column["kind"], []).append(column["name"])
    return [*single, *together.values()]


def row_keys(dataset: Dataset) -> np.ndarray:
    """A number per row [n] int64; rows whose inputs are the same to a reader share it, and -1 means that all are blank.

    "The same" is what the modality of each input says by its `key`.
    """
    inputs = dataset.schema.inputs
    key_of = [leaves.load("modality", column.kind).key for column in inputs]
    numbers: dict[bytes, int] = {}
    keys = np.empty(len(dataset), dtype=np.int64)
    place = 0
    table = dataset.table.select([column.name for column in inputs])
    for batch in table.to_batches(max_chunksize=rows_at_once(table, most=8192)):
        columns = [map(key, values.to_pylist()) for key, values in zip(key_of, batch.columns, strict=True)]
        for parts in zip(*columns, strict=True):
            text = "\0".join("" if part is None else str(part) for part in parts)
            if not text.strip("\0"):
                keys[place] = -1
            else:
                digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
                keys[place] = numbers.setdefault(digest, len(numbers))
            place += 1
    return keys


def folds(codes: np.ndarray, units: np.ndarray, *, seed: int, count: int) -> np.ndarray:
    """The fold of each row [n], 0 to `count` - 1, with the labels [n] alike in all of them; rows of one unit [n] share it."""
    kinds, first, unit = np.unique(units, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(kinds))
    order = shuffled[np.argsort(codes[first][shuffled], kind="stable")]
    fold = np.empty(len(kinds), dtype=np.int64)
    fold[order] = np.arange(len(kinds)) % count
    return np.asarray(fold[unit.reshape(-1)])


def _check_classes(dataset: Dataset, train: np.ndarray, targets: Mapping[str, str]) -> None:
    """Raises: InputError `split.one-class`."""
    told = examples(dataset, train, targets).targets
    for target, task in targets.items():
        leaf = leaves.load("task", task)
        classes = leaf.learn(told[target]).get("classes")
        if classes is not None and len(classes) < 2 and getattr(leaf, "EXCLUSIVE", True):
            raise InputError("split.one-class", count=len(train), name=", ".join(classes), target=target)


def _units(dataset: Dataset, keys: np.ndarray, group: str | None, alike: Sequence[np.ndarray]) -> np.ndarray:
    """A number per row [n]: rows with the same one stay together, linked by duplicates, by likeness or by groups."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A blank row is nobody's duplicate.
    alone = np.where(keys >= 0, keys, keys.max(initial=0) + 1 + np.arange(len(keys)))
    _, by_key = np.unique(alone, return_inverse=True)
    count = int(by_key.max(initial=-1)) + 1
    links = [(by_key[rows[:-1]], by_key[rows[1:]]) for rows in alike]
    if group is not None:
        values = as_text(dataset.table.column(group)).to_pylist()
        numbers: dict[str | None, int] = {}
        by_group = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
        links.append((by_key, count + by_group))
        count += len(numbers)
    if not links:
        return np.asarray(by_key, dtype=np.int64)
    ends = tuple(np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_array((np.ones(len(ends[0]), dtype=bool), ends), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][by_key], dtype=np.int64)


def _codes(dataset: Dataset, target: str, task: str) -> np.ndarray:
    """A number per row [n] for its target; strata for a draw. Targets that are no classes are cut into tenths."""
    column = dataset.table.column(target)
    leaf = leaves.load("task", task)
    if hasattr(leaf, "strata"):
        return np.asarray(leaf.strata(column.to_pylist()), dtype=np.int64)
    if not dataset.schema.has_classes(target):
        numbers = np.array([cells.number(value) for value in column.to_pylist()], dtype=np.float64)
        known = numbers[np.isfinite(numbers)]
        if len(known) > 0.5 * len(numbers):
            edges = np.quantile(known, np.arange(0.1, 1.0, 0.1))
            return np.asarray(np.searchsorted(edges, np.nan_to_num(numbers)), dtype=np.int64)
    values = as_text(column).to_pylist()
    names = sorted({str(value).strip() for value in values})  # so that a number does not hang on the order of rows
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[str(value).strip()] for value in values], dtype=np.int64)


def _rng(fingerprint: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"split {fingerprint} {seed}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _test_share(limits: Sequence[float], count: int, level: float) -> tuple[float, str]:
    """The share of the rows that the test takes, and why.

    The smallest at which every limit would be proven with probability POWER if the truth lay above it by half of what
    is left to 1, but at most by 0.03 (Clopper and Pearson 1934: the exact bound for a proportion).
    """
    within = [limit for limit in limits if 0 < limit < 1]
    if not within:
        return DEFAULT_TEST_SHARE, f"{DEFAULT_TEST_SHARE:.0%}, as no need is a proportion"
    hardest = min(within, key=lambda limit: _power(limit, max(1, count // 5), level))
    for share in TEST_SHARES:
        powers = [_power(limit, round(share * count), level) for limit in within]
        if min(powers) >= POWER:
            break
    truth = _assumed_truth(hardest)
    claim = f"a true value of {truth:.3g} would prove 'at least {hardest:g}' with probability"
    if min(powers) >= POWER:
        why = f"the smallest share from 15 % to 35 % at which {claim} {POWER:g}"
    else:
        why = f"the most that is taken: {claim} {min(powers):.2f} only"
    return share, f"{share:.0%}, {why} (exact binomial bound at {level:.2%})"


def _assumed_truth(limit: float) -> float:
    return min(limit + (1 - limit) / 2, limit + 0.03)


def _power(limit: float, count: int, level: float) -> float:
    """The probability that `count` rows prove the limit if the truth is `_assumed_truth`."""
    needed = fewest_that_meet(count, limit=limit, level=level)
    return 0.0 if needed is None else float(special.bdtrc(needed - 1, count, _assumed_truth(limit)))


def _touched(units: np.ndarray, given: dict[str, np.ndarray], *names: str) -> np.ndarray:
    """The units that rows of these given parts belong to."""
    return np.unique(np.concatenate([units[given[name]] for name in names if name in given] or [units[:0]]))


def _draw(
    pool: np.ndarray, count: int, units: np.ndarray, codes: np.ndarray, avoid: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """About `count` rows of the pool, stratified, in whole units, and the rest; both ascending.

    avoid: units with rows in another given part, which would leak; they are drawn only where nearly all are such.
    """
    free = ~np.isin(units[pool], avoid)
    rows = pool[free] if free.sum() >= 0.9 * len(pool) else pool
    found, unit = np.unique(units[rows], return_inverse=True)
    sizes = np.bincount(unit, minlength=len(found))
    strata = _majority(unit, codes[rows], len(found))
    totals = np.bincount(strata, weights=sizes)
    quotas = _quotas(totals, count)
    order = rng.permutation(len(found))
    # A unit of more than half of its stratum's quota comes last, so that one large group does not crowd out the others.
    bulky = sizes > np.maximum(1, quotas[strata] / 2)
    order = order[np.lexsort((bulky[order], strata[order]))]
    before = np.cumsum(sizes[order]) - sizes[order]
    first = np.searchsorted(strata[order], strata[order])
    within = before - before[first]
    chosen = np.zeros(len(found), dtype=bool)
    chosen[order] = within + sizes[order] / 2 <= quotas[strata[order]]
    drawn = np.sort(rows[chosen[unit]])
    return drawn, np.setdiff1d(pool, drawn)


def _majority(unit: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """The commonest code of each unit."""
    pairs, times = np.unique(np.column_stack([unit, codes]), axis=0, return_counts=True)
    order = np.lexsort((times, pairs[:, 0]))
    majority = np.zeros(count, dtype=np.int64)
    majority[pairs[order, 0]] = pairs[order, 1]  # the last one written is the commonest
    return majority


def _quotas(totals: np.ndarray, count: int) -> np.ndarray:
    """Rows per stratum: in proportion, rounded by largest remainders. Each keeps one back; five or more give one."""
    exact = totals * min(1.0, count / max(1.0, totals.sum()))
    quotas = np.floor(exact)
    missing = round(min(count, totals.sum()) - quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[: max(0, missing)]] += 1
    if (totals > 0).sum() <= count:
        quotas = np.where((totals >= 5) & (quotas < 1), 1, quotas)
    return np.asarray(np.minimum(quotas, np.maximum(totals - 1, 0)))


def _given_rule(given: dict[str, np.ndarray]) -> str:
    return "given: " + ", ".join(
        f"{name} ({len(rows):,} usable rows)" for name, rows in given.items() if name != "unlabelled"
    )
