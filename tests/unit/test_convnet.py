"""The small network for pictures: what it reads, what training may change, and that it learns from nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest

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


def arrows(count: int, seed: int, *, pointing: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Wedges that are wide on one side. pointing: the side is the class; otherwise it is drawn, and how bright it is is the class."""
    rng = np.random.default_rng(seed)
    codes, made = rng.integers(2, size=count), []
    for code in codes:
        left = bool(code) if pointing else rng.random() < 0.5
        pixels = rng.integers(0, 60, size=(24, 24, 3))
        for x in range(24):
            half = 1 + (24 - x if left else x) // 3
            pixels[12 - half : 12 + half, x] += 60 if pointing or code else 150
        made.append(np.clip(pixels, 0, 255).astype(np.uint8).transpose(2, 0, 1))
    return made, codes.astype(np.int64)


@pytest.mark.parametrize("pointing", [True, False])
def test_pictures_are_mirrored_only_where_labels_survive_it(pointing):
    encoded, codes = arrows(300, 0, pointing=pointing)
    assert convnet.survived(encoded, codes) == {"mirrored": not pointing}


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

    small, large = (SimpleNamespace(sizes={"width_median": s, "height_median": s}, columns=1) for s in (16, 64))
    assert convnet.flops("convnet", large) == pytest.approx(16 * convnet.flops("convnet", small))
