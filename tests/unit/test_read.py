"""Reading: every format, encoding and kind of dirt on small real files."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.data import table as tables
from sartor.data.dataset import Dataset, Joined
from sartor.data.delimited import sniff
from sartor.data.read import read, rows
from sartor.data.source import find
from sartor.errors import InputError, Problems

TEXTS = [
    "I can't find my parcel",
    "where is my refund, please?",
    "the app crashes on start",
    "how do I change my address",
    "my card was declined again",
    "please cancel the order",
    "the delivery is late again",
    "I was charged twice for it",
]
LABELS = ["parcel", "refund", "app", "account"] * 2
ROWS = list(zip(TEXTS, LABELS, strict=True))
CHINESE = [
    ("这家酒店的房间很大，服务也很好，下次还会再来", "1"),
    ("早餐太差了，我不会再来这里了", "0"),
    ("房间干净，离地铁站不远，很方便", "1"),
    ("前台的态度不好，等了一个小时才入住", "0"),
]


def csv_text(rows: list[tuple[str, str]], *, header: str = "text,label\n", delimiter: str = ",") -> str:
    return header + "".join(f'"{text}"{delimiter}{label}\n' for text, label in rows)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write_file


def rows_of(data: Dataset) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in data.table.to_pylist()]


def roles(data: Dataset) -> tuple[list[str], str]:
    return [column.name for column in data.schema.inputs], data.schema.targets[0].name


def code_of(source: Any, **asked: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(source, **asked)
    assert str(caught.value)
    return caught.value.code


# formats


def test_csv_with_header_and_quoted_commas(write: Callable[..., Path]) -> None:
    data = read(write("a.csv", csv_text(ROWS)))
    assert rows_of(data) == ROWS
    assert roles(data) == (["text"], "label")
    assert data.given_parts == ()


def test_labels_that_look_like_numbers_stay_text(write: Callable[..., Path]) -> None:
    data = read(write("a.csv", csv_text([(text, str(i % 2)) for i, text in enumerate(TEXTS)])))
    assert data.table.column("label").to_pylist() == ["0", "1"] * 4


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_found_whatever_the_suffix(write: Callable[..., Path], delimiter: str) -> None:
    data = read(write("a.csv", csv_text(ROWS, header=f"text{delimiter}label\n", delimiter=delimiter)))
    assert rows_of(data) == ROWS


def test_a_tsv_without_header_names_its_columns_by_place(write: Callable[..., Path]) -> None:
    data = read(write("a.tsv", "".join(f"{text}\t{label}\n" for text, label in ROWS)))
    assert data.table.column_names == ["column_1", "column_2"]
    assert roles(data) == (["column_1"], "column_2")
    assert len(data) == len(ROWS)


def test_label_first_and_two_texts_without_header(write: Callable[..., Path]) -> None:
    lines = "".join(f'"{i % 3 + 1}","{text} today","{text}, as I said"\n' for i, text in enumerate(TEXTS * 3))
    data = read(write("a.csv", lines))
    assert roles(data) == (["column_2", "column_3"], "column_1")


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json"])
def test_json_lines(write: Callable[..., Path], suffix: str) -> None:
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
    assert rows_of(read(write("a" + suffix, lines))) == ROWS


def test_a_json_array_reads_like_json_lines(write: Callable[..., Path]) -> None:
    array = json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=1)
    assert rows_of(read(write("a.json", array))) == ROWS


def test_json_types_stay_but_labels_become_text(write: Callable[..., Path]) -> None:
    lines = [{"text": text, "label": i % 2 == 0, "stars": i, "tags": ["a"]} for i, text in enumerate(TEXTS)]
    data = read(write("a.jsonl", "\n".join(map(json.dumps, lines))))
    assert data.table.column("label").to_pylist()[:2] == ["true", "false"]
    assert data.table.column("stars").to_pylist() == list(range(8))
    assert data.table.column("tags").to_pylist()[0] == '["a"]'
    assert roles(data) == (["text"], "label")


def test_json_lines_that_are_broken_are_set_aside_with_their_line(write: Callable[..., Path]) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    data = read(write("a.jsonl", "\n".join([*lines[:2], '{"text": "cut', "[1, 2]", *lines[2:]])))
    assert len(data) == len(ROWS)
    assert [item.line for item in data.set_aside] == [3, 4]


def test_parquet_numbers_become_labels_and_class_names_are_used(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "label": [0, 1] * 4})
    pq.write_table(table, tmp_path / "plain.parquet")
    assert read(tmp_path / "plain.parquet").table.column("label").to_pylist()[:2] == ["0", "1"]
    info = {"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "named.parquet")
    assert read(tmp_path / "named.parquet").table.column("label").to_pylist()[:2] == ["bad", "good"]


def test_parquet_columns_of_bytes_are_kept_and_lists_of_them_left_out_and_named(tmp_path: Path) -> None:
    bits = [b"\xff\xd8\xff"] * 8
    table = pa.table({"text": TEXTS, "label": LABELS, "image": bits, "several": [[b"\xff"]] * 8})
    pq.write_table(table, tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet", input="text")
    assert data.table.column_names == ["text", "label", "image"]
    assert data.table.column("image").to_pylist() == bits
    assert "several" in data.notes[0]


def test_plain_text_with_a_label_after_a_tab_or_another_mark(write: Callable[..., Path]) -> None:
    tabbed = read(write("a.txt", "".join(f"{text}\t{label}\n" for text, label in ROWS)))
    marked = read(
        write("b.txt", "".join(f"{text} at 3@{'4' * (i % 2)}@{label}\n" for i, (text, label) in enumerate(ROWS)))
    )
    assert rows_of(tabbed) == ROWS
    assert marked.table.column("column_2").to_pylist() == LABELS
    assert marked.table.column("column_1")[0].as_py().endswith("at 3@")


def test_parquet_is_read_when_it_is_packed(write: Callable[..., Path], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS, "label": LABELS}), tmp_path / "a.parquet")
    packed = write("b.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert rows_of(read(packed)) == ROWS


def dictionary_of(value: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))


def test_what_stands_once_in_parquet_for_many_rows_is_decoded_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH_BYTES", 1 << 20)
    media = pa.array([{"bytes": b"\xff\xd8\xff" + b"x" * 60_000, "path": "a"}] * 300)
    long = dictionary_of("words " * 10_000, 300)
    for name, column in (("text", long), ("image", media), ("list", pa.array([["y" * 30_000] * 2] * 300))):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({name: column, "label": ["a", "b"] * 150}), path, row_group_size=200)
        assert path.stat().st_size < 200_000
        (table,) = tables.open_piece(find(path)[0])
        batches = [batch for batch in table.batches() if isinstance(batch, tables.Batch)]
        assert max(len(batch.lines) for batch in batches) <= 17
        assert [line for batch in batches for line in batch.lines] == list(range(1, 301))


def test_a_parquet_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": dictionary_of("x" * 60_000, 2_000), "label": ["a", "b"] * 1_000}), path)
    with pytest.raises(InputError, match="more than 200 times its size") as caught:
        read(path)
    assert caught.value.code == "data.broken"


def test_a_value_of_parquet_that_is_too_large_costs_its_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_TEXT_BYTES", 1_000)
    pq.write_table(pa.table({"text": [*TEXTS, "x" * 1_001], "label": [*LABELS, "app"]}), tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet")
    assert rows_of(data) == ROWS
    assert [item.line for item in data.set_aside] == [9]
    assert "MB" in data.set_aside[0].reason


@pytest.mark.parametrize("written", [["1,5", "0,250", "12,75", "1,234"], ["3,5", "7", "2,25", "?", "", "1,234"]])
def test_decimal_commas_are_points_in_training_and_where_rows_are_given(
    write: Callable[..., Path], written: list[str]
) -> None:
    cells_ = written * 30
    lines = "".join(f'"{cell}",{"ab"[i % 2]}\n' for i, cell in enumerate(cells_))
    path = write("a.csv", "price,label\n" + lines)
    data = read(path, input="price", target="label")
    assert data.schema.inputs[0].kind == "number"
    given = [row["price"] for row in rows(path)]
    for cell, here, there in zip(cells_, data.table.column("price").to_pylist(), given, strict=True):
        assert here == there == cell.replace(",", ".")
    assert any("'price': a comma stands before the decimals" in note for note in data.notes)


def test_decimal_commas_of_a_target_are_points(write: Callable[..., Path]) -> None:
    lines = "".join(f'{i % 7},"{i},{i % 9}5"\n' for i in range(90)) + '3,"1,234"\n'
    data = read(write("a.csv", "size,price\n" + lines), target="price")
    assert data.schema.targets[0].kind == "number"
    assert data.table.column("price").to_pylist()[-1] == "1.234"


@pytest.mark.parametrize(
    "written",
    [
        ["1,234", "12,345", "7", "999"],  # may be thousands, and so they are
        ["1,234", "12,345", "1,5"],
        ["1,5", "2,5", "1,234,567"],
        ["1,5", "2,5", "1,234.5"],
    ],
)
def test_commas_that_part_thousands_stay(write: Callable[..., Path], written: list[str]) -> None:
    lines = "".join(f'"{cell}",{"ab"[i % 2]}\n' for i, cell in enumerate(written * 30))
    path = write("a.csv", "price,label\n" + lines)
    data = read(path, input="price", target="label")
    assert data.table.column("price").to_pylist() == written * 30 == [row["price"] for row in rows(path)]
    assert not any("comma stands" in note for note in data.notes)


def test_commas_in_words_and_in_columns_that_are_not_used_stay(write: Callable[..., Path]) -> None:
    lines = "".join(f'"{text}","1,{i}5","{i},5 or so",{label}\n' for i, (text, label) in enumerate(ROWS))
    path = write("a.csv", "text,version,note,label\n" + lines)
    data = read(path, input="text", target="label")
    assert data.table.column("version").to_pylist()[2] == "1,25"
    assert [row["note"] for row in rows(path)][2] == "2,5 or so"


def test_gzip_is_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(csv_text(ROWS).encode()))
    assert rows_of(read(tmp_path / "a.csv.gz")) == ROWS


# encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_chinese_in_every_encoding(write: Callable[..., Path], encoding: str) -> None:
    data = read(write("a.csv", csv_text(CHINESE * 5), encoding))
    assert rows_of(data) == CHINESE * 5
    assert data.table.column_names == ["text", "label"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_western_text_is_not_taken_for_chinese(write: Callable[..., Path], encoding: str) -> None:
    texts = ["Où est passé mon colis, déjà payé ?", "Größere Straßen wären schön", "El niño comió en el jardín"]
    texts += ["it’s “fine”, he said – naïve"] if encoding == "cp1252" else ["c'était très agréable à l'hôtel"]
    rows = [(text, str(i % 2)) for i, text in enumerate(texts * 2)]
    data = read(write("a.csv", csv_text(rows), encoding))
    assert rows_of(data) == rows
    assert encoding in data.notes[0]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1251", "Где моя посылка, скажите пожалуйста"), ("euc-kr", "내 소포가 어디에 있는지 알려 주세요")],
)
def test_an_encoding_that_cannot_be_told_is_refused_rather_than_guessed(
    write: Callable[..., Path], encoding: str, text: str
) -> None:
    assert code_of(write("a.csv", csv_text([(text, "1"), (text[::-1], "0")] * 4), encoding)) == "data.encoding"


def test_single_bad_bytes_in_utf_8_cost_their_row_only(write: Callable[..., Path]) -> None:
    content = csv_text(CHINESE * 5).encode() + b'"broken \xff text",1\n'
    data = read(write("a.csv", content))
    assert len(data) == 20
    assert [(item.line, item.reason) for item in data.set_aside] == [(22, "is not valid utf-8")]


# dirt


def test_windows_line_ends_quoted_newlines_and_blank_lines(write: Callable[..., Path]) -> None:
    body = "".join(f'"{text}",{label}\r\n\r\n' for text, label in ROWS)
    data = read(write("a.csv", "text,label\r\n" + body + '"two\r\nlines",app\r\n'))
    assert rows_of(data) == [*ROWS, ("two\nlines", "app")]
    assert not data.set_aside


def test_lone_quotes_in_a_tsv_swallow_nothing(write: Callable[..., Path]) -> None:
    texts = [
        'He said "no" twice',
        '"Never again, she said',
        'a 5" screen',
        'the "end',
        '"quoted" at first',
        "plain words",
    ]
    rows = [(text, str(i % 2)) for i, text in enumerate(texts)]
    data = read(
        write("a.tsv", "Quality\tString\n" + "".join(f"{label}\t{text}\n" for text, label in rows), "utf-8-sig")
    )
    assert data.table.column("String").to_pylist() == texts
    assert data.table.column_names == ["Quality", "String"]


def test_quotes_in_a_tsv_are_read_where_they_plainly_enclose(write: Callable[..., Path]) -> None:
    data = read(write("a.tsv", 'text\tlabel\n"he said ""no"" twice"\tapp\n' + "".join(f"{t}\t{x}\n" for t, x in ROWS)))
    assert data.table.column("text")[0].as_py() == 'he said "no" twice'


def test_ragged_rows_are_set_aside_with_file_and_line(write: Callable[..., Path]) -> None:
    lines = csv_text(ROWS).splitlines()
    path = write("a.csv", "\n".join([*lines[:3], "only one cell", "a,b,c", *lines[3:]]))
    data = read(path)
    assert rows_of(data) == ROWS
    assert [(item.file, item.line) for item in data.set_aside] == [(str(path), 4), (str(path), 5)]
    assert "2 are expected" in data.set_aside[0].reason


def test_an_unclosed_quote_costs_one_row(write: Callable[..., Path]) -> None:
    lines = csv_text(ROWS * 40).splitlines()
    data = read(write("a.csv", "\n".join([*lines[:100], '"never closed,app', *lines[100:]])))
    assert rows_of(data) == ROWS * 40
    assert [item.line for item in data.set_aside] == [101]


def test_more_bad_rows_than_good_ones_is_an_error(write: Callable[..., Path]) -> None:
    lines = ["text,label"] + ["one, two, three, and four,app", "plain text here,app", "a, b and c, d,app"] * 5
    assert code_of(write("a.csv", "\n".join(lines))) == "data.unreadable"


def test_files_pasted_together_lose_their_inner_headers(write: Callable[..., Path]) -> None:
    data = read(write("a.csv", csv_text(ROWS) + csv_text(ROWS)))
    assert rows_of(data) == ROWS * 2
    assert data.set_aside[0].reason == "repeats the header"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.csv", "", "data.empty"),
        ("blank.csv", "\n \n", "data.empty"),
        ("header.csv", "text,label\n", "data.no-rows"),
        ("twice.csv", "text,text,label\n" + "some words,others,1\nthe word,words,0\n" * 4, "data.duplicate-column"),
        ("short.csv", "text,label\n" + "1,some words here,x\n2,more words,y\n" * 4, "data.header-width"),
        ("image.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "data.binary"),
        ("noise.csv", bytes(range(256)) * 9, "data.binary"),
        ("sheet.csv", b"PK\x03\x04" + b"x" * 99, "data.binary"),
        ("sheet.xlsx", b"PK\x03\x04", "data.format"),
        ("table.pkl", b"\x80\x04", "data.format"),
        ("words.dat", "just some words\nand more of them\n", "data.format"),
        ("broken.parquet", b"PAR1 and no more", "data.broken"),
        ("broken.csv.gz", gzip.compress(b"text,label\n" * 999, mtime=0)[:-9], "data.broken"),
        ("number.jsonl", "1\n2\n", "data.json"),
        ("empty.jsonl", " \n", "data.no-rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_so(write: Callable[..., Path], name: str, content: str | bytes, code: str) -> None:
    assert code_of(write(name, content)) == code


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"RIFF\x24\x08\0\0WAVEfmt ", "a recording: give a folder of recordings"),
        (b"fLaC\0\0\0\x22", "a recording: give a folder of recordings"),
        (b"OggS\0\2", "a recording: give a folder of recordings"),
        (b"ID3\4\0\0", "a recording: give a folder of recordings"),
        (b"RIFF\x24\x08\0\0WEBPVP8 ", "an image: give a folder of images"),
    ],
)
def test_media_that_are_given_for_a_table_are_named(write: Callable[..., Path], start: bytes, named: str) -> None:
    with pytest.raises(InputError, match=named):
        read(write("a.csv", start + bytes(range(1, 200))))


def test_a_table_may_begin_with_letters_that_a_recording_begins_with(write: Callable[..., Path]) -> None:
    assert len(read(write("a.csv", csv_text(ROWS, header="ID3,label\n")))) == len(ROWS)


def test_a_missing_file_names_its_nearest_neighbour(write: Callable[..., Path]) -> None:
    path = write("reviews.csv", csv_text(ROWS))
    with pytest.raises(InputError, match=r"Did you mean 'reviews\.csv'") as caught:
        read(path.parent / "review.csv")
    assert caught.value.code == "data.not-found"


# headers


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("great,1\nawful,0\ngreat,1\nawful,0\n", False),
        ("word,rating\ngreat,1\nawful,0\nfine,1\n", True),
        ("name;kind\nbig cat here;x\nbig dog here;y\nbig cow here;x\nsmall cow;y\n", True),
        ("I love it,positive\nI hate it,negative\nit is fine,positive\nnot for me,negative\n", False),
        ("text,label\nonly one row here,x\n", True),
        ("2019,2020\n1,2\n3,4\n", False),
    ],
)
def test_a_header_is_told_from_the_rows_below_it(write: Callable[..., Path], text: str, header: bool) -> None:
    assert (sniff(find(write("a.csv", text))[0].files[0]).header is not None) == header


# parts


def test_parts_by_name_in_a_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write(f"d/{name}.tsv", "".join(f"{text} {name}\t{label}\n" for text, label in ROWS))
    write("d/README.txt", "what this is")
    write("d/classes.json", json.dumps(["parcel"]))
    data = read(tmp_path / "d")
    assert data.given_parts == ("train", "valid", "test")
    assert data.rows_of("valid").tolist() == list(range(8, 16))
    assert data.table.column(0)[8].as_py().endswith("dev")


def test_parts_named_one_by_one_in_different_formats_align_by_name(write: Callable[..., Path], tmp_path: Path) -> None:
    train = write("a.csv", csv_text(ROWS))
    pq.write_table(pa.table({"label": LABELS, "id": range(8), "text": TEXTS}), tmp_path / "b.parquet")
    data = read({"train": train, "test": tmp_path / "b.parquet"})
    assert rows_of(data) == ROWS * 2
    assert "id" in data.notes[1]
    assert data.files == (("train", str(train)), ("test", str(tmp_path / "b.parquet")))


def test_a_part_without_header_aligns_by_place(write: Callable[..., Path]) -> None:
    train = write("train.csv", csv_text(ROWS))
    test = write("test.csv", csv_text(ROWS, header=""))
    assert read({"train": train, "test": test}).table.column_names == ["text", "label"]


def test_parts_that_do_not_fit_are_named(write: Callable[..., Path]) -> None:
    train = write("train.csv", csv_text(ROWS))
    other = write("other.csv", csv_text(ROWS, header="sentence,class\n"))
    lacking = write("lacking.csv", "id,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(TEXTS)))
    assert code_of({"train": train, "test": other}) == "data.columns"
    assert code_of({"train": train, "test": lacking}) == "data.column-missing"


def test_every_wrong_part_is_told_at_once(write: Callable[..., Path]) -> None:
    with pytest.raises(Problems) as caught:
        read({"trian": write("a.csv", csv_text(ROWS)), "test": "nowhere.csv"})
    assert [error.code for error in caught.value.errors] == ["data.part-name", "data.not-found"]
    assert "Did you mean 'train'" in str(caught.value)


def test_an_unlabelled_part_may_be_a_plain_list_of_texts(write: Callable[..., Path]) -> None:
    train = write("train.csv", "".join(f'{i % 2},"{text}"\n' for i, text in enumerate(TEXTS)))
    more = write("more.txt", "what about my parcel, then?\nand my refund\n")
    data = read({"train": train, "unlabelled": more})
    assert [data.table.column(1)[int(row)].as_py() for row in data.rows_of("unlabelled")][1] == "and my refund"
    assert data.table.column(0)[8].as_py() is None


def test_an_unlabelled_part_may_lack_the_target(write: Callable[..., Path]) -> None:
    train = write("train.csv", csv_text(ROWS))
    more = write("more.jsonl", json.dumps({"text": "what about my parcel?"}))
    data = read({"unlabelled": more, "train": train})
    assert rows_of(data) == [*ROWS, ("what about my parcel?", None)]
    assert data.given_parts == ("train", "unlabelled")


def test_two_files_for_one_part_are_asked_about_but_shards_are_not(write: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("train_0", "train_1", "test"):
        write(f"a/{name}.csv", csv_text(ROWS))
    assert code_of(tmp_path / "a") == "data.part-ambiguous"
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(f"b/data/{name}.csv", csv_text(ROWS))
    assert len(read(tmp_path / "b").rows_of("train")) == 16


# folders of texts


def class_files(prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{label}/{i}.txt": text for i, (text, label) in enumerate(ROWS)}


def test_a_folder_per_class(write: Callable[..., Path], tmp_path: Path) -> None:
    for name, text in class_files("d/").items():
        write(name, text)
    data = read(tmp_path / "d")
    assert sorted(rows_of(data)) == sorted(ROWS)
    assert roles(data) == (["text"], "label")


@pytest.mark.parametrize("zipped", [False, True])
def test_parts_above_the_classes_as_in_aclimdb(write: Callable[..., Path], tmp_path: Path, zipped: bool) -> None:
    files = class_files("top/train/") | class_files("top/test/")
    files |= {"top/train/unsup/0.txt": "who knows", "top/train/urls.txt": "http://", "top/README": "about"}
    if zipped:
        with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        data = read(tmp_path / "d.zip")
    else:
        for name, text in files.items():
            write(f"d/{name}", text)
        data = read(tmp_path / "d")
    assert data.given_parts == ("train", "test", "unlabelled")
    assert len(data.rows_of("train")) == len(data.rows_of("test")) == 8
    assert rows_of(data)[-1] == ("who knows", None)


def test_a_text_that_is_not_text_is_set_aside(write: Callable[..., Path], tmp_path: Path) -> None:
    for name, text in class_files("d/").items():
        write(name, text)
    write("d/app/bad.txt", b"\x00\x01\x02" * 99)
    data = read(tmp_path / "d")
    assert len(data) == 8
    assert data.set_aside[0].file.endswith("bad.txt")


def test_a_folder_without_data_says_what_it_holds(write: Callable[..., Path], tmp_path: Path) -> None:
    write("d/a/1.jpg", b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"\.jpg"):
        read(tmp_path / "d")


# archives


@pytest.mark.parametrize("name", ["../train.csv", "/train.csv", "a/../../train.csv", "C:/train.csv", "..\\train.csv"])
def test_an_archive_with_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, csv_text(ROWS))
    assert code_of(tmp_path / "a.zip") == "data.archive"


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train.csv")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert code_of(tmp_path / "a.zip") == "data.archive"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(2):
            archive.writestr(f"{i}.csv", bytes(60 << 20))
    assert code_of(tmp_path / "a.zip") == "data.archive"


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and nothing else")
    assert code_of(tmp_path / "a.zip") == "data.archive"


# the hub's format


def hub_folder(write: Callable[..., Path], place: str, *, card: str = "") -> None:
    pieces = {"train": TEXTS, "validation": TEXTS[:4], "test": TEXTS[4:]}
    for split, texts in pieces.items():
        path = write(f"{place}/data/{split}-00000-of-00001.parquet", b"")
        pq.write_table(pa.table({"text": texts, "label": [i % 2 for i in range(len(texts))]}), path)
    if card:
        write(f"{place}/README.md", card)


def test_a_local_copy_of_a_hub_data_set(write: Callable[..., Path], tmp_path: Path) -> None:
    hub_folder(write, "d")
    data = read(tmp_path / "d")
    assert data.given_parts == ("train", "valid", "test")


def test_the_card_says_which_files_and_what_the_numbers_mean(write: Callable[..., Path], tmp_path: Path) -> None:
    card = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': bad
          '1': good
---
# Words
"""
    hub_folder(write, "d", card=card)
    data = read(tmp_path / "d")
    assert data.given_parts == ("train", "test")
    assert set(data.table.column("label").to_pylist()) == {"bad", "good"}


