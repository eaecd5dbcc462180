"""What the site has beside the files of docs/: pages of the repository's top level, and the reference from docstrings.

Markdown files link to each other as they lie in the repository, so that they can be read there. On the site a link to
one of its pages leads to that page, and a link to any other file of the repository is its text alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import sliminfer

ROOT = Path(__file__).resolve().parents[1]
# File of the repository outside docs/ -> the page that shows it.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "assets/demo_model/README.md": "demo-model.md",
}
_SHOWN = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)

_PYTHON = """# Python

The names that `sliminfer` offers, the events that the engine tells of a run, and the reading of documents.

```python
from sliminfer import SlimConfig, SlimEngine, load_model, slim
```

{names}

## Events

{events}

## Documents

{documents}
"""
_METHODS = """# Methods: reference

What each method computes, where it comes from and what its own options are, and what a method is made of.

{modules}
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/, and the pictures that any page shows."""
    for source, page in PAGES.items():
        text = _FRONT_MATTER.sub("", (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "python-reference.md", content=python_reference()))
    files.append(File.generated(config, "methods-reference.md", content=methods_reference()))
    for picture in sorted(set(pictures(files))):
        files.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """The page with its links as the site has them."""
    home = repository_path(page.file.src_uri)

    def on_the_site(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        shown = PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(shown) is not None:
            place = posixpath.relpath(shown, posixpath.dirname(page.file.src_uri) or ".")
            return f"{picture}[{text}]({place}{anchor or ''})"
        return text if (ROOT / path).exists() else link[0]

    return _LINK.sub(on_the_site, markdown)


def repository_path(page: str) -> str:
    """Where in the repository the source of a page lies."""
    return _SHOWN.get(page, f"docs/{page}")


def pictures(files: Files) -> Iterator[str]:
    """Files of the repository outside docs/ that pages show as pictures."""
    for file in files.documentation_pages():
        home = posixpath.dirname(repository_path(file.src_uri))
        for picture, _, target, _ in _LINK.findall(file.content_string):
            path = posixpath.normpath(posixpath.join(home, target))
            if picture and not path.startswith("docs/") and (ROOT / path).is_file():
                yield path


def python_reference() -> str:
    """The page of the public names, as directives for mkdocstrings."""
    return _PYTHON.format(
        names="\n".join(f"::: sliminfer.{name}" for name in sliminfer.__all__),
        events=_within("sliminfer.engine.events"),
        documents=_within("sliminfer.documents"),
    )


def methods_reference() -> str:
    """The page of all methods, module by module."""
    found = sorted(path.stem for path in (ROOT / "sliminfer" / "selectors").glob("[a-z]*.py"))
    parts = (f"## {name}\n\n{_within(f'sliminfer.selectors.{name}')}" for name in found)
    return _METHODS.format(modules="\n\n".join(parts))


def _within(module: str) -> str:
    """All public members of `module`, under the heading that stands before."""
    return f"::: {module}\n    options: {{show_root_heading: false, show_root_toc_entry: false, heading_level: 3}}"
