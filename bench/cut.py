"""The cut: smaller and faster models, beside the model that they come from as a user would serve it.

`python -m bench.cut --data DIR`. Every part has a module, a book of rows and a table of its own; `--part` makes some of them only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import cut_cascade, cut_media, cut_needs, cut_published, cut_text, cut_unlabelled, record

PARTS = {
    "text": cut_text,
    "unlabelled": cut_unlabelled,
    "cascade": cut_cascade,
    "media": cut_media,
    "needs": cut_needs,
}


def main() -> None:
    """Makes the rows that are missing, and writes the tables of all parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.cut", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, …")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; all of them when left out")
    parser.add_argument("--rows", type=int, help="only so many rows of each file; kept apart, never published")
    given = parser.parse_args()
    short = given.rows is not None
    for part in given.part or list(PARTS):
        PARTS[part].make(PARTS[part].book(short), given)
    body = tables(short)
    if not short:
        record.write_section(record.DOCS, "cut", body)
    print(f"\n{body}")


def tables(short: bool = False) -> str:
    """What is told of all parts, with what is published after the first."""
    text, *others = ((module.book(short), module) for module in PARTS.values())
    shown = [text, (text[0], cut_published), *others]
    return "\n\n".join(f"### {module.TITLE}\n\n{record.told(book, module.table)}" for book, module in shown)


if __name__ == "__main__":
    main()
