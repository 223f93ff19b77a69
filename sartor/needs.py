"""What the user asked for: data, columns, limits, budget, hardware. `verdicts` is the only place that decides *met*.

The whole grammar of a need is parsed; what cannot be measured yet is refused by name, never dropped:
`[TARGET.]MEASURE [for CLASS] [where COLUMN == VALUE] [at SETTING] OP (NUMBER [UNIT] | baseline ± N points)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from sartor import leaves
from sartor.errors import InputError, Problems, near
from sartor.report import Key, Report, Value, Verdict

MAX_FILE_BYTES = 1_000_000
ALPHA = 0.05

# measure: (unit of its limit, better, takes a concurrency)
SYSTEM: dict[str, tuple[str, str, bool]] = {
    "latency_p50": ("ms", "lower", True),
    "latency_p95": ("ms", "lower", True),
    "latency_p99": ("ms", "lower", True),
    "throughput": ("rows/s", "higher", True),
    "cold_start": ("s", "lower", False),
    "size": ("MB", "lower", False),
    "memory": ("MB", "lower", False),
    "training_time": ("s", "lower", False),
}
_TIME = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_RATES = {"rows/s": 1.0, "requests/s": 1.0, "/s": 1.0}
_OPS = (">=", "<=", ">", "<")


@dataclass(frozen=True)
class Need:
    """One limit. `limit` is in `unit`, the base unit of its measure."""

    text: str
    key: Key
    op: str
    limit: float
    unit: str
    kind: str  # quality or system

    def holds(self, value: float) -> bool:
        """Whether a value is on the right side of the limit."""
        return {
            ">=": value >= self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            "<": value < self.limit,
        }[self.op]


@dataclass(frozen=True)
class Needs:
    """Everything of a needs.yaml, checked."""

    data: Any
    needs: tuple[Need, ...] = ()
    input: tuple[str, ...] | None = None
    target: str | None = None
    task: str | None = None
    budget_s: float | None = None
    hardware: str | None = None
    prefer: str | None = None
    backbone: str = "auto"
    seed: int = 0
    confidence: float = 0.95
    group: str | None = None

    @property
    def threads(self) -> int:
        """Threads of the hardware that the model will run on."""
        from sartor.hardware import cores

        return int(self.hardware.split(":")[1]) if self.hardware else cores()


def make(**given: Any) -> Needs:
    """Needs from keywords as they stand in needs.yaml: `make(data="a.csv", needs=["accuracy >= 0.9"], budget="20m")`.

    Raises: Problems with everything that is wrong, at once.
    """
    problems: list[InputError] = []
    known = [field.name for field in fields(Needs) if field.name != "budget_s"] + ["budget"]
    for name in given:
        if name not in known:
            problems.append(InputError("needs.unknown-key", key=name, near=near(name, known), known=", ".join(known)))
    found: dict[str, Any] = {}

    def attempt(name: str, read: Any) -> None:
        if given.get(name) is None:
            return
        try:
            found[name] = read(given[name])
        except InputError as error:
            problems.append(error)

    if not given.get("data"):
        problems.append(InputError("needs.no-data"))
    found["data"] = given.get("data")
    attempt("input", lambda value: (value,) if isinstance(value, str) else _strings("input", value))
    attempt("target", _target)
    attempt("task", lambda value: _text("task", value))
    attempt("group", lambda value: _text("group", value))
    attempt("backbone", lambda value: _text("backbone", value))
    attempt("prefer", lambda value: _text("prefer", value))
    attempt("budget", duration)
    attempt("hardware", _hardware)
    attempt("seed", _seed)
    attempt("confidence", _confidence)
    task = found.get("task") or "classify"
    if task in leaves.names("task"):
        texts = given.get("needs") or []
        parsed = []
        for text in [texts] if isinstance(texts, str) else texts:
            try:
                parsed.append(parse(text, task=task))
            except InputError as error:
                problems.append(error)
        found["needs"] = tuple(parsed)
    else:
        known_tasks = leaves.names("task")
        problems.append(
            InputError(
                "leaf.unknown", kind="task", name=task, near=near(task, known_tasks), known=", ".join(known_tasks)
            )
        )
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    if "budget" in found:
        found["budget_s"] = found.pop("budget")
    return Needs(**found)


def load(path: Path | str, **overrides: Any) -> Needs:
    """Needs from a YAML file; keywords override its keys. Paths of data in it are relative to the file.

    Raises: InputError `needs.file`; Problems as `make`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("needs.file", path=path, why="there is no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError("needs.file", path=path, why=f"it is larger than {MAX_FILE_BYTES:,} bytes")
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            "needs.file", path=path, why=" ".join(str(error).split())[:400] or "it is nested too deep"
        ) from None
    if not isinstance(given, dict):
        raise InputError("needs.file", path=path, why="it holds no keys such as `data:` and `needs:`")
    data = given.get("data")
    if isinstance(data, str):
        given["data"] = _relative(path.parent, data)
    elif isinstance(data, Mapping):
        given["data"] = {part: _relative(path.parent, str(file)) for part, file in data.items()}
    return make(**{str(key): value for key, value in given.items()} | overrides)


