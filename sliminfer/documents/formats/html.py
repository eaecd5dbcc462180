"""HTML to reading text: blocks on lines of their own, scripts and styles left out.

The tags are found by an own scanner, since the time of the standard library's parser grows with the square of the
length on hostile pages (60 KB of "<a " take minutes) and the libraries built on it inherit that.
"""

import html
import re
from collections.abc import Iterator
from functools import partial

from sliminfer.documents.formats.plain import as_text
from sliminfer.documents.kind import Kind, Upload
from sliminfer.documents.text import TextFlow, tidy

_HIDDEN = frozenset(("script", "style", "template", "svg", "math", "iframe", "object", "select", "datalist"))
_PARAGRAPH_TAGS = """
p h1 h2 h3 h4 h5 h6 blockquote pre ul ol dl table figure hr title body details section article header footer
main nav aside address form fieldset
"""
_PARAGRAPHS = frozenset(_PARAGRAPH_TAGS.split())
_LINES = frozenset(("br", "div", "li", "dt", "dd", "tr", "figcaption", "caption", "summary", "legend"))
_CELLS = frozenset(("td", "th"))
# Elements in which "<" means nothing, with what ends them.
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "iframe", "xmp", "noembed", "noframes")
}
_NAME = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")
# A ">" inside a quoted attribute value does not end the tag.
_REST_OF_TAG = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")

# A piece of text (tag ""), or the start ("p") or end ("/p") of an element.
Token = tuple[str, str]


def html_to_text(markup: str) -> str:
    """The text of an HTML or XHTML page, in time linear in its length; nesting depth does not matter."""
    reader = _Reader()
    for tag, text in _Scanner(markup).tokens():
        if not tag:
            reader.text(text)
        elif tag.startswith("/"):
            reader.end(tag[1:])
        else:
            reader.start(tag)
    return reader.flow.text()


class _Scanner:
    """Cuts a page into text and tags."""

    def __init__(self, markup: str) -> None:
        self._markup = markup
        self._quotes_close = True

    def tokens(self) -> Iterator[Token]:
        """The whole page. Whatever is still open at the end of the file is dropped, as browsers do."""
        markup, at = self._markup, 0
        while (opening := markup.find("<", at)) >= 0:
            if opening > at:
                yield "", _unescaped(markup[at:opening])
            at, tokens = self._at_bracket(opening)
            yield from tokens
            if at < 0:
                return
        yield "", _unescaped(markup[at:])

    def _at_bracket(self, at: int) -> tuple[int, list[Token]]:
        """What stands at the "<" at `at`, and where the scan goes on: -1 where it reaches to the end of the file."""
        markup = self._markup
        if named := _NAME.match(markup, at):
            return self._at_tag(named)
        if markup.startswith("<!--", at):
            return _after(markup, "-->", at + 4), []
        if markup.startswith("<![CDATA[", at):
            end = _after(markup, "]]>", at + 9)
            return end, [("", markup[at + 9 : end - 3 if end >= 0 else None])]
        if markup.startswith(("<!", "<?", "</"), at):
            return _after(markup, ">", at + 2), []
        return at + 1, [("", "<")]

    def _at_tag(self, named: re.Match[str]) -> tuple[int, list[Token]]:
        markup, end = self._markup, self._end_of_tag(named.end())
        name = named[2].lower()
        if named[1]:
            return end, [(f"/{name}", "")]
        # XHTML may close an element in its own tag.
        if end < 0 or markup[end - 2] == "/":
            return end, [(name, ""), (f"/{name}", "")]
        if name not in _RAW:
            return end, [(name, "")]
        closing = _RAW[name].search(markup, end)
        inside = markup[end : closing.start() if closing else None]
        return (closing.start() if closing else -1), [(name, ""), ("", _unescaped(inside))]

    def _end_of_tag(self, at: int) -> int:
        """The position behind the ">" of the tag whose name ends at `at`, or -1."""
        if self._quotes_close and (rest := _REST_OF_TAG.match(self._markup, at)):
            return rest.end()
        # Every ">" up to the end of the file is inside quotes. To look that far from each tag that follows would take
        # the square of the length, so from here on quotes mean nothing.
        self._quotes_close = False
        return _after(self._markup, ">", at)


def _after(markup: str, mark: str, at: int) -> int:
    """The position behind the next `mark`, or -1."""
    found = markup.find(mark, at)
    return found + len(mark) if found >= 0 else -1


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:
        # A character number of thousands of digits.
        return text


class _Reader:
    """Writes the visible text."""

    def __init__(self) -> None:
        self.flow = TextFlow()
        # The outermost hidden element, and how many of its name are open.
        self._hidden = ""
        self._depth = 0
        self._preformatted = 0

    def start(self, tag: str) -> None:
        if tag in _HIDDEN and self._hidden in ("", tag):
            self._hidden = tag
            self._depth += 1
        elif self._hidden:
            return
        elif tag in _PARAGRAPHS:
            self.flow.line_break(2)
            self._preformatted += tag == "pre"
        elif tag in _LINES:
            if tag == "br":
                self.flow.verbatim("\n")
            self.flow.line_break()
            if tag == "li":
                self.flow.bullet()

    def end(self, tag: str) -> None:
        if tag == self._hidden:
            self._depth -= 1
            self._hidden = tag if self._depth else ""
        elif self._hidden:
            return
        elif tag in _PARAGRAPHS:
            self.flow.line_break(2)
            if tag == "pre":
                self._preformatted = max(0, self._preformatted - 1)
        elif tag in _LINES and tag != "br":
            self.flow.line_break()
        elif tag in _CELLS:
            self.flow.next_cell()

    def text(self, text: str) -> None:
        if self._hidden:
            return
        if self._preformatted:
            self.flow.verbatim(text)
        else:
            self.flow.flowing(text)


def _guess(upload: Upload) -> bool:
    return upload.data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


HTML = Kind(
    "html", "HTML", (".html", ".htm", ".xhtml"), guess=_guess,
    parse=partial(as_text, polish=lambda page: tidy(html_to_text(page)), markup=True),
)  # fmt: skip
