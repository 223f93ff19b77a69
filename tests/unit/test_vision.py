"""Image encoders of transformers from local folders in the hub's format: pictures are prepared as transformers does, weights arrive whole."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import wedges

from sartor import model as models
from sartor.backbone import vision
from sartor.errors import InputError
from sartor.task import classify

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SQUARE = {"image_size": 32, "patch_size": 8}
FAMILIES = {
    "resnet": {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 64},
    "vit": SMALL | SQUARE,
    "swin": {
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
        "image_size": 32,
        "patch_size": 4,
    },
    "dinov2": {**SMALL, "image_size": 28, "patch_size": 14, "mlp_ratio": 2},
    "clip": {"vision_config": SMALL | SQUARE, "text_config": SMALL | {"vocab_size": 60, "max_position_embeddings": 16}},
}


def checkpoint(family, folder, **prepared):
    """A small checkpoint with random weights, as a hub would give it."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **FAMILIES[family]))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


def pictures(count, seed=0):
    from PIL import Image

    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        small = rng.integers(0, 255, size=(6, 5, 3)).astype(np.uint8)
        file = io.BytesIO()
        size = tuple(int(side) for side in rng.integers(40, 90, size=2))
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, "PNG")
        made.append({"photo": file.getvalue()})
    return made


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_checkpoint_of_every_family_gives_the_features_that_transformers_gives(family, tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    side = 28 if family == "dinov2" else 64 if family == "mobilenet_v2" else 32
    square = {"height": side, "width": side}
    source = checkpoint(family, tmp_path / family, size=square, crop_size=square)
    out = tmp_path / "out"
    out.mkdir()
    meta = vision.start(str(source), out, columns=["photo"], inputs=[], seed=0)
    spec = {"classes": ["a", "b"], "counts": [1, 1]}
    head = {"target": "label", "task": "classify", "output": "output_0", "spec": spec}
    (out / "bundle.json").write_text(json.dumps({"backbone": meta, "heads": [head]}))
    model = models.load(out).eval()
    batch = vision.processor(out, meta)(pictures(3))["pixel_values"]
    reference = AutoModel.from_pretrained(source).eval()
    reference = getattr(reference, "vision_model", reference)
    with torch.inference_mode():
        ours = model.body(torch.from_numpy(batch))
        told = reference(pixel_values=torch.from_numpy(batch))
    assert ours.shape == (3, model.body.width)
    assert torch.allclose(ours, told.pooler_output.flatten(1), atol=1e-5)
    assert model.body.blocks()
    assert classify.head(model.body.width, spec).weight.shape == (2, model.body.width)


PREPARED = {
    "squeezed": {"size": {"height": 48, "width": 40}, "resample": 3},
    "centre of the shorter side": {
        "size": {"shortest_edge": 40},
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    },
}


@pytest.mark.parametrize("name", list(PREPARED))
def test_pictures_are_prepared_as_transformers_prepares_them(name, tmp_path):
    pytest.importorskip("torch")
    from PIL import Image
    from transformers import CLIPImageProcessor, ViTImageProcessor

    maker = CLIPImageProcessor if "do_center_crop" in PREPARED[name] else ViTImageProcessor
    told = {"do_resize": True, "do_rescale": True, "do_normalize": True, "image_processor_type": maker.__name__}
    told |= PREPARED[name]
    source = checkpoint("vit", tmp_path / "vit", **told)
    out = tmp_path / "out"
    out.mkdir()
    rows = pictures(6, seed=1)
    ours = vision.processor(out, vision.start(str(source), out, columns=["photo"], inputs=[], seed=0))(rows)[
        "pixel_values"
    ]
    made = maker(**told)
    given = [Image.open(io.BytesIO(row["photo"])).convert("RGB") for row in rows]
    theirs = np.asarray(made(given, return_tensors="np")["pixel_values"])
    assert ours.shape == theirs.shape
    # Where transformers resizes by another library, some pixels differ by one step of 256.
    assert np.abs(ours - theirs).mean() < 0.01
    assert np.abs(ours - theirs).max() < 0.06


def test_what_a_preparation_leaves_null_is_filled_in(tmp_path):
    told = {"do_resize": True, "size": None, "resample": None, "rescale_factor": None}
    source = checkpoint("vit", tmp_path / "vit", **told)
    settings = vision._settings(source, FAMILIES["vit"])
    plain = vision._settings(checkpoint("vit", tmp_path / "plain"), FAMILIES["vit"])
    assert settings["how"] in vision.SAMPLINGS.values()
    assert (settings["size"], settings["factor"]) == ((32, 32), plain["factor"])


@pytest.mark.parametrize("pointing", [True, False])
def test_pictures_are_mirrored_only_where_labels_survive_it(pointing, tmp_path):
    out = tmp_path / "out"
    meta = vision.start(str(checkpoint("vit", tmp_path / "vit")), out, columns=["photo"], inputs=[], seed=0)
    processor = vision.processor(out, meta)
    encoded, codes = wedges(200, 0, pointing=pointing, side=32)
    plain = processor.padded(encoded)["pixel_values"]
    assert np.array_equal(processor.augmented(encoded, np.random.default_rng(0))["pixel_values"], plain)
    processor.changes = vision.survived(encoded, codes)
    assert processor.changes == {"mirrored": not pointing}
    made = processor.augmented(encoded, np.random.default_rng(0))["pixel_values"]
    turned = (made == plain[..., ::-1]).all(axis=(1, 2, 3))
    assert turned.sum() == 0 if pointing else 60 < turned.sum() < 140
    assert np.array_equal(made[~turned], plain[~turned])


SIZES = {
    "vit": {},
    "dinov2": {"mlp_ratio": 2},
    "clip_vision_model": {},
    "swin": {},
    "resnet": {},
    "resnet of basic layers": {
        "hidden_sizes": [64, 128, 256, 512],
        "depths": [2, 2, 2, 2],
        "layer_type": "basic",
        "downsample_in_first_stage": True,
    },
    "convnext": {"depths": [2, 2, 4, 2]},
    "regnet": {},
    "mobilenet_v1": {},
    "mobilenet_v2": {"depth_multiplier": 0.5},
}


@pytest.mark.parametrize("name", list(SIZES))
def test_its_cost_is_what_torch_counts_and_convolutions_as_this_machine_does_them(name, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModel

    family = name.split()[0]
    config = AutoConfig.for_model(family, **SIZES[name])
    config.save_pretrained(tmp_path)  # what is as usual is left out
    monkeypatch.setattr(vision, "find", lambda ref: tmp_path)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = AutoModel.from_config(config, attn_implementation="eager").eval()
        model(pixel_values=torch.zeros(1, 3, 224, 224))
    dearer = (family in vision.CONVOLVES and 3.0) * (vision.DEPTHWISE if family in vision.MOBILE else 1.0)
    counted = counter.get_total_flops() * (dearer or 1.0)
    told = vision.flops(name, SimpleNamespace(columns=1, convolution=3.0))
    assert told == pytest.approx(counted, rel=0.1 if family.startswith("mobilenet") else 0.02)
    assert vision.flops(name, SimpleNamespace(columns=3, convolution=3.0)) == pytest.approx(3 * told)


def test_the_cost_of_a_checkpoint_of_two_sides_is_that_of_the_image_side(tmp_path):
    small = vision.flops(str(checkpoint("vit", tmp_path / "vit")), SimpleNamespace(columns=1, convolution=1.0))
    assert vision.flops(
        str(checkpoint("clip", tmp_path / "clip")), SimpleNamespace(columns=1, convolution=1.0)
    ) == pytest.approx(small)


@pytest.mark.parametrize("sizes", [{"hidden_size": "many"}, {"patch_size": [-1, 4]}, {"mlp_ratio": True}])
def test_sizes_that_are_none_are_refused(sizes, tmp_path):
    source = checkpoint("vit", tmp_path / "vit")
    (source / "preprocessor_config.json").unlink()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | sizes))
    with pytest.raises(InputError, match="which is no") as caught:
        vision.flops(str(source), SimpleNamespace(columns=1, convolution=1.0))
    assert caught.value.code == "backbone.broken"


