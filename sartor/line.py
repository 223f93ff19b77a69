"""The line: from what the user needs to a model that is proven to meet it, or an honest account of why not.

Start reading here. Every decision and every measurement goes through `run.once`, which writes it down before it is acted on, so
a build that is started again by the same command takes up where it stopped and never decides twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sartor import abstain, calibrate, curve, hardware, leaves, ledger, package, relax
from sartor import bundle as bundles
from sartor import measure as measuring
from sartor import needs as need_files
from sartor.bundle import Bundle
from sartor.data import audit as audits
from sartor.data import read, schema, split, store
from sartor.data.dataset import Dataset, Examples, Finding, Splits, check_column, texts_of
from sartor.data.target import examples as examples_of
from sartor.errors import MESSAGES, InputError, SartorError, near
from sartor.events import Events, event, silent
from sartor.follow import follow, versions
from sartor.front import PACKING, Candidate, Decision, Front, Profile
from sartor.ledger import Look
from sartor.needs import SYSTEM, Needs, verdicts
from sartor.plan import Plan, keys, source_digest
from sartor.predict import Predictor, of_target
from sartor.report import Key, Report, Value, Verdict
from sartor.run import Run

CONVOLVING = 0.62  # of the time of convolutions alone, at 40 % of the matrix speed, what a net of them takes with all around them (docs/log.md, 2026-11-26)
SHARE_FOR_SPEED = (
    0.2  # of the time that is left, that measuring for longer may take where only the speed of a candidate is in doubt
)
SERVER_S = 2.5  # of starting one and warming it up
BF16_GAIN = 2.4  # of an encoder in bfloat16 over float32, where the processor has it (docs/log.md, 2026-11-25)


def build(
    needs: Needs, out: Path | str, *, plan: Plan | None = None, cache: Path | None = None, events: Events = silent
) -> Bundle:
    """The bundle in `out` that meets the needs best, judged once on test rows that took no part in any choice.

    plan: follow exactly this one. cache: where candidates are kept; OUT/.build when left out.
    Raises: InputError for what the user can mend, before any compute; SartorError `build.no-candidate`.
    """
    out = Path(out)
    with Run(out, identity=_identity(needs, plan), budget_s=needs.budget_s, cache=cache, events=events) as run:
        ground = prepare(needs, run)
        front = look_ahead(ground, needs, run, only=plan)
        for candidate in plans(front, run, only=plan):
            if candidate.status == "waiting":
                try_out(candidate, front, ground, needs, run)
            front.add(candidate)
            run.events(event("candidate", **_told(candidate)))
        best = front.best()
        if best is None:
            raise SartorError("build.no-candidate", why="; ".join(f"{c.plan.name}: {c.why}" for c in front.found))
        restore(best, ground, needs, run)
        staged = package.stage(
            best, needs, ground.dataset, ground.splits, name=out.resolve().name, target=run.work / "staged"
        )
        look = look_at(staged, ground, needs, run)
        report = judge(staged, best, ground, needs, run, look)  # the test rows are touched once, here
        judged = verdicts(needs, report)
        run.events(event("verdict", needs=[verdict.as_dict() for verdict in judged]))
        growth = grow(best, front, ground, needs, run, judged)
        relaxations = relax.map_of(front, best, judged, growth)
        judged = relax.advised(advised(judged, growth), relaxations)
        with run.stage("package"):
            record = package.report_record(
                name=out.resolve().name,
                created=run.once("created", package.now),
                needs=needs,
                verdicts=judged,
                front=front,
                chosen=best,
                report=report,
                look=look,
                baseline=run.once("baseline", lambda: _baseline(front, ground, needs, run)),
                findings=ground.findings,
                dataset=ground.dataset,
                splits=ground.splits,
                growth=growth,
                relaxations=relaxations,
                time=run.once("time", lambda: _time(run, front)),
                command=package.command_of(needs, out),
            )
            run.set_foreign_aside()
            bundle = package.finish(staged, record, target=run.work / "finished", out=out)
        run.events(event("done", exit=record["exit"], seconds=round(run.journal.spent_s, 2)))
        return bundle


def foresee(needs: Needs) -> dict[str, Any]:
    """What a build would try, in which order, with reasons and forecasts; the data is read and audited, nothing is trained or kept."""
    with TemporaryDirectory() as folder, Run(Path(folder) / "plan", identity={}, budget_s=needs.budget_s) as run:
        ground = prepare(needs, run)
        front = look_ahead(ground, needs, run)
        told = [candidate.as_dict() for candidate in front.foresee(left_s=run.left_s - front.judging_s())]
    return {
        "rule": ground.splits.rule,
        "findings": [finding.as_dict() for finding in ground.findings],
        "shown": [str(key) for key in front.shown],
        "candidates": told,
    }


@dataclass(frozen=True)
class Ground:
    """What every candidate stands on: the rows, what the audit said of them, and their splits."""

    dataset: Dataset
    targets: dict[str, str]  # column -> task
    findings: list[Finding]
    splits: Splits
    folder: Path  # where a child process finds the rows

    @property
    def target(self) -> str:
        """The first, or the only one."""
        return next(iter(self.targets))

    @property
    def task(self) -> str:
        """Of the first target."""
        return self.targets[self.target]

    @property
    def several(self) -> bool:
        """Whether there are several targets: keys and what is settled then say which they are of."""
        return len(self.targets) > 1

    def named(self, target: str) -> str | None:
        """The target as keys of measures have it."""
        return target if self.several else None

    def by_target(self, each: Mapping[str, Any]) -> Any:
        """What each target has, as it is kept: of one target as it is, of several by their names; None where none has any."""
        if not self.several:
            return each[self.target]
        return dict(each) if any(each.values()) else None

    @property
    def clean_test_rows(self) -> int:
        return len(self.splits.test) - len(self.splits.leaked)

    def examples(self, part: str) -> Examples:
        """The examples of a split."""
        return examples_of(self.dataset, getattr(self.splits, part), self.targets, group=self.splits.group)

    def judging(self) -> Examples:
        """The test examples that can prove something: those that training did not see, or all where it saw every one."""
        test = self.examples("test")
        unseen = np.flatnonzero(~np.isin(test.rows, self.splits.leaked))
        return test[unseen] if len(unseen) else test


def prepare(needs: Needs, run: Run) -> Ground:
    """Reads, audits and splits. Everything that can be wrong with the input is said here, before any compute.

    Raises: InputError `data.*`, `schema.*`, `split.*`, `need.no-class`, `need.no-slice`.
    """
    with run.stage("read"):
        dataset = read.read(
            needs.data, input=needs.input, target=needs.target, task=needs.task, cache=run.cache / "read"
        )
        found, _ = schema.infer(dataset.table, input=needs.input, target=needs.target, task=needs.task)
        run.for_data(dataset.fingerprint)
        for note in (*dataset.notes, *found.reasons):
            run.events(event("log", level="info", code="", message=note))
    targets = dict(found.tasks)
    if needs.group is not None:
        check_column(dataset, needs.group)
    _check_names(needs, dataset, targets)
    with run.stage("audit"):
        findings = audits.audit(dataset, target=targets, seed=needs.seed, group=needs.group)
        for finding in findings:
            run.events(event("finding", severity=finding.severity, code=finding.code, message=finding.message))
    with run.stage("split"):
        splits = split.for_needs(dataset, needs, target=targets, findings=findings)
        run.events(event("log", level="info", code="", message=splits.rule))
        columns = [asdict(column) for column in dataset.schema.columns]
        made_of = json.dumps([dataset.fingerprint, needs.seed, splits.rule, splits.group, columns])
        folder = run.cache / "data" / hashlib.sha256(made_of.encode()).hexdigest()[:24]
        if not (folder / "dataset.json").is_file():
            store.save(dataset, splits, folder)
    return Ground(dataset, targets, findings, splits, folder)


def _with_fewer(ground: Ground, count: int, target: str, needs: Needs) -> Ground:
    """The same with `count` of the training rows; smaller sets lie in larger ones, and each class of the target keeps its share."""
    train = ground.splits.train
    labels = np.array([str(label) for label in ground.examples("train").targets[target]], dtype=object)
    rng = np.random.default_rng(needs.seed)
    order = rng.permutation(len(train))
    # The place of each row in its class, as a share of the class: by it every beginning holds the classes alike. Drawn within its share, so
    # that a small class is in a small beginning as often as its size says.
    place = np.empty(len(train))
    for label in np.unique(labels.astype(str)):
        mine = order[labels[order] == label]
        place[mine] = (np.arange(len(mine)) + rng.random(len(mine))) / len(mine)
    splits = replace(ground.splits, train=np.sort(train[np.argsort(place, kind="stable")[:count]]))
    folder = ground.folder.with_name(f"{ground.folder.name}-{count}")
    if not (folder / "dataset.json").is_file():
        store.save(ground.dataset, splits, folder)
    return replace(ground, splits=splits, folder=folder)


def profile(ground: Ground, run: Run, *, threads: int) -> Profile:
    """What the planner goes by: rows, classes, lengths, languages, and the speed of this machine. threads: that serve."""
    train = ground.examples("train")
    seen: dict[str, float] = {}
    sizes: dict[str, float] = {}
    inputs = ground.dataset.schema.inputs
    for column in inputs:
        told = leaves.load("modality", column.kind).profile(train.inputs.column(column.name))  # type: ignore[attr-defined]
        for name, value in told.items():
            if isinstance(value, int | float):
                sizes[name] = sizes.get(name, 0.0) + float(value)
        for language, share in told.get("languages", {}).items():
            seen[language] = seen.get(language, 0.0) + float(share) / max(1, sum(c.kind == column.kind for c in inputs))
    more: dict[str, float] = {}
    specs = [leaves.load("task", task).learn(train.targets[target]) for target, task in ground.targets.items()]
    kinds = frozenset(column.kind for column in inputs)
    gflops = float(run.once("gflops", hardware.matrix_gflops)) * (BF16_GAIN if hardware.has_bf16() else 1.0)
    if hardware.accelerator() or threads < hardware.cores():
        more["serving_gflops"] = float(run.once("serving gflops", partial(_serving_gflops, threads)))
    bodies = (leaves.load("backbone", name) for name in leaves.names("backbone"))
    if any(getattr(body, "CONVOLUTIONAL", False) and kinds & set(body.TAKES) for body in bodies):
        more["convolution"] = CONVOLVING * gflops / float(run.once("convolution gflops", hardware.convolution_gflops))
    return Profile(
        rows=len(train),
        classes=sum(len(spec.get("classes", [])) or 1 for spec in specs),
        characters=sizes.get("characters_median", 0.0),
        columns=len(inputs),
        sizes=sizes,
        languages=seen,
        gflops=gflops,
        kinds=kinds,
        inputs=tuple((column.name, column.kind) for column in inputs),
        unlabelled=len(ground.splits.unlabelled),
        **more,
    )


def _serving_gflops(threads: int) -> float:
    """The speed of an encoder's products where it is served: on the processor, with so many threads, whatever trains."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads, user_api="blas"):
        return hardware.matrix_gflops(serving=True) * (BF16_GAIN if hardware.has_bf16() else 1.0)


