"""A suite of real documents from made-up ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sliminfer.tasks.real import FOLDER, RealSuite
from sliminfer.tasks.real_documents import DOCUMENTS, digest, plain_text
from tests.tiny import tiny_tokenizer

TEXT = "The keeper lit the lamp at nine.\n" + "Rain fell on the sea.\n" * 20 + "The lamp went out at five."


def made(folder: Path, texts: dict[str, str], rows: list[dict[str, Any]], absent: str = "") -> RealSuite:
    """A suite of made-up documents; `absent` is one that was not fetched."""
    (folder / FOLDER).mkdir(exist_ok=True)
    documents = []
    for name, text in texts.items():
        whole = plain_text(text.encode())
        documents.append(replace(DOCUMENTS[0], name=name, sha256=digest(whole)))
        if name != absent:
            (folder / FOLDER / f"{name}.txt").write_text(whole)
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RealSuite(folder, tiny_tokenizer(), tuple(documents), questions)


def row(name: str, quote: str = "lamp at nine", at: int = 19) -> dict[str, Any]:
    return {
        "document": name,
        "question": "When was the lamp lit?",
        "answers": [["nine", "9"]],
        "evidence": [{"quote": quote, "at": at}],
    }
