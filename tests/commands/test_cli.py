"""The command line as a user meets it: a subprocess, its exit codes, its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from sliminfer.model.prompts import build_prompt
from tests.selectors.plugin import install, keynorm
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]
NUMBER = {"type": ["number", "null"]}
SIDE = {
    "type": "object",
    "required": ["text", "ttft_s", "decode_tokens_per_s", "kv_bytes", "peak_bytes"],
    "properties": {
        "text": {"type": "string"},
        "ttft_s": {"type": "number"},
        "decode_tokens_per_s": NUMBER,
        "kv_bytes": {"type": "integer", "minimum": 1},
        "peak_bytes": {"type": "integer", "minimum": 0},
    },
}
KEPT = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["layer", "tokens", "ranges"],
        "properties": {"ranges": {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}}},
    },
}
CONTRACT = {
    "type": "object",
    "required": ["model", "device", "dtype", "prompt_tokens", "config", "full", "pruned", "speedup", "fidelity"],
    "properties": {
        "full": SIDE,
        "pruned": {"allOf": [SIDE, {"required": ["kept"], "properties": {"kept": KEPT}}]},
        "speedup": {"required": ["ttft", "ttft_flops", "efficiency", "kv_bytes"]},
        "fidelity": {"required": ["first_token_kl", "agreement"]},
    },
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny_model")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def sliminfer(*args: object, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sliminfer", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(path)},
    )


def test_run_prints_the_contract(model_folder: Path, tmp_path: Path) -> None:
    document = tmp_path / "log.txt"
    lamps = "The lamp of the north tower was lit at nine. " * 30
    text = f"{lamps}Rule one: never sleep. {lamps}Nobody came all night. {lamps}Rule two: burn no oil."
    document.write_text(text)
    done = sliminfer(
        "run", "--document", document, "--question", "When?", "--model", model_folder,
        "--prune", "2:0.5,4:0.25", "--max-new-tokens", 5, "--json", "-",
        "--keep", "Rule one: never sleep.", "--keep", "Rule two: burn no oil.", "--drop", "Nobody came all night.",
        "--active", 0.5, "--refresh", 2, "--gamma", 0.4, "--active-preserve",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert {name: data["config"][name] for name in ("active", "refresh", "gamma", "active_preserve")} == {
        "active": 0.5, "refresh": 2, "gamma": 0.4, "active_preserve": True
    }  # fmt: skip
    jsonschema.validate(data, CONTRACT)
    assert [k["layer"] for k in data["pruned"]["kept"]] == [2, 4]
    prompt = build_prompt(tiny_tokenizer(), text, "When?")
    for kept in data["pruned"]["kept"]:
        assert kept["tokens"] == sum(end - start for start, end in kept["ranges"])
        held = {i for start, end in kept["ranges"] for i in range(start, end)}
        for marked, stays in (("Rule one: never", True), ("Rule two: burn", True), ("Nobody came all", False)):
            tokens = set(range(*prompt.token_range(text.index(marked), text.index(marked) + len(marked))))
            assert tokens <= held if stays else not tokens & held
    assert data["speedup"]["ttft_flops"] > 1
    assert data["prompt_tokens"] == data["full"]["tokens_per_layer"][-1]


def test_run_with_several_questions_reads_once(model_folder: Path, tmp_path: Path) -> None:
    document = tmp_path / "log.txt"
    document.write_text("The lamp of the north tower was lit at nine. " * 60)
    done = sliminfer(
        "run", "--document", document, "--question", "When?", "--question", "Who?", "--model", model_folder,
        "--prune", "2:0.5,4:0.25", "--max-new-tokens", 3, "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [entry["question"] for entry in data["questions"]] == ["When?", "Who?"]
    for entry in data["questions"]:
        jsonschema.validate(data | entry, CONTRACT)
        assert 0 < entry["pruned"]["read_tokens"] <= data["reading"]["pruned"]["tokens"]


def test_run_for_a_reader(model_folder: Path, tmp_path: Path) -> None:
    document, out = tmp_path / "log.md", tmp_path / "deep" / "out.json"
    document.write_text("# Log\n\n" + "The keeper wrote it down. " * 90)
    done = sliminfer(
        "run", "--document", document, "--question", "Who?", "--model", model_folder,
        "--method", "gemfilter", "--match-flops", 1.5, "--decode", "lychee", "--active", 0.5,
        "--max-new-tokens", 3, "--json", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "TTFT" in done.stdout
    data = json.loads(out.read_text())
    jsonschema.validate(data, CONTRACT)
    assert data["config"]["method"] == "gemfilter"
    assert data["speedup"]["ttft_flops"] == pytest.approx(1.5, rel=0.03)


def test_models_lists_what_fits() -> None:
    done = sliminfer("models", "--json", "-", "--context", 4096, "--device", "cpu", "--dtype", "bfloat16")
    assert done.returncode == 0, done.stderr
    rows = {row["model"]: row for row in json.loads(done.stdout)["models"]}
    llama = rows["meta-llama/Llama-3.1-8B-Instruct"]
    assert llama["parameters"] == 8_030_261_248
    assert llama["kv_bytes"] == 2 * 1024 * 32 * 4096 * 2
    parts = ("weights_bytes", "kv_bytes", "activation_bytes", "slack_bytes")
    assert llama["total_bytes"] == sum(llama[part] for part in parts)
    assert rows["Qwen/Qwen2.5-0.5B-Instruct"]["fits"] in (True, False)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "--document", "nowhere.txt", "--question", "x"], "nowhere.txt"),
        (["run", "--question", "x"], "--document"),
        (["run", "--document", "requirements.txt", "--question", "x", "--model", "nowhere/model"], "No model found"),
        (["run", "--document", "requirements.txt", "--question", " "], "question is empty"),
        (["run", "--document", "requirements.txt", "--question", "x", "--prune", "oops"], "LAYER:KEEP"),
        (["run", "--document", "requirements.txt", "--question", "x", "--prune", "99:0.5"], "does not exist"),
        (["run", "--document", "requirements.txt", "--question", "x", "--device", "cuda:7"], "not available"),
        (["run", "--document", "requirements.txt", "--question", "x", "--method", "magic"], "Unknown method"),
        (["run", "--document", "requirements.txt", "--question", "x", "--match-flops", "99"], "choose between 1 and"),
        (["run", "--document", "requirements.txt", "--question", "x", "--decode", "lychee"], "set active"),
        (["models", "--context", "0"], "at least 1"),
        (["dance"], "dance"),
        ([], "command"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(args: list[str], words: str, model_folder: Path) -> None:
    if args[:1] == ["run"] and "--model" not in args:
        args = [*args, "--model", str(model_folder)]
    done = sliminfer(*args)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_an_installed_method_runs_by_its_name(model_folder: Path, tmp_path: Path) -> None:
    install(tmp_path, keynorm())
    document = tmp_path / "log.txt"
    document.write_text("The lamp of the north tower was lit at nine. " * 90)
    done = sliminfer(
        "run", "--document", document, "--question", "When?", "--model", model_folder, "--method", "keynorm",
        "--max-new-tokens", 2, "--json", "-", path=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    jsonschema.validate(data, CONTRACT)
    assert data["config"]["method"] == "keynorm"
    assert data["pruned"]["kept"][0]["tokens"] < data["prompt_tokens"]
