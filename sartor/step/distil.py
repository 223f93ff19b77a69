"""distil: teaches a model what larger ones answer (Hinton et al. 2015), on the training rows, on copies of them with slips, and on rows without a label.

What the teachers answer is computed once and kept. Beside the answers a student may follow the states of its teacher's last block, and how its tokens attend to each other there
(Wang et al. 2021, MiniLMv2, section 3.1), where both read the same tokens.
"""

from __future__ import annotations

from typing import Any

from sartor import leaves
from sartor.errors import InputError
from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides
RATE_OF_CUT = 2e-4  # of encoders


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Mostly by the teachers' answers, on every row that there is; the rest as in `train`, without smoothing. Raises: InputError `plan.argument`."""
    members = arguments.get("members")
    if not isinstance(members, list) or not members:
        expected = 'a list of {"inputs": [columns], "plan": a plan that ends in weights}'
        raise InputError("plan.argument", step="distil", name="members", expected=expected, found=members)
    # What was cut moves further than what is tuned as it was: sst2, two blocks of six, .834 at the rate of tuning, .843 at this one.
    cut = "blocks" in ctx.backbone.get("shape", {})
    given = {
        **({"learning_rate": RATE_OF_CUT} if cut else {}),
        "temperature": 2.0,
        "answers": 0.9,
        "hidden": 0.0,
        "relations": 0.0,
        "unlabelled": True,
        "copies": 0,
        "slips": 0.1,
        "pieces": 0,
        "label_smoothing": 0.0,
        # What a student knows grows to the end of the schedule, while scores of a few hundred rows go up and down by a point: ag_news, two thin blocks, .8969 by the
        # epoch that validation liked best, which was the first, and .9062 by the last.
        "keep_best": False,
        "members": members,
        **arguments,
    }
    own = {name: given.pop(name) for name in OWN}
    if leaves.load("backbone", ctx.backbone["leaf"]).TRAINS != "gradient":
        return own
    return own | train.resolve(given, ctx)


OWN = ("members", "temperature", "answers", "hidden", "relations", "unlabelled", "copies", "slips", "pieces")


def run(
    bundle: Any,
    ctx: Any,
    *,
    members: list[Any],
    temperature: float,
    answers: float,
    hidden: float,
    relations: float,
    unlabelled: bool,
    copies: int,
    slips: float,
    pieces: int,
    **training: Any,
) -> dict[str, Any]:
    """The bundle with what it learned of its teachers. Returns what changes in `bundle.json`.

    members: the teachers, as of `fuse`. temperature: of both sides' answers. answers: the share of the loss that is the teachers', the rest being the labels'. hidden, relations:
    weights of following the first teacher's last states and attention. unlabelled: whether rows without a label are asked too. copies: of each labelled text, with
    slips in a share `slips` of its words. pieces: new texts for each, made of stretches of it and of another. Where training changes rows anew in every epoch (`augment`, `noise`) a
    teacher that reads as the student does is asked about what the student sees. A body that fits itself learns from the teachers' likeliest answers.
    """
    from sartor import distilling, tuning

    if leaves.load("backbone", bundle.meta["backbone"]["leaf"]).TRAINS != "gradient":
        return distilling.fit(bundle, ctx, unlabelled=unlabelled, copies=copies, slips=slips, pieces=pieces)
    taught = distilling.Taught(
        temperature=temperature,
        answers=answers,
        hidden=hidden,
        relations=relations,
        unlabelled=unlabelled,
        copies=copies,
        slips=slips,
        pieces=pieces,
    )
    model, _ = tuning.tune(bundle, ctx, tuning.Settings(**training), work=taught.work)
    return tuning.save(model, bundle, ctx)
