"""Cells: the numbers and dates that they write, as people write them, and what costs nothing to refuse."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from sartor.data import cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1,234", 1234.0),
        ("-12,345,678.5", -12345678.5),
        (" +1,234. ", 1234.0),
        ("1,5", 1.5),
        ("-0,250", -0.25),
        ("1234,567", 1234.567),
        ("12,34", 12.34),
        ("1,5e3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("4E-3", 0.004),
        (7, 7.0),
        (True, 1.0),
    ],
)
def test_a_comma_parts_thousands_where_it_can_and_decimals_where_it_cannot(cell: object, value: float) -> None:
    assert cells.number(cell) == value


@pytest.mark.parametrize(
    "cell", ["1,23,456", "1,2,3", ",5", "1,", "1.234,5", "1,2345.6", "1.2.3", "0x1F", "", "1,234,5", None, [1]]
)
def test_what_is_no_number_is_none(cell: object) -> None:
    assert math.isnan(cells.number(cell))
    assert not cells.is_number(cell)


def test_a_number_beyond_all_floats_is_none() -> None:
    assert math.isnan(cells.number(10**400))
    assert math.isnan(cells.number(-(10**400)))


@pytest.mark.parametrize("cell", ["1" * 300_000 + "x", "1," * 300_000 + "x", " " * 300_000 + "x", "1" * 401])
def test_a_long_text_is_no_number(cell: str) -> None:
    assert not cells.is_number(cell)
    assert math.isnan(cells.number(cell))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ("2024-05-31", "2024-05-31T00:00+00:00"),
        (" 2024/5/31 ", "2024-05-31T00:00+00:00"),
        ("2024年5月31日", "2024-05-31T00:00+00:00"),
        ("2024年5月31日14:30", "2024-05-31T14:30+00:00"),
        ("2024.05.31 14:30:15", "2024-05-31T14:30:15+00:00"),
        ("2024-05-31T14:30:00Z", "2024-05-31T14:30+00:00"),
        ("2024-05-31T14:30:00.25+08:00", "2024-05-31T06:30:00.25+00:00"),
        ("2024-05-31 14:30:00 -0330", "2024-05-31T18:00+00:00"),
        ("2024/5/31 14:30 UTC", "2024-05-31T14:30+00:00"),
        ("2024/5/31 2:30 PM", "2024-05-31T14:30+00:00"),
        ("2024-05-31 12:05am", "2024-05-31T00:05+00:00"),
        ("2024-05-31 12:05:06 pm", "2024-05-31T12:05:06+00:00"),
        ("2024-5-31 14:30:00,5", "2024-05-31T14:30:00.5+00:00"),
    ],
)
def test_a_date_is_an_instant_in_utc(cell: str, same: str) -> None:
    assert cells.instant(cell) == seconds(same)


@pytest.mark.parametrize(
    "cell",
    [
        None,
        "",
        "soon",
        "20240531",
        "2024-W22-5",
        "2024-13-01",
        "2024-02-30",
        "2024-05-31x14:30",
        "2024-05-31+08:00",
        "2024-05-31 14:30 call Bob",
        "2024-05-31 14:30 CET",
        "2024-05-31 13:30 PM",
        "2024-05-31 0:30 AM",
        "2024-05-31 25:00",
        "2024-05-31 14:30 +99:00",
        "2024-05-31" + " " * 100_000 + "x",
        "2024-05-31 14:30" + "\n" * 60 + "x",
    ],
)
def test_what_is_no_date_is_none(cell: str | None) -> None:
    assert math.isnan(cells.instant(cell))


def test_a_column_of_dates_is_one_where_nearly_all_are() -> None:
    assert cells.are_dates(["2024-05-31"] * 19 + ["soon"])
    assert not cells.are_dates(["2024-05-31"] * 18 + ["soon"] * 2)
    assert not cells.are_dates(["2024-05-31 is when it began"] * 20)
    assert not cells.are_dates([])
