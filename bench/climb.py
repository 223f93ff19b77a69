"""The climb: tuning steps and the planner that chooses among them, beside what others do with the same rows, checkpoint, cores and time.

`python -m bench.climb --data DIR --setfit PYTHON --trainer PYTHON --autogluon PYTHON --ludwig PYTHON`, each PYTHON being the interpreter of an environment with that
peer. Every part has a module, a book of rows and a table of its own; `--part` makes some of them only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import (
    climb_automl,
    climb_few,
    climb_parts,
    climb_planner,
    climb_priors,
    climb_targets,
    climb_unlabelled,
    record,
)

PARTS = {
    "few": climb_few,
    "parts": climb_parts,
    "priors": climb_priors,
    "unlabelled": climb_unlabelled,
    "targets": climb_targets,
    "planner": climb_planner,
    "automl": climb_automl,
}
PEERS = {"few": ("setfit",), "priors": ("trainer",), "automl": ("autogluon", "ludwig")}


def main() -> None:
    """Makes the rows that are missing, and writes the tables of all parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.climb", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; all of them when left out")
    for peer in ("setfit", "trainer", "autogluon", "ludwig"):
        parser.add_argument(
            f"--{peer}", type=lambda path: str(Path(path).absolute()), help=f"the interpreter with {peer}"
        )
    parser.add_argument("--rows", type=int, help="only so many rows of each file; kept apart, never published")
    parser.add_argument("--draws", type=int, help="of few labels; another number is kept apart")
    given = parser.parse_args()
    wanted = given.part or list(PARTS)
    if lacking := [peer for part in wanted for peer in PEERS.get(part, ()) if getattr(given, peer) is None]:
        parser.error(f"these parts need the interpreters of their peers: {', '.join(f'--{peer}' for peer in lacking)}")
    short = given.rows is not None or given.draws is not None
    for part in wanted:
        PARTS[part].make(PARTS[part].book(short), given)
    body = tables(short)
    if not short:
        record.write_section(record.DOCS, "climb", body)
    print(f"\n{body}")


def tables(short: bool = False) -> str:
    """What is told of all parts."""
    return "\n\n".join(
        f"### {module.TITLE}\n\n{record.told(module.book(short), module.table)}" for module in PARTS.values()
    )


if __name__ == "__main__":
    main()