def dump(needs: Needs) -> str:
    """YAML that loads to the same needs."""
    return yaml.safe_dump(as_dict(needs), allow_unicode=True, sort_keys=False)


def as_dict(needs: Needs) -> dict[str, Any]:
    """The keys of needs.yaml, without those that were left out."""
    data = (
        {part: str(file) for part, file in needs.data.items()} if isinstance(needs.data, Mapping) else str(needs.data)
    )
    record: dict[str, Any] = {"data": data, "needs": [need.text for need in needs.needs]}
    for name in ("target", "task", "hardware", "prefer", "group"):
        if getattr(needs, name) is not None:
            record[name] = getattr(needs, name)
    if needs.input:
        record["input"] = list(needs.input)
    if needs.budget_s is not None:
        record["budget"] = f"{needs.budget_s:g}s"
    return record | {"backbone": needs.backbone, "seed": needs.seed, "confidence": needs.confidence}


def parse(text: str, *, task: str = "classify") -> Need:
    """One need.

    Raises: InputError `need.*`, with the place where reading stopped and the nearest right name.
    """
    if not isinstance(text, str):
        raise InputError("need.syntax", need=text, mark="", expected="text such as 'accuracy >= 0.9'")
    tokens = list(_tokens(text))
    at = 0

    def peek() -> str:
        return tokens[at][0] if at < len(tokens) else ""

    def take(expected: str) -> str:
        nonlocal at
        if at >= len(tokens):
            raise _stopped(text, len(text), expected)
        at += 1
        return tokens[at - 1][0]

    name = take("a measure, such as accuracy")
    if "." in name and not _is_number(name):
        raise InputError("need.unsupported", need=text, what="a need for one of several targets")
    metrics = leaves.load("task", task).METRICS
    known = [*metrics, *SYSTEM]
    if name not in known:
        raise InputError("need.measure", need=text, name=name, near=near(name, known), known=", ".join(known))
    for_class, setting = None, []
    while peek() in ("for", "where", "at"):
        word = take("")
        if word == "for":
            for_class = _unquoted(take("the name of a class"))
        elif word == "where":
            raise InputError("need.unsupported", need=text, what="a slice (where …)")
        else:
            which = take("a setting, such as concurrency 8")
            if which != "concurrency":
                raise InputError("need.unsupported", need=text, what=f"the setting {which!r}")
            place = tokens[at][1] if at < len(tokens) else len(text)
            count = take("a number of clients")
            if not count.isdigit() or not 1 <= int(count) <= 1024:
                raise _stopped(text, place, "a whole number of clients from 1 to 1024")
            setting.append(("concurrency", float(count)))
    place = tokens[at][1] if at < len(tokens) else len(text)
    op = take("one of >= <= > <")
    if op not in _OPS:
        raise _stopped(text, place, "one of >= <= > <")
    place = tokens[at][1] if at < len(tokens) else len(text)
    number = take("a number")
    if number == "baseline":
        raise InputError("need.unsupported", need=text, what="a limit relative to the baseline")
    if not _is_number(number):
        raise _stopped(text, place, "a number")
    unit_place = tokens[at][1] if at < len(tokens) else len(text)
    unit = take("") if at < len(tokens) else ""
    # `latency_p95 <= 10 ms at concurrency 8` reads as well as the other order.
    if peek() == "at" or unit == "at":
        return parse(_setting_first(text, tokens, at - (unit == "at")), task=task)
    if at < len(tokens):
        raise _stopped(text, tokens[at][1], "the end of the need")
    if name in SYSTEM:
        base, better, concurrent = SYSTEM[name]
        if for_class is not None or (setting and not concurrent):
            raise InputError("need.setting", need=text, measure=name)
        if concurrent and not setting:
            setting = [("concurrency", 1.0)]
        limit = _limit(text, unit_place, float(number), unit, base)
    else:
        metric = metrics[name]
        base, better = metric.unit, metric.better
        if metric.per_class != (for_class is not None):
            raise InputError("need.class" if metric.per_class else "need.setting", need=text, measure=name)
        if setting:
            raise InputError("need.setting", need=text, measure=name)
        if unit == "%":
            limit = float(number) / 100
        elif unit and unit != base:
            raise _stopped(text, unit_place, "no unit, or %")
        else:
            limit = float(number)
        if metric.unit == "" and not 0 <= limit <= 1:
            raise InputError("need.range", need=text, meant=f"{number}%" if 1 < limit <= 100 else "a share from 0 to 1")
    if op[0] != (">" if better == "higher" else "<"):
        raise InputError(
            "need.direction", need=text, measure=name, better=better, op=">=" if better == "higher" else "<="
        )
    key = Key(name, for_class=for_class, setting=tuple(sorted(setting)))
    return Need(" ".join(text.split()), key, op, limit, base, "system" if name in SYSTEM else "quality")


