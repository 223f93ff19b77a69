"""What the user asked for: data, columns, limits, budget, hardware. `verdicts` is the only place that decides *met*.

The whole grammar of a need is parsed; what cannot be measured yet is refused by name, never dropped:
`[TARGET.]MEASURE [for CLASS] [where COLUMN == VALUE] [at SETTING] OP (NUMBER [UNIT] | baseline ± N points)`.
With several targets every need on quality says which one it is of; with one it may.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from sartor import leaves
from sartor.errors import InputError, Problems, near
from sartor.report import Key, Report, Value, Verdict

MAX_FILE_BYTES = 100_000
MAX_SCALAR = 10_000  # characters of one value of a file
MAX_DEPTH = 20
MAX_NEED = 500  # characters
MAX_BUDGET_S = 366 * 86_400.0
LEAST_CONFIDENCE = 0.6  # a bound at 0.5 is none: it is broken every other time
ALPHA = 0.05
ROW_ERROR = "error"  # what an answer holds instead of targets, where a row cannot be answered

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
_QUOTED = re.compile(r"""("[^"]*"|'[^']*')|\s+""")  # what is in quotes, or white space outside of them
# The name of a target before its measure, in quotes where it holds spaces or signs. Dots of its own need none: names of measures have no dots.
_TARGET = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s<>=%"']+))\.(?=[^\W\d])""")


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
    target: str | Mapping[str, str | None] | None = None  # a column; or several, each with its task
    task: str | None = None  # of one target
    budget_s: float | None = None
    hardware: str | None = None
    prefer: str | None = None
    backbone: str = "auto"
    seed: int = 0
    confidence: float = 0.95
    group: str | None = None

    @property
    def sliced_by(self) -> list[str]:
        """The columns that needs speak of as `where COLUMN == VALUE`."""
        return sorted({need.key.where[0] for need in self.needs if need.key.where})

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

    if given.get("data"):
        attempt("data", _data)
    else:
        problems.append(InputError("needs.no-data"))
    attempt("input", lambda value: (value,) if isinstance(value, str) else _strings("input", value))
    attempt("target", _target)
    attempt("task", lambda value: _text("task", value))
    attempt("group", lambda value: _text("group", value))
    attempt("backbone", lambda value: _text("backbone", value))
    attempt("prefer", lambda value: _text("prefer", value))
    attempt("budget", _budget)
    attempt("hardware", _hardware)
    attempt("seed", _seed)
    attempt("confidence", _confidence)
    texts = list(_texts(given.get("needs"), problems))
    parsed: dict[Key, Need] = {}
    try:
        targets = _settle_tasks(found, texts)
    except InputError as error:
        problems.append(error)
    else:
        of_preference, begin = _prefix(found.get("prefer", ""))
        if [of_preference] == list(targets):  # of one target nothing says which it is
            found["prefer"] = found["prefer"][begin:]
        # Needs speak of targets: without those that could not be read, all that speak of one would seem wrong.
        for text in texts if given.get("target") is None or "target" in found else ():
            try:
                need = parse(text, targets=targets)
                if (other := parsed.setdefault(need.key, need)) is not need:
                    raise InputError("needs.twice", measure=need.key, first=other.text, second=need.text)
            except InputError as error:
                problems.append(error)
    found["needs"] = tuple(parsed.values())
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    if "budget" in found:
        found["budget_s"] = found.pop("budget")
    return Needs(**found)


def _settle_tasks(found: dict[str, Any], texts: Sequence[Any]) -> dict[str, str]:
    """The task of each target that is named, by which its needs are read; in `found`, what is known of target and task by now.

    A target that is alone stands there as a column, whichever way it was written. Where nobody says a task, the measures in the needs may; a task that
    neither says is left to the data, and needs are read as those of classes.
    Raises: InputError `needs.tasks`, `leaf.unknown`.
    """
    asked = found.get("target")
    if isinstance(asked, Mapping) and "task" in found:
        raise InputError("needs.tasks", task=found["task"], example=next(iter(asked)))
    if isinstance(asked, Mapping) and len(asked) == 1:
        [(found["target"], task)] = asked.items()
        found |= {"task": task} if task else {}
        asked = found["target"]
    several = isinstance(asked, Mapping)
    each: dict[str, str | None] = dict(asked) if isinstance(asked, Mapping) else {asked or "": found.get("task")}
    known = leaves.names("task")
    for target, task in each.items():
        mine = [text for text in texts if not several or _prefix(str(text))[0] == target]
        if task is None and (told := _task_of(mine)) != "classify":
            each[target] = told
        elif task is not None and task not in known:
            raise InputError("leaf.unknown", kind="task", name=task, near=near(task, known), known=", ".join(known))
    if several:
        found["target"] = each
    elif task := each[asked or ""]:
        found["task"] = task
    return {target: task or "classify" for target, task in each.items()}


