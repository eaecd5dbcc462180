"""Record a real run for the page's first half minute: `python -m benchmarks.record run ...`, or `... diffusion ...`.

    python -m benchmarks.record run --model Qwen/Qwen2.5-7B-Instruct --machine "one H100" \\
        --document data/real/docutils-restructuredtext.txt --first-characters 35600 \\
        --question "Which edition of The Chicago Manual of Style does the section on transitions quote?" \\
        --evidence "(The Chicago Manual of Style, 14th edition, section 1.80)" --answer 14th \\
        --title "reStructuredText specification, its first part" --licence "public domain" \\
        --source "docutils 0.22, docs/ref/rst/restructuredtext.rst"
    python -m benchmarks.record diffusion --model demo --machine "a laptop"

writes `assets/recordings/run.json` and `diffusion.json`. A run is kept only if both answers say `--answer`; of the
document only some lines around the evidence are stored. The documents are those of `benchmarks/real_documents.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.documents import load_document
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, PromptReady
from sliminfer.engine.plain import plain
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.tape import to_tape
from sliminfer.errors import SlimError
from sliminfer.model.loading import load_model
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET
from viz.figures.recording import FOLDER, FORMAT, Piece
from viz.page.examples import examples

AROUND = 420  # characters of the document shown on either side of the evidence


def recorded_run(about: dict[str, str], request: RunRequest, events: Sequence[Event]) -> dict[str, Any]:
    """The file of a run of `request` that gave `events`.

    Raises:
        SlimError: a side did not finish, or its answer does not say what it should.
    """
    run = RunResult.of(events)
    for side in run.sides:
        if side.finished is None or about["answer"].casefold() not in side.text.casefold():
            raise SlimError(f"The {side.side} model says {side.text!r}, not {about['answer']!r}: nothing is recorded.")
    prompt = next(event.prompt for event in events if isinstance(event, PromptReady))
    evidence = [prompt.token_range(*span) for span in request.evidence]
    return {
        "format": FORMAT,
        "about": about,
        "config": request.config.to_dict(),
        "prompt": {"tokens": len(prompt), "question": prompt.question, "evidence": evidence},
        "passage": [vars(piece) for piece in passage(request.document, request.evidence[0], prompt.document_spans())],
        "events": to_tape(events),
    }


def passage(document: str, evidence: Span, spans: Sequence[Span | None]) -> list[Piece]:
    """The lines around `evidence`, a piece for each token; `spans` are the tokens' characters in the document."""
    low, high = max(0, evidence[0] - AROUND), min(len(document), evidence[1] + AROUND)
    low = document.find("\n", low, evidence[0]) + 1 or low
    high = max(document.rfind("\n", evidence[1], high), evidence[1]) if "\n" in document[evidence[1] : high] else high
    return [
        Piece(document[start:end], token, token + 1, start < evidence[1] and end > evidence[0])
        for token, span in enumerate(spans)
        if span is not None and low <= (start := span[0]) < (end := span[1]) <= high
    ]


def record_run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Run, and make the file."""
    text = load_document(chosen.document).text
    if chosen.first_characters:
        text = text[: text.rfind("\n\n", 0, chosen.first_characters)]
    at = text.find(chosen.evidence)
    if at < 0:
        raise SlimError("The document does not say what --evidence quotes: quote it character by character.")
    loaded = load_model(chosen.model, chosen.device)
    config = SlimConfig.preset(chosen.preset, loaded.layers, loaded.name)
    request = RunRequest(text, chosen.question, config, 48, evidence=((at, at + len(chosen.evidence)),))
    engine = SlimEngine(loaded)
    engine.warm_up()
    return recorded_run(about(chosen, chosen.question, chosen.answer), request, list(engine.compare(request)))


def record_diffusion(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the diffusion of the first example's first passage, and make the file."""
    example = examples()[0]
    suggestion = example.suggestions[0]
    loaded = load_model(chosen.model, chosen.device)
    request = RunRequest(example.document().text, suggestion.question, evidence=suggestion.evidence)
    engine = SlimEngine(loaded)
    prompt = engine.prepare(request).prompt
    plan = DiffusionPlan.for_model(loaded, len(prompt))
    *_, result = probe(engine, prompt, prompt.token_range(*suggestion.evidence[0]), plan)
    said = about(chosen, suggestion.question, suggestion.answer)
    said |= {"document": example.title, "licence": "of this project", "source": example.path.name}
    data = result.to_dict()
    data["similarity"] = [[round(each, 4) for each in row] for row in data["similarity"]]
    quoted = request.document[slice(*suggestion.evidence[0])]
    return {"format": FORMAT, "about": said, "passage": quoted, "result": data}


def about(chosen: argparse.Namespace, question: str, answer: str) -> dict[str, str]:
    """What is said about the recording."""
    return {
        "model": chosen.label or chosen.model,
        "machine": chosen.machine,
        "recorded": date.today().isoformat(),
        "document": chosen.title,
        "licence": chosen.licence,
        "source": chosen.source,
        "question": question,
        "answer": answer,
    }


def write(data: dict[str, Any], path: Path) -> None:
    """One line an entry of a list, so that a new recording reads well beside the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(data), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main(arguments: Iterable[str] | None = None) -> None:
    """Record what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    run, diffusion = kinds.add_parser("run"), kinds.add_parser("diffusion")
    for each in (run, diffusion):
        each.add_argument("--model", default="demo")
        each.add_argument("--label", default="", help="what the page calls the model")
        each.add_argument("--machine", required=True, help="what the page calls the machine")
        each.add_argument("--device", default="auto")
        each.add_argument("--json", type=Path, default=FOLDER / f"{'run' if each is run else 'diffusion'}.json")
    for name in ("question", "evidence", "answer", "title", "licence", "source"):
        run.add_argument(f"--{name}", required=True)
    run.add_argument("--document", type=Path, required=True)
    run.add_argument("--first-characters", type=int, default=0, help="read no more of the document; 0: all of it")
    run.add_argument("--preset", default=DEFAULT_PRESET)
    diffusion.set_defaults(title="", licence="", source="")
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    write(record_run(chosen) if chosen.kind == "run" else record_diffusion(chosen), chosen.json)


if __name__ == "__main__":
    main()