def duration(value: Any) -> float:
    """Seconds of "20m", "20 min", "90s", "1h30m" or a number of seconds.

    Raises: InputError `needs.duration`.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|sec|s)", str(value))
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*(h|min|m|sec|s)", "", str(value)).strip()
    total = sum(float(number) * _TIME[unit] for number, unit in parts)
    if not parts or rest or total <= 0:
        raise InputError("needs.duration", found=value)
    return total


def verdicts(needs: Needs, report: Report) -> list[Verdict]:
    """Each need judged: met (the bound is on the right side), missed (on the wrong side, Holm-corrected), or unproven.

    *Met* of all needs together is an intersection–union test and takes no correction; *missed* is said of any of several.
    """
    judged = []
    total = len(needs.needs)
    doubts = sorted(
        (need for need in needs.needs), key=lambda need: _distance(need, report.value(need.key)), reverse=True
    )
    rank = {id(need): place for place, need in enumerate(doubts)}
    for need in needs.needs:
        value = report.value(need.key)
        if value is None or value.measured is None:
            why = (value.note if value else "") or "It was not measured."
            judged.append(_verdict(need, None, needs.confidence, "unproven", why))
            continue
        wanted, against = (value.low, value.high) if need.op[0] == ">" else (value.high, value.low)
        if wanted is None or against is None:
            judged.append(_verdict(need, value, needs.confidence, "unproven", value.note or "No bound can be given."))
            continue
        fact = value.low == value.high == value.measured
        if need.holds(wanted):
            judged.append(_verdict(need, value, needs.confidence, "met", value.note))
            continue
        # Holm: the need that is furthest on the wrong side is judged at alpha / m, the next at alpha / (m - 1), …
        level = 1 - (1 - needs.confidence) / (total - rank[id(need)])
        stricter = against if fact else _at(value, level, low=need.op[0] == "<")
        if stricter is not None and not need.holds(stricter):
            judged.append(_verdict(need, value, needs.confidence, "missed", _by_how_much(need, value)))
        else:
            judged.append(_verdict(need, value, needs.confidence, "unproven", _how_to_settle(need, value)))
    return judged


def _distance(need: Need, value: Value | None) -> float:
    if value is None or value.measured is None or need.holds(value.measured):
        return 0.0
    if value.low is None or value.high is None or value.high == value.low:
        return float("inf")
    return abs(value.measured - need.limit) / (value.high - value.low)


def _at(value: Value, level: float, *, low: bool) -> float | None:
    """The bound at a level at least as strict as asked, from the value's ladder; None when it has no such rung."""
    rungs = [(value.confidence, value.low, value.high), *value.details.get("ladder", [])]
    fitting = [rung for rung in rungs if rung[0] >= level - 1e-12]
    if not fitting:
        return None
    rung = min(fitting, key=lambda item: item[0])
    return rung[1] if low else rung[2]


