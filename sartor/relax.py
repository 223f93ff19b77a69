"""The honest map when something cannot be met: which needs block, the nearest points that can be had, and the measured price of each.

A point is a candidate with the limits that it would likely meet (as the search understands it: a chance of 0.9 on the test rows), so a relaxation that is
told here is one that another build would prove. What the test rows proved of the winner stands beside them as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sartor.front import GOOD_ENOUGH, Candidate, Front, chance
from sartor.needs import Need
from sartor.report import Key, Value, Verdict

MOST_POINTS = 5
WORTH_TIME = 0.1  # chance that a candidate that was not tried for lack of time is named for
DIGITS = 3


def map_of(
    front: Front, chosen: Candidate, judged: Sequence[Verdict], growth: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """{blocking, points, rows, time}; None where every need is met.

    blocking: [{need, how, best: {name, measured}}], needs that stand in the way, and how: `alone`, `together` with others, or on the `test` rows only, of
    which validation was sure. points: the nearest first, [{candidate, name, proven, relax: [{need, measure, op, unit, limit, offer, measured}], values}]. rows: [{need, low, mid, high}] more training rows,
    by the learning curve. time: [{name, forecast_s, chance}], estimates for what the budget had no time for.
    """
    if all(verdict.verdict == "met" for verdict in judged):
        return None
    proven = _proven(front, chosen, judged)
    points = _nearest([point for one in _serious(front) if (point := _point(front, one)) is not None], front.asked)
    if proven is not None:  # then what validation said of it is no news
        points = [proven, *(point for point in points if point["candidate"] != chosen.id)]
    points = [point for point in points if point["relax"]]
    wanted = {told["need"] for point in points for told in point["relax"]}
    wanted |= {verdict.need for verdict in judged if verdict.verdict != "met"}
    return {
        "blocking": [_blocking(front, chosen, need) for need in front.asked if need.text in wanted],
        "points": points[:MOST_POINTS],
        "rows": _rows(judged, growth),
        "time": [
            {"name": one.plan.name, "forecast_s": round(one.forecast_s, 1), "chance": one.outlook["chance"]}
            for one in front.found
            if one.cause == "time" and one.outlook.get("chance", 0.0) >= WORTH_TIME
        ],
    }


def advised(judged: Sequence[Verdict], found: Mapping[str, Any] | None) -> list[Verdict]:
    """The verdicts, each that is not met with what another limit of it, or of one other need, would give."""
    if found is None:
        return list(judged)
    return [
        verdict
        if verdict.verdict == "met"
        else verdict.with_advice(" ".join([verdict.advice, *_said(verdict, found["points"])]).strip())
        for verdict in judged
    ]


def offer(need: Need, value: Value, *, test_rows: int, level: float) -> float | None:
    """The limit nearest to the one asked for that a candidate would likely meet, rounded away from what is better; None where none can be told."""
    measured = value.measured
    if measured is None or not math.isfinite(measured):
        return None
    worse = -1.0 if need.op[0] == ">" else 1.0

    def likely(limit: float) -> bool:
        return chance(replace(need, limit=limit), value, test_rows=test_rows, level=level) >= GOOD_ENOUGH

    if likely(_rounded(measured, worse)):
        return _rounded(measured, worse)
    far, most = 0.01 * max(abs(measured), 1e-6), 1e3 * max(abs(measured), 1e-6)
    if worse < 0 and need.key.against is None:
        most = 0.99 * measured  # at least nothing is no limit
    while not likely(measured + worse * far):
        if far >= most:
            return None
        far = min(2 * far, most)
    near = 0.0
    for _ in range(40):
        middle = (near + far) / 2
        near, far = (near, middle) if likely(measured + worse * middle) else (middle, far)
    return _rounded(measured + worse * far, worse)


def _rounded(value: float, worse: float) -> float:
    """To DIGITS digits, away from what is better."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    steps = value / step
    whole = math.floor(steps + 1e-9) if worse < 0 else math.ceil(steps - 1e-9)
    return float(f"{whole * step:.12g}")


def _serious(front: Front) -> list[Candidate]:
    return [one for one in front.found if one.status == "measured" and not one.trivial]


def _point(front: Front, candidate: Candidate) -> dict[str, Any] | None:
    """What a candidate would likely meet; None where a need of it cannot be told."""
    relaxed = []
    for need in front.asked:
        if candidate.chances.get(need.text, 0.0) >= GOOD_ENOUGH:
            continue
        value = candidate.report.value(need.key)
        level = front.level if need.kind == "quality" else front.needs.confidence
        told = None if value is None else offer(need, value, test_rows=front.test_rows, level=level)
        if told is None or value is None:
            return None
        relaxed.append(_relaxed(need, told, value.measured))
    return _as_point(front, candidate, relaxed, proven=False)