def _task_of(texts: Iterable[Any]) -> str:
    """The task that has the most of the measures that these needs name, where it is one alone; else classification."""
    words = {word for text in map(str, texts) for word in re.findall(r"[A-Za-z_0-9]+", text[_prefix(text)[1] :])[:1]}
    ours = [name for name in leaves.names("task") if leaves.third_party_digest("task", name) is None]
    held = {name: len(words & set(leaves.load("task", name).METRICS)) for name in ours}
    able = [name for name, count in held.items() if 0 < count == max(held.values())]
    return able[0] if len(able) == 1 else "classify"


def load(path: Path | str, /, **overrides: Any) -> Needs:
    """Needs from a YAML file; keywords override its keys. Paths of data in it are relative to the file.

    Raises: InputError `needs.file`; Problems as `make`.
    """
    path = Path(path)
    given = read_yaml(_bytes(path), told=path)
    if not isinstance(given, dict):
        raise InputError("needs.file", path=path, why="it holds no keys such as `data:` and `needs:`")
    data = given.get("data")
    if isinstance(data, str):
        given["data"] = _relative(path.parent, data)
    elif isinstance(data, Mapping):
        given["data"] = {part: _relative(path.parent, file) for part, file in data.items()}
    return make(**{str(key): value for key, value in given.items()} | overrides)


