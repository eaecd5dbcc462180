"""Retrieval over one prompt: BM25 scores of its passages for the words of its question."""

from __future__ import annotations

import sys
from typing import Any

from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt


def passage_scores(prompt: Prompt, passage: int) -> list[float]:
    """A score of each token of `prompt` [N]: that of its passage of `passage` tokens; 0 outside the document.

    Raises:
        ConfigError: the package bm25s is missing, or the prompt has no text.
    """
    bm25s = _bm25s()
    if not prompt.text:
        raise ConfigError("Method bm25 searches for words, and this prompt is bare ids: give it as text.")
    scores = [0.0] * len(prompt)
    inside = [index for index, span in enumerate(prompt.document_spans()) if span is not None]
    if not inside:
        return scores
    # A document's tokens follow one another.
    cuts = [(at, min(at + passage, inside[-1] + 1)) for at in range(inside[0], inside[-1] + 1, passage)]
    texts = [prompt.text[prompt.spans[start][0] : prompt.spans[end - 1][1]] for start, end in cuts]
    asked = prompt.text[prompt.spans[prompt.question[0]][0] :]
    # No list of stop words: the document's own statistics say which words tell nothing, in any language.
    words = bm25s.tokenize(texts, stopwords=None, return_ids=False, show_progress=False)
    wanted = bm25s.tokenize([asked], stopwords=None, return_ids=False, show_progress=False)[0]
    known = {word for each in words for word in each}
    wanted = [word for word in wanted if word in known]
    if not wanted:
        return scores
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    for (start, end), score in zip(cuts, index.get_scores(wanted).tolist(), strict=True):
        scores[start:end] = [float(score)] * (end - start)
    return scores


def _bm25s() -> Any:
    """The library, without JAX: where that is installed it would be tried out, and takes most of the GPU's memory."""
    hidden = "jax" not in sys.modules and "bm25s" not in sys.modules
    if hidden:
        sys.modules["jax"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import bm25s
    except ImportError as error:
        raise ConfigError("Method bm25 needs the package bm25s: pip install 'sliminfer[retrieval]'.") from error
    finally:
        if hidden:
            del sys.modules["jax"]
    return bm25s
