"""The one canonical prompt: a document, a blank line, a question line, and `Answer:` to begin the reply.

    <|bos|>{document}\n\nQuestion: {question}\nAnswer: {answer}<|eos|>

`<|bos|>` and `\nAnswer:` are written by the model's chat template; the user message is `user_message(...)`. A
quotation is asked in the same question line as `Quote: {first words}`; its answer is what follows them. Training
varies the white space around the document, so one or three line breaks, or a trailing one, do no harm.
"""

from sliminfer.model.chat import ANSWER_PREFIX
from sliminfer.model.prompts import QUESTION_PREFIX

QUOTE_PREFIX = "Quote: "


def user_message(document: str, question: str) -> str:
    """The content of the user message; the chat template adds what comes before and after it."""
    return f"{document.rstrip()}{QUESTION_PREFIX}{question.strip()}"


def plain_prompt(document: str, question: str) -> str:
    """The prompt for a model without a chat template (and, after `<|bos|>`, the demo model's own)."""
    return user_message(document, question) + ANSWER_PREFIX