def look_ahead(ground: Ground, needs: Needs, run: Run, *, only: Plan | None = None) -> Front:
    """The empty front of a search, which knows how strictly its winner will be judged: how often these test rows were looked at.

    Raises: InputError `plan.one-target`, `backbone.*` where what is to be followed, or all that could be, cannot learn every target.
    """
    before = run.once("looks before", lambda: ledger.looks(ledger.fingerprint(ground.judging())))
    front = Front(
        needs,
        profile(ground, run, threads=needs.threads),
        task=ground.task,
        test_rows=ground.clean_test_rows,
        look=int(before) + 1,
        targets=ground.targets,
    )
    if only is None:
        front.check_bodies()
    else:
        only.check_targets(list(ground.targets))
    return front


def look_at(staged: Bundle, ground: Ground, needs: Needs, run: Run) -> Look:
    """Writes into the ledger that this model is about to be judged on the test rows; says which look it is."""

    def work() -> dict[str, Any]:
        facts = {"name": run.out.resolve().name, "data": ground.dataset.source, "when": package.now()}
        return ledger.look(ledger.fingerprint(ground.judging()), model, **facts).as_dict()

    model = staged.model
    look = Look(**run.once(f"look {model}", work))
    if look.trouble:
        said = MESSAGES["ledger.unwritten"].format(why=look.trouble)
        run.events(event("log", level="warning", code="ledger.unwritten", message=said))
    elif look.number > 1:
        said = f"Look {look.number} at these test rows: quality is judged at {look.level(needs.confidence):.2%}."
        run.events(event("log", level="info", code="", message=said))
    return look