def read_yaml(data: bytes | str, *, told: Path | str) -> Any:
    """What a small YAML text holds, safely. told: where it stands, for the message.

    Raises: InputError `needs.file`, with line and column.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        why = f"it is not UTF-8 (line {line}, byte {column}); save it as UTF-8"
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        why = f"it holds the control character {chr(error.character)!r} (line {line}, column {column})"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        why = f"{error.problem or error.context}{where}"
    raise InputError("needs.file", path=told, why=why)


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
        if (value := getattr(needs, name)) is not None:
            record[name] = dict(value) if isinstance(value, Mapping) else value
    if needs.input:
        record["input"] = list(needs.input)
    if needs.budget_s is not None:
        record["budget"] = f"{needs.budget_s:.9f}".rstrip("0").rstrip(".") + "s"
    return record | {"backbone": needs.backbone, "seed": needs.seed, "confidence": needs.confidence}


def parse(text: str, *, task: str = "classify", targets: Mapping[str, str] = MappingProxyType({})) -> Need:
    """One need. targets: the task of each target, of one that has no name yet under ""; when left out that one is of `task`.

    Raises: InputError `need.*`, with the place where reading stopped and the nearest right name.
    """
    if not isinstance(text, str):
        raise InputError("need.syntax", need=text, mark="", expected="text such as 'accuracy >= 0.9'")
    if len(text) > MAX_NEED:
        expected = f"text of at most {MAX_NEED} characters"
        raise InputError("needs.value", key="needs", expected=expected, found=f"{text[:40]}…")
    # Of the same length, so that the mark below a message stands where it should.
    text = re.sub(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", " ", text)
    target, begin = _prefix(text)
    tokens = list(_tokens(text, begin))
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
    targets = targets or {"": task}
    of_target, of_task = _of_target(text, target, name, targets)
    metrics = leaves.load("task", of_task).METRICS
    known = [*metrics, *SYSTEM]
    if name not in known:
        raise InputError("need.measure", need=text, name=name, near=near(name, known), known=", ".join(known))
    for_class, where, against, setting = None, None, None, []
    while peek() in ("for", "where", "at"):
        word = take("")
        if word == "for":
            for_class = _unquoted(take("the name of a class"))
        elif word == "where":
            column = _unquoted(take("the name of a column"))
            place = tokens[at][1] if at < len(tokens) else len(text)
            if take("==") != "==":
                raise _stopped(text, place, "==")
            where = (column, _unquoted(take("a value of that column")))
        else:
            which = take("a setting, such as concurrency 8")
            place = tokens[at][1] if at < len(tokens) else len(text)
            if which == "coverage":
                if take(">=") != ">=":
                    raise _stopped(text, place, ">=")
                setting.append(("coverage", _share(text, tokens, at)))
                at += 2 if at + 1 < len(tokens) and tokens[at + 1][0] == "%" else 1
                continue
            if which != "concurrency":
                raise InputError("need.unsupported", need=text, what=f"the setting {which!r}")
            count = take("a number of clients")
            if not count.isdecimal() or not 1 <= int(count) <= 1024:
                raise _stopped(text, place, "a whole number of clients from 1 to 1024")
            setting.append(("concurrency", float(count)))
    place = tokens[at][1] if at < len(tokens) else len(text)
    op = take("one of >= <= > <")
    if op not in _OPS:
        raise _stopped(text, place, "one of >= <= > <")
    place = tokens[at][1] if at < len(tokens) else len(text)
    number = take("a number")
    if number == "baseline":
        against = number
        place = tokens[at][1] if at < len(tokens) else len(text)
        sign = take("+ or − and by how much, such as + 2 points")
        if sign not in ("+", "-", "−"):
            raise _stopped(text, place, "+ or − and by how much, such as + 2 points")
        place = tokens[at][1] if at < len(tokens) else len(text)
        number = take("a number")
        number = number if sign == "+" or not _is_number(number) else f"-{number}"
    if not _is_number(number):
        raise _stopped(text, place, "a number")
    unit_place = tokens[at][1] if at < len(tokens) else len(text)
    unit = take("") if at < len(tokens) else ""
    # `latency_p95 <= 10 ms at concurrency 8` reads as well as the other order.
    if peek() in ("at", "where") or unit in ("at", "where"):
        moved = parse(_qualifier_first(text, tokens, at - (unit in ("at", "where"))), targets=targets)
        return replace(moved, text=" ".join(text.split()))
    if at < len(tokens):
        raise _stopped(text, tokens[at][1], "the end of the need")
    if name in SYSTEM:
        base, better, concurrent = SYSTEM[name]
        if for_class is not None or where is not None or against is not None:
            raise InputError("need.setting", need=text, measure=name)
        if setting and not (concurrent and [name for name, _ in setting] == ["concurrency"]):
            raise InputError("need.setting", need=text, measure=name)
        if concurrent and not setting:
            setting = [("concurrency", 1.0)]
        limit = _limit(text, unit_place, float(number), unit, base)
        if not 0 < limit < math.inf:
            raise InputError("need.range", need=text, meant=f"a number of {base} above 0")
    else:
        metric = metrics[name]
        base, better = metric.unit, metric.better
        if metric.per_class != (for_class is not None):
            raise InputError("need.class" if metric.per_class else "need.setting", need=text, measure=name)
        # Tasks that settle something else than one probability have nothing to withhold answers by.
        abstains = not hasattr(leaves.load("task", of_task), "settle")
        coverable = abstains and metric.proportion and not metric.per_class and against is None
        if setting and not ([name for name, _ in setting] == ["coverage"] and coverable):
            raise InputError("need.setting", need=text, measure=name)
        if against is not None:
            base, limit = _difference(text, unit_place, float(number), unit, base, share=metric.share)
        elif unit == "%" and base == "" and metric.share:
            limit = float(number) / 100
        elif unit and unit != base:
            raise _stopped(text, unit_place, "no unit, or %")
        else:
            limit = float(number)
        if base == "" and metric.share and not 0 <= limit <= 1:
            raise InputError("need.range", need=text, meant=f"{number}%" if 1 < limit <= 100 else "a share from 0 to 1")
        if against is None and not 0 <= limit < math.inf:
            raise InputError("need.range", need=text, meant=f"a number of {base} from 0")
    if op[0] != (">" if better == "higher" else "<"):
        raise InputError(
            "need.direction", need=text, measure=name, better=better, op=">=" if better == "higher" else "<="
        )
    key = Key(name, of_target, for_class=for_class, where=where, against=against, setting=tuple(sorted(setting)))
    plain = _QUOTED.sub(lambda found: found[1] or " ", text).strip()
    return Need(plain, key, op, limit, base, "system" if name in SYSTEM else "quality")


def _prefix(text: str) -> tuple[str | None, int]:
    """(the target that a need or a preference begins with, where its measure begins); (None, 0) where it begins with the measure."""
    found = _TARGET.match(text)
    return (None, 0) if found is None else (next(name for name in found.groups() if name is not None), found.end())


def leading(needs: Needs, targets: Mapping[str, str]) -> str:
    """Of several targets the one by which models are compared where needs leave it open: the first that a need is of, else the first."""
    return next((need.key.target for need in needs.needs if need.key.target is not None), next(iter(targets)))


def preference(needs: Needs, task: str, targets: Mapping[str, str]) -> tuple[Key | None, bool]:
    """(what is preferred among models that meet every need, whether lower is better); None where nothing is named and needs on quality say what is enough.

    task: of the target that leads. targets: the task of each, where there are several.
    Raises: InputError `need.prefer`.
    """
    if needs.prefer is not None and targets:
        return _preferred(needs.prefer, targets)
    metrics = leaves.load("task", task).METRICS
    if needs.prefer is None:
        primary = Key(leaves.load("task", task).PRIMARY, leading(needs, targets) if targets else None)
        asked = any(need.kind == "quality" for need in needs.needs)
        return (None if asked else primary), metrics[primary.measure].better == "lower"
    name = needs.prefer
    known = [*(m for m in metrics if not metrics[m].per_class), *(m for m in SYSTEM if m != "training_time")]
    if name not in known:
        raise InputError("need.prefer", name=name, near=near(name, known), known=", ".join(known))
    if name in metrics:
        return Key(name), metrics[name].better == "lower"
    _, better, concurrent = SYSTEM[name]
    return Key(name, setting=(("concurrency", 1.0),) if concurrent else ()), better == "lower"


def _preferred(text: str, targets: Mapping[str, str]) -> tuple[Key, bool]:
    """The measure that is to be preferred where there are several targets, of one of them or of the whole model, and whether lower is better.

    Raises: InputError `need.prefer`.
    """
    known: dict[Key, str] = {}
    for target, task in targets.items():
        metrics = leaves.load("task", task).METRICS
        known |= {Key(name, target): metric.better for name, metric in metrics.items() if not metric.per_class}
    for name, (_, better, concurrent) in SYSTEM.items():
        known[Key(name, setting=(("concurrency", 1.0),) if concurrent else ())] = better
    del known[Key("training_time")]
    asked, begin = _prefix(text)
    for key, better in known.items():
        if (key.target, key.measure) == (asked, text[begin:].strip()):
            return key, better == "lower"
    names = [str(replace(key, setting=())) for key in known]
    of_some = next((name for name in names if name.endswith(f".{text}")), text)
    raise InputError("need.prefer", name=text, near=near(of_some, names), known=", ".join(names))


def _of_target(text: str, target: str | None, name: str, targets: Mapping[str, str]) -> tuple[str | None, str]:
    """(the target in the key of a need, the task whose measures it may name). Where there is one target, no key says so.

    target: as the need begins, or None. name: of its measure. targets: as of `parse`.
    Raises: InputError `need.whole`, `need.target`, `need.which-target`, `need.measure`.
    """
    first = next(iter(targets.values()))
    if name in SYSTEM:
        if target is not None:
            raise InputError("need.whole", measure=name, target=target, need=text[_prefix(text)[1] :])
        return None, first
    if target is not None and target not in targets:
        named = [one for one in targets if one]
        known = f"The targets are: {', '.join(map(repr, named))}." if named else "Name it as the target, too."
        raise InputError("need.target", need=text, name=target, near=near(target, named), known=known)
    if len(targets) == 1:
        return None, first
    if target is not None:
        return target, targets[target]
    able = [one for one, task in targets.items() if name in leaves.load("task", task).METRICS]
    if not able:
        metrics = [measure for task in targets.values() for measure in leaves.load("task", task).METRICS]
        measures = list(dict.fromkeys([*metrics, *SYSTEM]))
        raise InputError("need.measure", need=text, name=name, near=near(name, measures), known=", ".join(measures))
    raise InputError("need.which-target", need=text, example=" or ".join(str(Key(name, one)) for one in able))


def duration(value: Any) -> float:
    """Seconds of "20m", "20 min", "90s", "1h30m" or a number of seconds.

    Raises: InputError `needs.duration`.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    if len(str(value)) > 40:
        raise InputError("needs.duration", found=f"{str(value)[:40]}…")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|sec|s)", str(value))
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*(h|min|m|sec|s)", "", str(value)).strip()
    total = sum(float(number) * _TIME[unit] for number, unit in parts)
    if not parts or rest or total <= 0:
        raise InputError("needs.duration", found=value)
    return total


