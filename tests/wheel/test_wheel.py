"""What `pip install .` gives somebody who has no checkout: an empty environment, a folder of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sliminfer import __version__
from tests.documents import files
from tests.wheel.conftest import ROOT
from tests.wheel.environment import Environment

CODE = "The code of the north gate is 4711. "
FILLER = "The keeper wrote down the weather and went to sleep. "
API = """
import json, sys
from pathlib import Path

from sliminfer import SlimConfig, load_model, slim
import sliminfer.kernels
from sliminfer.model.loading import DEMO_FOLDER

loaded = load_model("demo", device="cpu")
ids = loaded.tokenizer("The keeper wrote. " * 120, return_tensors="pt")
with slim(loaded.model, SlimConfig.preset("balanced", loaded.layers)):
    answer = loaded.model.generate(**ids, max_new_tokens=4, do_sample=False)
homes = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "sliminfer"]
kernels = sorted(path.stem for place in sliminfer.kernels.__path__ for path in Path(place).glob("*.py"))
json.dump({"new": answer.shape[1] - ids["input_ids"].shape[1], "version": sliminfer.__version__,
           "homes": [*homes, str(DEMO_FOLDER)], "kernels": kernels, "path": sys.path}, sys.stdout)
"""
READ = """
import sys
from sliminfer.documents import load_document
sys.stdout.buffer.write(load_document(sys.argv[1]).text.encode())
"""
MISSING = """
import json, os, sys

from sliminfer import SlimConfig, SlimError
from sliminfer.evaluate.shards import Shard
from sliminfer.evaluate.sweep import check_tables
from sliminfer.decode_policies import check_policy
from sliminfer.model.devices import resolve_device
from sliminfer.tasks.metrics import check_metric

def hosted():
    sys.modules["pydantic"] = None  # newer releases of typer bring it along
    import sliminfer.hosting

os.environ["WORLD_SIZE"] = "2"
retrieval = SlimConfig.preset("balanced", 12).with_changes(decode="retrieval", active=0.5)
told = []
for asked in (
    lambda: resolve_device("balanced"), Shard.of_environment, check_tables, lambda: check_metric("rouge_l"),
    lambda: check_metric("code"), lambda: check_policy(retrieval), hosted,
):
    try:
        asked()
    except SlimError as error:
        told.append(str(error))
json.dump(told, sys.stdout)
"""
USER = """
from sliminfer import PruneStep, SlimConfig, load_model, slim

config: SlimConfig = SlimConfig(steps=(PruneStep(4, 0.25),))
keep: float = config.steps[0].keep
SlimConfig(steps="4:0.25")  # type: ignore[arg-type]


def ask(name: str) -> str:
    loaded = load_model(name)
    with slim(loaded.model, config):
        pass
    return loaded.name
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text(FILLER * 60 + CODE + FILLER * 30, encoding="utf-8")
    return path


def test_all_that_the_code_reads_travels_with_it(wheel: Path) -> None:
    """Pictures are for the README alone."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    files = {path.relative_to(ROOT) for path in (ROOT / "assets").rglob("*") if path.is_file()}
    shipped = {path for path in files if path.parts[1] != "screenshots" and path.suffix != ".svg"}
    assert {f"sliminfer/{path.as_posix()}" for path in shipped} - inside == set()
    assert {"sliminfer/py.typed", "sliminfer/assets/Spacefile"} <= inside


def test_a_question_is_answered_on_the_core_alone(installed: Environment, log: Path) -> None:
    question = "What is the code of the north gate?"
    asked = ("run", "--document", log, "--question", question, "--max-new-tokens", 8, "--json", "-")
    done = installed.run("sliminfer", *asked, cwd=log.parent)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "4711" in result["full"]["text"]
    assert result["speedup"]["ttft_flops"] > 1


def test_the_known_models_are_listed(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("sliminfer", "models", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "meta-llama/Llama-3.1-8B-Instruct" in done.stdout


def test_python_imports_what_was_installed_and_generates(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("python", "-c", API, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert 1 <= told["new"] <= 4
    assert told["version"] == __version__
    assert all(Path(home).is_relative_to(installed.site) for home in told["homes"])
    assert {path.stem for path in (ROOT / "kernels").glob("*.py")} <= set(told["kernels"])
    assert not any(Path(place).is_relative_to(ROOT) for place in told["path"] if place)


def test_a_strict_type_check_of_a_user_sees_the_types(installed: Environment, tmp_path: Path) -> None:
    """The one wrong call must be seen: under --strict an ignore that ignores nothing is an error of its own."""
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.python), "user.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_pdf_says_what_it_needs_and_is_read_with_it(
    installed: Environment, with_documents: Path, tmp_path: Path
) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(files.pdf([FILLER * 30 + CODE]))
    refused = installed.run("sliminfer", "run", "--document", paper, "--question", "What?", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "'paper.pdf' is a PDF, which needs pypdf: pip install sliminfer[documents].\n"
    done = installed.run("python", "-c", READ, paper, cwd=tmp_path, PYTHONPATH=str(with_documents))
    assert CODE.strip() in " ".join(done.stdout.split()), done.stderr


def test_a_text_that_is_no_unicode_says_what_it_needs(
    installed: Environment, with_documents: Path, tmp_path: Path
) -> None:
    text = "Смотритель записал погоду и лёг спать. " * 9
    (tmp_path / "old.txt").write_bytes(text.encode("koi8_r"))
    refused = installed.run("python", "-c", READ, "old.txt", cwd=tmp_path)
    assert "not Unicode needs charset-normalizer: pip install sliminfer[documents]." in refused.stderr
    done = installed.run("python", "-c", READ, "old.txt", cwd=tmp_path, PYTHONPATH=str(with_documents))
    assert done.stdout == text, done.stderr


def test_what_is_missing_is_named_with_its_extra(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("python", "-c", MISSING, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    needs = [sentence.partition(" needs ")[2] for sentence in json.loads(done.stdout)]
    assert needs == [
        "accelerate: pip install sliminfer[evaluate].",
        "accelerate: pip install sliminfer[evaluate].",
        "pandas: pip install sliminfer[evaluate].",
        "rouge-score: pip install sliminfer[evaluate].",
        "rapidfuzz: pip install sliminfer[evaluate].",
        "faiss-cpu: pip install sliminfer[retrieval].",
        "pydantic: pip install sliminfer[hosting].",
    ]


def test_the_page_says_what_it_needs(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("sliminfer-studio", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "The page needs gradio: pip install sliminfer[page].\n"


def test_the_page_finds_what_ships_with_it(installed: Environment, with_page: Path, tmp_path: Path) -> None:
    script = """
from sliminfer.hosting import read_spacefile
from viz.figures.stored import FOLDER, studies, timings
from viz.figures.theme import script
from viz.page.examples import examples
from viz.page.serve import serve
from viz.page.theme import css
assert all(example.document().text for example in examples())
assert css() and script("kept") and studies(FOLDER) and timings(FOLDER)
assert "cpu" in read_spacefile().profiles
"""
    done = installed.run("python", "-c", script, cwd=tmp_path, PYTHONPATH=str(with_page))
    assert done.returncode == 0, done.stderr