def _verdict(need: Need, value: Value | None, confidence: float, verdict: str, advice: str) -> Verdict:
    return Verdict(
        need=need.text,
        measure=need.key.measure,
        op=need.op,
        limit=need.limit,
        unit=need.unit,
        measured=value.measured if value else None,
        low=value.low if value else None,
        high=value.high if value else None,
        n=value.n if value else 0,
        confidence=value.confidence if value else confidence,
        setting=", ".join(f"{name} {number:g}" for name, number in need.key.setting),
        verdict=verdict,
        advice=advice,
        method=value.method if value else "",
    )


def _by_how_much(need: Need, value: Value) -> str:
    assert value.measured is not None
    return f"It is off by {abs(value.measured - need.limit):.4g}{' ' + need.unit if need.unit else ''}."


def _how_to_settle(need: Need, value: Value) -> str:
    trials = value.details.get("trials")
    if trials:
        from sartor.bounds import rows_to_settle

        more = rows_to_settle(value.details["successes"], trials, limit=need.limit, level=value.confidence)
        if more is None:
            return "The share measured is the limit itself: no number of test rows settles it."
        return f"About {more:,} more test rows would settle it if the share stayed as measured."
    if need.kind == "quality":
        return "More test rows would narrow the interval."
    return "The measurements scatter around the limit: measure on a quieter machine, or longer."


def _limit(text: str, place: int, number: float, unit: str, base: str) -> float:
    for table in (_TIME, _BYTES, _RATES):
        if base in table:
            if unit not in table:
                raise _stopped(text, place, "one of " + ", ".join(table))
            return number * table[unit] / table[base]
    raise AssertionError(base)


def _setting_first(text: str, tokens: Sequence[tuple[str, int]], at: int) -> str:
    """The need with its trailing `at …` moved before the operator; each may stand there once."""
    begin = tokens[at][1]
    operator = next(place for token, place in tokens if token in _OPS)
    if " at " in f" {text[:operator]} ":
        raise _stopped(text, begin, "only one setting")
    return f"{text[:operator]}{text[begin:]} {text[operator:begin]}"


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    pattern = re.compile(
        r"\s*(\"[^\"]*\"|'[^']*'|>=|<=|==|>|<|%|±|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])|[\d.]+(?=[A-Za-z%])|[^\s<>=%]+)"
    )
    place = 0
    while place < len(text.rstrip()):
        found = pattern.match(text, place)
        if found is None:
            raise _stopped(text, place, "a word, a number or an operator")
        yield found.group(1), found.start(1)
        place = found.end()


def _stopped(text: str, place: int, expected: str) -> InputError:
    return InputError("need.syntax", need=text, mark=" " * place + "^", expected=expected)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", text))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError("needs.value", key=key, expected="text", found=value)
    return value


def _strings(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or not value or not all(isinstance(item, str) for item in value):
        raise InputError("needs.value", key=key, expected="a column or a list of columns", found=value)
    return tuple(value)


def _target(value: Any) -> str:
    if isinstance(value, Mapping):
        raise InputError("need.unsupported", need=f"target: {dict(value)}", what="several targets")
    return _text("target", value)


def _hardware(value: Any) -> str:
    if not re.fullmatch(r"cpu:[1-9]\d{0,2}", str(value)):
        raise InputError("needs.value", key="hardware", expected="cpu:N, such as cpu:2", found=value)
    return str(value)


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InputError("needs.value", key="seed", expected="a whole number from 0", found=value)
    return value


def _confidence(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.5 <= value < 1:
        raise InputError("needs.value", key="confidence", expected="a number from 0.5 to below 1", found=value)
    return float(value)


def _relative(folder: Path, data: str) -> str:
    place = folder / data
    return str(place) if place.exists() and not Path(data).is_absolute() else data


class _Loader(yaml.SafeLoader):
    """Safe YAML that also refuses aliases (they can grow without end) and keys given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"aliases are not read (line {self.peek_event().start_mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and name in seen:
                raise yaml.YAMLError(f"the key {name!r} is given twice (line {key.start_mark.line + 1})")
            seen.add(str(name))
        return super().construct_mapping(node, deep)