def verdicts(needs: Needs, report: Report) -> list[Verdict]:
    """Each need judged: met (the bound is on the right side), missed (on the wrong side, Holm-corrected), or unproven.

    *Met* of all needs together is an intersection–union test and takes no correction; *missed* is said of any of several, by Holm (1979): from
    the need that is furthest on the wrong side on, until one of them cannot be refuted. A need that lets the model abstain says two things, and counts
    as two.
    """
    refuted = _refuted(needs, report)
    return [
        _judged(need, report.value(need.key), needs.confidence, missed=place in refuted)
        for place, need in enumerate(needs.needs)
    ]


def _refuted(needs: Needs, report: Report) -> set[int]:
    """Which needs are missed: as long as one claim of those left is refuted at alpha over their number (Holm 1979)."""
    left, found = list(needs.needs), list[Need]()
    while left:
        among = claims(left)
        refuted = next((need for need in left if _is_refuted(need, report.value(need.key), among)), None)
        if refuted is None:
            break
        left.remove(refuted)
        found.append(refuted)
    return {place for place, need in enumerate(needs.needs) if need in found}


def claims(needs: Sequence[Need]) -> int:
    """How many claims needs make: on a measure, and on the share of the rows that is answered where the model may abstain."""
    return sum(2 if "coverage" in dict(need.key.setting) else 1 for need in needs)


