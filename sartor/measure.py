"""Measuring a bundle: quality through the predictor that will serve it, latency as a client of the real server sees it, size.

Latency is bytes in to bytes out over loopback, in a closed loop at the declared concurrency, after warm-up, from fresh server
processes. Every value carries bounds at the confidence asked for and, in `details["ladder"]`, at the stricter levels that judging several
needs together may want.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import special

from sartor import bounds, hardware, leaves
from sartor.bundle import Bundle
from sartor.data.dataset import Examples
from sartor.errors import SartorError
from sartor.events import Events, event, silent
from sartor.needs import SYSTEM, Needs, claims, leading, preference
from sartor.predict import MOST_HELD_BYTES, Predictor, of_target, portable
from sartor.report import Key, Report, Value

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
START_TIMEOUT_S = 60.0
Slices = Mapping[str, Sequence[str | None]]  # column -> its value for each example, as text
MIN_SERVERS = 6  # that tell how far servers lie apart
MOST_TIMES = 4  # the servers of an effort, where latencies hang together so long that its windows give no bound
MOST_PASSES, PAUSE_S = 3, 20.0  # of an effort, where a claim is not found again, and the pause before each
LEAKED = ("leaked", "included")  # the slice of a value that counts test rows which training saw
DOUBTED = ("doubted", "left out")  # the slice of a value that leaves out test rows which the audit doubts


@dataclass(frozen=True)
class Effort:
    """How long the server is measured."""

    servers: int  # fresh processes
    windows: int  # over all of them
    requests: int  # in a window, over all clients
    processes: int  # fresh ones for memory and cold start


FULL = Effort(servers=12, windows=24, requests=200, processes=20)
QUICK = Effort(servers=2, windows=20, requests=60, processes=5)  # to choose by; never to claim by


def measure(
    bundle: Bundle,
    examples: Examples,
    needs: Needs,
    *,
    effort: Effort,
    leaked: np.ndarray | None = None,
    doubted: np.ndarray | None = None,
    slices: Slices = MappingProxyType({}),
    confidence: float | None = None,
    heads: Mapping[str, Any] = MappingProxyType({}),
    training_s: float | None = None,
    claimed: Mapping[Key, float] = MappingProxyType({}),
    events: Events = silent,
) -> tuple[Report, list[dict[str, Any]]]:
    """Everything that the needs ask of a bundle, what they prefer, and accuracy's like, p95 and size in any case; with the answers.

    leaked: [n] bool, examples whose inputs were seen in training: they prove nothing, so quality is judged without them, and told
    with them beside it. doubted: [n] bool, examples whose label the audit doubts; quality is also told without them, and not judged by it. slices: the values, per example, of the columns that needs speak of (`where …`). confidence: of the bounds of quality, where these rows were looked at before; as of the needs when left out.
    heads: what a candidate has settled and not in its bundle yet, see `Predictor`. claimed: of a latency, what it was said to stay below, see `load_values`. The claim holds on this machine: a need for other hardware has no value here, so it is unproven.
    """
    predictor = Predictor(bundle, threads=needs.threads, heads=heads)
    answers = answer(predictor, examples, events=events)
    report = Report(environment=hardware.describe() | {"threads": needs.threads})
    told = quality(
        predictor, examples, answers, needs, leaked=leaked, doubted=doubted, slices=slices, confidence=confidence
    )
    report.add([*told, size(bundle)])
    if training_s is not None:
        report.add([training_time(training_s)])
    if needs.threads > hardware.cores():
        return report, answers
    report.add(loads(bundle, examples, answers, needs, effort=effort, claimed=claimed, events=events))
    bodies = _requests(examples, answers)
    if bodies and any(key.measure in ("memory", "cold_start") for key in _of_server(bundle, needs)):
        report.add(process_values(bundle.path, bodies, needs=needs, effort=effort, events=events))
    return report, answers


def loads(
    bundle: Bundle,
    examples: Examples,
    answers: Sequence[dict[str, Any]],
    needs: Needs,
    *,
    effort: Effort,
    claimed: Mapping[Key, float] = MappingProxyType({}),
    events: Events = silent,
) -> list[Value]:
    """Latencies and throughput that the needs ask, at every concurrency that they name, of requests with these examples. answers: to these; claimed: as of `measure`."""
    bodies, values = _requests(examples, answers), []
    asked = [key for key in _of_server(bundle, needs) if key.setting]
    for setting in sorted({key.setting for key in asked}) if bodies else ():
        values += load_values(
            bundle.path,
            bodies,
            [key for key in asked if key.setting == setting],
            clients=int(dict(setting)["concurrency"]),
            needs=needs,
            effort=effort,
            claimed=claimed,
            events=events,
        )
    return values


def _requests(examples: Examples, answers: Sequence[dict[str, Any]]) -> list[bytes]:
    """Bodies of requests. A row that is refused is a wrong answer elsewhere; how fast it is refused is no latency."""
    bodies: list[bytes] = []
    held = 0
    for row, answered in zip(examples.inputs[:2000], answers, strict=False):
        if "error" not in answered and held < MOST_HELD_BYTES:
            bodies.append(json.dumps(portable(row), ensure_ascii=False).encode())
            held += len(bodies[-1])
    return bodies


def _of_server(bundle: Bundle, needs: Needs) -> list[Key]:
    """What is measured of a running server."""
    keys = [need.key for need in needs.needs if need.kind == "system"]
    preferred = _preferred(bundle.meta["heads"], needs)
    if preferred is not None and preferred.measure in SYSTEM:
        keys.append(preferred)
    return list(dict.fromkeys([*keys, Key("latency_p95", setting=(("concurrency", 1.0),))]))


def answer(predictor: Predictor, examples: Examples, *, events: Events = silent) -> list[dict[str, Any]]:
    """The answers of all examples, in order, with progress."""
    answers: list[dict[str, Any]] = []
    for begin in range(0, len(examples), 512):
        answers += predictor.predict(list(examples.inputs[begin : begin + 512]))
        events(event("progress", stage="answers", done=len(answers), total=len(examples), unit="rows"))
    return answers


def load_values(
    path: Path,
    bodies: Sequence[bytes],
    keys: Sequence[Key],
    *,
    clients: int,
    needs: Needs,
    effort: Effort,
    claimed: Mapping[Key, float] = MappingProxyType({}),
    events: Events = silent,
) -> list[Value]:
    """Latency quantiles and throughput at one concurrency.

    A quantile is that of a typical fresh server, the median of theirs, so what else the machine did for a moment does not move it. Its bounds
    hold for all requests together and, of a full effort, for one more server as well. claimed: where a quantile lies above what was said of it,
    as many servers more are measured after a pause, up to MOST_PASSES times, and it is told from all of them: a busy minute is no broken claim.
    """
    servers: list[list[np.ndarray]] = []  # of each, the latencies of its windows
    rates: list[list[float]] = []  # of each server, those of its windows
    share = -(-effort.windows // effort.servers)
    levels = _levels(needs)
    quantiles = [QUANTILES[key.measure] for key in keys if key.measure in QUANTILES]

    def enough() -> bool:
        """Whether every quantile has a bound; where latencies hang together for long, that takes more windows."""
        return all(_of_servers(servers, q=q, level=levels[0]) is not None for q in quantiles)

    def found_again() -> bool:
        """Whether every quantile lies where it was claimed to."""
        return all(
            float(np.median(_quantiles(servers, QUANTILES[key.measure]))) <= claimed.get(key, np.inf)
            for key in keys
            if key.measure in QUANTILES
        )

    def one_more(of: int) -> None:
        number = len(servers)
        windows: list[np.ndarray] = []
        rates.append([])
        with served(path, threads=needs.threads) as address:
            drive(address, bodies, clients=clients, requests=max(20, 5 * clients), offset=0)  # warm-up
            for window in range(share):
                offset = (number * share + window) * effort.requests
                took, seconds = drive(address, bodies, clients=clients, requests=effort.requests, offset=offset)
                windows.append(took)
                rates[-1].append(len(took) / seconds)
                done, total = number * share + window + 1, share * max(of, number + 1)
                events(event("progress", stage="latency", done=done, total=total, unit="windows"))
        servers.append(windows)

    for number in range(1, MOST_PASSES + 1):
        while len(servers) < number * effort.servers or (len(servers) < MOST_TIMES * effort.servers and not enough()):
            one_more(of=number * effort.servers)
        if number == MOST_PASSES or found_again():
            break
        time.sleep(PAUSE_S)
    values = []
    for key in keys:
        if key.measure in QUANTILES:
            q = QUANTILES[key.measure]
            measured, unit = float(np.median(_quantiles(servers, q))), "ms"
            rungs = [(level, _of_servers(servers, q=q, level=level)) for level in levels]
            method, n = (
                f"{share * len(servers)} windows over {len(servers)} processes",
                sum(map(len, itertools.chain(*servers))),
            )
        elif key.measure == "throughput":
            means = np.array([np.mean(each) for each in rates])
            measured, unit = float(np.median(means)), "rows/s"
            few = len(means) < MIN_SERVERS
            rungs = [
                (level, bounds.mean(means, level=level) if few else _of_one_more(means, level)) for level in levels
            ]
            method, n = "t over servers" if few else "one more server", len(means)
        else:
            continue
        details = {"one_more": len(servers) >= MIN_SERVERS}  # whether the bounds hold for one more server
        values.append(_with_rungs(key, measured, rungs, n=n, unit=unit, method=method, details=details))
    return values


def _quantiles(servers: Sequence[Sequence[np.ndarray]], q: float) -> np.ndarray:
    """The q-quantile of each server's latencies, in ms [servers]."""
    return np.array([np.quantile(np.concatenate(windows), q) for windows in servers])


