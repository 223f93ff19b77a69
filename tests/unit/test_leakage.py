"""Leakage: groups, times and shifts that were planted are found, and rows drawn at random show none."""

from __future__ import annotations

import csv
import datetime
import random

import numpy as np
import pytest

from sartor.data.audit import audit
from sartor.data.read import read

WORDS = {
    "late": ["parcel", "delivery", "courier", "tracking", "waiting", "late"],
    "refund": ["money", "refund", "charged", "twice", "amount", "card"],
    "account": ["password", "login", "profile", "email", "locked", "reset"],
}
FILLER = [
    "please",
    "hello",
    "today",
    "again",
    "since",
    "monday",
    "thanks",
    "number",
    "help",
    "with",
    "my",
    "the",
    "order",
    "still",
]


def text(rng, label, own=()):
    words = rng.choices(WORDS[label], k=3) + rng.choices(FILLER, k=6) + list(own)
    rng.shuffle(words)
    return " ".join(words) + f" {rng.randrange(10_000)}"


def rows_of(seed, count=600, labels=None):
    rng = random.Random(seed)
    return [[text(rng, label), label] for label in (labels or rng.choices(list(WORDS), k=count))]


def findings(tmp_path, parts, header=("text", "label")):
    for name, rows in parts.items():
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    files = {name: str(tmp_path / f"{name}.csv") for name in parts}
    data = read(files["all"] if list(files) == ["all"] else files, input="text", target="label")
    found = audit(data, target="label", task="classify")
    return {finding.code: finding for finding in found}