def plans(front: Front, run: Run, *, only: Plan | None = None) -> Iterator[Candidate]:
    """The candidates to try, one after the other, each decided upon with what the ones before it showed.

    They end when every need is likely met, when nothing that is left is likely to meet them, or when the budget is used; then those that are passed
    over come as well, with the reason.
    """
    if only is not None:
        front.waiting = [Candidate("given", only, "given")]

    def decide() -> dict[str, Any]:
        front.beside_s = run.journal.spent_s - sum(one.seconds for one in front.found)
        return front.next(left_s=run.left_s - front.judging_s()).as_dict()

    for number in itertools.count(1):
        decision = Decision(**run.once(f"decide {number}", decide))
        candidate = front.take(decision) if decision.candidate is not None else None
        run.events(
            event(
                "decision",
                number=number,
                id=decision.candidate,
                name=candidate.plan.name if candidate else "",
                why=decision.why,
                forecast_s=round(decision.forecast_s, 1),
                **(decision.outlook or {"chance": None, "values": {}}),
                shown=[str(key) for key in front.shown],
                limits=front.limits,
                waiting=list(decision.waiting) if candidate else [],
            )
        )
        if candidate is None:
            yield from front.pass_over(decision)
            return
        run.events(
            event(
                "plan",
                id=candidate.id,
                name=candidate.plan.name,
                reason=candidate.plan.reason,
                forecast_s=round(decision.forecast_s, 1),
            )
        )
        yield candidate


