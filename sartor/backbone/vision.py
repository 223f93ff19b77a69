"""Any image encoder of transformers, by hub id or by a local folder in the hub's format: its own preparation of pictures, and its own pooling.

Convolutional nets (ResNet, ConvNeXt, MobileNet, RegNet) and transformers (ViT, DeiT, Swin, DINOv2, BEiT, CLIP's and SigLIP's image side).
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import checkpoint, pretrained
from sartor.backbone import Card, convnet
from sartor.errors import InputError
from sartor.modality import image
from sartor.pixels import resized

TAKES = ("image",)
TRAINS = "gradient"
CONVOLUTIONAL = True  # so that a convolution is timed before its cost is forecast
PRETRAINED = True
OPENS = ("transformers.modeling_utils",)
OPENS_HUB = True
TRAINING: Mapping[str, Any] = {"batch_rows": 32, "batch_units": 32, "learning_rate": 5e-5}
FAMILIES = (
    "resnet",
    "convnext",
    "convnextv2",
    "regnet",
    "mobilenet_v1",
    "mobilenet_v2",
    "vit",
    "deit",
    "swin",
    "dinov2",
    "beit",
    "clip",
    "clip_vision_model",
    "siglip",
    "siglip_vision_model",
)
DEPTHWISE = 4.0  # times that an operation of MobileNet takes as long as one of ResNet: one channel at a time leaves the units idle
CONVOLVES = ("resnet", "convnext", "convnextv2", "regnet", "mobilenet_v1", "mobilenet_v2")
# Operations of a forward pass on 224 × 224 pixels, and the power of `depth_multiplier` by which they grow: of nets whose configuration tells no sizes.
MOBILE = {"mobilenet_v1": (1.14e9, 1.9), "mobilenet_v2": (0.6e9, 1.6)}
# Pixels of a patch's side where a configuration says nothing, as transformers would fill it in; of all others 16.
PATCHES = {"swin": 4, "convnext": 4, "convnextv2": 4, "dinov2": 14, "clip": 32}
survived = convnet.survived  # which changes in training leave answers as they are
SAMPLINGS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def cards() -> list[Card]:
    """None: no image encoder comes with the installation."""
    return []


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Nothing hangs on the data: a checkpoint knows the size that it was trained on."""
    return {}, {}


def find(ref: str) -> Path:
    """The folder of a checkpoint. Raises: InputError `backbone.*`, `weights.broken`."""
    return pretrained.folder_of(ref, FAMILIES)


def flops(ref: str, profile: Any) -> float:
    """Of one forward pass, as many as an encoder's products would be in the same time: convolutions as this machine does them.

    Raises: InputError `backbone.broken` for a configuration whose sizes are none.
    """
    folder = find(ref)
    config = _vision(pretrained.config_of(folder))
    family, side = config["model_type"], _side(_settings(folder, config))
    if family in MOBILE:
        usual, power = MOBILE[family]
        found = usual * (side / 224) ** 2 * _factor(ref, config, "depth_multiplier", otherwise=1.0) ** power
    elif family.startswith("convnext"):
        found = _convnext(ref, config, side)
    elif family in CONVOLVES:
        found = _residual(ref, config, side)
    else:
        found = (_windows if family == "swin" else _patches)(ref, config, side)
    dearer = DEPTHWISE if family in MOBILE else 1.0
    return float(found * (dearer * profile.convolution if family in CONVOLVES else 1.0) * profile.columns)


