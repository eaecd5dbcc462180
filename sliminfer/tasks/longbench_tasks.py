"""The tables of LongBench's sixteen English tasks: how each is asked, answered and scored.

Answer lengths, metrics and the tasks that are asked without a chat template are the benchmark's own. The wordings
are ours; put the benchmark's dataset2prompt.json beside the data files to ask in its words, for figures that are
to be compared with published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["qa_f1", "rouge_l", "classification", "retrieval", "count", "code"]


@dataclass(frozen=True)
class LongBenchTask:
    """One task. `prompt` has {context} once, and {input} where the task asks for something of its own."""

    metric: Metric
    max_new_tokens: int
    prompt: str
    chat: bool = True
    first_line: bool = False


_READ = "Read the text and answer the question after it.\n\n{context}\n\n"
_SHORT = "Answer in as few words as possible and write nothing else.\n\nQuestion: {input}\nAnswer:"
_PASSAGES = "Several passages follow, and then a question about them.\n\n{context}\n\n"

TASKS: dict[str, LongBenchTask] = {
    "narrativeqa": LongBenchTask("qa_f1", 128, "A story follows, and then a question.\n\n{context}\n\n" + _SHORT),
    "qasper": LongBenchTask(
        "qa_f1",
        128,
        "A scientific article follows, and then a question.\n\n{context}\n\nAnswer from the article alone, with a "
        'phrase, a short sentence, "yes" or "no"; write "unanswerable" if it does not say.\n\nQuestion: {input}\n'
        "Answer:",
    ),
    "multifieldqa_en": LongBenchTask("qa_f1", 64, _READ + _SHORT),
    "hotpotqa": LongBenchTask("qa_f1", 32, _PASSAGES + _SHORT),
    "2wikimqa": LongBenchTask("qa_f1", 32, _PASSAGES + _SHORT),
    "musique": LongBenchTask("qa_f1", 32, _PASSAGES + _SHORT),
    "gov_report": LongBenchTask(
        "rouge_l",
        512,
        "A report by a government agency follows.\n\n{context}\n\nWrite a summary of the report on one page.\n\n"
        "Summary:",
    ),
    "qmsum": LongBenchTask(
        "rouge_l",
        512,
        "The record of a meeting follows, and then a request about it.\n\n{context}\n\nAnswer the request in one or "
        "more sentences.\n\nRequest: {input}\nAnswer:",
    ),
    "multi_news": LongBenchTask(
        "rouge_l",
        512,
        "Several news articles follow.\n\n{context}\n\nWrite one summary of all of them on one page.\n\nSummary:",
    ),
    "trec": LongBenchTask(
        "classification",
        64,
        "Name the type of the last question, as in the examples.\n\n{context}\n{input}",
        chat=False,
        first_line=True,
    ),
    "triviaqa": LongBenchTask(
        "qa_f1",
        32,
        "Answer the last question from its passage, with the answer alone, as in the examples.\n\n{context}\n\n{input}",
        chat=False,
        first_line=True,
    ),
    "samsum": LongBenchTask(
        "rouge_l",
        128,
        "Sum up the last dialogue in a few short sentences, as in the examples.\n\n{context}\n\n{input}",
        chat=False,
        first_line=True,
    ),
    "passage_count": LongBenchTask(
        "count",
        32,
        "Some of the paragraphs below are repeated.\n\n{context}\n\nHow many different paragraphs are there, not "
        "counting repetitions? Write the number alone.\n\nNumber of different paragraphs:",
    ),
    "passage_retrieval_en": LongBenchTask(
        "retrieval",
        32,
        "Thirty paragraphs follow, and then a summary of one of them.\n\n{context}\n\nSummary:\n\n{input}\n\nWhich "
        'paragraph is it a summary of? Answer as in "Paragraph 1".\n\nAnswer:',
    ),
    "lcc": LongBenchTask("code", 64, "Continue this code.\n{context}Next line:\n", chat=False),
    "repobench-p": LongBenchTask("code", 64, "Continue this code.\n{context}{input}Next line:\n", chat=False),
}