def try_out(candidate: Candidate, front: Front, ground: Ground, needs: Needs, run: Run) -> None:
    """Follows a candidate's plan and measures it on the validation rows, through the predictor and server that would serve it."""

    candidate.targets = tuple(ground.targets) if ground.several else ()

    def work() -> dict[str, Any]:
        began = run.journal.spent_s
        steps: dict[str, float] = {}
        left = run.left_s - front.judging_s()
        try:
            timeout_s = None if np.isinf(left) else max(10.0, left)
            listening = _timing(steps, run.events)
            bundle = _follow(candidate.plan, ground, needs, run, events=listening, timeout_s=timeout_s)
            before = run.journal.spent_s
            valid = ground.examples("valid")
            settled = _settle(bundle, ground, needs, front.level)
            candidate.calibrated = ground.by_target({target: found for target, (found, _) in settled.items()})
            candidate.abstains = ground.by_target({target: found for target, (_, found) in settled.items()})
            report, answers = measuring.measure(
                bundle,
                valid,
                needs,
                effort=measuring.QUICK,
                heads=candidate.settled,
                slices=texts_of(ground.dataset, valid.rows, needs.sliced_by),
                events=run.events,
            )
        except InputError:
            raise
        except SartorError as error:
            run.events(event("log", level="error", code=error.code, message=str(error)))
            at = error.fields["step"] if error.code == "plan.step-failed" else "measure"
            return {"status": "failed", "why": str(error), "at": at, "seconds": run.journal.spent_s - began}
        steps["measure"] = run.journal.spent_s - before
        if front.hangs_on_speed(report):
            report.add(_for_longer(bundle, valid, answers, report, needs, run, left_s=run.left_s - front.judging_s()))
        # Until here, as for the winner: what one waits for is the whole build.
        report.add([measuring.training_time(run.journal.spent_s)])
        prefixes = [run.cache / name for name in keys(candidate.plan, made_of=_made_of(ground, needs))]
        notes = _notes(prefixes)
        return {
            "status": "measured",
            "seconds": run.journal.spent_s - began,
            "steps": steps,
            "bundle": str(bundle.path.relative_to(run.cache)),
            "report": report.as_dict(),
            "curve": notes.pop("curve", []),
            "notes": notes,
            "calibrated": candidate.calibrated,
            "abstains": candidate.abstains,
            "flips": _flips(prefixes, valid, answers, ground, needs, run, candidate=candidate),
        }

    with run.stage(candidate.plan.name, candidate=candidate.id):
        found = run.once(f"measured {candidate.id}", work)
    candidate.status, candidate.why, candidate.seconds = found["status"], found.get("why", ""), found["seconds"]
    candidate.failed_at = found.get("at", "")
    if candidate.status == "measured":
        candidate.steps, candidate.bundle = found["steps"], str(run.cache / found["bundle"])
        candidate.report = Report.from_dict(found["report"])
        candidate.curve, candidate.notes, candidate.flips = found["curve"], found["notes"], found["flips"]
        candidate.calibrated, candidate.abstains = found["calibrated"], found["abstains"]


def _timing(steps: dict[str, float], events: Events) -> Events:
    """Passes events on and keeps the seconds of each step that ran as a whole: what was resumed tells those of its rest alone."""
    resumed = False

    def listen(item: dict[str, Any]) -> None:
        nonlocal resumed
        if item.get("event") == "step":
            resumed = item["status"] == "resumed" or (resumed and item["status"] != "start")
            if item["status"] == "done" and not resumed:
                steps[item["step"]] = item["seconds"]
        events(item)

    return listen


Settled = tuple[dict[str, Any] | None, dict[str, Any] | None]  # as `Candidate` keeps it: (calibrated, abstains)


def _settle(bundle: Bundle, ground: Ground, needs: Needs, level: float) -> dict[str, Settled]:
    """Of each target how sure a candidate is when it says so, or how far off its numbers are, and when it should rather not answer, where a need
    lets it.

    Both are from calibration rows, or from validation rows where those are few.
    """
    part = "calib" if len(ground.splits.calib) >= calibrate.LEAST_ROWS else "valid"
    rows = ground.examples(part)
    answers = measuring.answer(Predictor(bundle, threads=needs.threads), rows)
    return {
        head["target"]: _settle_head(bundle, head, rows, part, answers, ground, needs, level)
        for head in bundle.meta["heads"]
    }


def _settle_head(
    bundle: Bundle,
    head: dict[str, Any],
    rows: Examples,
    part: str,
    answers: Sequence[dict[str, Any]],
    ground: Ground,
    needs: Needs,
    level: float,
) -> Settled:
    """`_settle` of one head, by the answers to these rows of a part."""
    target, names = head["target"], list(ground.targets)
    targets, told = rows.targets[target], of_target(answers, target, names)
    task = leaves.load("task", head["task"])
    if hasattr(task, "settle"):
        learned = task.settle(told, targets)
        return (learned | {"part": part} if learned else None), None
    calibration = calibrate.fit(told, targets, part=part)
    calibrated = calibration.as_dict() if calibration is not None else None
    limits = abstain.asked(needs, ground.named(target))
    if not limits:
        return calibrated, None
    if calibration is not None:
        scale = {"scale": calibration.scale}
        settled = Predictor(bundle, threads=needs.threads, heads={target: scale} if ground.several else scale)
        told = of_target(measuring.answer(settled, rows), target, names)
    stats = task.METRICS[task.PRIMARY].stats(told, targets, head["spec"], None)
    chosen = abstain.choose(
        np.array([answer.get("probability", 0.0) for answer in told]),
        stats[:, 0] > 0,
        limits,
        confidence=needs.confidence,
        level=level,
        test_rows=ground.clean_test_rows,
    )
    # Rows of one group are not independent, and validation rows chose the model: nothing can be promised by counting either. Nor of a slice by counting all rows.
    sliced = any(need.key.where and "coverage" in dict(need.key.setting) for need in needs.needs)
    promised = chosen.controlled and not rows.grouped and part == "calib" and not sliced
    return calibrated, replace(chosen, controlled=promised).as_dict()


