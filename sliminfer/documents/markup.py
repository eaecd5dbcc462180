"""HTML to reading text: blocks on lines of their own, scripts and styles left out."""

import re
from html.parser import HTMLParser

from sliminfer.documents.text import TextFlow

_HIDDEN = frozenset(("script", "style", "template", "svg", "math", "iframe", "object", "select", "datalist"))
_PARAGRAPH_TAGS = """
p h1 h2 h3 h4 h5 h6 blockquote pre ul ol dl table figure hr title body details section article header footer
main nav aside address form fieldset
"""
_PARAGRAPHS = frozenset(_PARAGRAPH_TAGS.split())
_LINES = frozenset(("br", "div", "li", "dt", "dd", "tr", "figcaption", "caption", "summary", "legend"))
_CELLS = frozenset(("td", "th"))


def html_to_text(markup: str) -> str:
    """The text of an HTML or XHTML page. Runs over the tags as a stream, so nesting depth does not matter."""
    # Without this a self-closing <script/> or <title/> of XHTML would swallow the rest of the page.
    markup = re.sub(r"<(script|style|title|textarea|iframe)\b([^<>]*)/>", r"<\1\2></\1>", markup)
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader.flow.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.flow = TextFlow()
        # The outermost hidden element, and how many of its name are open.
        self._hidden = ""
        self._depth = 0
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN and self._hidden in ("", tag):
            self._hidden = tag
            self._depth += 1
        elif tag in _PARAGRAPHS:
            self.flow.line_break(2)
            self._preformatted += tag == "pre"
        elif tag in _LINES:
            if tag == "br":
                self.flow.verbatim("\n")
            self.flow.line_break()
            if tag == "li":
                self.flow.bullet()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._depth -= 1
            self._hidden = tag if self._depth else ""
        elif tag in _PARAGRAPHS:
            self.flow.line_break(2)
            if tag == "pre":
                self._preformatted = max(0, self._preformatted - 1)
        elif tag in _LINES and tag != "br":
            self.flow.line_break()
        elif tag in _CELLS:
            self.flow.next_cell()

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._preformatted:
            self.flow.verbatim(data)
        else:
            self.flow.flowing(data)

    def unknown_decl(self, data: str) -> None:
        # XHTML may hold text in CDATA sections.
        if data.startswith("CDATA["):
            self.handle_data(data[6:])

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        # The standard parser raises AssertionError on an unknown "<![word"; browsers take it for a comment.
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)
