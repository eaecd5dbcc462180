"""From the command line to a served page: profile, engine, page, launch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sliminfer.errors import ModelError, SlimError, needs_extra
from sliminfer.model.loading import DEMO_MODEL
from sliminfer.schedule.presets import DEFAULT_PRESET

T = TypeVar("T")
FOLDER = "sliminfer-page-"
SPACE_PROXIES = "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"  # the Hub's own machines in front of a Space

_log = logging.getLogger(__name__)


def main(
    model: Annotated[
        str | None,
        typer.Option(
            help="demo, smollm2, a folder, FILE.gguf, a Hub id, or OWNER/REPO:FILE.gguf on the Hub (default: demo)."
        ),
    ] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="Leave the weights of a GGUF file packed: less memory, slower.")
    ] = False,
    draft: Annotated[
        str | None,
        typer.Option(help="A smaller model, named alike, that reads first for specprefill and sliminfer-draft."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 serves the whole network (default: 127.0.0.1).")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7860,
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda, cuda:N, several as in cuda:0,cuda:1 for a run each, or balanced over all GPUs."
        ),
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    results: Annotated[
        Path | None,
        typer.Option(help="Folder with results of eval and sweep to draw on the Methods tab, such as runs."),
    ] = None,
) -> None:
    """Serve the page: upload a document, ask, and watch full and pruned inference side by side.

    SLIMINFER_PROFILE names a profile of the Spacefile, whose models and limits then hold, and whose log is JSON.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # bars of loading weights are noise in a server's log
    hosted = {name for name in ("SLIMINFER_PROFILE", "SPACES_ZERO_GPU", "SPACE_ID") if os.environ.get(name)}
    try:
        need_packages()
        from sliminfer.documents.sandbox import keep_to_itself
        from sliminfer.hosting import chosen_profile, read_spacefile
        from sliminfer.hosting.logs import log_as_json
        from viz.page.closing import serve_until_told
        from viz.page.folders import private_folder
        from viz.page.serve import open_site, serve

        name, profile = (hosted and chosen_profile(read_spacefile(), os.environ)) or ("", None)
        if profile is not None:
            log_as_json()
        if os.environ.get("SPACE_ID"):  # uvicorn reads it: whose word on a visitor's address is taken
            os.environ.setdefault("FORWARDED_ALLOW_IPS", SPACE_PROXIES)
        os.environ.setdefault("GRADIO_TEMP_DIR", private_folder(FOLDER))
        address = host or ("0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1")  # nosec B104
        choices = [model] if model else [DEMO_MODEL] if profile is None else profile.models
        more = {"profile": profile, "packed": packed, "draft": draft or ""}
        site = first_that_opens(choices, lambda each: open_site(each, device, dtype, DEFAULT_PRESET, **more))
        site.measured = results
        if not site.shelf.borrows:  # where the GPU is lent, a worker of this process is looked after by another
            keep_to_itself()
        page = serve(site, address, port, profile)
    except (SlimError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    _log.info("serving", extra={"profile": name, "model": site.start.model, "port": port})
    serve_until_told(site, page, f"SlimInfer Studio: http://{address}:{port}")


def first_that_opens(models: Sequence[str], opened: Callable[[str], T]) -> T:
    """What `opened` gives for the first of `models` that can be had: a page with its second model is better than none.

    Raises:
        ModelError: the one of the last, where none can be had.
    """
    *others, last = models
    for each in others:
        try:
            return opened(each)
        except ModelError as error:
            _log.warning("%s is left out: %s", each, error)
    return opened(last)


def need_packages() -> None:
    """Raise SlimError where a package that the page is made of is not installed."""
    for module, package in (("gradio", "gradio"), ("plotly", "plotly"), ("pandas", "pandas"), ("PIL", "pillow")):
        if find_spec(module) is None:
            raise SlimError(needs_extra("The page", package, "page"))


def run() -> None:
    """The command `sliminfer-studio`, and what `python app.py` does."""
    typer.run(main)