def restore(candidate: Candidate, ground: Ground, needs: Needs, run: Run) -> None:
    """Makes a measured candidate's bundle again where the cache lost or broke it since: its plan computes the same bits."""
    path = Path(candidate.bundle)
    if not bundles.whole(path):
        run.events(
            event(
                "log", level="warning", code="", message=f"{candidate.plan.name} is not whole in the cache: made again."
            )
        )
        _follow(candidate.plan, ground, needs, run, events=run.events)


def _follow(
    plan: Plan, ground: Ground, needs: Needs, run: Run, *, events: Events, timeout_s: float | None = None
) -> Bundle:
    return follow(
        plan,
        data=ground.folder,
        cache=run.cache,
        made_of=_made_of(ground, needs),
        threads=hardware.cores(),
        events=events,
        timeout_s=timeout_s,
    )


def judge(staged: Bundle, chosen: Candidate, ground: Ground, needs: Needs, run: Run, look: Look) -> Report:
    """Measures the packaged winner on the test rows: quality through the packaged runtime, the rest through the real server."""

    def work() -> dict[str, Any]:
        test = ground.examples("test")
        leaked = np.isin(test.rows, ground.splits.leaked)
        report, answers = measuring.measure(
            staged,
            test,
            needs,
            effort=_effort(chosen.report, needs, run.left_s),
            leaked=leaked,
            doubted=np.isin(test.rows, audits.doubted(ground.findings)),
            slices=texts_of(ground.dataset, test.rows, needs.sliced_by),
            confidence=look.level(needs.confidence),
            training_s=run.journal.spent_s,
            events=run.events,
        )
        kept = np.flatnonzero(~leaked) if not leaked.all() else np.arange(len(test))
        for head in staged.meta["heads"]:
            told = of_target([answers[i] for i in kept], head["target"], list(ground.targets))
            figures = leaves.load("task", head["task"]).figures(test[kept], told, head["target"], head["spec"])
            _illustrate(figures.get("mistakes", []), ground.dataset)
            report.figures[head["target"]] = figures
        report.environment |= {"versions": versions(), "runtime": staged.meta["runtime"], "digest": staged.digest}
        report.environment["flips"] = _packed_alike(staged, chosen, test, answers, ground, needs, run)
        return report.as_dict()

    with run.stage("judge"):
        # Keyed by what is judged: rows that have judged a bundle once are not asked about the same one again.
        return Report.from_dict(run.once(f"judged {staged.digest}", work))


def _illustrate(mistakes: list[dict[str, Any]], dataset: Dataset) -> None:
    """Puts a picture beside what a mistake was made on, where its modality can draw one."""
    for column in dataset.schema.inputs:
        leaf = leaves.load("modality", column.kind)
        for mistake in mistakes if hasattr(leaf, "picture") else []:
            value = dataset.table.column(column.name)[mistake["row"]].as_py()
            mistake.setdefault("pictures", {})[column.name] = leaf.picture(value)


