"""The audit finds every planted defect, names its rows, and leaves clean data alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sartor.data import telling
from sartor.data.audit import audit
from sartor.data.dataset import Dataset, Finding
from sartor.data.read import read
from sartor.modality import text

TOPICS = {
    "parcel": ["where is my delivery", "the courier lost it", "it never arrived", "the tracking page is stuck"],
    "refund": ["give me my money back", "you charged me twice", "the amount is wrong", "cancel the payment now"],
    "account": ["I forgot my password", "change my email please", "the login page is blank", "close my profile"],
}


def clean_rows(copies: int = 10) -> list[list[str]]:
    return [
        [f"{text}, said customer {i * 4 + j}", label]
        for label, texts in TOPICS.items()
        for j, text in enumerate(texts)
        for i in range(copies)
    ]


def write(path: Path, rows: list[list[str]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *(",".join(f'"{cell}"' for cell in row) for row in rows), ""]), encoding="utf-8")
    return path


def found(data: Dataset) -> dict[str, Finding]:
    findings = audit(data, target=data.schema.targets[0].name, task="classify")
    assert len({finding.code for finding in findings}) == len(findings)
    return {finding.code: finding for finding in findings}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


def test_clean_data_has_no_findings(path: Path) -> None:
    # Ten rows of each text differ by the number of a customer alone, and twelve texts have words of their own: that is told, and is all.
    assert set(found(read(write(path, clean_rows())))) == {"audit.near-duplicate", "audit.words-tell"}


def test_unreadable_rows_are_counted_with_file_and_line(path: Path) -> None:
    write(path, clean_rows())
    path.write_text(path.read_text() + "one cell\na,b,c\n")
    finding = found(read(path))["audit.unreadable"]
    assert finding.count == 2
    assert f"{path}, line 122" in finding.message
    assert [line for _, line, _ in finding.details["lines"]] == [122, 123]


def test_empty_inputs_and_missing_targets(path: Path) -> None:
    rows = clean_rows()
    rows[3][0], rows[8][1], rows[9][1] = " ", "", " "
    findings = found(read(write(path, rows)))
    assert findings["audit.empty-input"].rows == (3,)
    assert findings["audit.missing-target"].rows == (8, 9)
    assert rows[8][0] in findings["audit.missing-target"].message


def test_duplicates_are_told_from_conflicts(path: Path) -> None:
    rows = clean_rows()
    rows += [["  " + rows[0][0].upper(), rows[0][1]], [rows[50][0], "parcel"]]
    findings = found(read(write(path, rows)))
    assert findings["audit.duplicate"].rows == (120,)
    assert "row 121 is row 1 again" in findings["audit.duplicate"].message
    assert findings["audit.conflict"].rows == (50, 121)
    assert "'parcel' and 'refund'" in findings["audit.conflict"].message


def test_inputs_in_both_train_and_test(tmp_path: Path) -> None:
    rows = clean_rows()
    train = write(tmp_path / "train.csv", rows[::2])
    test = write(tmp_path / "test.csv", [*rows[1::2], rows[0], [rows[2][0], "account"]])
    finding = found(read({"train": train, "test": test}))["audit.leak"]
    assert finding.rows == (120, 121)
    assert finding.details["other_label"] == 1
    assert "row 61 of test is row 1 of train" in finding.message
    assert finding.severity == "warning"


def test_a_large_leak_is_an_error_and_a_leak_into_valid_a_note(tmp_path: Path) -> None:
    rows = clean_rows()
    parts = {"train": rows[::2], "valid": [*rows[1::4], rows[0]], "test": [*rows[3::4], *rows[0:20:2]]}
    paths = {name: write(tmp_path / f"{name}.csv", part) for name, part in parts.items()}
    findings = found(read(paths))
    assert findings["audit.leak"].severity == "error"
    assert findings["audit.leak-train-valid"].severity == "note"
    assert findings["audit.leak-valid-test"].count == 1


def test_the_same_file_as_train_and_test_is_its_own_error_and_names_it(tmp_path: Path) -> None:
    one = write(tmp_path / "reviews.csv", clean_rows())
    finding = found(read({"train": one, "test": one}))["audit.same-rows"]
    assert finding.severity == "error"
    assert finding.count == 120
    assert finding.message.startswith(f"The same file is given as train and as test: {one}.")


def test_a_shuffled_copy_is_found_too_and_both_are_named(tmp_path: Path) -> None:
    one = write(tmp_path / "train.csv", clean_rows())
    two = write(tmp_path / "test.csv", clean_rows()[::-1])
    finding = found(read({"train": one, "test": two}))["audit.same-rows"]
    assert str(one) in finding.message
    assert str(two) in finding.message


def test_a_column_that_gives_the_label_away(path: Path) -> None:
    teams = {"parcel": "logistics", "refund": "billing", "account": "it"}
    rows = [
        [str(i), text, teams[label], "web" if i % 2 else "phone", label] for i, (text, label) in enumerate(clean_rows())
    ]
    write(path, rows, header="id,text,team,channel,label")
    finding = found(read(path))["audit.gives-away"]
    assert finding.details["column"] == "team"
    assert finding.severity == "note"
    used = found(read(path, input=["text", "team"]))["audit.gives-away"]
    assert used.severity == "error"
    assert "100.0%" in used.message


def test_the_label_written_into_the_text(path: Path) -> None:
    rows = [[f"{text} [{label.upper()}]", label] for text, label in clean_rows()]
    finding = found(read(write(path, rows)))["audit.label-in-text"]
    assert finding.severity == "error"
    assert set(finding.details["classes"]) == set(TOPICS)


def test_a_label_that_is_a_common_word_is_no_giveaway(path: Path) -> None:
    rows = [[text, "customer" if label == "parcel" else "said"] for text, label in clean_rows()]
    assert "audit.label-in-text" not in found(read(write(path, rows)))


PRODUCTS = {
    "Apparel": ["Shirt", "Tshirt", "Kurta", "Jeans"],
    "Footwear": ["Shoes", "Sandals", "Heels"],
    "Accessories": ["Watch", "Wallet", "Belt", "Handbag"],
}


def titles(told: float) -> list[list[str]]:
    """Titles of products, the share `told` of which names its class by the kind of product; the others name a brand alone."""
    rng = np.random.default_rng(0)
    brands = ["Nike", "Puma", "Fossil", "Catwalk", "Wrangler", "Lee"]
    rows = []
    for i in range(400):
        label = list(PRODUCTS)[rng.choice(3, p=[0.5, 0.3, 0.2])]
        kind = f" {rng.choice(PRODUCTS[label])}" if rng.random() < told else ""
        rows.append([f"{rng.choice(brands)} {rng.choice(['Men', 'Women', 'Unisex'])} {1000 + i}{kind}", label])
    return rows


def test_a_title_whose_words_give_the_class_away(path: Path) -> None:
    finding = found(read(write(path, titles(told=0.97))))["audit.words-tell"]
    assert "Column 'text' gives the label away" in finding.message
    assert finding.details["share"] > 0.95
    kinds = {kind.casefold(): label for label, kinds in PRODUCTS.items() for kind in kinds}
    words = finding.details["words"]
    assert {word for word, *_ in words} <= set(kinds)
    assert all(kinds[word] == label and right == count for word, label, right, count in words)
    # A third that names no kind leaves more than a word can tell.
    assert "audit.words-tell" not in found(read(write(path, titles(told=0.65))))


def test_a_word_that_is_in_most_rows_of_one_class_tells_no_more_than_its_size(path: Path) -> None:
    rows = titles(told=0)
    for row in rows:
        row[1] = "Apparel"
    for row in rows[::20]:
        row[1] = "Footwear"
    assert "audit.words-tell" not in found(read(write(path, rows)))


def test_texts_without_spaces_are_told_by_what_their_characters_make(path: Path) -> None:
    rng = np.random.default_rng(0)
    words = {"服装": ["衬衫", "牛仔"], "鞋": ["皮鞋", "凉拖"], "配饰": ["手表", "钱包"]}
    rows = []
    for i in range(300):
        label = list(words)[i % 3]
        rows.append([f"{rng.choice(['新款', '经典', '时尚'])}{i}号{rng.choice(words[label])}特价", label])
    finding = found(read(write(path, rows)))["audit.words-tell"]
    assert finding.details["share"] == 1.0


def test_one_word_of_a_row_is_judged_by_the_other_rows_alone() -> None:
    """The fast count against the same, row by row and word by word."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghijklmn"), size=rng.integers(0, 4))) for _ in range(300)]
    codes = rng.integers(0, 3, 300)
    guessed, by = telling.guesses(texts, [text.parts(each) for each in texts], codes)
    for row, each in enumerate(texts):
        best, word, label = -1.0, "", int(np.bincount(codes).argmax())
        for one in sorted(set(each.split())):
            others = [int(codes[other]) for other in range(300) if other != row and one in texts[other].split()]
            times = Counter(others)
            if len(others) >= telling.FEWEST and (max(times.values()) + 1) / (len(others) + 2) > best:
                best, word = (max(times.values()) + 1) / (len(others) + 2), one
                label = min(times, key=lambda code: (-times[code], code == codes[row], code))
        assert (guessed[row], by[row]) == (label, word)


