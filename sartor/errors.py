"""Every message that reaches a user: one catalogue of stable codes, and the exceptions that carry them.

A translation is another catalogue with the same codes. A message says what is wrong, what was found, and what to do.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable
from typing import Any

EXIT_MET, EXIT_FAULT, EXIT_INPUT, EXIT_MISSED, EXIT_UNPROVEN = 0, 1, 2, 3, 4
MOST_SHOWN = 1_000  # characters of one field of a message

MESSAGES: dict[str, str] = {
    # leaves
    "leaf.unknown": "There is no {kind} called {name!r}.{near} There is: {known}.",
    "leaf.missing-package": "{feature} needs the package {package!r}, which is not installed. Run: {command}",
    # bundles
    "bundle.not-found": "{path} is not a bundle: there is no {missing} in it. Give the folder that a build made, or make one: sartor build DATA --out FOLDER",
    "bundle.changed": "The bundle {path} is not what was built: {problems}. Build it again or restore the files.",
    "bundle.schema": "The bundle {path} has schema {found}; this version of Sartor reads schema {known}. Install a newer Sartor.",
    "bundle.path": "The manifest of {path} names {name!r}, which lies outside the bundle. It is refused: get the bundle again from whom you trust.",
    "bundle.broken": "The bundle {path} cannot be used: {why}. Build it again or restore the files.",
    # reading data
    "data.not-found": "There is no file, folder or hub data set {path!r}.{near} Readable: {readable}.",
    "data.empty": "{path} is empty. Check that this is the right file.",
    "data.no-rows": "{path} has no rows that can be read. Check that this is the right file.",
    "data.format": "{path} is {suffix}, which is not a table that can be read. {advice} Readable: {readable}.",
    "data.binary": "{path} is not text: it holds {found}.",
    "data.broken": "{path} cannot be read: {reason}. Check that the file is complete, or fetch it again.",
    "data.system": "{path} cannot be opened: {reason}. Check the path and its permissions.",
    "data.special": "{path} is {kind}, not a file or a folder. Copy what it gives into a file.",
    "data.link": "{path} is a link to {target}, which is not there. Mend the link, or give the file itself.",
    "data.name": "The name of the folder {path} is not UTF-8, so it cannot be that of a class. Rename it.",
    "data.encoding": "The encoding of {path} cannot be told: {reason}. Save it as UTF-8.",
    "data.duplicate-column": "{path} has several columns called {names}. Give every column a name of its own.",
    "data.header-width": "The first line of {path} looks like a header of {names} names, but the rows have {cells} cells. Give every column a name.",
    "data.unreadable": "{bad:,} of the {total:,} rows of {path} cannot be read; the first, in line {line}, {reason}. {advice}",
    "data.json": '{path} is not JSON Lines: {reason}. Write one object per line, such as {{"text": …, "label": …}}.',
    "data.columns": "{path} does not fit the other parts: it has {found}; {other} has {known}. Give every part the same columns.",
    "data.column-missing": "{path} has no column {column!r}, which the other parts have and which is needed. The columns are: {known}. Add it, or leave that part out.",
    "data.columns-many": "{path} has {count:,} columns; the most is {most:,}. If rows are stored as columns, turn the table around.",
    "data.part-name": "There is no part of the data called {name!r}.{near} The parts are: {known}.",
    "data.part-ambiguous": "{path} holds several files that could be {part}: {found}. Name the parts: {{train: FILE, test: FILE}}.",
    "data.part-inside": "{path} was given as {part}, but it holds {found}. Give the file of that part.",
    "data.folder": "The folder {path} holds {found}, not one table, tables named for their part (train.csv, test.csv), or texts, pictures or recordings in a folder per class. Name the file.",
    "data.archive": "The archive {path} is refused: {reason}. Pack the tables anew, or give the folder or the table itself.",
    "data.media-missing": "{missing:,} of the {total:,} files that {columns} of {path} names cannot be had; the first, {example!r}, {reason}. Looked in {places}. Put the files there, or leave the column out.",
    "data.hub-missing": "The hub data set {path!r} cannot be had: {reason}. Offline, download it elsewhere and give its folder, or copy it into {cache}.",
    "data.hub-config": "The data set {path} has several configurations: {known}. Choose one, as in {example}.",
    # what the columns are
    "schema.unknown-column": "There is no column {column!r}.{near} The columns are: {known}.",
    "schema.input-is-target": "Column {column!r} cannot be input and target at once. Leave it out of the inputs, or name another target.",
    "schema.no-target": "No column can be told to be the target. Name it with --target; the columns are: {known}.",
    "schema.ambiguous-target": "Several columns could be the target: {candidates}. Name one, as in --target {example}.",
    "schema.task-unsuited": "Column {column!r} cannot be the target: it has {values} in {present:,} rows, such as {example}. A target has {wants}. Name another column with --target, or mend this one.",
    "schema.ambiguous-task": "Column {column!r} could be the target of several tasks: {candidates}. Name one, as in --task {example}.",
    "schema.no-input": "Nothing to learn from beside the target {target}: there is {found}. Inputs can be: {known}. If one of them is meant to be read as such, name it with --input.",
    "schema.input-kind": "Column {column!r} cannot be an input: it holds {kind}. Inputs can be: {known}. Name another column with --input.",
    # splits
    "split.no-train": "The data has {found} but no part to train on. Give train, or one file from which the parts are made.",
    "split.too-few": "Only {count:,} rows with an input and a target are left for {part}; at least {least:,} are needed. Label more rows.",
    "split.one-class": "All {count:,} training rows have {name!r} in column {target!r}, and a model needs two classes to tell apart. Give training rows of another class, or name another column with --target.",
    # labelling
    "label.too-few": "{count:,} different rows in {classes:,} classes have a label; at least {least:,} in two classes are needed before a model can say what it does not know. Label some at random first.",
    "label.task": "Rows to label are chosen for classes; the target {target!r} is of the task {task}. Name another with --target.",
    "label.no-part": "There are no rows to choose from. Give those without a label with --unlabelled, or as the part 'unlabelled' of a needs.yaml.",
    "label.no-rows": "There is nothing to choose from: every row of 'unlabelled' is empty or stands among the labelled ones. Give other rows with --unlabelled.",
    "label.targets": "Rows to label are chosen for one target, and there are several: {targets}. Name one with --target.",
    # backbones, training, export
    "backbone.not-found": "The backbone {ref!r} cannot be used: {why}. Give a local folder in the hub's format, a hub id that is in the local cache, or one of ours, such as minilm or convnet.",
    "backbone.no-safetensors": "The backbone {ref!r} has no model.safetensors. Pickled weights are never loaded; convert them to safetensors first.",
    "backbone.broken": "The backbone {ref!r} cannot be used: {file} {why}. Fetch it again, or give another.",
    "backbone.own-code": "The backbone {ref!r} brings code of its own ({key} in {file}), which is never run; without it the weights may mean something else. Choose a checkpoint of a supported family: {known}.",
    "weights.broken": "{path} is refused as safetensors: {why}. Fetch the file again, or write it anew with the package safetensors.",
    "backbone.family": "The backbone {ref!r} is of the family {family!r}, which is not supported. Supported: {known}.",
    "backbone.inputs": "The backbone {ref!r} takes none of these inputs ({kinds}). Leave --backbone out, or name one that does.",
    "backbone.one-target": "The backbone {ref!r} learns one target, and there are several: {targets}. Leave --backbone out, or name one that is trained by gradients.",
    "backbone.several-targets": "No backbone that is at hand learns several targets at once ({targets}) from such inputs ({kinds}). Name one that does with --backbone, "
    "or build a model for each target.",
    "backbone.weights-changed": "The weights of the backbone {ref!r} have sha256 {found}, but {expected} was expected. Fetch them again.",
    "train.diverged": "The loss diverges: {loss} in epoch {epoch}, batch {batch}, far above where it began. Lower the learning rate, or look for broken rows.",
    "train.out-of-memory": "One row of a batch of {rows} does not fit the memory ({said}). Give shorter or smaller inputs, or name a smaller backbone.",
    "train.no-room": "Training would not fit the disk: its checkpoints and weights take {needed} MB, and {free} MB are free at {path}. Free some, or put the "
    "cache elsewhere with --cache.",
    "train.not-finite": "The loss is {loss} in epoch {epoch}, batch {batch}; no step was taken with it. Lower the learning rate, or look for broken rows.",
    "export.failed": "The model could not be exported to {format}: {said}.",
    "plan.forms": "The plan cannot work: the step {step!r} takes {takes}, but what stands before it gives {gives!r}. Put a step before it that gives that, or leave it out.",
    "plan.one-target": "The plan cannot work: {what} makes models of one target, and there are several: {targets}. Write another, or build a model for each.",
    "plan.step-failed": "The step {step!r} of {plan!r} did not finish: {why}.",
    # needs
    "need.syntax": "The need cannot be read: {expected} is expected here.\n  {need}\n  {mark}",
    "need.measure": "There is no measure {name!r} in the need {need!r}.{near} There is: {known}.",
    "need.target": "There is no target {name!r}, which the need {need!r} speaks of.{near} {known}",
    "need.which-target": "The need {need!r} does not say which of the targets it is of. Write it as {example}.",
    "need.whole": "{measure} is of the whole model, not of the target {target!r}. Write: {need}",
    "need.unsupported": "The need {need!r} asks for {what}, which this version cannot measure yet. Leave it out, or measure it by hand.",
    "need.direction": "The need {need!r} can only be wished the other way round: of {measure}, {better} is better. Write {op}.",
    "need.range": "The limit in {need!r} is out of range. Did you mean {meant}?",
    "need.class": "{measure} is of one class. Name it, as in: {measure} for urgent >= 0.9 (found: {need!r}).",
    "need.no-class": "There is no class {name!r} in column {target!r}, which the need {need!r} speaks of.{near} The classes are: {known}.",
    "need.no-slice": "No row has {value!r} in column {column!r}, which the need {need!r} speaks of.{near} The column holds: {known}.",
    "need.prefer": "{name!r} cannot be preferred.{near} There is: {known}.",
    "need.setting": "{measure} takes no such qualifier in {need!r}. Leave the `for …` or `at …` out.",
    "needs.unknown-key": "There is no key {key!r} in needs.{near} There is: {known}.",
    "needs.no-data": "No data is named. Give a file, a folder, or a hub data set id as data.",
    "needs.duration": "{found!r} is no length of time. Write it as 20m, 90s or 1h30m.",
    "needs.value": "{key} takes {expected}; found {found!r}.",
    "needs.tasks": "{task!r} is given as the task beside targets that may each have their own. Name the task of each, as in target: {{{example}: {task}}}.",
    "needs.target-name": "One of several targets cannot be called {name!r}: so is what is wrong with a row, in an answer. Rename the column.",
    "needs.twice": "{measure} is limited twice, by {first!r} and by {second!r}. Keep the one that is meant.",
    "needs.file": "{path} cannot be read as needs: {why}. Needs are keys such as `data: FILE` and `needs: [accuracy >= 0.9]`.",
    # serving and building
    "serve.open": "Listening on {host} would let other machines in, and no key is set. Set SARTOR_API_KEY, or pass --insecure if that is meant.",
    "serve.port": "Cannot listen on {host}:{port}: {why}. Choose another --host or --port; port 0 takes a free one.",
    "serve.failed": "The server of {path} did not answer as it should; it said: {said}.",
    "ledger.unwritten": "The ledger of looks at test rows cannot be written ({why}), so this counts as the first. Set SARTOR_STATE to a folder that can be.",
    "build.locked": "Another build is at work in {out} (process {pid}). Wait for it, or choose another --out.",
    "build.folder": "Nothing can be written to {out}: {why}. Choose another --out.",
    "build.no-candidate": "No candidate could be built: {why}.",
    "build.not-empty": "{out} holds other files and is no build of Sartor's. Choose another --out, so that nothing is lost.",
    "build.foreign": "{out} holds {names}, which no build put there and which the new bundle would replace. Move what you want to keep, or choose another --out.",
    "build.cache-inside": "The cache {cache} lies in {out}, whose files a new bundle replaces. Give a folder elsewhere, or leave --cache out.",
    "build.inside": "{out} lies inside the bundle {bundle}, which would be changed by it. Choose another folder.",
    "report.missing": "{path} has no report: nothing was measured of it yet. Measure it with: sartor verify {path}",
    "report.broken": "The report of {path} cannot be read: {why}. Measure it again with: sartor verify {path}",
    "report.page": "The page cannot be written to {path}: {why}. Choose another --html.",
    "verify.no-needs": "{path} holds no needs.yaml: it is what was deployed. Verify the bundle that it came from.",
    "verify.split-changed": "The rows are those that {path} was built from, but this version of Sartor draws other test rows from them than version {version} did: "
    "some may have been trained on. Name rows to judge by, or build again.",
    "verify.data-changed": "The rows of {source} are not those that {path} was judged on (fingerprint {found}, then {known}). Name the file to judge on: sartor verify {path} DATA",
    "verify.no-data": "The data that {path} was built from is not here ({source}). Name the file to judge on: sartor verify {path} DATA",
    "verify.no-class": "None of the classes in column {target!r} of {source} is known to {path}, such as {found}. Its classes are: {known}.",
    "plan.body": "The method {method} does not go with this body: {why}. Leave the step out of the plan, or begin with another backbone.",
    "plan.task": "The step {step!r} does not go with the task {task!r}: {why}. Leave it out of the plan.",
    "plan.file": "{path} cannot be read as a plan: {why}. Give the plan.json of a bundle, or one of its form.",
    "plan.unfinished": "The plan ends with {gives}, and nothing can be served from that. Let it end with the step export, or quantise after it.",
    "plan.argument": "The step {step!r} of the plan takes {expected} as {name!r}; found {found!r}.",
    "plan.argument-unknown": "The step {step!r} of the plan takes no {name!r}.{near} It takes: {known}.",
    "export.nothing": "Say what to export: --to RUNTIME ({known}), or --deploy.",
    "export.exists": "{path} exists already. Choose another folder, so that nothing is lost.",
    "export.folder": "Nothing can be written to {path}: {why}. Choose another folder.",
    "export.no-weights": "{path} holds no weights of its own to export from: it is what was deployed, or a cascade. Give the bundle that a build made, of one model.",
    # rows given to a model
    "row.not-object": "A row must be an object of columns, such as {example}; this one is {found}.",
    "row.nothing": "This row has nothing that the model can go by. Give at least {known}.",
    "row.missing-column": "The row has no column {column!r}.{near} The model takes: {known}.",
    "row.bad-value": "Column {column!r} takes {expected}; this row has {found}.",
    "row.failed": "{failed:,} of {total:,} rows could not be answered; the first is row {row}: {why}",
    "explain.target": "The answer to one target is explained. {said} Name one that the model answers with --target: {known}.",
    # the command itself
    "command.encoding": "The argument {argument!r} is not valid UTF-8. Rename the file, or give the folder that it lies in.",
    "command.fault": "{what}. This is a fault of Sartor, not of what you gave. With SARTOR_TRACEBACK=1 the same command shows where it happened.",
    "command.system": "The system refused: {why}. Free some space or mend the permissions; the same command goes on from here.",
}


class SartorError(Exception):
    """A message from the catalogue. `exit_code` is what the command line exits with."""

    exit_code = EXIT_FAULT

    def __init__(self, code: str, **fields: Any) -> None:
        self.code = code
        self.fields = fields
        super().__init__(_Message().format(MESSAGES[code], **fields))


class InputError(SartorError, ValueError):
    """Something that the user gave is wrong: the data, the needs, the command. Raised before any compute."""

    exit_code = EXIT_INPUT


class Problems(InputError):
    """Several input errors, told at once."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = list(errors)
        self.code = self.errors[0].code
        self.fields = {"errors": [error.code for error in self.errors]}
        Exception.__init__(self, "\n".join(str(error) for error in self.errors))


class RowError(SartorError, ValueError):
    """One row cannot be answered; its neighbours can."""

    exit_code = EXIT_INPUT


def near(name: str, known: Iterable[str]) -> str:
    """' Did you mean …?' when a known name is close to this one, else nothing."""
    close = difflib.get_close_matches(name, [str(item) for item in known], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def printable(text: str) -> str:
    """The text on one line: line ends, terminal escapes, marks that turn the direction of writing and the like are spelt out."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# Control characters, line and paragraph separators, directional marks, and surrogates, which no stream can write.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Message(string.Formatter):
    """Formats a message whose fields come from files and may hold anything: each stays on its line and is not too long."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        shown = printable(str(super().format_field(value, format_spec)))
        return shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"
