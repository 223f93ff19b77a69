"""Audio encoders of transformers from local folders: recordings are prepared as transformers does, weights arrive whole, no row hangs on others."""

from __future__ import annotations

import io
import json
import wave
from types import SimpleNamespace

import numpy as np
import pytest

from sartor import model as models
from sartor.backbone import speech
from sartor.errors import InputError, RowError
from sartor.modality.audio import Sound
from sartor.runtime import onnx

RATE = 16_000
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WAVES = {
    **SMALL,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 8, 4],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
# name: (family, configuration, preparation)
KINDS = {
    "wav2vec2": ("wav2vec2", WAVES, {}),
    "wav2vec2 with a mask": (
        "wav2vec2",
        {**WAVES, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        {"return_attention_mask": True},
    ),
    "hubert": ("hubert", WAVES, {"do_normalize": False}),
    "wavlm": ("wavlm", WAVES, {}),
    "unispeech-sat": ("unispeech-sat", WAVES, {}),
    "patches": (
        "audio-spectrogram-transformer",
        {**SMALL, "max_length": 64, "num_mel_bins": 32},
        {"max_length": 64, "num_mel_bins": 32},
    ),
    "whisper": (
        "whisper",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 64,
            "vocab_size": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "max_source_positions": 50,
            "max_target_positions": 8,
            "num_mel_bins": 80,
        },
        {"chunk_length": 1},
    ),
}