def test_rare_and_single_row_classes(path: Path) -> None:
    rows = clean_rows()
    rows += [["the shop is closed on Mondays", "hours"]] + [[f"a voucher for friend {i}", "gift"] for i in range(4)]
    findings = found(read(write(path, rows)))
    assert findings["audit.single-row-class"].severity == "error"
    assert findings["audit.single-row-class"].rows == (120,)
    assert set(findings["audit.rare-class"].details["classes"]) == {"hours", "gift"}


def test_a_class_that_is_only_in_test(tmp_path: Path) -> None:
    rows = clean_rows()
    train = write(tmp_path / "train.csv", rows[::2])
    test = write(tmp_path / "test.csv", [*rows[1::2], ["a bill for the firm", "invoice"]])
    finding = found(read({"train": train, "test": test}))["audit.unseen-class"]
    assert finding.severity == "error"
    assert finding.rows == (120,)
    assert "'invoice'" in finding.message


def test_labels_in_two_spellings(path: Path) -> None:
    rows = clean_rows()
    rows += [["lost in the post", "Parcel"], ["gone astray", "parcle"]]
    finding = found(read(write(path, rows)))["audit.label-spelling"]
    assert finding.rows == (120, 121)


def test_numbered_and_signed_classes_are_not_spellings_of_one_another(path: Path) -> None:
    names = {"parcel": "class_1", "refund": "class_2", "account": "+1"}
    rows = [[text, names[label]] for text, label in clean_rows()] + [[f"words of {i}", "-1"] for i in range(12)]
    assert "audit.label-spelling" not in found(read(write(path, rows)))


