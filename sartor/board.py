"""The candidates at a glance, as text: a table of what is expected and measured, and a small plot of quality against speed or size.

`sartor plan` prints it, and a terminal shows it while a build works.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len, set_cell_size

from sartor.errors import printable
from sartor.needs import SYSTEM

LETTERS, OTHER = string.ascii_uppercase + string.digits, "·"
MOST_NAME = 48  # cells of a name, whose last words say how it was cut and packed
WIDTH, HEIGHT = 56, 9  # of the plot inside its axes
NEAR = 3  # of the plot: how many times the distance from the best to the limit, or to the middle one, is shown


@dataclass
class Row:
    """One candidate."""

    id: str
    name: str
    status: str = "waiting"  # waiting, running, measured, failed, skipped
    expected: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # measure -> {low, mid, high}
    measured: Mapping[str, float | None] = field(default_factory=dict)
    chance: float | None = None
    seconds: float | None = None  # that it took, or is forecast to take


def table(rows: Sequence[Row], shown: Sequence[str], *, intervals: bool = False) -> list[str]:
    """Lines with a head: each candidate with its letter, what was expected and what was measured of the measures shown, its chance and its time.

    intervals: with the 80 % interval of what is expected of the first measure.
    """
    heads = ["", "candidate", *map(_short, shown), "chance", "time", ""]
    lines = [heads]
    for place, row in enumerate(rows):
        values = [_value(row, key, interval=intervals and not at) for at, key in enumerate(shown)]
        chance = "" if row.chance is None else f"{row.chance:.0%}"
        took = "" if row.seconds is None else clock(row.seconds)
        lines.append([_letter(place), printable(row.name), *values, chance, took, row.status])
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(heads))]
    widths[1] = min(widths[1], MOST_NAME)
    return [
        "  ".join(set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def plot(rows: Sequence[Row], shown: Sequence[str], limits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Quality upwards against latency (or size, where only that is limited) to the right, on a logarithm: the letter of a candidate that was measured, small
    where it is only expected. Lines are the limits. Nothing where fewer than two can be placed."""
    quality, speed = shown[0], shown[2] if shown[2] in limits and shown[1] not in limits else shown[1]
    dots = []
    for place, row in enumerate(rows):
        at = _place(row, quality), _place(row, speed)
        if row.status in ("failed", "skipped") or at[0] is None or not at[1]:
            continue
        measured = row.status == "measured"
        dots.append((at[0], math.log(at[1]), _letter(place) if measured else _small(place), measured))
    if len(dots) < 2:
        return []
    higher = limits.get(quality, {}).get("op", ">=")[0] == ">"
    low, high = _reach([dot[0] for dot in dots], limits.get(quality, {}).get("limit"), higher=higher)
    edge = limits.get(speed, {}).get("limit")
    across = [dot[1] for dot in dots] + ([math.log(edge)] if edge else [])
    left, right = min(across) - 0.15, max(across) + 0.15
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def column(x: float) -> int:
        return round((x - left) / (right - left) * (WIDTH - 1))

    def line(y: float) -> int:
        return round((high - y) / (high - low) * (HEIGHT - 1))

    limit = limits.get(quality, {}).get("limit")
    if limit is not None and low <= limit <= high:
        grid[line(limit)] = ["╌"] * WIDTH
    if edge:
        for each in grid:
            each[column(math.log(edge))] = "╎"
    for y, x, letter, _ in sorted(dots, key=lambda dot: dot[3]):  # what was measured on top
        grid[line(min(max(y, low), high))][column(x)] = letter
    sides = [_number(high), *([""] * (HEIGHT - 2)), _number(low)]
    wide = max(map(len, sides))
    drawn = [f"{side:>{wide}} ┤{''.join(each).rstrip()}" for side, each in zip(sides, grid, strict=True)]
    foot = f"{_number(math.exp(left))} {unit_of(speed)}"
    end = f"{_number(math.exp(right))} {unit_of(speed)}"
    title = f"{_short(quality)} ↑  {_short(speed)} →"
    between = max(1, WIDTH - len(foot) - len(end) - len(title)) / 2
    drawn.append(f"{'':>{wide}} └{'─' * WIDTH}")
    drawn.append(f"{'':>{wide}}  {foot}{' ' * math.floor(between)}{title}{' ' * math.ceil(between)}{end}")
    return drawn


def clock(seconds: float) -> str:
    """Seconds as 4s, 1m05s or 2h03m."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _reach(values: Sequence[float], limit: float | None, *, higher: bool) -> tuple[float, float]:
    """(lowest, highest) shown: the best, the limit, and what is not far below them; a baseline far off is drawn at the edge."""
    ranked = sorted(values, reverse=higher)
    best, middle = ranked[0], ranked[len(ranked) // 2]
    aim = best if limit is None else limit
    far = NEAR * max(abs(best - aim), abs(best - middle), 0.01 * abs(best), 1e-9)
    near = [value for value in (*values, aim) if abs(value - best) <= far]
    pad = 0.05 * (max(near) - min(near)) or 0.01 * abs(best) or 0.01
    return min(near) - pad, max(near) + pad


def _place(row: Row, key: str) -> float | None:
    measured = row.measured.get(key)
    if measured is not None:
        return measured
    return row.expected.get(key, {}).get("mid") if row.status != "measured" else None


def _value(row: Row, key: str, *, interval: bool) -> str:
    """What was expected and what was measured."""
    expected, measured, unit = row.expected.get(key, {}), row.measured.get(key), unit_of(key)
    told = f" {unit}" if unit else ""
    if measured is not None:
        before = f"{_number(expected['mid'])} → " if expected else ""
        return f"{before}{_number(measured)}{told}"
    if not expected:
        return ""
    ends = f" ({_number(expected['low'])} – {_number(expected['high'])})" if interval else ""
    return f"{_number(expected['mid'])}{told}{ends}"


def _short(key: str) -> str:
    """A measure as a head of a column."""
    return key.removesuffix(" at concurrency 1").replace("latency_", "")


def unit_of(key: str) -> str:
    """Of a measure of the whole model, by its name in a report; none of a measure of the answers."""
    return SYSTEM.get(key.partition(" ")[0], ("",))[0]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _letter(place: int) -> str:
    return LETTERS[place] if place < len(LETTERS) else OTHER


def _small(place: int) -> str:
    """Of what is only expected; a digit has no small one."""
    return LETTERS[place].lower() if place < len(string.ascii_uppercase) else OTHER
