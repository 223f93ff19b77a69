"""What file names say of labels: found where it is, and not where names are numbered."""

from __future__ import annotations

import numpy as np

from sartor.data import naming


def test_a_letter_in_the_names_is_found_with_what_it_stands_for_and_who_is_labelled_otherwise():
    codes = np.arange(90) % 3
    names = [f"wav/{row % 8:02}a{row % 5}{'WTN'[code]}{'abc'[row // 3 % 3]}.wav" for row, code in enumerate(codes)]
    told = naming.naming(names, codes)
    assert told.place == "character 5"
    assert told.share == 1.0
    assert {(sign, code) for sign, code, *_ in told.signs} == {("W", 0), ("T", 1), ("N", 2)}
    labelled = codes.copy()
    labelled[[6, 40]] = (labelled[[6, 40]] + 1) % 3
    told = naming.naming(names, labelled)
    assert told.otherwise.tolist() == [6, 40]
    assert sorted(sign[2:] for sign in told.signs) == [(30, 29), (30, 29), (30, 30)]
    permuted = naming.naming(names, np.array([1, 2, 0])[codes])
    assert permuted.share == 1.0
    assert {(sign, code) for sign, code, *_ in permuted.signs} == {("W", 1), ("T", 2), ("N", 0)}


def test_a_word_in_the_names_is_found_wherever_it_stands():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 60)
    kinds = ["cat", "wolf"]
    first = [f"{kinds[code]}.{row}.jpg" for row, code in enumerate(codes)]
    assert naming.naming(first, codes).place == "part 1"
    last = [f"{'x y' if row % 2 else 'x'} {row}-{kinds[code]}.jpg" for row, code in enumerate(codes)]
    assert naming.naming(last, codes).place == "the last part"
    digits = [f"{code}_{'jackson' if row % 3 else 'theo'}_{row}.wav" for row, code in enumerate(codes)]
    assert naming.naming(digits, codes).place == "part 1"


def test_numbers_and_folders_tell_nothing():
    codes = np.repeat([0, 1], 40)
    assert (
        naming.naming([f"{'cat' if code == 0 else 'dog'}/{row:04}.png" for row, code in enumerate(codes)], codes)
        is None
    )
    assert naming.naming([f"img{row:03}.png" for row in range(80)], codes) is None
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdef"), 6)) for _ in range(80)]
    assert naming.naming([f"{word}.png" for word in words], codes) is None
    assert naming.naming([None] * 80, codes) is None
    assert naming.naming([f"a{row % 2}.png" for row in range(80)], np.array([0] * 75 + [1] * 5)) is None