def test_imbalance_and_the_mix_of_languages_come_from_the_leaves(path: Path) -> None:
    rows = [[text, "usual"] for text, _ in clean_rows()]
    rows += [[f"das ist nicht gut und ich will {name}{i}", name] for name in "abc" for i in range(10)]
    findings = found(read(write(path, rows)))
    assert findings["audit.imbalance"].details["class"] == "usual"
    assert findings["audit.language-mix"].count == 30


def test_findings_come_worst_first_and_hold_no_control_characters(path: Path) -> None:
    rows = clean_rows()
    rows += [["\x1b[31mred alert\tnow", "hours"], [rows[0][0], rows[0][1]], ["\x1b[31mred alert\tnow", "parcel"]]
    findings = audit(read(write(path, rows)), target="label", task="classify")
    assert [finding.severity for finding in findings] == sorted(
        (finding.severity for finding in findings), key=["error", "warning", "note"].index
    )
    assert not any(character < " " for finding in findings for character in finding.message)


def test_a_finding_knows_every_row_and_the_record_names_a_thousand(path: Path) -> None:
    rows = clean_rows() + [["again and again", "parcel"]] * 1500
    finding = found(read(write(path, rows)))["audit.duplicate"]
    assert finding.count == 1499
    assert len(finding.rows) == 1499
    assert len(finding.as_dict()["rows"]) == 1000


