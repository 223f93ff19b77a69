"""What a person sees of a build: on a terminal the candidates, a small plot and a line of progress that live, plain lines anywhere else.

It reads the same events as `OUT/events.jsonl` and decides nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from rich.cells import cell_len

from sartor import board
from sartor.board import Row, clock
from sartor.errors import printable
from sartor.events import Event
from sartor.report import brief

MARKS = {"met": "✓", "missed": "✗", "unproven": "?"}
COLOURS = {"met": "green", "missed": "red", "unproven": "yellow"}
STYLES = {"running": "bold cyan", "measured": "", "waiting": "dim"}
LEAST_BAR = 4  # cells of the bar of progress
WORD_EVERY_S = 10.0  # a sign of life in plain lines


class Display:
    """Hears events and shows them on standard error."""

    def __init__(self, *, budget_s: float | None = None, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self.console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self.budget_s = budget_s
        self.began = self.last_word = time.monotonic()
        self.plain = not self.console.is_terminal
        self.live: Any = None
        self.rows: dict[str, Row] = {}
        self.shown: list[str] = []
        self.limits: dict[str, dict[str, Any]] = {}
        self.progress: Any = None

    def __enter__(self) -> Display:
        if not self.plain:
            from rich.live import Live

            self.live = Live(console=self.console, refresh_per_second=8, transient=True)
            self.live.start()
        return self

    def __exit__(self, *ended: object) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def __call__(self, item: Event) -> None:
        """One event."""
        show = getattr(self, f"_on_{item['event']}", None)
        if show is not None:
            show(item)

    def _say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        spent = time.monotonic() - self.began
        line = Text(f"{clock(spent):>6}  ", style="dim")
        line.append(printable(text), style=style)
        self.console.print(line)
        self.last_word = time.monotonic()

    def _on_stage(self, item: Event) -> None:
        if "candidate" not in item:
            self._say(str(item["name"]), "bold")

    def _on_log(self, item: Event) -> None:
        self._say(f"  {item['message']}", "red" if item["level"] == "error" else "dim")

    def _on_finding(self, item: Event) -> None:
        style = {"error": "red", "warning": "yellow"}.get(str(item["severity"]), "dim")
        self._say(f"  {item['severity']}: {item['message']}", style)

    def _on_plan(self, item: Event) -> None:
        forecast = f"  (about {clock(item['forecast_s'])})" if item["forecast_s"] else ""
        self._say(f"{item['name']}{forecast}", "bold")
        if item["reason"]:
            self._say(f"  {item['reason']}", "dim")

    def _on_decision(self, item: Event) -> None:
        self.shown, self.limits = item["shown"], item["limits"]
        if item["id"] is None:
            self._say(f"Nothing more is tried: {item['why']}", "dim")
        else:
            row = self.rows.setdefault(item["id"], Row(item["id"], item["name"]))
            row.status, row.expected = "running", item["values"]
            row.chance, row.seconds = item["chance"], item["forecast_s"]
            if item["why"]:
                self._say(item["why"], "dim")
        for one in item["waiting"]:
            row = self.rows.setdefault(one["id"], Row(one["id"], one["name"]))
            row.expected, row.chance, row.seconds = one["values"], one["chance"], one["forecast_s"]
        self._redraw()

    def _on_step(self, item: Event) -> None:
        if item["status"] == "resumed":
            self._say(f"  {item['step']} resumes from {item['checkpoint']} ({item['done']} of {item['total']} steps)")
        elif item["status"] == "cached":
            self._say("  found whole in the cache", "dim")

    def _on_epoch(self, item: Event) -> None:
        judged = f", validation {item['valid']:.4f}" if "valid" in item else ""  # some training has nothing to judge by
        self._say(
            f"  epoch {item['epoch']}: loss {item['train_loss']:.4f}{judged}, {item['rows_per_s']:.0f} rows/s",
            "dim",
        )

    def _on_progress(self, item: Event) -> None:
        done, total = float(item["done"]), max(1.0, float(item["total"]))
        begin = f"{item['stage']}: {item['done']:,} of {item['total']:,} {item['unit']}"
        rate = f", {item['rate']:.0f} {item['unit']}/s" if item.get("rate") else ""
        left = f", {clock(item['left_s'])} left" if item.get("left_s") is not None else ""
        text = begin + rate + left
        if self.live is not None:
            from rich.text import Text

            # The words first, without the speed where the line is short; what is left of it is the bar's.
            budget = f"  (budget {clock(self.budget_s)})" if self.budget_s else ""
            room = self.console.width - 11 - LEAST_BAR
            whole = ((text, budget), (begin + left, budget), (begin + left, ""))
            text, budget = next((pair for pair in whole if cell_len("".join(pair)) <= room), whole[-1])
            width = max(LEAST_BAR, min(24, LEAST_BAR + room - cell_len(text + budget)))
            full = int(width * min(1.0, done / total))
            line = Text(f"{clock(time.monotonic() - self.began):>6}  ", style="dim")
            line.append("━" * full, style="cyan")
            line.append("━" * (width - full), style="bright_black")
            line.append(f"  {text}")
            line.append(budget, style="dim")
            self.progress = line
            self._redraw()
        elif time.monotonic() - self.last_word >= WORD_EVERY_S:
            self._say(f"  {text}")

    def _on_candidate(self, item: Event) -> None:
        if (row := self.rows.get(item["id"])) is not None:
            row.status, row.measured, row.chance = item["status"], item["values"], item["chance"]
            row.seconds = item["seconds"] if item["status"] == "measured" else None
        self.progress = None
        self._redraw()
        if item["status"] == "measured":
            chance = f"; chance that every need is met: {item['chance']:.0%}"
            self._say(f"  {values_line(item['values'])}{chance}  [{clock(item['seconds'])}]")
        else:
            self._say(
                f"{item['name']} {item['status']}: {item['why']}", "dim" if item["status"] == "skipped" else "red"
            )

    def _on_verdict(self, item: Event) -> None:
        self.rows, self.progress = {}, None
        self._redraw()

    def _redraw(self) -> None:
        """Table, plot and progress, as much as the terminal has lines for: the progress first, then the table, then the plot."""
        if self.live is None:
            return
        from rich.console import Group
        from rich.text import Text

        room = self.console.height - 2
        parts: list[Any] = [self.progress] if self.progress is not None else []
        rows = list(self.rows.values())
        open_rows = [row for row in rows if row.status in ("running", "measured", "waiting")]
        if open_rows and len(open_rows) + 4 <= room:
            lines = [Text(line, no_wrap=True, overflow="crop") for line in board.table(open_rows, self.shown)]
            for line, row in zip(lines[1:], open_rows, strict=True):
                line.stylize(STYLES[row.status])
            lines[0].stylize("dim")
            parts = [*lines, *parts]
            drawn = board.plot(open_rows, self.shown, self.limits)
            if drawn and len(drawn) + len(parts) + 2 <= room:
                parts = [Text(line, no_wrap=True, overflow="crop", style="dim") for line in [*drawn, ""]] + parts
        self.live.update(Group(*parts))


def values_line(values: dict[str, float | None]) -> str:
    """Measured values in one line."""
    told = []
    for name, value in values.items():
        if value is None or name == "training_time":
            continue
        short = name.removesuffix(" at concurrency 1").replace("latency_", "")
        unit = board.unit_of(name)
        told.append(f"{printable(short)} {value:.4g}{f' {unit}' if unit else ''}")
    return " · ".join(told)


def verdict_lines(needs: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(text, colour) for each need: the verdict, the figures, what to do."""
    lines = []
    for need in needs:
        verdict = need["verdict"]
        text = f"{MARKS[verdict]} {verdict:<8}  {printable(need['need'])}"
        limit = need.get("limit")
        if need["measured"] is not None:
            text += f"   measured {brief(need['measured'], against=limit)}{_unit(need)}"
            if need["low"] is not None and not need["low"] == need["high"] == need["measured"]:
                ends = " – ".join(brief(need[end], against=limit) for end in ("low", "high"))
                text += f" ({ends}, n = {need['n']:,})"
        lines.append((text, COLOURS[verdict]))
        if need["advice"]:
            lines.append((f"            {printable(need['advice'])}", "dim"))
    return lines


def instead_lines(found: dict[str, Any] | None) -> list[str]:
    """Points of the map that relax several needs at once, which the advice of no single need can tell; found: `relaxations` of a report."""
    lines = []
    for point in (found or {}).get("points", []):
        if len(point["relax"]) > 1 and not point["proven"]:
            limits = [f"{one['measure']} {one['op']} {one['offer']:g}{_unit(one)}" for one in point["relax"]]
            lines.append(printable(f"  {' and '.join(limits)}: {point['name']}"))
    return ["Would likely be met instead:", *lines] if lines else []


def _unit(need: dict[str, Any]) -> str:
    return f" {need['unit']}" if need["unit"] else ""