def grow(
    chosen: Candidate, front: Front, ground: Ground, needs: Needs, run: Run, judged: Sequence[Verdict]
) -> dict[str, Any] | None:
    """The learning curve of the winner's plan, where a need on its quality is not met and the budget has time for it.

    {points: [{rows, score}], forecast: [{rows, low, mid, high}], needs: {need: {limit, low, mid, high}}, trials}: scores of that many
    validation rows, and for each need the training rows that it takes beside those that are there. Of several targets it is that of the first
    with such a need, which `target` names.
    """
    train = ground.splits.train
    short = [
        (need.key.target or ground.target, verdict)
        for verdict, need in zip(judged, needs.needs, strict=True)
        if verdict.verdict != "met" and _is_primary_share(need.key, ground)
    ]
    aim = short[0][0] if short else ground.target
    limits = {verdict.need: verdict.limit for target, verdict in short if target == aim}
    sizes = [round(share * len(train)) for share in (*curve.SHARES, 1.0)]
    if not limits or sizes[0] < curve.LEAST_ROWS or chosen.trivial:
        return None
    plan = chosen.plan.without(PACKING)
    forecast_s = sum(curve.SHARES) * _took(plan, _made_of(ground, needs), run.cache) + len(sizes) * curve.OVERHEAD_S
    if not run.once("grow", lambda: forecast_s <= run.left_s):
        said = f"The learning curve would take about {forecast_s:.0f} s, more than is left of the budget."
        run.events(event("log", level="info", code="", message=said))
        return None

    def score(count: int) -> float | None:
        left = run.left_s
        try:
            return score_with(
                count,
                plan,
                ground,
                needs,
                run,
                target=aim,
                timeout_s=None if np.isinf(left) else max(curve.OVERHEAD_S, left),
            )
        except InputError:
            raise
        except SartorError as error:  # the model stands without a curve
            run.events(event("log", level="warning", code=error.code, message=str(error)))
            return None

    with run.stage("learning curve"):
        run.events(
            event("log", level="info", code="", message=f"How much more rows would help: {plan.name} on fewer of them.")
        )
        points = [(count, run.once(f"score with {count} rows", partial(score, count))) for count in sizes]
    if any(value is None for _, value in points):
        return None
    trials = len(ground.splits.valid)
    found = curve.fit(*zip(*points, strict=True), trials=trials)
    return {
        "points": [{"rows": rows, "score": value} for rows, value in points],
        "forecast": [
            {"rows": rows} | found.score(rows).as_dict()
            for rows in np.unique(np.geomspace(sizes[0], 8 * len(train), 30).round().astype(int)).tolist()
        ],
        "needs": {
            need: {"limit": limit}
            | {name: rows and max(0.0, rows - len(train)) for name, rows in found.rows(limit).as_dict().items()}
            for need, limit in limits.items()
        },
        "trials": trials,
    } | ({"target": aim} if ground.several else {})


def _is_primary_share(key: Key, ground: Ground) -> bool:
    """Whether a key is of the primary metric of its target's task, and that metric a share of the rows."""
    task = leaves.load("task", ground.targets[key.target or ground.target])
    return key == Key(task.PRIMARY, key.target) and bool(task.METRICS[task.PRIMARY].proportion)


def _took(plan: Plan, made_of: dict[str, Any], cache: Path) -> float:
    """Seconds that the steps of a plan, and of the plans that these take, took when they ran, in this build or, for what the cache held, in another."""
    return sum(_steps_took(plan, made_of, cache).values())


def _steps_took(plan: Plan, made_of: dict[str, Any], cache: Path) -> dict[str, float]:
    """{key: seconds}; what two plans share is there once."""
    told: dict[str, float] = {}
    for move, key in zip(plan.moves, keys(plan, made_of=made_of), strict=True):
        for names, member in move.members():
            inputs = [column for column in made_of["inputs"] if column["name"] in names]
            told |= _steps_took(member, made_of | {"inputs": inputs}, cache)
        note = cache / key / "step.json"
        told[key] = float(json.loads(note.read_text(encoding="utf-8"))["seconds"]) if note.is_file() else 0.0
    return told


def score_with(
    count: int,
    plan: Plan,
    ground: Ground,
    needs: Needs,
    run: Run,
    *,
    target: str | None = None,
    timeout_s: float | None = None,
) -> float:
    """The primary metric on the validation rows of what a plan makes of `count` of the training rows. target: whose it is; the first when left out."""
    target = target or ground.target
    smaller = _with_fewer(ground, count, target, needs) if count < len(ground.splits.train) else ground
    bundle = _follow(plan, smaller, needs, run, events=run.events, timeout_s=timeout_s)
    valid = ground.examples("valid")
    answers = measuring.answer(Predictor(bundle, threads=needs.threads), valid, events=run.events)
    task = leaves.load("task", ground.targets[target])
    metric = task.METRICS[task.PRIMARY]
    told = of_target(answers, target, list(ground.targets))
    spec = next(head["spec"] for head in bundle.meta["heads"] if head["target"] == target)
    stats = metric.stats(told, valid.targets[target], spec, None)
    return float(metric.finish(stats.sum(0)))


def advised(judged: list[Verdict], growth: dict[str, Any] | None) -> list[Verdict]:
    """The verdicts, with how many more training rows a need is likely to take, unless its score is there and lacks only proof."""
    told = growth["needs"] if growth else {}
    return [
        verdict.with_advice(f"{verdict.advice} {curve.said(told[verdict.need])}".strip())
        if verdict.need in told and not (verdict.measured is not None and verdict.measured >= verdict.limit)
        else verdict
        for verdict in judged
    ]


def _identity(needs: Needs, plan: Plan | None) -> dict[str, Any]:
    return {
        "needs": need_files.as_dict(needs),
        "plan": plan.as_dict() if plan else None,
        "source": source_digest(),
        "versions": versions(),
        **_machine(),  # on another one what was measured says nothing, and nothing of the cache is found again
    }


