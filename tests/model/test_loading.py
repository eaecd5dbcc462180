"""Loading: safetensors only, clear refusals, device and dtype chosen for the machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from sliminfer.errors import ModelError
from sliminfer.model import devices
from sliminfer.model.devices import resolve_device, resolve_dtype
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import load_model
from sliminfer.schedule.memory import memory_estimate
from sliminfer.schedule.shapes import ModelShape
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer, token_ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_model_loads_and_computes_the_same(folder: Path) -> None:
    loaded = load_model(str(folder), device="cpu", dtype="float32")
    ids = token_ids(30)
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, tiny_model()(ids).logits)
    assert loaded.eos == {2}
    assert loaded.weights_bytes == sum(p.nbytes for p in loaded.model.parameters())
    assert (loaded.dtype_name, loaded.device_name, loaded.attention.partition("/")[0]) == ("float32", "cpu", "sdpa")


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_count_the_parameters(family: str) -> None:
    model = tiny_model(family)
    extra = sum(
        p.numel()
        for name, p in model.named_parameters()
        if name.endswith("bias") or "q_norm" in name or "k_norm" in name
    )
    assert ModelShape.of(model.config).params + extra == sum(p.numel() for p in model.parameters())


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(folder), device="cpu")


def test_code_from_a_model_folder_is_never_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "surprise"
    config["auto_map"] = {"AutoConfig": "surprise.Config", "AutoModelForCausalLM": "surprise.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "surprise.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(ModelError):
        load_model(str(folder), device="cpu")
    assert not (folder / "ran").exists()


def test_refusals_name_the_remedy(folder: Path) -> None:
    with pytest.raises(ModelError, match="choose one of demo"):
        load_model(str(folder), allowed=("demo",))
    with pytest.raises(ModelError, match="use auto"):
        load_model(str(folder), device="tpu")
    with pytest.raises(ModelError, match="use auto"):
        load_model(str(folder), dtype="int3")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "gpt2"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="gpt2 model, which is not supported"):
        load_model(str(folder))


def test_auto_choices_exist_on_this_machine() -> None:
    device = resolve_device("auto")
    assert torch.ones(2, device=device, dtype=resolve_dtype("auto", device)).sum() == 2


@pytest.mark.parametrize(("avx", "amx"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_processors_flags_decide_on_bf16_and_no_clock(
    avx: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_avx512_bf16", lambda: avx)
    monkeypatch.setattr(devices, "has_amx", lambda: amx)
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("a clock was read"))
    expected = torch.bfloat16 if avx or amx else torch.float32
    assert resolve_dtype("auto", torch.device("cpu")) is expected


def test_memory_estimate_grows_with_the_prompt() -> None:
    shape = KNOWN["meta-llama/Llama-3.1-8B-Instruct"].shape
    small, large = memory_estimate(shape, 1024), memory_estimate(shape, 131072)
    assert small.weights == large.weights == 2 * shape.params
    assert large.kv == 128 * small.kv == 16 * 2**30


def test_a_model_that_is_nowhere_is_told_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network as without such a model: transformers would try again for 24 seconds."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    begun = time.perf_counter()
    with pytest.raises(ModelError, match="nowhere/model"):
        load_model("nowhere/model")
    assert time.perf_counter() - begun < 10