def _proven(front: Front, chosen: Candidate, judged: Sequence[Verdict]) -> dict[str, Any] | None:
    """What the test rows prove of the winner; None where something has no bound."""
    relaxed = []
    for need in front.asked:
        verdict = next((one for one in judged if one.need == need.text), None)
        if verdict is None or verdict.verdict == "met":
            continue
        bound = verdict.low if need.op[0] == ">" else verdict.high
        if bound is None or need.holds(bound):  # that it answers too few rows is no matter of this limit
            return None
        relaxed.append(_relaxed(need, _rounded(bound, -1.0 if need.op[0] == ">" else 1.0), verdict.measured))
    return _as_point(front, chosen, relaxed, proven=True) if relaxed else None


def _relaxed(need: Need, told: float, measured: float | None) -> dict[str, Any]:
    return {
        "need": need.text,
        "measure": str(need.key),
        "op": need.op,
        "unit": need.unit,
        "limit": need.limit,
        "offer": told,
        "measured": measured,
    }


def _as_point(front: Front, candidate: Candidate, relaxed: list[dict[str, Any]], *, proven: bool) -> dict[str, Any]:
    keys = dict.fromkeys([*front.shown, *(need.key for need in front.asked)])
    return {
        "candidate": candidate.id,
        "name": candidate.plan.name,
        "proven": proven,
        "relax": relaxed,
        "values": {str(key): _measured(candidate, key) for key in keys},
    }


def _measured(candidate: Candidate, key: Key) -> float | None:
    value = candidate.measured(key)
    return None if math.isnan(value) else value


def _nearest(points: Sequence[dict[str, Any]], needs: Sequence[Need]) -> list[dict[str, Any]]:
    """Those that no other is nearer than by every need: fewest needs relaxed first, then by the sum of the gaps as shares of the limits."""
    gaps = [[_gap(point, need) for need in needs] for point in points]

    def beaten(place: int) -> bool:
        mine = gaps[place]
        return any(
            all(one <= own for one, own in zip(other, mine, strict=True)) and (other != mine or at < place)
            for at, other in enumerate(gaps)
            if at != place
        )

    kept = [place for place in range(len(points)) if not beaten(place)]
    kept.sort(key=lambda place: (sum(gap > 0 for gap in gaps[place]), sum(gaps[place])))
    return [points[place] for place in kept]


def _gap(point: Mapping[str, Any], need: Need) -> float:
    told = next((one for one in point["relax"] if one["need"] == need.text), None)
    return 0.0 if told is None else abs(told["offer"] - need.limit) / max(abs(need.limit), 1e-9)


def _blocking(front: Front, chosen: Candidate, need: Need) -> dict[str, Any]:
    """How a need stands in the way, and which candidate came nearest to it."""
    tried = [one for one in _serious(front) if not math.isnan(one.measured(need.key))]
    way = 1 if need.op[0] == ">" else -1
    best = max(tried, key=lambda one: way * one.measured(need.key), default=None)
    alone = all(one.chances.get(need.text, 0.0) < GOOD_ENOUGH for one in tried)
    return {
        "need": need.text,
        "unit": need.unit,
        "how": "alone" if alone else "test" if chosen.chance >= GOOD_ENOUGH else "together",
        "best": None if best is None else {"name": best.plan.name, "measured": best.measured(need.key)},
    }


def _rows(judged: Sequence[Verdict], growth: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """More training rows that a need is likely to take."""
    told = growth["needs"] if growth else {}
    return [
        {"need": verdict.need} | {end: told[verdict.need][end] for end in ("low", "mid", "high")}
        for verdict in judged
        if verdict.need in told and verdict.verdict != "met"
    ]


def _said(verdict: Verdict, points: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a relaxation of this need alone, and of one other need alone, would give."""
    single = [point for point in points if len(point["relax"]) == 1 and not point["proven"]]
    proven = [(point, one) for point in points if point["proven"] for one in point["relax"]]
    own = [(point, point["relax"][0]) for point in single]
    mine = next(((point, one) for point, one in (*proven, *own) if one["need"] == verdict.need), None)
    others: dict[str, Mapping[str, Any]] = {}
    for point in single:
        if point["relax"][0]["need"] != verdict.need:
            others.setdefault(point["relax"][0]["need"], point)
    said = []
    if mine is not None:
        point, asked = mine
        how = "is proven of" if point["proven"] else "would likely be met by"
        said.append(f"{asked['measure']} {asked['op']} {_figure(asked['offer'], asked['unit'])} {how} {point['name']}.")
    for point in others.values():
        asked, value = point["relax"][0], point["values"].get(verdict.name)
        has = f": {verdict.name} {value:.4g} on the validation rows" if value is not None else ""
        said.append(
            f"With {asked['measure']} of {_figure(asked['offer'], asked['unit'])} instead of {_figure(asked['limit'], asked['unit'])}, "
            f"{point['name']} would likely meet it{has}."
        )
    return said


def _figure(value: float, unit: str) -> str:
    return f"{value:g} {unit}".strip()
