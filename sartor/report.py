"""The report: measured values, each with its unit, interval, n and setting, and the record of the build around them.

`report.json` is this record; `sartor/page.py` draws it. Verdicts are not decided here but in `sartor/needs.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sartor import bundle as bundles
from sartor.errors import InputError

SCHEMA = 1
_PLAIN = re.compile(r"[^\s<>=%\"']+")  # names of targets that need no quotes


@dataclass(frozen=True)
class Key:
    """What was measured: a measure of a target, for a class, on a slice, at a setting. Equal keys are comparable."""

    measure: str
    target: str | None = None  # of several; None where there is one, and for what is of the whole model
    for_class: str | None = None
    where: tuple[str, str] | None = None  # (column, value)
    against: str | None = None  # "baseline": how much better than it, on the same rows
    setting: tuple[tuple[str, float], ...] = ()  # sorted, such as (("concurrency", 1.0),)

    def __str__(self) -> str:
        text = self.measure
        if self.target is not None:
            text = f"{self.target if _PLAIN.fullmatch(self.target) else repr(self.target)}.{text}"
        text += f" over {self.against}" if self.against else ""
        text += f" for {self.for_class}" if self.for_class else ""
        text += f" where {self.where[0]} == {self.where[1]}" if self.where else ""
        return text + "".join(f" at {name} {value:g}" for name, value in self.setting)


@dataclass(frozen=True)
class Value:
    """One measured value.

    low, high: one-sided bounds, each at `confidence`; equal to `measured` for facts; None where no bound can be given (then
    a need on it is unproven and `note` says why). n: examples, requests or processes behind it.
    """

    key: Key
    measured: float | None
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    confidence: float = 0.95
    method: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)  # k, effective n, windows, …: what a stricter level needs

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"name": str(self.key)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Value:
        key = data["key"]
        made = Key(
            measure=key["measure"],
            target=key.get("target"),
            for_class=key.get("for_class"),
            where=tuple(key["where"]) if key.get("where") else None,
            against=key.get("against"),
            setting=tuple((name, float(value)) for name, value in key.get("setting", ())),
        )
        fields = {name: data[name] for name in data if name not in ("key", "name")}
        return Value(key=made, **fields)


@dataclass
class Report:
    """What was measured of one bundle, and in which setting."""

    values: list[Value] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)  # what a task wants drawn: confusion, reliability, mistakes

    def value(self, key: Key) -> Value | None:
        """The value measured under this key; None when it was not measured."""
        return next((value for value in self.values if value.key == key), None)

    def add(self, values: Iterable[Value]) -> None:
        """Adds values, replacing those with the same key."""
        fresh = {value.key: value for value in values}
        self.values = [fresh.pop(value.key, value) for value in self.values] + list(fresh.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "values": [value.as_dict() for value in self.values],
            "environment": self.environment,
            "figures": self.figures,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Report:
        return Report(
            values=[Value.from_dict(value) for value in data.get("values", [])],
            environment=data.get("environment", {}),
            figures=data.get("figures", {}),
        )


@dataclass(frozen=True)
class Verdict:
    """One need, judged."""

    need: str
    measure: str
    op: str
    limit: float
    unit: str
    measured: float | None
    low: float | None
    high: float | None
    n: int
    confidence: float
    setting: str  # where and how: a concurrency, a slice, what it is compared with
    verdict: str  # met, missed, unproven
    advice: str
    method: str = ""
    name: str = ""  # of the value that was judged, without limit and unit
    target: str | None = None  # of several

    def as_dict(self) -> dict[str, Any]:
        """As in report.json; `target` only where there are several."""
        return {name: value for name, value in asdict(self).items() if name != "target" or value is not None}

    def with_advice(self, advice: str) -> Verdict:
        return replace(self, advice=advice)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 when every need is met, 3 when one is missed, 4 when none is missed but some are unproven."""
    answers = [verdict.verdict for verdict in verdicts]
    if "missed" in answers:
        return 3
    return 4 if "unproven" in answers else 0


def read(bundle: Path) -> dict[str, Any]:
    """The `report.json` of a bundle.

    Raises: InputError `report.missing`, `report.broken`, `bundle.broken`.
    """
    if not (bundle / "report.json").is_file():
        raise InputError("report.missing", path=bundle)
    record = bundles.read_object(bundle, "report.json")
    lacking = [name for name in ("exit", "needs", "reason", "values") if name not in record]
    if lacking:
        raise InputError("report.broken", path=bundle, why=f"it has no {lacking[0]!r}")
    try:
        Report.from_dict(record)
        if not all(isinstance(need, dict) and need["verdict"] for need in record["needs"]):
            raise TypeError("a need is no object")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("report.broken", path=bundle, why=f"{type(error).__name__}: {error}") from None
    return record


def brief(value: float, *, against: float | None = None) -> str:
    """A figure to four digits, or to more where these would make it look like a limit that it is not at."""
    told = ""
    for digits in range(4, 13):
        told = f"{value:,.{digits - 4}f}" if abs(value) >= 1e4 else f"{value:.{digits}g}"
        if against is None or value == against or float(told.replace(",", "")) != against:
            break
    return told


def percent_of_confidence(confidence: float) -> str:
    """A confidence as a percentage, with as many digits as it takes not to claim certainty."""
    digits = 4
    while confidence < 1 and float(f"{100 * confidence:.{digits}g}") >= 100:
        digits += 1
    return f"{100 * confidence:.{digits}g}%"
