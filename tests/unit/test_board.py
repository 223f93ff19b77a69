"""The table and the plot of candidates, and the terminal that shows them while a build works."""

from __future__ import annotations

import io
from types import SimpleNamespace

from rich.cells import cell_len
from rich.console import Console

from sartor import board
from sartor.board import Row
from sartor.display import Display, values_line
from sartor.events import event

SHOWN = ["accuracy", "latency_p95 at concurrency 1", "size"]
LIMITS = {"accuracy": {"op": ">=", "limit": 0.9}, "latency_p95 at concurrency 1": {"op": "<=", "limit": 10.0}}


def ends(mid):
    return {"low": 0.9 * mid, "mid": mid, "high": 1.05 * mid}


def expected(accuracy, latency, size):
    return dict(zip(SHOWN, map(ends, (accuracy, latency, size)), strict=True))


def measured(accuracy, latency, size):
    return dict(zip(SHOWN, (accuracy, latency, size), strict=True))


def rows():
    return [
        Row("a", "majority", "measured", expected(0.5, 0.6, 0.002), measured(0.51, 0.61, 0.002), 0.0, 5.0),
        Row("b", "ngram", "measured", expected(0.85, 0.9, 1.0), measured(0.84, 0.8, 4.7), 0.02, 9.0),
        Row("c", "多语言 tuned, int8", "running", expected(0.91, 3.5, 23.6), chance=0.6, seconds=200.0),
        Row("d", "minilm searched, int8", "waiting", expected(0.92, 3.5, 23.6), chance=0.62, seconds=4000.0),
    ]


def test_the_table_tells_what_was_expected_what_was_measured_chance_and_time():
    head, *lines = board.table(rows(), SHOWN)
    assert head.split() == ["candidate", "accuracy", "p95", "size", "chance", "time"]
    assert "0.85 → 0.84" in lines[1]
    assert "0.9 → 0.8 ms" in lines[1]
    assert "4.7 MB" in lines[1]
    assert "60%" in lines[2]
    assert "1h06m" in lines[3]
    assert len({cell_len(line[: line.index(" 0.")]) for line in lines}) == 1  # columns stand below each other
    assert "0.819 – 0.956" in board.table(rows(), SHOWN, intervals=True)[3]


def test_what_stands_in_a_name_cannot_act():
    told = board.table([Row("a", "x\x1b[31my", chance=0.1)], SHOWN)
    assert "\x1b" not in "".join(told)


def test_the_plot_places_quality_upwards_and_latency_to_the_right_with_the_limits():
    drawn = board.plot(rows(), SHOWN, LIMITS)
    where = {
        letter: (place, line.index(letter))
        for place, line in enumerate(drawn[:-2])
        for letter in "ABcd"
        if letter in line
    }
    assert where["d"][0] <= where["c"][0] < where["B"][0] <= where["A"][0]
    assert where["A"][1] < where["B"][1] < where["c"][1]
    assert any("╌" in line for line in drawn)
    assert sum("╎" in line for line in drawn) >= board.HEIGHT - 1
    assert "accuracy ↑" in drawn[-1]
    assert len({len(line) for line in drawn[-2:]}) == 1


def test_where_only_the_size_is_limited_it_is_plotted_against():
    drawn = board.plot(rows(), SHOWN, {"size": {"op": "<=", "limit": 40.0}})
    assert "size →" in drawn[-1]


def test_one_candidate_or_none_makes_no_plot():
    assert board.plot([], SHOWN, LIMITS) == []
    assert board.plot(rows()[:1], SHOWN, LIMITS) == []
    same = [rows()[1], rows()[1]]
    assert board.plot(same, SHOWN, {})


def shown_on(height, *, items):
    """What a terminal of that height shows at the end of these events."""
    display = Display(stream=io.StringIO())
    display.console = Console(file=io.StringIO(), force_terminal=True, width=110, height=height, color_system=None)
    display.plain = False
    with display:
        for item in items:
            display(item)
        told = display.console.render_lines(display.live.renderable, pad=False)
    return ["".join(segment.text for segment in line) for line in told]


