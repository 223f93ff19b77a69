"""Any audio encoder of transformers, by hub id or by a local folder in the hub's format, with the preparation that it was trained on.

wav2vec 2.0, HuBERT, WavLM and UniSpeech-SAT read samples; the Audio Spectrogram Transformer and Whisper's encoder read log-mel energies. Every
recording is brought to one length, the same in every batch: what reads samples normalises over time, so that silence after a recording is a part
of what it answers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sartor import checkpoint, pretrained, sound
from sartor.backbone import Card
from sartor.mel import CHUNK, kaldi_filter_bank, slaney_filter_bank
from sartor.modality import audio
from sartor.sound import Sound, Unreadable

TAKES = ("audio",)
TRAINS = "gradient"
CONVOLUTIONAL = True  # so that a convolution is timed before its cost is forecast
PRETRAINED = True
OPENS = ("transformers.modeling_utils",)
OPENS_HUB = True
# The rate is that of transformers' own example of audio classification.
TRAINING: Mapping[str, Any] = {"batch_rows": 32, "batch_units": 16384, "learning_rate": 3e-5}
PREFIXES: Mapping[str, tuple[str, ...]] = {  # of tensors, by family: what stands before the encoder in a larger model
    "wav2vec2": ("wav2vec2.",),
    "hubert": ("hubert.",),
    "wavlm": ("wavlm.",),
    "unispeech-sat": ("unispeech_sat.",),
    "audio-spectrogram-transformer": ("audio_spectrogram_transformer.",),
    "whisper": ("model.encoder.", "encoder."),
}
FAMILIES = tuple(PREFIXES)
# What a config.json may leave out, as transformers would fill it in.
CONVOLUTIONS = {"conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    **{
        family: {**CONVOLUTIONS, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}
        for family in ("wav2vec2", "hubert", "wavlm", "unispeech-sat")
    },
    "audio-spectrogram-transformer": {
        "max_length": 1024,
        "num_mel_bins": 128,
        "patch_size": 16,
        "frequency_stride": 10,
        "time_stride": 10,
    },
    "whisper": {
        "max_source_positions": 1500,
        "num_mel_bins": 80,
        "d_model": 384,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "encoder_ffn_dim": 1536,
    },
}
# Names that tensors have in older files (transformers' conversion_mapping.py), in the order in which they are changed.
RENAMED = (
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
RENAMED_PATCHES = (
    ("encoder.layer.", "layers."),
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)
USUAL_RATE = 16_000  # Hz, where a checkpoint says nothing else
LEAST_S, MOST_S = 0.5, 10.0  # of a recording, for what reads samples: attention's cost grows with the square
QUANTILE = 0.95  # of the durations, that is read whole
STEP = 160  # samples, to which the loudest stretch is found


def cards() -> list[Card]:
    """None: no audio encoder comes with the installation."""
    return []


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`seconds`, that every recording is brought to: the 95th percentile of these, from 0.5 to 10, up to the next tenth.

    Nothing where the checkpoint knows one length only, as those that read energies do.
    """
    if _reads(pretrained.config_of(pretrained.folder_of(ref, FAMILIES))) != "samples":
        return {}, {}
    durations = np.array([_seconds(row[name]) for row in inputs for name in columns])
    durations = durations[np.isfinite(durations)]
    usual = float(np.quantile(durations, QUANTILE)) if len(durations) else LEAST_S
    seconds = float(given.get("seconds", np.clip(np.ceil(round(10 * usual, 6)) / 10, LEAST_S, MOST_S)))
    cut = float(np.mean(durations > seconds)) if len(durations) else 0.0
    return {"seconds": seconds}, {"seconds": seconds, "cut": cut}


def find(ref: str) -> Path:
    """The folder of a checkpoint. Raises: InputError `backbone.*`, `weights.broken`."""
    return pretrained.folder_of(ref, FAMILIES)


