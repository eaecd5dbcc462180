"""The document formats, one file each: what its files look like and how they become text."""

from sliminfer.documents.formats.code import CODE
from sliminfer.documents.formats.epub import EPUB
from sliminfer.documents.formats.html import HTML
from sliminfer.documents.formats.json import JSON
from sliminfer.documents.formats.notebook import NOTEBOOK
from sliminfer.documents.formats.open_document import OPEN_DOCUMENT
from sliminfer.documents.formats.pdf import PDF
from sliminfer.documents.formats.plain import CSV, MARKDOWN, RST, TEXT
from sliminfer.documents.formats.rtf import RTF
from sliminfer.documents.formats.sheets import SHEETS
from sliminfer.documents.formats.slides import SLIDES
from sliminfer.documents.formats.word import WORD

# In the order in which marks and guesses are asked, and refusals name them.
KINDS = (PDF, WORD, SLIDES, SHEETS, OPEN_DOCUMENT, RTF, EPUB, HTML, TEXT, MARKDOWN, RST, CSV, NOTEBOOK, JSON, CODE)
