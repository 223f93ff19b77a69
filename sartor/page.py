"""The report page: `report.json` drawn as one self-contained HTML file for the person who pays and for an engineer.

It holds no script, so nothing that a user typed can run; the language switch is two radio buttons and CSS. The figures
are SVG written here rather than matplotlib's, because they follow the reader's theme and language, which a drawing made
beforehand cannot, and because `sartor report` then works in the light install.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from sartor.report import percent_of_confidence

LANGUAGES = ("en", "zh")
STATES = ("met", "unproven", "missed")  # from best to worst

MOST_CHARACTERS = 2000  # of one piece of text; longer ones are cut and say so
MOST_CANDIDATES = 60
MOST_CLASSES_IN_MATRIX = 20
MOST_CLASSES_IN_TABLE = 300
MOST_ROWS = 200  # of set-aside rows, mistakes, measurements
MOST_ROW_NUMBERS = 60

Record = Mapping[str, Any]


def render(report: dict[str, Any], *, lang: str = "en") -> str:
    """The page of a build, complete: no other file and no network is needed to read it.

    report: the record in `report.json`; parts may be missing, and what is missing is left out of the page. lang: the
    language shown first, "en" or "zh"; the reader can switch.

    >>> "Every need is met" in render({"exit": 0, "needs": [{"need": "size <= 40 MB", "verdict": "met"}]})
    True
    """
    if lang not in LANGUAGES:
        raise ValueError(f"lang is one of {', '.join(LANGUAGES)}, not {lang!r}")
    made = [(name, section(report)) for name, section in SECTIONS]
    shown = [(name, body) for name, body in made if body]
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The hash admits this one style sheet, and images may stand in the page itself; style attributes, scripts and connections are refused.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    name = _clip(_text(report, "name") or "Sartor", 80)
    head = _h(
        "head",
        _h("meta", charset="utf-8"),
        _h("meta", http_equiv="Content-Security-Policy", content=policy),
        _h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _h("meta", name="color-scheme", content="light dark"),
        _h("meta", name="referrer", content="no-referrer"),
        _h("title", name, " · ", getattr(_headline(report).words, lang)),
        Html(f"<style>{style}</style>"),
    )
    body = _h(
        "body",
        [
            _h("input", type="radio", name="lang", id=f"lang-{name}", class_="lang", checked=name == lang)
            for name in LANGUAGES
        ],
        _masthead(report),
        _h(
            "div",
            _contents([name for name, _ in shown]),
            _h("main", _hero(report), [_section(name, part) for name, part in shown], _footer(report)),
            class_="page",
        ),
    )
    return "<!doctype html>\n" + _h("html", head, body, lang="zh-Hans" if lang == "zh" else "en") + "\n"


# ---------------------------------------------------------------- markup: everything that is not Html is escaped


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


@dataclass(frozen=True)
class Words:
    """The same words in each language of the page."""

    en: Html
    zh: Html


Child = Any  # str (escaped), Html, Words, None, or a sequence of these

VOID = {"meta", "input", "br", "col"}


def _h(tag: str, /, *children: Child, **attributes: Any) -> Html:
    """One element. Attributes that are None or False are left out; `class_` is `class`, `text_anchor` `text-anchor`."""
    opened = tag + "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_attribute(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID:
        return Html(f"<{opened}>")
    return Html(f"<{opened}>{_inside(children, tag)}</{tag}>")


def _attribute(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, Words):
        return value.en if value.en == value.zh else f"{value.en} · {value.zh}"
    return str(_escape(value))


def _inside(children: Iterable[Child], tag: str) -> str:
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Words):
            parts.append(_both(child, tag))
        elif isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, list | tuple):
            parts.append(_inside(child, tag))
        else:
            parts.append(_escape(child))
    return "".join(parts)


def _both(words: Words, tag: str) -> str:
    if words.en == words.zh:
        return words.en
    if tag == "title":  # holds plain text only
        return f"{words.en} · {words.zh}"
    inner = "tspan" if tag in ("text", "tspan") else "span"
    return f'<{inner} lang="en">{words.en}</{inner}><{inner} lang="zh-Hans">{words.zh}</{inner}>'


# What would act on the page instead of standing on it: control characters become their pictures; overrides of the
# writing direction and lone surrogates become the replacement character.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD), **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)}
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C], 0xFFFD)
_VISIBLE |= dict.fromkeys([0x2028, 0x2029], 0x20)


def _escape(value: Any, most: int = MOST_CHARACTERS) -> Html:
    if isinstance(value, Html):
        return value
    text = str(value)
    return Html(html.escape(_clip(text, most).replace("\r\n", "\n").translate(_VISIBLE), quote=True))


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _typed(text: str, most: int = 300, tag: str = "bdi", **attributes: Any) -> Html:
    """Something that a user typed, kept from turning the direction of the words around it."""
    return _h(tag, _clip(text, most), title=_clip(text, 1000) if len(text) > most else None, **attributes)


def _t(key: str, **fields: Any) -> Words:
    """The words of a key in each language, with fields filled in: str (escaped), Html, or Words."""
    return Words(**{language: _fill(TEXT[language][key], fields, language) for language in LANGUAGES})


def _fill(template: str, fields: Mapping[str, Any], language: str) -> Html:
    return Html(
        template.format(
            **{
                name: getattr(value, language) if isinstance(value, Words) else _escape(value)
                for name, value in fields.items()
            }
        )
    )


def _sentences(*sentences: Words | None) -> Words:
    """Sentences in a row: English has a space between them, Chinese has none."""
    known = [words for words in sentences if words]
    return Words(en=Html(" ".join(words.en for words in known)), zh=Html("".join(words.zh for words in known)))


def _known(prefix: str, name: str) -> Words | str:
    """The words of `prefix.name`; the name itself when there are none."""
    return _t(f"{prefix}.{name}") if f"{prefix}.{name}" in TEXT["en"] else name


def _count(key: str, number: int, **fields: Any) -> Words:
    """Words that depend on whether there is one of them."""
    return _t(f"{key}.{'one' if number == 1 else 'many'}", count=f"{number:,}", **fields)


def _section(name: str, body: Child) -> Html:
    return _h("section", _h("h2", _t(f"section.{name}")), body, id=name)


def _table(heads: Sequence[Child], rows: Sequence[Child], *, class_: str = "") -> Html:
    """heads: (words, class) or words. The table scrolls by itself when the page is narrow."""
    cells = [
        _h("th", *(head if isinstance(head, tuple) else (head,))[:1], scope="col", class_=_head_class(head))
        for head in heads
    ]
    table = _h("table", _h("thead", _h("tr", cells)), _h("tbody", rows), class_=class_ or None)
    return _h("div", table, class_="scroll", tabindex="0")


def _head_class(head: Child) -> str | None:
    return head[1] if isinstance(head, tuple) else None


def _more(summary: Child, *body: Child) -> Html:
    return _h("details", _h("summary", summary), body)


# ---------------------------------------------------------------- reading the record, of which any part may be missing


def _part(record: Any, *path: str) -> Record:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def _items(record: Any, name: str) -> list[Record]:
    found = record.get(name) if isinstance(record, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []


def _list(record: Any, name: str) -> list[Any]:
    found = record.get(name) if isinstance(record, Mapping) else None
    return list(found) if isinstance(found, list | tuple) else []


def _text(record: Any, name: str) -> str:
    found = record.get(name) if isinstance(record, Mapping) else None
    return str(found) if isinstance(found, str | Real) and not isinstance(found, bool) else ""


def _number(record: Any, name: str) -> float | None:
    return _finite(record.get(name) if isinstance(record, Mapping) else None)


def _finite(value: Any) -> float | None:
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if abs(number) < 1e300 else None  # NaN fails the comparison


def _unit(record: Any) -> str:
    return _clip(_text(record, "unit"), 12)


def _int(record: Any, name: str) -> int:
    return int(_number(record, name) or 0)


def _candidates_of(report: Record) -> list[Record]:
    """The first of them, and the one that was chosen wherever it stands."""
    found = _items(report, "candidates")
    return [*found[:MOST_CANDIDATES], *(item for item in found[MOST_CANDIDATES:] if _is_chosen(report, item))]


def _is_chosen(report: Record, candidate: Record) -> bool:
    return bool(_text(report, "chosen")) and _text(candidate, "id") == _text(report, "chosen")


def _chosen(report: Record) -> Record:
    return next((item for item in _candidates_of(report) if _is_chosen(report, item)), {})


COST = re.compile(r"latency(_p\d+)?|throughput|size|memory|cold_start|training_time")


def _is_cost(measure: str) -> bool:
    return COST.fullmatch(measure) is not None


def _quality_need(report: Record) -> Record:
    """The need that the candidates are compared by: the first that is about the answers; {} when there is none."""
    return next((need for need in _items(report, "needs") if not _is_cost(_text(need, "measure"))), {})


def _quality_measure(report: Record) -> Record:
    """The need to compare by, or a stand-in that names what was measured of the candidates."""
    need = _quality_need(report)
    if need:
        return need
    values = [value for item in _candidates_of(report) for value in _items(item, "values")]
    names = [(_text(_part(value, "key"), "measure") or _text(value, "name"), value) for value in values]
    measure, value = next(((name, value) for name, value in names if name and not _is_cost(name)), ("", {}))
    return {
        "measure": measure,
        "target": _text(_part(value, "key"), "target"),
        "op": "<=" if measure in ("log_loss", "calibration_error", "mae", "rmse", "hamming") else ">=",
    }


def _latency_need(report: Record) -> Record:
    needs = (need for need in _items(report, "needs") if _text(need, "measure").startswith("latency"))
    return next(needs, {"measure": "latency_p95", "op": "<=", "unit": "ms"})


def _value(values: Sequence[Record], need: Record) -> Record:
    """The value that a need is about; {} when it was not measured."""
    measure = _text(need, "measure")
    # A need of a report says the whole name of its measure: of which class, on which rows, at which concurrency.
    if named := next(
        (value for value in values if _text(need, "name") and _text(value, "name") == _text(need, "name")), None
    ):
        return named
    found = [
        value
        for value in values
        if measure and measure in (_text(_part(value, "key"), "measure"), _text(value, "name"))
        if _text(_part(value, "key"), "target") == _text(need, "target")
    ]
    asked = _text(need, "need")
    for value in found:
        of_class = _text(_part(value, "key"), "for_class")
        if of_class and re.search(rf"for [\"']?{re.escape(of_class)}[\"']?(?!\w)", asked):
            return value
    return next((value for value in found if not _text(_part(value, "key"), "for_class")), found[0] if found else {})


# ---------------------------------------------------------------- numbers as text


def _figure(value: float, unit: str = "", *, against: Sequence[float | None] = ()) -> str:
    """A number to about three digits, with more where fewer would make it look equal to one it is compared with."""
    size = abs(value)
    if value == int(value) and unit:
        digits = 0
    else:
        digits = 0 if size >= 1000 else 1 if size >= 10 else 2 if size > 1 else 3 if size >= 0.001 or size == 0 else 6
        if 0 < size < 1e-5:
            digits = 2 - math.floor(math.log10(size))
    for limit in against:
        if limit is None or limit == value:
            continue
        while digits < 12 and float(f"{value:.{digits}f}") == float(f"{limit:.{digits}f}"):
            digits += 1
    text = f"{value:,.{digits}f}"
    return f"{text}\u00a0{unit}" if unit else text


def _percent(share: float, *, against: Sequence[float | None] = ()) -> str:
    """A share as a percentage that never rounds to 0 % or 100 % unless it is."""
    limits = [0.0, 100.0, *(100 * limit for limit in against if limit is not None)]
    digits = 1
    for limit in limits:
        # The product is rounded, so that 0.29 counts as equal to 29 %.
        while (
            digits < 6
            and round(100 * share, 9) != round(limit, 9)
            and f"{100 * share:.{digits}f}" == f"{limit:.{digits}f}"
        ):
            digits += 1
    return f"{100 * share:.{digits}f}%"


def _range(low: float | None, high: float | None, unit: str = "", *, against: Sequence[float | None] = ()) -> str:
    if low is None and high is None:
        return ""
    ends = ["…" if end is None else _figure(end, against=against) for end in (low, high)]
    return f"{ends[0]} – {ends[1]}" + (f"\u00a0{unit}" if unit else "")


def _limit(need: Record) -> str:
    """'≥ 0.9' or '≤ 10 ms'."""
    limit = _number(need, "limit")
    if limit is None:
        return ""
    unit = _unit(need)
    return f"{_sign(need)} {limit:.12g}" + (f"\u00a0{unit}" if unit else "")


def _sign(need: Record) -> str:
    return {">=": "≥", "<=": "≤", "==": "="}.get(_text(need, "op"), _text(need, "op"))


def _wants_high(need: Record) -> bool:
    return ">" in _text(need, "op")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s" if seconds < 10 else f"{seconds:.0f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min" + (f"\u00a0{rest:02d}\u00a0s" if rest else "")
    return f"{minutes // 60}\u00a0h\u00a0{minutes % 60:02d}\u00a0min"


def _measure(measure: str) -> Words | str:
    match = re.fullmatch(r"latency_(p\d+)", measure)
    return _t("measure.latency", quantile=match.group(1)) if match else _known("measure", measure)


def _within(words: Words | str) -> Words | str:
    """A name as it stands within a sentence."""
    return Words(en=Html(words.en[:1].lower() + words.en[1:]), zh=words.zh) if isinstance(words, Words) else words


def _named(need: Record, *, within: bool = False) -> Words | str:
    """What a need measures, and of which target where there are several. within: as it stands within a sentence."""
    name, target = _measure(_text(need, "measure")), _clip(_text(need, "target"), 60)
    name = _within(name) if within else name
    return _t("target.measure", measure=name, target=target) if name and target else name


def _state(need: Record) -> str:
    """A verdict that is not one of the three is no proof of anything."""
    return _text(need, "verdict") if _text(need, "verdict") in STATES else "unproven"


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False  # ticks at whole numbers only

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, 1e-12))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within the axis."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = (1, 2, 5) if len(decades) <= 4 else (1,)
            return [m * 10.0**k for k in decades for m in every if self.low <= m * 10.0**k <= self.high]
        if not self.high > self.low:
            return [self.low]
        rough = (self.high - self.low) / about
        scale = 10.0 ** math.floor(math.log10(rough))
        step = scale * min((m for m in (1, 2, 2.5, 5, 10) if m * scale >= rough), default=10)
        step = math.ceil(step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def _svg(width: float, height: float, *children: Child, label: Words, class_: str = "figure") -> Html:
    return _h(
        "svg",
        children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_=class_ + (" wide" if width > 700 else ""),
        width=float(width),
    )


def _label(text: Child, x: float, y: float, class_: str = "", anchor: str = "start", **attributes: Any) -> Html:
    return _h(
        "text", text, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor, **attributes
    )


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return _h("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def _rect(x: float, y: float, width: float, height: float, class_: str, *children: Child, **attributes: Any) -> Html:
    return _h(
        "rect",
        children,
        x=float(x),
        y=float(y),
        width=float(max(0, width)),
        height=float(max(0, height)),
        class_=class_,
        **attributes,
    )


def _path(points: Sequence[tuple[float, float]], class_: str) -> Html:
    return _h("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def _grid(x: _Axis, y: _Axis, x_title: Child, y_title: Child, *, about: int = 5) -> Html:
    """The lines, numbers and titles of two axes."""
    parts = []
    for value in x.ticks(about):
        parts.append(_line(x(value), y.start, x(value), y.end, "grid"))
        parts.append(_label(f"{value:,.6g}", x(value), y.start + 17, "tick", "middle"))
    for value in y.ticks(about):
        parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(_label(f"{value:,.6g}", x.start - 8, y(value) + 4, "tick", "end"))
    parts.append(_line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(_label(x_title, (x.start + x.end) / 2, y.start + 37, "axis-title", "middle"))
    parts.append(_label(y_title, x.start - 8, y.end - 12, "axis-title"))
    return _h("g", parts)


def _characters(text: str) -> float:
    """The width of a text in the figure's pixels at 12 px, from what its characters usually take."""
    return sum(12.0 if unicodedata.east_asian_width(sign) in "WF" else 6.8 for sign in text)


