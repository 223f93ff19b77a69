"""Text encoders of transformers, apart from what the line does with them."""

from __future__ import annotations

import pytest

from sartor.backbone import hub
from sartor.task import classify

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 60}


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_checkpoint_in_half_precision_meets_its_head_in_float(kind, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", **SMALL)
    AutoModel.from_config(config).to(getattr(torch, kind)).save_pretrained(tmp_path)
    body = hub.body(tmp_path, {"pooling": "mean"}).eval()
    given = {f"encoder.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    assert {tensor.dtype for tensor in given.values()} == {getattr(torch, kind)}
    body.load_state_dict(given, strict=False)
    assert {parameter.dtype for parameter in body.parameters()} == {torch.float32}
    ids = torch.arange(6).reshape(2, 3)
    head = classify.head(body.width, {"classes": ["a", "b"]})
    assert head(body(ids, torch.ones_like(ids))).dtype == torch.float32