def test_several_configurations_are_asked_about(write: Callable[..., Path], tmp_path: Path) -> None:
    entries = "".join(f"- config_name: {name}\n  data_files: data/{name}-*\n" for name in ("train", "test"))
    hub_folder(write, "d", card=f"---\nconfigs:\n{entries}---\n")
    with pytest.raises(InputError, match="train, test") as caught:
        read(tmp_path / "d")
    assert caught.value.code == "data.hub-config"
    assert len(read(f"{tmp_path / 'd'}:test")) == 4


def test_a_card_that_refers_to_itself_without_end_is_harmless(write: Callable[..., Path], tmp_path: Path) -> None:
    levels = "".join(f"  - &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]\n" for i in range(12))
    hub_folder(write, "d", card=f"---\nlaughs:\n  - &l0 [ha]\n{levels}configs:\n- data_files: *l12\n---\n")
    assert len(read(tmp_path / "d").rows_of("train")) == 8


@pytest.mark.parametrize(
    "card", ["---" + " \n" * 200_000 + "x", "---\n" + "\n--- x" * 100_000, "---\n", "--- a\n---\n"]
)
def test_a_card_without_an_end_is_none(write: Callable[..., Path], tmp_path: Path, card: str) -> None:
    write("README.md", card)
    write("train.csv", csv_text(ROWS))
    assert len(read(tmp_path)) == len(ROWS)