def _glyph(state: str, *, size: int = 20) -> Html:
    """A tick, a cross or a question mark: the verdict must not depend on colour."""
    marks = {
        "met": _h("path", d="M5.5 10.5l3 3 6-7", class_="mark"),
        "missed": _h("path", d="M6.5 6.5l7 7m0-7l-7 7", class_="mark"),
    }
    other = [_h("path", d="M7.4 7.8a2.6 2.6 0 1 1 3.7 2.3c-.8.4-1.1.9-1.1 1.7", class_="mark")]
    other.append(_h("circle", cx=10, cy=14.4, r=1.1, class_="mark-dot"))
    return _h(
        "svg",
        _h("circle", cx=10, cy=10, r=10, class_="disc"),
        marks.get(state, other),
        viewBox="0 0 20 20",
        width=size,
        height=size,
        class_=f"glyph {state}",
        aria_hidden="true",
    )


def _pill(state: str, words: Child) -> Html:
    return _h("span", _glyph(state, size=14), words, class_=f"pill {state}")


def _share_bar(parts: Sequence[tuple[str, float, str]], whole: float, label: Words) -> Html:
    """One bar of stacked parts: (title, amount, class); what is left of the whole stays empty."""
    width, height = 860.0, 30.0
    drawn: list[Child] = [_rect(0, 0, width, height, "empty", rx=4)]
    at = 0.0
    for title, amount, class_ in parts:
        wide = width * amount / whole if whole else 0.0
        drawn.append(_rect(at, 0, max(wide - 1.5, 0.8), height, class_, _h("title", title)))
        at += wide
    return _svg(width, height, drawn, label=label, class_="figure strip")


# ---------------------------------------------------------------- the head of the page


@dataclass(frozen=True)
class _Headline:
    state: str  # met, unproven, missed, or none
    words: Words


def _headline(report: Record) -> _Headline:
    """The worst of what the needs and the exit code say: a page never claims more than both of them do."""
    needs = _items(report, "needs")
    states = [_state(need) for need in needs]
    code = _number(report, "exit")
    if _is_fault(report):
        return _Headline("none", _t("headline.fault", code=f"{code:g}"))
    if not needs:
        return _Headline("none", _t("headline.none"))
    if code in (3, 4):
        states.append("missed" if code == 3 else "unproven")
    worst = max(states, key=STATES.index)
    if worst == "met":
        return _Headline("met", _t("headline.met"))
    number = max(1, sum(_state(need) == worst for need in needs))
    return _Headline(worst, _count(f"headline.{worst}", number))


def _is_fault(report: Record) -> bool:
    """Whether the exit code is none of those that a verdict has."""
    code = _number(report, "exit")
    return code is not None and code not in (0, 3, 4)


def _masthead(report: Record) -> Html:
    return _h(
        "header",
        _h("span", _tape(), _h("b", "Sartor"), _h("span", _t("masthead"), class_="soft"), class_="brand"),
        _h(
            "span",
            [_h("label", name, for_=f"lang-{key}") for key, name in (("en", "English"), ("zh", "中文"))],
            class_="switch",
        ),
        class_="masthead",
    )


def _tape() -> Html:
    """A piece of a tailor's tape measure."""
    ticks = [_line(3 + 4 * i, 15, 3 + 4 * i, 9 if i % 2 == 0 else 12, "tape-tick") for i in range(7)]
    return _h(
        "svg", _rect(0, 4, 30, 12, "tape", rx=2), ticks, viewBox="0 0 30 20", width=30, height=20, aria_hidden="true"
    )


def _contents(names: Sequence[str]) -> Html:
    links = [_h("li", _h("a", _t(f"section.{name}"), href=f"#{name}")) for name in names]
    return _h("nav", _h("ol", links), class_="contents", aria_label=_t("contents"))


def _hero(report: Record) -> Html:
    headline = _headline(report)
    name = _text(report, "name")
    meta = [
        _typed(name, 80, "b") if name else None,
        _clip(_when(report), 40),
        f"Sartor {_clip(_text(report, 'sartor'), 40)}" if _text(report, "sartor") else None,
    ]
    return _h(
        "div",
        _h("p", _separated(meta), class_="eyebrow") if any(meta) else None,
        _h("h1", _glyph(headline.state, size=44), _h("span", headline.words)),
        _h("p", _standfirst(report, headline.state), class_="standfirst"),
        _tiles(report),
        class_=f"hero {headline.state}",
        id="top",
    )


def _separated(parts: Iterable[Child]) -> list[Child]:
    joined: list[Child] = []
    for part in parts:
        if part:
            joined += ([_h("span", " · ", class_="soft")] if joined else []) + [part]
    return joined


def _when(report: Record) -> str:
    text = _text(report, "created")
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:[\d.]+)?Z", text)
    return f"{match.group(1)} {match.group(2)} UTC" if match else text


def _standfirst(report: Record, state: str) -> Child:
    need = _quality_need(report)
    whole = _int(_part(report, "data", "splits"), "test")
    # Where its n are those of a slice, of a class, or of what was answered.
    of_some = _text(need, "setting") or re.search(r"\bfor\b", _text(need, "need"))
    rows = (whole if of_some else _int(need, "n")) or whole
    if state == "none" and not any(report.values()):
        return _t("standfirst.empty")
    if state == "met":
        fields = {"rows": f"{rows:,}", "confidence": _percent_of_confidence(need)}
        return _t("standfirst.met", **fields) if rows and need else _t("standfirst.facts")
    return _t("standfirst.fault" if _is_fault(report) else f"standfirst.{state}")


def _percent_of_confidence(need: Record) -> str:
    confidence = _number(need, "confidence")
    return percent_of_confidence(confidence if confidence is not None else 0.95)


def _tiles(report: Record) -> Html | None:
    tiles: list[tuple[Child, Child]] = []
    chosen = _chosen(report)
    if chosen:
        proven = _headline(report).state == "met"
        tiles.append(
            (_t("tile.chosen" if proven else "tile.best"), _typed(_text(chosen, "name") or _text(chosen, "id"), 60))
        )
    tried = _candidates_of(report)
    if tried:
        measured = sum(_text(item, "status") == "measured" for item in tried)
        tiles.append((_t("tile.candidates"), _t("tile.candidates-of", measured=measured, all=len(tried))))
    total, budget = _number(_part(report, "time"), "total_s"), _number(_part(report, "time"), "budget_s")
    if total is not None:
        words = _t("tile.of", part=_duration(total), whole=_duration(budget)) if budget else _duration(total)
        tiles.append((_t("tile.time"), words))
    environment = _part(report, "environment")
    machine = _text(environment, "cpu") or _text(environment, "machine")
    if machine or _text(environment, "cores"):
        count = _int(environment, "cores")
        cores = _h("span", " · " if machine else None, _count("tile.cores", count), class_="nowrap") if count else None
        tiles.append((_t("tile.machine"), [_typed(machine, 60) if machine else None, " ", cores]))
    if not tiles:
        return None
    return _h("dl", [_h("div", _h("dt", name), _h("dd", value)) for name, value in tiles], class_="tiles")


def _footer(report: Record) -> Html:
    return _h("footer", _t("footer"))


# ---------------------------------------------------------------- the needs


def _needs(report: Record) -> Html | None:
    needs = _items(report, "needs")
    if not needs:
        return None
    return _h(
        "div",
        _alarm(report),
        [_need_card(report, need) for need in needs],
        _looks(report),
        _more(
            _t("method.title"),
            [_h("p", _t(f"method.{part}")) for part in ("three", "bounds", "test", "looks", "latency")],
        ),
    )


def _looks(report: Record) -> Html | None:
    """That these test rows had judged other models before, where they had."""
    number = _int(_part(report, "look"), "number")
    if not number or number < 2:
        return None
    quality = _quality_need(report)
    if not quality:
        return None  # nothing is judged by the rows
    return _h("p", _t("looks", number=number, confidence=_percent_of_confidence(quality)), class_="soft")


def _alarm(report: Record) -> Html | None:
    """What the audit found that touches these very figures."""
    errors = [item for item in _items(report, "findings") if _text(item, "severity") == "error"]
    if not errors:
        return None
    messages = [_h("li", _typed(_text(item, "message"), 400)) for item in errors[:3]]
    return _h(
        "div",
        _h("p", _h("b", _count("alarm", len(errors))), " ", _h("a", _t("alarm.see"), href="#audit")),
        _h("ul", messages),
        class_="alarm",
    )


def _need_card(report: Record, need: Record) -> Html:
    state = _state(need)
    unit = _unit(need)
    measured, limit = _number(need, "measured"), _number(need, "limit")
    big = _t("need.unmeasured") if measured is None else _figure(measured, unit, against=[limit])
    advice = _text(need, "advice")
    return _h(
        "article",
        _h(
            "div",
            _pill(state, _t(f"verdict.{state}")),
            _h("h3", _named(need) or _t("need.unnamed")),
            _typed(_text(need, "need"), 200, "code") if _text(need, "need") else None,
            class_="need-name",
        ),
        _h(
            "div",
            _h("div", big, class_="big" if measured is not None else "big small"),
            _h("div", _t("need.limit", limit=_limit(need)), class_="soft") if limit is not None else None,
            class_="need-value",
        ),
        _h(
            "div",
            _gauge(need),
            _h("p", _sentences(_meaning(need), _proof(need))),
            _h("p", _separated(_circumstances(need)), class_="soft small"),
            _readings(report, need),
            _h(
                "p",
                _h("b", _t("need.note" if state == "met" else "need.advice")),
                " ",
                _typed(advice, 800),
                class_="advice",
            )
            if advice
            else None,
            class_="need-proof",
        ),
        class_=f"need {state}",
    )


def _circumstances(need: Record) -> list[Child]:
    fact = _is_fact(need)
    return [
        f"n = {_int(need, 'n'):,}" if _int(need, "n") and not fact else None,
        _t("need.confidence", confidence=_percent_of_confidence(need)) if not fact and _bounded(need) else None,
        _typed(_text(need, "method"), 120) if _text(need, "method") and not fact else None,
        _typed(_text(need, "setting"), 120) if _text(need, "setting") else None,
    ]


def _is_fact(need: Record) -> bool:
    measured = _number(need, "measured")
    return measured is not None and measured == _number(need, "low") == _number(need, "high")


def _bounded(need: Record) -> bool:
    return _number(need, "low") is not None or _number(need, "high") is not None


def _meaning(need: Record) -> Words | None:
    """What the figure says, for someone who does not know the name of the measure."""
    measure, measured = _text(need, "measure"), _number(need, "measured")
    if measured is None:
        return None
    if "difference to the baseline" in _text(need, "setting"):
        return _t("mean.difference", rows=f"{_int(need, 'n'):,}")
    limit = _number(need, "limit")
    quantile = re.fullmatch(r"latency_p(\d+)", measure)
    key = "mean.latency" if quantile else f"mean.{measure}"
    if measure == "accuracy" and "coverage" in _text(need, "setting"):
        key = "mean.answered"
    if key not in TEXT["en"]:
        return None
    return _t(
        key,
        percent=_percent(measured, against=[limit]),
        points=f"{100 * measured:.1f}",
        value=_figure(measured, _unit(need), against=[limit]),
        quantile=quantile.group(1) if quantile else "",
        rows=f"{_int(need, 'n'):,}",
    )


def _proof(need: Record) -> Words | None:
    """Why the verdict follows from the figures."""
    state, unit, limit = _state(need), _unit(need), _number(need, "limit")
    measured, low, high = (_number(need, name) for name in ("measured", "low", "high"))
    if limit is None:
        return None
    if measured is None:
        return _t("proof.unmeasured")
    if _is_fact(need):
        room = abs(limit - measured)
        return _t(f"proof.fact.{state}", room=_figure(room, unit)) if state != "unproven" else None
    # The bound that decides: the near one when met, the far one when missed.
    good, bad = (low, high) if _wants_high(need) else (high, low)
    bound = good if state == "met" else bad
    side = "least" if (state == "met") == _wants_high(need) else "most"
    if state == "missed" and bound is not None and (bound >= limit) == _wants_high(need):
        return None  # by the rows that it does not answer, which the advice tells
    if state in ("met", "missed") and bound is not None:
        return _t(
            f"proof.{state}.{side}",
            bound=_figure(bound, unit, against=[limit]),
            confidence=_percent_of_confidence(need),
        )
    if state == "unproven" and low is not None and high is not None and low <= limit <= high:
        return _t(
            "proof.between",
            limit=_figure_of_limit(need),
            low=_figure(low, against=[limit]),
            high=_figure(high, against=[limit]),
        )
    return _t("proof.unbounded") if state == "unproven" else None


def _figure_of_limit(need: Record) -> str:
    unit = _unit(need)
    return f"{_number(need, 'limit') or 0.0:.12g}" + (f"\u00a0{unit}" if unit else "")


_BESIDE = re.compile(r"(.*) with(out)? (the )?(leaked|doubtful) rows", re.DOTALL)


def _readings(report: Record, need: Record) -> Html | None:
    """The same measure with leaked rows and without doubtful ones, where the build measured them."""
    name = _text(need, "name") or _text(need, "measure")
    found = ((_BESIDE.fullmatch(_text(value, "name")), value) for value in _items(report, "values"))
    others = [value for match, value in found if match and match[1] == name]
    if not others:
        return None
    lines = [
        _h("li", _typed(_text(value, "name"), 160), ": ", _h("b", _measured(value, need)), _note(value))
        for value in others
    ]
    return _h("ul", lines, class_="readings")


def _measured(value: Record, need: Record | None = None) -> str:
    measured, unit = _number(value, "measured"), _unit(value)
    if measured is None:
        return "–"
    against = [_number(need, "limit")] if need else []
    bounds = _range(_number(value, "low"), _number(value, "high"), against=against)
    fact = _is_fact(value)
    return _figure(measured, unit, against=against) + (f" ({bounds})" if bounds and not fact else "")


def _note(value: Record) -> Html | None:
    return _h("span", " – ", _typed(_text(value, "note"), 300), class_="soft") if _text(value, "note") else None


def _gauge(need: Record) -> Html | None:
    """The interval drawn against the limit, on a tape measure."""
    known = {name: _number(need, name) for name in ("measured", "low", "high", "limit")}
    points = [value for value in known.values() if value is not None]
    limit = known["limit"]
    if limit is None:
        return None
    x = _gauge_axis(need, points)
    middle = 30.0
    region = (x(limit), x.end) if _wants_high(need) else (x.start, x(limit))
    drawn: list[Child] = [_rect(region[0], middle - 9, region[1] - region[0], 18, "region")]
    drawn.append(_line(x.start, middle + 9, x.end, middle + 9, "axis"))
    for value in x.ticks(6):
        drawn.append(_line(x(value), middle + 9, x(value), middle + 14, "axis"))
        drawn.append(_label(f"{value:,.6g}", x(value), middle + 26, "tick", "middle"))
    drawn.append(_line(x(limit), middle - 14, x(limit), middle + 9, "limit"))
    anchor = "middle" if 60 < x(limit) < x.end - 60 else "start" if x(limit) <= 60 else "end"
    drawn.append(_label(_t("gauge.limit", limit=_limit(need)), x(limit), middle - 18, "tick strong", anchor))
    low = known["low"] if known["low"] is not None else known["measured"]
    high = known["high"] if known["high"] is not None else known["measured"]
    if low is not None and high is not None:
        drawn.append(_line(x(low), middle, x(high), middle, "interval"))
    if known["measured"] is not None:
        drawn.append(_h("circle", cx=x(known["measured"]), cy=middle, r=6, class_="measured"))
    return _svg(
        x.end + 12, 60, drawn, label=_t("gauge.label", need=_text(need, "need")), class_=f"gauge {_state(need)}"
    )


def _gauge_axis(need: Record, points: Sequence[float]) -> _Axis:
    low, high = min(points), max(points)
    share = _unit(need) == "" and low >= 0 and high <= 1
    if _wants_high(need) and share:
        pad = max(0.3 * (high - low), 0.02)
        return _Axis(max(0.0, low - pad), min(1.0, high + pad), 12, 448)
    pad = 0.18 * (high - min(low, 0.0)) or 1.0
    return _Axis(min(low, 0.0), high + pad, 12, 448)


# ---------------------------------------------------------------- what was chosen


