"""A format is one new file and its line in the list: the one that docs/adding.md prints, in a copy of the package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.printed import printed

ROOT = Path(__file__).resolve().parents[2]
MAIL = (
    b"Return-Path: <keeper@tower.example>\r\nSubject: The gate\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"
    b"The caf\xe9 key is under the lamp.\r\n"
)
READ = """
import json, sys
from sliminfer.documents import ACCEPTED_SUFFIXES, parse_document_safely
from sliminfer.errors import DocumentError

def read(data, name):
    try:
        return vars(parse_document_safely(data, name))
    except DocumentError as refusal:
        return str(refusal)

mail = sys.stdin.buffer.read()
page = b"Content-Type: text/html\\n\\n<p>Hello"
answers = [read(mail, "a.eml"), read(mail, "a.saved"), read(bytes(range(256)) * 9, "a.txt"), read(page, "b.eml")]
print(json.dumps([".eml" in ACCEPTED_SUFFIXES, *answers]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What the package says of four uploads once the format is in it."""
    copy = tmp_path_factory.mktemp("copy")
    package = copy / "sliminfer"
    shutil.copytree(ROOT / "sliminfer" / "documents", package / "documents")
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "sliminfer" / name, package)
    formats = package / "documents" / "formats"
    (formats / "mail.py").write_text(printed("adding.md", "A document format"), encoding="utf-8")
    listed = (formats / "__init__.py").read_text(encoding="utf-8")
    with_mail, changed = re.subn(r"^KINDS = \((.*)\)$", r"KINDS = (\1, MAIL)", listed, flags=re.MULTILINE)
    assert changed == 1
    imports = "from sliminfer.documents.formats.mail import MAIL\n"
    (formats / "__init__.py").write_text(with_mail.replace("from ", f"{imports}from ", 1), encoding="utf-8")
    run = subprocess.run([sys.executable, "-c", READ], cwd=copy, input=MAIL, capture_output=True, check=True)
    found: list[object] = json.loads(run.stdout)
    return found


def test_an_upload_of_the_new_suffix_is_accepted_and_read_in_the_worker(answers: list[object]) -> None:
    assert answers[0] is True
    document = answers[1]
    assert isinstance(document, dict)
    assert (document["kind"], document["text"]) == ("mail", "The gate\n\nThe café key is under the lamp.")


def test_the_new_format_is_known_by_its_content_too(answers: list[object]) -> None:
    document = answers[2]
    assert isinstance(document, dict)
    assert (document["kind"], document["name"]) == ("mail", "a.saved")


def test_refusals_name_the_new_format(answers: list[object]) -> None:
    assert answers[3] == (
        "'a.txt' is binary, not text: upload a text, PDF, Word, PowerPoint, Excel, OpenDocument, RTF, EPUB, HTML or "
        "e-mail file."
    )


def test_the_new_format_refuses_in_its_own_words(answers: list[object]) -> None:
    assert answers[4] == "'b.eml' holds no plain text: save the message as .txt or .pdf."