def test_a_hub_id_comes_from_the_local_cache(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    hub_folder(write, "hub/datasets--owner--words/snapshots/0123")
    write("hub/datasets--owner--words/refs/main", "0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(read("owner/words").rows_of("train")) == 8
    with pytest.raises(InputError, match="not in the local cache") as caught:
        read("owner/other")
    assert caught.value.code == "data.hub-missing"
    assert str(tmp_path / "hub") in str(caught.value)


def test_a_path_that_looks_like_a_hub_id_is_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert code_of("data/reviews") == "data.not-found"
    assert code_of("owner/reviews.csv") == "data.not-found"


# fingerprint and cache


def test_the_fingerprint_hangs_on_rows_and_parts_and_not_on_name_or_format(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = ROWS * 2
    one = write("a.csv", csv_text(rows))
    pq.write_table(pa.table({"text": TEXTS * 2, "label": LABELS * 2}), tmp_path / "b.parquet")
    lines = write("c.jsonl", "".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in rows))
    utf_16 = write("d.tsv", csv_text(rows, header="text\tlabel\n", delimiter="\t"), "utf-16")
    prints = {read(path).fingerprint for path in (one, tmp_path / "b.parquet", lines, utf_16)}
    assert len(prints) == 1
    others = [
        read({"train": one}).fingerprint,
        read(write("e.csv", csv_text(rows[::-1]))).fingerprint,
        read(write("f.csv", csv_text(rows, header="words,label\n"))).fingerprint,
        read(write("g.csv", csv_text([*rows[:-1], ("I was charged twice for i", "taccount")]))).fingerprint,
    ]
    assert len({*others, *prints}) == 5


def test_the_cache_is_memory_mapped_and_keyed_by_content(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.csv", csv_text(ROWS) + "one cell\n")
    cache = tmp_path / "cache"
    first = read(path, cache=cache)
    assert {item.suffix for item in cache.iterdir()} == {".arrow", ".json"}
    before = pa.total_allocated_bytes()
    monkeypatch.setattr("sartor.data.read.open_piece", None)  # nothing may be parsed again
    again = read(path, cache=cache)
    assert pa.total_allocated_bytes() - before < 1000
    monkeypatch.undo()
    plain = read(path)
    for data in (again, plain):
        assert rows_of(data) == rows_of(first)
        assert (data.fingerprint, data.set_aside, data.notes) == (first.fingerprint, first.set_aside, first.notes)
    write("a.csv", csv_text(ROWS * 2))
    assert len(read(path, cache=cache)) == 16


def test_a_damaged_cache_is_read_anew(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("a.csv", csv_text(ROWS))
    read(path, cache=tmp_path / "cache")
    for item in (tmp_path / "cache").iterdir():
        item.write_bytes(item.read_bytes()[:20])
    assert rows_of(read(path, cache=tmp_path / "cache")) == ROWS


def test_a_failed_reading_leaves_nothing_in_the_cache(write: Callable[..., Path], tmp_path: Path) -> None:
    assert code_of(write("a.csv", "text,label\n"), cache=tmp_path / "cache") == "data.no-rows"
    assert list((tmp_path / "cache").iterdir()) == []


def test_many_batches_make_one_chunk_in_order(write: Callable[..., Path], tmp_path: Path) -> None:
    rows = [(f"message {i} about {'x' * (i % 50)}", f"class_{i % 7}") for i in range(20_000)]
    path = write("a.csv", csv_text(rows))
    for data in (read(path), read(path, cache=tmp_path / "cache")):
        assert data.table.column("text").num_chunks == 1
        assert rows_of(data) == rows


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.text(
            st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff"), min_size=1, max_size=40
        )
        .map(str.strip)
        .filter(bool),
        min_size=4,
        max_size=12,
    ),
    breaks=st.booleans(),
)
def test_whatever_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], breaks: bool
) -> None:
    rows = [("w " + text + ("\n…" if breaks else ""), str(i % 2)) for i, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("d") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    data = read(path, input="text", target="label")
    assert rows_of(data) == rows


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet", ".csv.gz", ".zip", ".dat"]),
)
def test_whatever_a_file_holds_the_answer_is_rows_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("d") / f"a{suffix}"
    path.write_bytes(content)
    try:
        assert len(read(path)) > 0
    except InputError as error:
        assert str(path) in str(error) or error.code.startswith("schema.")  # noqa: PT017 - either outcome is right


def test_rows_of_two_kinds_stand_one_after_the_other() -> None:
    first, then = [{"a": 1}, {"a": 2}], [{"a": 3}]
    joined = Joined(first, [], then)
    assert len(joined) == 3
    assert list(joined) == [joined[i] for i in range(3)] == [*first, *then]
    assert joined[-1] == {"a": 3}
    assert joined[1:] == [{"a": 2}, {"a": 3}]
    assert len(Joined([])) == 0
    with pytest.raises(IndexError):
        joined[3]
