"""Which cuts of a model the planner considers: what of its parent each keeps, the steps that make it, and why.

A cut begins with the very steps of its parent, so these are made once; the parent teaches what is left of it. Whether a cut pays is said by measuring it, as
of any candidate: here is only what may be worth it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sartor.plan import Move, Plan
from sartor.step.trim import COMMON

if TYPE_CHECKING:
    from sartor.front import Body, Profile

# Of an encoder the share of its blocks, rounded to whole ones, and of their inner units. sst2: four of six blocks with half of the units .8907, three whole ones, as fast and larger, .8781.
# Two whole ones with their table take 5 MB, two with half of the units 3.7: banking77 .9273 of .9347, ag_news .9062 of .9200.
SHAPES = ((2 / 3, 1 / 2), (1 / 3, 1 / 2), (1 / 6, 1.0))
# Numbers of a word's row that one code stands for: as few as the size that is asked has room for. MiniLM's table in 64 codes lost 1.1 points of sst2 before it was taught again, in 48 2.1.
OF_CODE, NEAR = (6, 8), 1.5  # NEAR: by how much a size may be misjudged
ROOM = 1.2  # of what a cut is expected to take, what it may take
CODES = 256  # of each part of a row, as `shaping` makes them
PIECED = 30_000  # rows, below which a student is taught on new texts out of pieces of them as well
PIECES = (4, 2)  # new texts for each row, as many as the budget has time for
WORDS_OUT = "Rare words that the data do not use go out of the table."
WIDTHS = (1 / 2, 1 / 4)  # of the channels inside a convolutional net
# Rows of a table that `trim` leaves: the common words, the characters that are not among them, and of w words of text some MORE · w^HEAPS pieces that two rows use (Heaps 1978).
# MiniLM's, measured (and this): sst2 14,394 (14,059), a quarter of it 12,016 (12,035); ag_news 15,481 (15,727); banking77, where all speak of the same, 11,205 (13,413).
CHARACTERS, MORE, HEAPS, LETTERS = 900.0, 0.5, 0.75, 6.0


@dataclass(frozen=True)
class Left:
    """What a cut has of its parent."""

    share: float = 1.0  # of its blocks or of its channels
    trimmed: bool = False  # whether words were taken out of its table
    codes: int = 0  # that each word of its table is put together of, where it is
    taught: bool = False  # whether what is left was trained again, by its parent's answers
    put_before: str = ""  # of a cascade: the body of the model that answers first


@dataclass(frozen=True)
class Anatomy:
    """Of how many numbers the parts of an encoder are."""

    blocks: int
    of_block: int
    words: int
    width: int

    @property
    def numbers(self) -> int:
        """Of the table and the blocks."""
        return self.words * self.width + self.blocks * self.of_block

    def kept(self, left: Left, words: float) -> tuple[float, float]:
        """(numbers of the table, of the blocks) that a cut has left. words: rows of the table that stay where it is trimmed."""
        words = min(self.words, words) if left.trimmed else self.words
        table = words * left.codes + CODES * self.width if left.codes else words * self.width
        return table, left.share * self.blocks * self.of_block

    def share(self, left: Left, words: float) -> float:
        """Of these numbers, those that a cut has left. words: as of `kept`."""
        return sum(self.kept(left, words)) / self.numbers


@dataclass(frozen=True)
class Cut:
    """A way to cut a model. kind: as of `front.Candidate`. moves: after those of the parent, or, of another body, all of them."""

    kind: str
    name: str
    moves: tuple[Move, ...]
    reason: str
    left: Left


def words_kept(profile: Profile) -> float:
    """Rows of a table after `trim`, estimated."""
    words = profile.rows * max(1.0, profile.characters / LETTERS)
    return COMMON + CHARACTERS + MORE * float(words**HEAPS)


def share_left(kept: Mapping[str, Any]) -> float:
    """Of what a body computes in its blocks, what is left after `prune` with these arguments: a third is attention, the rest the feed-forward nets, as in most encoders."""
    inside = (float(kept.get("heads", 1.0)) + 2 * float(kept.get("inner", 1.0))) / 3
    return float(kept.get("blocks", 1.0)) * inside * float(kept.get("channels", 1.0))


def of_encoder(
    anatomy: Anatomy, parent: Plan, inputs: Sequence[str], *, rows: int, at_most: float, words: float
) -> Iterator[Cut]:
    """Of an encoder of text. parent: its steps up to weights. inputs: columns. rows: to be taught on, labelled or not.

    at_most: of its numbers, the share that a cut is wanted to have; tables are put in codes where one that is not may have more. words: rows of the table that stay, as
    expected.
    """
    trim = Move("trim", {}, WORDS_OUT)
    yield Cut("cut", "trimmed", (trim,), "Rare words that the data do not use are taken out.", Left(trimmed=True))
    # A teacher whose words went too, so that its states can be followed: the student has to read the same tokens.
    told = {**taught_by(replace(parent, moves=(*parent.moves, trim)), inputs), "hidden": 1.0}
    if rows < PIECED:
        told["pieces"] = PIECES[0]
    seen = set()
    for share, units in SHAPES:
        blocks = max(1, round(share * anatomy.blocks))
        if blocks in seen or blocks >= anatomy.blocks:
            continue
        seen.add(blocks)
        kept = {"blocks": blocks / anatomy.blocks} | ({"inner": units} if units < 1 else {})
        which = f"{blocks} of {anatomy.blocks} blocks stay" + (
            f", with {units:.0%} of their inner units." if units < 1 else "."
        )
        prune = Move("prune", kept, which)
        name = f"cut to {blocks} {'thin ' if units < 1 else ''}block{'s' if blocks > 1 else ''}"
        why = f"{which[:-1]}, taught by the whole."
        left = Left(share_left(kept), trimmed=True, taught=True)
        yield Cut("cut", name, (trim, prune, Move("distil", told)), why, left)
        if NEAR * anatomy.share(left, words) > at_most:
            choices = [replace(left, codes=_parts(anatomy.width, most)) for most in OF_CODE]
            left = next((one for one in choices if ROOM * anatomy.share(one, words) <= at_most), choices[-1])
            small = (
                f"{WORDS_OUT[:-1]}, and {left.codes} codes stand for the {anatomy.width} numbers of each that stays."
            )
            coded = Move("trim", {"codes": left.codes}, small)
            yield Cut("cut", f"{name}, coded", (coded, prune, Move("distil", told)), f"{why} {small}", left)


def _parts(width: int, most: int) -> int:
    """The fewest equal parts of a row of this width that have at most so many numbers."""
    return next(parts for parts in range(-(-width // most), width + 1) if width % parts == 0)


def of_convolutions(parent: Plan, inputs: Sequence[str]) -> Iterator[Cut]:
    """Of a convolutional net."""
    told = taught_by(parent, inputs)
    for share in WIDTHS:
        prune = Move("prune", {"channels": share}, f"{share:.0%} of the channels inside stay.")
        why = f"{share:.0%} of its inner channels, taught by the whole."
        moves = (prune, Move("distil", told))
        yield Cut("cut", f"cut to {share:.0%}", moves, why, Left(share, taught=True))


def of_other(body: Body, begin: Move, parent: Plan, inputs: Sequence[str]) -> Cut:
    """A body that fits itself, by the answers of a model that is tuned: worth it where there are rows without a label, which it would not see otherwise."""
    why = f"{body.name} learns what the tuned model answers, on rows without a label as well."
    return Cut("taught", "taught", (begin, Move("distil", taught_by(parent, inputs))), why, Left(taught=True))


def cascade(cheap: Plan, larger: Plan, inputs: Sequence[str], *, body: str) -> Cut:
    """A cheap model before a larger one; both plans end in graphs."""
    members = [{"inputs": list(inputs), "plan": plan.as_dict()} for plan in (cheap, larger)]
    why = "The cheap model answers what it is sure of, the larger one the rest."
    return Cut("cascade", f"{body} first", (Move("cascade", {"members": members}, why),), why, Left(put_before=body))


def taught_by(parent: Plan, inputs: Sequence[str]) -> Mapping[str, Any]:
    """What `distil` is given: the parent as the only teacher, without its reasons, so that the same plan has the same key."""
    bare = Plan("teacher", tuple(Move(move.step, move.arguments) for move in parent.moves))
    return {"members": [{"inputs": list(inputs), "plan": bare.as_dict()}]}