def checkpoint(name, folder):
    """A small checkpoint with random weights, as a hub would give it."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModel

    family, shape, prepared = KINDS[name]
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **shape))
    with torch.no_grad():
        for (
            parameter
        ) in model.parameters():  # so that every part of it tells, and a wrong name of any changes the answer
            spread = 0.2 if parameter.ndim < 2 else (parameter.shape[0] / parameter.numel()) ** 0.5
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


def glide(seconds, seed=0, rate=RATE):
    rng = np.random.default_rng(seed)
    pitch = np.linspace(300 + 100 * seed, 900, round(seconds * rate))
    samples = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + rng.normal(0, 0.01, len(pitch))
    return Sound(samples.astype(np.float32), rate)


def rows(seconds=(0.02, 0.31, 0.64, 1.5)):
    return [{"sound": glide(length, seed)} for seed, length in enumerate(seconds)]


def started(name, folder, *, columns=("sound",), seconds=0.6):
    """(processor, model, meta) as a bundle has them."""
    source = checkpoint(name, folder / "source")
    (out := folder / "out").mkdir()
    meta = speech.start(str(source), out, columns=list(columns), inputs=[], seed=0, seconds=seconds)
    spec = {"classes": ["a", "b"], "counts": [1, 1]}
    head = {"target": "label", "task": "classify", "output": "output_0", "spec": spec}
    (out / "bundle.json").write_text(json.dumps({"backbone": meta, "heads": [head]}))
    meta = json.loads((out / "bundle.json").read_text())["backbone"]
    model = models.load(out).eval()
    pytest.importorskip("torch").nn.init.normal_(model.heads["output_0"].weight)
    return speech.processor(out, meta), model, meta


def features(model, batch):
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        return model.body(**{name: torch.from_numpy(array) for name, array in batch.items()}).numpy()


def told(name, source, batch):
    """What transformers answers to the same batch, pooled."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    model = AutoModel.from_pretrained(source).eval()
    sound = torch.from_numpy(batch["sound"][:, 0])
    with torch.inference_mode():
        if name == "patches":
            return model(sound).pooler_output.numpy()
        samples = torch.from_numpy(batch["samples"][:, 0])
        if name == "whisper":
            states = model.encoder(sound.transpose(1, 2)).last_hidden_state
            frames = -(-samples // 320)
        else:
            mask = (torch.arange(sound.shape[1]) < samples[:, None]).long() if "mask" in name else None
            states = model(sound, attention_mask=mask).last_hidden_state
            frames = model._get_feat_extract_output_lengths(samples)
        return torch.stack([one[:count].mean(0) for one, count in zip(states, frames, strict=True)]).numpy()


@pytest.mark.parametrize("name", list(KINDS))
def test_a_checkpoint_of_every_family_gives_the_features_that_transformers_gives(name, tmp_path):
    processor, model, _ = started(name, tmp_path)
    batch = processor(rows())
    ours = features(model, batch)
    assert ours.shape == (4, model.body.width) == (4, 32)
    assert np.abs(ours - told(name, tmp_path / "source", batch)).max() < 1e-5
    assert np.ptp(ours, axis=0).min() > 1e-4  # they do differ from each other
    alone = np.concatenate([features(model, processor([row])) for row in rows()])
    assert np.abs(ours - alone).max() < 1e-5
    assert len(model.body.blocks()) > 2
    assert processor.length(rows()).tolist() == processor.costs(processor.encode(rows())).tolist()
    assert processor.padded([])["sound"].shape == (0, *batch["sound"].shape[1:])
    tensors = {key: pytest.importorskip("torch").from_numpy(array) for key, array in batch.items()}
    trained = model.body.train()(**tensors)
    assert np.abs(trained.detach().numpy() - ours).max() < 1e-5  # nothing is dropped or masked
    trained.square().sum().backward()
    left = [
        key for key, parameter in model.body.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert not left


@pytest.mark.parametrize("name", ["wav2vec2", "patches"])
def test_older_and_newer_names_of_tensors_are_read(name, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    back = {
        "wav2vec2": [(newer, older) for older, newer in speech.RENAMED],
        "patches": [
            ("layers.", "encoder.layer."),
            ("attention.q_proj", "attention.attention.query"),
            ("attention.k_proj", "attention.attention.key"),
            ("attention.v_proj", "attention.attention.value"),
            ("attention.o_proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        ],
    }[name]
    processor, model, meta = started(name, tmp_path)
    expected = features(model, processor(rows()))
    file = tmp_path / "source" / "model.safetensors"
    changes = speech.RENAMED_PATCHES if name == "patches" else speech.RENAMED
    newer = {speech._renamed(key, changes): tensor for key, tensor in load_file(file).items()}
    prefix = speech.PREFIXES[KINDS[name][0]][0]  # as in a model with a head
    older = {prefix + speech._renamed(key, back): tensor for key, tensor in newer.items()}
    for number, tensors in enumerate((newer, {**older, "classifier.weight": torch.zeros(2)})):
        save_file(tensors, file, metadata={"format": "pt"})
        (out := tmp_path / str(number)).mkdir()
        meta = speech.start(str(tmp_path / "source"), out, columns=["sound"], inputs=[], seed=0, seconds=0.6)
        (out / "bundle.json").write_text(json.dumps({"backbone": meta, "heads": []}))
        assert (features(models.load(out).eval(), processor(rows())) == expected).all()
    assert len(set(newer) & {key.removeprefix(prefix) for key in older}) < len(newer)


def extracted(kind, sounds, **options):
    import transformers

    extractor = getattr(transformers, kind)(**options.pop("made", {}))
    return extractor(sounds, sampling_rate=RATE, return_tensors="np", **options)


def test_samples_are_prepared_as_transformers_prepares_them(tmp_path):
    pytest.importorskip("torch")
    processor, *_ = started("wav2vec2", tmp_path)
    batch = processor(rows())
    assert batch["sound"].shape == (4, 1, 9600)
    assert batch["samples"][:, 0].tolist() == [320, 4960, 9600, 9600]
    sounds = [row["sound"].samples for row in rows()][:2]
    wide = {"padding": "max_length", "max_length": 9600, "return_attention_mask": True}
    theirs = extracted("Wav2Vec2FeatureExtractor", sounds, **wide)["input_values"]
    assert np.abs(batch["sound"][:2, 0] - theirs).max() < 1e-4
    alone = extracted("Wav2Vec2FeatureExtractor", sounds[1])["input_values"][0]
    assert np.abs(batch["sound"][1, 0, :4960] - alone).max() < 1e-4


@pytest.mark.parametrize("bands", [80, 128])
def test_whispers_energies_are_those_of_transformers(bands):
    pytest.importorskip("torch")
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor(feature_size=bands, chunk_length=2)
    config = {"model_type": "whisper", "max_source_positions": 100, "num_mel_bins": bands}
    settings = speech._settings(config, theirs.to_dict(), 0.0) | {"columns": ["sound"]}
    inputs = [*rows((0.001, 0.4, 1.99, 2.0)), {"sound": Sound(np.zeros(5_000, dtype=np.float32), RATE)}]
    ours = speech.SpeechProcessor(settings)(inputs)["sound"][:, 0].transpose(0, 2, 1)
    sounds = [row["sound"].samples for row in inputs]
    assert np.abs(ours - theirs(sounds, sampling_rate=RATE, return_tensors="np")["input_features"]).max() < 1e-4
    padded = np.stack([np.pad(one, (0, 2 * RATE - len(one))) for one in sounds])
    assert np.abs(ours - theirs._np_extract_fbank_features(padded, "cpu")).max() < 1e-5


@pytest.mark.parametrize("told", [{}, {"num_mel_bins": 64, "max_length": 100, "mean": -3.0, "std": 2.0}])
def test_filterbank_energies_are_those_of_transformers(told):
    pytest.importorskip("torch")
    from transformers.utils import is_speech_available

    if is_speech_available():
        pytest.skip("with torchaudio, transformers computes them in float32")
    config = {**speech.DEFAULTS["audio-spectrogram-transformer"], "model_type": "audio-spectrogram-transformer"}
    processor = speech.SpeechProcessor(speech._settings(config, told, 0.0) | {"columns": ["sound"]})
    inputs = [*rows((0.025, 0.4, 1.0)), {"sound": Sound(np.zeros(5_000, dtype=np.float32), RATE)}]
    ours = processor(inputs)["sound"][:, 0]
    sounds = [row["sound"].samples for row in inputs]
    theirs = extracted("ASTFeatureExtractor", sounds, made=told)["input_values"]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_length_comes_from_the_training_inputs_unless_it_is_given(tmp_path):
    source = str(checkpoint("wav2vec2", tmp_path / "waves"))
    inputs = [{"sound": Sound(np.zeros(round(s * 8_000), dtype=np.float32), 8_000)} for s in np.linspace(0.02, 2, 100)]
    options, notes = speech.resolve_options(source, columns=["sound"], inputs=inputs, given={})
    assert options == {"seconds": 2.0}  # 1.901, up to the next tenth
    assert notes["cut"] == 0
    given = speech.resolve_options(source, columns=["sound"], inputs=inputs, given={"seconds": 1})
    assert given[0] == {"seconds": 1.0}
    assert given[1]["cut"] == pytest.approx(0.5, abs=0.02)
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, 8_000, 0, "NONE", ""))
        written.writeframes(bytes(2 * 6_000))
    encoded = [{"sound": file.getvalue()}, {"sound": b"junk"}]
    assert speech.resolve_options(source, columns=["sound"], inputs=encoded, given={})[0] == {"seconds": 0.8}
    for lengths, wanted in (((0.1,), 0.5), ((40.0,), 10.0)):
        few = [{"sound": Sound(np.zeros(round(s * 1_000), dtype=np.float32), 1_000)} for s in lengths]
        assert speech.resolve_options(source, columns=["sound"], inputs=few, given={})[0] == {"seconds": wanted}
    for name in ("whisper", "patches"):  # which know one length only
        other = str(checkpoint(name, tmp_path / name))
        assert speech.resolve_options(other, columns=["sound"], inputs=inputs, given={}) == ({}, {})


def test_of_a_long_recording_the_loudest_stretch_is_read_at_the_checkpoints_rate(tmp_path):
    processor, *_ = started("hubert", tmp_path)
    quiet = np.random.default_rng(0).normal(0, 1e-3, 4 * 8_000).astype(np.float32)
    quiet[16_000:20_000] += glide(0.5, rate=8_000).samples
    (heard,) = processor.encode([{"sound": Sound(quiet, 8_000)}])[0]
    assert len(heard.values) == heard.samples == 9_600
    assert np.square(heard.values).sum() > 0.999 * 2 * np.square(quiet).sum() - 0.1
    with pytest.raises(RowError, match="Column 'sound'"):
        processor.encode([{"sound": b"junk"}])


def test_recordings_of_several_columns_stand_beside_each_other(tmp_path):
    processor, model, _ = started("wav2vec2", tmp_path, columns=("one", "two"))
    pair = [{"one": glide(0.3), "two": glide(0.5, 1)}, {"one": glide(0.5, 1), "two": glide(0.3)}]
    batch = processor(pair)
    assert batch["sound"].shape == (2, 2, 9600)
    found = features(model, batch)
    assert found.shape == (2, model.body.width) == (2, 64)
    assert np.abs(found[0, :32] - found[1, 32:]).max() < 1e-5
    assert np.abs(found[0, 32:] - found[1, :32]).max() < 1e-5


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2 with a mask", "whisper"])
def test_exported_with_a_free_batch_it_answers_alike(name, tmp_path):
    processor, model, _ = started(name, tmp_path)
    checks = [processor(rows()), *(processor([row]) for row in rows())]
    record = onnx.write(model, tmp_path, sample=processor(rows()[:3]), checks=checks, axes=processor.axes)
    assert record["parity"] < 1e-4


def test_its_cost_grows_with_the_length_where_that_is_free(tmp_path):
    short, long = (SimpleNamespace(sizes={"seconds_99": s}, columns=1, convolution=1.0) for s in (1.0, 4.0))
    waves, whisper = (str(checkpoint(name, tmp_path / name)) for name in ("wav2vec2", "whisper"))
    assert 4 * speech.flops(waves, short) < speech.flops(waves, long) < 8 * speech.flops(waves, short)
    assert speech.flops(whisper, short) == speech.flops(whisper, long) > 0


def test_another_familys_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="'bert'") as caught:
        speech.start(str(tmp_path), tmp_path / "out", columns=["sound"], inputs=[], seed=0)
    assert caught.value.code == "backbone.family"