def flops(ref: str, profile: Any) -> float:
    """Of one forward pass, as many as an encoder's products would be in the same time: convolutions as this machine does them."""
    config = _config(pretrained.folder_of(ref, FAMILIES))
    width = checkpoint.size_of(ref, config, "hidden_size", "d_model", otherwise=768)
    layers = checkpoint.size_of(ref, config, "num_hidden_layers", "encoder_layers", otherwise=12)
    inner = checkpoint.size_of(ref, config, "intermediate_size", "encoder_ffn_dim", otherwise=4 * width)
    convolved = 0.0
    if (reads := _reads(config)) == "samples":
        longest = profile.sizes.get("seconds_99", profile.sizes.get("seconds_median", 1.0)) / profile.columns
        places, before = round(USUAL_RATE * float(np.clip(longest, LEAST_S, MOST_S))), 1
        for after, kernel, stride in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True):
            places = _frames(places, [(kernel, stride)])
            convolved += 2.0 * kernel * before * after * places
            before = after
        kernel, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
        convolved += 2.0 * places * (before * width / 3 + kernel * width * width / groups)
    else:
        places = _places(config)
        if reads == "patches":
            convolved = 2.0 * places * config["patch_size"] ** 2 * width
        else:
            convolved = 2.0 * 3 * places * (2 * config["num_mel_bins"] * width + width * width)
    products = 2.0 * layers * places * (4 * width * width + 2 * width * inner + 2 * places * width)
    return (profile.convolution * convolved + products) * float(profile.columns)


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Writes configuration and how recordings are prepared; the weights stay where they are, named by their sha256.

    options: `seconds`, that a recording is brought to, where samples are read.
    """
    from sartor.bundle import sha256

    source = pretrained.folder_of(ref, FAMILIES)
    config, told = _config(source), _told(source)
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "config.json", folder / "config.json")
    settings = _settings(config, told, float(options.get("seconds", MOST_S))) | {"columns": list(columns)}
    (target / "sound.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    reads = settings["reads"]
    strides = {
        "samples": list(zip(config["conv_kernel"], config["conv_stride"], strict=True)) if reads == "samples" else [],
        "frames": [(1, settings.get("hop", STEP)), (1, 2)],  # frames that begin before the end, and every other of them
        "patches": [],
    }[reads]
    return {
        "leaf": "speech",
        "ref": ref,
        "sha256": sha256(source / "model.safetensors"),
        "family": config["model_type"],
        "reads": reads,
        "strides": strides,  # (kernel, stride) from samples to what is pooled
        # Norms over time of the first convolution alone were trained without a mask, all other models with one; their own preparation says which.
        "masks": reads == "samples" and bool(told.get("return_attention_mask", False)),
        "columns": len(columns),
        "heads": config.get("num_attention_heads") or config.get("encoder_attention_heads"),
        "width": config.get("hidden_size") or config.get("d_model"),
        "owns_weights": False,
    }


def processor(folder: Path, meta: Mapping[str, Any]) -> SpeechProcessor:
    """Opens what `start` wrote."""
    return SpeechProcessor(json.loads((folder / "processor" / "sound.json").read_text(encoding="utf-8")))


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording as the body takes it, but for what follows it."""

    values: np.ndarray  # float32 [samples] or [frames, bands]
    samples: int  # of it
    rest: float  # the value of silence after it