def _is_refuted(need: Need, value: Value | None, among: int) -> bool:
    """Whether a claim of a need is refuted, at alpha over so many."""
    if value is None:
        return False
    level = 1 - (1 - value.confidence) / among
    covered = value.details.get("coverage")
    if covered is not None:
        most = _rung(covered["ladder"], level)[2]
        if most is not None and most < covered["asked"]:
            return True
    if value.measured is None or value.low is None or value.high is None:
        return False
    against = value.high if need.op[0] == ">" else value.low
    stricter = against if value.low == value.high == value.measured else _at(value, level, low=need.op[0] == "<")
    return stricter is not None and not need.holds(stricter)


def _judged(need: Need, value: Value | None, confidence: float, *, missed: bool) -> Verdict:
    """One need. missed: whether it was refuted."""
    if value is None or value.measured is None:
        if value is not None and missed:  # by how few rows it answers
            return _verdict(need, value, confidence, "missed", _with_coverage("", value.details["coverage"]))
        return _verdict(need, None, confidence, "unproven", (value.note if value else "") or "It was not measured.")
    wanted = value.low if need.op[0] == ">" else value.high
    if wanted is None:
        return _verdict(need, value, confidence, "unproven", value.note or "No bound can be given.")
    covered = value.details.get("coverage")
    if need.holds(wanted) and (covered is None or covered["low"] >= covered["asked"]):
        return _verdict(need, value, confidence, "met", _with_coverage(value.note, covered))
    if missed:
        assert value.measured is not None
        said = "" if need.holds(value.measured) else _by_how_much(need, value)
        return _verdict(need, value, confidence, "missed", _with_coverage(said, covered))
    said = "" if need.holds(wanted) else _how_to_settle(need, value)
    return _verdict(need, value, confidence, "unproven", _with_coverage(said, covered))


def _at(value: Value, level: float, *, low: bool) -> float | None:
    """The bound at a level at least as strict as asked, from the value's ladder; None when it has no such rung."""
    rung = _rung([(value.confidence, value.low, value.high), *value.details.get("ladder", [])], level)
    return rung[1] if low else rung[2]


def _rung(rungs: Sequence[Sequence[Any]], level: float) -> Sequence[Any]:
    """(level, low, high) of the ladder at a level at least as strict as asked; no bounds where it has no such rung."""
    fitting = [rung for rung in rungs if rung[0] >= level - 1e-12]
    return min(fitting, key=lambda item: item[0]) if fitting else (level, None, None)


