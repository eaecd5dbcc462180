"""PowerPoint files: the text of each slide under its number, and the speaker's notes."""

import re
from collections.abc import Mapping

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.office import BoundedFlow, related
from sliminfer.documents.text import tidy
from sliminfer.errors import DocumentError

_APART = "\n\n"
_MAIN = "ppt/presentation.xml"
_SLIDE = re.compile(r"ppt/slides/slide(\d{1,6})\.xml")


def _parse(upload: Upload) -> Parsed:
    """Slides in the order of the show, paragraphs by line, table cells by tab; the pages are its slides."""
    archive = Archive(upload.data, upload.name, upload.limits)
    slides = _in_order(archive)
    if not slides:
        raise archive.damaged()
    if len(slides) > upload.limits.max_pages:
        raise DocumentError(
            f"'{upload.name}' has {len(slides):,} slides and the limit is {upload.limits.max_pages:,}: "
            "take the part you need."
        )
    texts, starts, length = list[str](), list[int](), 0
    for number, slide in enumerate(slides, start=1):
        flow = BoundedFlow(upload.name, upload.limits)
        flow.verbatim(f"Slide {number}")
        flow.line_break()
        archive.read_xml(slide, _Text(flow))
        for kind, notes in related(archive, slide).values():
            if kind == "notesSlide" and notes in archive.members:
                flow.line_break()
                flow.verbatim("Notes:")
                flow.line_break()
                archive.read_xml(notes, _Text(flow))
        texts.append(tidy(flow.text()))
        starts.append(length)
        length += len(texts[-1]) + len(_APART)
    return Parsed(_APART.join(texts), pages=len(slides), page_starts=tuple(starts))


def _in_order(archive: Archive) -> list[str]:
    """The slides' members as the show has them; by their numbers where it does not say."""
    order = _Order()
    archive.read_xml(_MAIN, order)
    targets = related(archive, _MAIN)
    named = [targets[identity][1] for identity in order.slides if identity in targets]
    if named and len(named) == len(order.slides):
        return [slide for slide in dict.fromkeys(named) if slide in archive.members]
    numbers = {int(match[1]): match[0] for member in archive.members if (match := _SLIDE.fullmatch(member))}
    return [numbers[number] for number in sorted(numbers)]


class _Order(XmlReader):
    """presentation.xml: the slides in order, by the ids of their relations."""

    def __init__(self) -> None:
        self.slides: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "sldId":
            self.slides.append(attributes.get("id", ""))


class _Text(XmlReader):
    """Writes the running text of one slide; its number is a field, and left out."""

    def __init__(self, flow: BoundedFlow) -> None:
        self._flow = flow
        self._in_text = False
        self._fields = self._cells = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "t":
            self._in_text = not self._fields
        elif name == "fld":
            self._fields += 1
        elif name == "tc":
            self._cells += 1
        elif name == "br":
            self._flow.verbatim("\n")

    def end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "fld":
            self._fields -= 1
        elif name == "tc":
            self._cells -= 1
            self._flow.next_cell()
        elif name == "tr":
            self._flow.line_break()
        elif name == "p":
            if self._cells:
                self._flow.flowing(" ")
            else:
                self._flow.line_break()

    def characters(self, text: str) -> None:
        if self._in_text:
            self._flow.verbatim(text)


SLIDES = Kind(
    "pptx", "PowerPoint", (".pptx", ".pptm"), _parse, mark=lambda upload: _MAIN in upload.members, noun="slide show"
)