def _choice(report: Record) -> Html | None:
    chosen, reason = _chosen(report), _text(report, "reason")
    if not chosen and not reason:
        return None
    name = _text(chosen, "name") or _text(report, "chosen")
    took = "choice.took" if _headline(report).state == "met" else "choice.closest"
    return _h(
        "div",
        _h("p", _t(took, name=_typed(name, 80, "b")), class_="lead") if name else None,
        _h("p", _typed(reason, 1200), class_="lead" if not name else None) if reason else None,
        _disagreement(report, chosen),
        _baseline_sentence(report),
    )


def _disagreement(report: Record, chosen: Record) -> Html | None:
    """Validation chose and test judged: when the first lies outside the interval of the second, the page says so."""
    need = _quality_measure(report)
    valid = _number(_value(_items(chosen, "values"), need), "measured")
    test = _value(_items(report, "values"), need) or _quality_need(report)
    measured, low, high = (_number(test, name) for name in ("measured", "low", "high"))
    if valid is None or measured is None or low is None or high is None or low <= valid <= high:
        return None
    worse = (measured < valid) == _wants_high(need)
    return _h(
        "p",
        _t(
            "choice.worse" if worse else "choice.better",
            measure=_named(need, within=True),
            valid=_figure(valid),
            test=_measured(test),
        ),
        class_="callout",
    )


def _baseline_sentence(report: Record) -> list[Html]:
    """What the trivial baseline has, of each target."""
    baseline = _part(report, "baseline")
    each = [dict(_part(baseline, "targets", name)) | {"target": name} for name in _part(baseline, "targets")]
    told = []
    for record in each or [dict(baseline)]:
        if (measured := _number(record, "measured")) is not None:
            words = _t(
                "choice.baseline",
                name=_typed(_text(baseline, "name") or "baseline", 60),
                measure=_named(record, within=True),
                measured=_figure(measured),
            )
            told.append(_h("p", words, class_="soft"))
    return told


# ---------------------------------------------------------------- what could be had instead


def _relaxations(report: Record) -> Html | None:
    """Which needs block, the nearest points that can be had, and what each costs."""
    found = _part(report, "relaxations")
    points, blocking = _items(found, "points"), _items(found, "blocking")
    rows, times = _items(found, "rows"), _items(found, "time")
    if not (points or blocking or rows or times):
        return None
    more = [_more_rows(one) for one in rows] + [_more_time(one) for one in times]
    return _h(
        "div",
        _h("ul", [_h("li", _blocks(one)) for one in blocking]) if blocking else None,
        _scatter(report, _candidates_of(report), points[:3]) if points else None,
        _point_table(report, points) if points else None,
        _h("ul", [_h("li", said) for said in more if said]) if any(more) else None,
        _h("p", _t("relax.note"), class_="soft small") if points else None,
    )


def _blocks(blocking: Record) -> list[Child]:
    best = _part(blocking, "best")
    measured = _number(best, "measured")
    how = _text(blocking, "how")
    said = _t(f"relax.{how}") if how in ("alone", "together", "test") else None
    closest = (
        _t("relax.best", measured=_figure(measured, _unit(blocking)), name=_typed(_text(best, "name"), 80))
        if measured is not None
        else None
    )
    return [_typed(_text(blocking, "need"), 200, "code"), " ", _sentences(said, closest)]


def _point_table(report: Record, points: Sequence[Record]) -> Html:
    quality, latency = _quality_measure(report), _latency_need(report)
    named = [_text(quality, "name") or _text(quality, "measure"), _text(latency, "name"), "size"]
    named = [name or "latency_p95 at concurrency 1" for name in named]
    heads = [
        _t("relax.instead"),
        _t("candidate.name"),
        (_named(quality) or _t("candidate.quality"), "number"),
        (_measure(_text(latency, "measure")), "number"),
        (_t("measure.size"), "number"),
    ]
    rows = []
    for point in points:
        values = [_number(_part(point, "values"), name) for name in named]
        units = (_unit(quality), "ms", "MB")
        cells = ["–" if value is None else _figure(value, unit) for value, unit in zip(values, units, strict=True)]
        asked = [_h("div", _change(one)) for one in _items(point, "relax")]
        proven = _t("relax.proven" if point.get("proven") is True else "relax.likely")
        rows.append(
            _h(
                "tr",
                _h("td", asked, _h("span", proven, class_="under")),
                _h("td", _typed(_text(point, "name"), 80, "b")),
                [_h("td", cell, class_="number") for cell in cells],
            )
        )
    return _table(heads, rows)


def _change(relaxed: Record) -> list[Child]:
    """A limit as it was asked for, and as it would have to be."""
    limit, offer, unit = _number(relaxed, "limit"), _number(relaxed, "offer"), _unit(relaxed)
    if limit is None or offer is None:
        return [_typed(_text(relaxed, "need"), 200, "code")]
    words = _t(
        "relax.change",
        offer=f"{_sign(relaxed)} {_figure(offer, unit, against=[limit])}",
        limit=_figure(limit, unit, against=[offer]),
    )
    return [_typed(_text(relaxed, "measure"), 80, "b"), " ", words]


def _more_rows(told: Record) -> Child:
    low, mid, high = (_number(told, end) for end in ("low", "mid", "high"))
    need = _typed(_text(told, "need"), 200, "code")
    if mid is None:
        return [need, " ", _t("relax.no-rows")]
    ends = {"low": f"{low or 0:,.0f}", "high": f"{high:,.0f}" if high is not None else "…"}
    return [need, " ", _t("relax.rows", rows=f"{mid:,.0f}", **ends)]


def _more_time(told: Record) -> Child:
    seconds, chance = _number(told, "forecast_s"), _number(told, "chance")
    if seconds is None or chance is None:
        return None
    name = _typed(_text(told, "name"), 80, "b")
    return [name, " ", _t("relax.time", time=_duration(seconds), chance=f"{100 * chance:.0f}%")]


# ---------------------------------------------------------------- every candidate


def _candidates(report: Record) -> Html | None:
    items = _candidates_of(report)
    if not items:
        return None
    return _h("div", _scatter(report, items), _candidate_table(report, items))


@dataclass(frozen=True)
class _Dot:
    """One candidate in the plot."""

    name: str
    tip: str
    chosen: bool
    x: float | None
    x_range: tuple[float, float] | None
    y: float
    y_range: tuple[float, float] | None


def _scatter(report: Record, items: Sequence[Record], offers: Sequence[Record] = ()) -> Html | None:
    """Quality on the validation rows against latency, with the needs as lines and what meets both as a region.

    offers: points of the map, whose limits are drawn beside those asked for.
    """
    quality, latency = _quality_measure(report), _latency_need(report)
    dots = [dot for item in items if (dot := _dot(report, item, quality, latency))]
    if not dots:
        return None
    timed = [dot for dot in dots if dot.x is not None and dot.x > 0]
    width, height = 860.0, 430.0
    right = width - 24 if len(timed) == len(dots) else width - 120
    x = _latency_axis([dot.x for dot in timed if dot.x], _number(latency, "limit"), 62, right)
    y = _quality_axis(dots, quality, height - 56, 40)
    x_title = _t("plot.latency", measure=_measure(_text(latency, "measure")))
    y_title = _t("plot.quality", measure=_named(quality))
    fixed, boxes = _limits(quality, latency, x, y)
    drawn: list[Child] = [_grid(x, y, x_title, y_title), fixed, _baseline_line(report, x, y)]
    drawn.append([_offered(offer, quality, latency, x, y) for offer in offers])
    if len(timed) < len(dots):
        drawn.append(_line(right + 12, y.start, right + 12, y.end, "grid"))
        drawn.append(_label(_t("plot.untimed"), right + 60, y.start + 17, "tick", "middle"))
    places = [((x(dot.x) if dot.x else right + 60), _height(dot, y)) for dot in dots]
    ordered = sorted(zip(dots, places, strict=True), key=lambda pair: pair[0].chosen)  # the chosen one on top
    drawn.append([_draw_dot(dot, place, x, y) for dot, place in ordered])
    drawn.append(_names(dots, places, boxes, _strokes(dots, places, quality, latency, x, y), y, width))
    figure = _svg(width, height, drawn, label=_t("plot.label"))
    beyond = any(_height(dot, y) != y(dot.y) for dot in dots)
    note = _sentences(
        _t("plot.note"), _t("plot.beyond") if beyond else None, _t("plot.offers") if len(offers) else None
    )
    return _h("figure", figure, _h("figcaption", note))


def _offered(offer: Record, quality: Record, latency: Record, x: _Axis, y: _Axis) -> Html | None:
    """The region that a point of the map would meet, as an outline."""
    relaxed = {_text(one, "need"): _number(one, "offer") for one in _items(offer, "relax")}
    floor = relaxed.get(_text(quality, "need"), _number(quality, "limit"))
    ceiling = relaxed.get(_text(latency, "need"), _number(latency, "limit"))
    if floor is None and (ceiling is None or ceiling <= 0):
        return None
    edge = y(floor) if floor is not None else (y.start if _wants_high(quality) else y.end)
    best = y.end if _wants_high(quality) else y.start
    reach = x(ceiling) if ceiling is not None and ceiling > 0 else x.end
    return _rect(x.start, min(edge, best), max(0.0, reach - x.start), abs(edge - best), "offer")


def _dot(report: Record, item: Record, quality: Record, latency: Record) -> _Dot | None:
    values = _items(item, "values")
    of_quality, of_latency = _value(values, quality), _value(values, latency)
    y = _number(of_quality, "measured")
    if y is None:
        return None
    size = _value(values, {"measure": "size"})
    tip = [_text(item, "name") or _text(item, "id")]
    tip += [f"{_text(value, 'name')}: {_measured(value)}" for value in (of_quality, of_latency, size) if value]
    return _Dot(
        name=_text(item, "name") or _text(item, "id"),
        tip="\n".join(_clip(line, 200) for line in tip),
        chosen=_is_chosen(report, item),
        x=_number(of_latency, "measured"),
        x_range=_ends(of_latency),
        y=y,
        y_range=_ends(of_quality),
    )


def _ends(value: Record) -> tuple[float, float] | None:
    low, high = _number(value, "low"), _number(value, "high")
    return (low, high) if low is not None and high is not None and high > low else None


def _latency_axis(values: Sequence[float], limit: float | None, start: float, end: float) -> _Axis:
    known = [*values, *([limit] if limit is not None and limit > 0 else [])] or [1.0, 10.0]
    return _Axis(min(known) / 1.8, max(known) * 1.8, start, end, log=True)


