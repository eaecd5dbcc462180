"""Parsing in a worker process: the same answers, and no harm from files made to do harm."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from sliminfer.documents import DocumentLimits, parse_document, parse_document_safely, safely
from sliminfer.errors import DocumentError
from tests.documents import files

SAMPLES = files.one_of_each()
# Text that pypdf needs many seconds for, in a small file.
SLOW_PDF = files.pdf(["\n".join(["word " * 18] * 100_000)])


@pytest.mark.parametrize("name", SAMPLES)
def test_the_worker_reads_like_this_process(name: str) -> None:
    assert parse_document_safely(SAMPLES[name], name) == parse_document(SAMPLES[name], name)


def test_a_refusal_comes_back_as_it_is() -> None:
    with pytest.raises(DocumentError, match=r"^'a.pdf' is encrypted: "):
        parse_document_safely(files.locked_pdf(["text"], "secret"), "a.pdf")


def test_an_oversized_upload_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(DocumentError, match="the limit is"):
        parse_document_safely(b"x" * 11, "a.txt", DocumentLimits(max_bytes=10))
    with pytest.raises(DocumentError, match="no reader could start"):
        parse_document_safely(b"x" * 11, "a.txt")


def test_time_runs_out() -> None:
    started = time.monotonic()
    with pytest.raises(DocumentError, match=r"took longer than 1\.5 s"):
        parse_document_safely(SLOW_PDF, "slow.pdf", DocumentLimits(seconds=1.5, max_characters=10**8))
    assert time.monotonic() - started < 10


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are told by Linux")
def test_a_run_on_the_same_machine_has_the_processor_first() -> None:
    def read() -> None:
        with contextlib.suppress(DocumentError):
            parse_document_safely(SLOW_PDF, "slow.pdf", DocumentLimits(seconds=20, max_characters=10**8))

    thread = threading.Thread(target=read)
    thread.start()
    own = psutil.Process().nice()
    while thread.is_alive():
        for worker in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if worker.nice() > own:
                    worker.kill()
                    thread.join()
                    return
    pytest.fail("the worker was as eager as this process")


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are told by Linux")
def test_a_slow_worker_goes_to_the_end_of_the_line() -> None:
    def read() -> None:
        with contextlib.suppress(DocumentError):
            parse_document_safely(SLOW_PDF, "slow.pdf", DocumentLimits(seconds=4, max_characters=10**8))

    thread = threading.Thread(target=read)
    thread.start()
    found = list[int]()
    while thread.is_alive():
        for worker in psutil.Process().children():
            with contextlib.suppress(ProcessLookupError):
                found.append(os.sched_getscheduler(worker.pid))
        time.sleep(0.05)
    assert found[0] == os.SCHED_OTHER
    assert os.SCHED_IDLE in found


def test_memory_runs_out() -> None:
    data = files.word_xml(f"<w:p><w:t>{'0' * 60_000_000}</w:t></w:p>")
    assert len(data) < 100_000
    with pytest.raises(DocumentError, match="needs too much memory"):
        parse_document_safely(data, "big.docx", DocumentLimits(memory_bytes=120 << 20))


def test_a_worker_that_cannot_start_is_a_refusal() -> None:
    with pytest.raises(DocumentError, match="the reader stopped"):
        parse_document_safely(b"text", "a.txt", DocumentLimits(memory_bytes=1 << 20))


ENDLESS = (
    b'{"name": "a", "kind": "text", "encoding": null, "pages": Infinity, "warnings": [], "page_starts": []}'
)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\x00\x00", b"\x00\x00\x00\x02{}", b"\xff" * 40, b"\x00\x00\x00\x04[1]x", b"\x00\x00\x00\x04null",
        len(ENDLESS).to_bytes(4, "big") + ENDLESS,
    ],
)  # fmt: skip
def test_a_garbled_answer_is_not_believed(answer: bytes) -> None:
    assert safely._understood(answer) is None


def test_names_inside_an_archive_touch_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.xhtml"
    secret.write_text("the secret")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    before = set(tmp_path.rglob("*"))
    hrefs = ["a.xhtml", f"../../../../../../..{secret}", f"file://{secret}", "../../evil.txt"]
    members = {"../../evil.txt": "evil", str(secret): "evil", "OEBPS/../../up.xhtml": "evil"}
    book = files.epub({"a.xhtml": files.chapter("Fine.")}, hrefs, **members)
    for parse in (parse_document, parse_document_safely):
        text = parse(book, "../../book.epub").text
        assert text.startswith("Fine.")
        assert "secret" not in text
    assert set(tmp_path.rglob("*")) == before
    assert secret.read_text() == "the secret"


def test_tokens_do_not_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert not any("TOKEN" in key or "hf_secret" in value for key, value in safely._environment().items())


def test_many_at_once_each_get_their_own_answer() -> None:
    texts = [f"Letter number {number}. " * 500 for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda text: parse_document_safely(text.encode(), "a.txt").text, texts)
        assert list(answers) == texts


def test_waiting_too_long_for_a_free_worker_is_a_refusal() -> None:
    taken = [safely._slots.acquire(timeout=30) for _ in range(safely._MOST_WORKERS)]
    try:
        with pytest.raises(DocumentError, match="many uploads are waiting"):
            parse_document_safely(b"text", "a.txt", DocumentLimits(seconds=0.05))
    finally:
        for _ in taken:
            safely._slots.release()
    assert parse_document_safely(b"text", "a.txt").text == "text"


def test_the_worker_loads_no_model_code() -> None:
    code = (
        "import sys; from sliminfer.documents import parse; parse.parse_document(b'x', 'a.txt');"
        "print(sorted({'torch', 'transformers', 'numpy', 'gradio', 'pypdf'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