def _with_coverage(said: str, covered: Mapping[str, Any] | None) -> str:
    """What is said of a need, and how many rows the model answers where it may abstain."""
    if covered is None:
        return said
    share = f"It answers {covered['measured']:.1%} of the rows ({covered['low']:.1%} – {covered['high']:.1%}); {covered['asked']:.1%} are asked."
    return f"{said} {share}".strip()


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
        setting=", ".join(
            [
                *([f"where {need.key.where[0]} == {need.key.where[1]}"] if need.key.where else []),
                *([f"difference to the {need.key.against}"] if need.key.against else []),
                *(f"{name} {'≥ ' if name == 'coverage' else ''}{number:g}" for name, number in need.key.setting),
            ]
        ),
        verdict=verdict,
        advice=advice,
        method=value.method if value else "",
        name=str(need.key),
        target=need.key.target,
    )


def _by_how_much(need: Need, value: Value) -> str:
    assert value.measured is not None
    return f"It is off by {abs(value.measured - need.limit):.4g}{' ' + need.unit if need.unit else ''}."


def _how_to_settle(need: Need, value: Value) -> str:
    trials = value.details.get("trials")
    if trials:
        from sartor.bounds import rows_to_settle

        if need.key.where and (need.key.for_class is not None or need.key.setting):
            return f"More test rows{_of_slice(need)} would narrow the interval."
        # Among several claims one that a need is missed takes a stricter level, so that all of them together are seldom wrong.
        levels = [value.confidence, *(rung[0] for rung in value.details.get("ladder", []))]
        level = value.confidence if need.holds(value.details["successes"] / trials) else max(levels)
        more = rows_to_settle(value.details["successes"], trials, limit=need.limit, level=level)
        if more is None:
            return "The share measured is the limit itself: no number of test rows settles it."
        if not need.key.where:  # of the test rows those of the class, or those that were answered, are a share
            more = math.ceil(more * value.details.get("of", trials) / trials)
        return f"About {more:,} more test rows{_of_slice(need)} would settle it if the share stayed as measured."
    if need.kind == "quality":
        return f"More test rows{_of_slice(need)} would narrow the interval."
    return "The measurements scatter around the limit: measure on a quieter machine, or longer."


def _share(text: str, tokens: Sequence[tuple[str, int]], at: int) -> float:
    """A share above 0 up to 1, or a percentage, as it stands at a token."""
    place = tokens[at][1] if at < len(tokens) else len(text)
    if at >= len(tokens) or not _is_number(tokens[at][0]):
        raise _stopped(text, place, "a share, such as 0.8 or 80 %")
    share = float(tokens[at][0])
    if at + 1 < len(tokens) and tokens[at + 1][0] == "%":
        share /= 100
    if not 0 < share <= 1:
        raise InputError("need.range", need=text, meant="a coverage above 0 and up to 1")
    return share


def _of_slice(need: Need) -> str:
    return f" with {need.key.where[0]} == {need.key.where[1]}" if need.key.where else ""


def _difference(text: str, place: int, number: float, unit: str, base: str, *, share: bool) -> tuple[str, float]:
    """(unit, limit) of a difference: points (hundredths) of a share, else the measure's own unit."""
    if base != "" or not share:
        if unit not in ("", base):
            raise _stopped(text, place, f"no unit, or {base}" if base else "no unit")
        return base, number
    if unit not in ("points", "point"):
        raise _stopped(text, place, "points")
    if not -100 <= number <= 100:
        raise InputError("need.range", need=text, meant="a difference from -100 to 100 points")
    return "points", number


def _limit(text: str, place: int, number: float, unit: str, base: str) -> float:
    for table in (_TIME, _BYTES, _RATES):
        if base in table:
            if unit not in table:
                raise _stopped(text, place, "one of " + ", ".join(table))
            return number * table[unit] / table[base]
    raise AssertionError(base)


def _qualifier_first(text: str, tokens: Sequence[tuple[str, int]], at: int) -> str:
    """The need with its trailing `at …` or `where …` moved before the operator; each may stand there once."""
    word, begin = tokens[at]
    operator = next(place for token, place in tokens if token in _OPS)
    if word in [token for token, place in tokens if place < operator]:
        raise _stopped(text, begin, "only one setting" if word == "at" else "only one slice")
    return f"{text[:operator]}{text[begin:]} {text[operator:begin]}"