def _of_servers(servers: Sequence[Sequence[np.ndarray]], *, q: float, level: float) -> bounds.Bounds | None:
    """Bounds of the q-quantile of latencies, of the requests to all servers and of the requests to one more.

    Servers of one bundle on a quiet machine lay apart by 8 to 9 %, and of a claim about these alone a server started later broke up to a third.
    None where the windows give no bound.
    """
    pooled = bounds.quantile(list(itertools.chain(*servers)), q=q, level=level)
    number = len(servers)
    if pooled is None or number < MIN_SERVERS:
        return pooled
    more = _of_one_more(_quantiles(servers, q), level)
    return bounds.Bounds(min(pooled.low, more.low), max(pooled.high, more.high))


def _of_one_more(found: np.ndarray, level: float) -> bounds.Bounds:
    """What one more server shows, from what these did [servers]: the t prediction of a single observation on logarithms.

    Hahn and Meeker, Statistical Intervals (1991), chapter 4.
    """
    logs, number = np.log(found), len(found)
    reach = float(special.stdtrit(number - 1, level) * logs.std(ddof=1) * np.sqrt(1 + 1 / number))
    return bounds.Bounds(float(np.exp(logs.mean() - reach)), float(np.exp(logs.mean() + reach)))


def process_values(
    path: Path, bodies: Sequence[bytes], *, needs: Needs, effort: Effort, events: Events = silent
) -> list[Value]:
    """Cold start (spawn to first answer, s) and memory (peak resident, MB), over fresh processes under load."""
    starts, peaks = [], []
    for number in range(effort.processes):
        began = time.monotonic()
        with served(path, threads=needs.threads) as address:
            drive(address, bodies, clients=1, requests=1, offset=number)
            starts.append(time.monotonic() - began)
            drive(address, bodies, clients=1, requests=50, offset=number * 50)
            peaks.append(_peak_bytes(address.pid) / 1e6)
        events(event("progress", stage="fresh processes", done=number + 1, total=effort.processes, unit="processes"))
    values = []
    for name, unit, samples in (("cold_start", "s", starts), ("memory", "MB", peaks)):
        rungs = [(level, bounds.mean(np.array(samples), level=level)) for level in _levels(needs)]
        values.append(
            _with_rungs(Key(name), float(np.mean(samples)), rungs, n=len(samples), unit=unit, method="t over processes")
        )
    return values