def _machine() -> dict[str, Any]:
    """What of this machine decides what steps compute."""
    return {
        "threads": hardware.cores(),
        "device": hardware.accelerator() or "cpu",
        "isa": [flag for flag in sorted(hardware.flags()) if flag.startswith(("avx", "amx", "asimd", "i8mm", "bf16"))],
    }


def _made_of(ground: Ground, needs: Needs) -> dict[str, Any]:
    """Everything outside a plan that decides what its steps compute."""
    return {
        "fingerprint": ground.dataset.fingerprint,
        "splits": ground.folder.name,
        "seed": needs.seed,
        "inputs": [{"name": column.name, "kind": column.kind} for column in ground.dataset.schema.inputs],
        "targets": ground.targets,
        "foreign": [
            *(leaves.third_party_digest("task", task) for task in ground.targets.values()),
            *(leaves.third_party_digest("modality", column.kind) for column in ground.dataset.schema.inputs),
        ],
        "versions": versions(),
        **_machine(),
    }


def _flips(
    prefixes: Sequence[Path],
    examples: Examples,
    answers: Sequence[dict[str, Any]],
    ground: Ground,
    needs: Needs,
    run: Run,
    *,
    candidate: Candidate,
) -> dict[str, Any] | None:
    """How many answers a bundle of fewer bits changes against the float graph that it was made from, with the thresholds that it has itself.

    Of several targets the answers to each count.
    """
    if bundles.load(prefixes[-1], check=False).meta["runtime"].get("precision") not in ("int8", "int4"):
        return None
    if not bundles.whole(prefixes[-2]):
        return None  # the cache lost the parent; nothing hangs on this figure
    heads = replace(candidate, abstains=None).settled
    parent = Predictor(bundles.load(prefixes[-2], check=False), threads=needs.threads, heads=heads)
    before = measuring.answer(parent, examples, events=run.events)
    number, flips = _unlike(answers, before, ground)
    return {"of": "its float parent", "n": number, "flips": flips}


def _unlike(answers: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], ground: Ground) -> tuple[int, int]:
    """(how many answers there are on both sides, how many of them say something else), over all targets."""
    number = unlike = 0
    for target, task in ground.targets.items():
        same = leaves.load("task", task).same
        sides = (of_target(side, target, list(ground.targets)) for side in (answers, others))
        both = [pair for pair in zip(*sides, strict=True) if "abstained" not in pair[0]]
        number += len(both)
        unlike += sum(not same(one, other) for one, other in both)
    return number, unlike


def _packed_alike(
    staged: Bundle,
    chosen: Candidate,
    test: Examples,
    answers: Sequence[dict[str, Any]],
    ground: Ground,
    needs: Needs,
    run: Run,
) -> dict[str, Any] | None:
    """Of a winner of fewer bits: its flips on all test rows, and how many answers change when rows are answered one at a time."""
    prefixes = [run.cache / name for name in keys(chosen.plan, made_of=_made_of(ground, needs))]
    flips = _flips(prefixes, test, answers, ground, needs, run, candidate=chosen)
    if flips is None:
        return None
    predictor = Predictor(staged, threads=needs.threads)
    invariant = bool(predictor.batch_invariant)  # else every row was answered alone
    alone = [predictor.predict([row])[0] for row in test.inputs] if invariant else answers
    number, unlike = _unlike(answers, alone, ground)
    return flips | {"alone": {"n": number, "differ": unlike, "invariant": invariant}}


def _notes(prefixes: list[Path]) -> dict[str, Any]:
    """What the steps of a plan noted."""
    told: dict[str, Any] = {}
    for folder in prefixes:
        if (folder / "step.json").is_file():
            told |= json.loads((folder / "step.json").read_text(encoding="utf-8"))["notes"]
    return told


def _baseline(front: Front, ground: Ground, needs: Needs, run: Run) -> dict[str, Any] | None:
    """What the trivial baseline has on the test rows, for comparison, by the first plain measure of quality that is asked; it takes part in no choice.

    {name, measure, measured}; of several targets {name, targets: {target: {measure, measured}}}.
    """
    trivial = next((c for c in front.found if c.trivial and c.status == "measured"), None)
    if trivial is None:
        return None
    restore(trivial, ground, needs, run)
    test = ground.judging()
    predictor = Predictor(bundles.load(trivial.bundle, check=False), threads=needs.threads)
    answers = measuring.answer(predictor, test)

    def told(head: Mapping[str, Any]) -> dict[str, Any]:
        task, target = leaves.load("task", head["task"]), head["target"]
        plain = {Key(name, ground.named(target)) for name, one in task.METRICS.items() if not one.per_class}
        asked = next((need.key.measure for need in needs.needs if need.key in plain), task.PRIMARY)
        metric = task.METRICS[asked]
        mine = of_target(answers, target, list(ground.targets))
        stats = metric.stats(mine, test.targets[target], head["spec"], None)
        value = float(metric.finish(stats.sum(0)))
        return {"measure": asked, "measured": value if np.isfinite(value) else None}

    each = {head["target"]: told(head) for head in predictor.heads}
    return {"name": trivial.plan.name} | ({"targets": each} if ground.several else each[ground.target])