def _quality_axis(dots: Sequence[_Dot], need: Record, start: float, end: float) -> _Axis:
    """Room for the limit and for whatever comes near it; a baseline far below is drawn at the edge instead."""
    wants_high = _wants_high(need)
    ranked = sorted((dot.y for dot in dots), reverse=wants_high)
    best, middle, limit = ranked[0], ranked[len(ranked) // 2], _number(need, "limit")
    reach = max(
        2.2 * abs(best - (limit if limit is not None else best)), 2.2 * abs(best - middle), 0.06 * (abs(best) or 1)
    )
    near = [dot for dot in dots if abs(dot.y - best) <= reach]
    points = [value for dot in near for value in (dot.y, *(dot.y_range or ()))]
    points += [limit] if limit is not None else []
    low, high = min(points), max(points)
    pad = 0.12 * (high - low) or 0.05
    share = low >= 0 and high <= 1 and not _unit(need)
    return _Axis(
        max(0.0, low - pad) if low >= 0 else low - pad, min(1.0, high + pad) if share else high + pad, start, end
    )


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _limits(quality: Record, latency: Record, x: _Axis, y: _Axis) -> tuple[Html, list[Box]]:
    """The needs as lines with their names, and the boxes that those names take."""
    drawn: list[Child] = []
    boxes: list[Box] = []
    floor, ceiling = _number(quality, "limit"), _number(latency, "limit")
    best = y.end if _wants_high(quality) else y.start
    if floor is not None or ceiling is not None:
        edge = y(floor) if floor is not None else (y.start if _wants_high(quality) else y.end)
        reach = x(ceiling) if ceiling is not None and ceiling > 0 else x.end
        drawn.append(_rect(x.start, min(edge, best), reach - x.start, abs(edge - best), "region"))
        if abs(edge - best) >= 24:
            drawn.append(_label(_t("plot.region"), x.start + 8, min(edge, best) + 17, "region-name"))
            boxes.append((x.start, min(edge, best), x.start + 110, min(edge, best) + 22))
    if floor is not None:
        text = _limit(quality)
        drawn.append(_line(x.start, y(floor), x.end, y(floor), "limit"))
        drawn.append(_label(text, x.end - 4, y(floor) - 6, "tick strong", "end"))
        boxes.append((x.end - 8 - _characters(text), y(floor) - 18, x.end, y(floor) + 2))
    if ceiling is not None and ceiling > 0:
        text = _limit(latency)
        drawn.append(_line(x(ceiling), y.start, x(ceiling), y.end, "limit"))
        drawn.append(_label(text, x(ceiling) + 6, y.end + 12, "tick strong"))
        boxes.append((x(ceiling) - 2, y.end, x(ceiling) + 10 + _characters(text), y.end + 18))
    return _h("g", drawn), boxes


def _baseline_line(report: Record, x: _Axis, y: _Axis) -> Html | None:
    baseline, quality = _part(report, "baseline"), _quality_measure(report)
    of_target = _part(baseline, "targets", _text(quality, "target"))
    told = of_target or baseline
    if _text(told, "measure") not in ("", _text(quality, "measure")) or re.search(
        r"\b(for|where)\b", _text(quality, "need")
    ):
        return None  # of another measure, or of all rows where the need is of some
    measured = _number(told, "measured")
    if measured is None or not y.low <= measured <= y.high:
        return None
    line = _line(x.start, y(measured), x.end, y(measured), "baseline")
    return _h("g", line, _label(_t("plot.baseline"), x.start + 8, y(measured) - 6, "tick"))


def _height(dot: _Dot, y: _Axis) -> float:
    """Where a dot stands; one beyond the edge stands just inside it."""
    return y(dot.y) if y.low <= dot.y <= y.high else y.start - 12 if dot.y < y.low else y.end + 12


def _draw_dot(dot: _Dot, place: tuple[float, float], x: _Axis, y: _Axis) -> Html:
    across, up = place
    inside = up == y(dot.y)
    parts: list[Child] = [_h("title", dot.tip)]
    if dot.y_range and inside:
        parts.append(_line(across, y(dot.y_range[0]), across, y(dot.y_range[1]), "whisker"))
    if dot.x_range and inside:
        parts.append(_line(x(dot.x_range[0]), up, x(dot.x_range[1]), up, "whisker"))
    if not inside:  # an arrowhead at the edge that it lies beyond
        tip = 10.0 if dot.y < y.low else -10.0
        parts.append(_h("path", d=f"M{across - 7:.1f} {up - tip / 2:.1f}h14l-7 {tip:.1f}z", class_="spot"))
    elif dot.chosen:
        parts.append(_h("circle", cx=across, cy=up, r=13, class_="halo"))
        parts.append(_h("circle", cx=across, cy=up, r=8, class_="spot"))
    else:
        parts.append(_h("circle", cx=across, cy=up, r=6.5, class_="spot"))
    return _h("g", parts, class_="dot chosen" if dot.chosen else "dot")


def _names(
    dots: Sequence[_Dot],
    places: Sequence[tuple[float, float]],
    taken: Sequence[Box],
    lines: Sequence[Box],
    y: _Axis,
    width: float,
) -> list[Html]:
    """Each name beside its dot: over no other name or dot, and over as few lines as can be.

    One that finds no room is left to the table and the tooltip.
    """
    boxes = [*taken, *((at - 9, up - 9, at + 9, up + 9) for at, up in places)]
    drawn = []
    for dot, (at, up) in sorted(zip(dots, places, strict=True), key=lambda pair: not pair[0].chosen):
        text = _clip(dot.name, 34) + ("" if y.low <= dot.y <= y.high else f" ({_figure(dot.y)})")
        wide, gap = _characters(text) * (1.06 if dot.chosen else 1.0), 17.0 if dot.chosen else 11.0
        free: list[tuple[int, int, Box, str]] = []
        for order, (anchor, left, base) in enumerate(_spots(at, up, wide, gap)):
            box = (left, base - 11, left + wide, base + 4)
            if box[0] >= 4 and box[2] <= width - 2 and not any(_overlap(box, other) for other in boxes):
                free.append((sum(_overlap(box, line) for line in lines), order, box, anchor))
        if free:
            _, _, box, anchor = min(free)
            boxes.append(box)
            spot = {"start": box[0], "middle": (box[0] + box[2]) / 2, "end": box[2]}[anchor]
            drawn.append(_label(text, spot, box[3] - 4, "name chosen" if dot.chosen else "name", anchor))
    return drawn


def _spots(at: float, up: float, wide: float, gap: float) -> list[tuple[str, float, float]]:
    """Where a name may stand: (anchor, left edge, base line), the best first."""
    right, left, middle = at + gap, at - gap - wide, at - wide / 2
    beside = [("start", right, up + 4), ("end", left, up + 4)]
    above_below = [("middle", middle, up - gap - 4), ("middle", middle, up + gap + 11)]
    corners = [("start", right, up - 10), ("start", right, up + 18), ("end", left, up - 10), ("end", left, up + 18)]
    return beside + above_below + corners


def _strokes(
    dots: Sequence[_Dot], places: Sequence[tuple[float, float]], quality: Record, latency: Record, x: _Axis, y: _Axis
) -> list[Box]:
    """The lines that a name had better not cross: limits and whiskers."""
    floor, ceiling = _number(quality, "limit"), _number(latency, "limit")
    lines: list[Box] = [(x.start, y(floor) - 1, x.end, y(floor) + 1)] if floor is not None else []
    if ceiling is not None and ceiling > 0:
        lines.append((x(ceiling) - 1, y.end, x(ceiling) + 1, y.start))
    for dot, (at, _) in zip(dots, places, strict=True):
        if dot.y_range:
            lines.append((at - 1, y(dot.y_range[1]), at + 1, y(dot.y_range[0])))
    return lines


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _candidate_table(report: Record, items: Sequence[Record]) -> Html:
    quality, latency = _quality_measure(report), _latency_need(report)
    named = {_text(item, "id"): _text(item, "name") for item in items}
    dots = [dot for item in items if (dot := _dot(report, item, quality, latency))]
    scale = _quality_axis(dots, quality, 4, 116) if dots else None
    heads = [
        _t("candidate.name"),
        _named(quality) or _t("candidate.quality"),
        (_measure(_text(latency, "measure")), "number"),
        (_t("measure.size"), "number"),
        (_t("candidate.time"), "number"),
        (_t("candidate.flips"), "number"),
        (_t("candidate.chance"), "number"),
    ]
    rows = [_candidate_rows(report, item, quality, latency, named, scale) for item in items]
    notes = [_h("p", _t("candidate.note"), class_="soft small"), _packed(_part(report, "flips"))]
    return _h("div", _table(heads, rows, class_="candidates"), notes)


def _candidate_rows(
    report: Record, item: Record, quality: Record, latency: Record, named: Mapping[str, str], scale: _Axis | None
) -> list[Html]:
    chosen = _is_chosen(report, item)
    saved = _saved(report, item, quality)
    values = _items(item, "values")
    of_quality, of_latency, size = _value(values, quality), _value(values, latency), _value(values, {"measure": "size"})
    took = "status.chosen" if _headline(report).state == "met" else "status.closest"
    status = _text(item, "status")
    badge = _t(took) if chosen else _known("status", status) if status not in ("", "measured") else None
    seconds, forecast, chance = (_number(item, name) for name in ("seconds", "forecast_s", "chance"))
    first = _h(
        "tr",
        _h(
            "td",
            _typed(_text(item, "name") or _text(item, "id"), 80, "b"),
            " ",
            _h("span", badge, class_=f"badge {'chosen' if chosen else status}") if badge else None,
        ),
        _h("td", _whisker(of_quality, quality, scale), _h("span", _measured(of_quality, quality), class_="nowrap")),
        _h("td", _only(of_latency, latency), class_="number"),
        _h("td", _only(size), class_="number"),
        _h(
            "td",
            _duration(seconds) if seconds is not None else "–",
            _h("span", _t("candidate.forecast", time=_duration(forecast)), class_="under")
            if forecast is not None
            else None,
            class_="number",
        ),
        _h("td", _flips(_part(item, "flips"), named), class_="number"),
        _h("td", f"{100 * chance:.0f}%" if chance is not None else "–", class_="number"),
        class_="chosen" if chosen else None,
    )
    return [
        first,
        _h("tr", _h("td", _candidate_story(item, saved), colspan="7"), class_="story chosen" if chosen else "story"),
    ]


def _whisker(value: Record, need: Record, scale: _Axis | None) -> Html | None:
    """A value with its interval on the scale that all rows of the table share."""
    measured, ends, limit = _number(value, "measured"), _ends(value), _number(need, "limit")
    if measured is None or scale is None:
        return None
    drawn: list[Child] = [_line(scale.start, 9, scale.end, 9, "grid")]
    if limit is not None:
        drawn.append(_line(scale(limit), 1, scale(limit), 17, "limit"))
    if ends:
        drawn.append(_line(scale(ends[0]), 9, scale(ends[1]), 9, "whisker"))
    drawn.append(_h("circle", cx=scale(measured), cy=9, r=4, class_="spot"))
    return _svg(120, 18, drawn, label=_t("candidate.interval"), class_="mini")


def _only(value: Record, need: Record | None = None) -> str:
    measured = _number(value, "measured")
    if measured is None:
        return "–"
    return _figure(measured, _unit(value), against=[_number(need, "limit")] if need else [])


def _flips(flips: Record, named: Mapping[str, str]) -> Child:
    number, rows = _number(flips, "flips"), _number(flips, "n")
    if number is None or not rows:
        return "–"
    of = _text(flips, "of")
    parent = _known("flips.of", of) if of not in named else named[of]
    told = parent if isinstance(parent, Words) else _typed(parent, 40)
    against = _h("span", _t("candidate.against", parent=told), class_="under") if of else None
    return [_t("tile.of", part=f"{number:,.0f}", whole=f"{rows:,.0f}"), against]


def _packed(flips: Record) -> Html | None:
    """What fewer bits changed on the test rows, and whether it matters with which others a row is answered."""
    number, rows, alone = _number(flips, "flips"), _number(flips, "n"), _part(flips, "alone")
    differ, of = _number(alone, "differ"), _number(alone, "n")
    if number is None or not rows or differ is None or not of:
        return None
    said = _t("packed.flips", part=f"{number:,.0f}", whole=f"{rows:,.0f}")
    how = "packed.singly" if alone.get("invariant") is False else "packed.alone" if differ else "packed.alike"
    return _h("p", said, " ", _t(how, part=f"{differ:,.0f}", whole=f"{of:,.0f}"), class_="soft small")


def _saved(report: Record, item: Record, quality: Record) -> list[Child]:
    """What a cut took from the model that it was made from, and what it saved; nothing of what is no cut."""
    parent = _text(item, "parent")
    alike = [one for one in _items(report, "candidates") if parent and _text(one, "weights") == parent]
    alike = [one for one in alike if _text(one, "status") == "measured"]
    if not alike or _text(item, "status") != "measured":
        return []
    from_ = max(alike, key=lambda one: _text(one, "precision") == _text(item, "precision"))

    def both(need: Record) -> tuple[float | None, float | None]:
        return tuple(_number(_value(_items(one, "values"), need), "measured") for one in (item, from_))  # type: ignore[return-value]

    said: list[list[Child]] = []
    mine, its = both(quality)
    if mine is not None and its is not None:
        said.append([_named(quality, within=True), f" {mine - its:+.3f}".replace("-", "−")])
    for need, word in ((_latency_need(report), "saved.faster"), ({"measure": "size"}, "saved.smaller")):
        mine, its = both(need)
        if mine and its:
            said.append([_t(word, times=f"{its / mine:.1f}")])
    seconds = _number(item, "seconds")
    if seconds is not None:
        said.append([_t("saved.took", time=_duration(seconds))])
    parted = [part for place, one in enumerate(said) for part in (", " if place else ": ", *one)]
    return [_typed(_text(from_, "name"), 80), *parted] if said else []


def _candidate_story(item: Record, saved: Sequence[Child]) -> list[Child]:
    reason, why = _text(item, "reason") or _text(_part(item, "plan"), "reason"), _text(item, "why")
    steps = _items(_part(item, "plan"), "steps")
    chosen_for, expected = _text(item, "chosen_for"), _expected(item)
    return [
        _h("p", _typed(reason, 600)) if reason else None,
        _h("p", _h("b", _t("candidate.chosen-for")), " ", _typed(chosen_for, 600)) if chosen_for else None,
        _h("p", _h("b", _t("candidate.expected")), " ", _typed(expected, 600), class_="soft small")
        if expected
        else None,
        _h("p", _h("b", _t("candidate.saved")), " ", list(saved)) if saved else None,
        _h("p", _h("b", _t("candidate.why")), " ", _typed(why, 600)) if why else None,
        _more(_count("candidate.steps", len(steps)), _plan_list(_part(item, "plan"))) if steps else None,
    ]


# Of what is believed of a system before it is measured; the page knows reports alone, not what measured them.
EXPECTED_UNITS = dict.fromkeys(("latency_p50", "latency_p95", "latency_p99"), " ms") | {
    "throughput": " rows/s",
    "cold_start": " s",
    "training_time": " s",
    "size": " MB",
    "memory": " MB",
}


def _expected(item: Record) -> str:
    """What was believed of a candidate before it was made."""
    told = []
    for name, ends in _part(item, "outlook", "values").items():
        low, mid, high = (_number(ends, end) for end in ("low", "mid", "high"))
        if low is not None and mid is not None and high is not None:
            name = _clip(str(name), 60).removesuffix(" at concurrency 1")
            unit = EXPECTED_UNITS.get(name.partition(" ")[0], "")
            told.append(f"{name} {mid:.3g}{unit} ({low:.3g} – {high:.3g})")
    return " · ".join(told[:8])


# ---------------------------------------------------------------- learning curves


def _curves(report: Record) -> Html | None:
    sharing: dict[
        str, list[Record]
    ] = {}  # what is made of one that was trained, such as its eight-bit form, has its curve
    for item in _candidates_of(report):
        sharing.setdefault(json.dumps(_items(item, "curve"), sort_keys=True, default=str), []).append(item)
    figures = [_curve(report, items) for items in sharing.values()]
    drawn = [figure for figure in figures if figure]
    if not drawn:
        return None
    rest = _more(_count("more", len(drawn) - 3), drawn[3:]) if len(drawn) > 3 else None
    return _h("div", drawn[:3], rest, _h("p", _t("curve.note"), class_="soft small"))


def _curve(report: Record, sharing: Sequence[Record]) -> Html | None:
    """The curve of one candidate, or of several that share it."""
    item = sharing[0]
    points = _items(item, "curve")
    epochs = [_number(point, "epoch") for point in points]
    steps = [_number(point, "step") for point in points]
    # Several evaluations in an epoch stand at their steps; otherwise the epoch is the plainer unit.
    by_epoch = all(epoch is not None for epoch in epochs) and len(set(epochs)) == len(epochs)
    at = epochs if by_epoch else steps
    kept = [(where, point) for where, point in zip(at, points, strict=True) if where is not None]
    loss = {name: _series(kept, name) for name in ("train_loss", "valid_loss")}
    # Training maximises, so what is better when lower was turned round.
    lower = _part(report, "primary").get("better") == "lower"
    valid = {"valid": [(where, -value if lower else value) for where, value in _series(kept, "valid")]}
    panels = [(lines, title) for lines, title in ((loss, "loss"), (valid, "valid")) if any(lines.values())]
    if not panels:
        return None
    x_title = _t("curve.epoch" if by_epoch else "curve.step")
    quality = _quality_measure(report)
    # Of several targets training follows all at once, of one always the primary measure.
    followed = _text(_part(report, "primary"), "measure") or _text(quality, "measure")
    measure = _t("candidate.quality") if _text(quality, "target") else _measure(followed)
    asked = followed == _text(quality, "measure") and not _text(quality, "target") and not _text(quality, "setting")
    limit = _number(quality, "limit") if asked else None
    drawn = []
    for i, (lines, title) in enumerate(panels):
        y_title = _t("curve.loss") if title == "loss" else _t("plot.quality", measure=measure)
        drawn.append(_panel(lines, 430.0 * i, x_title, y_title, limit=limit if title == "valid" else None))
    names = [_typed(_text(one, "name") or _text(one, "id"), 80, "b") for one in sharing]
    rate = [number for point in points if (number := _number(point, "rows_per_s")) is not None]
    speed = _t("curve.rate", rate=f"{float(np.median(rate)):,.0f}") if rate else None
    return _h(
        "figure",
        _h("figcaption", _separated([*names, speed]), class_="title"),
        _svg(860, 250, drawn, label=_t("curve.label", name=_text(item, "name"))),
    )


def _series(kept: Sequence[tuple[float, Record]], name: str) -> list[tuple[float, float]]:
    return [(at, value) for at, point in kept if (value := _number(point, name)) is not None]


def _panel(
    lines: Mapping[str, list[tuple[float, float]]], left: float, x_title: Child, y_title: Child, *, limit: float | None
) -> Html:
    everything = [point for line in lines.values() for point in line]
    across, up = [point[0] for point in everything], [point[1] for point in everything]
    low, high = min(up), max(up)
    if limit is not None and abs(limit - (low + high) / 2) < 3 * max(high - low, 0.05):
        low, high = min(low, limit), max(high, limit)
    pad = 0.1 * (high - low) or 0.05 * (abs(high) or 1.0)
    beside = 0.0 if max(across) > min(across) else 1.0  # a single epoch stands in the middle
    x = _Axis(min(across) - beside, max(across) + beside, left + 52, left + 340, whole=True)
    y = _Axis(low - pad, high + pad, 204, 36)
    drawn: list[Child] = [_grid(x, y, x_title, y_title, about=4)]
    if limit is not None and y.low <= limit <= y.high:
        drawn.append(_line(x.start, y(limit), x.end, y(limit), "limit"))
    ends: list[float] = []
    for name, line in sorted(lines.items(), key=lambda pair: -pair[1][-1][1] if pair[1] else 0):
        if not line:
            continue
        places = [(x(at), y(value)) for at, value in line]
        drawn.append(_path(places, f"line {name}"))
        if len(places) <= 40:
            drawn.append([_h("circle", cx=at, cy=height, r=3, class_=f"point {name}") for at, height in places])
        end = max(places[-1][1] + 4, ends[-1] + 14) if ends else places[-1][1] + 4  # two names never on one another
        ends.append(end)
        drawn.append(_label(_t(f"curve.{name}"), x.end + 8, end, f"tick {name}"))
    return _h("g", drawn)


# ---------------------------------------------------------------- more rows


def _growth(report: Record) -> Html | None:
    """The scores with fewer rows, and what they say of more."""
    told = _part(report, "growth")
    points = [(_number(item, "rows"), _number(item, "score")) for item in _items(told, "points")]
    known = [(rows, score) for rows, score in points if rows and score is not None]
    band = []
    for item in _items(told, "forecast"):
        figures = [_number(item, name) for name in ("rows", "low", "mid", "high")]
        if None not in figures and figures[0]:
            band.append([float(figure or 0.0) for figure in figures])
    if len(known) < 2 or len(band) < 2:
        return None
    limits = [_number(limit, "limit") for limit in _part(told, "needs").values() if isinstance(limit, Mapping)]
    heights = [score for _, score in known] + [each[2] for each in band]
    low, high = min(heights), max(heights)
    shown = [limit for limit in limits if limit is not None and low - 0.1 < limit < high + 0.1]
    low, high = min([low, *shown]), max([high, *shown])
    pad = 0.1 * (high - low) or 0.05
    x = _Axis(band[0][0], band[-1][0], 64, 640, log=True)
    y = _Axis(max(0.0, low - pad), min(1.0, high + pad), 300, 36)
    about = [need for need in _items(report, "needs") if _text(need, "need") in _part(told, "needs")]
    measure = _named(next(iter(about), _quality_measure(report)))
    drawn: list[Child] = [_grid(x, y, _t("growth.rows"), _t("plot.quality", measure=measure))]
    edge = [(x(rows), y(top)) for rows, _, _, top in band] + [(x(rows), y(base)) for rows, base, _, _ in reversed(band)]
    drawn.append(_h("polygon", points=" ".join(f"{across:.1f},{up:.1f}" for across, up in edge), class_="fan"))
    drawn.append(_path([(x(rows), y(mid)) for rows, _, mid, _ in band], "line growth"))
    for limit in shown:
        drawn.append(_line(x.start, y(limit), x.end, y(limit), "limit"))
    drawn.append([_h("circle", cx=x(rows), cy=y(score), r=4, class_="point growth") for rows, score in known])
    return _h(
        "figure",
        _svg(660, 350, drawn, label=_t("growth.label")),
        _h("p", _t("growth.note", trials=f"{_number(told, 'trials') or 0:,.0f}"), class_="soft small"),
    )


# ---------------------------------------------------------------- where it errs


def _confusion(report: Record) -> Html | None:
    parts = _per_target(report, lambda figures, _: _confusion_of(_part(figures, "confusion")))
    return _h("div", parts) if parts else None


def _per_target(report: Record, draw: Callable[[Record, str], Html | None]) -> list[Child]:
    """What is drawn of the figures of each target, under its name where there are several; of one it is nothing, for `draw` too."""
    figures = _part(report, "figures")
    several = len(figures) > 1
    drawn = [(str(target), draw(_part(figures, target), str(target) if several else "")) for target in figures]
    return [(_h("h3", _typed(target, 80)) if several else None, part) for target, part in drawn if part]


def _settled(report: Record, name: str, target: str) -> Record:
    """What the chosen candidate settled (`calibrated`, `abstains`) for a target; nothing names the only one."""
    told = _part(_chosen(report), name)
    return _part(told, target) if target else told


def _confusion_of(confusion: Record) -> Html | None:
    labels, matrix = [str(label) for label in _list(confusion, "labels")], _matrix(confusion)
    if matrix is None or not len(labels) or matrix.shape != (len(labels), len(labels)) or not matrix.sum():
        return None
    wrong = matrix - np.diag(np.diag(matrix))
    if len(labels) <= MOST_CLASSES_IN_MATRIX:
        shown, note = list(range(len(labels))), _t("confusion.note")
    else:
        confused = wrong.sum(0) + wrong.sum(1)
        shown = sorted(np.argsort(-confused, kind="stable")[:MOST_CLASSES_IN_MATRIX].tolist())
        note = _t("confusion.some", shown=MOST_CLASSES_IN_MATRIX, all=len(labels))
    return _h(
        "div",
        _h("figure", _heat_map(labels, matrix, shown), _h("figcaption", note)),
        _pairs(labels, wrong, matrix),
        _more(_t("confusion.by-class"), _class_table(labels, matrix.sum(1), matrix.sum(0), np.diag(matrix))),
    )


def _matrix(confusion: Record) -> np.ndarray | None:
    rows = _list(confusion, "matrix")
    if not rows or not all(isinstance(row, list | tuple) and len(row) == len(rows) for row in rows):
        return None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return matrix if matrix.ndim == 2 and np.isfinite(matrix).all() and (matrix >= 0).all() else None


def _heat_map(labels: Sequence[str], matrix: np.ndarray, shown: Sequence[int]) -> Html:
    """Rows are the expected class, columns the answer; colour is the share of the row, the number is the count."""
    rest = [i for i in range(len(labels)) if i not in set(shown)]
    counts = matrix[np.ix_(shown, shown)]
    if rest:  # the last column holds every other answer, so that each row still sums to all of its test rows
        counts = np.column_stack([counts, matrix[np.ix_(shown, rest)].sum(1)])
    names = [_clip(labels[i], 24) for i in shown]
    margin = min(190.0, 26 + max(60.0, *(_characters(name) for name in names)))
    side = min(92.0 if len(shown) <= 4 else 60.0, (820 - margin - 60) / counts.shape[1])
    top = 46 + min(130.0, 0.72 * max(_characters(name) for name in names))
    slanted = max(_characters(name) for name in names) > side
    top = top if slanted else 62.0
    drawn: list[Child] = []
    totals = matrix[shown].sum(1)
    for row in range(len(shown)):
        up = top + row * side
        drawn.append(_label(names[row], margin - 10, up + side / 2 + 4, "tick strong", "end"))
        for column in range(counts.shape[1]):
            drawn += _cell(counts[row, column], totals[row], row == column, margin + column * side, up, side)
        if totals[row]:
            recall = _percent(float(counts[row, row] / totals[row]))
            drawn.append(_label(recall, margin + counts.shape[1] * side + 8, up + side / 2 + 4, "tick"))
    for column, name in enumerate([*names, *([_t("confusion.other")] if rest else [])]):
        at = margin + (column + 0.5) * side
        turn = f"rotate(-45 {at:.1f} {top - 8:.1f})" if slanted else None
        drawn.append(_label(name, at, top - 8, "tick strong", "start" if slanted else "middle", transform=turn))
    drawn.append(_label(_t("confusion.answered"), margin, 16, "axis-title"))
    drawn.append(_label(_t("confusion.expected"), margin - 10, top - 12, "axis-title", "end"))
    bottom = top + len(shown) * side
    drawn.append(_label(_t("confusion.recall"), margin + counts.shape[1] * side + 8, bottom + 16, "axis-title"))
    width = margin + counts.shape[1] * side + 70 + (40 if slanted else 0)
    return _svg(width, bottom + 22, drawn, label=_t("confusion.label"))


def _cell(count: float, total: float, right: bool, x: float, y: float, side: float) -> list[Html]:
    share = count / total if total else 0.0
    drawn = [_rect(x + 0.75, y + 0.75, side - 1.5, side - 1.5, "cell", rx=2)]
    if count:
        # The root keeps a few mistakes visible beside hundreds of right answers.
        strength = 0.1 + 0.9 * (share if right else share**0.5)
        class_ = "cell-right" if right else "cell-wrong"
        drawn.append(_rect(x + 0.75, y + 0.75, side - 1.5, side - 1.5, class_, rx=2, fill_opacity=strength))
        drawn.append(
            # Light figures are read on strong blue alone; on orange dark ones always are the better.
            _label(
                f"{count:,.0f}",
                x + side / 2,
                y + side / 2 + 4,
                "count on" if right and strength > 0.8 else "count",
                "middle",
            )
        )
    return drawn


def _pairs(labels: Sequence[str], wrong: np.ndarray, matrix: np.ndarray) -> Html | None:
    """The pairs that are taken for one another most often."""
    order = np.argsort(-wrong, axis=None, kind="stable")[:12]
    rows = []
    for flat in order.tolist():
        expected, answered = divmod(flat, len(labels))
        count = wrong[expected, answered]
        if not count:
            break
        share = _percent(float(count / matrix[expected].sum()))
        rows.append(
            _h(
                "tr",
                _h("td", _typed(labels[expected], 60)),
                _h("td", _typed(labels[answered], 60)),
                _h("td", f"{count:,.0f}", class_="number"),
                _h("td", share, class_="number"),
            )
        )
    if not rows:
        return _h("p", _t("confusion.none"))
    heads = [_t("mistake.expected"), _t("mistake.answered"), (_t("count"), "number"), (_t("confusion.share"), "number")]
    return _h("div", _h("h3", _t("confusion.pairs")), _table(heads, rows, class_="pairs"))


def _class_table(labels: Sequence[str], truly: np.ndarray, named: np.ndarray, hits: np.ndarray) -> Html:
    """Of every class: its rows, and recall, precision and F1 from them, from those that were named so, and from those of both [classes]."""
    rows = []
    for i in range(min(len(labels), MOST_CLASSES_IN_TABLE)):
        recall = hits[i] / truly[i] if truly[i] else None
        precision = hits[i] / named[i] if named[i] else None
        f1 = 2 * hits[i] / (truly[i] + named[i]) if truly[i] + named[i] else None
        figures = ["–" if share is None else _percent(float(share)) for share in (recall, precision, f1)]
        rows.append(
            _h(
                "tr",
                _h("td", _typed(labels[i], 60)),
                _h("td", f"{truly[i]:,.0f}", class_="number"),
                [_h("td", figure, class_="number") for figure in figures],
            )
        )
    heads = [
        _t("class"),
        *((_t(key), "number") for key in ("data.test-rows", "measure.recall", "measure.precision", "measure.f1")),
    ]
    cut = _h("p", _t("cut", shown=MOST_CLASSES_IN_TABLE, all=f"{len(labels):,}"), class_="soft small")
    return _h("div", _table(heads, rows), cut if len(labels) > MOST_CLASSES_IN_TABLE else None)


def _by_class(report: Record) -> Html | None:
    parts = _per_target(report, lambda figures, _: _by_class_of(_items(figures, "by_class")))
    return _h("div", parts) if parts else None


def _by_class_of(items: Sequence[Record]) -> Html | None:
    """Where several classes may hold for a row: each by itself, the commonest first."""
    ordered = sorted(items, key=lambda item: -_int(item, "rows"))
    if not ordered:
        return None
    rows, hits, false = (np.array([_int(item, name) for item in ordered]) for name in ("rows", "hits", "false_alarms"))
    labels = [_text(item, "class") for item in ordered]
    return _h("div", _h("p", _t("by_class.note")), _class_table(labels, rows, hits + false, hits))


def _told_and_right(report: Record) -> Html | None:
    parts = _per_target(report, lambda figures, target: _told_and_right_of(_list(figures, "scatter"), report, target))
    return _h("div", parts) if parts else None


def _told_and_right_of(points: Sequence[Any], report: Record, target: str) -> Html | None:
    """What was answered over what was right: on the line where both are the same."""
    known = [pair for pair in points if isinstance(pair, list) and len(pair) == 2 and all(map(_is_finite, pair))]
    if len(known) < 2:
        return None
    table = np.array(known, dtype=np.float64)
    low, high = float(table.min()), float(table.max())
    x, y = _Axis(low, high, 66, 376), _Axis(low, high, 346, 36)
    drawn: list[Child] = [_grid(x, y, _t("scatter.expected"), _t("scatter.answered"))]
    drawn.append(_line(x(low), y(low), x(high), y(high), "ideal"))
    drawn += [_h("circle", cx=f"{x(right):.1f}", cy=f"{y(told):.1f}", r="2.5", class_="point") for right, told in table]
    chosen = _settled(report, "calibrated", target)
    half, share = _number(chosen, "half_width"), _number(chosen, "interval")
    side = _h(
        "div",
        _h("p", _t("scatter.meaning")),
        _h("p", _t("scatter.interval", share=_percent(share), half=f"{half:.4g}"))
        if half is not None and share
        else None,
        class_="aside",
    )
    return _h("figure", _svg(396, 400, drawn, label=_t("scatter.label"), class_="figure square"), side, class_="pair")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reliability(report: Record) -> Html | None:
    parts = _per_target(report, lambda figures, target: _reliability_of(_items(figures, "reliability"), report, target))
    return _h("div", parts) if parts else None


def _calibrated(told: Record) -> Html | None:
    """How its probabilities were calibrated."""
    scale, rows, before, after = (_number(told, name) for name in ("scale", "rows", "before", "after"))
    if not scale or rows is None or before is None or after is None:
        return None
    facts = {
        "temperature": f"{1 / scale:.2f}",
        "rows": f"{rows:,.0f}",
        "before": f"{before:.3f}",
        "after": f"{after:.3f}",
    }
    part = "calib" if _text(told, "part") == "calib" else "valid"
    return _h("p", _t(f"reliability.calibrated.{part}", **facts))


def _abstains(told: Record) -> Html | None:
    """From which probability on it answers, and whether calibration rows vouch for what was asked of it."""
    below, rows, coverage, accuracy = (_number(told, name) for name in ("below", "rows", "coverage", "accuracy"))
    if below is None or rows is None or coverage is None or accuracy is None:
        return None
    facts = {
        "below": f"{below:.4f}",
        "rows": f"{rows:,.0f}",
        "coverage": _percent(coverage),
        "accuracy": _percent(accuracy),
    }
    return _h("p", _t("abstains.sure" if told.get("controlled") is True else "abstains.unsure", **facts))


def _reliability_of(bins: Sequence[Record], report: Record, target: str) -> Html | None:
    """Whether a stated probability of 0.8 is right in 8 of 10 cases."""
    known = []
    for item in bins:
        figures = [_number(item, name) for name in ("low", "high", "n", "confidence", "accuracy")]
        if None not in figures and figures[2]:
            known.append([float(figure or 0.0) for figure in figures])
    if not known:
        return None
    table = np.array(known)
    n, confidence, accuracy = table.T[2:]
    error = float((n * np.abs(accuracy - confidence)).sum() / n.sum())
    lean = float((n * (confidence - accuracy)).sum() / n.sum())
    x, y = _Axis(0, 1, 56, 376), _Axis(0, 1, 346, 36)
    drawn: list[Child] = [_grid(x, y, _t("reliability.stated"), _t("reliability.observed"))]
    most = n.max()
    for left, right, count, stated, observed in table:
        wide = x(right) - x(left) - 2
        tip = _h("title", f"{left:.2f} – {right:.2f}\nn = {count:,.0f}\n{stated:.3f} → {observed:.3f}")
        both, either = y(min(stated, observed)), y(max(stated, observed))
        drawn.append(_rect(x(left) + 1, both, wide, y(0) - both, "bin", tip))
        drawn.append(_rect(x(left) + 1, either, wide, both - either, "gap"))
        drawn.append(_line(x(left) + 1, y(observed), x(left) + 1 + wide, y(observed), "observed"))
        drawn.append(_rect(x(left) + 1, 452 - 44 * count / most, wide, 44 * count / most, "amount"))
    drawn.append(_line(x(0), y(0), x(1), y(1), "ideal"))
    drawn.append(_line(x.start, 452, x.end, 452, "axis"))
    drawn.append(_label(_t("reliability.rows", most=f"{most:,.0f}"), x.start, 404, "tick"))
    words = _t("reliability.over" if lean > 0 else "reliability.under", points=f"{abs(100 * lean):.1f}")
    measured = _value(_items(report, "values"), {"measure": "calibration_error", "target": target})
    # Bounds of another figure than the one drawn (other bins, other rows) would mislead.
    same = abs((_number(measured, "measured") or 0.0) - error) < 0.0005 and not _is_fact(measured)
    bounds = _range(_number(measured, "low"), _number(measured, "high")) if same else ""
    side = _h(
        "div",
        _h("div", f"{error:.3f}", class_="big"),
        _h("p", _h("b", _t("reliability.ece")), f" ({bounds})" if bounds else None),
        _h("p", _t("reliability.meaning", points=f"{100 * error:.1f}")),
        _h("p", words) if abs(lean) >= 0.01 else _h("p", _t("reliability.fair")),
        _calibrated(_settled(report, "calibrated", target)),
        _abstains(_settled(report, "abstains", target)),
        _h("p", _t("reliability.note"), class_="soft small"),
        class_="aside",
    )
    return _h(
        "figure", _svg(396, 460, drawn, label=_t("reliability.label"), class_="figure square"), side, class_="pair"
    )


def _mistakes(report: Record) -> Html | None:
    parts = _per_target(report, lambda figures, _: _mistakes_of(_items(figures, "mistakes")))
    return _h("div", parts) if parts else None


def _mistakes_of(mistakes: Sequence[Record]) -> Html | None:
    if not mistakes:
        return None
    # A number, or several classes at once, have no one probability.
    sure = any(_number(item, "probability") is not None for item in mistakes)
    rows = [_mistake(item, sure=sure) for item in mistakes[:MOST_ROWS]]
    heads = [
        *([(_t("mistake.probability"), "number")] if sure else []),
        _t("mistake.input"),
        _t("mistake.expected"),
        _t("mistake.answered"),
        (_t("mistake.row"), "number"),
    ]
    table = _table(heads, rows[:10], class_="mistakes")
    rest = _more(_count("more", len(rows) - 10), _table(heads, rows[10:], class_="mistakes"))
    note = _h("p", _t("mistake.note" if sure else "mistake.furthest"))
    return _h("div", note, table, rest if len(rows) > 10 else None)


def _mistake(item: Record, *, sure: bool) -> Html:
    inputs, pictures = _part(item, "inputs"), _part(item, "pictures")
    shown = [
        _h(
            "div",
            _h("span", _clip(str(name), 40), ": ", class_="soft") if len(inputs) > 1 else None,
            _picture(pictures[name], str(name)) if name in pictures else _typed(str(value), 320),
        )
        for name, value in inputs.items()
    ]
    probability = _number(item, "probability")
    return _h(
        "tr",
        _h("td", "–" if probability is None else _percent(probability), class_="number"),
        _h("td", shown, class_="prose message"),
        _h("td", _typed(_text(item, "expected"), 60)),
        _h("td", _typed(_text(item, "answered"), 60)),
        _h("td", _text(item, "row"), class_="number soft"),
    )


def _picture(source: Any, name: str) -> Html | None:
    """A picture that stands in the report itself; nothing for a source that leads elsewhere."""
    if not isinstance(source, str) or not re.fullmatch(
        r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]{1,200000}", source
    ):
        return None
    # As it is: there is nothing in it to escape, and what a text is cut to would leave half of a picture.
    return _h("img", src=Html(source), alt=_clip(name, 40), loading="lazy")


