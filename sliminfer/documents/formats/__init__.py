"""The document formats, one file each: what its files look like and how they become text."""

from sliminfer.documents.formats.code import CODE
from sliminfer.documents.formats.epub import EPUB
from sliminfer.documents.formats.html import HTML
from sliminfer.documents.formats.json import JSON
from sliminfer.documents.formats.pdf import PDF
from sliminfer.documents.formats.plain import CSV, MARKDOWN, RST, TEXT
from sliminfer.documents.formats.word import WORD

# In the order in which marks and guesses are asked, and refusals name them.
KINDS = (PDF, WORD, EPUB, HTML, TEXT, MARKDOWN, RST, CSV, JSON, CODE)
