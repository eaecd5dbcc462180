"""Disk: so much for a client, so much for all, nothing for longer than an hour, and gone when the visit is."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosting.public_page import PublicPage, Stranger, public_page
from tests.page.visit import Visit
from viz.door.allowance import Allowance
from viz.door.uploads import FILES_AN_HOUR, MOST_FILES, Folder
from viz.door.visits import MOST_VISITS, Visits
from viz.page import start
from viz.page.compat import upload_folder
from viz.page.folders import private_folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))
    try:
        with public_page(tmp_path_factory.mktemp("disk")) as up:
            yield up
    finally:
        del os.environ["GRADIO_TEMP_DIR"]
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def kept() -> list[Path]:
    while True:
        try:
            return [path for path in upload_folder().rglob("*") if path.is_file()]
        except FileNotFoundError:  # a folder went while it was looked through
            continue


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 60), st.integers(0, 30)), max_size=40))
def test_no_client_takes_more_than_its_allowance_within_the_time(takes: list[tuple[str, int, int]]) -> None:
    now, taken = 0.0, list[tuple[str, int, float]]()
    allowance = Allowance(100, 60, lambda: now)
    for client, amount, pause in takes:
        now += pause
        lately = sum(each for who, each, at in taken if who == client and now - at < 60)
        assert allowance.take(client, amount) == (lately + amount <= 100)
        if lately + amount <= 100:
            taken.append((client, amount, now))


def test_a_client_begins_so_many_visits_and_goes_on_with_those_it_has() -> None:
    visits = Visits(2)
    assert [visits.may("a", session) for session in ("1", "2", "3", "1", "2")] == [True, True, False, True, True]
    assert visits.may("b", "3")
    assert MOST_VISITS > 100


# Of files of one age either may go.
FILES = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 400)), max_size=12, unique_by=lambda file: file[0])


@given(FILES, st.integers(0, 1500))
def test_a_folder_keeps_neither_too_old_nor_too_much(files: list[tuple[int, int]], most: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, now = Folder(Path(place), most, oldest_s=3600), time.time()
        for number, (age, size) in enumerate(files):
            (Path(place) / str(number)).mkdir()
            file = Path(place) / str(number) / "file"
            file.write_bytes(b"x" * size)
            os.utime(file, (now - age, now - age))
        left = folder.sweep()
        stayed = sorted((now - path.stat().st_mtime, path.stat().st_size) for path in Path(place).rglob("file"))
        assert left == sum(size for _, size in stayed) <= most
        assert all(age < 3601 for age, _ in stayed)
        young = sorted((age, size) for age, size in files if age <= 3600)
        assert [size for _, size in stayed] == [size for _, size in young][: len(stayed)]
        assert folder.has_room(0)
        assert not folder.has_room(most + 1)


def test_one_request_holds_few_files(page: PublicPage) -> None:
    stranger = Stranger(page, 1)
    url = f"{page.url}gradio_api/upload"

    def sent(count: int) -> int:
        return stranger.http.post(url, files=[("files", (f"{n}.txt", b"x")) for n in range(count)]).status_code

    assert sent(MOST_FILES) == 200
    assert sent(MOST_FILES + 1) == sent(1000) == 413


def test_a_client_uploads_so_much_and_others_still_can(page: PublicPage) -> None:
    greedy, other = Stranger(page, 2), Stranger(page, 3)
    url = f"{page.url}gradio_api/upload"
    codes = [
        greedy.http.post(url, files={"files": (f"{n}.txt", bytes([n]) * 1_000_000)}).status_code
        for n in range(2 * FILES_AN_HOUR + 3)
    ]
    assert codes.count(200) >= FILES_AN_HOUR
    assert codes[-1] == 429
    assert other.http.post(url, files={"files": ("a.txt", b"x")}).status_code == 200


def test_a_full_folder_takes_no_more_and_runs_go_on(page: PublicPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "has_room", lambda *_: False)
    stranger = Stranger(page, 4)
    answer = stranger.http.post(f"{page.url}gradio_api/upload", files={"files": ("a.txt", b"x")})
    assert answer.status_code == 507
    assert stranger.answer(stranger.post())[0] == "complete"


def test_an_upload_is_gone_when_its_visit_is(page: PublicPage) -> None:
    visits = [Visit(page.url, {"x-forwarded-for": f"198.51.100.{5 + n}"}) for n in range(2)]
    for visit in visits:  # the same file, which Gradio keeps once
        files = {"files": ("kept.txt", b"The lamp was lit.")}
        [path] = visit.http.post(f"{page.url}gradio_api/upload", files=files).json()
        visit.values[visit.part("upload")] = {"path": path, "meta": {"_type": "gradio.FileData"}}
        visit.join(visit.called("upload")).raise_for_status()
        assert [message["success"] for message in visit.stream() if message["msg"] == "process_completed"] == [True]
    for visit, still_there in zip(visits, (True, False), strict=True):
        with visit.http.stream("GET", f"{page.url}gradio_api/heartbeat/{visit.session}") as alive:
            next(alive.iter_raw())
        until = time.monotonic() + 90  # Gradio looks for closed visits now and then; a busy machine takes longer
        while any(path.name == "kept.txt" for path in kept()) is not still_there:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_an_upload_that_was_cut_off_or_refused_leaves_nothing_for_long(page: PublicPage) -> None:
    folder = Folder(upload_folder(), oldest_s=-1)
    folder.sweep()
    assert kept() == []


def test_a_page_has_a_folder_to_itself_and_removes_those_of_killed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = tmp_path / f"{start.FOLDER}{2**22 + 1}-a", tmp_path / f"{start.FOLDER}{os.getppid()}-b"
    namesake = tmp_path / f"{start.FOLDER}{os.getpid()}-c"  # of a process before this one, as in a container
    for folder in (dead, alive, namesake):
        folder.mkdir()
        (folder / "file").write_text("x")
    os.utime(namesake, (0, 0))
    own, other = (Path(private_folder(start.FOLDER)) for _ in range(2))
    assert own.stat().st_mode & 0o077 == 0
    assert own.is_dir()
    assert other.is_dir()
    assert [folder.exists() for folder in (dead, alive, namesake)] == [False, True, False]