# ---------------------------------------------------------------- the audit and the data

SEVERITIES = ("error", "warning", "note")


def _audit(report: Record) -> Html | None:
    if "findings" not in report:
        return None
    findings = _items(report, "findings")
    if not findings:
        return _h("p", _t("audit.clean"))
    rank = {name: i for i, name in enumerate(SEVERITIES)}
    findings = sorted(findings, key=lambda item: rank.get(_text(item, "severity"), len(rank)))
    chips = []
    for severity in SEVERITIES:
        number = sum(_text(item, "severity") == severity for item in findings)
        if number:
            chips.append(_h("span", _count(f"audit.{severity}", number), class_=f"chip {severity}"))
    return _h("div", _h("p", chips, class_="chips"), [_finding(item) for item in findings[:MOST_ROWS]])


def _finding(item: Record) -> Html:
    severity = _text(item, "severity") if _text(item, "severity") in SEVERITIES else "note"
    rows = [f"{int(row):,}" for value in _list(item, "rows") if (row := _finite(value)) is not None]
    listed = ", ".join(rows[:MOST_ROW_NUMBERS]) + (", …" if len(rows) > MOST_ROW_NUMBERS else "")
    details = _part(item, "details")
    more: list[Child] = [_h("p", _t("audit.rows"), " ", listed) if rows else None]
    more.append(_h("pre", _clip(_json(details), 1500)) if details else None)
    number = _int(item, "count")
    return _h(
        "article",
        _h(
            "div",
            _h("span", _t(f"severity.{severity}"), class_=f"chip {severity}"),
            _h("code", _clip(_text(item, "code"), 80)),
            _h("span", _count("rows", number), class_="soft") if number else None,
            class_="finding-head",
        ),
        _h("p", _typed(_text(item, "message"), 1000)),
        _h("p", _h("b", _t("need.advice")), " ", _typed(_text(item, "advice"), 800)) if _text(item, "advice") else None,
        _more(_t("audit.more"), more) if rows or details else None,
        class_=f"finding {severity}",
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, indent=1)