class SpeechProcessor:
    """Recordings of one length, as the checkpoint heard them; those of several columns beside each other."""

    batch_units = 4096  # places that attention goes over

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """settings: `columns`; `rate` in Hz; `least` and `most` samples that are read; `units`, the cost of a recording; `reads`, and what that takes."""
        self.columns: list[str] = list(settings["columns"])
        self.rate, self.least, self.most = int(settings["rate"]), int(settings["least"]), int(settings["most"])
        self.units = int(settings["units"])
        self.prepare = _prepare(settings)
        self.axes: dict[str, dict[int, str]] = {"sound": {0: "batch"}}
        if settings["reads"] != "patches":
            self.axes["samples"] = {0: "batch"}

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """sound [B, columns, samples] or [B, columns, frames, bands] float32; samples [B, columns] int64, how many are real, where that matters."""
        return self.padded(self.encode(inputs))

    def encode(self, inputs: Any) -> list[list[Heard]]:
        """Every recording, prepared; of each input one for each column.

        Raises: RowError `row.bad-value` for what is no recording.
        """
        return [[self._one(row[name], name) for name in self.columns] for row in inputs]

    def padded(self, encoded: Sequence[Sequence[Heard]]) -> dict[str, np.ndarray]:
        """A batch of what `encode` gave, each followed by silence up to the one length."""
        made = np.zeros((len(encoded), len(self.columns), *self.prepare.shape), dtype=np.float32)
        samples = np.zeros((len(encoded), len(self.columns)), dtype=np.int64)
        for i, row in enumerate(encoded):
            for j, heard in enumerate(row):
                made[i, j, : len(heard.values)] = heard.values
                made[i, j, len(heard.values) :] = heard.rest
                samples[i, j] = heard.samples
        return {"sound": made, "samples": samples} if "samples" in self.axes else {"sound": made}

    def costs(self, encoded: Sequence[Sequence[Heard]]) -> np.ndarray:
        """The same for every input [n]: places that attention goes over."""
        return np.full(len(encoded), self.units * len(self.columns), dtype=np.int64)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `costs` [n]; nothing is decoded for it."""
        return np.full(len(inputs), self.units * len(self.columns), dtype=np.int64)

    def _one(self, value: Any, column: str) -> Heard:
        heard = audio.read(value, column)
        samples = audio.resampled(heard.samples, heard.rate, self.rate)
        if len(samples) > self.most:
            samples = _loudest(samples, self.most)
        elif len(samples) < self.least:
            samples = np.pad(samples, (0, self.least - len(samples)))
        return Heard(*self.prepare(samples))


def _loudest(samples: np.ndarray, most: int) -> np.ndarray:
    """The stretch [most] with the most energy, to 160 samples: what stands alone in a long recording is seldom at its beginning."""
    pieces = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    energy = np.concatenate([[0.0], np.cumsum(np.einsum("ij,ij->i", pieces, pieces, dtype=np.float64))])
    wide, places = most // STEP, (len(samples) - most) // STEP + 1
    begin = STEP * int(np.argmax(energy[wide : wide + places] - energy[:places]))
    return samples[begin : begin + most]


@dataclass(frozen=True)
class Samples:
    """Samples of zero mean and unit variance, as transformers' Wav2Vec2FeatureExtractor makes them of a recording that stands alone.

    Where it pads without giving a mask, that one counts the padding in: what a recording is scaled by would hang on the length of others.
    """

    most: int
    normalise: bool
    rest: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.most,)

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, int, float]:
        """[n] -> (float32 [n], n, what follows)."""
        made = samples.astype(np.float64)
        if self.normalise:
            made = (made - made.mean()) / np.sqrt(made.var() + 1e-7)
        return made.astype(np.float32), len(samples), self.rest


@dataclass(frozen=True)
class Frames:
    """Whisper's log-mel energies (Radford et al. 2023, section 2.2; `log_mel_spectrogram` in openai/whisper).

    A frame stands around every `hop`-th sample, the beginning mirrored before it; energies in bands of Slaney's are let down to 80 dB below the
    loudest, whose logarithm is then brought to about −1 to 1.
    """

    rate: int
    window: int
    hop: int
    bands: int
    count: int  # of frames

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, self.bands)

    @cached_property
    def filters(self) -> np.ndarray:
        return slaney_filter_bank(self.rate, self.window, self.bands, 0.0, min(8_000.0, self.rate / 2))

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, int, float]:
        """[n] -> (float32 [frames that hear any of it, bands], n, what follows)."""
        half = self.window // 2
        whole = np.pad(samples, (0, self.count * self.hop - len(samples)))
        framed = _framed(np.pad(whole, half, mode="reflect"), self.window, self.hop)
        framed = framed[: min(self.count, (len(samples) + half) // self.hop + 1)]
        taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        logs = np.log10(np.maximum(_energies(framed, taper, self.filters), 1e-10))
        floor = max(-10.0, float(logs.max()) - 8)
        return ((np.maximum(logs, floor) + 4) / 4).astype(np.float32), len(samples), (floor + 4) / 4


@dataclass(frozen=True)
class Patches:
    """Kaldi's filterbank energies (compute-fbank-feats: no dither, Hann window), as the Audio Spectrogram Transformer takes them (Gong et al. 2021,
    section 2.1): natural logarithms less their mean over twice their deviation, as both were on AudioSet. What follows is 0 before that.
    """

    rate: int
    bands: int
    count: int  # of frames
    mean: float
    spread: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, self.bands)

    @property
    def window(self) -> int:
        return round(0.025 * self.rate)

    @property
    def hop(self) -> int:
        return round(0.010 * self.rate)

    @cached_property
    def filters(self) -> np.ndarray:
        length = 1 << (self.window - 1).bit_length()
        return kaldi_filter_bank(self.rate, length, self.bands, 20.0, self.rate / 2)

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, int, float]:
        """[n] -> (float32 [frames, bands], n, what follows)."""
        framed = _framed(samples, self.window, self.hop)[: self.count].astype(np.float64)
        framed -= framed.mean(axis=1, keepdims=True)
        before = np.concatenate([framed[:, :1], framed[:, :-1]], axis=1)
        energies = _energies(framed - 0.97 * before, np.hanning(self.window), self.filters)
        logs = np.log(np.maximum(energies, np.finfo(np.float32).eps))
        return ((logs - self.mean) / self.spread).astype(np.float32), len(samples), -self.mean / self.spread


def _prepare(settings: Mapping[str, Any]) -> Samples | Frames | Patches:
    """What makes of samples what the body takes."""
    if settings["reads"] == "samples":
        return Samples(settings["most"], settings["normalise"], settings["rest"])
    shape = {"rate": settings["rate"], "bands": settings["bands"], "count": settings["frames"]}
    if settings["reads"] == "frames":
        return Frames(**shape, window=settings["window"], hop=settings["hop"])
    return Patches(**shape, mean=settings["mean"], spread=settings["spread"])


def _framed(samples: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Every frame that stands wholly inside the samples: [frames, window]."""
    return np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]


