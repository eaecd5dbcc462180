"""Gradio's page, whose events fail without a word of the visitor's in the log, nor of the server in the answer."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from viz.door.quiet import tell
from viz.page.stream import plain_message

_log = logging.getLogger(__name__)


class StudioBlocks(gr.Blocks):
    """`gr.Blocks` that tells a fault in one sentence to the visitor, and by kind and place to the log.

    Gradio itself prints it with its traceback, in which values stand that were sent, and passes its words on, in which
    folders of the server stand. Errors that are raised with `print_exception=False` are sentences already.
    """

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            done: dict[str, Any] = await super().process_api(*args, **kwargs)
        except Exception as error:
            if isinstance(error, gr.Error) and not error.print_exception:
                raise
            tell(_log, "an event failed", error)
            raise gr.Error(_sentence(error), print_exception=False) from None
        return done


def _sentence(error: Exception) -> str:
    """What to tell the visitor: a value that Gradio does not take was not made on this page."""
    if isinstance(error, gr.Error):
        return "Something that was sent is none of the page's values: reload the page and try again."
    return plain_message(error)