def heard():
    waiting = [
        {"id": row.id, "name": row.name, "forecast_s": row.seconds, "chance": row.chance, "values": row.expected}
        for row in rows()
    ]
    decided = {"forecast_s": 5.0, "chance": 0.0, "values": rows()[0].expected, "shown": SHOWN, "limits": LIMITS}
    yield event("decision", number=1, id="a", name="majority", why="", waiting=waiting[1:], **decided)
    values = measured(0.51, 0.61, 0.002)
    yield event("candidate", id="a", name="majority", status="measured", why="", chance=0.0, seconds=4.0, values=values)
    decided |= {"chance": 0.4, "values": rows()[1].expected}
    yield event("decision", number=2, id="b", name="ngram", why="40% likely", waiting=waiting[2:], **decided)
    yield event("progress", stage="answers", done=3, total=4, unit="rows")


def test_a_terminal_shows_plot_table_and_progress_as_far_as_it_has_lines():
    whole = shown_on(40, items=heard())
    assert any("accuracy ↑" in line for line in whole)
    assert any(line.startswith("A  majority") and "measured" in line for line in whole)
    assert any(line.startswith("B  ngram") and "running" in line for line in whole)
    assert "answers: 3 of 4 rows" in whole[-1]
    low = shown_on(12, items=heard())
    assert any(line.startswith("B  ngram") for line in low)
    assert not any("accuracy ↑" in line for line in low)
    least = shown_on(5, items=heard())
    assert len(least) == 1
    assert "answers" in least[0]


def test_anywhere_else_every_decision_is_a_line():
    stream = io.StringIO()
    with Display(stream=stream) as display:
        for item in heard():
            display(item)
        display(
            event(
                "decision",
                number=3,
                id=None,
                name="",
                why="Everything was tried.",
                forecast_s=0.0,
                chance=None,
                values={},
                shown=SHOWN,
                limits=LIMITS,
                waiting=[],
            )
        )
    said = stream.getvalue()
    assert "40% likely" in said
    assert "Nothing more is tried: Everything was tried." in said
    assert "╌" not in said


def test_beyond_the_alphabet_what_is_expected_is_told_apart_from_what_was_measured():
    many = [Row(str(i), f"n{i}", "waiting", expected(0.8 + i / 1000, 1.0 + i, 1.0)) for i in range(27)]
    many.append(Row("z", "last", "measured", {}, measured(0.95, 40.0, 1.0)))
    drawn = "".join(line.split("┤")[1] for line in board.plot(many, SHOWN, LIMITS) if "┤" in line)
    assert board.OTHER in drawn  # the 27th, expected
    assert "1" in drawn  # the 28th, measured
    assert "0" not in drawn


def test_units_are_those_of_measures_and_not_of_names_of_targets():
    assert [board.unit_of(key) for key in SHOWN] == ["", "ms", "MB"]
    assert [board.unit_of(key) for key in ("_y.accuracy", "size_class.accuracy", "throughput at concurrency 8")] == [
        "",
        "",
        "rows/s",
    ]
    assert "812 rows/s" in values_line({"throughput at concurrency 8": 812.0, "training_time": 4.0})


def test_a_line_of_progress_keeps_the_time_that_is_left_on_a_narrow_terminal():
    stream = io.StringIO()
    with Display(stream=stream, budget_s=1200.0) as display:
        display.console = Console(file=stream, force_terminal=True, width=80, height=30)
        display.live, drawn = SimpleNamespace(update=lambda group: None, stop=lambda: None), []
        display(
            event("progress", stage="train minilm", done=12_345, total=45_678, unit="rows", rate=76.0, left_s=200.0)
        )
        drawn.append(display.progress.plain)
    assert cell_len(drawn[0]) <= 80
    assert "━━━━" in drawn[0]
    assert "3m20s left" in drawn[0]
    assert "budget 20m00s" in drawn[0]
