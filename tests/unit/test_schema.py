"""What each column is, and which are the inputs and the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sartor.data.schema import NESTED, infer
from sartor.errors import InputError, Problems

TEXTS = [f"where is my parcel number {i}, please" for i in range(40)]
INTENTS = [f"intent_{i % 5}" for i in range(40)]


def table(**columns: list[Any]) -> pa.Table:
    made = {name: pa.array(values) for name, values in columns.items()}
    return pa.table({n: a.cast(pa.large_string()) if pa.types.is_string(a.type) else a for n, a in made.items()})


def roles(made: pa.Table, **asked: Any) -> dict[str, str]:
    schema, _ = infer(made, **asked)
    return {column.name: column.role for column in schema.columns}


def code_of(made: pa.Table, **asked: Any) -> str:
    with pytest.raises(InputError) as caught:
        infer(made, **asked)
    return caught.value.code


def test_a_name_that_targets_have_decides() -> None:
    made = table(stars=[str(i % 3) for i in range(40)], Category=INTENTS, message=TEXTS)
    assert roles(made) == {"stars": "other", "Category": "target", "message": "input"}


def test_without_names_the_only_column_of_few_values_is_the_target() -> None:
    made = table(column_1=[str(i % 4 + 1) for i in range(40)], column_2=TEXTS, column_3=TEXTS[::-1])
    schema, task = infer(made)
    assert task == "classify"
    assert [column.name for column in schema.inputs] == ["column_2", "column_3"]
    assert schema.targets[0].kind == "label"
    assert any("few values" in reason for reason in schema.reasons)


def test_two_possible_targets_are_named_and_asked_about() -> None:
    made = table(text=TEXTS, team=INTENTS, urgent=["yes", "no"] * 20)
    with pytest.raises(InputError, match=r"'team' \(5 values.*'urgent' \(2 values.*--target team") as caught:
        infer(made)
    assert caught.value.code == "schema.ambiguous-target"
    assert roles(made, target="urgent") == {"text": "input", "team": "other", "urgent": "target"}


def test_numbers_identifiers_and_nested_values_are_no_inputs_and_it_is_said_why() -> None:
    made = table(id=list(range(40)), text=TEXTS, price=[i + 0.5 for i in range(40)], label=INTENTS, tags=["[1]"] * 40)
    made = made.cast(
        pa.schema([field.with_metadata(NESTED) if field.name == "tags" else field for field in made.schema])
    )
    schema, _ = infer(made)
    assert {column.name: column.kind for column in schema.columns} == {
        "id": "identifier",
        "text": "text",
        "price": "number",
        "label": "label",
        "tags": "unknown",
    }
    told = "\n".join(schema.reasons)
    assert all(f"{name!r} is not used" in told for name in ("id", "price", "tags"))


def test_given_names_are_checked_all_at_once_with_the_nearest() -> None:
    made = table(text=TEXTS, label=INTENTS)
    with pytest.raises(Problems) as caught:
        infer(made, input=["txt"], target="Label")
    assert "Did you mean 'text'" in str(caught.value)
    assert "Did you mean 'label'" in str(caught.value)


def test_a_column_cannot_be_both() -> None:
    assert code_of(table(text=TEXTS, label=INTENTS), input="label", target="label") == "schema.input-is-target"


def test_asking_for_lists_as_input_says_what_can_be_learned_from() -> None:
    made = table(text=TEXTS, label=INTENTS).append_column(
        pa.field("tags", pa.large_string(), metadata={b"sartor.holds": b"json"}),
        [pa.array(['["a"]'] * 40, pa.large_string())],
    )
    with pytest.raises(InputError, match=r"'tags'.*Inputs can be: .*text") as caught:
        infer(made, input=["text", "tags"])
    assert caught.value.code == "schema.input-kind"


def test_cells_of_a_table_are_inputs_where_they_are_asked_for_beside_a_text() -> None:
    made = table(text=TEXTS, age=list(range(40)), team=["red", "blue"] * 20, label=INTENTS)
    schema, _ = infer(made, input=["text", "age", "team"], target="label")
    assert {column.name: column.kind for column in schema.inputs} == {
        "text": "text",
        "age": "number",
        "team": "category",
    }


def test_short_words_are_text_when_they_are_asked_for_or_alone() -> None:
    words = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(40)]
    made = table(word=words, kind=INTENTS)
    assert roles(made) == {"word": "input", "kind": "target"}
    schema, _ = infer(table(word=words, kind=INTENTS, code=words[::-1]), input="word", target="kind")
    assert schema.inputs[0].kind == "text"


def test_where_nothing_is_read_the_cells_of_a_table_are_the_inputs() -> None:
    day = [f"2024-0{1 + i % 9}-1{i % 10}" for i in range(40)]
    age = [str(20 + i % 30) if i % 7 else "?" for i in range(40)]
    made = table(id=list(range(40)), age=age, team=INTENTS, urgent=["yes", "no"] * 20, day=day, same=["x"] * 40)
    assert code_of(made) == "schema.ambiguous-target"
    schema, _ = infer(made, target="team")
    assert {column.name: column.kind for column in schema.inputs} == {
        "age": "number",
        "urgent": "category",
        "day": "date",
    }
    told = "\n".join(schema.reasons)
    assert "'id' is not used: nearly every row has its own value" in told
    assert "'same' is not used: it is the same in every row" in told


def test_nothing_to_learn_from_is_said() -> None:
    assert code_of(table(id=list(range(40)), team=INTENTS), target="team") == "schema.no-input"


def test_a_target_that_does_not_suit_the_task_is_refused_with_its_values() -> None:
    made = table(text=TEXTS, label=[f"own {i}" for i in range(40)])
    with pytest.raises(InputError, match="40 different values in 40 rows") as caught:
        infer(made)
    assert caught.value.code == "schema.task-unsuited"
    assert code_of(table(text=TEXTS, label=["same"] * 40), target="label", task="classify") == "schema.task-unsuited"
    assert code_of(table(text=TEXTS, label=INTENTS), task="clasify") == "leaf.unknown"


PRICES = [str(10 + i * 7 % 29 + i % 3 / 4) for i in range(40)]


def test_of_several_targets_each_has_its_own_task() -> None:
    made = table(text=TEXTS, price=PRICES, team=INTENTS, other=TEXTS[::-1])
    schema, first = infer(made, target={"team": None, "price": None})
    assert dict(schema.tasks) == {"team": "classify", "price": "regress"}
    assert first == "classify"
    assert [column.name for column in schema.inputs] == ["text", "other"]
    assert {column.name: column.kind for column in schema.targets} == {"team": "label", "price": "number"}
    assert schema.has_classes("team")
    assert not schema.has_classes("price")
    assert "Task of 'price' is 'regress'" in "\n".join(schema.reasons)
    named, first = infer(made, target={"price": "regress", "team": "classify"})
    assert list(named.tasks) == ["price", "team"]  # as they were asked for
    assert first == "regress"


def test_of_one_target_that_is_named_with_its_task_the_schema_is_as_it_was() -> None:
    made = table(text=TEXTS, price=PRICES, team=INTENTS)
    assert infer(made, target={"team": "classify"}) == infer(made, target="team", task="classify")


def test_what_is_wrong_with_several_targets_is_told_at_once() -> None:
    made = table(text=TEXTS, own=[f"own {i}" for i in range(40)], same=["x"] * 40, team=INTENTS)
    with pytest.raises(Problems) as caught:
        infer(made, target={"own": None, "team": None, "same": "classify"})
    assert [error.code for error in caught.value.errors] == ["schema.task-unsuited"] * 2
    with pytest.raises(Problems, match=r"'tema'.*Did you mean 'team'") as caught:
        infer(made, target={"tema": None, "team": None, "text": None}, input="text")
    assert [error.code for error in caught.value.errors] == ["schema.unknown-column", "schema.input-is-target"]


MPEG = b"\xff\xfb\x90\x00" + bytes(413)  # a frame of 128 kbit/s at 44.1 kHz
POOL = pa.proxy_memory_pool(pa.default_memory_pool())  # kept for ever: what was taken from it may outlive a test


def test_an_mp3_without_tags_is_known_by_its_second_frame() -> None:
    sounds = pa.array([MPEG * 3 + bytes([i]) for i in range(40)], pa.large_binary())
    schema, _ = infer(table(label=INTENTS).append_column("sound", [sounds]))
    assert [(column.name, column.kind) for column in schema.inputs] == [("sound", "audio")]


def test_of_media_only_some_beginnings_are_looked_at() -> None:
    count, size = 300, 1 << 18
    offsets = pa.py_buffer((np.arange(count + 1, dtype=np.int64) * size).tobytes())
    valid = pa.py_buffer(np.packbits(np.arange(304) % 7 > 0, bitorder="little").tobytes())
    media = pa.Array.from_buffers(pa.large_binary(), count, [valid, offsets, pa.py_buffer(bytes(count * size))])
    made = table(text=[f"{text} again" for text in TEXTS] * 7 + TEXTS[:20], label=INTENTS * 7 + INTENTS[:20])
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    try:
        schema, _ = infer(made.append_column("media", [media]))
    finally:
        pa.set_memory_pool(before)
    assert {column.name: column.role for column in schema.columns} == {
        "text": "input",
        "label": "target",
        "media": "other",
    }
    assert POOL.max_memory() < 8 << 20  # of 75 MB


def test_texts_alone_have_no_target() -> None:
    assert code_of(table(text=TEXTS)) == "schema.no-target"


def test_an_empty_column_is_named_as_such() -> None:
    schema, _ = infer(table(text=TEXTS, label=INTENTS, note=[""] * 40))
    assert "'note' is not used: it is empty." in schema.reasons