def test_every_judging_row_that_is_nearly_a_training_row_is_told_of(tmp_path: Path) -> None:
    base = "where is the parcel that i ordered from your shop two weeks ago, please tell me"
    train = [[base, "parcel"], *clean_rows(copies=1)]
    test = [
        [base + "?", "parcel"],
        [base + "!", "parcel"],
        ["a text like no other one that stands in these rows", "parcel"],
    ]
    paths = {name: write(tmp_path / f"{name}.csv", rows) for name, rows in (("train", train), ("test", test))}
    finding = found(read(paths))["audit.near-leak"]
    assert finding.count == 2
    assert finding.rows == (len(train), len(train) + 1)
    assert finding.details["twins"] == [0]


def test_a_text_made_of_what_no_other_has_is_an_outlier_and_a_repeated_one_is_counted_once(path: Path) -> None:
    odd = "qzvxk wjrbt ghnqp zzxkv bdwqj"
    rows = [*clean_rows(20), [odd, "parcel"], [odd, "parcel"], ["short", "refund"]]
    finding = found(read(write(path, rows)))["audit.outlier"]
    assert finding.rows == (240,)
    assert finding.details["alone"] == [1.0]
    assert "qzvxk" in finding.message
    assert "audit.outlier" not in found(read(write(path, clean_rows(20))))
    # Of a few rows nobody can say what is usual.
    assert "audit.outlier" not in found(read(write(path, [*clean_rows(5), [odd, "parcel"]])))


def test_digits_do_not_make_a_text_unlike_others(path: Path) -> None:
    rows = [*clean_rows(20), ["where is my delivery 4711 0815 2342 1138 9001 7777 3141 5926 5358", "parcel"]]
    assert "audit.outlier" not in found(read(write(path, rows)))


@pytest.mark.parametrize(
    "more",
    [
        " please answer to jonathan.quetzalcoatl@wxyz-vbnm.example",
        " see https://example.com/qzvxk/wjrbt?ghnqp=zzxkv",
    ],
)
def test_an_address_does_not_make_a_text_unlike_others(path: Path, more: str) -> None:
    rows = clean_rows(20)
    assert "audit.outlier" not in found(read(write(path, [*rows, [rows[0][0] + more, rows[0][1]]])))


def test_a_foreign_word_does_not_make_a_chinese_text_unlike_others(path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        ["".join(rng.choice(list("我的订单什么时候能到请问可以退款吗谢谢"), 14)), ["包裹", "退款"][i % 2]]
        for i in range(240)
    ]
    assert "audit.outlier" not in found(read(write(path, [*rows, ["我的订单package什么时候能到", "包裹"]])))
    assert found(read(write(path, [*rows, ["苟利國家生死以豈因禍福避趨之", "包裹"]])))["audit.outlier"].rows == (240,)


def test_a_label_that_the_other_rows_contradict_is_named_with_a_better_one(path: Path) -> None:
    rows = clean_rows()
    rows[3][1] = "refund"
    finding = found(read(write(path, rows)))["audit.wrong-label"]
    assert finding.rows == (3,)
    assert finding.details["suggested"] == ["parcel"]
    assert "is 'refund' and reads like 'parcel'" in finding.message
