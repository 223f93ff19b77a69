"""Personal data and stray characters in texts: what is found, and what looks alike and is not."""

from __future__ import annotations

import pytest

from sartor.data import characters, personal

HELD = [
    ("write to ann.miller+shop@mail.example.co.uk today", ["email"]),
    ("call +44 20 7946 0958 or +86 138 0013 8000", ["phone", "phone"]),
    ("我的手机号是13800138000，请回电", ["phone"]),
    ("my cell is (415) 555-2671", ["phone"]),
    ("card 4111 1111 1111 1111 was declined", ["card"]),
    ("5555555555554444", ["card"]),
    ("身份证号11010519491231002X", ["id"]),
    ("ssn 123-45-6789", ["id"]),
    ("my number is 13800138000.", ["phone"]),
    ("call (415) 555-2671.", ["phone"]),
    ("请打电话+8613800138000", ["phone"]),
    ("amex 3782 822463 10005", ["card"]),
    ("pay to GB82 WEST 1234 5698 7654 32 please", ["iban"]),
]
CLEAN = [
    "order 4111111111111112 has not come",  # fails the checksum of cards
    "order no. 20231105-998877",
    "it cost 1,299.00 and then 12999.50",
    "2023-11-05 14:22:33",
    "between 2019 and 2024, 10000 to 20000 people",
    "11010519491231002A",
    "20231105142233",  # a moment, whose digits pass the checksum of cards
    "order JD15812345678",
    "version 1.2.3.4567 of @user's app",
    "tracking 1Z999AA10123456784",
    "0000 0000 0000 0000",
    "GB00 WEST 1234 5698 7654 32",
    "快递单号 73112345678901 已发出",
]


@pytest.mark.parametrize(("text", "kinds"), HELD)
def test_personal_data_is_found_and_masked(text, kinds):
    found = personal.find(text)
    assert [kind for kind, _, _ in found] == kinds
    masked = personal.mask(text)
    assert personal.find(masked) == []
    assert all(text[begin:end] not in masked for _, begin, end in found)


@pytest.mark.parametrize("text", CLEAN)
def test_numbers_that_are_nobodys_are_left_alone(text):
    assert personal.find(text) == []
    assert personal.mask(text) == text


@pytest.mark.parametrize(
    ("meant", "encoding"),
    [
        ("café für Ñandú", "cp1252"),
        ("don’t – “quote €5", "cp1252"),
        ("Größe über", "cp1252"),
        ("Привет, мир", "latin-1"),
        ("naïve", "latin-1"),
        ("价格很好", "latin-1"),
    ],
)
def test_text_decoded_in_the_wrong_way_is_found_and_decoded_again(meant, encoding):
    broken = meant.encode("utf-8").decode(encoding)
    assert "mojibake" in characters.find(broken)
    assert characters.mend(broken) == meant


def test_a_quotation_mark_that_a_browser_decoded_in_the_wrong_way_is_mended():
    assert characters.find("she said â€œyesâ€\x9d") == {"mojibake"}
    assert characters.mend("she said â€œyesâ€\x9d") == "she said “yes”"


def test_what_is_not_certain_loses_nothing():
    assert characters.mend("中文 â€\x9d") == "中文 ”"
    assert characters.mend("é â€\x9d") == "é â€\x9d"
    assert characters.mend("1990\x961995") == "1990–1995"


@pytest.mark.parametrize(
    ("text", "what", "mended"),
    [
        ("a\x07bc", "control characters", "abc"),
        ("pass\u200bword", "hidden characters", "password"),
        ("❤\ufe0f pro\u200bduct", "hidden characters", "❤\ufe0f product"),
        ("\u202eabc", "hidden characters", "abc"),
        ("锟斤拷", "lost characters", "锟斤拷"),
        ("caf\ufffd", "lost characters", "caf\ufffd"),
    ],
)
def test_stray_characters_are_found(text, what, mended):
    assert characters.find(text) == {what}
    assert characters.mend(text) == mended


@pytest.mark.parametrize(
    "text",
    [
        "plain text\twith a tab\nand a line",
        "café, naïve, Ångström, São Paulo, 50 £",
        "很好吃，下次还来",
        "❤\ufe0f\u200d🔥 and 1\ufe0f\u20e3",
        "👩\u200d💻 and 👨\u200d👩\u200d👧",
        "می\u200cخواهم",
        "क्\u200dष",
        "“quoted” – don’t…",
        "Â Â Â",
        "„Spaß“ und „MENÜ“",
        "NESCAFÉ™",
        "BEAUTÉ\u00a0!",
        "‘“café”’",
        "café”’",
        "สวัสดี\u200bครับ",
        "\u200fשלום\u200e (1)",
    ],
)
def test_what_was_meant_is_left_alone(text):
    assert characters.find(text) == set()
    assert characters.mend(text) == text