def _for_longer(
    bundle: Bundle,
    valid: Examples,
    answers: Sequence[dict[str, Any]],
    report: Report,
    needs: Needs,
    run: Run,
    *,
    left_s: float,
) -> list[Value]:
    """Latencies with the effort of a verdict, where a small share of the time that is left holds it; none where it does not. report: what was measured in short."""
    effort = _effort(report, needs, SHARE_FOR_SPEED * left_s)
    requests = effort.windows * effort.requests * _loads(needs)
    expected_s = effort.servers * SERVER_S * _loads(needs) + requests * (_p95_ms(report) or 0.0) / 1e3
    if expected_s > SHARE_FOR_SPEED * left_s:
        return []
    said = f"Only its speed is in doubt: it is measured with {effort.servers} servers, about {expected_s:.0f} s."
    run.events(event("log", level="info", code="", message=said))
    return measuring.loads(bundle, valid, answers, needs, effort=effort, events=run.events)


def _p95_ms(report: Report) -> float | None:
    """Of the first setting that it was measured at."""
    return next((value.measured for value in report.values if value.key.measure == "latency_p95"), None)


def _loads(needs: Needs) -> int:
    """How many settings a server is measured at."""
    asked = {need.key.setting for need in needs.needs if need.key.measure in SYSTEM and need.key.setting}
    return len(asked | {(("concurrency", 1.0),)})


def _effort(report: Report, needs: Needs, left_s: float) -> measuring.Effort:
    """The full effort, with fewer requests to a window where the time that is left would not hold it; windows and processes stay. report: of the validation rows."""
    full, fast = measuring.FULL, _p95_ms(report)
    if np.isinf(left_s) or not fast:
        return full
    affordable = 0.5 * max(0.0, left_s) * 1e3 / (fast * full.windows * _loads(needs))
    return measuring.Effort(full.servers, full.windows, int(np.clip(affordable, 40, full.requests)), full.processes)


def _check_names(needs: Needs, dataset: Dataset, targets: dict[str, str]) -> None:
    """Raises: InputError `need.measure`, `need.no-class`, `schema.unknown-column`, `need.no-slice` for what needs name and the data has not."""
    [first, *_] = targets
    tasks = {target: leaves.load("task", task) for target, task in targets.items()}
    for need in needs.needs:
        metrics = tasks[need.key.target or first].METRICS
        if need.kind == "quality" and need.key.measure not in metrics:
            name = need.key.measure
            raise InputError(
                "need.measure", need=need.text, name=name, near=near(name, metrics), known=", ".join(metrics)
            )
    if not any(need.key.for_class is not None or need.key.where is not None for need in needs.needs):
        return
    labelled = split.usable_rows(dataset, target=targets)
    told = examples_of(dataset, labelled, targets).targets
    held_by = {target: leaf.learn(told[target]).get("classes", []) for target, leaf in tasks.items()}
    for need in needs.needs:
        target = need.key.target or first
        classes = held_by[target]
        if need.key.for_class is not None and need.key.for_class not in classes:
            name = str(need.key.for_class)
            raise InputError(
                "need.no-class",
                name=name,
                target=target,
                need=need.text,
                near=near(name, classes),
                known=", ".join(map(repr, classes[:40])),
            )
        if need.key.where is not None:
            column, value = need.key.where
            held = sorted({text for text in texts_of(dataset, labelled, [column])[column] if text})
            if value not in held:
                raise InputError(
                    "need.no-slice",
                    value=value,
                    column=column,
                    need=need.text,
                    near=near(value, held),
                    known=", ".join(map(repr, held[:40])) + (", …" if len(held) > 40 else ""),
                )


def _time(run: Run, front: Front) -> dict[str, Any]:
    """Where the time went; a candidate's seconds are what it took when it was made, even if that was before a restart."""
    took = {candidate.plan.name: candidate.seconds for candidate in front.found if candidate.seconds}
    before = {name: run.stages[name] for name in ("read", "audit", "split") if name in run.stages}
    after = {name: seconds for name, seconds in run.stages.items() if name not in before and name not in took}
    return {
        "total_s": round(run.journal.spent_s, 2),
        "budget_s": run.budget_s,
        "restarts": run.journal.restarts,
        "stages": [{"name": n, "seconds": round(seconds, 2)} for n, seconds in (before | took | after).items()],
    }


def _told(candidate: Candidate) -> dict[str, Any]:
    values = {str(value.key): value.measured for value in candidate.report.values}
    return {
        "id": candidate.id,
        "name": candidate.plan.name,
        "status": candidate.status,
        "why": candidate.why,
        "chance": candidate.chance if candidate.status == "measured" else None,
        "values": values,
        "seconds": round(candidate.seconds, 2),
    }