def _peak_bytes(pid: int) -> int:
    """The most memory that a process held; what it holds now where the system does not tell the most."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


@dataclass(frozen=True)
class Address:
    """A server that runs."""

    host: str
    port: int
    pid: int


@contextmanager
def served(path: Path, *, threads: int, keys: str = "") -> Iterator[Address]:
    """The real server process on a free port of the loopback interface. keys: as in SARTOR_API_KEY; never the caller's own.

    Raises: SartorError `serve.failed` with what it said.
    """
    command = [sys.executable, "-m", "sartor.serve", str(path), "--port", "0", "--threads", str(threads), "--owned"]
    environment = os.environ | {"SARTOR_API_KEY": keys}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    watchdog = threading.Timer(START_TIMEOUT_S, child.kill)
    watchdog.start()
    try:
        assert child.stdout is not None
        assert child.stderr is not None
        line = child.stdout.readline()
        watchdog.cancel()
        if not line.startswith("serving http://"):
            child.kill()
            raise SartorError("serve.failed", path=path, said=(line + child.stderr.read())[-500:].strip() or "nothing")
        host, port = line.split("//")[1].split()[0].rsplit(":", 1)
        yield Address(host, int(port), child.pid)
    finally:
        watchdog.cancel()
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def drive(
    address: Address, bodies: Sequence[bytes], *, clients: int, requests: int, offset: int
) -> tuple[np.ndarray, float]:
    """A closed loop of clients: latencies in ms [requests], of one client after the other, and the seconds of the window.

    Raises: SartorError `serve.failed` when an answer is not 200 or is itself an error: that is no latency.
    """
    share = -(-requests // clients)
    took: list[list[float]] = [[] for _ in range(clients)]
    failures: list[str] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
        try:
            for i in range(share):
                body = bodies[(offset + number * share + i) % len(bodies)]
                began = time.perf_counter()
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = response.read()
                took[number].append((time.perf_counter() - began) * 1e3)
                if response.status != 200:
                    failures.append(f"{response.status} {answer[:200]!r}")
                    return
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    began = time.perf_counter()
    if clients == 1:
        client(0)
    else:
        crowd = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
    if failures:
        raise SartorError("serve.failed", path=f"{address.host}:{address.port}", said=failures[0])
    return np.array([one for each in took for one in each]), time.perf_counter() - began


def quality(
    predictor: Predictor,
    examples: Examples,
    answers: Sequence[dict[str, Any]],
    needs: Needs,
    *,
    leaked: np.ndarray | None = None,
    doubted: np.ndarray | None = None,
    slices: Slices = MappingProxyType({}),
    confidence: float | None = None,
) -> list[Value]:
    """The values of every quality need, of what is preferred, and of the primary metric of each target's task.

    An example that cannot be answered counts as a wrong answer, never as none. The baseline's answers follow from the spec alone.
    """
    targets = [head["target"] for head in predictor.heads]
    told: list[Value] = []
    for head in predictor.heads:
        told += _of_head(
            head,
            head["target"] if len(targets) > 1 else None,
            examples,
            of_target(answers, head["target"], targets),
            needs,
            leaked=leaked,
            doubted=doubted,
            slices=slices,
            confidence=confidence,
            preferred=_preferred(predictor.heads, needs),
        )
    return told


def _preferred(heads: Sequence[Mapping[str, Any]], needs: Needs) -> Key | None:
    """The measure that the winner is chosen by among those that meet every need, where one is."""
    tasks = {head["target"]: head["task"] for head in heads}
    several = tasks if len(tasks) > 1 else {}
    task = several[leading(needs, several)] if several else next(iter(tasks.values()))
    return preference(needs, task, several)[0]


def _of_head(
    head: dict[str, Any],
    target: str | None,
    examples: Examples,
    answers: Sequence[dict[str, Any]],
    needs: Needs,
    *,
    leaked: np.ndarray | None,
    doubted: np.ndarray | None,
    slices: Slices,
    confidence: float | None,
    preferred: Key | None,
) -> list[Value]:
    """`quality` of one head. target: its name in the keys, where there are several. answers: to this target. preferred: see `needs.preference`."""
    task = leaves.load("task", head["task"])
    keys = [need.key for need in needs.needs if need.kind == "quality" and need.key.target == target]
    primary = Key(task.PRIMARY, target)
    # Beside what is over a baseline the plain measure: it says how much there is to gain.
    keys += [replace(key, against=None) for key in keys if key.against]
    if preferred is not None and preferred.target == target and preferred.measure in task.METRICS:
        keys.append(preferred)
    keys = list(dict.fromkeys([*keys, primary]))
    levels = _levels(needs, confidence)

    constant = task.decode(np.asarray(task.trivial(head["spec"]))[None], head["spec"])[0]

    def one(key: Key, places: np.ndarray) -> Value:
        among = len(places)
        if key.where is not None:
            column, wanted = key.where
            places = places[np.array([slices[column][i] == wanted for i in places], dtype=bool)]
        coverage = dict(key.setting).get("coverage")
        if coverage is not None:
            answered = np.array(["abstained" not in answers[i] for i in places], dtype=bool)
            groups = examples.groups[places] if examples.grouped else None
            covered = _coverage(answered, coverage, levels=levels, groups=groups)
            places = places[answered]
        kept = examples[places]
        value = value_of(
            key,
            [answers[i] for i in places],
            kept.targets[head["target"]],
            head,
            levels=levels,
            groups=kept.groups if examples.grouped else None,
            among=among,
            reference=[constant] * len(places) if key.against else None,
        )
        return value if coverage is None else replace(value, details=value.details | {"coverage": covered})

    def over(places: np.ndarray) -> list[Value]:
        return [one(key, places) for key in keys]

    def beside(slice: tuple[str, str], places: np.ndarray, note: str) -> list[Value]:
        """The same measures on other rows, told beside those that are judged."""
        plain = [key for key in keys if key.where is None and key.against is None]
        return [replace(one(key, places), key=replace(key, where=slice), note=note) for key in plain]

    everything = np.arange(len(examples))
    seen = np.zeros(len(examples), dtype=bool) if leaked is None else leaked
    fresh = np.flatnonzero(~seen)
    told = over(fresh)
    if seen.any():
        note = f"{int(seen.sum()):,} of {len(examples):,} test rows also stand in the training rows"
        why = f"Judged without them: {note}." if len(fresh) else f"All {note}: nothing is left to judge on."
        told = [replace(value, note=" ".join(filter(None, (why, value.note)))) for value in told]
        told += beside(LEAKED, everything, f"{note}; they are counted here.")
    sound = fresh if doubted is None else fresh[~doubted[fresh]]
    if 0 < len(sound) < len(fresh):
        note = (
            f"{len(fresh) - len(sound):,} of {len(fresh):,} test rows are left out here, because the audit doubts their label or they are nearly "
            "the same as a training row. Models doubt what they answer otherwise, so this leans upwards."
        )
        told += beside(DOUBTED, sound, note)
    return told


def value_of(
    key: Key,
    answers: Sequence[dict[str, Any]],
    targets: Sequence[Any],
    head: dict[str, Any],
    *,
    levels: Sequence[float],
    groups: np.ndarray | None = None,
    among: int | None = None,
    reference: Sequence[dict[str, Any]] | None = None,
) -> Value:
    """One measure of quality with its bounds: exact for a proportion, by bootstrap for any other.

    among: the examples that this slice was taken from. reference: other answers to the same examples; then the value is how much
    higher the measure is than theirs, in points where it is a share.
    """
    metric = leaves.load("task", head["task"]).METRICS[key.measure]
    if not targets:
        return Value(key, None, None, None, 0, metric.unit, levels[0], note="There are no examples to judge on.")
    stats = metric.stats(answers, targets, head["spec"], key.for_class)
    if reference is not None:
        sides = [
            (
                metric.stats(side, targets, head["spec"], key.for_class),
                _with_failures(metric, side, targets, head["spec"], key.for_class),
            )
            for side in (answers, reference)
        ]
        return _difference(key, metric, *sides, levels=levels, groups=groups, among=among)
    sums = stats.sum(axis=0)
    measured = float(metric.finish(sums)) if len(stats) else float("nan")
    number = len(stats)
    details: dict[str, Any] = {"of": among or len(stats)}
    at_level: Callable[[float], bounds.Bounds | None]
    if metric.proportion:
        number = int(sums[1])
        if groups is None:
            method = "Clopper–Pearson"
            details |= {"successes": int(sums[0]), "trials": number}

            def at_level(level: float) -> bounds.Bounds | None:
                return bounds.proportion(sums[0], sums[1], level=level) if number else None

        else:
            method = "Korn–Graubard"

            def at_level(level: float) -> bounds.Bounds | None:
                return bounds.grouped_proportion(stats[:, 0], stats[:, 1], groups, level=level)

    else:
        method = "bootstrap over groups" if groups is not None else "bootstrap"

        def at_level(level: float) -> bounds.Bounds | None:
            return bounds.resampled(stats, metric.finish, level=level, groups=groups, noise=metric.noise, worse=worse)

        worse = _with_failures(metric, answers, targets, head["spec"], key.for_class)

    rungs = [(level, at_level(level)) for level in levels]
    return _with_rungs(
        key, measured, rungs, n=number, unit=metric.unit, method=method, details=details, few="independent examples"
    )


def _coverage(
    answered: np.ndarray, asked: float, *, levels: Sequence[float], groups: np.ndarray | None
) -> dict[str, Any]:
    """The share of the examples that were answered [n bool], with its bounds at every level; they are 0 and 1 where none can be given."""
    ladder = []
    for level in levels:
        if groups is None:
            found = bounds.proportion(int(answered.sum()), len(answered), level=level)
        else:
            hits = answered.astype(np.float64)
            found = bounds.grouped_proportion(hits, np.ones(len(hits)), groups, level=level) or bounds.Bounds(0.0, 1.0)
        ladder.append([level, found.low, found.high])
    return {
        "asked": asked,
        "measured": float(answered.mean()) if len(answered) else 0.0,
        "answered": int(answered.sum()),
        "of": len(answered),
        "independent": groups is None,
        "low": ladder[0][1],
        "high": ladder[0][2],
        "ladder": ladder,
    }


def _with_failures(
    metric: Any, answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Any, for_class: Any
) -> np.ndarray | None:
    """The statistics with one example more of each class there is, which is not answered; None where a measure averages over none."""
    if not metric.averages:
        return None
    several = not isinstance(targets[0], str)
    names = sorted({name for target in targets for name in (target if several else (target,))})
    more = [(name,) if several else name for name in names]
    return np.asarray(metric.stats([*answers, *({} for _ in more)], [*targets, *more], spec, for_class))


def _difference(
    key: Key,
    metric: Any,
    mine: tuple[np.ndarray, np.ndarray | None],
    other: tuple[np.ndarray, np.ndarray | None],
    *,
    levels: Sequence[float],
    groups: np.ndarray | None,
    among: int | None,
) -> Value:
    """How much higher a measure is than a reference's on the same examples; the pairs are resampled together.

    mine, other: statistics of each example [n, s], and those of `_with_failures`. Of a measure that chance can only raise, or that averages over
    classes, no bootstrap of a difference is around the truth: each side gets its own bounds, at half the risk.
    """
    (ours, _), (theirs, _) = mine, other
    apiece = metric.noise is not None or metric.averages
    scale, unit = (100.0, "points") if metric.unit == "" and metric.share else (1.0, metric.unit)
    width = ours.shape[1]
    both = np.concatenate([ours, theirs], axis=1)

    def finish(sums: np.ndarray) -> np.ndarray:
        return np.asarray(scale * (metric.finish(sums[..., :width]) - metric.finish(sums[..., width:])))

    trials = int(ours[:, 1].sum()) if metric.proportion else 0
    exact = metric.proportion and groups is None and bool((ours[:, 1] == theirs[:, 1]).all())
    apart = ours[:, 0] - theirs[:, 0]

    def at_level(level: float) -> bounds.Bounds | None:
        if apiece:
            first, second = (
                bounds.resampled(
                    side, metric.finish, level=(1 + level) / 2, groups=groups, noise=metric.noise, worse=worse
                )
                for side, worse in (mine, other)
            )
            if first is None or second is None:
                return None
            return bounds.Bounds(scale * (first.low - second.high), scale * (first.high - second.low))
        if not exact:
            return bounds.bootstrap(both, finish, level=level, groups=groups)
        found = bounds.paired_difference(int((apart > 0).sum()), int((apart < 0).sum()), trials, level=level)
        return bounds.Bounds(scale * found.low, scale * found.high) if trials else None

    return _with_rungs(
        key,
        float(finish(both.sum(axis=0))),
        [(level, at_level(level)) for level in levels],
        n=trials if exact else len(ours),
        unit=unit,
        method="Tango, paired"
        if exact
        else ("bootstrap" if apiece else "paired bootstrap") + (" over groups" if groups is not None else ""),
        details={"of": among or len(ours)},
        few="independent examples",
    )


def training_time(seconds: float) -> Value:
    """What one waited for a model, a fact."""
    return Value(Key("training_time"), seconds, seconds, seconds, 1, "s", method="wall-clock")


def size(bundle: Bundle) -> Value:
    """Megabytes (10⁶ bytes) of the files that are deployed: a fact."""
    megabytes = bundle.deployed_bytes() / 1e6
    return Value(Key("size"), megabytes, megabytes, megabytes, 1, "MB", method="counted")


def _levels(needs: Needs, confidence: float | None = None) -> list[float]:
    """The confidence asked for, or another, and Holm's stricter ones for as many claims as needs make."""
    level = confidence or needs.confidence
    return [level, *(1 - (1 - level) / j for j in range(2, claims(needs.needs) + 1))]


def _with_rungs(
    key: Key,
    measured: float,
    rungs: Sequence[tuple[float, bounds.Bounds | None]],
    *,
    n: int,
    unit: str,
    method: str,
    details: dict[str, Any] | None = None,
    few: str = "measurements",
) -> Value:
    confidence, at = rungs[0]
    ladder = [[level, rung.low, rung.high] for level, rung in rungs if rung is not None]
    return Value(
        key=key,
        measured=None if np.isnan(measured) else measured,
        low=at.low if at else None,
        high=at.high if at else None,
        n=n,
        unit=unit,
        confidence=confidence,
        method=method,
        note="" if at else f"No bound can be given: there are too few {few}, or nothing varies among them.",
        details=(details or {}) | {"ladder": ladder},
    )
