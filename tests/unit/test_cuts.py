"""Cuts as the planner sees them: what there is to try, that a cut waits for what it is made from, and what it believes of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from test_front import ENGLISH, FAST, SIZE, front_of, tried, waiting
from test_front import share as share_of

from sartor import cuts
from sartor.backbone import hub
from sartor.cost import with_sizes
from sartor.front import Profile
from sartor.plan import Plan, keys
from sartor.report import Key, Report, Value

FOUR = "minilm-tuned-cut-to-4-thin-blocks-int8"
SST2 = replace(ENGLISH, rows=5500, classes=2, characters=105.0, gflops=400.0)
READ = replace(ENGLISH, unlabelled=1000)


def test_every_cut_of_a_tuned_encoder_is_a_candidate_with_steps_that_fit():
    front = front_of("accuracy >= 0.9")
    found = {one.id: one for one in front.possible() if one.parent}
    names = {"trimmed", "cut-to-4-thin-blocks", "cut-to-2-thin-blocks", "cut-to-1-block"}
    assert {f"minilm-tuned-{name}-{precision}" for name in names for precision in ("float32", "int8")} <= set(found)
    assert "ngram-then-minilm-tuned-int8" in found
    # On the labelled rows alone it would learn nothing that it does not learn from their labels.
    assert "ngram-taught-by-minilm" not in found
    assert "ngram-taught-by-minilm" in {one.id for one in front_of("accuracy >= 0.9", profile=READ).possible()}
    for one in found.values():
        assert one.parent == "tuned minilm"
        assert one.plan.check() == "graphs"
        assert one.plan.reason


def test_where_size_matters_tables_are_put_in_codes_as_well():
    front = front_of("accuracy >= 0.9", "size <= 4 MB")
    one_block = [f"minilm-tuned-cut-to-1-block{coded}-int8" for coded in ("", "-coded")]
    plain, coded = (front.outlook(waiting(front, name), left_s=math.inf) for name in one_block)
    scale = coded.scales[SIZE]
    assert scale.back(coded.guesses[SIZE].mean) < 4 < scale.back(plain.guesses[SIZE].mean)
    assert waiting(front, one_block[1]).plan.moves[3].arguments == {"codes": 64}
    for limit in ("accuracy >= 0.9", "size <= 40 MB"):
        assert not any(one.left.codes for one in front_of(limit).possible())
    assert any(one.left.codes for one in front_of("accuracy >= 0.9", prefer="size").possible())


def test_of_few_rows_what_is_contrasted_is_cut():
    few = replace(ENGLISH, rows=64)
    found = {one.parent for one in front_of("accuracy >= 0.9", profile=few).possible() if one.parent}
    assert found == {"contrasted minilm"}


def test_a_net_for_pictures_is_cut_by_its_channels():
    pictures = Profile(
        6000, 4, 0.0, {}, 150.0, sizes={"width_median": 32, "height_median": 32}, kinds=frozenset({"image"})
    )
    found = [
        one
        for one in front_of("accuracy >= 0.9", profile=replace(pictures, inputs=(("photo", "image"),))).possible()
        if one.parent
    ]
    assert {one.left.share for one in found} == set(cuts.WIDTHS)
    assert all(one.parent == "trained convnet" for one in found)


def test_what_a_cut_shares_with_its_parent_has_the_same_keys():
    front = front_of("accuracy >= 0.9")
    parent = tried(front, "minilm-tuned-float32", 880)
    cut = waiting(front, FOUR)
    sizes = front.outlook(cut, left_s=math.inf).sizes
    assert sizes["train"] == parent.sizes["train"]
    plan = with_sizes(cut.plan, sizes)
    mine, its = (keys(one, made_of={}) for one in (plan, parent.plan))
    assert mine[:3] == its[:3]
    [member] = plan.moves[-3].arguments["members"]
    assert plan.moves[-3].step == "distil"
    assert keys(Plan.from_dict(member["plan"]), made_of={})[:3] == its[:3]


def test_the_parent_is_made_and_measured_first():
    front = front_of("size <= 12 MB", budget="2h")
    tried(front, "majority", 250, 0.6, megabytes=0.002)
    tried(front, "ngram", 700, 0.9, megabytes=19.0)
    front.waiting = [one for one in front.waiting if one.id in (FOUR, "minilm-tuned-int8")]
    decision = front.next(left_s=7000)
    assert decision.candidate == "minilm-tuned-int8"
    assert "cut to 4 thin blocks" in decision.why
    tried(front, "minilm-tuned-int8", 880, megabytes=23.5)
    assert front.next(left_s=6000).candidate in (FOUR, None)


def test_a_cut_of_what_failed_is_passed_over():
    front = front_of("size <= 12 MB", budget="2h")
    tried(front, "majority", 250, 0.6)
    parent = waiting(front, "minilm-tuned-int8")
    front.waiting.remove(parent)
    parent.status = "failed"
    front.found.append(parent)
    passed = (
        {one.id: one for one in front.pass_over(decision)}
        if (decision := front.next(left_s=1.0)).candidate is None
        else {}
    )
    assert passed[FOUR].cause == "parent"


def test_what_is_left_is_believed_to_be_smaller_faster_and_a_little_worse():
    front = front_of("accuracy >= 0.9", budget="2h")
    told = [
        front.outlook(waiting(front, f"minilm-tuned-{name}int8"), left_s=math.inf).guesses
        for name in ("", "cut-to-4-thin-blocks-", "cut-to-2-thin-blocks-", "cut-to-1-block-")
    ]
    for key, falls in ((SIZE, True), (FAST, True), (Key("accuracy"), False)):
        means = [one[key].mean for one in told]
        assert means == sorted(means, reverse=falls)


def test_a_slow_model_says_nothing_of_the_server_that_a_cut_shares_with_it():
    front = front_of("accuracy >= 0.9", budget="2h")
    tried(front, "majority", 250, 0.35)
    tried(front, "minilm-tuned-int8", 900, 12.0)  # where 7 are believed beforehand

    def expected(name):
        outlook = front.outlook(waiting(front, f"minilm-tuned-cut-to-{name}-int8"), left_s=math.inf)
        return outlook.scales[FAST].back(outlook.guesses[FAST].mean)

    inside = 12.0 - 0.35
    for name, share in (("4-thin-blocks", 4 / 9), ("2-thin-blocks", 2 / 9), ("1-block", 1 / 6)):
        assert expected(name) == pytest.approx(0.35 + share * inside, rel=0.25)


def test_rows_without_a_label_are_believed_to_teach_what_fits_itself():
    few = replace(ENGLISH, rows=300)
    right = []
    for unlabelled in (0, 300, 5700):
        front = front_of("accuracy >= 0.9", profile=replace(few, unlabelled=unlabelled), budget="2h")
        names = [one.id for one in front.waiting if one.id.startswith("ngram-taught")] or ["ngram"]
        outlook = front.outlook(waiting(front, names[0]), left_s=math.inf)
        right.append(outlook.scales[Key("accuracy")].back(outlook.guesses[Key("accuracy")].mean))
    assert right[0] < right[1] < right[2]
    assert right[2] - right[0] == pytest.approx(0.0925, abs=0.03)  # ag_news with so many rows, docs/benchmarks.md


def test_what_one_cut_measures_moves_the_others():
    front = front_of("accuracy >= 0.8", budget="2h")
    tried(front, "majority", 250, 0.6)
    tried(front, "minilm-tuned-int8", 900)
    before = front.outlook(waiting(front, "minilm-tuned-cut-to-2-thin-blocks-int8"), left_s=math.inf).guesses[
        Key("accuracy")
    ]
    tried(front, FOUR, 700)
    after = front.outlook(waiting(front, "minilm-tuned-cut-to-2-thin-blocks-int8"), left_s=math.inf).guesses[
        Key("accuracy")
    ]
    assert after.mean > before.mean + 0.3
    assert after.spread < before.spread


def test_being_taught_too_briefly_is_believed_to_cost():
    front = front_of("accuracy >= 0.9", budget="2h")
    tried(front, "minilm-tuned-int8", 900)
    cut = waiting(front, FOUR)
    plenty = front.outlook(cut, left_s=math.inf)
    short = front.outlook(cut, left_s=0.6 * plenty.seconds)
    assert 0 < short.sizes["distil"]["epochs"] < plenty.sizes["distil"]["epochs"]
    assert [one.sizes["distil"]["pieces"] for one in (plenty, short)] == list(cuts.PIECES)
    assert short.guesses[Key("accuracy")].mean > plenty.guesses[Key("accuracy")].mean


def test_a_teacher_reads_the_same_words_so_that_its_states_can_be_followed():
    front = front_of("accuracy >= 0.9", "size <= 4 MB")
    for name in (FOUR, "minilm-tuned-cut-to-1-block-coded-int8"):
        plan = waiting(front, name).plan
        told = next(move.arguments for move in plan.moves if move.step == "distil")
        [member] = told["members"]
        assert [step["step"] for step in member["plan"]["steps"]] == ["start", "fit", "train", "trim"]
        assert not member["plan"]["steps"][-1].get("arguments")  # only the student's table may be in codes
        assert told["hidden"] == 1.0
        assert told["pieces"] == cuts.PIECES[0]
    many = front_of("accuracy >= 0.9", profile=replace(ENGLISH, rows=100_000))
    assert "pieces" not in waiting(many, FOUR).plan.moves[-3].arguments


def test_a_teacher_that_is_made_costs_nothing_more():
    front = front_of("accuracy >= 0.9", budget="2h", profile=READ)
    student = waiting(front, "ngram-taught-by-minilm")
    before = front.outlook(student, left_s=math.inf).seconds
    tried(front, "minilm-tuned-float32", 900)
    after = front.outlook(student, left_s=math.inf).seconds
    assert after < 0.5 * before


@pytest.mark.parametrize("left_s", [400, 600, 1200])
def test_what_a_cut_is_made_from_leaves_it_its_time(left_s):
    front = front_of("accuracy >= 0.84", "latency_p95 <= 3 ms", "size <= 15 MB", profile=SST2, budget="20m")
    tried(front, "majority", 500, 0.6)
    tried(front, "ngram", 700, 0.8, megabytes=1.0)
    tried(front, "minilm-frozen-int8", 800, 3.5, megabytes=23.5)
    first = front.next(left_s=left_s)
    assert "is made from it" in first.why
    parent = waiting(front, first.candidate)
    assert parent.kind == "tuned"
    front.take(first)
    parent.status, parent.seconds = "measured", first.forecast_s
    small = Value(SIZE, 23.5, 23.5, 23.5, 1, "MB")
    parent.report = Report([share_of(880, 1000), Value(FAST, 4.0, 3.9, 4.1, 2000, "ms"), small])
    parent.steps = {move.step: front.prospects.cost.of(move, parent.plan) for move in parent.plan.moves}
    front.add(parent)
    second = front.next(left_s=left_s - first.forecast_s)
    assert second.candidate is not None
    assert waiting(front, second.candidate).parent == parent.weights


def test_a_model_that_contains_another_takes_no_less_time():
    front = front_of("accuracy >= 0.9", budget="2h", profile=replace(READ, rows=1000))
    seconds = {
        name: front.outlook(waiting(front, name), left_s=math.inf).seconds
        for name in ("minilm-tuned-int8", "ngram-then-minilm-tuned-int8", "ngram-taught-by-minilm")
    }
    tuned = seconds.pop("minilm-tuned-int8")
    assert min(seconds.values()) > 0.9 * tuned
    short = front.outlook(waiting(front, "ngram-then-minilm-tuned-int8"), left_s=0.5 * tuned)
    assert short.seconds < 0.5 * tuned  # what it contains is trained for less, where there is less time
    assert short.sizes["train"]["epochs"] > 0


def test_the_shares_of_an_encoder_are_those_of_its_weights():
    told = hub.anatomy("minilm")
    anatomy = cuts.Anatomy(**told)
    assert anatomy.blocks == 6
    assert anatomy.words * anatomy.width + anatomy.blocks * anatomy.of_block == pytest.approx(22_713_216, rel=0.02)
    words = cuts.words_kept(ENGLISH)
    thin = next(one.left for one in front_of("accuracy >= 0.9").possible() if one.id == FOUR)
    assert thin.share == pytest.approx(4 / 6 * (1 / 3 + 2 / 3 / 2))  # of a block the feed-forward net has two thirds
    half = anatomy.share(cuts.Left(0.5), words)
    assert half == pytest.approx((30522 * 384 + 3 * anatomy.of_block) / (30522 * 384 + 6 * anatomy.of_block))
    assert anatomy.share(cuts.Left(0.5, trimmed=True), words) < half


def test_families_that_can_be_cut_are_those_whose_layers_are_known():
    pytest.importorskip("torch")
    from sartor import shaping

    assert set(shaping.LAYERS) == set(hub.CUT)
    assert shaping.CODES == cuts.CODES