def _patches(ref: str, config: dict[str, Any], side: int) -> float:
    """Operations of a transformer over all patches of a picture, and the token that stands for it."""
    width = checkpoint.size_of(ref, config, "hidden_size", otherwise=768)
    layers = checkpoint.size_of(ref, config, "num_hidden_layers", otherwise=12)
    ratio = _factor(ref, config, "mlp_ratio", otherwise=4.0)
    inner = checkpoint.size_of(ref, config, "intermediate_size", otherwise=int(ratio * width))
    patch = _patch(ref, config)
    places = (side // patch) ** 2 + 1
    return 2.0 * places * (3 * patch**2 * width + layers * (4 * width**2 + 2 * width * inner + 2 * places * width))


def _windows(ref: str, config: dict[str, Any], side: int) -> float:
    """Operations of Swin: attention within windows, and stages of which each has a quarter of the places at twice the width."""
    width = checkpoint.size_of(ref, config, "embed_dim", otherwise=96)
    window = checkpoint.size_of(ref, config, "window_size", otherwise=7)
    patch, ratio = _patch(ref, config), _factor(ref, config, "mlp_ratio", otherwise=4.0)
    places = float((side // patch) ** 2)
    total = 2.0 * places * 3 * patch**2 * width
    for stage, layers in enumerate(_sizes(ref, config, "depths", otherwise=(2, 2, 6, 2))):
        if stage:
            places, width = places / 4, 2 * width
            total += 2.0 * places * 2 * width * width  # four places of half the width become one
        total += 2.0 * layers * places * ((4 + 2 * ratio) * width**2 + 2 * window**2 * width)
    return total


def _convnext(ref: str, config: dict[str, Any], side: int) -> float:
    """Operations of ConvNeXt: of a block a 7 × 7 convolution of each channel by itself, and two products."""
    patch = _patch(ref, config)
    places, before, total = float((side // patch) ** 2), 0, 0.0
    widths = _sizes(ref, config, "hidden_sizes", otherwise=(96, 192, 384, 768))
    for width, layers in zip(widths, _sizes(ref, config, "depths", otherwise=(3, 3, 9, 3)), strict=False):
        places = places / 4 if before else places
        total += 2.0 * places * width * (4 * before if before else 3 * patch**2)
        total += 2.0 * places * layers * (49 * width + 8 * width**2)
        before = width
    return total


def _residual(ref: str, config: dict[str, Any], side: int) -> float:
    """Operations of ResNet and RegNet: of a layer two 3 × 3 convolutions, or one between two that mix channels."""
    grouped = config["model_type"] == "regnet"
    before = checkpoint.size_of(ref, config, "embedding_size", otherwise=32 if grouped else 64)
    widths = _sizes(ref, config, "hidden_sizes", otherwise=(128, 192, 512, 1088) if grouped else (256, 512, 1024, 2048))
    depths = _sizes(ref, config, "depths", otherwise=(2, 6, 12, 2) if grouped else (3, 4, 6, 3))
    group = checkpoint.size_of(ref, config, "groups_width", otherwise=64)
    side = -(-side // 2)
    total = 2.0 * side**2 * 3 * (3 if grouped else 7) ** 2 * before
    side = side if grouped else -(-side // 2)  # ResNet takes the maximum of each four
    for stage, (width, layers) in enumerate(zip(widths, depths, strict=False)):
        halves = bool(stage) or bool(config.get("downsample_in_first_stage", grouped))
        places, side = float(side**2), -(-side // 2) if halves else side
        after = float(side**2)
        around = 2.0 * after * before * width if halves or before != width else 0.0
        if grouped or config.get("layer_type", "bottleneck") == "bottleneck":
            inner, mixed = (width, min(group, width)) if grouped else (width // 4, width // 4)
            rest = 9 * mixed * inner + inner * width  # of a place, behind the first mixing of channels
            first = 2.0 * (places * before * inner + after * rest)
            each = 2.0 * after * (width * inner + rest)
        else:
            first, each = 2.0 * after * 9 * (before + width) * width, 2.0 * after * 18 * width**2
        total += around + first + (layers - 1) * each
        before = width
    return total


def _sizes(ref: str, config: dict[str, Any], name: str, *, otherwise: Sequence[int]) -> list[int]:
    """A list of sizes that a configuration has. Raises: InputError `backbone.broken` where one is none."""
    told = config.get(name)
    listed = [one for one in (told if isinstance(told, list) else [told]) if one is not None]
    return [checkpoint.size_of(ref, {name: one}, name, otherwise=1) for one in listed] or list(otherwise)


def _factor(ref: str, config: dict[str, Any], name: str, *, otherwise: float) -> float:
    """A factor that a configuration has. Raises: InputError `backbone.broken` where it is none."""
    told = config.get(name)
    if told is None:
        return otherwise
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= 1_000:
        why = f"has {told!r} as {name}, which is no factor"
        raise InputError("backbone.broken", ref=ref, file="config.json", why=why)
    return float(told)


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Writes configuration and how pictures are prepared; the weights stay where they are, named by their sha256."""
    from safetensors import safe_open

    from sartor.bundle import sha256

    source = find(ref)
    config = pretrained.config_of(source)
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "config.json", folder / "config.json")
    settings = _settings(source, _vision(config)) | {"columns": list(columns)}
    (target / "pictures.json").write_text(json.dumps(settings), encoding="utf-8")
    family = _vision(config)["model_type"]
    with safe_open(source / "model.safetensors", "np") as weights:  # type: ignore[no-untyped-call]
        pooled = any("pooler." in name for name in weights.keys())  # noqa: SIM118
    return {
        "leaf": "vision",
        "ref": ref,
        "sha256": sha256(source / "model.safetensors"),
        "family": family,
        "columns": len(columns),
        "pooler": pooled,
        **({"quantise": "static"} if family in CONVOLVES else {}),
        "owns_weights": False,
    }


def processor(folder: Path, meta: Mapping[str, Any]) -> PictureProcessor:
    """Opens what `start` wrote."""
    return PictureProcessor(json.loads((folder / "processor" / "pictures.json").read_text(encoding="utf-8")))


class PictureProcessor:
    """Pictures as the checkpoint saw them: resized, cut to the centre, scaled and normalised."""

    batch_units = 16
    axes: Mapping[str, Mapping[int, str]] = {"pixel_values": {0: "batch"}}

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """settings: `columns`; `size`, (height, width) or the pixels of the shorter side; `crop`, (height, width) or None; `how` it is resized;
        `factor`, `mean` and `spread` of the colours."""
        self.settings = dict(settings)
        self.columns: list[str] = list(settings["columns"])
        self.changes: Mapping[str, bool] = {"mirrored": False}  # that training may make besides
        self.factor = np.float32(settings["factor"])
        self.mean = np.asarray(settings["mean"], dtype=np.float32)
        self.spread = np.asarray(settings["spread"], dtype=np.float32)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """pixel_values [B, columns · 3, height, width] float32."""
        return self.padded(self.encode(inputs))

    def encode(self, inputs: Any) -> list[np.ndarray]:
        """Every picture, read and cut [columns · 3, height, width] uint8."""
        return [np.concatenate([self._one(row[name], name) for name in self.columns]) for row in inputs]

    def padded(self, encoded: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """A batch: nothing is padded, as all are of one size."""
        pixels = (
            np.stack(list(encoded))
            .astype(np.float32)
            .reshape(len(encoded), len(self.columns), 3, *encoded[0].shape[1:])
        )
        made = (pixels * self.factor - self.mean[:, None, None]) / self.spread[:, None, None]
        return {"pixel_values": made.reshape(len(encoded), -1, *encoded[0].shape[1:])}

    def augmented(self, encoded: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Half of them mirrored where `changes` says so, all pictures of a row or none."""
        if not self.changes["mirrored"]:
            return self.padded(encoded)
        return self.padded([one[:, :, ::-1] if rng.random() < 0.5 else one for one in encoded])

    def costs(self, encoded: Sequence[np.ndarray]) -> np.ndarray:
        """Ones [n]: every picture costs the same."""
        return np.ones(len(encoded), dtype=np.int64)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Ones [n]."""
        return np.ones(len(inputs), dtype=np.int64)

    def _one(self, value: Any, column: str) -> np.ndarray:
        pixels = image.read(value, column)
        height, width = pixels.shape[:2]
        size = self.settings["size"]
        if isinstance(size, int):
            short = min(height, width)
            height, width = (size, width * size // short) if height <= width else (height * size // short, size)
        else:
            height, width = size
        pixels = resized(pixels, width, height, how=self.settings["how"])
        if self.settings["crop"]:
            pixels = _centre(pixels, *self.settings["crop"])
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The encoder with its own pooling, without dropout: its weights are loaded by `sartor/model.py`."""
    import torch
    from torch import nn

    maker, config, options = _encoder(folder, meta)
    encoder: Any = maker(config, **options)
    count = int(meta["columns"])

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            sizes = getattr(config, "hidden_sizes", None)
            single = int(sizes[-1]) if sizes else int(getattr(config, "hidden_size", 0) or 0)
            if not single:
                with torch.no_grad():
                    side = int(getattr(config, "image_size", 32) or 32)
                    single = int(self._pooled(torch.zeros(1, 3, side, side)).shape[1])
            self.width = count * single

        def _pooled(self, pixels: torch.Tensor) -> torch.Tensor:
            told = self.encoder(pixel_values=pixels)
            pooled = getattr(told, "pooler_output", None)
            if pooled is None:
                states = told.last_hidden_state
                pooled = states.mean((2, 3)) if states.ndim == 4 else states[:, 0]
            return pooled.flatten(1)  # type: ignore[no-any-return]

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            if count == 1:
                return self._pooled(pixel_values)
            return torch.cat([self._pooled(part) for part in pixel_values.split(3, dim=1)], dim=1)

        def blocks(self) -> list[nn.Module]:
            for path in ("encoder.stages", "encoder.layer", "encoder.layers", "layer", "layers"):
                found: Any = self.encoder
                for name in path.split("."):
                    found = getattr(found, name, None)
                if found is not None:
                    return list(found)
            return []

    return Encoder()


def base_weights(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's own tensors, named as the body names them; transformers maps the names that older versions of it gave.

    Raises: InputError `backbone.weights-changed`, `backbone.broken` where some are missing.
    """
    folder = find(str(meta["ref"]))
    pretrained.check_unchanged(folder, meta)
    maker, config, options = _encoder(folder, meta)
    made, told = maker.from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(told["missing_keys"]):
        why = f"lacks {len(missing)} tensors of a {meta['family']}, such as {missing[0]}"
        raise InputError("backbone.broken", ref=meta["ref"], file="model.safetensors", why=why)
    return {f"encoder.{name}": tensor for name, tensor in made.state_dict().items()}


def _encoder(folder: Path, meta: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """(the class of the encoder, its configuration without dropout, what else it is made with).

    A pooler that the checkpoint has no weights for is left out: it would pool at random.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config = getattr(config, "vision_config", config)
    for name in list(vars(config)):
        if ("dropout" in name or "drop_path" in name) and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)
    maker = transformers.AutoModel._model_mapping[type(config)]
    learned = config.model_type in ("vit", "deit", "beit")
    pools = "add_pooling_layer" in inspect.signature(maker.__init__).parameters
    return maker, config, {"add_pooling_layer": bool(meta["pooler"])} if pools and learned else {}


def _vision(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part that speaks of the image side, with its family."""
    if "vision_config" in config:
        family = str(config["model_type"])
        return {"model_type": f"{family}_vision_model"} | dict(config["vision_config"])
    return dict(config)


def _settings(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """How pictures are prepared: as transformers reads preprocessor_config.json, else from the configuration and ImageNet's colours."""
    told: dict[str, Any] = {}
    if (folder / "preprocessor_config.json").is_file():
        from transformers import AutoImageProcessor

        read = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        told = read.to_dict()  # with what its class leaves unsaid
    side = int(config.get("image_size") or 224)
    # What is null there is as good as left out.
    size, crop = told.get("size") or {"height": side, "width": side}, told.get("crop_size")
    size = {"shortest_edge": size} if isinstance(size, int) and told.get("do_center_crop") else size
    size = {"height": size, "width": size} if isinstance(size, int) else size
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    short = size.get("shortest_edge")
    cut = (int(crop["height"]), int(crop["width"])) if crop and told.get("do_center_crop") else None
    if short and told.get("crop_pct") and short < 384:  # ConvNeXt's: larger first, then the centre of it
        cut, short = (int(short), int(short)), int(short / told["crop_pct"])
    elif short and config.get("model_type") in ("convnext", "convnextv2"):
        size, short = {"height": short, "width": short}, None
    spread = told.get("image_std") or [0.229, 0.224, 0.225]
    return {
        "size": int(short) if short else (int(size["height"]), int(size["width"])),
        "crop": cut,
        "how": SAMPLINGS.get(2 if told.get("resample") is None else int(told["resample"]), "bilinear"),
        "factor": float(told.get("rescale_factor") or 1 / 255) if told.get("do_rescale", True) else 1.0,
        "mean": list(told.get("image_mean") or [0.485, 0.456, 0.406]) if told.get("do_normalize", True) else [0.0] * 3,
        "spread": list(spread) if told.get("do_normalize", True) else [1.0] * 3,
    }


def _side(settings: Mapping[str, Any]) -> int:
    size = settings["crop"] or settings["size"]
    return int(size if isinstance(size, int) else size[0])


def _patch(ref: str, config: dict[str, Any]) -> int:
    usual = PATCHES.get(str(config["model_type"]).split("_")[0], 16)
    return _sizes(ref, config, "patch_size", otherwise=[usual])[0]


def _centre(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle [height, width, 3] of a picture, on black where it is smaller."""
    tall, wide = pixels.shape[:2]
    if tall < height or wide < width:
        around = np.zeros((max(tall, height), max(wide, width), 3), dtype=np.uint8)
        top, left = (around.shape[0] - tall) // 2, (around.shape[1] - wide) // 2
        around[top : top + tall, left : left + wide] = pixels
        pixels, (tall, wide) = around, around.shape[:2]
    top, left = (tall - height) // 2, (wide - width) // 2
    return pixels[top : top + height, left : left + width]
