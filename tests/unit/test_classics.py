"""The classic image nets: as large as published, of any side of picture, and a row answered alike whatever stands beside it."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest

from sartor.backbone import classics
from sartor.errors import InputError
from sartor.front import Front, Profile

torch = pytest.importorskip("torch")


def picture(seed: int, side: int = 40) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, size=(side, side + 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def meta_of(name: str, side: int, columns: int = 1) -> dict:
    colours = {"mean": [120.0] * 3, "spread": [60.0] * 3}
    return {"ref": name, "side": side, "columns": columns, **colours}


@pytest.mark.parametrize("card", classics.cards(), ids=lambda card: card.name)
def test_at_the_papers_size_it_has_as_many_parameters_as_published(card, tmp_path):
    with torch.device("meta"):
        body = classics.body(tmp_path, meta_of(card.name, 224))
        head = torch.nn.Linear(body.width, 1000)
        features = body.eval()(torch.zeros(2, 3, 224, 224, dtype=torch.uint8))
    assert features.shape == (2, 4096)
    found = sum(parameter.numel() for module in (body, head) for parameter in module.parameters())
    assert found == card.parameters == {"alexnet": 61_100_840, "vgg11": 132_868_840, "vgg16": 138_365_992}[card.name]


@pytest.mark.parametrize("name", list(classics.NETS))
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("side", ["least", 100, 301])
def test_any_side_from_the_least_on_and_pictures_beside_each_other_will_do(name, columns, side, tmp_path):
    side = classics.NETS[name].least if side == "least" else side
    with torch.device("meta"):
        body = classics.body(tmp_path, meta_of(name, side, columns)).eval()
        features = body(torch.zeros(3, 3 * columns, side, side, dtype=torch.uint8))
    assert features.shape == (3, 4096)
    assert len(body.blocks()) == len(classics.NETS[name].stages) + 2


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_a_row_is_answered_alike_alone_and_in_a_batch(name, tmp_path):
    inputs = [{"photo": picture(seed)} for seed in range(3)]
    options, _ = classics.resolve_options(name, columns=["photo"], inputs=inputs, given={})
    assert options == {"side": 64 if name == "alexnet" else 40}
    side = classics.NETS[name].least
    meta = classics.start(name, tmp_path, columns=["photo"], inputs=inputs, seed=0, side=side)
    processor, body = classics.processor(tmp_path, meta), classics.body(tmp_path, meta).eval()
    pixels = torch.from_numpy(processor(inputs)["pixels"])
    with torch.inference_mode():
        together = body(pixels)
        alone = torch.cat([body(one[None]) for one in pixels])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert together.std(0).max() > 0.01  # they do differ from each other
    assert 0.1 < together.std() < 10  # what He's first weights are for


def test_of_several_pictures_each_has_a_map_of_its_own_and_which_came_first_is_told(tmp_path):
    inputs = [{"front": picture(seed), "back": picture(seed + 10)} for seed in range(3)]
    turned = [{"front": row["back"], "back": row["front"]} for row in inputs]
    meta = classics.start("vgg11", tmp_path, columns=["front", "back"], inputs=inputs, seed=0, side=32)
    processor, body = classics.processor(tmp_path, meta), classics.body(tmp_path, meta).eval()
    seen = []
    body.pool.register_forward_hook(lambda module, given, made: seen.append(made.flatten(1)))
    with torch.inference_mode():
        one, other = (body(torch.from_numpy(processor(rows)["pixels"])) for rows in (inputs, turned))
    assert torch.allclose(seen[0].reshape(3, 2, -1), seen[1].reshape(3, 2, -1).flip(1), atol=1e-5)
    assert not torch.allclose(one, other, atol=1e-3)


def test_the_first_weights_hang_on_the_seed_and_leave_other_random_numbers_alone(tmp_path):
    from safetensors.torch import load_file

    inputs = [{"photo": picture(seed)} for seed in range(2)]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made = []
    for number, seed in enumerate((0, 0, 1)):
        (folder := tmp_path / str(number)).mkdir()
        classics.start("vgg11", folder, columns=["photo"], inputs=inputs, seed=seed, side=32)
        made.append(load_file(folder / "model.safetensors")["sartor.body.connected.0.0.weight"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(torch.rand(3), expected)


def test_a_side_of_which_nothing_would_be_left_and_another_name_are_refused():
    inputs = [{"photo": picture(0)}]
    for name, side in (("alexnet", 63), ("vgg16", 31)):
        with pytest.raises(InputError, match=str(side + 1)):
            classics.resolve_options(name, columns=["photo"], inputs=inputs, given={"side": side})
        assert classics._map(classics.NETS[name], side + 1) == 1
    assert classics._map(classics.NETS["vgg16"], 31) == 0
    with pytest.raises(InputError, match="vgg11"):
        classics.start("vgg12", None, columns=["photo"], inputs=inputs, seed=0, side=32)  # type: ignore[arg-type]


def test_only_who_asks_for_one_by_name_gets_it():
    profile = Profile(
        rows=100,
        classes=2,
        characters=0,
        languages={},
        gflops=100.0,
        sizes={"width_median": 32.0, "height_median": 32.0},
        kinds=frozenset({"image"}),
        inputs=(("photo", "image"),),
    )

    def offered(backbone: str) -> list:
        needs = SimpleNamespace(backbone=backbone, needs=[], prefer=None, confidence=0.95)
        return Front(needs, profile, task="classify", test_rows=10).bodies

    unasked = offered("auto")
    assert "convnet" in [body.name for body in unasked]
    assert not [body for body in unasked if body.leaf == "classics"]
    (asked,) = [body for body in offered("vgg11") if body.trains]
    assert (asked.name, asked.leaf) == ("vgg11", "classics")


def test_its_cost_is_the_published_one_and_grows_with_the_picture():
    def flops(name: str, side: int) -> float:
        return classics.flops(
            name, SimpleNamespace(sizes={"width_median": side, "height_median": side}, columns=1, convolution=1.0)
        )

    # 0.71 billion products at 224 pixels, 0.06 of them in what is connected.
    assert flops("alexnet", 224) == pytest.approx(2 * 0.656e9 + 2 * 0.0545e9, rel=0.01)
    assert flops("vgg16", 64) > flops("vgg11", 64) > 3 * flops("vgg11", 32)
    # Sizes are told as sums over the columns.
    two = SimpleNamespace(sizes={"width_median": 80, "height_median": 80}, columns=2, convolution=1.0)
    assert classics.flops("vgg11", two) < 2.1 * flops("vgg11", 40)