def with_customers(seed, count=150, each=4):
    """Rows of customers that each write in their own words about one matter."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = rng.choice(list(WORDS))
        own = [f"{rng.choice('bdfgk')}{rng.choice('aeiou')}zzy{rng.randrange(99)}blorp" for _ in range(4)]
        rows += [[text(rng, label, own), f"C{number:04d}", label] for _ in range(each)]
    rng.shuffle(rows)
    return rows


def test_rows_drawn_at_random_show_nothing(tmp_path):
    rows = rows_of(0, 900)
    found = findings(tmp_path, {"train": rows[:600], "test": rows[600:]})
    assert not {"audit.group-leak", "audit.time-leak", "audit.shift"} & set(found)


def test_customers_on_both_sides(tmp_path):
    rows = with_customers(1)
    finding = findings(tmp_path, {"train": rows[:400], "test": rows[400:]}, ("text", "customer_id", "label"))[
        "audit.group-leak"
    ]
    assert finding.severity == "warning"
    assert finding.details["column"] == "customer_id"
    assert finding.details["agreement"] > 0.5
    assert finding.details["likeness"] > 0.1
    assert finding.count == len(finding.rows) > 150
    assert min(finding.rows) >= 400


def test_customers_on_one_side_each_are_no_leak(tmp_path):
    rows = with_customers(2)
    names = sorted({row[1] for row in rows})
    early = set(names[:100])
    parts = {"train": [row for row in rows if row[1] in early], "test": [row for row in rows if row[1] not in early]}
    assert "audit.group-leak" not in findings(tmp_path, parts, ("text", "customer_id", "label"))


def test_one_file_with_customers_is_told_of_a_grouped_split(tmp_path):
    finding = findings(tmp_path, {"all": with_customers(3)}, ("text", "customer_id", "label"))["audit.group-leak"]
    assert finding.severity == "note"
    assert "--group 'customer_id'" in finding.advice


@pytest.mark.parametrize("name", ["price", "customer_id"])
def test_values_that_repeat_by_chance_are_no_group(tmp_path, name):
    rng = random.Random(4)
    rows = [[message, f"V{rng.randrange(150)}", label] for message, label in rows_of(4)]
    assert "audit.group-leak" not in findings(tmp_path, {"all": rows}, ("text", name, "label"))


def dated(seed, drifting, count=900):
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        weights = [1 + 5 * number / count, 1, 1 + 5 * (1 - number / count)] if drifting else [1, 1, 1]
        label = rng.choices(list(WORDS), weights)[0]
        day = datetime.date(2024, 1, 1) + datetime.timedelta(days=number // 3)
        rows.append([text(rng, label), day.isoformat(), label])
    return rows


def test_training_rows_later_than_test_rows(tmp_path):
    rows = dated(5, drifting=True)
    mixed = rows[::]
    random.Random(0).shuffle(mixed)
    finding = findings(tmp_path, {"train": mixed[:600], "test": mixed[600:]}, ("text", "created", "label"))[
        "audit.time-leak"
    ]
    assert finding.severity == "warning"
    assert finding.details["column"] == "created"
    assert 0.4 < finding.details["share"] < 0.6
    assert finding.details["drift"]["labels"]["effect"] > 0.1


def test_a_split_by_time_is_no_leak_of_time(tmp_path):
    rows = dated(6, drifting=True)
    assert "audit.time-leak" not in findings(
        tmp_path, {"train": rows[:600], "test": rows[600:]}, ("text", "created", "label")
    )


def test_a_split_by_time_is_proposed_only_where_the_data_drift(tmp_path):
    header = ("text", "created", "label")
    assert (
        "latest rows as --test"
        in findings(tmp_path, {"all": dated(7, drifting=True)}, header)["audit.time-leak"].advice
    )
    assert "audit.time-leak" not in findings(tmp_path, {"all": dated(8, drifting=False)}, header)


def test_labels_in_other_proportions(tmp_path):
    train = rows_of(9, labels=["late"] * 400 + ["refund"] * 100 + ["account"] * 100)
    test = rows_of(10, labels=["late"] * 60 + ["refund"] * 70 + ["account"] * 170)
    finding = findings(tmp_path, {"train": train, "test": test})["audit.shift"]
    assert finding.details["labels"]["effect"] > 0.3
    assert finding.severity == "warning"
    assert "'late' is 66.7% of train and 20.0% of test" in finding.message


def test_texts_from_another_source(tmp_path):
    train, test = (
        rows_of(11),
        [[f"TICKET ref: {message} -- sent via app", label] for message, label in rows_of(12, 300)],
    )
    told = findings(tmp_path, {"train": train, "test": test})["audit.shift"].details["inputs"]
    assert 0.95 < told["low"] <= told["auc"] <= told["high"] <= 1


def test_another_language_in_test(tmp_path):
    train = rows_of(13)
    test = [["我的包裹什么时候到", "late"], ["请把钱退给我", "refund"], ["账号登录不了", "account"]]
    test = [[f"{message}{place}", label] for place in range(40) for message, label in test]
    finding = findings(tmp_path, {"train": train, "test": test})["audit.shift"]
    assert finding.details["languages"]["text"]["language"] == "zh"


def test_dates_are_read_in_their_usual_forms_and_ambiguous_ones_are_not(tmp_path):
    from sartor.data.cells import instant

    for value in ("2024-03-05", "2024/3/5", "2024年3月5日", "2024.03.05"):
        assert instant(value) == datetime.datetime(2024, 3, 5, tzinfo=datetime.UTC).timestamp()
    assert instant("2024-03-05T06:30:00Z") - instant("2024-03-05") == 6.5 * 3600
    assert all(np.isnan(instant(value)) for value in ("03/04/2024", "2024-13-40", "", None))


def test_many_classes_drawn_at_random_are_no_shift():
    from sartor.data.leakage import LEAST_EFFECT, LEAST_P, _association

    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        told = _association((rng.random(5_000) < 0.2).astype(int), rng.integers(0, 1_000, 5_000))
        found.append(told["p"] < LEAST_P and told["effect"] >= LEAST_EFFECT)
    assert sum(found) == 0
    moved = np.repeat([0, 1], 2_500)
    assert _association(moved, np.where(moved, rng.integers(0, 50, 5_000), rng.integers(25, 75, 5_000)))["effect"] > 0.4


def test_rows_that_will_be_kept_together_need_no_such_advice(tmp_path):
    path = tmp_path / "all.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "customer_id", "label"), *with_customers(3)])
    data = read(str(path), input="text", target="label")
    told = {
        name: {one.code for one in audit(data, target="label", task="classify", group=name)}
        for name in (None, "customer_id")
    }
    assert "audit.group-leak" in told[None]
    assert "audit.group-leak" not in told["customer_id"]