def test_another_familys_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="'bert'") as caught:
        vision.start(str(tmp_path), tmp_path / "out", columns=["photo"], inputs=[], seed=0)
    assert caught.value.code == "backbone.family"


def test_a_pooler_without_weights_is_left_out_instead_of_drawn_at_random(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, ViTModel

    torch.manual_seed(0)
    whole = ViTModel(AutoConfig.for_model("vit", **FAMILIES["vit"]), add_pooling_layer=False).eval()
    whole.save_pretrained(tmp_path / "vit")
    out = tmp_path / "out"
    out.mkdir()
    meta = vision.start(str(tmp_path / "vit"), out, columns=["photo"], inputs=[], seed=0)
    spec = {"classes": ["a", "b"], "counts": [1, 1]}
    head = {"target": "label", "task": "classify", "output": "output_0", "spec": spec}
    (out / "bundle.json").write_text(json.dumps({"backbone": meta, "heads": [head]}))
    batch = torch.from_numpy(vision.processor(out, meta)(pictures(3))["pixel_values"])
    with torch.inference_mode():
        found = models.load(out).eval().body(batch)
        told = whole(pixel_values=batch).last_hidden_state[:, 0]
    assert torch.allclose(found, told, atol=1e-5)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    source = checkpoint("vit", tmp_path / "vit")
    weights = load_file(source / "model.safetensors")
    weights.pop(next(name for name in weights if "layer" in name))
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    meta = vision.start(str(source), tmp_path / "out", columns=["photo"], inputs=[], seed=0)
    with pytest.raises(InputError, match="lacks 1 tensors of a vit"):
        vision.base_weights(meta)
