"""Reading the training text and turning it into one array of tokens with its sentence ends."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sliminfer.demo_model.tokenizer import EOS
from sliminfer.tasks import SUITES, Filler, make_example

_PARAGRAPHS_PER_CALL = 4096
_ABBREVIATIONS = ("Mr", "Mrs", "Dr", "St", "Messrs", "Capt")






def task_texts(book: str, count: int = 1500) -> list[str]:
    """Short prompts with answers, so that the tokenizer has whole words for the tasks' own vocabulary."""
    filler = Filler(book[:20_000], lambda texts: [len(text) // 4 for text in texts])
    examples = [make_example(SUITES[seed % 5], filler, 400, seed, "train") for seed in range(count)]
    return [
        text
        for each in examples
        for text in (
            *(each.document[start:end] for start, end in each.evidence),
            f"Question: {each.question}",
            f"Answer:{each.target}",
        )
    ]


@dataclass(frozen=True)
class Corpus:
    """Tokens of all training books, `<|eos|>` between them.

    tokens: uint16 [n]. boundaries: ascending indices i such that a sentence ends at token i - 1 and token i
    begins with white space, so that a sentence can be planted before token i and tokenises as in the whole text.
    Per entry of the vocabulary: `starts_word`, whether it is a space and the beginning of a word;
    `ends_sentence` and `opens_sentence`, whether a sentence ends between one and the other.
    """

    tokens: NDArray[np.uint16]
    boundaries: NDArray[np.int64]
    starts_word: NDArray[np.bool_]
    ends_sentence: NDArray[np.bool_]
    opens_sentence: NDArray[np.bool_]


def tokenise(books: list[str], tokenizer: Tokenizer) -> Corpus:
    """Encode the books, in parallel over their paragraphs."""
    parts: list[NDArray[np.uint16]] = []
    for book in books:
        paragraphs = re.findall(r"[^\n]*\n|[^\n]+\Z", book)
        for start in range(0, len(paragraphs), _PARAGRAPHS_PER_CALL):
            encodings = tokenizer.encode_batch_fast(paragraphs[start : start + _PARAGRAPHS_PER_CALL])
            parts.append(np.fromiter((i for e in encodings for i in e.ids), dtype=np.uint16))
        parts.append(np.array([EOS], dtype=np.uint16))
    tokens = np.concatenate(parts)
    texts = [tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size())]
    ends = np.array([re.search(r"[.!?][\"')\]]*$", text) is not None for text in texts])
    opens = np.array([re.match(r" [\"'(]?[A-Z]| [\"'(]$", text) is not None for text in texts])
    title = np.array([text.strip() in _ABBREVIATIONS for text in texts])
    starts_word = np.array([re.match(r" [^\s]", text) is not None for text in texts])
    opens[tokenizer.token_to_id("Ċ")] = True
    here, after = tokens[1:-1], tokens[2:]
    boundaries = np.flatnonzero(ends[here] & opens[after] & ~title[tokens[:-2]]) + 2
    return Corpus(tokens, boundaries, starts_word, ends, opens)