SPLITS = ("train", "valid", "calib", "test", "unlabelled")


def _data(report: Record) -> Html | None:
    data = _part(report, "data")
    if not data:
        return None
    targets = _part(data, "target")  # where there are several: {target: its task}
    named: list[Child] = [_typed(_text(data, "target"), 80, "code")] if _text(data, "target") else []
    named += [[_typed(str(name), 80, "code"), f" ({_clip(str(task), 40)})"] for name, task in targets.items()]
    classes = _part(data, "classes")
    return _h(
        "div",
        _facts(
            [
                (_t("data.source"), _typed(_text(data, "source"), 300, "code") if _text(data, "source") else None),
                (_t("data.rows"), f"{_int(data, 'rows'):,}" if _int(data, "rows") else None),
                (_t("data.inputs"), _comma([_typed(str(name), 60, "code") for name in _list(data, "inputs")])),
                (_t("data.target"), _comma(named)),
                (_t("data.read"), [_h("div", _typed(str(note), 200)) for note in _list(data, "notes")] or None),
                (_t("data.rule"), _typed(_text(data, "rule"), 800) if _text(data, "rule") else None),
                (
                    _t("data.fingerprint"),
                    _typed(_text(data, "fingerprint"), 80, "code") if _text(data, "fingerprint") else None,
                ),
            ]
        ),
        _splits(_part(data, "splits")),
        _classes(classes) if not targets else [_classes_of(name, _part(classes, name)) for name in targets],
        _set_aside(_items(data, "set_aside")),
    )


def _facts(pairs: Sequence[tuple[Child, Child]]) -> Html | None:
    known = [_h("div", _h("dt", name), _h("dd", value)) for name, value in pairs if value]
    return _h("dl", known, class_="facts") if known else None


def _comma(parts: Sequence[Child]) -> list[Child]:
    return [([", "] if i else []) + [part] for i, part in enumerate(parts)]


def _splits(splits: Record) -> Html | None:
    sizes = [(name, _int(splits, name)) for name in SPLITS if _int(splits, name) > 0]
    whole = sum(size for _, size in sizes)
    if not whole:
        return None
    bar = _share_bar([(f"{name}: {size:,}", size, f"split-{name}") for name, size in sizes], whole, _t("data.splits"))
    keys = [
        _h("li", _h("span", class_=f"key split-{name}"), _t(f"split.{name}"), " ", _h("b", f"{size:,}"))
        for name, size in sizes
    ]
    return _h(
        "figure", _h("figcaption", _h("b", _t("data.splits")), class_="title"), bar, _h("ul", keys, class_="legend")
    )


def _classes_of(target: str, classes: Record) -> Html | None:
    table = _classes(classes)
    return _h("div", _h("h3", _typed(target, 80)), table) if table else None


def _classes(classes: Record) -> Html | None:
    counts = sorted(((str(name), int(_finite(n) or 0)) for name, n in classes.items()), key=lambda pair: -pair[1])
    if not counts:
        return None
    most = max(1, counts[0][1])
    lines = [
        _h(
            "tr",
            _h("td", _typed(name, 60)),
            _h("td", f"{count:,}", class_="number"),
            _h("td", _bar(count / most)),
        )
        for name, count in counts[:MOST_CLASSES_IN_TABLE]
    ]
    heads = [_t("class"), (_t("data.rows"), "number"), ""]
    shown = 14 if len(lines) > 16 else len(lines)
    rest = _more(_count("data.more-classes", len(lines) - shown), _table(heads, lines[shown:], class_="classes"))
    cut = _h("p", _t("cut", shown=MOST_CLASSES_IN_TABLE, all=f"{len(counts):,}"), class_="soft small")
    return _h(
        "div",
        _h("h3", _count("data.classes", len(counts))),
        _table(heads, lines[:shown], class_="classes"),
        rest if len(lines) > shown else None,
        cut if len(counts) > MOST_CLASSES_IN_TABLE else None,
    )


def _bar(share: float) -> Html:
    drawn = _rect(0, 2, 300 * share, 10, "amount")
    return _h("svg", drawn, viewBox="0 0 300 14", class_="bar", preserveAspectRatio="none", aria_hidden="true")


def _set_aside(rows: Sequence[Record]) -> Html | None:
    if not rows:
        return None
    lines = [
        _h(
            "tr",
            _h("td", _typed(_text(row, "file"), 80)),
            _h("td", _text(row, "line"), class_="number"),
            _h("td", _typed(_text(row, "reason"), 300)),
        )
        for row in rows[:MOST_ROWS]
    ]
    cut = (
        _h("p", _t("cut", shown=MOST_ROWS, all=f"{len(rows):,}"), class_="soft small")
        if len(rows) > MOST_ROWS
        else None
    )
    table = _table([_t("data.file"), (_t("data.line"), "number"), _t("data.reason")], lines)
    return _more(_count("data.set-aside", len(rows)), table, cut)


# ---------------------------------------------------------------- time, plan, measurements, environment, command


def _time(report: Record) -> Html | None:
    time = _part(report, "time")
    stages = [(_text(item, "name"), _number(item, "seconds") or 0.0) for item in _items(time, "stages")]
    stages = [(name, seconds) for name, seconds in stages if seconds > 0]
    total, budget = _number(time, "total_s"), _number(time, "budget_s")
    spent = sum(seconds for _, seconds in stages)
    if not stages and total is None:
        return None
    sentence = None
    if total is not None:
        sentence = (
            _t("time.of", total=_duration(total), budget=_duration(budget))
            if budget
            else _t("time.total", total=_duration(total))
        )
    whole = max(spent, total or 0.0, budget or 0.0)
    longest = {name: i % 8 for i, (name, _) in enumerate(sorted(stages, key=lambda stage: -stage[1])[:8])}
    parts = [
        (f"{name}: {_duration(seconds)}", seconds, f"stage-{longest.get(name, 'rest')}") for name, seconds in stages
    ]
    keys = [
        _h(
            "li",
            _h("span", class_=f"key stage-{longest.get(name, 'rest')}"),
            _known("stage", _clip(name, 60)),
            " ",
            _h("b", _duration(seconds)),
        )
        for name, seconds in stages[:40]
    ]
    bar = [_share_bar(parts, whole, _t("section.time")), _h("ul", keys, class_="legend")] if stages else None
    return _h("figure", _h("p", sentence) if sentence else None, bar)


def _plan(report: Record) -> Html | None:
    plan = _part(_chosen(report), "plan")
    if not plan:
        return None
    reason = _text(plan, "reason")
    return _h("div", _h("p", _typed(reason, 1000)) if reason else None, _plan_list(plan))


def _plan_list(plan: Record, depth: int = 0) -> Html:
    """A backbone and its steps in order; a plan inside an argument (a teacher, a member) is listed within its step."""
    backbone = _text(plan, "backbone")
    steps = [_step(item, depth) for item in _items(plan, "steps")[:50]]
    head = _h("p", _t("plan.backbone"), " ", _typed(backbone, 120, "code")) if backbone else None
    return _h("div", head, _h("ol", steps, class_="steps"))


def _step(item: Record, depth: int) -> Html:
    arguments = _part(item, "arguments")
    members = [_part(one, "plan") for one in _items(arguments, "members")]
    inner = {name: value for name, value in arguments.items() if _items(value, "steps")}
    plain = {
        name: value for name, value in arguments.items() if name not in inner and not (name == "members" and members)
    }
    inner |= {f"members[{place}]": plan for place, plan in enumerate(members) if _items(plan, "steps")}
    chips = [_h("code", _clip(f"{name} = {_short(value)}", 120), class_="argument") for name, value in plain.items()]
    nested = [
        _h("div", _h("code", str(name)), _plan_list(plan, depth + 1)) for name, plan in inner.items() if depth < 4
    ]
    reason = _text(item, "reason")
    return _h(
        "li",
        _h("b", _clip(_text(item, "step"), 80)),
        " ",
        [(chip, " ") for chip in chips[:40]],
        _h("p", _typed(reason, 600), class_="soft") if reason else None,
        nested,
    )


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _values(report: Record) -> Html | None:
    values = _items(report, "values")
    if not values:
        return None
    rows = [
        _h(
            "tr",
            _h("td", _typed(_text(value, "name") or _text(_part(value, "key"), "measure"), 120)),
            _h("td", _only(value), class_="number"),
            _h(
                "td",
                "" if _is_fact(value) else _range(_number(value, "low"), _number(value, "high")),
                class_="number nowrap",
            ),
            _h("td", f"{_int(value, 'n'):,}" if _int(value, "n") and not _is_fact(value) else "", class_="number"),
            _h("td", [_h("div", _typed(_text(value, name), 400)) for name in ("method", "note")], class_="prose soft"),
        )
        for value in values[:MOST_ROWS]
    ]
    heads = [
        _t("value.name"),
        (_t("value.measured"), "number"),
        (_t("value.bounds"), "number"),
        ("n", "number"),
        _t("value.method"),
    ]
    return _h("div", _h("p", _t("value.note"), class_="soft"), _table(heads, rows))


def _environment(report: Record) -> Html | None:
    environment = _part(report, "environment")
    if not environment:
        return None
    pairs: list[tuple[Child, Child]] = []
    for name, value in environment.items():
        if name == "versions":
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _short(value)
        if name == "memory_gb":
            shown = f"{shown}\u00a0GB"
        pairs.append((_known("environment", str(name)), _typed(shown, 300) if shown else None))
    versions = _part(environment, "versions")
    listed = [_h("code", _clip(f"{name} {value}", 80), class_="argument") for name, value in versions.items()]
    if listed:
        pairs.append((_t("environment.versions"), [(code, " ") for code in listed[:100]]))
    return _h("div", _h("p", _t("environment.note"), class_="soft"), _facts(pairs))


def _again(report: Record) -> Html | None:
    command = _text(report, "command")
    if not command:
        return None
    return _h("div", _h("pre", _h("code", command), class_="command"), _h("p", _t("again.note"), class_="soft"))


SECTIONS: tuple[tuple[str, Callable[[Record], Html | None]], ...] = (
    ("needs", _needs),
    ("choice", _choice),
    ("relaxations", _relaxations),
    ("candidates", _candidates),
    ("curves", _curves),
    ("growth", _growth),
    ("confusion", _confusion),
    ("by_class", _by_class),
    ("scatter", _told_and_right),
    ("reliability", _reliability),
    ("mistakes", _mistakes),
    ("audit", _audit),
    ("data", _data),
    ("time", _time),
    ("plan", _plan),
    ("values", _values),
    ("environment", _environment),
    ("again", _again),
)


# ---------------------------------------------------------------- every word of the page, once per language

