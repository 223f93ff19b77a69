"""Splits: stratified, by groups, sized for what must be proven, and never through a duplicate."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.bounds import level_of_look
from sartor.data.dataset import PARTS, Column, Dataset, Finding, Schema
from sartor.data.read import fingerprint
from sartor.data.split import folds, row_keys, split, usable_rows
from sartor.errors import InputError


def dataset(
    texts: list[str], labels: list[str | None], *, parts: list[str] | None = None, group: list[str] | None = None
) -> Dataset:
    columns = {"text": pa.array(texts, pa.large_string()), "label": pa.array(labels, pa.large_string())}
    roles = [Column("text", "text", "input"), Column("label", "label", "target")]
    if group is not None:
        columns["customer"] = pa.array(group, pa.large_string())
        roles.append(Column("customer", "category", "other"))
    part = np.full(len(texts), -1, np.int8) if parts is None else np.array([PARTS.index(p) for p in parts], np.int8)
    table = pa.table(columns)
    return Dataset(table, Schema(tuple(roles)), part, fingerprint(table, part), "memory")


def numbered(count: int, classes: int = 4) -> tuple[list[str], list[str | None]]:
    return [f"message number {i}" for i in range(count)], [f"class {i % classes}" for i in range(count)]


def apart(sides: list[set[Any]]) -> bool:
    return len(set().union(*sides)) == sum(map(len, sides))


def make(data: Dataset, **asked: Any) -> Any:
    return split(data, target="label", task="classify", **asked)


def test_one_file_becomes_three_parts_that_share_no_row() -> None:
    splits = make(dataset(*numbered(2000)))
    rows = np.concatenate([splits.train, splits.valid, splits.test])
    assert sorted(rows.tolist()) == list(range(2000))
    assert len(splits.test) == 400
    assert len(splits.valid) == 208
    assert "20%" in splits.rule


def test_the_same_rows_and_seed_give_the_same_splits_and_another_seed_others() -> None:
    data = dataset(*numbered(600))
    one, same, other = make(data), make(dataset(*numbered(600))), make(data, seed=1)
    assert one.test.tolist() == same.test.tolist()
    assert one.valid.tolist() == same.valid.tolist()
    assert one.test.tolist() != other.test.tolist()


def test_every_class_keeps_its_share() -> None:
    labels: list[str | None] = ["common"] * 800 + ["seldom"] * 190 + ["rare"] * 10
    splits = make(dataset([f"message {i}" for i in range(1000)], labels))
    for rows, size in ((splits.test, 200), (splits.valid, 200)):
        counts = Counter(labels[row] for row in rows)
        assert abs(counts["common"] - 0.8 * size) <= 1
        assert abs(counts["seldom"] - 0.19 * size) <= 1
        assert counts["rare"] >= 1


def test_a_class_of_one_row_stays_in_train() -> None:
    texts, labels = numbered(300)
    labels[7] = "alone"
    assert 7 in make(dataset(texts, labels)).train


def test_duplicates_never_stand_on_both_sides() -> None:
    texts, labels = numbered(900)
    texts = [f"Message  {i % 300}" if i % 2 else f"message {i % 300} " for i in range(900)]
    splits = make(dataset(texts, labels))
    keys = row_keys(dataset(texts, labels))
    sides = [set(keys[rows].tolist()) for rows in (splits.train, splits.valid, splits.test)]
    assert apart(sides)
    assert len(splits.leaked) == 0
    assert abs(len(splits.test) - 180) <= 20


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 5)) for _ in range(count))


def test_near_duplicates_never_stand_on_both_sides_but_a_template_may() -> None:
    rng = np.random.default_rng(0)
    ones = [words(rng, 12) for _ in range(400)]
    template = words(rng, 30)
    texts = [
        *(text + end for text in ones for end in ("", " again")),
        *(f"{template} {words(rng, 1)}" for _ in range(200)),
    ]
    splits = make(dataset(texts, [f"class {i % 4}" for i in range(1000)]))
    origin = np.repeat(np.arange(400), 2)
    sides = [set(origin[rows[rows < 800]].tolist()) for rows in (splits.train, splits.valid, splits.test)]
    assert apart(sides)
    # All of a template in one part would leave the others without it.
    assert min((rows >= 800).sum() for rows in (splits.train, splits.valid, splits.test)) >= 20
    assert "near-duplicates kept together, but for 200 rows of templates" in splits.rule


def test_groups_never_cross_and_duplicates_tie_groups_together() -> None:
    texts, labels = numbered(1200)
    group = [f"customer {i // 10}" for i in range(1200)]
    texts[5] = texts[1195]  # one text of the first customer and the last
    splits = make(dataset(texts, labels, group=group), group="customer")
    owners = [{group[row] for row in rows} for rows in (splits.train, splits.valid, splits.test)]
    assert apart(owners)
    assert sum("customer 0" in side and "customer 119" in side for side in owners) == 1
    assert abs(len(splits.test) - 240) <= 40
    assert splits.group == "customer"
    assert "'customer'" in splits.rule


def test_given_parts_are_used_and_valid_is_carved_from_train() -> None:
    texts, labels = numbered(1000)
    splits = make(dataset(texts, labels, parts=["train"] * 700 + ["test"] * 300))
    assert splits.test.tolist() == list(range(700, 1000))
    assert set(splits.valid.tolist()) | set(splits.train.tolist()) == set(range(700))
    assert len(splits.valid) == 200
    assert "Given" in splits.rule


def test_all_parts_given_are_left_alone() -> None:
    parts = ["train"] * 50 + ["valid"] * 20 + ["calib"] * 10 + ["test"] * 15 + ["unlabelled"] * 5
    texts, labels = numbered(100)
    labels[95:] = [None] * 5
    splits = make(dataset(texts, labels, parts=parts))
    assert splits.sizes() == {"train": 50, "valid": 20, "calib": 10, "test": 15, "unlabelled": 5}


def test_test_rows_that_stand_in_train_stay_and_are_named() -> None:
    texts, labels = numbered(400)
    texts[300:310] = [text.upper() for text in texts[:10]]
    splits = make(dataset(texts, labels, parts=["train"] * 300 + ["test"] * 100))
    assert splits.leaked.tolist() == list(range(300, 310))
    assert len(splits.test) == 100
    assert not set(splits.valid.tolist()) & set(range(10))  # valid is for choosing, so it avoids them


def test_the_same_file_twice_still_splits_and_says_so() -> None:
    texts, labels = numbered(200)
    finding = Finding("audit.same-rows", "error", "", "", 200)
    data = dataset(texts * 2, labels * 2, parts=["train"] * 200 + ["test"] * 200)
    splits = make(data, findings=[finding])
    assert len(splits.leaked) == len(splits.test) == 200
    assert len(splits.valid) > 0
    assert "training rows again" in splits.rule


@pytest.mark.parametrize(
    ("rows", "limits", "enough"),
    [(20_000, [0.9], True), (3000, [0.9], True), (8000, [0.98], True), (1000, [0.5, 0.9], False)],
)
def test_a_made_test_is_as_large_as_the_proof_needs(rows: int, limits: list[float], enough: bool) -> None:
    from scipy.stats import beta, binom

    def power(share: int) -> float:
        """By the definition: the chance of a count of hits whose Clopper-Pearson bound reaches the limit."""
        count = round(share * rows / 100)
        hits = np.arange(count + 1)
        bound = np.nan_to_num(beta.ppf(1 - level_of_look(0.95, 1), hits, count - hits + 1))
        return min(
            float(binom.pmf(hits, count, min(limit + (1 - limit) / 2, limit + 0.03))[bound >= limit].sum())
            for limit in limits
        )

    splits = make(dataset(*numbered(rows)), limits=limits)
    share = round(100 * len(splits.test) / rows)
    assert f"{share}%" in splits.rule
    assert (power(share) >= 0.9) == enough
    assert share == (next(s for s in range(15, 36) if power(s) >= 0.9) if enough else 35)


def test_rows_without_target_or_input_are_in_no_split() -> None:
    texts, labels = numbered(100)
    texts[3], labels[4], labels[5] = "  ", None, " "
    data = dataset(texts, labels)
    assert sorted(set(range(100)) - set(usable_rows(data, target="label", task="classify").tolist())) == [3, 4, 5]
    splits = make(data)
    assert not {3, 4, 5} & set(np.concatenate([splits.train, splits.valid, splits.test]).tolist())


def picture(seed: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, size=(8, 8, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_of_several_pictures_all_are_needed_and_a_text_may_stand_for_them() -> None:
    pytest.importorskip("PIL")
    ones, others = [picture(i) for i in range(60)], [picture(100 + i) for i in range(60)]
    fronts: list[bytes | None] = [None, ones[1], ones[2][:50], None, *ones[4:]]
    backs: list[bytes | None] = [others[0], b"", others[2], None, *others[4:]]
    columns = {
        "front": pa.array(fronts, pa.large_binary()),
        "back": pa.array(backs, pa.large_binary()),
        "title": pa.array(["", None, "lamp", "vase"] + [""] * 56, pa.large_string()),
        "label": pa.array([f"class {i % 2}" for i in range(60)], pa.large_string()),
    }
    pictures = [Column("front", "image", "input"), Column("back", "image", "input")]
    for more, unusable in (([], [0, 1, 2, 3]), ([Column("title", "text", "input")], [0, 1])):
        schema = Schema((*pictures, *more, Column("label", "label", "target")))
        data = Dataset(pa.table(columns), schema, np.full(60, -1, np.int8), "x", "memory")
        kept = usable_rows(data, target="label", task="classify").tolist()
        assert sorted(set(range(60)) - set(kept)) == unusable
        splits = make(data)
        assert not set(unusable) & set(np.concatenate([splits.train, splits.valid, splits.test]).tolist())


def test_training_rows_of_one_class_are_refused_before_anything_is_trained() -> None:
    texts, _ = numbered(120)
    labels: list[str | None] = ["spam"] * 80 + ["ham", "spam"] * 20
    with pytest.raises(InputError, match="All 56 training rows have 'spam' in column 'label'") as caught:
        make(dataset(texts, labels, parts=["train"] * 80 + ["test"] * 40))
    assert caught.value.code == "split.one-class"


def test_what_cannot_be_split_says_so() -> None:
    texts, labels = numbered(8)
    with pytest.raises(InputError, match="Only 8 rows"):
        make(dataset(texts, labels))
    with pytest.raises(InputError) as caught:
        make(dataset(*numbered(30), parts=["test"] * 30))
    assert caught.value.code == "split.no-train"


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.integers(0, 60), min_size=40, max_size=200),
    classes=st.integers(2, 6),
    owners=st.integers(5, 40),
    by_group=st.booleans(),
    seed=st.integers(0, 99),
)
def test_splits_are_disjoint_and_complete_whatever_repeats(
    texts: list[int], classes: int, owners: int, by_group: bool, seed: int
) -> None:
    labels: list[str | None] = [f"c{(i * 7) % classes}" for i in range(len(texts))]
    group = [f"g{(i * 13) % owners}" for i in range(len(texts))]
    data = dataset([f"text {number}" for number in texts], labels, group=group)
    try:
        splits = make(data, seed=seed, group="customer" if by_group else None)
    except InputError:
        return  # everything hangs together
    parts = [splits.train, splits.valid, splits.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(texts)))
    for key in (texts, group) if by_group else (texts,):
        sides = [{key[row] for row in rows} for rows in parts]
        assert apart(sides)


def both(count: int, *, lacking: tuple[int, ...] = ()) -> Dataset:
    """Rows of a class and a number, of which some lack the number."""
    texts, labels = numbered(count)
    prices = [None if i in lacking else float(i * 37 % 101) + 0.5 for i in range(count)]
    table = pa.table(
        {
            "text": pa.array(texts, pa.large_string()),
            "price": pa.array(prices, pa.float64()),
            "label": pa.array(labels, pa.large_string()),
        }
    )
    roles = (Column("text", "text", "input"), Column("price", "number", "target"), Column("label", "label", "target"))
    part = np.full(count, -1, np.int8)
    return Dataset(table, Schema(roles), part, fingerprint(table, part), "memory")


TARGETS = {"price": "regress", "label": "classify"}


def test_of_several_targets_rows_are_used_that_have_them_all_and_classes_stratify() -> None:
    data = both(400, lacking=(3, 50, 51))
    assert sorted(set(range(400)) - set(usable_rows(data, target=TARGETS).tolist())) == [3, 50, 51]
    splits = split(data, target=TARGETS)
    used = np.concatenate([splits.train, splits.valid, splits.test])
    assert not np.isin([3, 50, 51], used).any()
    assert "stratified by 'label'" in splits.rule  # though it is not the first
    held = Counter(data.table.column("label")[int(row)].as_py() for row in splits.test)
    assert max(held.values()) - min(held.values()) <= 1


def test_examples_of_several_targets_are_those_of_each_in_the_same_order() -> None:
    from sartor.data.target import examples
    from sartor.task import classify

    data = both(60, lacking=(0, 7))
    made = examples(data, np.arange(60), TARGETS, group="label")
    assert list(made.targets) == ["price", "label"]
    assert made.rows.tolist() == [row for row in range(60) if row not in (0, 7)]
    assert made.targets["price"] == [float(row * 37 % 101) + 0.5 for row in made.rows]
    alone = classify.examples(data, made.rows, "label", group="label")
    assert made.targets["label"] == alone.targets["label"]
    assert made.groups.tolist() == alone.groups.tolist()
    assert [row["text"] for row in made.inputs] == [f"message number {row}" for row in made.rows]


def test_one_class_of_any_target_is_refused() -> None:
    data = both(100)
    same = pa.array(["x"] * 100, pa.large_string())
    data = Dataset(**{**vars(data), "table": data.table.set_column(2, "label", same)})
    with pytest.raises(InputError, match="'label'") as caught:
        split(data, target=TARGETS)
    assert caught.value.code == "split.one-class"


def test_a_unit_stands_in_one_fold_and_every_class_in_all_of_them():
    rng = np.random.default_rng(1)
    units = rng.integers(0, 120, 300)
    codes = units % 3
    fold = folds(codes, units, seed=0, count=10)
    assert all(len(np.unique(fold[units == unit])) == 1 for unit in np.unique(units))
    assert all(set(fold[codes == code]) == set(range(10)) for code in range(3))