def _energies(framed: np.ndarray, taper: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """[frames, window] -> [frames, bands] float64; some frames at a time, as in `LogMel`."""
    length = 2 * (len(filters) - 1)
    found = np.empty((len(framed), filters.shape[1]))
    for begin in range(0, len(framed), CHUNK):
        spectrum = np.fft.rfft(framed[begin : begin + CHUNK] * taper, n=length)
        found[begin : begin + CHUNK] = (np.square(spectrum.real) + np.square(spectrum.imag)) @ filters
    return found


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The encoder without dropout or masking, pooled by the mean over what is real: sound, samples (see the processor) -> features [B, width].

    The Audio Spectrogram Transformer's features are its own pooling. The weights are loaded by `sartor/model.py`.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModel
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    for name in list(vars(config)):
        if ("dropout" in name or "layerdrop" in name) and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)
    if meta["reads"] == "samples":
        config.apply_spec_augment, config.mask_time_prob, config.mask_feature_prob = False, 0.0, 0.0
        config.add_adapter = False  # what shortens the states for a decoder behind them
    made = (
        WhisperEncoder(config) if meta["reads"] == "frames" else AutoModel.from_config(config, trust_remote_code=False)
    )
    encoder: Any = made.float()  # whatever type the checkpoint has: half of one is slow on a CPU
    if hasattr(encoder, "masked_spec_embed"):
        del encoder.masked_spec_embed  # it stands for what is masked
    count, strides = int(meta["columns"]), meta["strides"]

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.single = int(config.hidden_size)
            self.width = count * self.single

        def forward(self, sound: torch.Tensor, samples: torch.Tensor | None = None) -> torch.Tensor:
            x = sound.flatten(0, 1)  # [B · columns, …]
            if samples is None:
                pooled = self.encoder(input_values=x).pooler_output
            else:
                pooled = self._mean(x, samples.flatten())
            return pooled.reshape(-1, self.width)  # type: ignore[no-any-return]

        def _mean(self, x: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
            if meta["reads"] == "frames":
                states = self.encoder(input_features=x.transpose(1, 2)).last_hidden_state
            elif meta["masks"]:
                mask = torch.arange(x.shape[1], device=x.device) < samples.unsqueeze(1)
                states = self.encoder(input_values=x, attention_mask=mask.long()).last_hidden_state
            else:
                states = self.encoder(input_values=x).last_hidden_state
            frames = _frames(samples, strides).unsqueeze(1)  # [B · columns, 1]
            real = torch.arange(states.shape[1], device=x.device) < frames
            return (states.float() * real.unsqueeze(-1)).sum(1) / frames

        def blocks(self) -> list[nn.Module]:
            names = ("conv1", "conv2", "embeddings", "feature_extractor", "feature_projection")
            first = [getattr(self.encoder, name) for name in names if hasattr(self.encoder, name)]
            inner = getattr(self.encoder, "encoder", self.encoder)
            return [*first, *(inner.layers if hasattr(inner, "layers") else inner.layer)]

    return Encoder()


def base_weights(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's own tensors, named as the body names them. Raises: InputError `backbone.weights-changed`.

    Those of older files under both names: which of them the body has hangs on the version of transformers.
    """
    family = str(meta["family"])
    found = pretrained.tensors(pretrained.folder_of(str(meta["ref"]), FAMILIES), meta, PREFIXES[family])
    changes = RENAMED_PATCHES if meta["reads"] == "patches" else RENAMED
    return {f"encoder.{made}": tensor for name, tensor in found.items() for made in (name, _renamed(name, changes))}


def _renamed(name: str, changes: Sequence[tuple[str, str]]) -> str:
    for before, after in changes:
        name = name.replace(before, after)
    return name


def _frames(samples: Any, strides: Sequence[Sequence[int]]) -> Any:
    """How many places so many samples give, through windows of (width, stride); of a number or of a tensor."""
    for kernel, stride in strides:
        samples = (samples - kernel) // stride + 1
    return samples


def _config(folder: Path) -> dict[str, Any]:
    """The configuration with what it leaves out."""
    config = pretrained.config_of(folder)
    return {**DEFAULTS[config["model_type"]], **config}


def _reads(config: Mapping[str, Any]) -> str:
    """'samples', 'frames' (Whisper) or 'patches' (of a spectrogram)."""
    return {"audio-spectrogram-transformer": "patches", "whisper": "frames"}.get(config["model_type"], "samples")


def _places(config: Mapping[str, Any]) -> int:
    """That attention goes over, of those that know one length."""
    if _reads(config) == "frames":
        return int(config["max_source_positions"])
    patch = config["patch_size"]
    high = _frames(config["num_mel_bins"], [(patch, config["frequency_stride"])])
    return 2 + int(high * _frames(config["max_length"], [(patch, config["time_stride"])]))


def _told(folder: Path) -> dict[str, Any]:
    """How a checkpoint says that recordings are prepared: preprocessor_config.json, or that part of processor_config.json."""
    if (file := folder / "preprocessor_config.json").is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    if (file := folder / "processor_config.json").is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")).get("feature_extractor") or {})
    return {}


def _settings(config: Mapping[str, Any], told: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Everything that preparing takes, and its length; what is left out as transformers' feature extractors fill it in."""
    rate, reads = int(told.get("sampling_rate", USUAL_RATE)), _reads(config)
    common = {"reads": reads, "rate": rate}
    if reads == "samples":
        strides = list(zip(config["conv_kernel"], config["conv_stride"], strict=True))
        least = 1
        for kernel, stride in reversed(strides):  # of samples that give one place
            least = (least - 1) * stride + kernel
        most = max(least, round(seconds * rate))
        return common | {
            "least": least,
            "most": most,
            "units": _frames(most, strides),
            "normalise": bool(told.get("do_normalize", True)),
            "rest": float(told.get("padding_value", 0.0)),
        }
    common["units"] = _places(config)
    if reads == "frames":
        window, hop = int(told.get("n_fft", 400)), int(told.get("hop_length", 160))
        frames = 2 * int(config["max_source_positions"])  # the encoder takes no other number
        bands = int(told.get("feature_size", config["num_mel_bins"]))
        shape = {"bands": bands, "window": window, "hop": hop, "frames": frames}
        return {**common, **shape, "least": 1, "most": frames * hop}
    bands, frames = (int(told.get(name, config[name])) for name in ("num_mel_bins", "max_length"))
    normalise = bool(told.get("do_normalize", True))
    made = Patches(
        rate,
        bands,
        frames,
        mean=float(told.get("mean", -4.2677393)) if normalise else 0.0,
        spread=2 * float(told.get("std", 4.5689974)) if normalise else 1.0,
    )
    scale = {"bands": bands, "frames": frames, "mean": made.mean, "spread": made.spread}
    return {**common, **scale, "least": made.window, "most": made.window + (frames - 1) * made.hop}


def _seconds(value: Any) -> float:
    """How long a recording is, by its header; NaN of what cannot be read."""
    if isinstance(value, Sound):
        return value.seconds
    try:
        return sound.header(bytes(value)).seconds
    except (Unreadable, TypeError):
        return float("nan")
