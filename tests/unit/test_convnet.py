"""The small network for pictures: what it reads, what training may change, and that it learns from nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import wedges

from sartor.backbone import convnet


def picture(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def stripes(count: int, seed: int, size: tuple[int, int] = (24, 24)) -> tuple[list[dict[str, bytes]], np.ndarray]:
    """Noise with bright stripes across or along: what a convolution sees, and the mean colour does not."""
    rng = np.random.default_rng(seed)
    along = rng.integers(2, size=count)
    made = []
    for one in along:
        pixels = rng.integers(0, 120, size=(*size, 3))
        begin = int(rng.integers(0, 4))
        if one:
            pixels[:, begin::6] += 100
        else:
            pixels[begin::6] += 100
        made.append({"photo": picture(pixels.astype(np.uint8))})
    return made, along


@pytest.fixture
def started(tmp_path):
    pytest.importorskip("PIL")
    # Some first weights learn nothing in the ten steps that they are given below.
    pytest.importorskip("torch").manual_seed(0)
    inputs, _ = stripes(60, 0)
    options, _ = convnet.resolve_options("convnet", columns=["photo"], inputs=inputs, given={})
    assert options == {"side": 24}
    meta = convnet.start("convnet", tmp_path, columns=["photo"], inputs=inputs, seed=0, **options)
    return convnet.processor(tmp_path, meta), convnet.body(tmp_path, meta), inputs


def test_a_row_is_read_alike_alone_and_in_a_batch(started):
    torch = pytest.importorskip("torch")
    processor, body, inputs = started
    together = processor(inputs[:6])["pixels"]
    assert together.shape == (6, 3, 24, 24)
    assert together.dtype == np.uint8
    alone = np.concatenate([processor([row])["pixels"] for row in inputs[:6]])
    assert np.array_equal(together, alone)
    with torch.inference_mode():
        body.eval()
        features = body(torch.from_numpy(together))
        each = torch.cat([body(torch.from_numpy(one[None])) for one in together])
    assert torch.allclose(features, each, atol=1e-5)


def test_what_is_changed_at_random_stays_a_picture_of_the_same(started):
    processor, _, inputs = started
    encoded = processor.encode(inputs[:20])
    processor.changes = {"mirrored": True}
    made = processor.augmented(encoded, np.random.default_rng(0))["pixels"]
    again = processor.augmented(encoded, np.random.default_rng(0))["pixels"]
    other = processor.augmented(encoded, np.random.default_rng(1))["pixels"]
    assert np.array_equal(made, again)
    assert not np.array_equal(made, other)
    assert made.shape == (20, 3, 24, 24)
    plain = processor.padded(encoded)["pixels"]
    # Moved and mirrored: the colours are nearly those that were there, and few pictures are as they were.
    assert abs(made.astype(float).mean() - plain.astype(float).mean()) < 10
    assert sum(np.array_equal(one, two) for one, two in zip(made, plain, strict=True)) < 3


@pytest.mark.parametrize("pointing", [True, False])
def test_pictures_are_mirrored_only_where_labels_survive_it(pointing):
    encoded, codes = wedges(300, 0, pointing=pointing, side=24)
    assert convnet.survived(encoded, codes) == {"mirrored": not pointing}


@pytest.mark.parametrize("order", ["sorted by class", "in turn"])
def test_whether_they_may_be_mirrored_is_judged_by_all_classes_in_whatever_order_they_come(order, monkeypatch):
    """As rows of a folder for each class come, of which the first is longer than what is judged."""
    monkeypatch.setattr(convnet, "MOST_JUDGED", 120)
    encoded, codes = wedges(300, 0, pointing=True, side=24)
    by_class = np.argsort(codes, kind="stable")
    if order == "in turn":
        one, other = np.flatnonzero(codes == 0), np.flatnonzero(codes == 1)
        by_class = np.stack([one[:130], other[:130]], axis=1).ravel()
    assert convnet.survived([encoded[i] for i in by_class], codes[by_class]) == {"mirrored": False}


def test_of_one_class_alone_nothing_can_be_judged():
    encoded, codes = wedges(120, 0, pointing=False, side=24)
    assert convnet.survived(encoded, np.zeros_like(codes)) == {"mirrored": False}
    assert convnet.survived(encoded, np.full_like(codes, -1)) == {"mirrored": False}


@pytest.fixture
def of_pairs(tmp_path):
    """(processor, body, rows) for two pictures a row."""
    pytest.importorskip("torch")
    ones, others = stripes(40, 0)[0], stripes(40, 1, size=(30, 18))[0]
    rows = [{"front": one["photo"], "back": other["photo"]} for one, other in zip(ones, others, strict=True)]
    meta = convnet.start("convnet", tmp_path, columns=["front", "back"], inputs=rows, seed=0, side=24)
    return convnet.processor(tmp_path, meta), convnet.body(tmp_path, meta).eval(), rows


def test_of_several_pictures_each_is_seen_by_itself_and_which_came_first_is_told(of_pairs):
    torch = pytest.importorskip("torch")
    processor, body, rows = of_pairs
    turned = [{"front": row["back"], "back": row["front"]} for row in rows[:4]]
    with torch.inference_mode():
        found, other = (body(torch.from_numpy(processor(some)["pixels"])).numpy() for some in (rows[:4], turned))
    assert found.shape == (4, body.width) == (4, 512)
    assert np.abs(found - other).max() > 0.01
    assert np.abs(found - np.roll(other, 256, axis=1)).max() < 1e-5


def test_several_pictures_are_mirrored_each_in_its_own_place_and_moved_each_by_itself(of_pairs, monkeypatch):
    processor, _, rows = of_pairs
    encoded = processor.encode(rows)
    moved = processor.augmented(encoded, np.random.default_rng(0))["pixels"]
    twice = processor.augmented([np.concatenate([one[:3], one[:3]]) for one in encoded], np.random.default_rng(0))
    assert moved.shape == (40, 6, 24, 24)
    assert not (twice["pixels"][:, :3] == twice["pixels"][:, 3:]).all(axis=(1, 2, 3)).all()
    monkeypatch.setattr(convnet, "ERASED", 0.0)
    processor.changes = {"mirrored": True}

    class Still:
        """Draws the middle of everywhere that a picture may be moved to."""

        random = np.random.default_rng(0).random

        def integers(self, low, high, size):
            return np.full(size, (low + high) // 2)

        def uniform(self, low, high, size):
            return np.full(size, (low + high) / 2)

    made = processor.augmented(encoded, Still())["pixels"]
    plain = np.stack(encoded)
    same = (made == plain).all(axis=(1, 2, 3))
    assert 0 < same.sum() < 40
    assert (made[~same] == plain[~same][..., ::-1]).all()  # front stays front


def test_several_pictures_are_exported_with_a_free_batch(of_pairs, tmp_path):
    torch = pytest.importorskip("torch")
    from sartor import model as models
    from sartor.runtime import onnx

    processor, body, rows = of_pairs
    model = models.Model(body, {"output_0": torch.nn.Identity()}).eval()
    onnx._export(model, tmp_path / "m.onnx", processor(rows[:3]), axes=processor.axes, dynamo=False)
    assert onnx.parity(model, tmp_path / "m.onnx", [processor(rows[:5]), processor(rows[:1])]) < 1e-4


def test_large_and_small_pictures_come_to_one_size(started):
    processor, _, _ = started
    rng = np.random.default_rng(0)
    shapes = [(300, 200, 3), (7, 9, 3), (24, 24, 3)]
    rows = [{"photo": picture(rng.integers(0, 255, size=shape).astype(np.uint8))} for shape in shapes]
    assert processor(rows)["pixels"].shape == (3, 3, 24, 24)


def test_it_learns_what_a_mean_colour_does_not_tell(started):
    torch = pytest.importorskip("torch")
    processor, body, _ = started
    torch.manual_seed(0)
    inputs, targets = stripes(160, 1)
    encoded, truth = processor.encode(inputs), torch.from_numpy(targets)
    head = torch.nn.Linear(body.width, 2)
    solver = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=2e-3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        for begin in range(0, 160, 32):
            batch = processor.augmented(encoded[begin : begin + 32], rng)["pixels"]
            loss = torch.nn.functional.cross_entropy(head(body(torch.from_numpy(batch))), truth[begin : begin + 32])
            solver.zero_grad()
            loss.backward()
            solver.step()
    inputs, targets = stripes(80, 2)
    body.eval()
    with torch.inference_mode():
        told = head(body(torch.from_numpy(processor(inputs)["pixels"]))).argmax(1).numpy()
    assert (told == targets).mean() > 0.9


def test_its_cost_grows_with_the_picture():
    from types import SimpleNamespace

    small, large = (
        SimpleNamespace(sizes={"width_median": s, "height_median": s}, columns=1, convolution=1.0) for s in (16, 64)
    )
    assert convnet.flops("convnet", large) == pytest.approx(16 * convnet.flops("convnet", small))
    # Sizes are told as sums over the columns: two pictures cost twice as much as one of them, not as two of twice the side.
    two = SimpleNamespace(sizes={"width_median": 32, "height_median": 32}, columns=2, convolution=1.0)
    assert convnet.flops("convnet", two) == pytest.approx(2 * convnet.flops("convnet", small))
