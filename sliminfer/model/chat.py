"""What a tokenizer's chat template makes of messages, and where in the tokens the last question is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jinja2 import TemplateError

from sliminfer.errors import ConfigError, ModelError
from sliminfer.schedule.blocks import Span

ANSWER_PREFIX = "\nAnswer:"

_MARK = "\u241fslim\u241f"  # never in a template, survives the template's trimming
_THINKING = "enable_thinking"


def chat_template(tokenizer: Any, thinking: bool = False) -> tuple[str, ...]:
    """What the chat template puts before and after the user's message; in between, too, where it prints it twice.

    Args:
        tokenizer: a transformers tokenizer; one without a chat template has its BOS token and `ANSWER_PREFIX`.
        thinking: whether a model that can think before it answers does, where the template asks (`enable_thinking`).

    Returns:
        One piece more than the template prints the message, two for nearly all.

    Raises:
        ModelError: the template does not print the message.
    """
    if not tokenizer.chat_template:
        return tokenizer.bos_token or "", ANSWER_PREFIX
    # Templates of models that also see pictures may take a list of parts and print nothing of a bare string.
    contents: tuple[Any, ...] = (_MARK, [{"type": "text", "text": _MARK}])
    variables = {_THINKING: thinking} if _THINKING in str(tokenizer.chat_template) else {}
    for content in contents:
        with suppress(ModelError):
            pieces = _apply(tokenizer, [{"role": "user", "content": content}], variables).split(_MARK)
            if len(pieces) > 1:
                return tuple(pieces)
    raise ModelError("The model's chat template does not print the user's message: give the tokenizer another one.")


def conversation_template(tokenizer: Any, turns: int, thinking: bool = False) -> tuple[str, ...]:
    """What the chat template puts around the messages of a conversation: user, assistant, user, and so on.

    Args:
        turns: questions that were answered before the last one.
        thinking: see `chat_template`.

    Returns:
        One piece more than the template prints messages, which for nearly all is one more than there are.
    """
    if not tokenizer.chat_template:
        return tokenizer.bos_token or "", *(f"{ANSWER_PREFIX} ", "\n\nQuestion: ") * turns, ANSWER_PREFIX
    variables = {_THINKING: thinking} if _THINKING in str(tokenizer.chat_template) else {}
    roles = ("user", *("assistant", "user") * turns)
    return tuple(_apply(tokenizer, [{"role": role, "content": _MARK} for role in roles], variables).split(_MARK))


def question_span(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], question: str | None = None, **template: Any
) -> Span:
    """Where the last question of a chat stands in the tokens of `tokenizer.apply_chat_template(messages, ...)`.

    What it returns goes to `slim(model, config, question=...)`, so that the question's own queries choose what is kept:

        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        with slim(model, config, question=question_span(tokenizer, messages)):
            model.generate(ids)

    Args:
        tokenizer: a fast transformers tokenizer with a chat template.
        messages: the chat; the content of a message is a string or a list of parts.
        question: the question's text, which the last user message ends with or contains. By default that message's last
            paragraph, or its last line where it has no blank line.
        template: what else goes to the chat template, such as `tools` or `enable_thinking`.

    Returns:
        Half-open range of tokens, from the question to the prompt's end: what the template adds after it belongs to it.

    Raises:
        ConfigError: there is no chat template, no user message with text, or no such question in it.
        ModelError: the template refuses the messages, or does not print the question as it is.
    """
    if not tokenizer.chat_template:
        raise ConfigError("The tokenizer has no chat template: say yourself which tokens ask, as slim(..., question=).")
    text = _last_text(messages)
    asked = _last_paragraph(text) if question is None else question.strip()
    if not asked or asked not in text:
        raise ConfigError("The question is not in the last user message: give its text as it stands there.")
    before, _, after = text.rpartition(asked)
    prompt = _apply(tokenizer, messages, template)
    marked = _apply(tokenizer, _with_last_text(messages, f"{before}{_MARK}{after}"), template)
    if _MARK not in marked or marked.replace(_MARK, asked) != prompt:
        raise ModelError("The chat template does not print the question as it is: say yourself which tokens ask.")
    start = len(marked.rpartition(_MARK)[0].replace(_MARK, asked))
    encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = [end for _, end in encoded["offset_mapping"]]
    return next(i for i, end in enumerate(ends) if end > start), len(ends)


def _apply(tokenizer: Any, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
    settings = {"add_generation_prompt": True} | dict(variables) | {"tokenize": False}
    try:
        text: str = tokenizer.apply_chat_template([dict(message) for message in messages], **settings)
    except (TemplateError, TypeError) as error:
        raise ModelError(f"The model's chat template refuses these messages: {error}.") from error
    return text


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int:
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        raise ConfigError("There is no user message: add one that asks.")
    return users[-1]


def _last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    content = messages[_last_user(messages)].get("content")
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in content or () if isinstance(part, Mapping) and part.get("type") == "text"]
    if not texts:
        raise ConfigError("The last user message has no text: add one that asks.")
    return str(texts[-1])


def _with_last_text(messages: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """`messages` with `text` in place of what `_last_text` finds."""
    changed, place = [dict(message) for message in messages], _last_user(messages)
    content = changed[place]["content"]
    if isinstance(content, str):
        changed[place]["content"] = text
        return changed
    parts = [dict(part) if isinstance(part, Mapping) else part for part in content]
    last = max(i for i, part in enumerate(parts) if isinstance(part, dict) and part.get("type") == "text")
    parts[last]["text"] = text
    changed[place]["content"] = parts
    return changed


def _last_paragraph(text: str) -> str:
    text = text.strip()
    paragraph = text.rpartition("\n\n")[2].strip()
    return paragraph if paragraph != text else text.rpartition("\n")[2].strip()