def _tokens(text: str, begin: int) -> Iterator[tuple[str, int]]:
    """(token, where it stands), from a place on."""
    pattern = re.compile(
        r"\s*(\"[^\"]*\"|'[^']*'|>=|<=|==|=|>|<|%|±|baseline(?!\w)|[-+−](?=\s)|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])|[\d.]+(?=[A-Za-z%])|[^\s<>=%]+)"
    )
    place = begin
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


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _text(key: str, value: Any) -> str:
    if not _is_text(value):
        raise InputError("needs.value", key=key, expected="text", found=value)
    return str(value)


def _data(value: Any) -> Any:
    """Paths as they are; what could only be a slip is said here, not as a file that is not there."""
    places = list(value.values()) if isinstance(value, Mapping) else [value]
    if not all(isinstance(place, str | Path) and str(place) for place in places):
        expected = "a file, a folder, a zip, a hub data set id, or {train: FILE, test: FILE}"
        raise InputError("needs.value", key="data", expected=expected, found=value)
    return value


def _texts(value: Any, problems: list[InputError]) -> Sequence[Any]:
    """The needs one by one; what is no list of them is a problem."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, list | tuple):
        expected = "a list of limits, such as [accuracy >= 0.9]"
        problems.append(InputError("needs.value", key="needs", expected=expected, found=value))
        return []
    return value


def _budget(value: Any) -> float:
    found = duration(value)
    if not 1e-3 <= found <= MAX_BUDGET_S:
        raise InputError("needs.value", key="budget", expected="a length of time of at most 366 days", found=value)
    return found


def _strings(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or not value or not all(isinstance(item, str) for item in value):
        raise InputError("needs.value", key=key, expected="a column or a list of columns", found=value)
    return tuple(value)


def _target(value: Any) -> str | dict[str, str | None]:
    """A column, or several with the task of each, which may be left out."""
    if not isinstance(value, Mapping):
        return _text("target", value)
    if not value or not all(_is_text(name) and (task is None or _is_text(task)) for name, task in value.items()):
        expected = "text, or {COLUMN: TASK, COLUMN: TASK} of several"
        raise InputError("needs.value", key="target", expected=expected, found=dict(value))
    if len(value) > 1 and ROW_ERROR in value:
        raise InputError("needs.target-name", name=ROW_ERROR)
    return dict(value)


def _hardware(value: Any) -> str:
    if not re.fullmatch(r"cpu:[1-9]\d{0,2}", str(value)):
        raise InputError("needs.value", key="hardware", expected="cpu:N, such as cpu:2", found=value)
    return str(value)


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InputError("needs.value", key="seed", expected="a whole number from 0", found=value)
    return value


def _confidence(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not LEAST_CONFIDENCE <= value < 1:
        raise InputError(
            "needs.value", key="confidence", expected=f"a number from {LEAST_CONFIDENCE} to below 1", found=value
        )
    return float(value)


def _relative(folder: Path, data: Any) -> Any:
    # `os.path.exists` says no to a name that is too long or holds a zero byte, where a Path raises.
    here = isinstance(data, str) and os.path.exists(folder / data) and not Path(data).is_absolute()
    return str(folder / data) if here else data


def _bytes(path: Path) -> bytes:
    """The content of a needs file that is no larger than one can be."""
    try:
        regular, data = stat.S_ISREG(path.stat().st_mode), b""
        if regular:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", error)
        raise InputError("needs.file", path=path, why=why) from None
    if not regular:
        raise InputError("needs.file", path=path, why="it is not a file")
    if len(data) > MAX_FILE_BYTES:
        raise InputError("needs.file", path=path, why=f"it is larger than {MAX_FILE_BYTES:,} bytes")
    return data


class _Loader(yaml.SafeLoader):
    """Safe YAML that also refuses aliases (they can grow without end), tags, deep nesting, and keys given twice."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if self.check_event(yaml.events.AliasEvent):
            raise _refused("aliases are not read; write the value out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _refused(f"the tag {event.tag!r} is not read; leave it out", event.start_mark)
        if len(getattr(event, "value", "")) > MAX_SCALAR:
            raise _refused(f"it has a value of more than {MAX_SCALAR:,} characters", event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise _refused("it is nested too deep", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError):  # such as a date of the 99th of a month, or a number of 5,000 digits
            raise _refused(
                f"the value {str(node.value)[:40]!r} cannot be read; put it in quotes", node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and name in seen:
                raise _refused(f"the key {name!r} is given twice", key.start_mark)
            seen.add(str(name))
        return super().construct_mapping(node, deep)


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