TEXT: dict[str, dict[str, str]] = {
    "en": {
        "masthead": "Build report",
        "contents": "Contents",
        "footer": "Made by Sartor. This page is one file: it holds no script and loads nothing. "
        "The same figures, for programs, are in report.json beside it.",
        "cut": "The first {shown} of {all} are shown.",
        "count": "Times",
        "class": "Class",
        "rows.one": "{count} row",
        "rows.many": "{count} rows",
        # the head of the page
        "headline.met": "Every need is met",
        "headline.missed.one": "1 need is missed",
        "headline.missed.many": "{count} needs are missed",
        "headline.unproven.one": "1 need is unproven",
        "headline.unproven.many": "{count} needs are unproven",
        "headline.none": "No needs were judged",
        "headline.fault": "The build did not finish (exit {code})",
        "standfirst.met": "Judged at {confidence} confidence on {rows} test rows that took no part in any choice, "
        "measured through the very files that will be deployed.",
        "standfirst.facts": "Measured on the very files that will be deployed.",
        "standfirst.fault": "Nothing is claimed. The figures below are as far as it came.",
        "standfirst.missed": "The evidence is against it, so nothing is claimed. Below stand the best figures that "
        "were reached, and what could close the gap.",
        "standfirst.unproven": "The evidence does not suffice either way, so nothing is claimed. Below stands what "
        "would settle it.",
        "standfirst.none": "There is no verdict on this page; it shows what was found and measured.",
        "standfirst.empty": "This report is empty.",
        "tile.chosen": "Chosen",
        "tile.best": "Closest candidate",
        "tile.candidates": "Candidates measured",
        "tile.candidates-of": "{measured} of {all}",
        "tile.time": "Time spent",
        "tile.of": "{part} of {whole}",
        "tile.machine": "Measured on",
        "tile.cores.one": "{count} core",
        "tile.cores.many": "{count} cores",
        # sections
        "section.needs": "Needs and verdicts",
        "section.choice": "What was chosen",
        "section.relaxations": "What could be had instead",
        "section.candidates": "Every candidate",
        "section.curves": "Learning curves",
        "section.growth": "Would more rows help?",
        "section.confusion": "What is confused with what",
        "section.reliability": "Can its probabilities be trusted?",
        "section.by_class": "Class by class",
        "by_class.note": "Several classes may hold for one row. Recall: of the test rows that have the class, how many were found. "
        "Precision: of those that were named so, how many have it.",
        "section.scatter": "Answered and right",
        "scatter.expected": "right",
        "scatter.answered": "answered",
        "scatter.label": "Answered numbers over the right ones",
        "scatter.meaning": "Each point is a test row; on the line, what was answered is right.",
        "scatter.interval": "Each answer comes with an interval of ± {half}, which holds the right number in at least {share} of such rows.",
        "section.mistakes": "Worst mistakes",
        "section.audit": "Audit of the data",
        "section.data": "Data and splits",
        "section.time": "Where the time went",
        "section.plan": "The plan",
        "section.values": "All measurements",
        "section.environment": "Environment",
        "section.again": "Make it again",
        # needs
        "verdict.met": "Met",
        "verdict.missed": "Missed",
        "verdict.unproven": "Unproven",
        "need.unmeasured": "not measured",
        "need.unnamed": "Need",
        "need.limit": "needed {limit}",
        "need.confidence": "bounds at {confidence} each",
        "need.advice": "What to do:",
        "need.note": "Note:",
        "flips.of.its float parent": "its float parent",
        "gauge.limit": "need {limit}",
        "gauge.label": "The measured value and its interval against the limit: {need}",
        "measure.accuracy": "Accuracy",
        "measure.macro_f1": "Macro F1",
        "measure.micro_f1": "Micro F1",
        "measure.exact_match": "Rows with every class right",
        "measure.hamming": "Wrong class decisions",
        "measure.balanced_accuracy": "Balanced accuracy",
        "measure.mae": "Mean absolute error",
        "measure.rmse": "Root mean squared error",
        "measure.r2": "Variance explained (R²)",
        "measure.interval_coverage": "Coverage of the intervals",
        "measure.auroc": "Area under the ROC curve",
        "measure.f1": "F1",
        "measure.recall": "Recall",
        "measure.precision": "Precision",
        "measure.log_loss": "Log loss",
        "measure.calibration_error": "Calibration error",
        "measure.latency": "Latency {quantile}",
        "measure.throughput": "Throughput",
        "measure.cold_start": "Cold start",
        "measure.size": "Size",
        "measure.memory": "Memory",
        "measure.training_time": "Training time",
        "mean.accuracy": "It answered {percent} of {rows} test rows rightly.",
        "mean.answered": "Of the {rows} test rows that it answered, it answered {percent} rightly.",
        "mean.mae": "Its numbers are off by {value} on average.",
        "mean.rmse": "Its numbers are off by {value}, far ones counting more.",
        "mean.r2": "It explains {percent} of how the numbers vary.",
        "mean.interval_coverage": "The right number lies in {percent} of the intervals that it tells.",
        "mean.balanced_accuracy": "Of the rows of a class, {points} percent are answered rightly on average over the classes.",
        "mean.auroc": "Of two rows, one of a class and one not, the right one is ranked higher in {points} of 100 cases.",
        "mean.macro_f1": "Over all classes, each counting the same, precision and recall balance at {value}.",
        "mean.micro_f1": "Over all classes that hold or are named, precision and recall balance at {value}.",
        "mean.exact_match": "Of {rows} test rows it named exactly the right classes in {percent}.",
        "mean.hamming": "Of all decisions whether a class holds for a row, {percent} are wrong.",
        "mean.recall": "It found {percent} of the rows of this class.",
        "mean.precision": "When it named this class, it was right {percent} of the time.",
        "mean.calibration_error": "Its stated probabilities are off by {points} percentage points on average.",
        "mean.latency": "A client of a typical server had its answer within {value} in {quantile} of 100 requests.",
        "mean.throughput": "It answered {value}.",
        "mean.cold_start": "From its start to its first answer it took {value}.",
        "mean.size": "The files to deploy take {value}.",
        "mean.memory": "At its peak the server held {value}.",
        "mean.training_time": "Training took {value}.",
        "proof.unmeasured": "It was not measured, so nothing is claimed.",
        "proof.fact.met": "That is a fact, not an estimate; {room} to spare.",
        "proof.fact.missed": "That is a fact, not an estimate; it misses the limit by {room}.",
        "proof.met.least": "With {confidence} confidence it is at least {bound}.",
        "proof.met.most": "With {confidence} confidence it is at most {bound}.",
        "proof.missed.most": "With {confidence} confidence it is no more than {bound}.",
        "proof.missed.least": "With {confidence} confidence it is no less than {bound}.",
        "proof.between": "The limit of {limit} lies between the bounds {low} and {high}: this evidence cannot "
        "settle it.",
        "proof.unbounded": "There is no proof of it either way.",
        "alarm.one": "The audit found a fault in the data that touches these figures.",
        "alarm.many": "The audit found {count} faults in the data that touch these figures.",
        "alarm.see": "See the audit",
        "method.title": "How a verdict is reached",
        "method.three": "Met: the confidence bound is on the right side of the limit. Missed: it is on the wrong "
        "side. Unproven: the limit lies between the bounds, or nothing was measured. Nothing is relaxed, rounded or "
        "dropped.",
        "method.bounds": "Low and high are one-sided bounds, each at the stated confidence. A fact, such as a size, "
        "has no interval.",
        "method.test": "Quality is measured on test rows that took no part in any choice, through the packaged "
        "model. Validation rows choose; test rows judge, once.",
        "method.looks": "Whoever builds again after a verdict lets the test rows choose a little. So the models that were "
        "judged on the same rows are counted, and the k-th is judged with an error of 6/(π²k²) of the one asked for: all "
        "looks together keep the promise.",
        "mean.difference": "How much better than the trivial baseline, which always gives the same answer, on the same {rows} rows.",
        "looks": "This was look {number} at these test rows: other models were judged on them before, so each bound of "
        "quality is at {confidence}.",
        "method.latency": "Latency is what a client sees: bytes in to bytes out through the real server process, "
        "after warm-up. It holds for the machine named on this page.",
        # the choice
        "choice.took": "{name} was chosen.",
        "choice.closest": "{name} came closest.",
        "choice.worse": "Validation and test disagree: {measure} was {valid} on validation, and is {test} on test. "
        "Choosing among candidates flatters the winner; trust the test figure.",
        "choice.better": "Validation and test disagree: {measure} was {valid} on validation, and is {test} on test. "
        "The test figure is the one that counts.",
        "target.measure": "{measure} of {target}",
        "choice.baseline": "For comparison: the trivial baseline ({name}) has {measure} {measured}.",
        # candidates
        "plot.latency": "{measure} in ms (log scale)",
        "plot.quality": "{measure} on validation rows",
        "plot.region": "meets the needs",
        "plot.untimed": "not timed",
        "plot.baseline": "trivial baseline",
        "plot.label": "Every candidate: quality on validation rows against latency, with the needs as lines",
        "plot.note": "The shaded region meets the needs drawn in. Whiskers are confidence bounds. These are "
        "validation figures, which choose; the verdicts above are from test rows.",
        "plot.beyond": "An arrowhead marks a candidate that lies beyond the edge.",
        "plot.offers": "The outlines are what the nearest points below would meet.",
        # what could be had instead
        "relax.alone": "No candidate was likely to meet it.",
        "relax.together": "It can be met, but not together with the others.",
        "relax.test": "Validation was sure of it, but the test rows do not bear it out.",
        "relax.best": "Nearest on the validation rows: {measured} ({name}).",
        "relax.instead": "With these limits instead",
        "relax.change": "{offer} instead of {limit}",
        "relax.proven": "what the test rows prove of it",
        "relax.likely": "what it would likely meet, by the validation rows",
        "relax.note": "Each line relaxes only what it names; every other need would be met as it stands. The figures of the candidates are from "
        "validation rows. A limit that is only likely has a chance of 0.9 to be met on as many test rows.",
        "relax.rows": "would take about {rows} more training rows like these ({low} – {high}), by the learning curve: an estimate.",
        "relax.no-rows": "is not likely to be reached by more rows like these, by the learning curve.",
        "relax.time": "was not tried for lack of time: about {time} more, with an estimated chance of {chance} to meet every need.",
        "candidate.name": "Candidate",
        "candidate.quality": "Quality",
        "candidate.time": "Time",
        "candidate.forecast": "forecast {time}",
        "candidate.flips": "Flips",
        "candidate.against": "against {parent}",
        "candidate.chance": "Chance",
        "candidate.note": "Flips: validation rows that are answered differently from the float model it was made "
        "from. Chance: the probability, predicted before the test, that every need would be met on the test rows.",
        "candidate.why": "Why not:",
        "candidate.saved": "Against",
        "saved.faster": "{times}× as fast",
        "saved.smaller": "{times}× smaller",
        "saved.took": "{time} to make",
        "packed.flips": "{part} of {whole} answers to the test rows differ from those of the float model that it was made from.",
        "packed.alike": "Answered one at a time, all {whole} stay the same.",
        "packed.singly": "Every row is answered by itself, whatever comes with it.",
        "packed.alone": "Answered one at a time, {part} of {whole} change.",
        "candidate.chosen-for": "Why now:",
        "candidate.expected": "Expected before it was made:",
        "candidate.steps.one": "{count} step",
        "candidate.steps.many": "{count} steps",
        "candidate.interval": "value and interval",
        "status.chosen": "chosen",
        "status.closest": "closest",
        "status.failed": "failed",
        "status.skipped": "skipped",
        # learning curves
        "curve.epoch": "Epoch",
        "curve.step": "Step",
        "curve.loss": "Loss",
        "growth.rows": "Training rows",
        "growth.label": "Learning curve: the score by number of training rows, and its forecast",
        "growth.note": "The dots are scores of the chosen plan trained again on a part of the rows, on {trials} validation rows. The line is the "
        "forecast for more rows, with its 85 % interval.",
        "curve.train_loss": "training",
        "curve.valid_loss": "validation",
        "curve.valid": "validation",
        "curve.rate": "{rate} rows/s",
        "curve.label": "Loss and validation score while training {name}",
        "curve.note": "Training loss that keeps falling while validation loss rises is overfitting; training stops "
        "there and keeps the best epoch.",
        # where it errs
        "confusion.label": "Confusion matrix: rows are what was expected, columns what was answered",
        "confusion.note": "Rows: what was expected. Columns: what was answered. Numbers count test rows; blue is "
        "right, orange is wrong, and the stronger the colour, the larger its share of the row.",
        "confusion.some": "The {shown} classes of {all} that are confused most; the last column gathers all other "
        "answers. Numbers count test rows; blue is right, orange is wrong.",
        "confusion.answered": "Answered",
        "confusion.expected": "Expected",
        "confusion.recall": "right",
        "confusion.other": "other",
        "confusion.pairs": "Most often confused",
        "confusion.none": "No test row was answered wrongly.",
        "confusion.share": "Of the expected",
        "confusion.by-class": "Every class: recall, precision and F1",
        "reliability.stated": "Stated probability",
        "reliability.observed": "Share that was right",
        "reliability.rows": "Rows per bin (most: {most})",
        "reliability.label": "Reliability diagram: stated probability against the share that was right",
        "reliability.ece": "Expected calibration error",
        "reliability.meaning": "On average a stated probability is {points} percentage points away from the share "
        "that was right.",
        "reliability.over": "It leans towards overconfidence: it states {points} points more than it keeps.",
        "reliability.under": "It leans towards caution: it keeps {points} points more than it states.",
        "reliability.fair": "It leans neither towards overconfidence nor towards caution.",
        "reliability.calibrated.calib": "Its outputs were divided by {temperature}, fitted on {rows} calibration rows: log loss "
        "there from {before} to {after}.",
        "reliability.calibrated.valid": "Its outputs were divided by {temperature}, fitted on {rows} validation rows: log loss "
        "there from {before} to {after}.",
        "abstains.sure": "It answers from a probability of {below} on: on the {rows} rows that chose this it answered {coverage}, and {accuracy} of "
        "that rightly; these rows vouch for what was asked.",
        "abstains.unsure": "It answers from a probability of {below} on: on the {rows} rows that chose this it answered {coverage}, and {accuracy} of "
        "that rightly. No threshold was sure to keep what was asked; this one is the likeliest to.",
        "reliability.note": "On the dashed line, stated equals observed. The orange part is the gap between them; "
        "the thick edge is what was observed.",
        "mistake.note": "Test rows that were answered wrongly with the greatest confidence. Some may be labelled "
        "wrongly.",
        "mistake.furthest": "Test rows whose answers were the furthest off. Some may be labelled wrongly.",
        "mistake.probability": "Sure",
        "mistake.input": "Input",
        "mistake.expected": "Expected",
        "mistake.answered": "Answered",
        "mistake.row": "Row",
        "more.one": "{count} more",
        "more.many": "{count} more",
        # audit and data
        "audit.clean": "The audit found nothing to report.",
        "audit.error.one": "{count} error",
        "audit.error.many": "{count} errors",
        "audit.warning.one": "{count} warning",
        "audit.warning.many": "{count} warnings",
        "audit.note.one": "{count} note",
        "audit.note.many": "{count} notes",
        "audit.rows": "Rows:",
        "audit.more": "Rows and details",
        "severity.error": "error",
        "severity.warning": "warning",
        "severity.note": "note",
        "data.source": "Source",
        "data.rows": "Rows",
        "data.test-rows": "Test rows",
        "data.inputs": "Inputs",
        "data.target": "Target",
        "data.read": "Read as",
        "data.rule": "Split rule",
        "data.fingerprint": "Fingerprint",
        "data.splits": "Splits",
        "data.classes.one": "{count} class",
        "data.classes.many": "{count} classes",
        "data.more-classes.one": "{count} more class",
        "data.more-classes.many": "{count} more classes",
        "data.set-aside.one": "{count} row was set aside because it could not be read",
        "data.set-aside.many": "{count} rows were set aside because they could not be read",
        "data.file": "File",
        "data.line": "Line",
        "data.reason": "Reason",
        "split.train": "train",
        "split.valid": "validation",
        "split.calib": "calibration",
        "split.test": "test",
        "split.unlabelled": "unlabelled",
        # time, plan, measurements, environment, command
        "time.of": "{total} of a budget of {budget}.",
        "time.total": "{total} in all.",
        "stage.read": "read",
        "stage.audit": "audit",
        "stage.split": "split",
        "stage.judge": "judge",
        "stage.learning curve": "learning curve",
        "plan.backbone": "Backbone:",
        "value.name": "Measure",
        "value.measured": "Measured",
        "value.bounds": "Bounds",
        "value.method": "Method",
        "value.note": "What was measured of the chosen model, on test rows and on this machine.",
        "environment.note": "Latency, throughput and memory are claims about this machine. On another, sartor "
        "verify proves them there.",
        "environment.runtime": "Runtime",
        "environment.digest": "Digest of what is deployed",
        "environment.cpu": "Processor",
        "environment.cores": "Cores",
        "environment.threads": "Threads used",
        "environment.isa": "Instruction sets",
        "environment.memory_gb": "Memory",
        "environment.python": "Python",
        "environment.platform": "Platform",
        "environment.versions": "Versions",
        "again.note": "With --plan and the plan.json beside this page it follows exactly this plan; the same plan, "
        "data, seed and machine give the same weights, bit for bit.",
    },
    "zh": {
        "masthead": "构建报告",
        "contents": "目录",
        "footer": "由 Sartor 生成。本页是单个文件：不含脚本，也不加载任何外部内容。供程序读取的同样数据在旁边的 "
        "report.json 中。",
        "cut": "仅显示 {all} 项中的前 {shown} 项。",
        "count": "次数",
        "class": "类别",
        "rows.one": "{count} 行",
        "rows.many": "{count} 行",
        # the head of the page
        "headline.met": "所有需求均已达到",
        "headline.missed.one": "1 项需求未达到",
        "headline.missed.many": "{count} 项需求未达到",
        "headline.unproven.one": "1 项需求尚未得到证明",
        "headline.unproven.many": "{count} 项需求尚未得到证明",
        "headline.none": "没有需要判定的需求",
        "headline.fault": "构建未完成（退出码 {code}）",
        "standfirst.met": "以 {confidence} 的置信水平，在 {rows} 行未参与任何选择的测试数据上，"
        "用将要部署的文件本身测得。",
        "standfirst.facts": "用将要部署的文件本身测得。",
        "standfirst.fault": "不作任何承诺。下面的数字是构建中断前得到的。",
        "standfirst.missed": "证据表明未能达到，因此不作任何承诺。下面是已取得的最好结果，以及如何弥补差距。",
        "standfirst.unproven": "现有证据还不足以得出结论，因此不作任何承诺。下面说明怎样才能得出结论。",
        "standfirst.none": "本页没有判定结果，只列出发现与测得的内容。",
        "standfirst.empty": "这份报告是空的。",
        "tile.chosen": "选定方案",
        "tile.best": "最接近的候选",
        "tile.candidates": "已测候选",
        "tile.candidates-of": "{measured} / {all}",
        "tile.time": "用时",
        "tile.of": "{part} / {whole}",
        "tile.machine": "测量所用机器",
        "tile.cores.one": "{count} 核",
        "tile.cores.many": "{count} 核",
        # sections
        "section.needs": "需求与判定",
        "section.choice": "选择了什么",
        "section.relaxations": "退一步能得到什么",
        "section.candidates": "全部候选",
        "section.curves": "学习曲线",
        "section.growth": "更多数据有多大帮助？",
        "section.confusion": "哪些类别被混淆",
        "section.reliability": "它给出的概率可信吗？",
        "section.by_class": "逐类结果",
        "by_class.note": "一行可以同时属于多个类别。召回率：属于该类别的测试行中被找出的比例；精确率：判为该类别的行中判对的比例。",
        "section.scatter": "预测值与真实值",
        "scatter.expected": "真实值",
        "scatter.answered": "预测值",
        "scatter.label": "预测值相对真实值",
        "scatter.meaning": "每个点是一行测试数据；落在线上即完全正确。",
        "scatter.interval": "每个答案附带 ± {half} 的区间，在至少 {share} 的同类数据中包含真实值。",
        "section.mistakes": "最严重的错误",
        "section.audit": "数据审查",
        "section.data": "数据与划分",
        "section.time": "时间用在哪里",
        "section.plan": "方案",
        "section.values": "全部测量结果",
        "section.environment": "环境",
        "section.again": "重新构建",
        # needs
        "verdict.met": "已达到",
        "verdict.missed": "未达到",
        "verdict.unproven": "未证明",
        "need.unmeasured": "未测量",
        "need.unnamed": "需求",
        "need.limit": "要求 {limit}",
        "need.confidence": "上下界置信水平各为 {confidence}",
        "need.advice": "建议：",
        "need.note": "说明：",
        "flips.of.its float parent": "其浮点原模型",
        "gauge.limit": "要求 {limit}",
        "gauge.label": "测得值及其区间与限值的比较：{need}",
        "measure.accuracy": "准确率",
        "measure.macro_f1": "宏平均 F1",
        "measure.micro_f1": "微平均 F1",
        "measure.exact_match": "所有类别全对的行",
        "measure.hamming": "判错的类别比例",
        "measure.balanced_accuracy": "平衡准确率",
        "measure.mae": "平均绝对误差",
        "measure.rmse": "均方根误差",
        "measure.r2": "解释方差（R²）",
        "measure.interval_coverage": "区间覆盖率",
        "measure.auroc": "ROC 曲线下面积",
        "measure.f1": "F1",
        "measure.recall": "召回率",
        "measure.precision": "精确率",
        "measure.log_loss": "对数损失",
        "measure.calibration_error": "校准误差",
        "measure.latency": "延迟 {quantile}",
        "measure.throughput": "吞吐量",
        "measure.cold_start": "冷启动时间",
        "measure.size": "体积",
        "measure.memory": "内存",
        "measure.training_time": "训练时间",
        "mean.accuracy": "在 {rows} 行测试数据中答对了 {percent}。",
        "mean.answered": "在它作答的 {rows} 行测试数据中答对了 {percent}。",
        "mean.mae": "预测值平均偏差 {value}。",
        "mean.rmse": "预测值偏差 {value}（较大偏差权重更高）。",
        "mean.r2": "解释了数值变化的 {percent}。",
        "mean.interval_coverage": "给出的区间中有 {percent} 包含真实值。",
        "mean.balanced_accuracy": "各类别平均有 {points}% 的行回答正确。",
        "mean.auroc": "任取一行属于某类、一行不属于，{points}% 的情况下前者的得分更高。",
        "mean.macro_f1": "各类别同等计算，精确率与召回率的调和平均为 {value}。",
        "mean.micro_f1": "所有类别合并计算，精确率与召回率的调和平均为 {value}。",
        "mean.exact_match": "{rows} 行测试数据中，有 {percent} 的类别全部判对。",
        "mean.hamming": "在“某行是否属于某类”的所有判断中，有 {percent} 是错的。",
        "mean.recall": "该类别的数据中有 {percent} 被找出。",
        "mean.precision": "判为该类别时，有 {percent} 是对的。",
        "mean.calibration_error": "它给出的概率平均偏离 {points} 个百分点。",
        "mean.latency": "对一个典型的服务进程，每 100 个请求中有 {quantile} 个在 {value} 之内得到回答。",
        "mean.throughput": "处理速度为 {value}。",
        "mean.cold_start": "从启动到给出第一个回答用了 {value}。",
        "mean.size": "需要部署的文件共 {value}。",
        "mean.memory": "服务进程的内存峰值为 {value}。",
        "mean.training_time": "训练用了 {value}。",
        "proof.unmeasured": "没有测量，因此不作任何承诺。",
        "proof.fact.met": "这是事实而非估计；还有 {room} 的余量。",
        "proof.fact.missed": "这是事实而非估计；与限值相差 {room}。",
        "proof.met.least": "以 {confidence} 的置信水平，不低于 {bound}。",
        "proof.met.most": "以 {confidence} 的置信水平，不高于 {bound}。",
        "proof.missed.most": "以 {confidence} 的置信水平，最高只有 {bound}。",
        "proof.missed.least": "以 {confidence} 的置信水平，最低也有 {bound}。",
        "proof.between": "限值 {limit} 落在下界 {low} 与上界 {high} 之间：现有证据无法得出结论。",
        "proof.unbounded": "正反两面都没有证明。",
        "alarm.one": "数据审查发现 1 个会影响这些数字的问题。",
        "alarm.many": "数据审查发现 {count} 个会影响这些数字的问题。",
        "alarm.see": "查看审查结果",
        "method.title": "判定是怎样得出的",
        "method.three": "已达到：置信界在限值的正确一侧。未达到：在错误一侧。未证明：限值落在上下界之间，或没有测量。"
        "任何要求都不会被放宽、取整或丢弃。",
        "method.bounds": "上下界都是单侧置信界，各自具有所标明的置信水平。体积之类的事实没有区间。",
        "method.test": "质量在未参与任何选择的测试数据上、通过打包后的模型测得。验证数据用来选择；测试数据只判定一次。",
        "method.looks": "看到判定之后再次构建，就等于让测试数据参与了一点选择。因此会统计在同一批测试数据上判定过多少个模型，"
        "第 k 个按所要求误差的 6/(π²k²) 判定：所有判定合起来仍守住承诺。",
        "mean.difference": "在同样的 {rows} 行上，比总是给出同一答案的平凡基线好多少。",
        "looks": "这是对这批测试数据的第 {number} 次判定：此前已有其他模型在其上判定过，因此质量的上下界置信水平各为 {confidence}。",
        "method.latency": "延迟是客户端所见：预热之后，经由真实的服务进程，从发出字节到收到字节。"
        "它只对本页所列的机器成立。",
        # the choice
        "choice.took": "选定的是 {name}。",
        "choice.closest": "最接近需求的是 {name}。",
        "choice.worse": "验证与测试结果不一致：{measure}在验证数据上为 {valid}，在测试数据上为 {test}。"
        "从多个候选中挑选会使胜者显得偏高；请以测试结果为准。",
        "choice.better": "验证与测试结果不一致：{measure}在验证数据上为 {valid}，在测试数据上为 {test}。"
        "请以测试结果为准。",
        "target.measure": "{target} 的{measure}",
        "choice.baseline": "作为对照：平凡基线（{name}）的{measure}为 {measured}。",
        # candidates
        "plot.latency": "{measure}，毫秒（对数刻度）",
        "plot.quality": "验证数据上的{measure}",
        "plot.region": "满足需求",
        "plot.untimed": "未计时",
        "plot.baseline": "平凡基线",
        "plot.label": "全部候选：验证数据上的质量与延迟，线条表示需求",
        "plot.note": "阴影区域满足图中的需求。须线为置信界。图中是用于选择的验证数据结果；上面的判定来自测试数据。",
        "plot.beyond": "箭头表示该候选落在图外。",
        "plot.offers": "虚线框是下面最近的几种取舍所能满足的范围。",
        # what could be had instead
        "relax.alone": "没有候选有把握满足它。",
        "relax.together": "它可以满足，但不能与其他需求同时满足。",
        "relax.test": "验证数据上很有把握，但测试数据没有证实。",
        "relax.best": "验证数据上最接近的是 {measured}（{name}）。",
        "relax.instead": "改用这些限值",
        "relax.change": "{offer}，而不是 {limit}",
        "relax.proven": "测试数据所证明的",
        "relax.likely": "按验证数据，很可能满足的",
        "relax.note": "每一行只放宽它写明的需求，其余需求照旧满足。候选的数字来自验证数据。“很可能满足”指在同样多的测试数据上有 0.9 的把握。",
        "relax.rows": "按学习曲线估计，大约还需要 {rows} 行这样的训练数据（{low} – {high}）。",
        "relax.no-rows": "按学习曲线，再多这样的数据也不大可能达到。",
        "relax.time": "因时间不够没有尝试：大约还需 {time}，估计有 {chance} 的把握满足全部需求。",
        "candidate.name": "候选",
        "candidate.quality": "质量",
        "candidate.time": "用时",
        "candidate.forecast": "预计 {time}",
        "candidate.flips": "翻转",
        "candidate.against": "相对于 {parent}",
        "candidate.chance": "把握",
        "candidate.note": "翻转：与其浮点原模型回答不同的验证数据行数。把握：测试之前预测的、"
        "在测试数据上满足全部需求的概率。",
        "candidate.why": "未选原因：",
        "candidate.saved": "相对于",
        "saved.faster": "速度为 {times} 倍",
        "saved.smaller": "缩小到 1/{times}",
        "saved.took": "用时 {time}",
        "packed.flips": "测试数据的 {whole} 个回答中，有 {part} 个与其浮点原模型不同。",
        "packed.alike": "逐条回答时，全部 {whole} 个不变。",
        "packed.singly": "每条数据总是单独回答，与同来的数据无关。",
        "packed.alone": "逐条回答时，{whole} 个中有 {part} 个改变。",
        "candidate.chosen-for": "为何此时尝试：",
        "candidate.expected": "构建之前的预期：",
        "candidate.steps.one": "{count} 个步骤",
        "candidate.steps.many": "{count} 个步骤",
        "candidate.interval": "测得值与区间",
        "status.chosen": "选定",
        "status.closest": "最接近",
        "status.failed": "失败",
        "status.skipped": "跳过",
        # learning curves
        "curve.epoch": "轮次",
        "curve.step": "步数",
        "curve.loss": "损失",
        "growth.rows": "训练行数",
        "growth.label": "学习曲线：不同训练行数下的得分及预测",
        "growth.note": "圆点是入选方案用部分训练行重新训练后在 {trials} 行验证数据上的得分；曲线是对更多行的预测，阴影是其 85 % 区间。",
        "curve.train_loss": "训练",
        "curve.valid_loss": "验证",
        "curve.valid": "验证",
        "curve.rate": "{rate} 行/秒",
        "curve.label": "{name} 训练过程中的损失与验证得分",
        "curve.note": "训练损失继续下降而验证损失上升，就是过拟合；训练会在此停止，并保留最好的一轮。",
        # where it errs
        "confusion.label": "混淆矩阵：行为应答类别，列为实际回答",
        "confusion.note": "行：正确类别。列：模型的回答。数字为测试行数；蓝色为答对，橙色为答错，颜色越深，"
        "占该行的比例越大。",
        "confusion.some": "{all} 个类别中最易混淆的 {shown} 个；最后一列汇总其余回答。数字为测试行数；蓝色为答对，"
        "橙色为答错。",
        "confusion.answered": "模型的回答",
        "confusion.expected": "正确类别",
        "confusion.recall": "答对",
        "confusion.other": "其他",
        "confusion.pairs": "最常混淆的类别",
        "confusion.none": "没有答错任何一行测试数据。",
        "confusion.share": "占正确类别的比例",
        "confusion.by-class": "每个类别的召回率、精确率与 F1",
        "reliability.stated": "给出的概率",
        "reliability.observed": "实际答对的比例",
        "reliability.rows": "每段的行数（最多 {most}）",
        "reliability.label": "可靠性图：给出的概率与实际答对的比例",
        "reliability.ece": "期望校准误差",
        "reliability.meaning": "给出的概率与实际答对的比例平均相差 {points} 个百分点。",
        "reliability.over": "总体偏于自信：给出的概率比实际高 {points} 个百分点。",
        "reliability.under": "总体偏于谨慎：给出的概率比实际低 {points} 个百分点。",
        "reliability.fair": "总体既不过于自信，也不过于谨慎。",
        "reliability.calibrated.calib": "它的输出除以了 {temperature}，由 {rows} 行校准数据得出：其上的对数损失从 {before} 变为 {after}。",
        "reliability.calibrated.valid": "它的输出除以了 {temperature}，由 {rows} 行验证数据得出：其上的对数损失从 {before} 变为 {after}。",
        "abstains.sure": "概率达到 {below} 时它才作答：在选定它的 {rows} 行数据上，它回答了 {coverage}，其中 {accuracy} 答对；这些行足以保证所要求的。",
        "abstains.unsure": "概率达到 {below} 时它才作答：在选定它的 {rows} 行数据上，它回答了 {coverage}，其中 {accuracy} 答对。没有哪个阈值确信能守住所要求的，这是最有可能的一个。",
        "reliability.note": "在虚线上，给出的概率与实际比例相等。橙色部分是两者之差，粗边线是实际比例。",
        "mistake.note": "答错而又最有把握的测试数据。其中有些可能是标注有误。",
        "mistake.furthest": "回答偏差最大的测试数据。其中有些可能是标注有误。",
        "mistake.probability": "把握",
        "mistake.input": "输入",
        "mistake.expected": "正确类别",
        "mistake.answered": "模型的回答",
        "mistake.row": "行号",
        "more.one": "另外 {count} 条",
        "more.many": "另外 {count} 条",
        # audit and data
        "audit.clean": "数据审查没有发现问题。",
        "audit.error.one": "{count} 个错误",
        "audit.error.many": "{count} 个错误",
        "audit.warning.one": "{count} 个警告",
        "audit.warning.many": "{count} 个警告",
        "audit.note.one": "{count} 条说明",
        "audit.note.many": "{count} 条说明",
        "audit.rows": "行号：",
        "audit.more": "行号与详情",
        "severity.error": "错误",
        "severity.warning": "警告",
        "severity.note": "说明",
        "data.source": "来源",
        "data.rows": "行数",
        "data.test-rows": "测试行数",
        "data.inputs": "输入列",
        "data.target": "目标列",
        "data.read": "读取方式",
        "data.rule": "划分规则",
        "data.fingerprint": "指纹",
        "data.splits": "划分",
        "data.classes.one": "{count} 个类别",
        "data.classes.many": "{count} 个类别",
        "data.more-classes.one": "另外 {count} 个类别",
        "data.more-classes.many": "另外 {count} 个类别",
        "data.set-aside.one": "有 {count} 行无法读取，已搁置",
        "data.set-aside.many": "有 {count} 行无法读取，已搁置",
        "data.file": "文件",
        "data.line": "行",
        "data.reason": "原因",
        "split.train": "训练",
        "split.valid": "验证",
        "split.calib": "校准",
        "split.test": "测试",
        "split.unlabelled": "未标注",
        # time, plan, measurements, environment, command
        "time.of": "用时 {total}，预算为 {budget}。",
        "time.total": "共用时 {total}。",
        "stage.read": "读取",
        "stage.audit": "审查",
        "stage.split": "划分",
        "stage.judge": "判定",
        "stage.learning curve": "学习曲线",
        "plan.backbone": "骨干模型：",
        "value.name": "指标",
        "value.measured": "测得值",
        "value.bounds": "上下界",
        "value.method": "方法",
        "value.note": "选定模型在测试数据上、在本机上的测量结果。",
        "environment.note": "延迟、吞吐量与内存只对这台机器成立。换一台机器，请在那里用 sartor verify 重新证明。",
        "environment.runtime": "运行时",
        "environment.digest": "部署文件的摘要",
        "environment.cpu": "处理器",
        "environment.cores": "核数",
        "environment.threads": "使用的线程数",
        "environment.isa": "指令集",
        "environment.memory_gb": "内存",
        "environment.python": "Python",
        "environment.platform": "平台",
        "environment.versions": "版本",
        "again.note": "加上 --plan 和本页旁边的 plan.json，就会严格按照此方案执行；方案、数据、种子与机器都相同，"
        "得到的权重逐位相同。",
    },
}
